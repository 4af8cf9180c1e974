# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Freezes: the kill switch, freeze files and freeze windows that stop every act."""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

FREEZE_FILE = "freeze"
KILL_FILE = "kill"


def load_flags(state_dir: str, kill_files: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Read the flag files: {freeze: text | None, kill: text | None}. A file that is there but unreadable counts as set."""
    kill = [text for text in map(_text_of, [os.path.join(state_dir, KILL_FILE), *kill_files]) if text is not None]
    return {"freeze": _text_of(os.path.join(state_dir, FREEZE_FILE)), "kill": kill[0] if kill else None}


def _text_of(path: str) -> t.Optional[str]:
    try:
        # Without blocking, because a pipe of that name would hang the gate forever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8", errors="replace") as file:
            return "%s: %s" % (path, one_line(file.read(200).strip() or "no reason given"))
    except FileNotFoundError:
        return None
    except OSError as error:
        return "%s: %s" % (path, error.strerror)


def judge_freeze(
    flags: t.Mapping[str, t.Any], windows: t.Sequence[t.Mapping[str, t.Any]], *, now: float, override: str
) -> list[dict[str, t.Any]]:
    """Return the reasons that stop an act now; an override with a reason lifts a freeze, never the kill switch."""
    if flags.get("kill"):
        return [reason("kill_switch", "the kill switch is on (%s)" % flags["kill"])]
    frozen = ["freeze file %s" % flags["freeze"]] if flags.get("freeze") else []
    frozen += [_named(window) for window in windows if parse_time(window["start"]) <= now < parse_time(window["end"])]
    return [reason("frozen", text) for text in frozen] if not override else []


def _named(window: t.Mapping[str, t.Any]) -> str:
    return "freeze window %s to %s: %s" % (window["start"], window["end"], one_line(str(window.get("reason") or "no reason given")))


def parse_time(text: t.Any) -> float:
    """Return the seconds since the epoch of an RFC 3339 time. Raises StepError for anything else, or without a time zone."""
    try:
        moment = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        shown = one_line(repr(str(text)), 60)
        raise _bad("%s is not an RFC 3339 time such as 2026-12-24T18:00:00Z; correct remediation_freeze_windows" % shown) from None
    if moment.tzinfo is None:
        raise _bad("%r has no time zone; write it as 2026-12-24T18:00:00Z in remediation_freeze_windows" % str(text))
    return moment.timestamp()


def _bad(text: str) -> StepError:
    return StepError(text, reasons=[reason("bad_input", text)], stage="guard")
