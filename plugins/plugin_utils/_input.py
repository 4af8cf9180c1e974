# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spine's variables, checked by roles/remediation/meta/argument_specs.yml before anything is begun.

Ansible's own validation of a role would run free text through the template engine; this one leaves it alone.
"""

from __future__ import annotations

import math
import os
import typing as t

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.freeze import parse_time
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import is_free_text, options_of
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import Vars

# Least values; what is below makes no sense or no progress.
LEAST: t.Mapping[tuple[str, ...], float] = {
    ("remediation_lease_seconds",): 10,
    ("remediation_takeover_wait",): 0,
    ("remediation_evidence_max_bytes",): 0,
    ("remediation_approval_seconds",): 1,
    ("remediation_budget", "attempts"): 1,
    ("remediation_budget", "recoveries"): 1,
    ("remediation_budget", "within_seconds"): 1,
    ("remediation_patience", "passes"): 1,
    ("remediation_patience", "window"): 0,
    ("remediation_patience", "timeout"): 0,
    ("remediation_patience", "interval"): 0.01,
}
Reasons = t.List[t.Dict[str, t.Any]]


def specs() -> dict[str, t.Any]:
    """Return the argument spec of the spine's variables."""
    return options_of("remediation")


def typed_variables(task_vars: Vars, templar: t.Any) -> tuple[dict[str, t.Any], Reasons]:
    """Return (the spine's variables that are set, with their types; a reason for each that is wrong).

    Free text is only looked at, never templated.
    """
    values: dict[str, t.Any] = {}
    wrong: list[str] = []
    for name in specs():
        if task_vars.get(name) is None:
            continue
        try:
            values[name] = plain(task_vars[name] if is_free_text(specs()[name]) else templar.template(task_vars[name]))
        except AnsibleError as error:
            wrong.append(f"{name} cannot be templated: {one_line(error, 200)}")
    typed, errors = judge_types(values)
    wrong += errors or judge_values(typed)
    return typed, [reason("bad_input", text) for text in wrong]


def judge_types(values: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], list[str]]:
    """Return (values with their types, sentences that name each variable of a wrong type)."""
    typed: dict[str, t.Any] = {}
    wrong: list[str] = []
    for name, value in values.items():
        if is_free_text(specs()[name]) and isinstance(value, (dict, list)):
            wrong.append(f"{name} must be plain text")
            continue
        result = ArgumentSpecValidator({name: specs()[name]}).validate({name: value})
        wrong += [f"{name}: {one_line(text, 300)}" for text in result.error_messages[:1]]
        typed[name] = result.validated_parameters[name]
    return typed, wrong


def judge_values(values: Vars) -> list[str]:
    """Return a sentence for each variable with an impossible value."""
    wrong = []
    for path, least in LEAST.items():
        value: t.Any = values
        for key in path:
            value = (value or {}).get(key)
        if value is not None and not (math.isfinite(value) and value >= least):
            wrong.append(f"{'.'.join(path)} is {value}; it must be {least} or more")
    if not os.path.isabs(str(values.get("remediation_state_dir") or "/")):
        wrong.append("remediation_state_dir must be an absolute path")
    return wrong + [text for window in values.get("remediation_freeze_windows") or [] for text in _judge_window(window)]


def _judge_window(window: t.Mapping[str, t.Any]) -> list[str]:
    try:
        if parse_time(window["start"]) < parse_time(window["end"]):
            return []
    except StepError as error:
        return [str(error)]
    return [f"the window from {window['start']} ends before it starts; correct remediation_freeze_windows"]


def seconds_to_verify(values: Vars) -> float:
    """Return the longest time that verification may take according to `remediation_patience`, 60 if unset."""
    patience = values.get("remediation_patience")
    if not patience:
        return 60.0
    return float(patience["timeout"] + patience["window"] + patience["interval"] * (patience["passes"] + 1))
