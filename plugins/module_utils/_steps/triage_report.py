# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``triage_report``: judges what was seen of all hosts, says it on one screen and writes it to files of the controller."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.freeze import parse_time
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import report as triage

BY_HOST = ("machines", "checks", "ledgers", "verified", "failed")
FILES = ("report_file", "markdown_file", "page_file")
ARGUMENT_SPEC: dict[str, t.Any] = {
    **{name: {"type": "dict", "default": {}} for name in BY_HOST},
    "only_input": {"type": "bool", "default": False},
    "window_seconds": {"type": "int", "default": 7200},
    "rules_file": {"type": "path", "default": ""},
    "severity": {"type": "str", "choices": ["", "P0", "P1", "P2", "P3"], "default": ""},
    "severity_reason": {"type": "str", "default": ""},
    "alert_at": {"type": "str", "default": ""},
    **{name: {"type": "path", "default": ""} for name in FILES},
    "known": {"type": "dict", "default": {}},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, verdict, headline, report, table, next_commands, files, stage, say, whole}; ``only_input`` only judges the options.

    Raises StepError that names the variable for an option that makes no sense, and for a file that cannot be written.
    """
    problems = wrong_input(params, time.time())
    if problems:
        raise StepError("; ".join(problems))
    if params["only_input"]:
        return {"changed": False, "stage": "assess", "say": []}
    report = triage.assemble(looked_in(params), _asked(params))
    files = [params[name] for name in FILES if params[name]]
    if not check:
        _write(params["report_file"], json.dumps(report, default=str) + "\n", "triage_report_file")
    return {
        "changed": bool(files) and not check,
        "verdict": report["verdict"],
        "headline": report["headline"],
        "report": {name: value for name, value in report.items() if name not in ("logs", "hosts")},
        "next_commands": [one["command"] for one in report["next"] if one["command"]],
        "files": files,
        "stage": "assess",
        "say": [report["headline"]],
        "table": _table(report),
        "whole": True,
    }


def wrong_input(params: Params, now: float) -> list[str]:
    """Return a sentence for each option that makes no sense, naming the variable of the role."""
    problems = []
    if params["severity"] and not params["severity_reason"].strip():
        problems.append("triage_severity needs a reason: add -e triage_severity_reason='why'")
    if params["severity_reason"].strip() and not params["severity"]:
        problems.append("triage_severity_reason is set without triage_severity: add -e triage_severity=P0 (or P1, P2, P3)")
    problems += _wrong_time(params["alert_at"], now) if params["alert_at"] else []
    for name in FILES:
        folder = os.path.dirname(os.path.abspath(params[name])) if params[name] else ""
        if folder and not os.path.isdir(folder):
            problems.append("triage_%s: there is no directory %s; make it or change the path" % (name, one_line(folder, 120)))
    return problems


def _wrong_time(text: str, now: float) -> list[str]:
    shown = one_line(text, 40)
    try:
        at = parse_time(text)
    except StepError:
        return ["triage_alert_at is %s: write a time with its zone, such as 2026-12-01T03:04:05Z" % shown]
    return ["triage_alert_at is %s, which is in the future: correct it" % shown] if at > now + 60 else []


def looked_in(params: Params) -> dict[str, triage.Looked]:
    """Return the look of each host; a host that only one of the tasks saw is there too."""
    hosts = dict.fromkeys(str(host) for name in BY_HOST for host in params[name])
    return {host: triage.looked_of(*(params[name].get(host) for name in BY_HOST)) for host in hosts}


def _asked(params: Params) -> triage.Asked:
    known = params["known"]
    now = time.time()
    return triage.Asked(
        now=now,
        seconds=round(now - float(known.get("begun") or now), 1),
        inventory=str(known.get("inventory") or ""),
        groups=known.get("groups") or {},
        commands=known.get("commands") or {},
        severity=params["severity"],
        severity_reason=params["severity_reason"],
        alert_at=params["alert_at"],
        window_seconds=params["window_seconds"],
    )


def _table(report: t.Mapping[str, t.Any]) -> list[str]:
    rows = [one for one in report["components"] if one["health"] != "well"]
    return ["%-8s %-20s %-16s %-14s %s" % (one["health"], one["name"], one["host"], one["state"], one["text"]) for one in rows]


def _write(path: str, text: str, variable: str) -> None:
    if not path:
        return
    try:
        write_durably(os.path.abspath(path), text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StepError("cannot write %s: %s: correct %s" % (one_line(path, 120), error.strerror or error, variable)) from None
