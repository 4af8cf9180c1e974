# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed connection says about a service, depending on where the probe stood.

"Refused" seen on the service's own machine means that it is down; seen from the controller it may be a
firewall or a service that listens on loopback only, so it is unknown.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State

# error class -> (state word, health on the target, health from the controller, sentence)
UNREACHED: dict[str, tuple[str, State, State, str]] = {
    "refused": ("down", State.SICK, State.UNKNOWN, "refuses the connection"),
    "no_socket": ("down", State.SICK, State.UNKNOWN, "has no socket there"),
    "connect_timeout": ("unreachable", State.SICK, State.UNKNOWN, "takes no connection within the deadline"),
    "unreachable": ("unreachable", State.UNKNOWN, State.UNKNOWN, "cannot be reached"),
    "resolve": ("unreachable", State.UNKNOWN, State.UNKNOWN, "has a name that does not resolve"),
    "forbidden_address": ("unreachable", State.UNKNOWN, State.UNKNOWN, "was not asked: forbidden address"),
    "bad_url": ("unreachable", State.UNKNOWN, State.UNKNOWN, "was not asked: bad URL"),
    "tls": ("tls", State.UNKNOWN, State.UNKNOWN, "cannot prove by TLS who it is"),
    # The kernel took the connection and the service did not answer: that is no matter of the network.
    "timeout": ("hung", State.SICK, State.SICK, "accepts connections but did not answer within the deadline"),
    "closed": ("closed", State.SICK, State.SICK, "closes the connection without a whole answer"),
    "garbage": ("garbage", State.UNKNOWN, State.UNKNOWN, "answers something else than the protocol expected there"),
}


def judge_unreached(error: str, detail: str, options: t.Mapping[str, t.Any], what: str) -> Health:
    """Return the Health of *what* (a short noun with its address) that could not be asked because of the class *error*."""
    word, on_target, from_controller, sentence = UNREACHED.get(error, ("", State.UNKNOWN, State.UNKNOWN, "could not be asked"))
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
