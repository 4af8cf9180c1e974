# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role traffic_scaling checks, remembers, owes and waits for, decided from its plain variables. Pure; its filters call this.

*asked* holds the variables of the role without their prefix, *way* is what ``way_of`` returns.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.command import playbook_for

Given = t.Mapping[str, t.Any]
# Where service_manager finds a service, as far as nothing else is known.
PLACE = {
    "project": "", "project_src": "", "project_files": [], "env_files": [], "docker_socket": "unix:///var/run/docker.sock",
    "namespace": "", "context": "", "kubeconfig": "", "workload_kind": "Deployment",
}  # fmt: skip
SLOTS = {"slots": [], "network": "", "port": 9696}
# How the gate announces the end of an act.
ENDS = {"set": "the setting is rolled back", "maintenance_on": "maintenance ends"}
# What stays after each goal, and the command that ends it sooner.
LEFT = {
    "set": {"text": "weights, states or numbers are set for a time", "command": "{reconcile}"},
    "maintenance_on": {"text": "maintenance is on: clients get 503", "command": "{disable_maintenance}"},
    "restore": {"text": "the restoration of traffic is not complete", "command": "{restore_traffic}"},
}


def counts_replicas(asked: Given) -> bool:
    """Return whether the goal is a number of replicas, not weights of servers."""
    return bool(asked["goal"] == "set" and str(asked["replicas"]))


def has_slots(asked: Given) -> bool:
    """Return whether each of those replicas is a container with a slot in the pool."""
    return counts_replicas(asked) and len(asked["slots"]) > 0


def admits(asked: Given) -> bool:
    """Return whether the goal sends more clients to the servers."""
    return asked["goal"] in ("maintenance_off", "restore")


def looks(asked: Given, run: Given, way: Given, stage: str, now: float) -> list[dict[str, t.Any]]:
    """Return the checks of one look, the subject first; what clients get is checked after the act only."""
    subject = _replicas_check(asked) if counts_replicas(asked) else _balancer_check(asked, run, way, now)
    client = [_client_check(asked)] if asked["client_url"] and stage == "verify" else []
    return [subject, *(asked["checks"] if admits(asked) else []), *client]


def _balancer_check(asked: Given, run: Given, way: Given, now: float) -> dict[str, t.Any]:
    goal, state_dir = asked["goal"], asked["state_dir"]
    return {
        "name": "balancer", "kind": "balancer", "goal": goal, "main": asked["main"], "spare": asked["spare"],
        "overflow": asked["overflow"], "wanted": asked["servers"], "steps": asked["steps"], "retry_after": asked["retry_after"],
        "reason": asked["reason"], "cold": cold_because(asked, run, now), "skip_warm_up": asked["skip_warm_up"],
        "by_itself": bool(asked.get("by_itself")), "expected": asked.get("expected") or {},
        "warm_up_share": asked["warm_up_share"], "held": way["held"], "abort_file": "%s/traffic.abort" % state_dir if state_dir else "",
        "lasts": asked["set_seconds"] if goal == "set" else asked["maintenance_seconds"],
        "watch": dict(_watch(asked), baseline=asked["baseline"]) if goal == "restore" else {},
        "needs": [one.get("name", "") for one in asked["checks"]] if admits(asked) else [], "timeout": asked["shift_timeout"],
        **asked["target"],
    }  # fmt: skip


def _watch(asked: Given) -> dict[str, t.Any]:
    return {key: asked[key] for key in ("gates", "minimum", "sample_window", "hold_timeout")}


def _replicas_check(asked: Given) -> dict[str, t.Any]:
    return {
        "name": "replicas", "kind": "replicas", "manager": asked["manager"], "service": asked["service"],
        "wanted_replicas": asked["replicas"], "minimum": asked["minimum_replicas"], "maximum": asked["maximum_replicas"],
        "given_servers": asked["servers"], "lasts": asked["set_seconds"], "timeout": asked["shift_timeout"],
        **place_of(asked), **(_slots(asked) if has_slots(asked) else {}),
    }  # fmt: skip


def _slots(asked: Given) -> dict[str, t.Any]:
    return {
        **asked["target"], "kind": "slots", "slots": asked["slots"], "network": asked["slots_network"], "port": asked["slots_port"],
        "spare": asked["spare"], "overflow": asked["overflow"],
    }  # fmt: skip


def _client_check(asked: Given) -> dict[str, t.Any]:
    expected = [503] if asked["goal"] == "maintenance_on" else [200]
    return {"name": "client", "kind": "http", "url": asked["client_url"], "look_from": "target", "expect_status": expected}


def place_of(asked: Given) -> dict[str, t.Any]:
    """Return where the manager finds the service, as far as the variables of service_manager are set."""
    return {key: value for key, value in asked["place"].items() if value}


def cold_because(asked: Given, run: Given, now: float) -> str:
    """Return why the caches are cold: the sentence given, or the newest loss since the last restoration that ended well; "" for warm."""
    given = asked["cold"]
    if given != "auto":
        return str(given) if str(given).lower() not in ("auto", "false", "none") else ""
    restored = ((run.get("last_verified") or {}).get("traffic") or {}).get("at") or 0
    since = max(now - number(asked["cold_seconds"]), restored)
    lost = [one for one in run.get("lost") or [] if one["at"] > since]
    return "{component} of {host} (run {run_id}): {text}".format(**lost[0]) if lost else ""


def number(given: t.Any) -> float:
    """Return a variable as a number, 0 for what is none: the checks refuse that by its name."""
    try:
        return float(given)
    except (TypeError, ValueError):
        return 0.0


def seconds(asked: Given) -> dict[str, float]:
    """Return the longest seconds of each part of an act, with every look, wait and change that it holds."""
    shift, settle, window, hold, slots, replicas = (
        number(asked[key])
        for key in ("shift_timeout", "settle_seconds", "sample_window", "hold_timeout", "slots_timeout", "replicas_timeout")
    )
    for_slots = 6 * shift + slots
    return {
        "step": 2 * (shift + hold),
        "step_back": 2 * shift + settle + window,
        # The last look needs a whole window behind it.
        "watch_back": settle + window + shift,
        "slots": for_slots,
        "number": replicas + shift + (3 * for_slots if has_slots(asked) else 0.0),
    }


def owed(asked: Given, way: Given) -> dict[str, t.Any]:
    """Return what an act leaves to be ended later, by act ({} for nothing), and the kinds under which the ledger keeps it.

    Maintenance and drains end apart from each other, each server by itself: none may take another's end away.
    """
    kind, parts = _kind(asked), _parts(asked, way)
    own = {"kind": kind, "parts": parts, "seconds": _lasts(asked), "notice": ENDS.get(asked["goal"], ""), "body": _body(asked)}
    own.update(LEFT.get(asked["goal"], LEFT["set"]))
    # While slots change hands: what a dead run leaves drained, or without a slot, is repaired with as many containers as there are.
    slots = dict(own, kind=kind + "/slots", parts={asked["service"]: "as_is"}, notice="", seconds=seconds(asked)["number"])
    lasting = own if number(asked["set_seconds"]) > 0 else {}
    return {
        "kind": kind,
        "kinds": ["%s/%s" % (kind, part) for part in parts] if asked["goal"] == "set" else [kind],
        "slots_kind": "%s/slots/%s" % (kind, asked["service"]),
        "acts": {
            "enter_maintenance": own, "restore": own, "shift": lasting, "scale": lasting or (slots if has_slots(asked) else {}),
            "slots": slots,
        },
        "maintenance": dict(
            own, seconds=asked["maintenance_seconds"], notice=ENDS["maintenance_on"], body=dict(own["body"], goal="maintenance_off"),
            **LEFT["maintenance_on"],
        ),
    }  # fmt: skip


def _kind(asked: Given) -> str:
    if counts_replicas(asked):
        place = place_of(asked)
        return "traffic_scaling/replicas/%s/%s" % (asked["manager"], place.get("namespace", place.get("project", "")))
    return "traffic_scaling/%s/%s" % ("set" if asked["goal"] == "set" else "maintenance", asked["pool"])


def _parts(asked: Given, way: Given) -> dict[str, t.Any]:
    """Return what is set, each with how it was before."""
    if asked["goal"] != "set":
        return {}
    return {asked["service"]: way["plan"].get("now", 0)} if counts_replicas(asked) else dict(way["was"])


def _lasts(asked: Given) -> t.Any:
    if asked["goal"] == "restore":
        steps = asked["steps"] if isinstance(asked["steps"], (list, tuple)) else ()
        return number(asked["hold_timeout"]) * len(steps)
    return asked["set_seconds"] if asked["goal"] == "set" else asked["maintenance_seconds"]


def _body(asked: Given) -> dict[str, t.Any]:
    """Return with what reconcile.yml ends it: a later run sees the same sides, and judges by the same limits."""
    counting = counts_replicas(asked)
    kept = ("name", "balancer", "pool", "balancer_options", "main", "spare", "overflow", "steps", "metrics", "probes")
    return {
        **{key: asked[key] for key in kept},
        "goal": asked["goal"] if asked["goal"] in ("set", "restore") else "maintenance_off",
        "watch": _watch(asked),
        "manager": asked["manager"] if counting else "",
        "place": place_of(asked) if counting else {},
        "slots": _slots(asked) if has_slots(asked) else {},
        "expected": asked["servers"] if asked["goal"] == "set" and not counting and isinstance(asked["servers"], dict) else {},
    }


def due(body: Given) -> dict[str, t.Any]:
    """Return the variables of the role that end what *body* owes; a body with a manager is about replicas."""
    counting = bool(body.get("manager"))
    part = body.get("part", "")
    return {
        "servers": {part: body.get("was")} if part and not counting else {},
        "expected": {part: (body.get("expected") or {}).get(part)} if (body.get("expected") or {}).get(part) else {},
        "replicas": body.get("was") if counting else "",
        "manager": body.get("manager") or "",
        "service": part,
        "place": {**PLACE, **(body.get("place") or {})},
        "slots": {**SLOTS, **(body.get("slots") or {})},
    }


def way_of(remembered: Given, run_id: str, now: float) -> dict[str, t.Any]:
    """Return how far this run came: {plan, held, passed, settled, rates, was, back, stands, taken, verified}; another run's memory counts
    for nothing.

    was: the servers that the plan touches, as they were. back: where to step back to, the newest share that passed first. stands: how this
    run left the pool last. taken: what somebody else changed meanwhile, which ends the run where it is.
    """
    known = remembered if run_id and remembered.get("run_id") == run_id else {}
    plan, passed, rates = known.get("plan") or {}, known.get("passed") or [], known.get("rates") or {}
    before = plan.get("back") or {}
    return {
        "run_id": run_id, "plan": plan, "held": known.get("held") or "", "passed": passed, "settled": bool(known.get("settled")),
        "rates": rates, "was": before.get("servers") or {}, "back": [*reversed(passed), before],
        "stands": known.get("stands") or plan.get("stands") or {}, "taken": known.get("taken") or "",
        "verified": {"traffic": {"rates": rates, "at": now}} if rates else {},
    }  # fmt: skip


def walked(way: Given, step: Given, watched: Given) -> dict[str, t.Any]:
    """Return what to remember after the watch of a step: one forward passed or holds, one back settles where it is well."""
    kept = {key: way[key] for key in ("run_id", "plan", "held", "passed", "rates", "settled", "stands", "taken")}
    if watched.get("stands"):
        # A change, not a watch.
        return dict(kept, stands=watched["stands"])
    if watched["verdict"] == "changed":
        return dict(kept, taken=watched["why"], settled=True)
    if watched["stage"] == "undo":
        return dict(kept, settled=watched["verdict"] == "well")
    passed = [*way["passed"], step] if watched["verdict"] == "well" else way["passed"]
    return dict(kept, passed=passed, held=watched["why"] if watched["verdict"] == "unknown" else "", rates=watched["rates"])


def taken_by_others(way: Given, failure: Given) -> str:
    """Return what somebody else changed meanwhile, by what this run saw itself or by the refusal that ended it; "" for nothing."""
    refused = [str(one.get("text")) for one in failure.get("reasons") or [] if one.get("code") == "changed_by_another"]
    return str(way["taken"] or next(iter(refused), ""))


def loss_of(way: Given) -> dict[str, t.Any]:
    """Return {loss, harmless} of a run: requests only go another way, but a replica that is ended takes along what it had in memory."""
    ended = number(way["plan"].get("now")) - number(way["plan"].get("replicas")) if "replicas" in way["plan"] else 0
    why = dict.fromkeys(("shift", "restore", "enter_maintenance", "leave_maintenance"), "requests only went another way")
    if ended <= 0:
        why.update(dict.fromkeys(("scale", "slots", "wait"), "no replica was ended"))
        return {"loss": {}, "harmless": why}
    text = "%s ended, as was asked; what each had only in its memory is unknown" % (
        "1 replica was" if ended == 1 else "%d replicas were" % ended
    )
    return {"loss": {"unit": "memories", "approved": True, "text": text}, "harmless": why}


def undo_of(asked: Given, way: Given) -> str:
    """Return the command that takes back what the goal did, for the same host."""
    keep_out = playbook_for("enable_maintenance", 'remediation_reason="WHY"')
    if asked["goal"] == "maintenance_on":
        return playbook_for("disable_maintenance")
    if asked["goal"] == "maintenance_off":
        return keep_out
    before: dict[str, t.Any] = {"traffic_scaling_servers": way["was"]}
    if counts_replicas(asked):
        before = {"traffic_scaling_replicas": way["plan"].get("now", "N")}
    back = playbook_for("scale_traffic", json.dumps(before))
    was_closed = asked["goal"] == "restore" and (way["plan"].get("back") or {}).get("maintenance")
    return "%s && %s" % (keep_out, back) if was_closed else back
