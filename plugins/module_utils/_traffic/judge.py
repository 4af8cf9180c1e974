# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the state of a pool for a goal: nothing to do, a change, or a refusal by name. Plain data in and out.

The word of a refusal is the code of its reason. A pool has *main* servers, whose share is changed; *spare* servers, a backup pool that
takes the rest; and the *overflow*, which answers the rest with a 503 when no spare server is up.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.gates import unfit_gates
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.others import stands_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.weights import weights_for

State = t.Mapping[str, t.Any]
Options = t.Mapping[str, t.Any]
# Percentage points by which a share in whole weights may miss the exact one.
NEAR = 1.0
# Ways to choose a server that give no share by weights: the others are measured.
NOT_BY_WEIGHT = ("leastconn", "first", "static-rr")
# The most seconds that maintenance may last (a month), and that clients may be asked to wait (a week).
LONGEST, LATEST = 31 * 24 * 3600, 7 * 24 * 3600


class Verdict(t.NamedTuple):
    """The state, its health, a sentence, and the acts with their plan ({} without acts)."""

    word: str
    health: str
    text: str
    actions: tuple[str, ...] = ()
    plan: t.Mapping[str, t.Any] = {}


class Sides(t.NamedTuple):
    """The servers of a pool by role, each by its name."""

    main: t.Mapping[str, t.Mapping[str, t.Any]]
    spare: t.Mapping[str, t.Mapping[str, t.Any]]
    overflow: t.Mapping[str, t.Mapping[str, t.Any]]

    def rest(self) -> list[str]:
        """Return the servers that take the rest: the spare servers that are up, else the overflow; [] for none.

        A server that the balancer marks as backup gets nothing while a main server is up, whatever its weight.
        """
        return [name for name, one in self.spare.items() if one["up"] and not one["backup"]] or [
            name for name, one in self.overflow.items() if one["up"] is not False and not one["backup"]
        ]

    def able(self) -> dict[str, int]:
        """Return the main servers that can take requests now, with their usual weights."""
        there = {name: one for name, one in self.main.items() if not one["backup"] and name not in self.taken_out()}
        return {name: int(one["initial"]) for name, one in there.items() if one["up"] is not False}

    def taken_out(self) -> set[str]:
        """Return the main servers that a person took out: those in maintenance, and those drained while another is ready."""
        other = any(one["admin"] == pool.READY and one["up"] is not False and not one["backup"] for one in self.main.values())
        return {name for name, one in self.main.items() if one["admin"] == pool.MAINT or (other and one["admin"] == pool.DRAIN)}


def judge_traffic(state: State, options: Options, largest: int) -> Verdict:
    """Judge the pool for ``goal``: look, maintenance_on, maintenance_off, set or restore."""
    away = _not_there(state, options)
    if away:
        return away
    judge = {
        "look": _judge_look, "maintenance_on": _judge_on, "maintenance_off": _judge_off, "set": _judge_set, "restore": _judge_restore,
    }[options["goal"]]  # fmt: skip
    unfit = _unfit(options)
    if unfit:
        return Verdict("bad_input", "sick", unfit)
    somebody = _set_by_somebody(state, options)
    if somebody:
        return somebody
    verdict = judge(state, options, largest)
    needed = ("all", "maintenance", "") if set(verdict.plan) <= {"maintenance"} else ("all", "")
    return verdict if not verdict.actions or state["rights"] in needed else Verdict("balancer_refused", "sick", _no_rights(state))


def _not_there(state: State, options: Options) -> t.Optional[Verdict]:
    """Return the verdict on a balancer, pool or server that is not there, None if all are."""
    if not state["balancer"]:
        return Verdict("bad_input", "sick", str(state["detail"]))
    if not state["reachable"]:
        return Verdict("unreachable", "unknown", str(state["detail"]) or "the balancer does not answer")
    if not state["pool"]:
        there = ", ".join(one_line(name, 40) for name in state["pools"][:8]) or "none"
        return Verdict("unknown_pool", "unknown", "there is no pool %s; it has %s" % (one_line(state["wanted"], 60), there))
    strange = sorted(_named(options) - set(pool.by_name(state)))
    if strange:
        there = ", ".join(one["name"] for one in state["servers"]) or "none"
        names = ", ".join(one_line(name, 40) for name in strange)
        return Verdict("unknown_server", "unknown", "pool %s has no server %s; it has %s" % (state["pool"], names, there))
    return None


def _set_by_somebody(state: State, options: Options) -> t.Optional[Verdict]:
    """Return the refusal to end, with nobody asking, a maintenance that no run of this collection turned on."""
    if not (options.get("by_itself") and state["maintenance"]["on"] and (state["kept"].get("maintenance") or {}).get("on") is False):
        return None
    text = "no run of this collection turned on the maintenance of pool %s: a person ends it, or restores the traffic" % state["pool"]
    return Verdict("changed_by_another", "sick", text)


def _no_rights(state: State) -> str:
    return str(pool.RIGHTS % state["balancer"])


def _unfit(options: Options) -> str:
    """Return what is wrong with the input for the goal, "" for nothing."""
    if options["goal"] == "maintenance_on" and not 0 < float(options.get("lasts", 3600)) <= LONGEST:
        return "traffic_scaling_maintenance_seconds is %g; it must be above 0 and at most %d" % (float(options.get("lasts", 3600)), LONGEST)
    if options["goal"] == "maintenance_on" and not 1 <= options["retry_after"] <= LATEST:
        return "traffic_scaling_retry_after is %d; it must be 1 to %d seconds" % (options["retry_after"], LATEST)
    if options["goal"] == "set" and not 0 <= float(options.get("lasts", 3600)) <= LONGEST:
        return "traffic_scaling_set_seconds is %g; it must be 0 (no end) to %d" % (float(options.get("lasts", 3600)), LONGEST)
    if options["goal"] == "restore" and not 1 <= options["warm_up_share"] <= 100:
        return "traffic_scaling_warm_up_share is %d; it must be 1 to 100" % options["warm_up_share"]
    return unfit_gates(options.get("watch") or {}) if options["goal"] == "restore" else ""


def _named(options: Options) -> set[str]:
    wanted = options["wanted"] if options["goal"] == "set" and isinstance(options["wanted"], dict) else ()
    names = {*options["main"], *options["spare"], *(str(name) for name in wanted)}
    return names | ({options["overflow"]} if options["overflow"] else set())


def sides_of(state: State, options: Options) -> Sides:
    """Sort the pool's servers: main are those named, or all that usually take requests and are neither spare nor overflow."""
    spare, overflow = set(options["spare"]), options["overflow"]
    others = spare | {overflow}
    usual = [one["name"] for one in state["servers"] if one["name"] not in others and one["initial"] > 0 and not one["backup"]]
    main = set(options["main"] or usual)
    servers = pool.by_name(state)
    return Sides(
        {name: one for name, one in servers.items() if name in main},
        {name: one for name, one in servers.items() if name in spare and name not in main},
        {name: one for name, one in servers.items() if name == overflow},
    )


def share_now(state: State, sides: Sides) -> float:
    """Return the share, in percent, of clients' requests that main servers get now."""
    return 0.0 if state["maintenance"]["on"] else pool.share_of(state, sides.main)


def seen(state: State) -> str:
    """Return a sentence on what each server gets."""
    parts = ["%s %s" % (one["name"], _how(state, one)) for one in state["servers"][:12]]
    switch = state["maintenance"]
    how = "in maintenance (503, retry after %s s)" % switch["retry_after"] if switch["on"] else "open"
    return "pool %s is %s: %s" % (state["pool"], how, ", ".join(parts) or "no server")


def _how(state: State, one: t.Mapping[str, t.Any]) -> str:
    if one["up"] is False:
        return "down"
    if one["admin"] != pool.READY:
        return {"drain": "drained", "maint": "taken out by a person"}[one["admin"]]
    return "%g %%" % round(pool.share_of(state, [one["name"]]), 1)


def reverted(state: State) -> dict[str, dict[str, t.Any]]:
    """Return {server: {weight, admin}} of what was set last and lost by a reload of the balancer; {} for nothing."""
    kept = state["kept"]
    if not kept or kept["identity"] == state["identity"]:
        return {}
    servers = pool.by_name(state)
    return {
        name: dict(was)
        for name, was in kept["servers"].items()
        if name in servers and any(servers[name][key] != was.get(key) for key in pool.SETTABLE if key != "address" or key in was)
    }


def _judge_look(state: State, options: Options, largest: int) -> Verdict:
    sides = sides_of(state, options)
    # A server in maintenance was taken out by a person, or is a free slot.
    asked = [one for one in sides.main.values() if one["admin"] != pool.MAINT]
    if asked and all(one["up"] is False for one in asked):
        return Verdict("no_server_up", "sick", _none_up(state, sides))
    if reverted(state):
        return Verdict("reverted", "sick", "a reload of the balancer lost what was set: %s" % ", ".join(reverted(state)))
    if state["maintenance"]["on"] and not state["maintenance"]["prepared"]:
        text = "maintenance is on, but does not close pool %s: %s" % (state["pool"], state["maintenance"]["detail"])
        return Verdict("switch_missing", "unknown", text)
    return Verdict("maintenance" if state["maintenance"]["on"] else "open", "well", seen(state))


def _none_up(state: State, sides: Sides) -> str:
    """Return a sentence on why no client can be admitted."""
    if sides.main:
        return "no server of pool %s is up: %s" % (state["pool"], _statuses(sides.main))
    there = ", ".join(one["name"] for one in state["servers"]) or "none"
    return "pool %s has no server that usually takes requests (%s); set traffic_scaling_main" % (state["pool"], there)


def _statuses(servers: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    return ", ".join("%s %s" % (name, one["status"] or "down") for name, one in servers.items())


def _judge_on(state: State, options: Options, largest: int) -> Verdict:
    switch = state["maintenance"]
    if not switch["prepared"]:
        return Verdict("switch_missing", "unknown", "pool %s cannot be put into maintenance: %s" % (state["pool"], switch["detail"]))
    if switch["on"]:
        return Verdict("maintenance", "well", seen(state))
    if not options["reason"].strip():
        return Verdict("reason_missing", "sick", "maintenance needs a reason")
    plan = {"maintenance": {"on": True, "retry_after": options["retry_after"], "reason": options["reason"]}}
    return Verdict("open", "sick", "pool %s is open" % state["pool"], ("enter_maintenance",), plan)


def _judge_off(state: State, options: Options, largest: int) -> Verdict:
    if not state["maintenance"]["on"]:
        return Verdict("open", "well", seen(state))
    sides = sides_of(state, options)
    if not sides.able() and not any(one["up"] for one in sides.spare.values()):
        return Verdict("no_server_up", "sick", _none_up(state, sides))
    if options["cold"] and not options["skip_warm_up"]:
        return Verdict("cold_cache", "sick", "a cache was lost, so clients are admitted step by step only: %s" % options["cold"])
    if state["maintenance"].get("fixed"):
        return Verdict("map_unwritable", "sick", state["maintenance"]["fixed"])
    plan = {"maintenance": {"on": False, "retry_after": 0, "reason": ""}}
    return Verdict("maintenance", "sick", "pool %s is in maintenance" % state["pool"], ("leave_maintenance",), plan)


def _judge_set(state: State, options: Options, largest: int) -> Verdict:
    if not isinstance(options["wanted"], dict):
        text = "traffic_scaling_servers is %s; it must be {SERVER: {weight, admin}}" % one_line(options["wanted"], 60)
        return Verdict("weight_out_of_range", "sick", text)
    wanted = dict(options["wanted"]) or reverted(state)
    refused = _unfit_servers(wanted, state, largest)
    if refused:
        return refused
    change = _difference(wanted, pool.by_name(state))
    if not change:
        late = _not_up(options["wanted"], state)
        return Verdict("server_down", "sick", late) if late else Verdict("set", "well", seen(state))
    if _takes_the_last(change, state, options["overflow"]):
        text = "%s would leave pool %s without a server that takes requests" % (_told(change), state["pool"])
        return Verdict("last_server", "sick", text)
    back = pool.back_of(state, change)
    return Verdict("other", "sick", "to be set: %s" % _told(change), ("shift",), {"servers": change, "back": {"servers": back}})


def _not_up(wanted: t.Mapping[str, t.Any], state: State) -> str:
    """Return which of the servers set take no request although they should: each has to pass its check, a moved one since it moved."""
    servers = {name: one for name, one in pool.by_name(state).items() if name in wanted and pool.serving(one)}
    moved = {name for name, one in wanted.items() if "address" in one}
    # With fall 1 a server that passed looks like one that was not asked yet.
    late = [
        one for name, one in servers.items() if one["up"] is False or (name in moved and one["passed"] is False and one["fall"] != 1)
    ]  # fmt: skip
    told = ", ".join("%s at %s is %s" % (one["name"], one["address"], one["status"] or "down") for one in late)
    return "set as wanted, but the balancer's check does not pass: %s" % told if late else ""


def _unfit_servers(wanted: t.Mapping[str, t.Any], state: State, largest: int) -> t.Optional[Verdict]:
    """Return the refusal of what the balancer cannot set, None for nothing."""
    bad = ["%s (%s)" % (one_line(name, 40), one_line(one, 60)) for name, one in wanted.items() if not _fits(one, largest)]
    if bad:
        rule = "a weight is a whole number from 0 to %d, a state ready, drain or maint, an address IP:PORT" % largest
        return Verdict("weight_out_of_range", "sick", "%s: %s" % (", ".join(bad), rule))
    servers = pool.by_name(state)
    moves = {name: (pool.address_of(one["address"]), servers[name]["address"]) for name, one in wanted.items() if "address" in one}
    barred = ["%s: %s" % (name, pool.barred(to, now)) for name, (to, now) in moves.items() if to != now and pool.barred(to, now)]
    if barred:
        return Verdict("bad_input", "sick", ", ".join(barred))
    if not state["addresses"] and any("address" in one for one in wanted.values()):
        return Verdict("address_fixed", "sick", pool.FIXED % state["balancer"])
    return None


def _difference(wanted: t.Mapping[str, t.Any], servers: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return {server: what of it is not yet as wanted}, without the servers that are."""
    asked = {name: dict(one, address=pool.address_of(one["address"])) if "address" in one else one for name, one in wanted.items()}
    change = {
        name: {key: one[key] for key in pool.SETTABLE if one.get(key, servers[name][key]) != servers[name][key]}
        for name, one in asked.items()
    }
    return {name: one for name, one in change.items() if one}


def _takes_the_last(change: t.Mapping[str, t.Any], state: State, overflow: str) -> bool:
    """Return whether a server besides the overflow takes requests now, and none would after the change."""
    before = [one for one in state["servers"] if one["name"] != overflow]
    after = [dict(one, **change.get(one["name"], {})) for one in before]
    return any(map(pool.takes_requests, before)) and not any(map(pool.takes_requests, after))


def _fits(one: t.Any, largest: int) -> bool:
    """Return whether *one* is {weight, admin, address}, or some of them, in the balancer's range."""
    if not isinstance(one, dict) or not one or not set(one) <= set(pool.SETTABLE) or not pool.address_of(one.get("address", "127.0.0.1:1")):
        return False
    weight = one.get("weight", 0)
    whole = isinstance(weight, int) and not isinstance(weight, bool) and 0 <= weight <= largest
    return whole and one.get("admin", "ready") in (pool.READY, pool.DRAIN, pool.MAINT)


def _told(change: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    return ", ".join("%s %s" % (name, " and ".join(str(value) for value in one.values())) for name, one in sorted(change.items()))


def _judge_restore(state: State, options: Options, largest: int) -> Verdict:
    sides, steps = sides_of(state, options), steps_of(options["steps"])
    if not steps:
        text = "the steps are %s; they must be whole numbers from 1 to 100, each above the one before" % one_line(options["steps"], 80)
        return Verdict("steps_not_rising", "sick", text)
    now = share_now(state, sides)
    if options["held"]:
        return Verdict("held", "unknown", "held at %g %%: %s" % (now, one_line(options["held"], 200)))
    if not sides.able():
        return Verdict("no_server_up", "sick", _none_up(state, sides))
    if now >= steps[-1] - NEAR:
        return Verdict("restored", "well", seen(state))
    if state["aborted"]:
        return Verdict("aborted", "sick", "a person stopped restorations with %s" % one_line(options["abort_file"], 100))
    shares = shares_of(steps, now, options)
    if not sides.rest() and min(shares) < 100:
        text = "%g %% of the requests have nowhere to go: no spare server is up, and there is no overflow" % (100 - shares[0])
        backups = [name for name, one in {**sides.spare, **sides.overflow}.items() if one["backup"]]
        text += "; %s is a backup server, which gets nothing while another is up" % ", ".join(backups) if backups else ""
        return Verdict("no_place_for_the_rest", "sick", "pool %s: %s" % (state["pool"], text))
    unable = _unable(state, shares)
    if unable:
        return unable
    way = ", ".join("%g" % one for one in shares)
    text = "pool %s gives %g %% to %s; the steps are %s %%" % (state["pool"], now, ", ".join(sides.able()), way)
    return Verdict("short", "sick", text, ("restore",), _plan(state, sides, shares, largest))


def _unable(state: State, shares: t.Sequence[float]) -> t.Optional[Verdict]:
    """Return the refusal of what the balancer cannot do: keep maintenance off, or share by weight."""
    if state["maintenance"]["on"] and state["maintenance"].get("fixed"):
        return Verdict("map_unwritable", "sick", state["maintenance"]["fixed"])
    if min(shares) < 100 and state["algorithm"] in NOT_BY_WEIGHT:
        told = (state["pool"], state["algorithm"], shares[0])
        return Verdict("not_by_weight", "sick", "pool %s has balance %s, with which %g %% of the requests cannot be set by weights" % told)
    return None


def steps_of(given: t.Any) -> list[int]:
    """Return the shares given, [] for anything but a list of rising whole numbers from 1 to 100; digits in quotes count as numbers."""
    if not isinstance(given, (list, tuple)):
        return []
    steps = [int(one) if isinstance(one, str) and re.fullmatch("[0-9]{1,3}", one) else one for one in given]
    whole = all(isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= 100 for step in steps)
    return steps if whole and all(one < two for one, two in zip(steps, steps[1:])) else []


def shares_of(steps: t.Sequence[int], now: float, options: Options) -> list[float]:
    """Return the shares to go through, above the present one; after the loss of a cache from a low one, unless a reason skips that."""
    low = float(options["warm_up_share"])
    if options["cold"] and not options["skip_warm_up"] and now < low:
        return [low, *(float(step) for step in steps if step > low)]
    return [float(step) for step in steps if step > now + NEAR]


def _plan(state: State, sides: Sides, shares: t.Sequence[float], largest: int) -> dict[str, t.Any]:
    """Return {steps, back}: the servers' weights at each step, and as they were before, for a roll back."""
    switch, rest = state["maintenance"], sides.rest()
    back = {name: {"weight": one["weight"], "admin": one["admin"]} for name, one in pool.by_name(state).items()}
    given = _given(state)
    return {
        "steps": [{"share": share, "servers": _with(step_servers(sides, rest, share, largest), given)} for share in shares],
        "back": {
            "share": share_now(state, sides), "servers": _with({name: one for name, one in back.items() if name in _touched(sides)}, given),
            "maintenance": {"on": True, "retry_after": switch["retry_after"] or 30, "reason": ""} if switch["on"] else None,
        },
        "main": list(sides.main), "spare": list(sides.spare), "overflow": list(sides.overflow), "stands": stands_of(state),
    }  # fmt: skip


def _given(state: State) -> dict[str, dict[str, str]]:
    """Return the addresses set at run time that servers still have: a reload loses them."""
    servers, kept = pool.by_name(state), state["kept"].get("servers") or {}
    return {name: {"address": one["address"]} for name, one in servers.items() if one["address"] == (kept.get(name) or {}).get("address")}


def _with(servers: t.Mapping[str, dict[str, t.Any]], given: t.Mapping[str, dict[str, str]]) -> dict[str, dict[str, t.Any]]:
    return {name: {**one, **given.get(name, {})} for name, one in servers.items()}


def _touched(sides: Sides) -> set[str]:
    return (set(sides.main) - sides.taken_out()) | set(sides.spare) | set(sides.overflow)


def step_servers(sides: Sides, rest: t.Sequence[str], share: float, largest: int) -> dict[str, dict[str, t.Any]]:
    """Return {server: {weight, admin}} for *share* percent: a main server that is down gets nothing before the last step."""
    weights = weights_for(share, sides.able(), rest, largest)
    idle = {name: 0 for name in _touched(sides) if name not in weights}
    if share >= 100:
        idle.update({name: int(one["initial"]) for name, one in sides.main.items() if name in idle})
    return {name: {"weight": weight, "admin": pool.READY} for name, weight in sorted({**idle, **weights}.items())}
