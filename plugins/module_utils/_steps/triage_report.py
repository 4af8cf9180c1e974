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
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import report as triage
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.clock import seconds_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.markdown import as_markdown
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import fields, number
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.screen import screen_lines
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.severity import override_of

BY_HOST = ("machines", "checks", "ledgers", "verified", "failed", "services")
FILES = ("report_file", "markdown_file", "page_file")
NO_RULES: t.Mapping[str, t.Any] = {"severities": [], "rules": [], "depends": {}, "types": [], "patterns": []}
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
    """Return {changed, verdict, headline, report, screen, next_commands, files, stage, say}; ``only_input`` only judges the options.

    ``known`` is what only the controller has: groups, inventory, begun, and the functions commands(hosts), rules(file) and page(report).
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
        _write(params, report)
    return {
        "changed": bool(files) and not check,
        "verdict": report["verdict"],
        "headline": report["headline"],
        "report": {name: value for name, value in report.items() if name not in ("logs", "hosts", "metrics")},
        "next_commands": [one["command"] for one in report["next"] if one["command"]],
        "files": files,
        "stage": "assess",
        "say": [],
        "screen": [list(line) for line in screen_lines(report, file="" if check else params["report_file"])],
    }


def wrong_input(params: Params, now: float) -> list[str]:
    """Return a sentence for each option that makes no sense, naming the variable of the role."""
    judged: list[t.Callable[[], t.Any]] = [
        lambda: override_of(params["severity"], params["severity_reason"]),
        lambda: _require_time(params["alert_at"], now),
        lambda: _rules(params),
        *(_bound_folder(name, params[name]) for name in FILES if params[name]),
    ]
    return [problem for problem in map(_problem, judged) if problem]


def _problem(judge: t.Callable[[], t.Any]) -> str:
    try:
        judge()
    except StepError as error:
        return str(error)
    return ""


def _bound_folder(name: str, path: str) -> t.Callable[[], None]:
    def judge() -> None:
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise StepError("triage_%s: there is no directory %s; make it or change the path" % (name, one_line(folder, 120)))
        if os.path.lexists(path) and not os.path.isfile(path):
            raise StepError("triage_%s: %s is there and is no regular file; change the path" % (name, one_line(path, 120)))

    return judge


def _require_time(text: str, now: float) -> None:
    if not text:
        return
    at, shown = seconds_of(text), one_line(text, 40)
    if at is None:
        raise StepError("triage_alert_at is %s: write a time with its zone, such as 2026-12-01T03:04:05Z" % shown)
    if at > now + 60:
        raise StepError("triage_alert_at is %s, which is in the future: correct it" % shown)


def looked_in(params: Params) -> dict[str, triage.Looked]:
    """Return the look of each host; a host that only one of the tasks saw is there too."""
    hosts = dict.fromkeys(str(host) for name in BY_HOST for host in params[name])
    return {host: triage.looked_of(*(params[name].get(host) for name in BY_HOST)) for host in hosts}


def _rules(params: Params) -> dict[str, t.Any]:
    load = params["known"].get("rules")
    return t.cast(t.Dict[str, t.Any], load(params["rules_file"])) if load else dict(NO_RULES)


def _asked(params: Params) -> triage.Asked:
    known, now = params["known"], time.time()
    return triage.Asked(
        at=now,
        seconds=round(max(0.0, now - _begun(params, now)), 1),
        inventory=str(known.get("inventory") or ""),
        groups=known.get("groups") or {},
        rules=_rules(params),
        commands=known.get("commands") or (lambda _hosts: {}),
        override=override_of(params["severity"], params["severity_reason"]),
        alert_at=params["alert_at"],
        window_seconds=params["window_seconds"],
    )


def _begun(params: Params, now: float) -> float:
    """Return when the first look began, by the controller's clock as far as a host said how far its own is off."""
    machines = [fields(one) for one in params["machines"].values()]
    found = [(number(one.get("at")), number(fields(one.get("clock")).get("ahead_seconds"))) for one in machines]
    return min((at - (ahead or 0.0) for at, ahead in found if at is not None), default=now)


def _write(params: Params, report: triage.Report) -> None:
    page = params["known"].get("page")
    _replace(params["report_file"], lambda: json.dumps(report, default=str, indent=1) + "\n", "triage_report_file")
    _replace(params["markdown_file"], lambda: as_markdown(report), "triage_markdown_file")
    _replace(params["page_file"] if page else "", lambda: page(report), "triage_page_file")


def _replace(path: str, text: t.Callable[[], str], variable: str) -> None:
    if not path:
        return
    try:
        write_durably(os.path.abspath(path), text().encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StepError("cannot write %s: %s: correct %s" % (one_line(path, 120), error.strerror or error, variable)) from None
