# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``http``: status, body and latency of one endpoint, judged by a SomaBrain profile or by your own gates.

A 200 proves nothing by itself: with a profile the body must have its shape and pass its gates.

C(http): C(url), C(method) (GET, HEAD, POST, OPTIONS), C(body) (a dictionary, sent as JSON), C(token_file) or C(token), C(tenant),
C(profile) (none, v1_health, v1_healthz, v2_health, v2_healthz, v2_readyz, documented, auto; v1 and v2 mean v1_health and v2_health;
spring, aspnet, django and kubernetes for other products), C(expect_status) (list), C(gates) (list of dictionaries with C(path) and
C(equals), C(one_of), C(min) or C(max); C(required) and C(when)), C(ignore_gates) (list of paths), C(max_latency_ms), C(max_bytes),
C(ca_file), C(validate_certs). Redirects are reported, never followed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import gates as application_gates
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import products
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import somabrain as application_somabrain
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.reach import (
    judge_latency,
    judge_not_meant,
    judge_unreached,
    judge_without_token,
    turned_away,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import together

OPTIONS: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "method": {"type": "str", "choices": ["GET", "HEAD", "POST", "OPTIONS"], "default": "GET"},
    "body": {"type": "dict"},
    "token": {"type": "str", "default": "", "no_log": True},
    "token_file": {"type": "path", "default": ""},
    "tenant": {"type": "str", "default": ""},
    "profile": {"type": "str", "choices": [*application_somabrain.PROFILES, *products.NAMES], "default": "none"},
    "expect_status": {"type": "list", "elements": "int", "default": [200]},
    **application_gates.OPTIONS,
    "max_latency_ms": {"type": "float", "default": 0},
    "max_bytes": {"type": "int", "default": http.MAX_BYTES},
    "ca_file": {"type": "path", "default": ""},
    "validate_certs": {"type": "bool", "default": True},
}


def problems(options: t.Mapping[str, t.Any]) -> list[str]:
    """Return what is wrong with the gates."""
    return application_gates.problems_of(options["gates"])


def credentials(options: t.Mapping[str, t.Any]) -> tuple[dict[str, str], str]:
    """Return (headers, problem) for the token and tenant of *options*."""
    token, problem = str(options.get("token") or ""), ""
    if options.get("token_file") and not token:
        token, problem = http.read_secret(options["token_file"])
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if options.get("tenant"):
        headers["X-Tenant-ID"] = str(options["tenant"])
    return headers, problem


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Send the request once, within *deadline* seconds in total whatever the server does."""
    headers, problem = credentials(options)
    if problem:
        return {"answer": http.Answer(), "problem": problem}
    return {"answer": http.ask(**_asked(options, headers, deadline)), "problem": ""}


def fits_together(options: t.Mapping[str, t.Any]) -> bool:
    """Return whether the check can share a thread with others: it waits for nothing but its socket."""
    return not options["token_file"] and together.fits(str(options["url"]))


def load_together(checks: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return for each of *checks* (all of which fit) what ``load`` would return, in their order."""
    answers = together.ask_together([http.Request(**_asked(one, credentials(one)[0], one["timeout"])) for one in checks])
    return [{"answer": answer, "problem": ""} for answer in answers]


def _asked(options: t.Mapping[str, t.Any], headers: dict[str, str], deadline: float) -> dict[str, t.Any]:
    return {
        "url": options["url"], "deadline": deadline, "method": options["method"], "headers": headers,
        "body": None if options["body"] is None else json.dumps(options["body"]).encode(),
        "max_bytes": max(0, options["max_bytes"]), "ca_file": options["ca_file"], "validate_certs": options["validate_certs"],
    }  # fmt: skip


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """States: up, degraded, slow, error, redirect, auth, rate_limited, other_service, too_large, bad_input, or a word of ``_health.reach``.

    Sick: a 5xx, an unexpected status, a gate that fails, too slow. Unknown: no usable token, 401, 403, 429, and a body that does
    not fit the profile: another service may be answering, or, where it fits another profile, ours is wrong (bad_input).
    """
    named = str(options["profile"])
    meant = application_somabrain.ALIASES.get(named)
    health = _judged(raw, dict(options, profile=meant or named))
    text = f"the profile {named} is called {meant} for a health endpoint: write {meant}"
    return dataclasses.replace(health, findings=(*health.findings, Finding("warning", State.WELL, text))) if meant else health


def _judged(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    answer: http.Answer = raw["answer"]
    what = one_line(str(options["url"]).partition("?")[0], 100)
    if raw["problem"]:
        return judge_without_token(what, options["token_file"], raw["problem"])
    if answer.error:
        return judge_unreached(answer.error, answer.detail, options, what)
    word, findings, facts = _judge_answer(answer, options)
    latency = judge_latency(answer.seconds, options)
    slow = any(finding.state is not State.WELL for finding in latency)
    seen = {"status": answer.status, "ms": round(answer.seconds * 1000, 1), "bytes": len(answer.body), "content_type": answer.content_type}
    final = {"final": True} if word == "bad_input" else {}
    return Health((*findings, *latency), state="slow" if slow and word == "up" else word, facts={**seen, **facts, **final})


def _judge_answer(answer: http.Answer, options: t.Mapping[str, t.Any]) -> tuple[str, list[Finding], dict[str, t.Any]]:
    expected = answer.status in options["expect_status"]
    word, status = ("up", Finding("status", State.WELL, f"status {answer.status}")) if expected else _judge_status(answer, options)
    telling = expected or _tells_why(answer.status, str(options["profile"]))
    if not telling or (options["profile"] == "none" and not options["gates"] and not answer.truncated):
        return word, [status], {}
    body_word, findings, facts = _judge_content(answer, options)
    if body_word == "bad_input":
        # Its status is not judged either: a 503 of another endpoint has another meaning.
        return body_word, findings, facts
    # A 503 whose body is not understood stays what its status says.
    return (body_word if expected or body_word == "degraded" else word), [status, *findings], facts


def _tells_why(status: int, profile: str) -> bool:
    """Return whether the body of an answer that is no 200 names what is wrong."""
    return status in products.TELLING if profile in products.NAMES else status == 503 and profile in application_somabrain.TELLING_503


def _judge_status(answer: http.Answer, options: t.Mapping[str, t.Any]) -> tuple[str, Finding]:
    if 300 <= answer.status < 400:
        told = f"redirects to {answer.location}; redirects are not followed" if answer.location else "is no answer to such a request"
        text = f"status {answer.status} {told}"
        return "redirect", Finding("redirect", State.SICK, text, {"location": answer.location})
    turned = turned_away(answer.status, options)
    if turned:
        return turned[0], Finding("status", State.UNKNOWN, turned[1], {"status": answer.status})
    wrong = judge_not_meant(answer.status, one_line(str(options["url"]).partition("?")[0], 100))
    if wrong:
        return wrong.state, wrong.findings[0]
    return "error", Finding("status", State.SICK, f"unexpected status {answer.status}", {"status": answer.status})


def _judge_content(answer: http.Answer, options: t.Mapping[str, t.Any]) -> tuple[str, list[Finding], dict[str, t.Any]]:
    if answer.truncated:
        return _not_understood("too_large", f"the answer is larger than {options['max_bytes']} bytes; the rest was not read")
    twice: list[str] = []
    named = str(options["profile"])
    try:
        body = json.loads(answer.body, object_pairs_hook=functools.partial(_once, twice))
    except (ValueError, RecursionError):
        return _judge_text(answer, named)
    if twice:
        return _not_understood("other_service", f"the answer has the key '{twice[0]}' twice, so what it says is unknown")
    return _judge_json(body, named, options)


def _judge_json(body: t.Any, named: str, options: t.Mapping[str, t.Any]) -> tuple[str, list[Finding], dict[str, t.Any]]:
    product, findings = products.judge_body(body)
    found = application_somabrain.profile_of(body)
    if named in products.NAMES or (product and not found and named != "none"):
        return _judge_product(product or found, named, findings)
    profile = found if named == "auto" else named
    if profile != "none" and not application_somabrain.is_of(body, profile):
        return _of_another_profile(named, found) if found else _not_understood("other_service", _no_shape(named))
    findings = application_somabrain.judge_body(body, profile, options["gates"], options["ignore_gates"])
    facts = {"profile": profile, "unhealthy_parts": application_somabrain.unhealthy_parts(body)}
    if isinstance(body, dict):
        facts.update({key: body[key] for key in ("ok", "ready") if isinstance(body.get(key), bool)})
    return _word_of(findings), findings, facts


def _word_of(findings: t.Sequence[Finding]) -> str:
    return "degraded" if any(finding.state is not State.WELL for finding in findings) else "up"


def _judge_text(answer: http.Answer, named: str) -> tuple[str, list[Finding], dict[str, t.Any]]:
    product, findings = products.judge_text(answer.body[:65536].decode("utf-8", "replace"), named)
    if product and named != "none":
        return _judge_product(product, named, findings)
    kind = answer.content_type or "no content type"
    return _not_understood("other_service", f"the answer is not JSON ({kind}): another service may be answering")


def _judge_product(found: str, named: str, findings: list[Finding]) -> tuple[str, list[Finding], dict[str, t.Any]]:
    """Judge the answer of another product: only where its profile is named, since its words could be anybody's."""
    if found == named:
        return _word_of(findings), findings, {"profile": found}
    if named == "auto":
        return _not_understood("other_service", f"the answer looks like {found}'s: set the profile to {found} to have it judged")
    return _of_another_profile(named, found) if found else _not_understood("other_service", _no_shape(named))


def _once(twice: list[str], pairs: t.Sequence[tuple[str, t.Any]]) -> dict[str, t.Any]:
    """Return an object of JSON; a key that it has twice is added to *twice*: parsers differ in which of them counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        twice += [one_line(name, 60) for name in found if names.count(name) > 1]
    return found


def _of_another_profile(named: str, found: str) -> tuple[str, list[Finding], dict[str, t.Any]]:
    text = f"the answer is {found}'s, not {named}'s: correct the profile (to {found}) or the URL; this says nothing about the service"
    return "bad_input", [Finding("input", State.UNKNOWN, text)], {"profile": found}


def _no_shape(named: str) -> str:
    if named == "auto":
        return "the answer has the shape of no known profile: name its profile, or judge it by gates with profile none"
    return f"the answer does not have the shape of {named}: another service may be answering, or the profile or the URL is wrong"


def _not_understood(word: str, text: str) -> tuple[str, list[Finding], dict[str, t.Any]]:
    return word, [Finding("body", State.UNKNOWN, text)], {}
