# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of drills: one line each, and a count at the end; nothing is wider than 100 columns."""

from __future__ import annotations

import textwrap
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

from .drill import Result

WIDTH = 100
ROW = "{:<35} {:<19} {:>12} {:>8} {:>7} {:>5}  {}"


def header() -> list[str]:
    return [ROW.format("fault", "outcome", "lost of ack.", "declared", "seconds", "down", "verdict"), "-" * WIDTH]


def row(result: Result) -> list[str]:
    """Return the line of one drill, and below it why it failed or was skipped."""
    lost = "-" if result.lost is None else f"{result.lost} of {result.acknowledged}"
    told = "-" if result.lost is None else told_loss(result)
    seconds = f"{result.seconds:.1f}" if result.seconds else "-"
    down = "-" if result.down is None else f"{result.down:.1f}"
    verdict = "held *" if result.verdict == "held" and result.undone else result.verdict
    line = ROW.format(result.fault, result.outcome, lost, told, seconds, down, verdict)[:WIDTH]
    folded = [part for why in result.why for part in textwrap.wrap(one_line(why, 400), WIDTH - 6)]
    return [line, *("    " + part for part in folded)]


def told_loss(result: Result) -> str:
    """Return the declared loss, with a sign if it is an upper bound, in a word if it is unknown."""
    if result.declared is None:
        return "unknown"
    return f"{'' if result.exact else '<='}{result.declared}"


def footer(results: t.Sequence[Result], seconds: float) -> list[str]:
    counts = {word: sum(result.verdict == word for result in results) for word in ("held", "FAILED", "skipped")}
    told = f"{counts['held']} held, {counts['FAILED']} failed, {counts['skipped']} skipped"
    undone = sum(bool(result.undone) for result in results)
    starred = [f"* the undo that {undone} of them printed was done and brought back the same bytes"] if undone else []
    return ["-" * WIDTH, *starred, f"{told} in {seconds:.0f} s"]


def sentences(results: t.Sequence[Result]) -> list[str]:
    """Return each drill as one plain line, for a screen that has columns of its own."""
    return [sentence(result) for result in results]


def sentence(result: Result) -> str:
    why = "; ".join(one_line(why, 300) for why in result.why)
    if result.outcome == "-":
        return f"{result.fault} {result.verdict}: {why}"
    lost = "nothing changed" if result.lost is None else f"lost {result.lost} of {result.acknowledged}, declared {told_loss(result)}"
    lost += ", undone to the byte" if result.undone else ""
    down = "" if result.down is None else f", {result.down:.1f} s without an answer"
    return f"{result.fault} {result.verdict}: {result.outcome} in {result.seconds:.1f} s{down}, {lost}" + (f": {why}" if why else "")
