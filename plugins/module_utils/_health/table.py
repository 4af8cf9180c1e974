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
HEADING = ("component", "host", "health", "state", "seconds", "what was seen")
# Checks of one kind with names like these are one line where all of them are well.
ENDPOINT = "endpoint "


def table_of(hosts: t.Mapping[str, t.Sequence[Check]], most: int = MOST) -> t.List[str]:
    """Return the lines for the *checks* of each host, at most *most* and three more: the heading, and two that count what is left out.

    A line is component, host (where there are several), health, state, seconds and what was seen.
    """
    rows = sorted(_rows(hosts), key=lambda row: ORDER.get(str(row[1]["health"]), 1))
    bad = [row for row in rows if row[1]["health"] != "well"]
    shown = rows if len(rows) <= most else bad[:most]
    if not rows:
        return []
    wide = _widths(shown, len(hosts) > 1)
    lines = [_line(wide, cells) for cells in (HEADING, *map(_cells, shown))]
    return lines + ([] if shown is rows else _left_out(len(bad) - len(shown), len(rows) - len(bad)))


def _left_out(bad: int, well: int) -> t.List[str]:
    lines = ["and %d more that are not well" % bad] if bad else []
    return lines + (["and %d that %s well" % (well, "are" if well != 1 else "is")] if well else [])


def _rows(hosts: t.Mapping[str, t.Sequence[Check]]) -> t.Iterator[Row]:
    for host, checks in hosts.items():
        made = [one for one in checks if not (one.get("facts") or {}).get("left_out")]
        endpoints = [one for one in made if str(one["name"]).startswith(ENDPOINT)]
        well = [one for one in endpoints if one["health"] == "well"]
        if len(well) < 2:
            well = []
        yield from ((host, one) for one in made if one not in well)
        if well:
            yield host, _together(well, len(endpoints))


def _together(well: t.Sequence[Check], of: int) -> Check:
    """Return one line for several endpoints that are well."""
    text = "%d of %d answer as expected" % (len(well), of)
    return dict(well[0], name="endpoints", state="", seconds=max(map(_seconds, well)), findings=[{"text": text}])


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
