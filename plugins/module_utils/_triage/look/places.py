# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where triage finds logs, metrics and configuration files: it follows from the checks, so nothing is configured twice. Pure."""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import without_url_secrets
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import is_loopback

Check = t.Mapping[str, t.Any]
Named = t.Dict[str, t.Any]
# Where the log of a kind usually is, if neither the inventory nor a manager says it.
USUAL: t.Mapping[str, str] = {
    "redis": "/var/log/redis/*.log",
    "postgresql": "/var/log/postgresql/*.log",
    "balancer": "/var/log/haproxy.log",
}
# Where a generation of the API has its metrics, by the beginning of the profile; others have them at /metrics.
METRICS: t.Mapping[str, str] = {"v2": "/api/health/metrics"}
# Options of a check that name a service to its manager.
SERVICE = (
    "manager",
    "scope",
    "supervisor_url",
    "project",
    "replica",
    "docker_socket",
    "namespace",
    "workload_kind",
    "context",
    "kubeconfig",
)
# Options of a check that say what it looks at.
ASKED = ("kind", "host", "port", "socket", "url", "pool", "manager", "project", "service")
# Options of a check that are the paths of files which a person, or a deployment, may have changed.
FILES = ("config_file", "ca_file")


def places_of(checks: t.Sequence[t.Any], more_logs: t.Sequence[t.Any] = (), metrics_url: str = "") -> dict[str, t.Any]:
    """Return {logs, metrics, files, projects, releases}: what to read on the host that has *checks*.

    logs: [{name, log_file, usual, service: {manager, name, ...}}], each component once; metrics: [{name, url, token_file, ca_file,
    tenant}]; files: [{name, path}]; projects: [{project, docker_socket}]; releases: [{name, path}].
    """
    known = [one for one in checks if isinstance(one, t.Mapping) and one.get("kind")]
    return {
        "logs": _once([*map(_own_log, (one for one in more_logs if isinstance(one, t.Mapping))), *map(_log_of, known)]),
        "metrics": [one for one in (_metrics_of(check, metrics_url) for check in known) if one],
        "files": [{"name": _name(one), "path": str(one[option])} for one in known for option in FILES if one.get(option)],
        "projects": _projects(known),
        "releases": [{"name": _name(one), "path": link} for one in known for link in [_link_of(one)] if link],
    }


def asked_of(checks: t.Sequence[t.Any]) -> list[Named]:
    """Return what each check looks at, by the options that say so, without credentials."""
    known = [one for one in checks if isinstance(one, t.Mapping) and one.get("kind")]
    named = [dict(one, service=_service_of(one)) if isinstance(one.get("service"), t.Mapping) else one for one in known]
    return [dict({key: without_url_secrets(one[key]) for key in ASKED if one.get(key)}, name=_name(one)) for one in named]


def _name(check: Check) -> str:
    return str(check.get("name") or check["kind"])


def _link_of(check: Check) -> str:
    """Return the link to the release in use, "" where the check names none."""
    releases = check.get("releases")
    return str(releases.get("link") or "") if isinstance(releases, t.Mapping) else ""


def _service_of(check: Check) -> Named:
    """Return how the service that *check* is about is named to its manager, {} where it names none."""
    held = check.get("service")
    if isinstance(held, t.Mapping):
        return {key: value for key, value in held.items() if value not in (None, "")} if held.get("manager") else {}
    if not (check.get("manager") and held):
        return {}
    return dict({key: check[key] for key in SERVICE if check.get(key)}, name=str(held))


def _log_of(check: Check) -> Named:
    kind, host = str(check["kind"]), str(check.get("host") or "")
    # What listens elsewhere has its log there; a directory is that of a socket here.
    is_here = not host or host.startswith("/") or is_loopback(host)
    store = "%s:%s" % (kind, check.get("socket") or check.get("port") or "") if kind in USUAL else ""
    return {
        "name": _name(check),
        "log_file": str(check.get("log_file") or ""),
        "usual": USUAL.get(kind, "") if is_here else "",
        "service": _service_of(check),
        "store": store if is_here else "",
    }


def _own_log(given: Check) -> Named:
    service = {key: given[key] for key in SERVICE if given.get(key)}
    named = dict(service, name=str(given.get("service") or given.get("name"))) if service.get("manager") else {}
    return {"name": str(given.get("name") or ""), "log_file": str(given.get("log_file") or ""), "usual": "", "service": named, "store": ""}


def _once(logs: t.Iterable[Named]) -> list[Named]:
    """Return each component once, and each log once: a check of the unit of a store has the same log as that of the store.

    Of two the one that names a file counts, or a manager, with its name.
    """
    found: list[Named] = []
    for one in (log for log in logs if log["log_file"] or log["usual"] or log["service"]):
        same = next((other for other in found if other["name"] == one["name"] or _place(other) & _place(one)), None)
        if same is None:
            found.append(one)
        elif (bool(one["log_file"]), bool(one["service"])) > (bool(same["log_file"]), bool(same["service"])):
            same.update(one, service=one["service"] or same["service"])
    return [{key: value for key, value in one.items() if key != "store"} for one in found]


def _place(log: Named) -> set[tuple[str, ...]]:
    service = log["service"]
    keys = ("manager", "name", "supervisor_url", "project", "namespace")
    named = {("file", log["log_file"]), ("store", log["store"])} - {("file", ""), ("store", "")}
    return named | ({tuple(str(service.get(key) or "") for key in keys)} if service else set())


def _metrics_of(check: Check, metrics_url: str) -> Named:
    """Return where the API of *check* has its metrics, {} for a check of no service with a health endpoint."""
    url = str(check.get("url") or "")
    if not (url and check.get("manager")):
        return {}
    parts = urlsplit(url)
    path = next((path for profile, path in METRICS.items() if str(check.get("profile") or "").startswith(profile)), "/metrics")
    passed = {key: str(check.get(key) or "") for key in ("token_file", "ca_file", "tenant")}
    return dict(passed, name=_name(check), url=metrics_url or "%s://%s%s" % (parts.scheme, parts.netloc, path))


def _projects(checks: t.Sequence[Check]) -> list[Named]:
    named = [_service_of(one) for one in checks]
    found = {(str(one["project"]), str(one.get("docker_socket") or "")): None for one in named if one.get("project")}
    return [{"project": project, "docker_socket": socket} for project, socket in found]
