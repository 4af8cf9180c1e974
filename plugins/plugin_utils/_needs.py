# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the remedies of one host need, from the variables that their roles have anyway: programs, rights, credentials, room, collections.

``needs_of`` is pure; ``values_for`` gives it the variables of all roles with the defaults of those that are not set.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import typing as t

import yaml
from ansible import template

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import round_trip
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import ROLES

Values = t.Mapping[str, t.Any]
Found = t.Dict[str, t.Any]
# The groups that the playbooks work on, and the remedies of each.
GROUPS: t.Mapping[str, tuple[str, ...]] = {
    "redis": ("redis_recovery",),
    "postgresql": ("database_recovery", "database_unblock", "database_restore"),
    "somabrain_api": ("service_restart", "rollback"),
    "somabrain_balancer": ("traffic_scaling",),
}
# A remedy that most hosts of its group do not use is meant only where this variable is set.
ONLY_WITH: t.Mapping[str, str] = {
    "database_unblock": "database_unblock_user",
    "database_restore": "database_restore_side_dir",
}
# The variable with the manager of each remedy, and what that does for it.
MANAGED: t.Mapping[str, tuple[str, str]] = {
    "rollback": ("service_restart_manager", "recreate"),
    "service_restart": ("service_restart_manager", "restart"),
    "traffic_scaling": ("traffic_scaling_manager", "scale"),
}
# Any of these shows that the API is there; whether it is well is for verify-health to say.
ANSWERS = [200, 204, 404, 503]
# At the very URL that a person named, it has something to say.
AT_ITS_URL = [200, 204, 503]
GENERATIONS = tuple(round_trip.OPTIONS["profile"]["choices"])
ROLES_USED = tuple(role for roles in GROUPS.values() for role in roles)


def roles_of(known: Values) -> list[str]:
    """Return the remedies that are meant for a host: those of its groups; where such a group does not exist, those with variables."""
    groups, mine = known.get("groups") or {}, known.get("group_names") or []
    found = []
    for group, roles in GROUPS.items():
        in_group = group in mine if groups.get(group) else any(name.startswith(roles[0] + "_") for name in known)
        found += [role for role in roles if in_group and (role not in ONLY_WITH or known.get(ONLY_WITH[role]))]
    return [role for role in found if role != "rollback" or _may_roll_back(values_for(known))]


def _may_roll_back(values: Values) -> bool:
    """Return whether a rollback is meant: releases that are directories need a folder of their own."""
    return trait(values.get("service_restart_manager"), "RELEASED_AS") != "directories" or bool(values.get("rollback_releases_dir"))


@functools.cache
def _defaults_of(role: str) -> dict[str, t.Any]:
    with open(os.path.join(ROLES, role, "defaults", "main.yml"), encoding="utf-8") as file:
        return dict(_trusted(yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}))  # noqa: S506


def _trusted(value: t.Any) -> t.Any:
    """Return what our own defaults say with its templates marked as ours; ansible-core before 2.19 needs no mark."""
    if isinstance(value, dict):
        return {name: _trusted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_trusted(one) for one in value]
    mark = getattr(template, "trust_as_template", None)
    return mark(value) if mark and isinstance(value, str) else value


def values_for(known: Values) -> dict[str, t.Any]:
    """Return the variables of the host, with the defaults of every remedy below them; templates are not yet worked out."""
    return {**{name: value for role in ROLES_USED for name, value in _defaults_of(role).items()}, **known}


class Asked:
    """The variables of one host by name, each worked out when it is asked for; those that cannot be are kept in ``broken``."""

    def __init__(self, work_out: t.Callable[[str], t.Any]) -> None:
        self._work_out = work_out
        self.broken: list[str] = []

    def __call__(self, name: str) -> t.Any:
        try:
            return self._work_out(name)
        except Exception as error:  # whatever a template of an inventory raises
            self.broken.append("%s cannot be worked out: %s" % (name, error))
            return None

    def text(self, name: str) -> str:
        """Return a variable as text, "" where it is not set."""
        return str(self(name) or "")

    def of(self, role: str, *names: str) -> dict[str, t.Any]:
        """Return some variables of a role by their names without its prefix."""
        return {name: self("%s_%s" % (role, name)) for name in names}


def asked_of(known: Values, templar: t.Any) -> Asked:
    """Return the variables of a host, as *known* to a task, with the defaults of the remedies."""
    values = values_for(known)

    def work_out(name: str) -> t.Any:
        before, templar.available_variables = templar.available_variables, values
        try:
            return plain(templar.template(values.get(name)))
        finally:
            templar.available_variables = before

    return Asked(work_out)


def needs_of(roles: t.Sequence[str], asked: Asked) -> Found:
    """Return {tools, root_for, rooms, reserves, checks, collections} for *roles*; each entry says what it is for."""
    needs: Found = {"tools": [], "root_for": [], "rooms": [], "reserves": [], "checks": [], "collections": []}
    for role in roles:
        _OWN[role](needs, asked)
        needs["collections"] += [dict(one, role=role) for one in collections_of(role, asked)]
    needs["tools"] = list(dict.fromkeys(needs["tools"]))
    needs["root_for"] = list(dict.fromkeys(needs["root_for"]))
    return needs


def collections_of(role: str, asked: Asked) -> list[Found]:
    """Return [{name, least}] of the collections that the acts of *role* use under its manager."""
    variable, act = MANAGED.get(role, ("", ""))
    borrowed = (trait(asked.text(variable), "BORROWS") or {}).get(act) if variable else None
    if not borrowed or (role == "traffic_scaling" and (not asked.text("traffic_scaling_replicas") or asked("traffic_scaling_slots"))):
        return []
    name, *least = borrowed
    return [{"name": name, "least": tuple(least)}]


def missing(role: str, known: Values, templar: t.Any) -> list[Found]:
    """Return the reason against *role* for each collection that its acts use and this controller lacks: a run would end half-way."""
    if role not in MANAGED:
        return []
    asked = asked_of(known, templar)
    problems = [problem_with(one["name"], one["least"]) for one in collections_of(role, asked)]
    return [reason("requirement_missing", text) for text in problems if text]


def problem_with(name: str, least: t.Sequence[int]) -> str:
    """Return why a collection will not do on this controller, with the command that mends it; "" where it will."""
    mend = "ansible-galaxy collection install '%s:>=%d.%d.0'" % (name, least[0], least[1])
    version = version_of(name)
    if not version:
        return "%s is not installed on the controller: %s" % (name, mend)
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < tuple(least):
        return "%s %s on the controller is too old: %s" % (name, version, mend)
    return ""


def version_of(name: str) -> str:
    """Return the version of a collection as this controller would load it, "" for none, "9999.0" for one that does not say."""
    try:
        spec = importlib.util.find_spec("ansible_collections." + name)
    except (ImportError, ValueError):
        return ""
    for place in (spec.submodule_search_locations or []) if spec else []:
        try:
            with open(os.path.join(place, "MANIFEST.json"), encoding="utf-8") as file:
                return str(json.load(file)["collection_info"]["version"])
        except (OSError, ValueError, KeyError):
            return "9999.0"
    return ""


def _managed(needs: Found, asked: Asked, role: str, named: str) -> None:
    """Add what the manager of a service needs: its program, root, and the service itself."""
    manager, service = asked.text(role + "_manager"), asked.text(role + "_service")
    program = trait(manager, "PROGRAM")
    needs["tools"] += [program] if program else []
    if trait(manager, "ROOT_ONLY") and asked.text("service_manager_scope") in ("", "system"):
        needs["root_for"].append("%s lets only root start and stop %s" % (manager, service))
    needs["checks"].append({"name": "%s (%s_service)" % (named, role), "kind": "service", **_named(asked, role)})


def _named(asked: Asked, role: str) -> Found:
    """Return the options that name the service of a role to its manager."""
    place = {"docker_socket": "service_manager_docker_socket", "namespace": "service_manager_namespace",
             "context": "service_manager_context", "kubeconfig": "service_manager_kubeconfig",
             "project": "service_manager_project", "supervisor_url": "service_manager_supervisor_url",
             "scope": "service_manager_scope"}  # fmt: skip
    given = {option: asked(variable) for option, variable in place.items()}
    more = {option: value for option, value in given.items() if value}
    return {"manager": asked.text(role + "_manager"), "service": asked.text(role + "_service"), **more}


def _room(needs: Found, asked: Asked, variable: str, beside: str = "") -> None:
    if asked.text(variable):
        needs["rooms"].append({"path": asked.text(variable), "variable": variable, "beside": beside})


def _reserves(needs: Found, asked: Asked, variable: str) -> None:
    needs["reserves"] += [{"path": str(path), "variable": variable} for path in asked(variable) or []]


def _redis(needs: Found, asked: Asked) -> None:
    _managed(needs, asked, "redis_recovery", "Redis service")
    needs["tools"].append(asked.text("redis_recovery_server") or "redis-server|valkey-server|keydb-server")
    reach = asked.of("redis_recovery", "host", "port", "socket", "username", "password_file")
    needs["checks"].append({"name": "Redis log-in", "kind": "redis", **_set(reach)})
    _room(needs, asked, "redis_recovery_rescue_dir", asked.text("redis_recovery_data_dir"))
    _reserves(needs, asked, "redis_recovery_make_room")
    _api(needs, asked, "redis_recovery_api")


def _database(needs: Found, asked: Asked) -> None:
    _managed(needs, asked, "database_recovery", "PostgreSQL service")
    needs["tools"].append("psql")
    _log_in(needs, asked, "database_recovery", "PostgreSQL log-in")
    _room(needs, asked, "database_recovery_rescue_dir", asked.text("database_recovery_data_dir"))
    _reserves(needs, asked, "database_recovery_make_room")
    _api(needs, asked, "database_recovery_api")


def _log_in(needs: Found, asked: Asked, role: str, named: str) -> None:
    reach = _set(asked.of(role, "host", "port", "user", "database", "password_file", "os_user"))
    # Without an address it is the socket, which only the machine itself has.
    needs["checks"].append({"name": named, "kind": "postgresql", "login": True, "host": "", "look_from": "target", **reach})
    if reach.get("os_user") and not reach.get("host"):
        needs["root_for"].append("only root can become the user %s of the database" % reach["os_user"])


def _unblock(needs: Found, asked: Asked) -> None:
    _log_in(needs, asked, "database_unblock", "PostgreSQL log-in of unblock-database")


def _restore(needs: Found, asked: Asked) -> None:
    needs["tools"].append(asked.text("database_restore_pgbackrest") or "pgbackrest")
    _room(needs, asked, "database_restore_side_dir", asked.text("database_restore_data_dir"))


def _service(needs: Found, asked: Asked) -> None:
    _managed(needs, asked, "service_restart", "API service")
    # The look at a service is made where it runs, that at its dependencies included; a cluster is asked from the controller.
    where = "auto" if trait(asked.text("service_restart_manager"), "ANYWHERE") else "target"
    url = asked.text("service_restart_url")
    if url:
        given = {"look_from": where, **_set(asked.of("service_restart", "token_file", "ca_file"))}
        needs["checks"].append({"name": "API", "kind": "http", "url": url, "expect_status": AT_ITS_URL, **given})
        # Its health answers whatever the token is.
        generation = asked.text("service_restart_round_trip")
        if generation in GENERATIONS:
            trip = {"profile": generation, **_set(asked.of("service_restart", "tenant"))}
            needs["checks"].append({"name": "API token", **round_trip.recall_only(_base_of(url), trip), **given})
    for one in asked("service_restart_dependencies") or []:
        if isinstance(one, t.Mapping):
            needs["checks"].append(dict(one, name="dependency %s" % (one.get("name") or one.get("kind")), look_from=where))


def _rollback(needs: Found, asked: Asked) -> None:
    needs["tools"] += ["git"] if asked.text("rollback_config_repository") else []
    reader = trait(asked.text("service_restart_manager"), "PROJECT_PROGRAM")
    needs["tools"] += [reader] if reader else []
    places = {"releases_dir": asked.text("rollback_releases_dir"), "current": asked.text("rollback_current")}
    if trait(asked.text("service_restart_manager"), "RELEASED_AS") == "directories":
        needs["checks"].append({"name": "release that runs", "kind": "release", **_named(asked, "service_restart"), **places})
    database = asked("rollback_database")
    if isinstance(database, t.Mapping) and database:
        names = ("host", "port", "user", "database", "password_file", "os_user")
        reach = {name: database[name] for name in names if database.get(name)}
        needs["checks"].append({"name": "database log-in of rollback", "kind": "postgresql", "login": True, "look_from": "target", **reach})


def _traffic(needs: Found, asked: Asked) -> None:
    target = {"balancer": asked.text("traffic_scaling_balancer"), "pool": asked.text("traffic_scaling_pool")}
    sides = {name: asked("traffic_scaling_" + name) for name in ("main", "spare", "overflow")}
    if target["balancer"]:
        options = asked("traffic_scaling_balancer_options") or {}
        needs["checks"].append({"name": "balancer", "kind": "balancer", "goal": "ready", **target, **_set(sides), **options})


def _api(needs: Found, asked: Asked, variable: str) -> None:
    api = asked(variable)
    if not (isinstance(api, t.Mapping) and api.get("url")):
        return
    given = {name: api[name] for name in ("token_file", "ca_file", "validate_certs") if api.get(name) not in ("", None)}
    if api.get("profile", GENERATIONS[0]) in GENERATIONS:
        how = round_trip.recall_only(str(api["url"]), {name: api[name] for name in ("profile", "tenant", "namespace") if api.get(name)})
    else:
        how = {"kind": "http", "url": str(api["url"]).rstrip("/") + "/health", "expect_status": ANSWERS}
    needs["checks"].append({"name": "API of %s" % variable, **how, **given})


def _base_of(url: str) -> str:
    scheme, dummy, rest = url.partition("://")
    return "%s://%s" % (scheme, rest.partition("/")[0])


def _set(given: Values) -> Found:
    return {name: value for name, value in given.items() if value not in ("", None)}


_OWN: t.Mapping[str, t.Callable[[Found, Asked], None]] = {
    "redis_recovery": _redis,
    "database_recovery": _database,
    "database_unblock": _unblock,
    "database_restore": _restore,
    "service_restart": _service,
    "rollback": _rollback,
    "traffic_scaling": _traffic,
}
