# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several runs of one playbook come to: whether a component may follow its stores, and one table of all of them at the end."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import summary
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._shown import shown
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import commands, resolved, write_outcome_file

SPEC: dict[str, t.Any] = {
    "expected": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"component": {"type": "str", "required": True}, "hosts": {"type": "str", "required": True}},
    },
    "before": {"type": "str", "default": ""},
    # For playbooks that are often about one target, whose own outcome says it all: says nothing unless there are several.
    "several": {"type": "bool", "default": False},
    "fact": {"type": "str", "required": True},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        super().run(tmp, task_vars)
        known = resolved(task_vars or {}, self._templar)
        _result, params = self.validate_argument_spec(SPEC)
        params = plain(params)
        reached = [dict(one, hosts=self._hosts(one["hosts"], known), pattern=one["hosts"]) for one in params["expected"]]
        again = commands(known, "")["again"]
        rows = summary.rows_of(_ended(known, params["fact"]), summary.targets_of(reached), again)
        if params["before"]:
            return shown(self._before(params["before"], rows, summary.targets_of(reached), dict(known, again=again)), self._task, known)
        if params["several"] and len(summary.targets_of(reached)) < 2:
            return {"changed": False, "skipped": True}
        # Of several balancers a limit may leave any out; of the components of a service none is left out without a word.
        rows += [] if params["several"] else summary.absent_of(reached)
        return shown(_closing(rows, known, "traffic" if params["several"] else "recover_all"), self._task, known)

    def _before(self, component: str, rows: t.Sequence[summary.Row], stores: t.Sequence[str], known: t.Mapping[str, t.Any]) -> Result:
        """Return whether *component* may follow: every one of its *stores* has to be proven."""
        mine = [row for row in rows if row.target in stores]
        held = summary.held_back(
            component, str(known.get("inventory_hostname") or ""), mine, bool(self._task.check_mode), str(known["again"])
        )
        outcome = {"outcome": dict(held, closed_at=time.time())} if held else {}
        return {"changed": False, "stage": "guard", "say": [], "proceed": not held, **outcome}

    def _hosts(self, pattern: str, known: t.Mapping[str, t.Any]) -> list[str]:
        """Return the hosts of *pattern* that the limit leaves."""
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        limit = self._limited(lookup, known)
        return [str(host) for host in lookup.run([pattern], variables=known) if limit is None or str(host) in limit]

    def _limited(self, lookup: t.Any, known: t.Mapping[str, t.Any]) -> t.Optional[set[str]]:
        limit = str(known.get("ansible_limit") or "")
        return set(map(str, lookup.run([limit], variables=known))) if limit else None


def _ended(known: t.Mapping[str, t.Any], fact: str) -> list[dict[str, t.Any]]:
    """Return the outcomes that all hosts noted in *fact*, in the order in which they ended."""
    hostvars = known.get("hostvars") or {}
    noted = [one for host in hostvars for one in plain(hostvars[host].get(fact) or [])]
    return sorted((dict(one) for one in noted if isinstance(one, dict)), key=lambda one: float(one.get("closed_at") or 0))


def _closing(rows: t.Sequence[summary.Row], known: t.Mapping[str, t.Any], name: str) -> Result:
    """Return the table of all *rows*, as data, as statistics and as a file; failed unless all of them are green."""
    worst = summary.worst_of(rows)
    green = worst != "missing" and all(row.green for row in rows)
    told = [row.as_dict() for row in rows]
    whole = {"schema": 1, "outcome": worst, "green": green, "components": told, "closed_at": time.time()}
    result: Result = {
        "changed": False,
        "failed": not green,
        "stage": "close",
        "summary": whole,
        # What Ansible's own view shows; ours shows the summary.
        "msg": summary.lines_of(rows) or ["no component was found: correct the groups of the inventory, or the limit"],
        "_ansible_verbose_always": True,
        "ansible_stats": {"data": {name: whole}, "per_host": False, "aggregate": False},
    }
    try:
        whole["controller_file"] = write_outcome_file(dict(whole), dict(known, ansible_play_hosts_all=[]))
    except OSError as error:
        result["msg"].append("remediation_outcome_file could not be written: %s" % error)
    return result
