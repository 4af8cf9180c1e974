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
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import others, pool
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

        A server that the balancer marks as backup gets nothing while a main server is up, whatever its weight; one that a person took
        out stays out.
        """
        out = self.taken_out()
        there = {name: one for name, one in {**self.spare, **self.overflow}.items() if not one["backup"] and name not in out}
        return [name for name in self.spare if name in there and there[name]["up"]] or [
            name for name in self.overflow if name in there and there[name]["up"] is not False
        ]

    def able(self) -> dict[str, int]:
        """Return the main servers that can take requests now, with their usual weights."""
        there = {name: one for name, one in self.main.items() if not one["backup"] and name not in self.taken_out()}
        return {name: int(one["initial"]) for name, one in there.items() if one["up"] is not False}

    def taken_out(self) -> set[str]:
        """Return the servers that a person took out: those in maintenance, and the spare ones and the overflow if drained.

        Of the main servers also those drained while another is ready, and those closed by weight 0 while another takes requests.
        """
        ready = [one for one in self.main.values() if one["admin"] == pool.READY and one["up"] is not False and not one["backup"]]
        takes = any(one["weight"] > 0 for one in ready)
        mine = {name for name, one in self.main.items() if _is_out(one, bool(ready), takes)}
        return mine | {name for name, one in {**self.spare, **self.overflow}.items() if one["admin"] != pool.READY}


def _is_out(one: t.Mapping[str, t.Any], another_ready: bool, another_takes: bool) -> bool:
    if one["admin"] != pool.READY:
        return bool(one["admin"] == pool.MAINT or another_ready)
    return bool(one["closed"] and another_takes)


def judge_traffic(state: State, options: Options, largest: int) -> Verdict:
    """Judge the pool for ``goal``: look, ready, maintenance_on, maintenance_off, set or restore."""
    away = _not_there(state, options)
    if away:
        return away
    judge = {
        "look": _judge_look, "ready": _judge_ready, "set": _judge_set, "restore": _judge_restore,
        "maintenance_on": _judge_on, "maintenance_off": _judge_off,
    }[options["goal"]]  # fmt: skip
    unfit = _unfit(options)
    if unfit:
        return Verdict("bad_input", "sick", unfit)
    verdict = judge(state, options, largest)
    somebody = _set_by_somebody(state, options, verdict) if options.get("by_itself") else ""
    if somebody:
        return Verdict("changed_by_another", "sick", somebody)
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


def _set_by_somebody(state: State, options: Options, verdict: Verdict) -> str:
    """Return what somebody else set that would be ended, with nobody asking, "" for nothing."""
    if not verdict.actions:
        return ""
    if options["goal"] != "set" and others.turned_on(state):
        return "no run of this collection turned on the maintenance of pool %s: a person ends it, or restores the traffic" % state["pool"]
    steps = [{"servers": verdict.plan.get("servers") or {}}, *(verdict.plan.get("steps") or ())]
    touched = {name for step in steps for name in step["servers"]}
    known = {**others.since(state), **others.against(state, options.get("expected") or {})}
    theirs = {name: said for name, said in known.items() if name in touched}
    return "%s; a person decides whether that stays" % others.sentence(theirs) if theirs else ""


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
    if one["closed"]:
        return "0 % (somebody set its weight to 0)"
    return "%g %%" % round(pool.share_of(state, [one["name"]]), 1)


def reverted(state: State) -> dict[str, dict[str, t.Any]]:
    """Return {server: {weight, admin}} of what was set last and lost by a reload of the balancer; {} for nothing.

    What was as the configuration had it is not lost, nor is what somebody set since.
    """
    kept = state["kept"]
    if not kept or kept["identity"] == state["identity"]:
        return {}
    servers = pool.by_name(state)
    return {
        name: {key: was[key] for key in pool.SETTABLE if key in was}
        for name, was in kept["servers"].items()
        if name in servers and any(_is_lost(servers[name], was, key) for key in pool.SETTABLE if key in was)
    }


def _is_lost(one: t.Mapping[str, t.Any], was: t.Mapping[str, t.Any], key: str) -> bool:
    if one[key] == was[key] or (key == "weight" and was[key] == was.get("usual")):
        return False
    return bool(key == "address" or one[key] == pool.configured(one)[key])


def _judge_look(state: State, options: Options, largest: int) -> Verdict:
    sides = sides_of(state, options)
    # A server in maintenance was taken out by a person, or is a free slot.
    asked = [one for one in sides.main.values() if one["admin"] != pool.MAINT]
    if asked and all(one["up"] is False for one in asked):
        return Verdict("no_server_up", "sick", _none_up(state, sides))
    if reverted(state):
        return Verdict("reverted", "sick", "a reload of the balancer lost what was set: %s" % ", ".join(reverted(state)))
    if state["maintenance"]["on"]:
        text = "maintenance is on, but does not close pool %s: %s" % (state["pool"], state["maintenance"]["detail"])
        closes = state["maintenance"]["prepared"]
        return Verdict("maintenance", "well", seen(state)) if closes else Verdict("switch_missing", "unknown", text)
    kept_out = _kept_out(state, options) or _turned_away(state, sides)
    if kept_out:
        return Verdict("clients_kept_out", "sick", kept_out)
    return _short(state, options, largest) or Verdict("open", "well", seen(state))


def _short(state: State, options: Options, largest: int) -> t.Optional[Verdict]:
    """Return that the main servers take less than usual, where a look is asked for that, too: others may answer all the same."""
    verdict = _judge_restore(state, options, largest) if options.get("usual") else None
    return Verdict(verdict.word, verdict.health, verdict.text) if verdict and verdict.word == "short" else None


def _judge_ready(state: State, options: Options, largest: int) -> Verdict:
    """Judge whether every goal could be reached from here, whatever its servers are doing."""
    if state["rights"] in ("none", "maintenance"):
        return Verdict("balancer_refused", "sick", _no_rights(state))
    if not state["maintenance"]["prepared"]:
        return _no_switch(state)
    unable = _unable(state, [1.0])
    return unable or Verdict("ready", "well", "pool %s can be changed from here" % state["pool"])


def _no_switch(state: State) -> Verdict:
    text = "pool %s cannot be put into maintenance: %s" % (state["pool"], state["maintenance"]["detail"])
    return Verdict("switch_missing", "unknown", text)


def _kept_out(state: State, options: Options) -> str:
    """Return that the pool, open or not, has no server that takes requests, "" if one does; the overflow only turns them away."""
    if any(pool.takes_requests(one) for one in state["servers"] if one["name"] != options["overflow"]):
        return ""
    servers = ", ".join("%s %s" % (one["name"], _how(state, one)) for one in state["servers"][:12]) or "it has none"
    return "no server of pool %s takes requests, so that every client gets an error: %s" % (state["pool"], servers)


def _turned_away(state: State, sides: Sides) -> str:
    """Return that the overflow answers clients of an open pool with 503, "" if it gets no requests."""
    share = pool.share_of(state, sides.overflow)
    return "%s answers %g %% of the requests with 503; %s" % (", ".join(sides.overflow), round(share, 1), seen(state)) if share else ""


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
        return _no_switch(state)
    if switch["on"]:
        return Verdict("maintenance", "well", seen(state))
    if not options["reason"].strip():
        return Verdict("reason_missing", "sick", "maintenance needs a reason")
    plan = {"maintenance": {"on": True, "retry_after": options["retry_after"], "reason": options["reason"]}}
    return Verdict("open", "sick", "pool %s is open" % state["pool"], ("enter_maintenance",), plan)


def _judge_off(state: State, options: Options, largest: int) -> Verdict:
    sides = sides_of(state, options)
    if not state["maintenance"]["on"]:
        return Verdict("open", "well", _turned_away(state, sides) or seen(state))
    if not sides.able() and not any(one["up"] for one in sides.spare.values()):
        return Verdict("no_server_up", "sick", _none_up(state, sides))
    kept_out = _kept_out(state, options)
    if kept_out:
        return Verdict("clients_kept_out", "sick", kept_out)
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
        text = _no_place(sides, 100 - shares[0])
        return Verdict("no_place_for_the_rest", "sick", "pool %s: %s" % (state["pool"], text))
    unable = _unable(state, shares)
    if unable:
        return unable
    way = ", ".join("%g" % one for one in shares)
    text = "pool %s gives %g %% to %s; the steps are %s %%" % (state["pool"], now, ", ".join(sides.able()), way)
    return Verdict("short", "sick", text, ("restore",), _plan(state, sides, shares, largest))


def _no_place(sides: Sides, share: float) -> str:
    """Return a sentence on why nothing can answer *share* percent of the requests."""
    others_there = {**sides.spare, **sides.overflow}
    backups = [name for name, one in others_there.items() if one["backup"]]
    out = [name for name in others_there if name in sides.taken_out()]
    text = "%g %% of the requests have nowhere to go: no spare server is up, and there is no overflow" % share
    text += "; %s is a backup server, which gets nothing while another is up" % ", ".join(backups) if backups else ""
    return text + ("; somebody took out %s" % ", ".join(out) if out else "")


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
    return {*sides.main, *sides.spare, *sides.overflow} - sides.taken_out()


def step_servers(sides: Sides, rest: t.Sequence[str], share: float, largest: int) -> dict[str, dict[str, t.Any]]:
    """Return {server: {weight, admin}} for *share* percent: a main server that is down gets nothing before the last step."""
    weights = weights_for(share, sides.able(), rest, largest)
    idle = {name: 0 for name in _touched(sides) if name not in weights}
    if share >= 100:
        idle.update({name: int(one["initial"]) for name, one in sides.main.items() if name in idle})
    return {name: {"weight": weight, "admin": pool.READY} for name, weight in sorted({**idle, **weights}.items())}
