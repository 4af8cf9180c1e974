# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A triage as one HTML file that needs nothing else: no network, no script, no font. The template only lays out what is decided here.

The parts of the first screen come first and in the same order, then everything that the screen has no room for.
"""

from __future__ import annotations

import functools
import os
import re
import typing as t

import jinja2

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import parts as p
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.moments import number, seconds_of, short, span, stamp
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._sparkline import points_of, sparkline

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "roles", "triage", "templates")
# A page that no phone can open helps nobody: beyond these the JSON report has the rest, and the page says how much that is.
ROWS, LOGS, LINES, PROCESSES, SERIES = 1000, 100, 60, 20, 40
# A cell of fewer characters is not broken.
TIGHT = 18
Cells = list[list[str]]


def page_of(report: t.Mapping[str, t.Any]) -> str:
    """Return the page of a report."""
    parts = {part.key: part for part in p.parts_of(report)}
    tables = [
        _components(report),
        _named(report, "types", "Incident types"),
        _named(report, "patterns", "Common patterns"),
        _baseline(report),
    ]
    tables += [_metrics(report), _resources(report), _clocks(report), _processes(report)]
    return _template().render(
        not_well=_not_well(parts.get("components")),
        verdict=p.verdict_of(report),
        level=p.level_of(report),
        headline=p.headline_of(report),
        parts=parts,
        tight=TIGHT,
        at=short(report.get("at"), None) or "an unknown time",
        tables=[table for table in tables if table["rows"]],
        series=_series(report),
        logs=_logs(report),
        inventory=p.said(report.get("inventory"), 200),
    )


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(FOLDER)
    made = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.get_template("page.html.j2")


def _table(title: str, head: t.Sequence[str], rows: Cells, most: int = ROWS, note: str = "") -> dict[str, t.Any]:
    """Return a table: its rows, and how many of them are not shown."""
    wanted = [position for position, _name in enumerate(head) if any(row[position] for row in rows)]
    shown = [[row[position] for position in wanted] for row in rows[:most]]
    return {"title": title, "head": [head[position] for position in wanted], "rows": shown, "more": max(0, len(rows) - most), "note": note}


def _not_well(part: p.Part | None) -> dict[str, t.Any]:
    rows = part.rows if part else ()
    cells = [
        [row.name, row.where, row.health, row.state, p.joined(row.text, p.some_of(row, 12)), re.sub("^seen ", "", row.seen)] for row in rows
    ]
    return _table("Not well", ["Component", "Host", "Health", "State", "What was found", "Seen"], cells)


def _components(report: p.Plain) -> dict[str, t.Any]:
    now = seconds_of(report.get("at"))
    rows = [
        [
            p.said(one.get("name"), 60),
            p.said(one.get("host"), 60),
            p.said(one.get("health"), 20) or "unknown",
            p.said(one.get("state"), 40),
            p.said(one.get("text")),
            _since(one, now),
            " ".join([short(one.get("seen_at"), now) or "not seen", _from(one)]).strip(),
            _seconds(one.get("seconds")),
        ]
        for one in p.dicts(report.get("components"))
    ]
    order = {"sick": 0, "well": 2}
    rows.sort(key=lambda row: order.get(row[2], 1))
    return _table("All components", ["Component", "Host", "Health", "State", "What was found", "Since", "Seen", "Took"], rows)


def _since(one: p.Plain, now: float | None) -> str:
    since = p.known(one.get("since"))
    return " ".join(part for part in (short(since.get("at"), now), p.said(since.get("source"), 60)) if part)


def _from(one: p.Plain) -> str:
    place = p.said(one.get("seen_from"), 60)
    return "on the host itself" if place == p.OWN else f"from {place}" if place else ""


def _named(report: p.Plain, key: str, title: str) -> dict[str, t.Any]:
    rows = [
        [p.said(one.get("name") or one.get("id"), 80), p.said(one.get("verdict"), 20) or "unknown", "; ".join(p.texts(one.get("evidence")))]
        for one in p.dicts(report.get(key))
    ]
    return _table(title, ["Name", "Verdict", "Evidence"], rows)


def _baseline(report: p.Plain) -> dict[str, t.Any]:
    rows = [
        [
            p.said(str(component), 60),
            p.said(str(metric), 60),
            _figure(one.get("now")),
            _figure(one.get("median")),
            _figure(one.get("spread")),
            p.said(one.get("text")),
        ]
        for component, metrics in p.known(report.get("baseline")).items()
        for metric, one in p.known(metrics).items()
        if isinstance(one, dict)
    ]
    return _table("Against the baseline", ["Component", "Metric", "Now", "Median while well", "Spread", "What that means"], rows)


def _metrics(report: p.Plain) -> dict[str, t.Any]:
    rows = [
        _metric(str(host), str(name), p.known(one), seconds_of(report.get("at")))
        for host, every in p.known(report.get("metrics")).items()
        for name, one in p.known(every).items()
    ]
    head = ["Host", "Endpoint", "Up", "Requests", "Errors", "Error rate", "Latency", "Over", "Since its start", "Memory", "Seen"]
    return _table("Metrics", head, rows, note="Requests, errors and latency are those of the seconds in the column Over.")


def _metric(host: str, name: str, one: p.Plain, now: float | None) -> list[str]:
    up = {True: "yes", False: "no"}.get(one["up"], "unknown") if isinstance(one.get("up"), bool) else "unknown"
    seen = " ".join(part for part in (_at(one.get("at"), now), p.said(one.get("url"), 120), p.said(one.get("error"))) if part)
    start = p.known(one.get("since_start"))
    since = ", ".join(f"{_figure(start[key])} {key}" for key in ("requests", "errors") if number(start.get(key)) is not None)
    figures = [_figure(one.get("requests")), _figure(one.get("errors")), _percent(one.get("error_rate")), _latency(one)]
    return [
        p.said(host, 60),
        p.said(name, 60),
        up,
        *figures,
        _seconds(one.get("over_seconds")),
        since,
        _bytes(one.get("memory_bytes")),
        seen,
    ]


def _percent(value: t.Any) -> str:
    amount = number(value)
    return "" if amount is None else f"{100 * amount:.3g} %"


def _latency(one: p.Plain) -> str:
    """Return the percentiles and the mean, those since the start of the process where there are no others."""
    for latency, note in ((one.get("latency_seconds"), ""), (p.known(one.get("since_start")).get("latency_seconds"), " since its start")):
        figures = [(key, number(p.known(latency).get(key))) for key in ("p50", "p95", "p99", "mean")]
        words = [f"{key} {1000 * amount:.3g} ms" for key, amount in figures if amount is not None]
        if words:
            return ", ".join(words) + note
    return ""


def _at(value: t.Any, now: float | None) -> str:
    """Return a moment, given in seconds or in RFC 3339."""
    seconds = number(value)
    return short(stamp(seconds) if seconds is not None else value, now)


def _figure(value: t.Any) -> str:
    amount = number(value)
    if amount is None:
        return p.said(value, 60)
    return f"{int(amount):,}".replace(",", "\u202f") if amount == int(amount) else f"{amount:.4g}"


def _bytes(value: t.Any) -> str:
    amount = number(value)
    if amount is None:
        return p.said(value, 60)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _seconds(value: t.Any) -> str:
    amount = number(value)
    return "" if amount is None else f"{amount:.2f} s" if amount < 10 else span(amount)


def _hosts(report: p.Plain) -> list[tuple[str, p.Plain]]:
    return [(p.said(str(host), 60), p.known(one)) for host, one in p.known(report.get("hosts")).items()]


def _resources(report: p.Plain) -> dict[str, t.Any]:
    rows = []
    for host, one in _hosts(report):
        for disk in p.dicts(one.get("disks")):
            rows.append([host, f"disk {p.said(disk.get('mount') or disk.get('path'), 100)}".strip(), _pairs(disk, ("mount", "path"))])
        rows += [[host, kind, _pairs(p.known(one.get(kind)))] for kind in ("memory", "load") if one.get(kind)]
        rows += [[host, "running since", _at(one["boot_at"], None)]] if one.get("boot_at") else []
    return _table("Disks, memory, load", ["Host", "What", "Seen"], rows)


def _clocks(report: p.Plain) -> dict[str, t.Any]:
    return _table(
        "Clocks", ["Host", "Seen"], [[host, _pairs(p.known(one.get("clock")))] for host, one in _hosts(report) if one.get("clock")]
    )


def _pairs(one: p.Plain, without: t.Sequence[str] = ()) -> str:
    """Return the figures of a mapping, each with its name and unit; what is empty is left out."""
    words = []
    for name, value in one.items():
        label, text = _labelled(p.said(str(name), 60), value)
        words += [f"{label} {text}".strip()] if text and name not in without else []
    return ", ".join(words)


def _labelled(name: str, value: t.Any) -> tuple[str, str]:
    """Return a name without its unit, and its value with it."""
    amount, label = number(value), re.sub("_(bytes|share|seconds|at)$", "", name).replace("_", " ")
    if isinstance(value, bool):
        return label, "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return label if label != "load" else "", " ".join(_figure(one) for one in value[:8])
    if amount is None:
        return label, p.said(value, 100)
    if name.endswith("_bytes"):
        return label, _bytes(amount)
    if name.endswith("_share"):
        return label, f"{100 * amount:.1f} %"
    if name.endswith("_seconds"):
        return label, f"{amount:.3g} s"
    return label, _at(amount, None) if name in ("now", "at") else _figure(amount)


def _processes(report: p.Plain) -> dict[str, t.Any]:
    rows = [
        [
            host,
            _figure(one.get("pid")).replace("\u202f", ""),
            p.said(one.get("user"), 40),
            _figure(one.get("cpu_percent")),
            _bytes(one.get("memory_bytes")),
            span(number(one.get("seconds")) or 0) if number(one.get("seconds")) is not None else "",
            p.said(redact(p.said(one.get("command"), 300)), 200),
        ]
        for host, every in _hosts(report)
        for one in p.dicts(every.get("processes"))[:PROCESSES]
    ]
    head = ["Host", "PID", "User", "Processor %", "Memory", "Age", "Command"]
    return _table("Heaviest processes", head, rows, note="The heaviest processes of each host when it was looked at.")


def _series(report: p.Plain) -> list[dict[str, t.Any]]:
    """Return each series of two points or more as a drawing with its figures."""
    found: list[dict[str, t.Any]] = []
    for name, series in list(p.known(report.get("series")).items())[:SERIES]:
        points, title = points_of(series), p.said(str(name), 120)
        if len(points) < 2:
            continue
        values = [value for _at, value in points]
        times = f"{short(stamp(points[0][0]), None)} to {short(stamp(points[-1][0]), points[0][0])}"
        text = f"lowest {_figure(min(values))}, highest {_figure(max(values))}, last {_figure(values[-1])}"
        drawing = sparkline(points, f"series-{len(found)}", title, f"{len(points)} values, {times}; {text}")
        found.append({"title": title, "text": text, "times": times, "drawing": drawing})
    return found


def _logs(report: p.Plain) -> dict[str, t.Any]:
    """Return the tails of logs, those of what is not well first."""
    bad = {(one.get("host"), one.get("name")) for one in p.dicts(report.get("components")) if one.get("health") != "well"}
    every = [
        ((host, name) in bad, str(host), str(name), p.known(one))
        for host, logs in p.known(report.get("logs")).items()
        for name, one in p.known(logs).items()
    ]
    every.sort(key=lambda one: not one[0])
    return {"shown": [_log(host, name, one, report) for _bad, host, name, one in every[:LOGS]], "more": max(0, len(every) - LOGS)}


def _log(host: str, name: str, one: p.Plain, report: p.Plain) -> dict[str, t.Any]:
    lines = one.get("lines") if isinstance(one.get("lines"), (list, tuple)) else []
    shown = [one_line(redact(one_line(line, 2000)), 1000) for line in t.cast(t.Sequence[object], lines)[-LINES:]]
    begun = _at(one.get("from"), seconds_of(report.get("at")))
    about = [
        p.said(one.get("source"), 200),
        f"from {begun}" if begun else "",
        "older lines were left out" if one.get("cut") else "",
        p.said(one.get("error")),
    ]
    return {
        "title": f"{p.said(name, 60)} on {p.said(host, 60)}",
        "about": "; ".join(part for part in about if part),
        "text": "\n".join(shown),
    }
