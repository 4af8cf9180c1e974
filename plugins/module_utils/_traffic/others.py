# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what somebody else changed in a pool, while a run is at work, from what the run set itself and what a reload lost. Pure.

*stands* is how the run left the pool last: {identity, servers: {name: {weight, admin, address}}, maintenance: {on}}.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool

Stands = t.Mapping[str, t.Any]


def stands_of(state: t.Mapping[str, t.Any], change: t.Optional[t.Mapping[str, t.Any]] = None) -> dict[str, t.Any]:
    """Return how a pool stands, or will after *change*."""
    wanted = (change or {}).get("servers") or {}
    switch = (change or {}).get("maintenance")
    servers = {one["name"]: {key: wanted.get(one["name"], {}).get(key, one[key]) for key in pool.SETTABLE} for one in state["servers"]}
    on = bool(switch["on"]) if switch else bool(state["maintenance"]["on"])
    return {"identity": dict(state["identity"]), "servers": servers, "maintenance": {"on": on}}


def reloaded(state: t.Mapping[str, t.Any], stands: Stands) -> bool:
    return bool(stands) and stands["identity"] != state["identity"]


def changed(state: t.Mapping[str, t.Any], stands: Stands) -> dict[str, str]:
    """Return {server, or "maintenance": what somebody else did to it}; {} for nothing, or if nothing is known.

    After a reload of the balancer, what its configuration says is nobody's doing.
    """
    if not stands:
        return {}
    anew, servers = reloaded(state, stands), pool.by_name(state)
    found = {}
    for name, was in stands["servers"].items():
        said = _told(servers[name], was, anew) if name in servers else "is gone from the pool"
        if said:
            found[one_line(name, 40)] = said
    if bool(state["maintenance"]["on"]) != bool(stands["maintenance"]["on"]):
        found["maintenance"] = "was turned %s" % ("on" if state["maintenance"]["on"] else "off")
    return found


def overruled(was: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any], change: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return what somebody else changed between the look *was* and the look *now*, while *change* was made, as ``changed`` does.

    A value that is still as it was is no person's doing: the balancer did not do what it accepted.
    """
    found, before, after = changed(now, stands_of(was, change)), pool.by_name(was), pool.by_name(now)
    wanted = change.get("servers") or {}

    def theirs(name: str) -> bool:
        if name == "maintenance":
            return not change.get("maintenance")
        if name not in after:
            return True
        goal, first = wanted.get(name, {}), before[name]
        return any(after[name][key] not in (first[key], goal.get(key, first[key])) for key in pool.SETTABLE)

    return {name: said for name, said in found.items() if theirs(name)}


def since(state: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return {server: what somebody else did to it} since a run of this collection set something last, as ``changed`` does.

    What a run was about to set when it died is its own.
    """
    kept, found = state["kept"], {}
    if not kept:
        return {}
    meant, servers = (kept.get("intends") or {}).get("servers") or {}, pool.by_name(state)
    for name, was in kept["servers"].items():
        one = servers.get(name)
        if one is None:
            continue
        own = {key: one[key] if one[key] == (meant.get(name) or {}).get(key) else was.get(key, one[key]) for key in pool.SETTABLE}
        said = _told(one, own, kept["identity"] != state["identity"])
        if said:
            found[one_line(name, 40)] = said
    return found


def against(state: t.Mapping[str, t.Any], expected: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return {server: what somebody else did to it} since it was set as *expected*, as ``changed`` does."""
    servers, anew = pool.by_name(state), bool(state["kept"]) and state["kept"]["identity"] != state["identity"]
    there = {name: one for name, one in expected.items() if name in servers and isinstance(one, dict)}
    told = {name: _told(servers[name], {**{key: servers[name][key] for key in pool.SETTABLE}, **one}, anew) for name, one in there.items()}
    return {one_line(name, 40): said for name, said in told.items() if said}


def turned_on(state: t.Mapping[str, t.Any]) -> bool:
    """Return whether the maintenance of a pool is known to be somebody else's: no run turned it on, or not with this Retry-After."""
    was, meant = state["kept"].get("maintenance") or {}, (state["kept"].get("intends") or {}).get("maintenance") or {}
    if not state["maintenance"]["on"] or "on" not in was or _same(meant, state["maintenance"]):
        return False
    return not _same(was, state["maintenance"])


def _same(was: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> bool:
    return bool(was.get("on")) and was.get("retry_after", now["retry_after"]) in (None, now["retry_after"])


def _told(one: t.Mapping[str, t.Any], was: t.Mapping[str, t.Any], anew: bool) -> str:
    parts = []
    for key in pool.SETTABLE:
        config = pool.configured(one)[key] if anew else was[key]
        if one[key] in (was[key], config) or (key == "address" and one["named"]):
            continue
        parts.append("%s %s -> %s" % (key, was[key], one[key]) if key != "admin" else "%s -> %s" % (was[key], one[key]))
    return ", ".join(parts) + (" (its agent check may have done it)" if parts and one["agent"] else "")


def lost(state: t.Mapping[str, t.Any], stands: Stands, servers: t.Iterable[str]) -> list[str]:
    """Return which of *servers* no longer have the weight and state that the run gave them."""
    there = pool.by_name(state)
    return [
        name
        for name in servers
        if name in stands.get("servers", {})
        and any(there.get(name, {}).get(key) != stands["servers"][name][key] for key in ("weight", "admin"))
    ]


def refusal(found: t.Mapping[str, str]) -> StepError:
    """Return the error of a step that must not overrule them; its data names them as ``theirs``."""
    error = refused("changed_by_another", sentence(found))
    error.data["theirs"] = list(found)
    return error


def sentence(found: t.Mapping[str, str]) -> str:
    """Return what somebody else did, in one sentence. Runs of this collection would have needed the lease that this run holds."""
    listed = ", ".join("%s %s" % pair for pair in found.items())
    return "somebody else (a person or another program, not a run of this collection) changed the pool: %s" % listed
