# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a run is refused, as data: a code with its wording from the catalogue, and the next command.

A role names a refusal by its code, or by {code, case, values}. Meaning, unblock and next command are in catalogue.py; the text is
what was found, in the words of the look that found it, or that of a case.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS, Case

GREEN = ("nothing_to_do", "recovered", "rehearsed")
# What an entry of a role's refusals may have beside its code.
REFUSAL_KEYS = ("case", "values", "text", "unblock", "next_command")


def reason(code: str, text: str, *, case: str = "", values: t.Optional[t.Mapping[str, t.Any]] = None, **more: t.Any) -> dict[str, t.Any]:
    """Return a reason as data: code, text, unblock, next_command (still with its placeholders), and *more*.

    *case* chooses a more exact wording; without *text* its own is used. `unblock` and `next_command` in *more* replace
    those of the catalogue. Raises KeyError for an unknown code or case.
    """
    said = wording(code, case)
    unblock = fill(said.unblock, values or {})
    return dict({"code": code, "text": text or fill(said.text, values or {}), "unblock": unblock, "next_command": said.command}, **more)


def refused(code: str, text: str) -> StepError:
    """Return the error of a step that must stop, with its reason as data."""
    return StepError("%s: %s" % (code, text), reasons=[reason(code, text)])


def wording(code: str, case: str = "") -> Case:
    """Return what the catalogue says of a code or of one of its cases; its text is "" where the findings say what is wrong."""
    general = REASONS[code]
    exact = general.cases[case] if case else Case()
    return Case(exact.unblock or general.unblock, exact.command or general.command, exact.text)


def refusal(given: t.Any) -> dict[str, t.Any]:
    """Return one entry of a role's refusals (a code, or a mapping) as arguments of `reason`, empty ones left out."""
    if isinstance(given, str):
        return {"code": given}
    found = {key: given[key] for key in REFUSAL_KEYS if given.get(key)}
    return dict(found, code=given.get("code") or "state_not_handled")


def fill(sentence: str, values: t.Mapping[str, t.Any]) -> str:
    """Return *sentence* with each {name} that *values* has filled in; any other brace stays."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), sentence)


def with_commands(reasons: t.Iterable[t.Mapping[str, t.Any]], commands: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """Fill in the next commands: again, history, check_access, verify, graph, token, and every playbook by its name."""
    return [dict(one, next_command=_said_last(fill(str(one.get("next_command") or ""), commands))) for one in reasons]


def _said_last(command: str) -> str:
    """Return the command without a plain ``-e NAME=VALUE`` that a later one overrides."""
    name = command.rpartition(" -e ")[2].partition("=")[0].strip("'")
    return re.sub(r" -e %s=\S+(?= )" % re.escape(name), "", command) if name.isidentifier() else command
