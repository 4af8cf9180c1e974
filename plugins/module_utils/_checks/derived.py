# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify-health looks at by itself: the remedies that act on a host, and their checks beside those of a person.

Plain data in and out.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import is_loopback

Check = t.Mapping[str, t.Any]
# remedy: the group that its playbook works on.
GROUPS: t.Mapping[str, str] = {
    "redis_recovery": "redis",
    "database_recovery": "postgresql",
    "service_restart": "somabrain_api",
    "traffic_scaling": "somabrain_balancer",
}
# Their variables are often set for all hosts, of which few are balancers.
BY_GROUP_ONLY = ("traffic_scaling",)
# kind of check: the group and the playbook that acts on what it looks at.
REPAIRS: t.Mapping[str, tuple[str, str]] = {
    "redis": ("redis", "recover_redis"),
    "postgresql": ("postgresql", "recover_database"),
    "application": ("somabrain_api", "restart_service"),
}
# Options by which two checks of one kind mean the same thing, with their defaults.
PLACES: t.Mapping[str, t.Mapping[str, t.Any]] = {
    "redis": {"socket": "", "host": "127.0.0.1", "port": 6379},
    "postgresql": {"host": "127.0.0.1", "port": 5432},
    "application": {"manager": "", "service": ""},
    "balancer": {"balancer": "", "pool": ""},
}


def remedies_of(wanted: t.Sequence[str], groups: t.Mapping[str, t.Sequence[str]], host: str, variables: t.Sequence[str]) -> list[str]:
    """Return those of the *wanted* remedies that act on *host*.

    Its playbook's group decides; where the inventory has no such group, whether a variable of the remedy is set for the host.
    """
    return [name for name in wanted if name in GROUPS and _acts_on(name, groups.get(GROUPS[name]) or [], host, variables)]


def _acts_on(remedy: str, group: t.Sequence[str], host: str, variables: t.Sequence[str]) -> bool:
    if group or remedy in BY_GROUP_ONLY:
        return host in group
    return any(name.startswith(remedy + "_") for name in variables)


def repair_of(sick: t.Mapping[str, t.Collection[str]], groups: t.Mapping[str, t.Sequence[str]]) -> tuple[str, list[str]]:
    """Return the playbook that follows from the kinds of checks that are *sick* on each host, and its hosts; ("", []) for none.

    Stores and what is above them belong into one run, which does them in order. A host outside of a playbook's group is not named.
    """
    found: dict[str, list[str]] = {}
    for host, kinds in sick.items():
        for group, playbook in (REPAIRS[kind] for kind in REPAIRS if kind in kinds):
            if host in (groups.get(group) or []):
                found.setdefault(playbook, []).append(host)
    hosts = [host for host in sick if any(host in one for one in found.values())]
    return ("recover_all" if len(found) > 1 else next(iter(found), ""), hosts)


def not_looked_at(kinds: t.Collection[str], groups: t.Mapping[str, t.Sequence[str]]) -> str:
    """Return a sentence on what no check of *kinds* looked at and no host is grouped for, "" for none: a name may be misspelt."""
    missing = [group for kind, (group, _playbook) in REPAIRS.items() if kind not in kinds and not groups.get(group)]
    return "not looked at, since no host is in the group: %s" % ", ".join(missing) if missing else ""


def with_derived(own: t.Sequence[t.Any], derived: t.Sequence[Check]) -> list[t.Any]:
    """Return the checks of a person, and those of remedies (*derived*) that look at something else.

    A check of a person that looks at the same thing keeps its options, and gets those of the remedy that it does not name.
    """
    same = {index: check for check in derived for index in [_index_of(check, own)] if index is not None}
    found = [dict(same[index], **one) if index in same else one for index, one in enumerate(own)]
    names = {str(one.get("name")) for one in own if isinstance(one, t.Mapping)}
    return found + [_named(check, names) for check in derived if check not in same.values()]


def _index_of(check: Check, own: t.Sequence[t.Any]) -> t.Optional[int]:
    return next((index for index, one in enumerate(own) if isinstance(one, t.Mapping) and _place(one) == _place(check) != ()), None)


def _place(check: Check) -> tuple[t.Any, ...]:
    """Return what *check* looks at, () where its kind has no such options."""
    kind = str(check.get("kind"))
    given = {name: check.get(name) or default for name, default in PLACES.get(kind, {}).items()}
    if given.get("socket"):
        return kind, str(given["socket"])
    if "host" in given and is_loopback(given["host"]):
        given["host"] = "127.0.0.1"
    return (kind, *map(str, given.values())) if given else ()


def _named(check: Check, taken: set[str]) -> dict[str, t.Any]:
    name = str(check["name"])
    while name in taken:
        name += " (remedy)"
    taken.add(name)
    return dict(check, name=name)
