# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The step of log_summary_info: what the logs of this host say went wrong, counted where they are. Only reads."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.sources import kind_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.summary import Asked, load_summary
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import moment_of, window_of

_KINDS = "path, unit, container, compose or argv"
_SOURCE: t.Dict[str, t.Any] = {
    "name": {"type": "str", "default": ""},
    "path": {"type": "path"},
    "rotated": {"type": "bool", "default": True},
    "unit": {"type": "str"},
    "container": {"type": "str"},
    "compose": {
        "type": "dict",
        "options": {"project": {"type": "str", "required": True}, "service": {"type": "str", "required": True}},
    },
    "argv": {"type": "list", "elements": "str"},
    "utc": {"type": "bool", "default": False},
}
ARGUMENT_SPEC: t.Dict[str, t.Any] = {
    "sources": {"type": "list", "elements": "dict", "required": True, "options": _SOURCE},
    "since": {"type": "str", "default": ""},
    "until": {"type": "str", "default": ""},
    "change_at": {"type": "str", "default": ""},
    "masked": {"type": "bool", "default": True},
    "top": {"type": "int", "default": 20},
    "max_bytes": {"type": "int", "default": 2 << 30},
    "seconds": {"type": "float", "default": 120.0},
    "stage": {"type": "str", "choices": ["assess", "verify"], "default": "assess"},
}
_SHOWN = 5


def run(params: Params, check: bool) -> Result:
    """Read the logs and count; raises StepError for options that cannot work, never for a log that cannot be read."""
    answer = load_summary(asked_of(params, time.time()))
    return {"changed": False, "stage": params["stage"], **answer, "say": sentences(answer)}


def asked_of(params: Params, now: float) -> Asked:
    """Return what is asked, or raise StepError with what to change."""
    for number, source in enumerate(params["sources"]):
        if not kind_of(source):
            raise StepError("sources[%d] has none or several of %s: give exactly one" % (number, _KINDS))
        if str(source.get("unit") or source.get("container") or "").startswith("-"):
            raise StepError("sources[%d] begins with a dash: give the name of a unit or container" % number)
    for name, least in (("top", 1), ("max_bytes", 1 << 20), ("seconds", 1)):
        if params[name] < least:
            raise StepError("%s is %s: give at least %d" % (name, params[name], least))
    change = moment_of(params["change_at"], "change_at", now) if params["change_at"] else None
    return Asked(
        params["sources"], window_of(params["since"], params["until"], now), now, time.monotonic() + params["seconds"],
        min(params["top"], 500), params["max_bytes"], params["masked"], change,
    )  # fmt: skip


def sentences(answer: t.Mapping[str, t.Any]) -> list[str]:
    """Return what was found in a few lines, and everything that was not seen."""
    said = [_first(answer), *_ranked(answer)]
    for row in answer.get("exhaustion", [])[:3]:
        said.append("ran out: %s, %s: %s" % (row["ran_out"], counted(row["count"], "lines"), one_line(row["example"], 120)))
    for source in answer["sources"]:
        said += ["%s: %s" % (source["name"], text) for text in [source["error"], *source["notes"]] if text]
    return [one for one in [*said, answer["raw"]["note"], answer.get("errors_note", "")] if one]


def _first(answer: t.Mapping[str, t.Any]) -> str:
    first = answer.get("first_error")
    if not first:
        return ""
    return "first error %s in %s: %s" % (first["at"] or "(without a time)", first["source"], one_line(first["line"], 120))


def _ranked(answer: t.Mapping[str, t.Any]) -> list[str]:
    if "errors" not in answer:
        rows = [(row["count"], row["line"]) for row in answer["raw"]["top"]]
    else:
        rows = [(row["count"], row["masked"]) for row in answer["errors"]]
    if not rows:
        unread = any(source["error"] for source in answer["sources"])
        return ["no error was found in what could be read" if unread else "no error was found"]
    return ["%d x %s" % (count, one_line(text, 130)) for count, text in rows[:_SHOWN]]
