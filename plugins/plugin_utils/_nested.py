# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside of the variables that are mappings or lists of them, by the ending of their name, and which numbers and paths make sense.

The keys come from the tables that the steps themselves use, so that both agree. Rooms are imported when a value is judged.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

Spec = t.Dict[str, t.Any]
Options = t.Mapping[str, t.Any]

_POSTGRESQL, _PINS, _REDIS = Late("_postgresql.options"), Late("_postgresql.facts"), Late("_redis.options")
_INTEGRITY, _EVIDENCE, _LOOK, _KINDS = Late("_redis.integrity"), Late("_spine.evidence"), Late("_checks.look"), Late("_checks.kinds")
_CLIENT, _GATE, _POOLS, _LIMITS = (
    Late("_net.client"),
    Late("_steps.traffic_gate_info"),
    Late("_traffic.balancer.pools"),
    Late("_spine.shared"),
)
_RAW = {"type": "raw"}
REPLICA = ("host", "port", "socket", "username", "password_file")


def _pins(*names: str) -> Spec:
    return {name: dict(_RAW) for name in names}


def _check_of(kind: str, *given: str) -> Spec:
    """Return the options of one kind of check; those in *given* come from elsewhere."""
    options = {**_LOOK.COMMON, **_KINDS.KINDS[kind].OPTIONS}
    return {name: dict(rule, required=rule.get("required") and name not in ("kind", *given)) for name, rule in options.items()}


def _known_answer() -> Spec:
    return {"name": {"type": "str"}, **_POSTGRESQL.EXPECTATIONS["known_answers"]["options"]}


def _balancer() -> Spec:
    return {name: dict(rule, required=False) for name, rule in _POOLS.BALANCER_SPEC.items()}


def _seconds(*names: str) -> Spec:
    return {name: {"type": "float"} for name in names}


def _required(keys: Spec) -> Spec:
    return {name: dict(rule, required=True) for name, rule in keys.items()}


def _service() -> Spec:
    texts = {name: {"type": "str"} for name in ("service", "url", "log_file")}
    return {"name": {"type": "str", "required": True}, "manager_options": {"type": "dict"}, **texts}


# Endings of names and the keys that a mapping of that name has; the first that fits counts.
SHAPES: t.Tuple[t.Tuple[str, t.Callable[[], Spec]], ...] = (
    (r"recover_all_services", _service),
    (r"database_\w+_expected_identity", lambda: _pins(*_PINS.PINS)),
    (r"redis_\w+_expected_identity", lambda: _pins("run_id", "pid", "start_time", "role", "port", "restarts")),
    (r"\w+_(?:known|live)_answers", _known_answer),
    (r"database_recovery_audit", lambda: dict(_POSTGRESQL.EXPECTATIONS["audit"]["options"])),
    (r"database_recovery_limits", lambda: dict(_POSTGRESQL.LIMITS)),
    (r"redis_recovery_known_keys", lambda: dict(_REDIS.EXPECTATIONS["known_keys"]["options"])),
    (r"redis_clearing_replicas", lambda: {name: _REDIS.REACH[name] for name in REPLICA}),
    (r"redis_clearing_checks", lambda: dict(_INTEGRITY.SCOPE_SPEC)),
    (r"database_restore_reconciliation", lambda: _check_of("data_reconciliation")),
    (r"rollback_database", lambda: _check_of("migrations")),
    (r"\w+_(?:api|round_trip)", lambda: _check_of("round_trip")),
    (r"health_verification_endpoint_defaults", lambda: _check_of("http", "url")),
    (r"\w+_evidence", lambda: dict(_EVIDENCE.SUBOPTIONS)),
    # What is left out would be no patience at all: one look would prove everything.
    (r"\w+_patience", lambda: _required({"passes": {"type": "int"}, **_seconds("window", "timeout", "interval")})),
    (r"service_restart_deadlines", lambda: _required(_seconds("restart", "force", "start", "wait", "other"))),
    (r"traffic_scaling_budget", lambda: dict(_LIMITS.LIMITS["budget"]["options"])),
    (r"traffic_scaling_balancer_options", _balancer),
    (r"traffic_scaling_metrics", lambda: dict(_GATE.ARGUMENT_SPEC["metrics"]["options"])),
    (r"traffic_scaling_probes", lambda: dict(_GATE.ARGUMENT_SPEC["probes"]["options"])),
    (
        r"traffic_scaling_gates",
        lambda: {"room": {"type": "dict"}, **_seconds("error_rate", "unanswered", "rejected", "p95", "recall_p95", "factor")},
    ),
)
# Variables that are lists of checks, each of a kind of its own.
CHECKS = re.compile(
    r"(?:\w+_(?:also_verify|dependencies|credentials|beside)|health_verification_(?:host_)?checks|traffic_scaling_checks)\Z"
)
# Endings of names and keys, least and greatest number that makes sense. What is below *_deadlines and *_patience is seconds and counts.
SENSE: t.Tuple[t.Tuple[re.Pattern[str], float, float], ...] = (
    (re.compile(r"(?:\A|_)port\Z"), 1, 65535),
    (re.compile(r"(?:\A|_)(?:timeout|seconds|window|interval|minutes|ms|bytes|deadlines|patience)\Z"), 0, float("inf")),
    (re.compile(r"(?<!warm_up)_share\Z"), 0, 1),
)
# Names of addresses that are asked over HTTP, "" for none.
HTTP_URL = re.compile(r"(?:(?:service_restart|service_restart_ltm|traffic_scaling_client|health_verification_base|base|prometheus)_)?url\Z")
FOLDER = re.compile(r"(?<!\Alab)_dir\Z")


def keys_of(name: str, option: Options) -> t.Optional[Spec]:
    """Return the keys that a mapping in the variable *name* may have: as its option declares, else by its name; None: any."""
    named = next((spec for ending, spec in SHAPES if re.match(ending + r"\Z", name)), None)
    if option.get("options"):
        required = named() if named and name.endswith("_patience") else {}
        return {key: dict(rule, required=key in required) if required else rule for key, rule in option["options"].items()}
    return named() if named else None


def check_keys(check: t.Mapping[str, t.Any]) -> t.Optional[Spec]:
    """Return the keys of one check by its kind; None where the kind is not known here."""
    kind = str(check.get("kind"))
    return _check_of(kind) if kind in _KINDS.KINDS else None


def kinds() -> list[str]:
    """Return the kinds of checks."""
    return sorted(_KINDS.KINDS)


def out_of_range(names: t.Sequence[str], value: t.Any) -> str:
    """Return what is wrong with a number or path by the *names* that lead to it, "" where nothing is."""
    if isinstance(value, str) and value and (FOLDER.search(names[-1]) or HTTP_URL.match(names[-1])):
        return _not_a_place(names[-1], value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""
    ranges = [(least, most) for name in (names[-1], names[0]) for ending, least, most in SENSE if ending.search(name)]
    for least, most in ranges[:1]:
        if not least <= number <= most:
            return "write %g or more" % least if most == float("inf") else "write a number from %g to %g" % (least, most)
    return ""


def _not_a_place(name: str, value: str) -> str:
    """Return what is wrong with a path or an address, "" where nothing is."""
    if FOLDER.search(name):
        return "" if value.startswith(("/", "~")) else "write an absolute path"
    try:
        _CLIENT.parse_url(value)
    except _CLIENT.Failed as error:
        return "write it as http://HOST:PORT/PATH or https://... (%s)" % error.detail
    return ""
