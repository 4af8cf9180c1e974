# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses before any host is touched: no host, tasks left out by tags, a wrong variable, ansible-core too old, templates in free text."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible.utils.vars import load_extra_vars

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._given import slips
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._shown import shown
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import all_options, known_options, wrong_values
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import (
    commands,
    input_reasons,
    not_written,
    refused_run,
    resolved,
    write_outcome_file,
)

# How many hosts have their variables judged before the play; each remedy judges its own host's once more.
HOSTS = 50
SPEC: dict[str, t.Any] = {
    "hosts": {"type": "str", "required": True},
    "component": {"type": "str", "default": ""},
    "several": {"type": "bool", "default": False},
}


def _no_host(pattern: str, groups: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    existing = ", ".join(sorted(set(groups) - {"all", "ungrouped"})) or "none"
    text = f"no host of this inventory and limit matches '{pattern}'; existing groups: {existing}"
    return reason("no_host_matched", text, case="" if groups.get("all") else "no_inventory")


def _by_tags(task_vars: t.Mapping[str, t.Any], own: t.Optional[t.Iterable[str]]) -> list[dict[str, t.Any]]:
    """Return the reason against a run that leaves tasks out: what was not looked at would end green.

    own: the tags of this task. Those that a playbook of the user gives to all of ours leave nothing out; our tasks have no others, so that
    to skip a tag leaves nothing out either, but for the words that mean all of a kind.
    """
    chosen = [str(one) for one in task_vars.get("ansible_run_tags") or [] if str(one) != "all"]
    chosen = [] if {*chosen} & {str(one) for one in own or ()} - {"always"} else chosen
    left_out = [str(one) for one in task_vars.get("ansible_skip_tags") or [] if str(one) in ("all", "tagged", "untagged")]
    option, words = ("--tags", chosen) if chosen else ("--skip-tags", left_out)
    if not words:
        return []
    text = f"{option} {one_line(','.join(words), 60)} would leave tasks out, and what was not looked at would look green"
    return [reason("bad_input", text, case="tags")]


class ActionModule(ActionBase):  # type: ignore[misc]
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        super().run(tmp, task_vars)
        task_vars = resolved(task_vars or {}, self._templar)
        _result, params = self.validate_argument_spec(SPEC)
        given = load_extra_vars(self._loader)
        reasons = input_reasons(task_vars, given, all_options())
        matched = self._matched(str(params["hosts"]), task_vars)
        owned = _owned(matched[:HOSTS], task_vars)
        for slip in slips(given, {name: value for variables in owned.values() for name, value in variables.items()}):
            reasons.append(reason("bad_input", slip.text, next_command=slip.corrected(commands(task_vars, "")["again"])))
        reasons += [reason("bad_input", text) for text in _wrong(given, owned)]
        reasons += _by_tags(task_vars, self._task.tags)
        if not matched:
            reasons.append(_no_host(str(params["hosts"]), task_vars.get("groups") or {}))
        if not reasons and params["component"]:
            reasons += self._announce(str(params["component"]), matched, task_vars)
        if not reasons and params["several"]:
            reasons += self._announce_all(task_vars)
        if not reasons:
            return {"changed": False, "hosts": matched, "several": params["several"]}
        whose: dict[str, t.Any] = {"component": str(params["component"]), "hosts": matched} if params["component"] and matched else {}
        return shown(refused_run(reasons, task_vars, target=str(params["hosts"]), **whose), self._task, {})

    def _announce(self, component: str, hosts: list[str], task_vars: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """Write the outcome that holds where a play ends before its run is opened: an earlier one must not be mistaken for it."""
        note = "the play ended before this run was opened: see its error, for example a variable of the wrong type"
        for host in hosts:
            outcome = {
                "schema": 1, "outcome": "failed", "green": False, "host": host, "component": component, "target": f"{host}/{component}",
                "note": note, "reasons": [], "acts": [], "seconds": 0.0, "closed_at": None, "check_mode": self._task.check_mode,
            }  # fmt: skip
            try:
                write_outcome_file(outcome, dict(task_vars, ansible_play_hosts_all=hosts))
            except OSError as error:
                return [not_written(error)]
        return []

    def _announce_all(self, task_vars: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """Write the outcome of the whole that holds where the playbook ends before its summary."""
        note = "the playbook ended before its summary, so not every component was looked at"
        outcome = {"schema": 1, "outcome": "failed", "green": False, "components": [], "note": note, "closed_at": None}
        try:
            write_outcome_file(outcome, dict(task_vars, ansible_play_hosts_all=[]))
        except OSError as error:
            return [not_written(error)]
        return []

    def _matched(self, pattern: str, task_vars: dict[str, t.Any]) -> list[str]:
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        wanted = lookup.run([pattern], variables=task_vars)
        limited = set(task_vars.get("ansible_play_hosts_all") or [])
        return [str(host) for host in wanted if host in limited]


def _owned(hosts: t.Iterable[str], task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Mapping[str, t.Any]]:
    """Return the variables of each host as they are written, templates included."""
    known: t.Any = task_vars.get("hostvars")
    return {host: known.raw_get(host) for host in hosts} if hasattr(known, "raw_get") else {}


def _wrong(given: t.Mapping[str, t.Any], owned: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """Return a sentence for each variable of a role that is not what the role declares, on the command line or of a host."""
    told = dict(wrong_values(given, known_options()))
    for host, variables in owned.items():
        for name, text in wrong_values(variables, known_options()):
            told.setdefault(name, f"{text} (host {one_line(host, 60)})")
    return list(told.values())
