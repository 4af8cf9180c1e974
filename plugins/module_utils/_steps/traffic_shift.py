# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``traffic_shift``: sets weights, states and addresses of servers of a pool, and turns maintenance on or off."""

from __future__ import annotations

import json
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import account, others, pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import pools

ARGUMENT_SPEC: dict[str, t.Any] = {
    "target": {"type": "dict", "required": True, "options": pools.BALANCER_SPEC},
    "servers": {"type": "dict", "default": {}},
    "maintenance": {"type": "dict"},
    # How the run left the pool; what somebody else changed since is refused, or left as it is.
    "stands": {"type": "dict", "default": {}},
    "others": {"type": "str", "choices": ["refuse", "leave"], "default": "refuse"},
    "timeout": {"type": "float", "default": 10.0},
    "until": {"type": "str", "choices": ["set", "up", "idle"], "default": "set"},
    "wait": {"type": "float", "default": 30.0},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}
# Seconds between two looks of a wait.
PAUSE = 0.1
# Seconds to listen whether maintenance keeps requests out.
LISTEN = 0.5


def run(params: Params, check: bool) -> Result:
    """Return {changed, before, after, stands, left_alone, doubts, diff, stage, say}; doubts are sentences on what a reload would lose.

    Raises StepError, with nothing changed or the change rolled back, if the balancer does not answer or refuses.
    """
    state = pools.load_pool(params["target"], params["timeout"])
    if not state["reachable"]:
        raise refused("balancer_refused", state["detail"])
    if not state["pool"]:
        raise refused("unknown_pool", "there is no pool %s" % one_line(params["target"]["pool"], 60))
    # A rehearsal sets nothing that could be found there.
    params, left, alone = (params, [], []) if check else _without_others(params, state)
    change = _change_of(params, state)
    before = pool.without_counts(state)
    after, warnings = _with(before, change), left
    changed = after != before
    if changed and not check:
        warnings, taken = _shifted(params, change)
        warnings, alone = left + warnings, alone + taken
    if not check:
        warnings += _waited(params, pool.back_of(state, change["servers"]))
        warnings += _let_through(params) if (change["maintenance"] or {}).get("on") and changed else []
    diff = {"before": _shown(before), "after": _shown(after)}
    say = ["%s: %s" % (state["pool"], one) for one in _told(before, after, check)] + ["warning: %s" % one for one in warnings]
    return {
        "changed": changed, "before": before, "after": after, "stands": others.stands_of(state, change), "doubts": warnings, "diff": diff,
        "left_alone": alone, "stage": params["stage"], "say": say,
    }  # fmt: skip


def _without_others(params: Params, state: pool.BalancerState) -> tuple[Params, list[str], list[str]]:
    """Return what may still be changed, and sentences on and names of what somebody else changed. Raises StepError to refuse it."""
    taken = others.changed(state, params["stands"])
    if not taken:
        return params, [], []
    if params["others"] == "refuse":
        raise others.refusal(taken)
    servers = {name: one for name, one in params["servers"].items() if name not in taken}
    maintenance = None if "maintenance" in taken else params["maintenance"]
    return dict(params, servers=servers, maintenance=maintenance), ["%s; that was left alone" % others.sentence(taken)], list(taken)


def _shifted(params: Params, change: t.Mapping[str, t.Any]) -> tuple[list[str], list[str]]:
    """Make the change; returns warnings, and what somebody else changed meanwhile. Raises StepError, on a way back not for that."""
    try:
        return pools.shift_pool(params["target"], change, params["timeout"]), []
    except StepError as error:
        if params["others"] == "refuse" or not error.data.get("theirs"):
            raise
        return ["%s; that was left alone" % error.data["reasons"][0]["text"]], error.data["theirs"]


def _waited(params: Params, back: t.Mapping[str, t.Any]) -> list[str]:
    """Wait until the named servers are up, or have no session left; returns warnings.

    Raises StepError, after a roll back, if they do not come up. A session that does not end is only a warning.
    """
    clock, late = service_state.Clock(params["wait"]), _late_of(params)
    if params["until"] == "set" or service_state.wait_for(lambda: not late(), clock, PAUSE):
        return []
    left = late()
    if not left:
        return []
    listed = ", ".join(left)
    if params["until"] == "idle":
        return ["after %g s these still have sessions: %s" % (params["wait"], listed)]
    pools.shift_pool(params["target"], {"servers": back}, params["timeout"])
    raise refused("slot_down", "these did not come up within %g s and were rolled back: %s" % (params["wait"], listed))


def _let_through(params: Params) -> list[str]:
    """Return a warning if servers still get requests although maintenance is on: the switch may be in no rule that clients pass."""
    looks = []
    for pause in (0.0, LISTEN):
        time.sleep(pause)
        looks.append(pools.load_pool(params["target"], params["timeout"]))
    _share, number = account.reached(looks[0], looks[1], ())
    text = "%d requests reached servers within %g s although maintenance is on: those of operators and health probes do; "
    return [(text + "traffic_scaling_client_url would prove what clients get") % (number, LISTEN)] if number > 0 else []


def _late_of(params: Params) -> t.Callable[[], list[str]]:
    """Return a look that names the servers that are not ready yet."""

    def late() -> list[str]:
        servers = pool.by_name(pools.load_pool(params["target"], params["timeout"]))
        return [
            _lateness(name, servers.get(name), params["until"])
            for name in params["servers"]
            if not _done(servers.get(name), params["until"])
        ]

    return late


def _done(one: t.Optional[t.Mapping[str, t.Any]], until: str) -> bool:
    if one is None:
        return False
    if until == "idle":
        return not one["sessions"]
    return one["up"] is True and one["passed"] is not False


def _lateness(name: str, one: t.Optional[t.Mapping[str, t.Any]], until: str) -> str:
    if one is None:
        return "%s is missing" % name
    if until == "idle":
        return "%s (%s)" % (name, one["sessions"])
    hasty = "; with fall 1 it is reported up before its first check" if one["fall"] == 1 else ""
    return "%s at %s (%s%s)" % (name, one["address"], one["status"] or "no check", hasty)


def _change_of(params: Params, state: pool.BalancerState) -> dict[str, t.Any]:
    """Return the change with whole numbers in it; raises StepError for what the balancer would not accept."""
    return {"servers": _servers_of(params, state), "maintenance": _switch_of(params["maintenance"], state)}


def _servers_of(params: Params, state: pool.BalancerState) -> dict[str, dict[str, t.Any]]:
    servers, largest = pool.by_name(state), pools.max_weight(params["target"])
    strange = sorted(set(params["servers"]) - set(servers))
    if strange:
        raise refused("unknown_server", "pool %s has no server %s" % (state["pool"], ", ".join(one_line(name, 40) for name in strange)))
    wanted = {str(name): _fit(str(name), given, servers[name], largest) for name, given in params["servers"].items()}
    moved = [name for name, one in wanted.items() if one.get("address", servers[name]["address"]) != servers[name]["address"]]
    if moved and not state["addresses"]:
        raise refused("address_fixed", pool.FIXED % state["balancer"])
    return wanted


def _switch_of(given: t.Optional[t.Mapping[str, t.Any]], state: pool.BalancerState) -> t.Optional[dict[str, t.Any]]:
    """Return the maintenance to set, None if it stays; without a switch in the configuration it cannot be on."""
    if not given:
        return None
    now = state["maintenance"]
    if given.get("on") and not now["prepared"]:
        raise refused("switch_missing", "pool %s cannot be put into maintenance: %s" % (state["pool"], now["detail"]))
    wanted = {"on": bool(given["on"]), "retry_after": int(given.get("retry_after") or 0), "reason": ""}
    same = wanted["on"] == now["on"] and (not wanted["on"] or wanted["retry_after"] == now["retry_after"])
    return None if same else wanted


def _fit(name: str, given: t.Any, now: t.Mapping[str, t.Any], largest: int) -> dict[str, t.Any]:
    """Return {weight, admin} of what is given for one server, and its address; raises StepError for what no balancer accepts."""
    if not isinstance(given, dict) or not re.fullmatch("-?[0-9]{1,9}", str(given.get("weight", now["weight"]))):
        raise refused("weight_out_of_range", "%s: %s is not a {weight, admin, address}" % (name, one_line(given, 40)))
    weight, admin = int(given.get("weight", now["weight"])), str(given.get("admin", now["admin"]))
    if not 0 <= weight <= largest or admin not in (pool.READY, pool.DRAIN, pool.MAINT):
        text = "%s: %d, %s; a weight is 0 to %d, a state ready, drain or maint" % (name, weight, one_line(admin, 20), largest)
        raise refused("weight_out_of_range", text)
    if "address" not in given:
        return {"weight": weight, "admin": admin}
    address = pool.address_of(given["address"])
    if not address:
        raise refused("weight_out_of_range", "%s: %s is not an address IP:PORT" % (name, one_line(given["address"], 60)))
    if address != now["address"] and pool.barred(address, now["address"]):
        raise refused("bad_input", "%s: %s" % (name, pool.barred(address, now["address"])))
    return {"weight": weight, "admin": admin, "address": address}


def _with(before: t.Mapping[str, t.Any], change: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    servers = [dict(one, **change["servers"].get(one["name"], {})) for one in before["servers"]]
    switch = change["maintenance"]
    after = {"on": switch["on"], "retry_after": switch["retry_after"] if switch["on"] else None} if switch else before["maintenance"]
    return dict(before, servers=servers, maintenance=after)


def _shown(state: t.Mapping[str, t.Any]) -> str:
    return json.dumps(state, indent=1, sort_keys=True) + "\n"


def _told(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any], check: bool) -> list[str]:
    """Return sentences on what changes, or would change."""
    verb = "would set " if check else ""
    lines = []
    moved = [(one, two) for one, two in zip(before["servers"], after["servers"]) if one != two]
    if moved:
        lines.append(verb + ", ".join("%s %s" % (two["name"], _difference(one, two)) for one, two in moved))
    if before["maintenance"] != after["maintenance"]:
        switch = after["maintenance"]
        lines.append(verb + ("maintenance on, retry after %s s" % switch["retry_after"] if switch["on"] else "maintenance off"))
    return lines


def _difference(one: t.Mapping[str, t.Any], two: t.Mapping[str, t.Any]) -> str:
    parts = ["weight %s -> %s" % (one["weight"], two["weight"])] if one["weight"] != two["weight"] else []
    parts += ["at %s" % two["address"]] if one["address"] != two["address"] else []
    return " ".join(parts + (["%s -> %s" % (one["admin"], two["admin"])] if one["admin"] != two["admin"] else []))
