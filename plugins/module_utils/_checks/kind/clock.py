# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``clock``: the target's clock against the controller's, and whether the kernel reports it as synchronised.

C(clock): C(max_skew) (seconds), C(require_synchronised), C(reference) (set by the action plugin).
"""

from __future__ import annotations

import ctypes
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State

HOST_ONLY = True
NO_SERVICE = True
CLASS = "host"
OPTIONS: dict[str, t.Any] = {
    "max_skew": {"type": "float", "default": 2.0},
    "require_synchronised": {"type": "bool", "default": False},
    # The controller's time when it sent the look (seconds since the epoch).
    "reference": {"type": "float"},
}
SENT_AT = "reference"
_TIME_ERROR = 5


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the target's time, the reference plus the time this step took so far, and the kernel's own opinion."""
    reference = options.get("reference")
    spent = time.monotonic() - options["begun"] if options.get("begun") else 0.0
    expected = None if reference is None else reference + spent
    return {"now": time.time(), "reference": expected, "synchronised": _synchronised(), "travel": 0.0}


def _synchronised() -> bool | None:
    try:
        # A zeroed struct timex only reads; it is smaller than 512 bytes everywhere.
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Judge the skew, of which up to ``travel`` seconds may only be the time that the look took to reach the target.

    Well when it is within ``max_skew`` whatever the travel took, sick when it is not whatever it took, else unknown.
    """
    facts = {"now": raw["now"], "reference": raw["reference"], "synchronised": raw["synchronised"]}
    if raw["reference"] is None:
        finding = Finding("skew", State.UNKNOWN, "there is no reference time to compare the clock with")
        return Health((finding, *_judge_synchronised(raw, options)), facts=facts)
    most = raw["now"] - raw["reference"]
    least = most - raw["travel"]
    limit = options["max_skew"]
    inside = [abs(skew) <= limit for skew in (least, most)]
    straddles = least < -limit and most > limit
    state = State.WELL if all(inside) else State.UNKNOWN if any(inside) or straddles else State.SICK
    shown = min((least, most), key=abs) if least * most > 0 else 0.0
    text = f"the clock is {abs(shown):.2f} s {'ahead of' if shown > 0 else 'behind'} the controller's, {limit:g} s allowed"
    if state is State.UNKNOWN:
        text = f"reaching the target took {raw['travel']:.1f} s, too long to measure a skew of {limit:g} s"
    facts = dict(facts, skew=round(shown, 3), travel=round(raw["travel"], 3))
    return Health((Finding("skew", state, text), *_judge_synchronised(raw, options)), facts=facts)


def judge_again(facts: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], travel: float) -> t.Optional[Health]:
    """Judge again with the ``travel`` known, which may turn the verdict either way; None where there is no time to compare with."""
    if facts.get("reference") is None:
        return None
    return judge(dict({key: facts[key] for key in ("now", "reference", "synchronised")}, travel=travel), options)


def _judge_synchronised(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> tuple[Finding, ...]:
    if not options["require_synchronised"]:
        return ()
    known = {True: (State.WELL, "is synchronised"), False: (State.SICK, "is not synchronised: check chrony or timesyncd")}
    state, text = known.get(raw["synchronised"], (State.UNKNOWN, "may or may not be synchronised"))
    return (Finding("synchronised", state, f"the kernel says that the clock {text}"),)
