# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed connection or a refused request says about a service, depending on where the probe ran.

"Refused" seen on the service's own machine means that it is down; seen from the controller it may be a
firewall or a service that listens on loopback only, so it is unknown.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State

# error class -> (state word, health on the target, health from the controller, sentence)
UNREACHED: dict[str, tuple[str, State, State, str]] = {
    "refused": ("down", State.SICK, State.UNKNOWN, "refuses the connection"),
    "no_socket": ("down", State.SICK, State.UNKNOWN, "has no socket at that path"),
    "connect_timeout": ("unreachable", State.SICK, State.UNKNOWN, "did not accept a connection within the deadline"),
    "unreachable": ("unreachable", State.UNKNOWN, State.UNKNOWN, "cannot be reached"),
    "resolve": ("unreachable", State.UNKNOWN, State.UNKNOWN, "has a host name that does not resolve"),
    "forbidden_address": ("unreachable", State.UNKNOWN, State.UNKNOWN, "was not probed: forbidden address"),
    "bad_url": ("unreachable", State.UNKNOWN, State.UNKNOWN, "was not probed: bad URL"),
    "tls": ("tls", State.UNKNOWN, State.UNKNOWN, "failed TLS verification"),
    # The kernel accepted the connection and the service did not answer: that is not a network problem.
    "timeout": ("hung", State.SICK, State.SICK, "accepts connections but did not answer within the deadline"),
    "endless": ("endless", State.SICK, State.SICK, "began its answer and did not end it within the deadline"),
    "closed": ("closed", State.SICK, State.SICK, "closed the connection before its answer was complete"),
    "garbage": ("garbage", State.UNKNOWN, State.UNKNOWN, "does not speak the expected protocol"),
}


# HTTP status -> (state word, sentence with a token, sentence without one); none of them says anything about the health of the service.
TURNED_AWAY: dict[int, tuple[str, str, str]] = {
    401: ("auth", "401: it rejected our token", "401: it wants a token, and none was sent"),
    403: ("auth", "403: it rejected our token, or denies it this request", "403: it denies the request, which was sent without a token"),
    429: ("rate_limited", "429: it limits our request rate, so its health is unknown", ""),
}
# Statuses that speak of our request: nothing is at that path, or it does not take what was sent.
NOT_MEANT: dict[int, str] = {
    400: "it does not take such a request",
    404: "nothing is at that path",
    405: "that path does not take this method",
    410: "nothing is at that path any more",
    415: "it does not take such a request",
    422: "it does not take such a request",
}


def turned_away(status: int, options: t.Mapping[str, t.Any]) -> t.Optional[tuple[str, str]]:
    """Return (state word, sentence) for a *status* that turned our request away, None for any other. It says only what was seen."""
    if status not in TURNED_AWAY:
        return None
    word, with_token, without = TURNED_AWAY[status]
    is_sent = bool(options.get("token") or options.get("token_file"))
    text = with_token if is_sent or not without else without
    return word, text + ("; check the credentials" if word == "auth" else "")


def judge_not_meant(status: int, what: str) -> t.Optional[Health]:
    """Return the Health of *what* for a *status* that says our address or request is wrong, None for any other."""
    if status not in NOT_MEANT:
        return None
    text = f"{what} answers {status}: {NOT_MEANT[status]}; correct URL, profile or port, unless another service answers there"
    return Health((Finding("input", State.UNKNOWN, text, {"status": status}),), state="bad_input", facts={"final": True})


def judge_without_token(what: str, token_file: object, problem: str) -> Health:
    """Return the Health of *what*, which was not probed because *token_file* holds no usable token."""
    text = f"{what} was not probed: token_file {one_line(token_file, 200)}: {problem}"
    return Health((Finding("token", State.UNKNOWN, text),), state="auth")


def judge_unreached(error: str, detail: str, options: t.Mapping[str, t.Any], what: str) -> Health:
    """Return the Health of *what* (a short noun with its address), which could not be probed because of the error class *error*."""
    word, on_target, from_controller, sentence = UNREACHED.get(error, ("", State.UNKNOWN, State.UNKNOWN, "could not be probed"))
    stands_on = str(options.get("stands_on") or "target")
    state = on_target if stands_on == "target" else from_controller
    # The system's own words would only repeat the sentence here.
    text = f"{what} {sentence}" + (f" ({detail})" if detail and error not in ("refused", "no_socket", "timeout", "connect_timeout") else "")
    if state is not on_target:
        text += "; seen from the controller only, so this proves nothing about the service"
    return Health((Finding("connection", state, text, {"error": error, "seen_from": stands_on}),), state=word)


def judge_latency(seconds: float, options: t.Mapping[str, t.Any]) -> tuple[Finding, ...]:
    """Return one finding when ``max_latency_ms`` (milliseconds) is set, else none."""
    limit = float(options.get("max_latency_ms") or 0)
    if limit <= 0:
        return ()
    took = seconds * 1000
    state = State.WELL if took <= limit else State.SICK
    return (Finding("latency", state, f"answered in {took:.0f} ms, {limit:.0f} ms allowed", {"ms": round(took, 1), "max_ms": limit}),)
