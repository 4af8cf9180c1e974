# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen, as components: every check and every host, each thing once, and by name what could not be seen.

The input is ``looked``: {host: {checks, asked, host, ledger, unreachable, failed, msg, at}}; ``asked`` are the options of the checks, by
which two of them are recognised as being of the same thing. Anything in it may be absent or wrong. Plain data in and out, never raises.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.stateful import stateful_kind
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.traits import is_of_service, trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import is_loopback
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.judge import NEAR, share_now, sides_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.history import is_left, runs_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.onset import since_of, unknown
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import (
    Fields,
    fields,
    listed,
    moment,
    number,
    rfc3339,
    word,
)

Given = t.Mapping[str, t.Any]
Component = t.Dict[str, t.Any]
POOLS = "balancer"
# Group of the inventory: the class of what its hosts run, and what it is called.
GROUPS: t.Mapping[str, t.Tuple[str, str]] = {
    "redis": ("working_memory", "redis"),
    "postgresql": ("database", "postgresql"),
    "somabrain_api": ("api", "api"),
    "somabrain_balancer": (POOLS, "load balancer"),
    "memory_service": ("long_term_memory", "memory_service"),
}
# Classes for which the inventory has no group: only a check names them.
BY_CHECK_ONLY: t.Mapping[str, str] = {"queue": "the message queue", "monitoring": "the monitoring"}
# What the name of a check or service says, the first that matches.
BY_NAME: t.Sequence[t.Tuple[str, t.Pattern[str]]] = (
    ("endpoint", re.compile(r"endpoint ")),
    ("monitoring", re.compile(r"(?i)prometheus|grafana|alertmanager|exporter|\bloki\b|monitor|telemetry")),
    ("queue", re.compile(r"(?i)kafka|redpanda|rabbit|\bnats\b|pulsar|zookeeper|broker|queue")),
    ("working_memory", re.compile(r"(?i)redis|valkey|working.?memory")),
    ("database", re.compile(r"(?i)postgres|database|pgbouncer|timescale")),
    ("long_term_memory", re.compile(r"(?i)(?:^|[^a-z])ltm(?:[^a-z]|$)|long.?term|memory.?service|milvus|qdrant|weaviate|chroma")),
    (POOLS, re.compile(r"(?i)haproxy|nginx|balancer|(?:^|[^a-z])lb(?:[^a-z]|$)")),
    ("api", re.compile(r"(?i)(?:^|[^a-z])api(?:[^a-z]|$)|somabrain")),
)
STORES: t.Mapping[str, str] = {
    "redis": "working_memory", "postgresql": "database", "database": "database", "kafka": "queue", "zookeeper": "queue", "broker": "queue",
}  # fmt: skip
WORSE = {"well": 0, "unknown": 1, "sick": 2}
PORTS: t.Mapping[str, int] = {"redis": 6379, "postgresql": 5432, "migrations": 5432}


def components_of(looked: Given, groups: Given, now: float) -> list[Component]:
    """Return every component: {name, class, kind, host, health, state, text, actions, since, seen_from, seen_at, seconds, checks, facts}.

    ``checks`` names the checks that it is made of; ``facts`` is what causes.py and remedy.py read, bounded, and no part of the report.
    """
    found: list[Component] = []
    for host, look in fields(looked).items():
        found += _of_host(host, fields(look), groups, now)
    found = [_with_maintenance(one, looked, now) for one in found]
    return found + _known_from_above(found)


def shown(components: t.Sequence[Component]) -> list[Component]:
    """Return the components as they are reported, without what only the judgement reads."""
    return [{key: value for key, value in one.items() if key != "facts"} for one in components]


def _of_host(host: str, look: Fields, groups: Given, now: float) -> list[Component]:
    machine = _machine(host, look, now)
    asked = {word(one.get("name"), 120): one for one in listed(look.get("asked"))}
    parts = [_part(check, asked, look, host, now) for check in listed(look.get("checks"))]
    made = [_component(parts_of_one) for parts_of_one in _grouped(parts)]
    for one in made:
        one["facts"]["in_recover_all"] = _is_started_by_all(one, look)
    missing = [] if machine["health"] == "well" else _expected(host, made, groups, machine)
    return [machine, *made, *missing]


def _machine(host: str, look: Fields, now: float) -> Component:
    """Return the component of the host itself: whether it could be looked at."""
    why = word(look.get("msg"), 300) or "no answer"
    if look.get("unreachable"):
        state, text = "unreachable", "%s cannot be reached: %s" % (word(host, 60), why)
    elif look.get("failed") or not (listed(look.get("checks")) or fields(look.get("host"))):
        state, text = "look_failed", "the look at %s did not work: %s" % (word(host, 60), why)
    else:
        state, text = "reached", "%s answered" % word(host, 60)
    health = "well" if state == "reached" else "unknown"
    return _blank(host, "host", "host", host, look, now, health=health, state=state, text=text, seen_from="controller")


def _blank(name: str, kind: str, group: str, host: str, look: Fields, now: float, **known: t.Any) -> Component:
    at = moment(look.get("at"))
    made: Component = {
        "name": word(name, 120), "class": group, "kind": kind, "host": host, "health": "unknown", "state": "", "text": "", "actions": [],
        "since": unknown(), "seen_from": "target", "seen_at": rfc3339(now if at is None else at), "seconds": 0.0, "checks": [], "facts": {},
    }  # fmt: skip
    return dict(made, **known)


def _expected(host: str, made: t.Sequence[Component], groups: Given, machine: Component) -> list[Component]:
    """Return what a host that could not be looked at should have shown, by its groups."""
    there = {one["class"] for one in made}
    wanted = [GROUPS[name] for name in GROUPS if host in _hosts_of(groups, name) and GROUPS[name][0] not in there]
    text = "not seen: %s" % machine["text"]
    return [
        dict(machine, name=name, kind="expected", state="not_seen", text=text, facts={}, **{"class": group}) for group, name in wanted
    ]  # fmt: skip


def _hosts_of(groups: Given, name: str) -> list[str]:
    hosts = fields(groups).get(name)
    return [str(one) for one in hosts] if isinstance(hosts, (list, tuple)) else []


def _part(check: Fields, asked: t.Mapping[str, Fields], look: Fields, host: str, now: float) -> Component:
    """Return one check as a component, with the keys by which another check of the same thing is recognised."""
    name, kind = word(check.get("name"), 120) or "check", word(check.get("kind"), 40)
    options = asked.get(name, {})
    health = str(check.get("health"))
    facts = fields(check.get("facts"))
    part = _blank(
        name, kind, class_of(kind, name, options), host, look, now, health=health if health in WORSE else "unknown",
        state=word(check.get("state"), 60), text=_why(check), actions=_words(check.get("actions")), since=since_of(check, look, now),
        seen_from=_seen_from(check), seconds=max(0.0, number(check.get("seconds")) or 0.0), checks=[name],
    )  # fmt: skip
    places = places_of(kind, options, facts)
    part.update(_short_of(part, facts, options))
    return dict(part, facts=_kept(kind, facts, check, options), places=places, knows=len(facts))


def _short_of(part: Component, facts: Fields, options: Fields) -> Fields:
    """Return the state of an open pool whose own servers do not get their requests, or of which one is down; {} where all do.

    Its clients are served, so its check is well; a person on call has to know, all the same.
    """
    if part["class"] != POOLS or part["health"] != "well" or part["state"] != "open":
        return {}
    try:
        given: Fields = {name: options.get(name) or default for name, default in (("main", []), ("spare", []), ("overflow", ""))}
        sides = sides_of(facts, given)
        share = share_now(facts, sides)
        down = [name for name, one in sides.main.items() if one["up"] is False and one["admin"] == "ready"]
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    if sides.main and share < 100 - NEAR:
        text = "its own servers get %g %% of the requests: %s" % (share, part["text"])
        return {"health": "sick", "state": "short", "text": word(text, 300)}
    text = "%s does not pass its check: %s" % (", ".join(down[:3]), part["text"])
    return {"health": "sick", "state": "server_down", "text": word(text, 300)} if down else {}


def _words(value: t.Any) -> list[str]:
    return [word(one, 40) for one in value][:20] if isinstance(value, (list, tuple)) else []


def _why(check: Fields) -> str:
    """Return the text of the first finding that makes a check what it is."""
    findings = listed(check.get("findings"))
    texts = [one.get("text") for one in findings if one.get("state") == check.get("health")]
    return word(texts[0], 300) if texts else "the check found nothing to judge"


def _seen_from(check: Fields) -> str:
    data = [fields(one.get("data")).get("seen_from") for one in listed(check.get("findings"))]
    said = [check.get("seen_from"), fields(check.get("facts")).get("stands_on"), *data]
    return next((str(one) for one in said if one in ("target", "controller")), "target")


def class_of(kind: str, name: str, options: t.Optional[Given] = None) -> str:
    """Return the class of what a check of *kind* with that name looks at."""
    given = fields(options)
    unit = word(given.get("service"), 120) if isinstance(given.get("service"), str) else ""
    return declared({"kind": kind}) or _class_by_name(unit or name, bool(given.get("url")))


@functools.lru_cache(maxsize=4096)
def _class_by_name(name: str, has_url: bool) -> str:
    found = next((group for group, pattern in BY_NAME if pattern.match(name)), "") if name.startswith("endpoint ") else ""
    store = found or STORES.get(stateful_kind([name], [], ""))
    return store or next((group for group, pattern in BY_NAME if pattern.search(name)), "") or ("endpoint" if has_url else "service")


def declared(part: Given) -> str:
    """Return the class that the kind of a check alone says, "" where its name or options do."""
    return str(trait(part, "CLASS") or "")


def places_of(kind: str, options: Fields, facts: Fields) -> set[t.Tuple[str, str]]:
    """Return what a check looks at as (what, which) pairs; two checks of one host that share a pair look at the same thing."""
    answered = fields(facts.get("answered"))
    found: set[t.Tuple[str, str]] = set()
    if options.get("pool"):
        return {("pool", word(options["pool"], 120))}
    service = options.get("service")
    unit = fields(service).get("name") if isinstance(service, t.Mapping) else service
    for one in (unit, answered.get("service")):
        found |= {("unit", word(one, 120))} if one else set()
    for one in (options.get("url"), answered.get("url")):
        found |= {("net", _net_of(str(one)))} if one else set()
    if options.get("socket"):
        return found | {("socket", word(options["socket"], 200))}
    return found | ({("net", _address(kind, options))} if options and _address(kind, options) else set())


def _net_of(url: str) -> str:
    """Return host and port of a URL, every loopback address as one."""
    scheme, _colons, rest = url.partition("://")
    net = re.split(r"[/?#]", rest)[0].rpartition("@")[2]
    host, _colon, port = net.rpartition(":") if re.search(r":\d+$", net) else (net, "", "443" if scheme == "https" else "80")
    host = host.strip("[]").lower()
    return "%s:%s" % ("127.0.0.1" if is_loopback(host) else host, port)


def _address(kind: str, options: Fields) -> str:
    port = (options.get("port") or PORTS.get(kind)) if not options.get("url") else None
    host = str(options.get("host") or "127.0.0.1").lower()
    # A directory is where a PostgreSQL of this machine has its socket.
    own = host.startswith("/") or is_loopback(host)
    return "%s:%s" % ("127.0.0.1" if own else host, word(port, 10)) if port else ""


def _kept(kind: str, facts: Fields, check: Fields, options: Fields) -> Fields:
    """Return of the facts of a check what causes and remedies are judged by."""
    kept = {key: facts[key] for key in KEPT if key in facts}
    kept["runs"] = bool(fields(check.get("identity"))) if "hand_over" in facts else None
    kept["unit"] = word(options.get("service") if isinstance(options.get("service"), str) else "", 120)
    kept["left_out"] = bool(facts.get("left_out"))
    return kept


def _is_started_by_all(made: Component, look: Fields) -> bool:
    """Return whether recover-all starts it: it is one of recover_all_services, by its name or where its health endpoint is."""
    names = {word(one.get("name"), 120) for one in listed(look.get("services"))}
    nets = {_net_of(str(one.get("url"))) for one in listed(look.get("services")) if one.get("url")}
    own = {which for what, which in made["facts"].get("places", ()) if what == "net"}
    return bool(names & {made["name"], *made["checks"]} or nets & own)


# Facts that are kept, whichever kind has them.
KEPT = (
    "dependencies", "hand_over", "release", "long_term_memory", "cause", "paths", "disk", "disks", "persistence", "role", "master", "log",
    "locks", "status", "profile", "left", "pool", "maintenance", "skew", "data_dir", "final", "may_loop", "loaded_perc",
    "identity_mismatch", "other_since",
)  # fmt: skip


def _grouped(parts: t.Sequence[Component]) -> list[list[Component]]:
    """Return the checks of one host in groups that look at the same thing each, the one that knows most of it first."""
    order = sorted(range(len(parts)), key=lambda at: (not declared(parts[at]), -parts[at]["knows"], at))
    alone = [[part] for part in parts if _is_alone(part)]
    groups: list[list[Component]] = []
    for part in (parts[at] for at in order if not _is_alone(parts[at])):
        same = _group_of(part, groups)
        if same is None:
            groups.append([part])
        else:
            same.append(part)
            same[0]["places"] = same[0]["places"] | part["places"]
    place = {id(part): at for at, part in enumerate(parts)}
    return sorted([*groups, *alone], key=lambda group: min(place[id(one)] for one in group))


def _group_of(part: Component, groups: t.Sequence[list[Component]]) -> t.Optional[list[Component]]:
    """Return the group of checks that look at the same thing as *part*, None where it is the first."""
    shared = next((group for group in groups if group[0]["places"] & part["places"]), None)
    alike = [group for group in groups if group[0]["class"] == part["class"]]
    if shared or _is_of_another_place(part, alike) or len(alike) != 1:
        return shared
    # Its place is not known, or only by the name of its unit: it is that of its class, if there is only one.
    return alike[0] if part["kind"] != alike[0][0]["kind"] and part["class"] not in ("service", "host") else None


def _is_alone(part: Component) -> bool:
    return bool(trait(part, "ASIDE")) or not is_of_service(part) or part["class"] == "endpoint"


def _is_of_another_place(part: Component, alike: t.Sequence[list[Component]]) -> bool:
    return bool(part["places"]) and any(group[0]["places"] for group in alike) and not _is_of_unit(part)


def _is_of_unit(part: Component) -> bool:
    return all(what == "unit" for what, _which in part["places"])


def _component(parts: list[Component]) -> Component:
    """Return the checks of one thing as one component: the worst of them decides, and of several the one that knows most."""
    worst = max(WORSE[one["health"]] for one in parts)
    decides = next(one for one in parts if WORSE[one["health"]] == worst)
    first = parts[0]
    facts = dict(decides["facts"], **{key: value for key, value in first["facts"].items() if value not in (None, "", {}, [])})
    made = dict(decides, name=first["name"], facts=dict(facts, places=sorted(first["places"])), **{"class": first["class"]})
    made["checks"] = [name for one in parts for name in one["checks"]]
    return {key: value for key, value in made.items() if key not in ("places", "knows")}


def _known_from_above(found: t.Sequence[Component]) -> list[Component]:
    """Return what only the look at an application knows: each of its dependencies that no check looks at, or that it sees otherwise."""
    more: list[Component] = []
    for one in found:
        for name, health in fields(one["facts"].get("dependencies")).items():
            health = str(health) if str(health) in WORSE else "unknown"
            group = class_of("", name)
            if not _is_covered([*found, *more], one["host"], group, name, health):
                more.append(_from_above(one, word(name, 120), health, group))
    return more


def _is_covered(found: t.Sequence[Component], host: str, group: str, name: str, health: str) -> bool:
    alike = [one for one in found if one["class"] == group and one["kind"] != "expected" and not trait(one, "ASIDE")]
    near = [one for one in alike if one["host"] == host] or alike
    if group == "service":
        near = [one for one in near if one["name"] == name]
    return any(one["health"] == health or one["health"] != "well" for one in near) or (bool(near) and health == "well")


def _from_above(one: Component, name: str, health: str, group: str) -> Component:
    said = re.search(re.escape(name) + r", which is \w+: ([^;]{1,200})", one["text"])
    text = "%s is %s, as %s sees it%s" % (name, health, one["name"], ": " + said.group(1) if said else "")
    hand_over = fields(one["facts"].get("hand_over")) if health != "well" else {}
    facts = {"hand_over": hand_over, "seen_by": one["name"], "runs": None, "unit": "", "left_out": False}
    return dict(
        one, name=name, kind="dependency", health=health, state="" if health == "well" else "down", text=text, actions=[], since=unknown(),
        checks=list(one["checks"]), facts=facts, **{"class": group},
    )  # fmt: skip


def _with_maintenance(one: Component, looked: Given, now: float) -> Component:
    """Return a pool in maintenance as sick where the run that began it left it behind: nobody ends it."""
    if one["class"] != POOLS or one["state"] != "maintenance":
        return one
    runs = runs_of(looked)
    owed = [row for look in fields(looked).values() for row in listed(fields(fields(look).get("ledger")).get("owed"))]
    own = [row for row in owed if row.get("host") == one["host"] and "/maintenance/" in str(row.get("kind"))]
    left = [row for row in own if is_left(row, runs, now)]
    if not left:
        return one
    text = "%s; run %s that began the maintenance left it behind" % (one["text"], word(left[0].get("run_id"), 60))
    since = {"at": rfc3339(moment(left[0].get("begun_at"))), "source": "the ledger", "text": "the ledger has when the maintenance began"}
    return dict(one, health="sick", state="maintenance_left", text=text, since=since)


def unseen_of(looked: Given, groups: Given, components: t.Sequence[Given], now: float) -> list[Fields]:
    """Return {what, host, why} of everything that no look covers: groups without a host, classes without a check, what a look left out."""
    there = [one for one in components if one.get("kind") != "expected"]
    seen = {(one.get("class"), one.get("host")) for one in there}
    found = [one for name in GROUPS for one in _of_group(name, groups, seen, looked)]
    found += _of_classes({group for group, _host in seen}, there)
    return found + [one for host, look in fields(looked).items() for one in _left_out(host, fields(look))]


def _of_group(name: str, groups: Given, seen: t.Collection[t.Tuple[t.Any, t.Any]], looked: Given) -> list[Fields]:
    """Return what a group of the inventory lacks: a host, or a look at one."""
    (group, what), hosts = GROUPS[name], _hosts_of(groups, name)
    if not hosts and not any(group == known for known, _host in seen):
        return [{"what": what, "host": "", "why": "no host is in the group %s" % name}]
    return [_not_looked(what, host, name, looked) for host in hosts if not _was_seen(group, host, seen, looked)]


def _of_classes(classes: t.Collection[t.Any], there: t.Sequence[Given]) -> list[Fields]:
    """Return what only a check would look at, and no check does."""
    found = [{"what": what, "host": "", "why": "no check looks at it"} for group, what in BY_CHECK_ONLY.items() if group not in classes]
    written = any(trait(one, "WRITES") and not fields(one.get("facts")).get("left_out") for one in there)
    if "api" in classes and not written:
        found.append({"what": "whether memories come back", "host": "", "why": "this look writes none; verify-health can"})
    return found


def _was_seen(group: str, host: str, seen: t.Collection[t.Tuple[t.Any, t.Any]], looked: Given) -> bool:
    look = fields(fields(looked).get(host))
    # What a host that was not reached should have shown is a component of its own.
    return (group, host) in seen or bool(look and (look.get("unreachable") or look.get("failed")))


def _not_looked(what: str, host: str, name: str, looked: Given) -> Fields:
    why = "is in the group %s, and no check looked at it" if host in fields(looked) else "is in the group %s and was left out of this look"
    return {"what": what, "host": word(host, 60), "why": "%s %s" % (word(host, 60), why % name)}


def _left_out(host: str, look: Fields) -> list[Fields]:
    said = [
        {"what": word(one.get("what"), 120) or "something", "host": host, "why": word(one.get("why"), 300) or "no reason given"}
        for one in listed(fields(look.get("host")).get("unseen"))
    ]
    ledger = fields(look.get("ledger"))
    if ledger.get("failed") or ledger.get("unreachable") or not ledger:
        why = word(ledger.get("msg"), 200) or "the ledger of this host was not read"
        said.append({"what": "what earlier runs did", "host": host, "why": why})
    return said
