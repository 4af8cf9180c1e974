# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``round_trip``: remember a unique canary, recall exactly that one, delete it again.

The only kind that writes. An acknowledged write proves nothing: SomaBrain acknowledges writes even with its long-term
memory down, and recalls them from working memory. So the long-term memory has to return the canary, unless ``require_ltm`` is false.
Noise scores 0.07-0.15 and a unique task about 0.74, so both the text and the score must be right.

The second generation is asked for the layer ``ltm`` alone first: of both layers it returns the ten best only, and each memory of working
memory counts as the best. A word that is no layer of it finds nothing and is answered with 200.

The first generation as shipped answers each deletion with 500, the second has none (404). After the first such answer one canary is kept
under a name of its own: later looks find it, write it again with another text, and delete nothing, so that neither canaries nor errors
add up. The one whose deletion failed stays beside it.

C(round_trip): see M(somabrain.incident_response.memory_round_trip).
"""

from __future__ import annotations

import json
import time
import typing as t
import uuid

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind.http_endpoint import credentials
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.reach import (
    judge_not_meant,
    judge_unreached,
    judge_without_token,
    turned_away,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as net_http

WRITES = True
# Names of the profiles of its health endpoint; the generation is meant.
ALIASES = {"v1_health": "v1", "v1_healthz": "v1", "v2_health": "v2", "v2_healthz": "v2", "v2_readyz": "v2"}
CLASS = "endpoint"
OPTIONS: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "profile": {"type": "str", "choices": ["v1", "v2", *ALIASES], "default": "v1"},
    "token": {"type": "str", "default": "", "no_log": True},
    "token_file": {"type": "path", "default": ""},
    "tenant": {"type": "str", "default": "somabrain-canary"},
    "namespace": {"type": "str", "default": "canary"},
    "min_score": {"type": "float", "default": 0.5},
    "require_ltm": {"type": "bool", "default": True},
    "max_remember_ms": {"type": "float", "default": 0},
    "max_recall_ms": {"type": "float", "default": 0},
    "delete_paths": {"type": "list", "elements": "str"},
    "ca_file": {"type": "path", "default": ""},
    "validate_certs": {"type": "bool", "default": True},
}
_PATHS = {"v1": ("/remember", "/recall"), "v2": ("/memory/remember", "/memory/recall")}
# The second generation as shipped cannot delete; its canary gets a short lifetime instead.
_DELETE_PATHS: dict[str, tuple[str, ...]] = {"v1": ("/recall/delete", "/delete"), "v2": ("/memory/delete",)}
CANARY_LIFE = 300
NO_DELETION = (404, 405)
KEPT = "somabrain-canary-kept"
_WORDS = "canary of a health check, "
# Whether a canary is kept at a url and tenant: asked once by each process.
_KEEPS: dict[tuple[str, str], bool] = {}
_PAUSE = 0.2
# How the second generation answers a recall from its long-term memory alone while that is away.
AWAY = (502, 503, 504)

Canary = t.Dict[str, str]
Send = t.Callable[[str, t.Dict[str, t.Any], float], net_http.Answer]


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Remember, recall until found or until three quarters of *deadline* (seconds) are over, and clean up in the time left."""
    begun, options = time.monotonic(), _as_generation(options)
    headers, problem = credentials(options)
    raw: dict[str, t.Any] = {"problem": problem, "remember": {}, "recall": {}, "cleanup": {}}
    if problem:
        return raw
    send = _sender(options, headers)
    work_end, end = begun + deadline * 0.75, begun + deadline
    canary = _new_canary(KEPT if _keeps(send, options, begun + deadline * 0.2) else "")
    try:
        raw["remember"] = _remember(send, options, canary, work_end)
        if raw["remember"]["sent"]:
            raw["recall"] = _recall_until_found(send, options, canary, work_end)
    finally:
        # Also after a failure: an unacknowledged write may still have been stored.
        if raw["remember"].get("sent", True):
            raw["cleanup"] = _clean_up(send, options, canary, raw["recall"].get("coordinate"), end)
    return raw


def recall_only(url: str, given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the options of a check of kind ``http`` that asks the API at *url* for a memory, which needs the token and writes nothing.

    *given* are the options of the round trip that are set. Whatever it finds, the token is taken; 5xx: what holds its memories is away.
    """
    asked = _as_generation({**{name: rule.get("default") for name, rule in OPTIONS.items()}, **given})
    place = {name: asked[name] for name in ("tenant", "namespace")} if asked["profile"] == "v2" else {}
    return {
        "kind": "http", "url": str(url).rstrip("/") + _PATHS[asked["profile"]][1], "method": "POST", "tenant": asked["tenant"],
        "body": {"query": "access", "top_k": 1, **place}, "expect_status": [200, *AWAY],
    }  # fmt: skip


def _as_generation(options: dict[str, t.Any]) -> dict[str, t.Any]:
    return dict(options, profile=ALIASES.get(str(options["profile"]), options["profile"]))


def _keeps(send: Send, options: t.Mapping[str, t.Any], end: float) -> bool:
    """Return whether an earlier look left the kept canary, since nothing can be deleted here."""
    place = (str(options["url"]), str(options["tenant"]))
    if place not in _KEEPS:
        found = _recall(send, options, {"task": KEPT, "content": ""}, end)
        if found["status"] != 200:
            return False
        _KEEPS[place] = bool(found["found"])
    return _KEEPS[place]


def _new_canary(task: str) -> Canary:
    # The text of a kept canary grows with time, so that a later look's counts for an earlier one that runs beside it.
    return {"task": task or f"somabrain-canary-{uuid.uuid4().hex}", "content": f"{_WORDS}{time.time_ns():020d} {uuid.uuid4().hex}"}


def _is_ours(hit: t.Mapping[str, t.Any], canary: Canary) -> bool:
    if hit["task"] != canary["task"]:
        return False
    kept = canary["task"] == KEPT and str(hit["content"]).startswith(_WORDS) and str(hit["content"]) > canary["content"]
    return bool(hit["content"] == canary["content"] or kept)


def _sender(options: t.Mapping[str, t.Any], headers: dict[str, str]) -> Send:
    base = str(options["url"]).rstrip("/")

    def send(path: str, body: dict[str, t.Any], end: float) -> net_http.Answer:
        left = max(0.05, end - time.monotonic())
        return net_http.ask(
            base + path, left, method="POST", body=json.dumps(body).encode(), headers=headers,
            ca_file=options["ca_file"], validate_certs=options["validate_certs"],
        )  # fmt: skip

    return send


def _remember(send: Send, options: t.Mapping[str, t.Any], canary: Canary, end: float) -> dict[str, t.Any]:
    payload = dict(canary, importance=1, memory_type="episodic")
    body: dict[str, t.Any] = {"payload": payload}
    if options["profile"] == "v2":
        body = dict(_address(options, canary), value=payload, ttl_seconds=CANARY_LIFE)
    answer = send(_PATHS[options["profile"]][0], body, end)
    parsed = _parsed(answer)
    never_sent = answer.error in ("refused", "resolve", "bad_url", "forbidden_address", "tls", "unreachable", "connect_timeout")
    return dict(_told(answer), sent=not never_sent, acknowledged=answer.status == 200 and parsed.get("ok") is True)


def _address(options: t.Mapping[str, t.Any], canary: Canary) -> dict[str, t.Any]:
    return {"tenant": options["tenant"], "namespace": options["namespace"], "key": canary["task"]}


def _told(answer: net_http.Answer) -> dict[str, t.Any]:
    return {"error": answer.error, "detail": answer.detail, "status": answer.status, "location": answer.location, "seconds": answer.seconds}


def _parsed(answer: net_http.Answer) -> dict[str, t.Any]:
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _recall_until_found(send: Send, options: t.Mapping[str, t.Any], canary: Canary, end: float) -> dict[str, t.Any]:
    before: dict[str, t.Any] = {}
    while True:
        begun = time.monotonic()
        found = _recall(send, options, canary, end)
        if before and found["error"] == "timeout":
            # It answered, and was cut off by our own deadline only this time: the memory is missing, and the API does not hang.
            return before
        before = found
        enough = found["found"] and (found["ltm"] or not options["require_ltm"])
        # Another recall that would be cut off by our own deadline says nothing.
        took, left = time.monotonic() - begun, end - time.monotonic()
        if enough or found["status"] != 200 or found["degraded"] or left <= _PAUSE + 1.5 * took:
            return found
        time.sleep(_PAUSE)


def _top_k() -> int:
    """Return a number from 10 to 49, another one every 50 ms: the first generation keeps each answer for 2 s, by query and this number."""
    return 10 + int(time.time() * 20) % 40


def _recall(send: Send, options: t.Mapping[str, t.Any], canary: Canary, end: float) -> dict[str, t.Any]:
    """Return the recall of *canary*; in the second generation by its long-term memory, or else by both layers."""
    if options["profile"] != "v2":
        return _recall_at(send, options, canary, end, "")
    kept = _recall_at(send, options, canary, end, "ltm")
    if kept["found"] or kept["error"] or kept["status"] not in (200, *AWAY):
        return kept
    both = _recall_at(send, options, canary, end, "both")
    # With its long-term memory away it answers 5xx where only that layer is asked, and "degraded" where both are.
    return dict(both, degraded=both["degraded"] or kept["status"] in AWAY)


def _recall_at(send: Send, options: t.Mapping[str, t.Any], canary: Canary, end: float, layer: str) -> dict[str, t.Any]:
    body: dict[str, t.Any] = {"query": canary["task"], "top_k": _top_k()}
    if layer:
        body.update(tenant=options["tenant"], namespace=options["namespace"], layer=layer)
    answer = send(_PATHS[options["profile"]][1], body, end)
    parsed = _parsed(answer)
    ours = [hit for hit in (_hits_v2 if layer else _hits_v1)(parsed) if _is_ours(hit, canary)]
    return dict(
        _told(answer),
        understood=isinstance(parsed.get("results"), list) or isinstance(parsed.get("wm"), list),
        found=bool(ours),
        degraded=parsed.get("degraded") is True,
        score=max((hit["score"] for hit in ours), default=None),
        ltm=any(hit["ltm"] for hit in ours),
        coordinate=next((hit["coordinate"] for hit in ours if hit["coordinate"]), None),
    )


def _hits_v1(body: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    wm = [dict(_hit(item.get("payload"), item.get("score")), ltm=False) for item in _dicts(body.get("wm"))]
    # ``memory`` also mirrors what this process wrote; results of the memory service name its endpoint.
    memory = [dict(_hit(item, item.get("_score")), ltm=bool(item.get("_source_endpoint"))) for item in _dicts(body.get("memory"))]
    return wm + memory


def _hits_v2(body: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    return [dict(_hit(item.get("content"), item.get("score")), ltm=item.get("layer") == "ltm") for item in _dicts(body.get("results"))]


def _dicts(items: t.Any) -> list[dict[str, t.Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _hit(payload: t.Any, score: t.Any) -> dict[str, t.Any]:
    payload = payload if isinstance(payload, dict) else {}
    number = float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else 0.0
    return {"task": payload.get("task"), "content": payload.get("content"), "score": number, "coordinate": payload.get("coordinate")}


def _clean_up(send: Send, options: t.Mapping[str, t.Any], canary: Canary, coordinate: t.Any, end: float) -> dict[str, t.Any]:
    if canary["task"] == KEPT:
        return {"statuses": [], "gone": False, "ltm_left": True, "kept": True}
    paths = options["delete_paths"] if options["delete_paths"] is not None else _DELETE_PATHS[options["profile"]]
    body = dict(_address(options, canary), task=canary["task"], query=canary["task"], coordinate=coordinate or [])
    statuses: list[int] = []
    for path in paths:
        statuses.append(send(path, body, end).status)
        if statuses[-1] >= 500:
            break
    left = _recall(send, options, canary, end)
    known = left["status"] == 200 and left["understood"]
    kept = bool(known and left["found"] and _cannot_delete(statuses))
    if kept:
        _KEEPS[(str(options["url"]), str(options["tenant"]))] = True
        _remember(send, options, _new_canary(KEPT), end)
    gone, ltm_left = (not left["found"], left["ltm"]) if known else (None, None)
    return {"statuses": statuses, "gone": gone, "ltm_left": ltm_left, "kept": kept}


def _cannot_delete(statuses: t.Sequence[int]) -> bool:
    """Return whether another try would end the same way: deletion fails, or no path offers it."""
    return bool(statuses) and (statuses[-1] >= 500 or all(status in NO_DELETION for status in statuses))


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """States: proven, not_recalled, no_ltm, not_acknowledged, auth, slow, or one of ``_health.reach``. Litter does not change health."""
    what = one_line(str(options["url"]).partition("?")[0], 80)
    if raw["problem"]:
        return judge_without_token(what, options["token_file"], raw["problem"])
    facts = {"litter": _litter(raw["cleanup"]), "recalled_from_ltm": raw["recall"].get("ltm"), "score": raw["recall"].get("score")}
    facts.update({f"{step}_ms": round(raw[step]["seconds"] * 1000, 1) for step in ("remember", "recall") if raw[step]})
    for step in ("remember", "recall"):
        failed = _judge_call(raw[step], options, f"{step} at {what}") if raw[step] else None
        if failed:
            return Health(failed.findings, state=failed.state, facts=facts)
    word, findings = _judge_memory(raw, options)
    slow = _judge_speed(raw, options)
    if word == "proven" and any(finding.state is not State.WELL for finding in slow):
        word = "slow"
    litter = Finding("cleanup", State.WELL, _LITTER[facts["litter"]])
    return Health((*findings, *slow, litter, *_alias_of(options)), state=word, facts=facts)


def _alias_of(options: t.Mapping[str, t.Any]) -> list[Finding]:
    meant = ALIASES.get(str(options["profile"]))
    text = f"the profile {options['profile']} is called {meant} for the memory of an API: write {meant}"
    return [Finding("warning", State.WELL, text)] if meant else []


_NO_LTM = (
    "only the working memory returned the canary%s; that proves nothing, since a restart empties it"
    " (without a long-term memory set require_ltm to false)"
)
_DEGRADED = ", and SomaBrain says that its long-term memory is away"
_LITTER = {
    "none": "the canary is gone",
    "working_memory": "the canary stays in the working memory of its own tenant until SomaBrain drops it",
    "kept": "nothing can be deleted here, so one canary stays in its own tenant and is used again; no other is added",
    "long_term_memory": "the canary could not be deleted and stays in the long-term memory of its own tenant",
    "unknown": "could not check whether the canary was deleted",
}


def _litter(cleanup: t.Mapping[str, t.Any]) -> str:
    if not cleanup:
        return "none"
    if cleanup["gone"] is None:
        return "unknown"
    if cleanup.get("kept"):
        return "kept"
    return "none" if cleanup["gone"] else "long_term_memory" if cleanup["ltm_left"] else "working_memory"


def _judge_call(call: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], what: str) -> Health | None:
    if call["error"]:
        return judge_unreached(call["error"], call["detail"], options, what)
    status = call["status"]
    if status == 200:
        return None
    turned = turned_away(status, options)
    if turned:
        return Health((Finding("call", State.UNKNOWN, f"{what}: {turned[1]}"),), state=turned[0])
    wrong = judge_not_meant(status, what)
    if wrong:
        return wrong
    redirected = f"; it redirects to {call['location']}" if call["location"] and 300 <= status < 400 else ""
    return Health((Finding("call", State.SICK, f"{what} answers {status}{redirected}"),), state="redirect" if redirected else "error")


def _judge_memory(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> tuple[str, list[Finding]]:
    recall = raw["recall"]
    if not raw["remember"]["acknowledged"]:
        return "not_acknowledged", [Finding("remember", State.SICK, "the write was answered but not acknowledged")]
    if not recall["understood"]:
        return "other_service", [Finding("recall", State.UNKNOWN, "the recall got an answer that does not come from SomaBrain")]
    if not recall["found"]:
        return "not_recalled", [Finding("recall", State.SICK, "the canary was acknowledged but cannot be recalled")]
    right = recall["score"] >= options["min_score"]
    text = f"the canary was recalled word for word with a score of {recall['score']:.2f}, {options['min_score']:g} needed"
    findings = [Finding("recall", State.WELL if right else State.SICK, text)]
    if not right:
        return "not_recalled", findings
    if options["require_ltm"] and not recall["ltm"]:
        return "no_ltm", [*findings, Finding("ltm", State.SICK, _NO_LTM % (_DEGRADED if recall.get("degraded") else ""))]
    return "proven", findings


def _judge_speed(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> list[Finding]:
    findings = []
    for step in ("remember", "recall"):
        limit, took = options[f"max_{step}_ms"], raw[step]["seconds"] * 1000 if raw[step] else 0.0
        if limit > 0 and raw[step]:
            text = f"{step} took {took:.0f} ms, {limit:.0f} ms allowed"
            findings.append(Finding(f"{step}_latency", State.WELL if took <= limit else State.SICK, text))
    return findings
