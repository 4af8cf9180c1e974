# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check of kind ``application``: a stateless service that answers HTTP, with everything that explains why it does not.

One look covers its manager, its own health endpoint, its dependencies, its memory over some seconds, and the end of its log; if it
answers, a test memory is written and recalled. ``_checks/application/judge.py`` judges.

C(application): a stateless service that answers HTTP, with everything around it. Takes C(service) and its manager (see
M(somabrain.incident_response.service_info)), C(url) of its health endpoint, empty for none, with C(profile), C(token_file), C(tenant),
C(gates), C(ignore_gates), C(max_latency_ms), C(ca_file) and C(validate_certs) as C(http) does; C(round_trip) (options of a C(round_trip)
without C(url), made only when the endpoint answers); C(dependencies) (checks of its dependencies, made from where it runs) and
C(long_term_memory) (one check); C(stateful) (further names to refuse), C(behind_proxy) (its port belongs to another program),
C(answer_timeout), C(start_seconds) (how long it may take to become healthy), C(loop_restarts) and C(budget_seconds), C(memory_seconds),
C(memory_samples), C(memory_limit) (bytes), C(memory_horizon) (seconds) and C(min_growth_bytes); C(log_file), C(mended) (a person says
so), C(log_lines) and C(bad_config) (regular expressions); C(known) (C(restarts), C(oom_kills), C(samples), C(at) when it was last well),
C(old_identity) (the process that must be gone) and C(releases) (C(dir), C(link) and C(verified), the ids of the releases that passed
verification).
"""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import gates as application_gates
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.judge import judge_application
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.load import (
    Look,
    load_application,
    look_for_locks,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import http_endpoint as http
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import round_trip
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock

# Log lines of a configuration that a service cannot start with.
BAD_CONFIG = (
    r"ImproperlyConfigured",
    r"ValidationError.*[Ss]ettings|[Ss]ettings.*ValidationError",
    r"(?i)(invalid|bad|broken|malformed|missing|unknown) (configuration|config|setting|environment variable)",
    r"(?i)(configuration|environment variable|setting)s? .{0,80}(is |are )?(missing|invalid|required|not set|malformed)",
    r"(yaml|toml|configparser|json|JSONDecode)\S*\.?\w*Error\b",
    r"KeyError: '[A-Z][A-Z0-9_]+'",
)
# What the HTTP part takes over as it is.
HTTP = ("url", "profile", "token_file", "tenant", "gates", "ignore_gates", "max_latency_ms", "ca_file", "validate_certs")
HOST_ONLY = True
CLASS = "api"
OPTIONS: dict[str, t.Any] = {
    **ask.CHECK_SPEC,
    "service": {"type": "str", "required": True},
    "url": {"type": "str", "default": ""},
    **{name: http.OPTIONS[name] for name in HTTP if name != "url"},
    # A check of kind round_trip without its url; {} where nothing is to be written.
    "round_trip": {"type": "dict", "default": {}},
    # Checks of its dependencies and of its long-term memory.
    "dependencies": {"type": "list", "elements": "dict", "default": []},
    "long_term_memory": {"type": "dict", "default": {}},
    # Names of services that hold data, and of those that hold none though their name or their open files look like it.
    "stateful": {"type": "list", "elements": "str", "default": []},
    "stateless": {"type": "list", "elements": "str", "default": []},
    "behind_proxy": {"type": "bool", "default": False},
    "answer_timeout": {"type": "float", "default": 3.0},
    # Further seconds for one more request where the first was not answered: only slow, or only one of its processes.
    "ask_again": {"type": "float", "default": 0.0},
    "start_seconds": {"type": "float", "default": 30.0},
    "loop_restarts": {"type": "int", "default": 3},
    "budget_seconds": {"type": "float", "default": 900.0},
    "memory_seconds": {"type": "float", "default": 0.0},
    "memory_samples": {"type": "int", "default": 6},
    "memory_limit": {"type": "int", "default": 0},
    "memory_horizon": {"type": "float", "default": 1800.0},
    "min_growth_bytes": {"type": "int", "default": 16777216},
    "log_lines": {"type": "int", "default": 20},
    # Its log file, beside what its manager keeps; and whether a person says that the reason in it is mended.
    "log_file": {"type": "str", "default": ""},
    "mended": {"type": "bool", "default": False},
    # Whether its long-term memory was down before this run acted: then nobody waits for it, and nothing is proven without it.
    "memory_was_down": {"type": "bool", "default": False},
    "bad_config": {"type": "list", "elements": "str", "default": list(BAD_CONFIG)},
    # What was known when it was last well (restarts, oom_kills, samples, at), and the process before a restart.
    "known": {"type": "dict", "default": {}},
    "old_identity": {"type": "dict", "default": {}},
    # Where its releases are, which link selects one, and the ids that passed verification: {dir, link, verified}.
    "releases": {"type": "dict", "default": {}},
}
BELOW = ("dependencies", "long_term_memory")
WRITES_WITH = "round_trip"


def problems(options: t.Mapping[str, t.Any]) -> list[str]:
    """Return what is wrong with the gates, its own and those of its long-term memory."""
    below = application_gates.problems_of(options["long_term_memory"].get("gates") or [])
    return [*http.problems(options), *("long_term_memory.%s" % one for one in below)]


def load(options: dict[str, t.Any], deadline: float, look: Look) -> dict[str, t.Any]:
    """Look at all of it within *deadline* seconds. Only an application that answers, and is otherwise well, gets a memory to keep."""
    clock = Clock(deadline)
    raw = load_application(options, deadline, functools.partial(_ask, options), look)
    # An answer that came late says little; what it answers then says more.
    asked_for = ("up", "unsteady", *(["slow"] if raw["again"] else []))
    if options["round_trip"] and raw["http"] and judge(raw, options).state in asked_for:
        ready = {name: rule.get("default") for name, rule in round_trip.OPTIONS.items()}
        shared = {name: options[name] for name in ("token_file", "ca_file", "validate_certs")}
        asked = {**ready, "url": _base_of(options["url"]), **shared, **options["round_trip"]}
        # Time is left to look who waits for a lock, should it not answer.
        trip = round_trip.load(asked, max(0.5, clock.left - 0.5))
        raw["round_trip"] = {"raw": trip, "options": asked}
        if "timeout" in ((trip[step] or {}).get("error") for step in ("remember", "recall")):
            raw.update(look_for_locks(raw, options, look))
    return raw


def _ask(options: t.Mapping[str, t.Any], seconds: float, url: str = "") -> t.Optional[dict[str, t.Any]]:
    """Ask its health endpoint, or the same at another *url*."""
    return http.load(dict(_http_options(options), url=url or options["url"]), seconds) if options["url"] else None


def _http_options(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the options of the check kind ``http`` that the options of an application mean."""
    ready = {name: rule.get("default") for name, rule in http.OPTIONS.items()}
    # Any status that says "done" is as good as 200: its body, or that it has none, is judged by the profile.
    ready["expect_status"] = list(range(200, 300))
    return dict(ready, stands_on=options.get("stands_on"), **{name: options[name] for name in HTTP})


def _base_of(url: str) -> str:
    scheme, dummy, rest = url.partition("://")
    return "%s://%s" % (scheme, rest.partition("/")[0])


def _direct(asked: t.Sequence[t.Mapping[str, t.Any]], options: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return {url, health} of each place where the service itself was asked, past its proxy."""
    return [dict(one, health=http.judge(one["raw"], dict(_http_options(options), url=one["url"])).health.value) for one in asked]


def judge(raw: dict[str, t.Any], options: dict[str, t.Any]) -> Health:
    """Judge the parts that are checks of their own, then the application as ``judge_application`` does."""
    answer, trip = raw["http"], raw["round_trip"]
    return judge_application(
        dict(raw, direct=_direct(raw.get("direct") or [], options)),
        options,
        http.judge(answer, _http_options(options)) if answer else None,
        round_trip.judge(trip["raw"], dict(trip["options"], stands_on=options.get("stands_on"))) if trip else None,
    )
