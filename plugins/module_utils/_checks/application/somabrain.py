# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bodies of SomaBrain's health endpoints mean: which shape they have, and which of their fields gate (see ``gates.py``).

Pure judgement, no input or output.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, State

Gate = t.Mapping[str, t.Any]

_MEMORY_CIRCUIT: Gate = {"path": "memory_circuit_open", "equals": False}
_OPA: Gate = {"path": "opa_ok", "equals": True, "when": "opa_required"}
# Generation 1 can say ok: false and ready: false for ever although all works, so neither is a gate there.
_V1: tuple[Gate, ...] = (
    {"path": "memory_ok", "equals": True},
    {"path": "predictor_ok", "equals": True, "required": False},
    {"path": "embedder_ok", "equals": True, "required": False},
    {"path": "components.memory.ok", "equals": True, "required": False},
)
# Generation 2 reports healthy without Kafka; only details.connected shows it.
_V2: tuple[Gate, ...] = (
    {"path": "status", "equals": "healthy"},
    {"path": "ready", "equals": True, "required": False},
    {"path": "postgres_ok", "equals": True},
    {"path": "kafka_ok", "equals": True},
    {"path": "memory_ok", "equals": True},
    {"path": "memory_degraded", "equals": False, "required": False},
    {"path": "infrastructure.kafka.details.connected", "equals": True, "required": False},
    {"path": "infrastructure.postgresql.status", "equals": "healthy", "required": False},
    {"path": "infrastructure.redis.status", "equals": "healthy", "required": False},
    _MEMORY_CIRCUIT,
    _OPA,
)
GATES: dict[str, tuple[Gate, ...]] = {
    "none": (),
    "v1_health": _V1,
    "v1_healthz": (*_V1, _MEMORY_CIRCUIT, _OPA),
    "v2_health": _V2,
    "v2_healthz": ({"path": "status", "equals": "healthy"},),
    "v2_readyz": ({"path": "status", "equals": "ready"}, {"path": "checks.*", "equals": "healthy"}),
    "documented": ({"path": "status", "equals": "healthy"}, {"path": "components.*.status", "equals": "healthy"}),
}
# A generation means its main health endpoint.
ALIASES = {"v1": "v1_health", "v2": "v2_health"}
PROFILES = (*GATES, "auto", *ALIASES)
# Profiles whose 503 carries a body that names what is wrong.
TELLING_503 = frozenset(("v2_readyz", "documented", "v2_health", "auto"))
MAX_FINDINGS = 40
_ABSENT = object()


# The fields by which an answer of each profile is recognised, and their types.
_V1_SHAPE: t.Mapping[str, type] = {"ok": bool, "components": dict, "namespace": str}
_SHAPES: t.Mapping[str, t.Mapping[str, type]] = {
    "v1_health": _V1_SHAPE,
    "v1_healthz": dict(_V1_SHAPE, memory_circuit_open=object),
    "v2_health": {"status": str, "infrastructure": dict},
    "v2_healthz": {"status": str, "timestamp": object},
    "v2_readyz": {"status": str, "checks": dict},
    "documented": {"status": str, "components": dict},
}


# The words that ``status`` has in each: the same fields with other words (Spring's UP, somebody's "ok") are another product's answer.
_WORDS: t.Mapping[str, tuple[str, ...]] = {
    "v2_health": ("healthy", "degraded", "critical", "unhealthy"),
    "v2_healthz": ("healthy", "degraded", "critical", "unhealthy"),
    "v2_readyz": ("ready", "degraded", "not_ready", "unhealthy"),
    "documented": ("healthy", "degraded", "critical", "unhealthy"),
}
# In the order in which a body is tried: the shape of the last, a status and a time, fits many bodies.
_TRIED = ("v2_health", "v2_readyz", "documented", "v1_healthz", "v1_health", "v2_healthz")
WEAKEST = _TRIED[-1]


def has_shape(body: t.Any, profile: str) -> bool:
    """Return whether *body* (parsed JSON) is recognisably an answer of *profile*."""
    shape = _SHAPES.get(profile)
    if shape is None or not isinstance(body, dict):
        return False
    if not all(name in body and isinstance(body[name], kind) for name, kind in shape.items()):
        return False
    if profile in _WORDS and body["status"] not in _WORDS[profile]:
        return False
    return profile != "documented" or all(isinstance(one, dict) and "status" in one for one in body["components"].values())


def profile_of(body: t.Any) -> str:
    """Return the profile that *body* has the shape of, "" for none."""
    return next((name for name in _TRIED if has_shape(body, name)), "")


def is_of(body: t.Any, profile: str) -> bool:
    """Return whether *body* may be judged as *profile*: where a telling shape fits, the weakest one is not believed.

    The second generation's answer has the fields of the first as well, and says more.
    """
    if profile.startswith("v1_") and has_shape(body, "v2_health"):
        return False
    return has_shape(body, profile) and (profile != WEAKEST or profile_of(body) == WEAKEST)


def judge_body(body: t.Any, profile: str, gates: t.Sequence[Gate], ignore: t.Sequence[str]) -> list[Finding]:
    """Return a finding for each gate of *profile*, changed by *gates* (same path: replaces), without the paths of *ignore*."""
    chosen = {str(gate["path"]): gate for gate in (*GATES[profile], *gates)}
    findings: list[Finding] = []
    for path, gate in chosen.items():
        if path not in ignore:
            findings += _judge_gate(body, path, gate)
    return findings[:MAX_FINDINGS]


def _judge_gate(body: t.Any, path: str, gate: Gate) -> list[Finding]:
    if gate.get("when") and [value for _path, value in _values(body, str(gate["when"]))] != [True]:
        return []
    found = _values(body, path)
    if not found:
        needed = gate.get("required", True)
        return [Finding(path, State.UNKNOWN, f"{one_line(path, 60)} is missing from the answer{_named_in(body)}")] if needed else []
    return [_judge_value(name, value, gate, body) for name, value in found]


def _named_in(body: t.Any) -> str:
    """Return which fields an answer has, since a gate may name one that the service never says; "" where it has none."""
    names = [one_line(name, 30) for name in list(body)[:6]] if isinstance(body, dict) else []
    return ", which has %s%s" % (", ".join(names), " and more" if len(body) > len(names) else "") if names else ""


def _values(body: t.Any, path: str) -> list[tuple[str, t.Any]]:
    """Return every (path, value) of *body* that the dotted *path* names; nothing for a path that is not there."""
    found: list[tuple[list[str], t.Any]] = [([], body)]
    for key in path.split("."):
        steps: list[tuple[list[str], t.Any]] = []
        for names, value in found:
            inner = _children(value)
            steps += [([*names, one], inner[one]) for one in (inner if key == "*" else [key]) if one in inner]
        found = steps
    return [(".".join(names), value) for names, value in found]


def _children(value: t.Any) -> dict[str, t.Any]:
    if isinstance(value, dict):
        return value
    return {str(i): one for i, one in enumerate(value)} if isinstance(value, list) else {}


def _judge_value(path: str, value: t.Any, gate: Gate, body: t.Any) -> Finding:
    wanted = gate.get("one_of") if gate.get("one_of") is not None else [gate["equals"]] if "equals" in gate else None
    path = one_line(path, 80)
    if wanted is not None:
        state = _judge_equal(value, wanted)
        must = " or ".join(_shown(one) for one in wanted)
    else:
        state = _judge_range(value, gate)
        must = " and ".join(f"at {word} {gate[key]}" for key, word in (("min", "least"), ("max", "most")) if gate.get(key) is not None)
    note = "" if state is State.WELL else f", must be {must}" + (_culprits(body, value) if path == "status" else "")
    return Finding(path, state, f"{path} is {_shown(value)}{note}")


def _judge_equal(value: t.Any, wanted: t.Sequence[t.Any]) -> State:
    # bool is an int to Python: 1 must not pass for true.
    if any(type(value) is type(one) and value == one for one in wanted):
        return State.WELL
    same_kind = any(type(value) is type(one) or {type(value), type(one)} == {int, float} for one in wanted)
    if same_kind and any({type(value), type(one)} == {int, float} and value == one for one in wanted):
        return State.WELL
    return State.SICK if same_kind else State.UNKNOWN


def _judge_range(value: t.Any, gate: Gate) -> State:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return State.UNKNOWN
    low, high = gate.get("min"), gate.get("max")
    return State.WELL if (low is None or value >= low) and (high is None or value <= high) else State.SICK


def _shown(value: t.Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return one_line(value if isinstance(value, (str, int, float)) else type(value).__name__, 60)


def _culprits(body: t.Any, status: t.Any) -> str:
    names = unhealthy_parts(body) or _parts_alike(body, status)
    return f"; it blames {', '.join(names[:8])}" if names else ""


def _parts_alike(body: t.Any, status: t.Any) -> list[str]:
    """Return the names of the parts with the very status of the whole: an API of one's own calls it red, or down."""
    groups = [_children(group) for group in _children(body).values()] if isinstance(status, str) else []
    return [one_line(name, 40) for parts in groups for name, part in parts.items() if status in (part, _children(part).get("status"))][:50]


def unhealthy_parts(body: t.Any) -> list[str]:
    """Return the escaped names of the parts that *body* itself does not call healthy, connected or ok."""
    parts: dict[str, t.Any] = {}
    for group in ("components", "checks", "internal_services", "infrastructure"):
        parts.update(_children(body.get(group)) if isinstance(body, dict) else {})
    return [one_line(name, 40) for name, part in parts.items() if _is_unhealthy(part)][:50]


def _is_unhealthy(part: t.Any) -> bool:
    if isinstance(part, str):
        return part.startswith(("unhealthy", "degraded"))
    if not isinstance(part, dict):
        return False
    details = part.get("details")
    disconnected = isinstance(details, dict) and details.get("connected") is False
    return disconnected or part.get("ok") is False or part.get("status", "healthy") != "healthy"
