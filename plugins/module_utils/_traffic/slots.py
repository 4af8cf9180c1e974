# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge which container has which slot of a pool: plain data in and out. The word of a refusal is the code of its reason.

A slot is a server of the pool without a machine of its own: free in maintenance, in use with the address of its container. A slot that
this collection takes out has weight 0 and is drained; one drained with a weight was drained by a person and stays drained.
"""

from __future__ import annotations

import fnmatch
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool

State = t.Mapping[str, t.Any]
Server = t.Mapping[str, t.Any]
Servers = t.Dict[str, t.Dict[str, t.Any]]


class Slots(t.NamedTuple):
    """A word ("fit" if every container has its slot), its health, a sentence; and the changes of servers, in order.

    join: an address, with weight 0, until it is up. open: the weight. leave: drained, before the container goes. free: without a container.
    """

    word: str
    health: str
    text: str
    join: Servers = {}
    open: Servers = {}
    leave: Servers = {}
    free: Servers = {}
    told: tuple[str, ...] = ()

    def changes(self) -> Servers:
        """Return every server that changes, with all that is set on it."""
        found: Servers = {}
        for part in (self.join, self.open, self.leave, self.free):
            for name, one in part.items():
                found.setdefault(name, {}).update(one)
        return found


class _Scene(t.NamedTuple):
    """The slots by name; those of containers that stay or go; the others, free or stale; and the containers without a slot."""

    slots: t.Mapping[str, Server]
    stays: t.Mapping[str, str]
    goes: t.Mapping[str, str]
    loose: t.Sequence[str]
    lacking: t.Mapping[str, str]


def judge_slots(pool: State, pods: t.Sequence[State], wanted: int, options: State) -> Slots:
    """Judge the slots for *wanted* containers, of which the first of *pods* stay. *options*: slots, network, port, project, overflow."""
    if not pool["reachable"]:
        return Slots("unreachable", "unknown", str(pool["detail"]) or "the balancer does not answer")
    if not pool["pool"]:
        there = ", ".join(one_line(name, 40) for name in pool["pools"][:8]) or "none"
        return Slots("unknown_pool", "unknown", "there is no pool %s; it has %s" % (one_line(pool["wanted"], 60), there))
    slots, why = slots_of(pool, options)
    if why:
        return why
    addresses, doubt = addresses_of(pods, options)
    if doubt:
        return Slots("no_network", "sick", doubt)
    scene = _scene(slots, addresses, [pod["name"] for pod in pods[:wanted]], _taken_out(pool))
    found = _judged(pool, scene, wanted, options)
    if pool["rights"] in ("none", "maintenance") and (found.changes() or wanted > len(scene.stays)):
        return Slots("balancer_refused", "sick", traffic_pool.RIGHTS % pool["balancer"])
    return found


def slots_of(pool: State, options: State) -> tuple[t.Mapping[str, Server], t.Optional[Slots]]:
    """Return the servers that are slots by their names, or a refusal of what cannot be a slot."""
    servers = traffic_pool.by_name(pool)
    named = {name: one for name, one in servers.items() if any(fnmatch.fnmatchcase(name, word) for word in options["slots"])}
    strange = [one_line(word, 40) for word in options["slots"] if not fnmatch.filter(named, word)]
    if strange:
        there = ", ".join(servers) or "none"
        return {}, Slots("unknown_server", "unknown", "pool %s has no server %s; it has %s" % (pool["pool"], ", ".join(strange), there))
    if not pool["addresses"]:
        return {}, Slots("address_fixed", "sick", traffic_pool.FIXED % pool["balancer"])
    unfit = _unfit_slots(named, {*options["spare"], options["overflow"]})
    return ({}, Slots("no_slot", "sick", unfit)) if unfit else (named, None)


def _unfit_slots(named: t.Mapping[str, Server], others: t.AbstractSet[str]) -> str:
    """Return why some of the named servers cannot be slots, "" for no reason."""
    unfit = [name for name, one in named.items() if name in others or one["backup"] or not one["checked"]]
    if unfit:
        return "%s cannot be a slot: it is a spare or overflow server, a backup, or has no health check" % ", ".join(unfit)
    hasty = [name for name, one in named.items() if one["fall"] == 1]
    return "with fall 1 the balancer reports %s up before its first check; set fall to 2 or more" % ", ".join(hasty) if hasty else ""


def addresses_of(pods: t.Sequence[State], options: State) -> tuple[dict[str, str], str]:
    """Return the address of each container by name; and why a ready one has none, "" for no reason."""
    found, doubts = {}, []
    for pod in pods:
        networks, wanted = pod.get("networks") or {}, options["network"]
        fit = [name for name in networks if not wanted or name in (wanted, "%s_%s" % (options["project"], wanted))]
        if len(fit) == 1 and networks[fit[0]]:
            found[pod["name"]] = traffic_pool.at(networks[fit[0]], options["port"])
        elif pod["ready"]:
            there = one_line(", ".join(networks), 80) or "none"
            doubts.append("container %s has no single usable address; its networks are %s" % (pod["name"], there))
    return found, doubts[0] if doubts else ""


def _taken_out(pool: State) -> set[str]:
    """Return the servers in maintenance that runs had left ready: a person put them there."""
    was = pool["kept"].get("servers") or {}
    return {
        one["name"] for one in pool["servers"]
        if one["admin"] == traffic_pool.MAINT and (was.get(one["name"]) or {}).get("admin") == traffic_pool.READY
    }  # fmt: skip


def _scene(
    slots: t.Mapping[str, Server], addresses: t.Mapping[str, str], staying: t.Sequence[str], out: t.AbstractSet[str] = frozenset()
) -> _Scene:
    owners = {address: name for name, address in addresses.items()}
    stays: dict[str, str] = {}
    goes: dict[str, str] = {}
    for name, one in slots.items():
        owner = owners.pop(one["address"], "") if one["admin"] != traffic_pool.MAINT or name in out else ""
        if owner:
            (stays if owner in staying else goes)[name] = owner
    loose = [name for name in slots if name not in stays and name not in goes]
    have = set(stays.values())
    return _Scene(slots, stays, goes, loose, {name: addresses[name] for name in staying if name in addresses and name not in have})


def _judged(pool: State, scene: _Scene, wanted: int, options: State) -> Slots:
    places = _places(scene)
    refused = _lacks(pool, scene, wanted - len(scene.stays), len(places))
    if refused:
        return refused
    taken = dict(zip(places, scene.lacking.values()))
    join = _joining(scene, taken)
    usual = _usual_weight(pool, scene, options)
    opened: Servers = {name: {"weight": usual} for name in _waiting(scene, join) if usual > 0}
    leave: Servers = {name: {"weight": 0, "admin": traffic_pool.DRAIN} for name in scene.goes if not _out(scene.slots[name])}
    free = _freed(scene, taken)
    if not join and not opened and _last(pool, {*leave, *free}, options):
        return Slots("last_server", "sick", "pool %s would have no server left that takes requests" % pool["pool"])
    word = "slots" if join or opened or free else "fit"
    text = "pool %s: %s" % (pool["pool"], _sentence(scene, join, free))
    return Slots(word, "well" if word == "fit" else "sick", text, join, opened, leave, free, _set_by_hand(scene))


def _set_by_hand(scene: _Scene) -> tuple[str, ...]:
    """Return a sentence for each slot whose container stays and that a person took out."""
    drained = ["%s was drained by a person and stays drained" % name for name in scene.stays if _by_hand(scene.slots[name])]
    out = [name for name in scene.stays if scene.slots[name]["admin"] == traffic_pool.MAINT]
    return (*drained, *("%s was put into maintenance by a person and stays there" % name for name in out))


def _joining(scene: _Scene, taken: t.Mapping[str, str]) -> Servers:
    """Return the slots that get the address of a container, and those that a run drained although their container stays."""
    join: Servers = {name: {"address": address, "weight": 0, "admin": traffic_pool.READY} for name, address in taken.items()}
    back: Servers = {name: {"weight": 0, "admin": traffic_pool.READY} for name in scene.stays if _out(scene.slots[name])}
    return {**join, **back}


def _freed(scene: _Scene, taken: t.Mapping[str, str]) -> Servers:
    """Return the slots without a container that are not yet free."""
    left = {name: scene.slots[name] for name in scene.loose if name not in taken}
    return {name: _as_free(one) for name, one in left.items() if one["admin"] != traffic_pool.MAINT}


def _lacks(pool: State, scene: _Scene, more: int, places: int) -> t.Optional[Slots]:
    """Refuse more containers than there are free slots, and those that the balancer cannot reach."""
    if more > places:
        text = "%d more containers need a slot of pool %s, but only %d of %d are free" % (more, pool["pool"], places, len(scene.slots))
        return Slots("no_slot", "sick", text)
    down = [scene.slots[name] for name in scene.stays if scene.slots[name]["up"] is False]
    if not down:
        return None
    found = tuple(down[0][key] for key in ("name", "status", "address"))
    return Slots("slot_down", "sick", "the container of slot %s is ready, but the balancer reports it down (%s) at %s" % found)


def _places(scene: _Scene) -> list[str]:
    """Return the slots that a container may get, best first: free ones, then stale ones that take no requests."""
    free = [name for name in scene.loose if scene.slots[name]["admin"] == traffic_pool.MAINT]
    return free + [name for name in scene.loose if name not in free and not traffic_pool.takes_requests(scene.slots[name])]


def _usual_weight(pool: State, scene: _Scene, options: State) -> int:
    """Return the weight of a new container: that of the others, which a restoration may have lowered, even to 0."""
    others = [int(scene.slots[name]["weight"]) for name in scene.stays if scene.slots[name]["admin"] == traffic_pool.READY]
    spare = [one for one in pool["servers"] if one["name"] in options["spare"]]
    if any(others) or (others and any(traffic_pool.takes_requests(one) for one in spare)):
        return max(others)
    return max(int(one["initial"]) for one in scene.slots.values())


def _waiting(scene: _Scene, join: t.Mapping[str, t.Any]) -> list[str]:
    """Return the slots that need their weight: those that join, and those that a dead run left at 0."""
    late = [name for name in scene.stays if scene.slots[name]["admin"] == traffic_pool.READY and scene.slots[name]["weight"] == 0]
    return [*join, *late]


def _as_free(one: Server) -> dict[str, t.Any]:
    """Return a free slot as the configuration has it, so that a reload loses nothing; it takes no new requests."""
    return {"admin": traffic_pool.MAINT, **({"weight": one["initial"]} if _out(one) else {})}


def _out(one: Server) -> bool:
    """Return whether a run took the slot out; that run may have died since."""
    return bool(one["admin"] == traffic_pool.DRAIN and one["weight"] == 0)


def _by_hand(one: Server) -> bool:
    return bool(one["admin"] == traffic_pool.DRAIN and one["weight"] > 0)


def _last(pool: State, leaving: t.AbstractSet[str], options: State) -> bool:
    """Return whether a server takes requests now and none would without *leaving*."""
    taking = {one["name"] for one in pool["servers"] if one["name"] != options["overflow"] and traffic_pool.takes_requests(one)}
    return bool(taking) and taking <= leaving


def _sentence(scene: _Scene, join: t.Mapping[str, t.Any], free: t.Mapping[str, t.Any]) -> str:
    parts = ["%s has %s" % (slot, owner) for slot, owner in scene.stays.items()]
    parts += ["%s gets requests at %s" % (slot, one.get("address", scene.slots[slot]["address"])) for slot, one in join.items()]
    parts += ["%s has no container any more" % slot for slot in free]
    return one_line(", ".join(parts), 240) or "no container has a slot"
