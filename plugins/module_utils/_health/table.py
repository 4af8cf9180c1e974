# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a verification by component: one line for each check, what is not well first. Pure: plain data in, lines out."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact

Check = t.Mapping[str, t.Any]
Row = t.Tuple[str, Check]
# Columns of a terminal, and lines of a table that still fit on its screen.
WIDTH, MOST = 100, 24
ORDER = {"sick": 0, "unknown": 1, "well": 2}
# Checks of one kind with names like these are one line where all of them are well.
ENDPOINT = "endpoint "


def table_of(hosts: t.Mapping[str, t.Sequence[Check]], most: int = MOST) -> t.List[str]:
    """Return the lines for the *checks* of each host, at most *most* and three more: the heading, and two that count what is left out.

    A line is component, host (where there are several), health, state, seconds and what was seen.
    """
    rows = sorted(_rows(hosts), key=lambda row: ORDER.get(str(row[1]["health"]), 1))
    if not rows:
        return []
    bad = [row for row in rows if row[1]["health"] != "well"]
    shown = rows if len(rows) <= most else bad[:most]
    wide = _widths(shown, len(hosts) > 1)
    lines = [_line(wide, ("component", "host", "health", "state", "seconds", "what was seen"))]
    lines += [_line(wide, _cells(row)) for row in shown]
    lines += ["and %d more that are not well" % (len(bad) - most)] if shown is not rows and len(bad) > most else []
    well = len(rows) - len(bad)
    return lines + (["and %d that %s well" % (well, "are" if well != 1 else "is")] if shown is not rows and well else [])


def _rows(hosts: t.Mapping[str, t.Sequence[Check]]) -> t.Iterator[Row]:
    for host, checks in hosts.items():
        checks = [one for one in checks if not (one.get("facts") or {}).get("left_out")]
        quiet = [one for one in checks if one["health"] == "well" and str(one["name"]).startswith(ENDPOINT)]
        together = quiet if len(quiet) > 1 else []
        for one in checks:
            if one not in together:
                yield host, one
        if together:
            yield host, dict(together[0], name="endpoints", state="", seconds=max(_seconds(one) for one in together), findings=[
                {"text": "%d of %d answer as expected" % (len(together), sum(str(one["name"]).startswith(ENDPOINT) for one in checks))}
            ])  # fmt: skip


def _seconds(check: Check) -> float:
    return float(check.get("seconds") or 0)


def _cells(row: Row) -> t.Tuple[str, ...]:
    host, check = row
    return (
        one_line(check["name"], 28), one_line(host, 24), str(check["health"]), one_line(check.get("state") or "-", 20),
        "%.2f" % _seconds(check), _seen(check),
    )  # fmt: skip


def _seen(check: Check) -> str:
    """Return the text of the first finding that makes *check* what it is."""
    findings = [one for one in check.get("findings") or [] if one.get("text")]
    decides = [one for one in findings if one.get("state") == check["health"]] or findings
    beside = "beside it: " if check.get("beside") else ""
    return one_line(redact(beside + str(decides[0]["text"])), 300) if decides else "nothing"


def _widths(rows: t.Sequence[Row], several: bool) -> t.Tuple[int, ...]:
    cells = [_cells(row) for row in rows]
    name, host, state = (max((len(one[column]) for one in cells), default=0) for column in (0, 1, 3))
    return max(name, 9), max(host, 4) if several else 0, 7, max(state, 5), 7


def _line(widths: t.Sequence[int], cells: t.Sequence[str]) -> str:
    front = "  ".join("%-*s" % (width, cell) for width, cell in zip(widths, cells) if width)
    return ("%s  %s" % (front, cells[-1]))[:WIDTH].rstrip()
