# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the checks of one look from where each belongs, target and controller at the same time, and merges them in order."""

from __future__ import annotations

import importlib
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, StepError, guarded, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import kinds, traits
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.place import belongs_on_target, with_manager
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health, Proof, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import SERVICE_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import PACKAGE, part_of

Params = t.Dict[str, t.Any]
# How often a check is made again that the way to the target made unknown, and the options of such a look.
AGAIN, ONCE = 2, {"passes": 1, "window": 0.0, "timeout": 0.0, "wait_timeout": 0.0}


class ActionModule(LookAction):
    STEP = health_info

    def options(self) -> Params:
        """Validate as the module that the task names: those that document one kind of check are the same look at one check."""
        name = str(self._task.action).rpartition(".")[2]
        self.front = None if name == "health_info" else importlib.import_module(f"{PACKAGE}._steps.{name}")
        if self.front is None:
            return super().options()
        self._load_name = str(self._task.action)
        _result, given = self.validate_argument_spec(self.front.ARGUMENT_SPEC)
        return t.cast(Params, self.front.as_health_info(plain(given)))

    def finish(self, result: Result, own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Give a result the keys of the module that the task names."""
        return result if self.front is None or result.get("failed") else t.cast(Result, self.front.told(result))

    def progress(self, result: Result, waited: float, timeout: float) -> str:
        """Return the line after an unproven slice: how far the first check that can say so is."""
        words = [_progress_of(check) for check in result.get("checks") or []]
        known = next((word for word in words if word), "")
        if not known:
            return super().progress(result, waited, timeout)
        return one_line(f"{self._host}: {known}; waited {waited:.0f} of {timeout:.0f} s", 160)

    def execute(self, params: Params, own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Look, then pack the checks if wanted; until the last slice is merged they are needed unpacked."""
        checks = with_manager(params["checks"], self._named(task_vars))
        result = super().execute(dict(params, checks=checks, pack=False, quiet=False), own, task_vars)
        result = dict(result, say=[]) if params.get("quiet") and not result.get("failed") else result
        return checks_look.packed(result) if params.get("pack") and not result.get("failed") else result

    def _named(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return how the services of this host are named to their manager: the variables service_manager_* that are set."""
        given = {name: task_vars.get("service_manager_" + name) for name in SERVICE_SPEC if name != "manager"}
        return {name: plain(self._templar.template(value)) for name, value in given.items() if value}

    def look(self, params: Params, task_vars: dict[str, t.Any]) -> Result:
        """Look once (or for one slice): the controller's checks in a thread beside those of the target."""
        return guarded(lambda options, _check: self._look(options, task_vars), params, self._task.check_mode)

    def _look(self, params: Params, task_vars: dict[str, t.Any]) -> Result:
        checks = checks_look.validated(params["checks"], params["probe_timeout"])
        checks_look.require_needs(checks)
        looking = health_info.writers_left_out(checks)[0] if self._task.check_mode else checks
        places = [self._place_of(check, params) for check in looking]
        parts: dict[str, Result] = {}
        beside = threading.Thread(target=lambda: parts.update(controller=self._part("controller", params, looking, places, task_vars)))
        if "controller" in places:
            beside.start()
        try:
            if "target" in places:
                parts["target"] = self._part("target", params, looking, places, task_vars)
        finally:
            if "controller" in places:
                beside.join()
        if not looking:
            return health_info.run(params, self._task.check_mode)
        if set(parts) != set(places):
            raise StepError("the look from the controller crashed: run again with -vvv and report the traceback")
        skipped = health_info.writers_left_out(checks)[1] if self._task.check_mode else []
        left_out = [f"{name}: skipped, a rehearsal writes no canary" for name in skipped]
        return self._merged(params, looking, places, parts, left_out)

    def sources(self, params: t.Mapping[str, t.Any]) -> dict[str, str]:
        """Pipe only the kinds that are asked for: a look at a disk needs no Redis, PostgreSQL or HTTP code."""
        return {**super().sources(params), **part_of(kinds, traits.kinds_of(params["checks"]))}

    def _place_of(self, check: t.Mapping[str, t.Any], params: Params) -> str:
        """Return the check's own look_from, else the task's, else what suits what it looks at."""
        for wanted in (check["look_from"], params["look_from"]):
            if wanted != "auto":
                return str(wanted)
        return "target" if belongs_on_target(check) else "controller"

    def _part(self, place: str, params: Params, checks: t.Sequence[t.Any], places: list[str], task_vars: dict[str, t.Any]) -> Result:
        mine = [check for check, where in zip(checks, places) if where == place]
        result = self._asked(place, params, mine, task_vars)
        for _turn in range(AGAIN):
            late = [at for at, found in enumerate(result.get("checks") or []) if _came_late(found)]
            if not late:
                break
            # A first way to the target builds the connection; the next one is shorter.
            again = self._asked(place, dict(params, **ONCE), [mine[at] for at in late], task_vars)
            for at, found in zip(late, again.get("checks") or []):
                result["checks"][at] = found
        return result

    def _asked(self, place: str, params: Params, checks: t.Sequence[t.Any], task_vars: dict[str, t.Any]) -> Result:
        mine = [dict(check) for check in checks]
        same = self._connection.transport == "local" and all(belongs_on_target(check) for check in mine)
        sent = time.time()
        for check in mine:
            option = traits.trait(check, "SENT_AT")
            if option and check[option] is None:
                check[option] = sent
        secrets = _take_secrets(mine)
        options = dict(params, checks=mine, secrets=secrets, subject="", stands_on="target" if place == "target" or same else "controller")
        result = self.on_target(options, task_vars) if place == "target" else self.on_controller(options)
        where = self._task.delegate_to or task_vars.get("inventory_hostname")
        return self._placed(result, mine, sent, str(where if place == "target" else "the controller"))

    def _placed(self, result: Result, mine: t.Sequence[Params], sent: float, where: str) -> Result:
        """Return the result with the time to the target taken into account, and with where secret files have to lie."""
        if result.get("failed"):
            return result
        travel = 0.0 if self._connection.transport == "local" else max(0.0, time.time() - sent - float(result["seconds"]))
        found = [_with_travel(one, check, travel) for one, check in zip(result["checks"], mine)]
        return dict(result, checks=[_with_place(one, where) for one in found])

    def _merged(
        self, params: Params, checks: t.Sequence[t.Any], places: list[str], parts: dict[str, Result], left_out: list[str]
    ) -> Result:
        broken = next((part for part in parts.values() if part.get("failed")), None)
        if broken:
            raise StepError(str(broken.get("msg") or "the look failed"))
        queues = {place: iter(part["checks"]) for place, part in parts.items()}
        results = [dict(next(queues[place]), seen_from=place) for place in places]
        proof = _proof_of(results, list(parts.values()))
        result = checks_look.combine(results, params["subject"], proof, params["stage"])
        result["say"] += left_out
        if params.get("series"):
            result["series"] = {name: metrics for part in parts.values() for name, metrics in (part.get("series") or {}).items()}
        return result


def _proof_of(results: list[dict[str, t.Any]], parts: t.Sequence[Result]) -> Proof:
    """Return the proof of a look that was made in *parts*: from the controller and from the target."""
    well = checks_look.health_of(results) is State.WELL
    # Judging again, with the way to the target known, may turn a check either way.
    proven = all(part["proven"] or any(traits.trait(found, "judge_again") for found in part["checks"]) for part in parts)
    return Proof(
        results,
        well and proven,
        min(int(part["passes"]) for part in parts) if well else 0,
        max(int(part["looks"]) for part in parts),
        max(float(part["seconds"]) for part in parts),
        any(part.get("in_vain") for part in parts),
    )


def _with_place(found: dict[str, t.Any], where: str) -> dict[str, t.Any]:
    """Say of a secret file that cannot be used on which machine it has to lie: the one that looks."""
    more = f" (on {one_line(where, 60)})"
    return dict(found, findings=[dict(one, text=one["text"] + more) if one["name"] == "secret" else one for one in found["findings"]])


def _progress_of(found: t.Mapping[str, t.Any]) -> str:
    progress = traits.trait(found, "progress")
    return str(progress(found["state"], found["facts"])) if progress else ""


def _take_secrets(checks: t.Sequence[dict[str, t.Any]]) -> list[str]:
    """Move inline secrets out of *checks* into one list, which the shipped module declares as never to be logged."""
    secrets: list[str] = []
    for check in checks:
        places = {}
        for option, rule in kinds.KINDS[check["kind"]].OPTIONS.items():
            if rule.get("no_log") and check.get(option):
                places[option] = len(secrets)
                secrets.append(check.pop(option))
        if places:
            check["secret_at"] = places
    return secrets


def _came_late(found: t.Mapping[str, t.Any]) -> bool:
    """Return whether a check could not be judged only for the time that it took to reach the target."""
    return bool(traits.trait(found, "judge_again")) and found["health"] == State.UNKNOWN.value and bool(found["facts"].get("travel"))


def _with_travel(found: dict[str, t.Any], check: t.Mapping[str, t.Any], travel: float) -> dict[str, t.Any]:
    judge_again = traits.trait(check, "judge_again") if travel > 0 else None
    judged: t.Optional[Health] = judge_again(found["facts"], check, travel) if judge_again else None
    return dict(found, **judged.as_dict()) if judged else found
