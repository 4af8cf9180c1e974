# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three words for health, and the only wait loop of the collection.

Judges return a Health; ``wait_until_well`` asks again until enough consecutive looks
were well. No data is never well: a Health without findings is unknown.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field
from enum import Enum


class State(str, Enum):
    """well, sick or unknown; unknown never starts an act and never passes a verification."""

    WELL = "well"
    SICK = "sick"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One observation: a short name, its state, a sentence for a person, and data for programs."""

    name: str
    state: State
    text: str
    data: t.Mapping[str, t.Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, t.Any]:
        return {"name": self.name, "state": self.state.value, "text": self.text, "data": dict(self.data)}


@dataclass(frozen=True)
class Health:
    """The findings of one look.

    ``state`` is the finer word of what was looked at (``loading``, ``hung``, ...), "" where it has none.
    ``identity`` names the process that answered; when it changes, a stability window starts again.
    ``actions`` are the acts that this state allows, in order of preference.
    """

    findings: tuple[Finding, ...] = ()
    state: str = ""
    identity: t.Mapping[str, t.Any] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    facts: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def health(self) -> State:
        return worst(finding.state for finding in self.findings)

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "health": self.health.value,
            "state": self.state,
            "findings": [finding.as_dict() for finding in self.findings],
            "identity": dict(self.identity),
            "actions": list(self.actions),
            "facts": dict(self.facts),
        }


def worst(states: t.Iterable[State]) -> State:
    """Return the worst of *states*: sick before unknown before well; nothing at all is unknown."""
    seen = set(states)
    if State.SICK in seen:
        return State.SICK
    return State.WELL if seen == {State.WELL} else State.UNKNOWN


# A manager may take a moment to begin what it was asked for.
FINAL_SECONDS = 1.5


@dataclass(frozen=True)
class Patience:
    """How long to look: consecutive passes, least seconds from first to last of them, total deadline, pause.

    wait_timeout is the deadline as long as the thing is known to need only time (a Redis that is loading).
    """

    passes: int = 1
    window: float = 0.0
    timeout: float = 0.0
    interval: float = 0.1
    wait_timeout: float = 0.0


@dataclass(frozen=True)
class Proof:
    """The last look and how the wait for consecutive well looks went (seconds are wall time)."""

    last: t.Any
    proven: bool
    passes: int
    looks: int
    seconds: float
    in_vain: bool = False


class _Vain:
    """Whether looks over ``FINAL_SECONDS`` all said that waiting is in vain."""

    def __init__(self) -> None:
        self.since: t.Optional[float] = None

    def see(self, is_final: bool, now: float) -> bool:
        self.since = (now if self.since is None else self.since) if is_final else None
        return self.since is not None and now - self.since >= FINAL_SECONDS


def wait_until_well(
    look: t.Callable[[], t.Any],
    patience: Patience,
    *,
    health_of: t.Callable[[t.Any], State],
    identity_of: t.Callable[[t.Any], object] = lambda seen: None,
    on_its_way: t.Callable[[t.Any], bool] = lambda seen: False,
    is_final: t.Callable[[t.Any], bool] = lambda seen: False,
    is_settled: t.Callable[[t.Any], bool] = lambda seen: True,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> Proof:
    """Look until *patience* is satisfied by consecutive well looks of one identity, or its timeout is over.

    A timeout of 0 looks once (or as often as passes need while all are well). What *is_final* in looks that span ``FINAL_SECONDS`` will
    not become well by waiting, so the wait ends. Until *is_settled* a proof waits for what is beside it, within the timeout. Never raises.
    """
    begun, vain = clock(), _Vain()
    passes, looks, first_pass, excused = 0, 0, begun, 0.0
    identity: object = None
    while True:
        seen = look()
        looks += 1
        now = clock()
        if health_of(seen) is not State.WELL:
            passes = 0
        elif passes == 0 or identity_of(seen) != identity:
            passes, first_pass, identity = 1, now, identity_of(seen)
        else:
            passes += 1
        proven = passes >= patience.passes and now - first_pass >= patience.window
        # What was still starting gets the whole timeout from the moment it is up.
        if on_its_way(seen):
            excused = min(now - begun, patience.wait_timeout)
        limit = _limit(patience, passes, on_its_way(seen), excused)
        out_of_time = now - begun >= limit and (passes == 0 or looks >= patience.passes)
        in_vain = vain.see(is_final(seen), now)
        if (proven and is_settled(seen)) or out_of_time or in_vain:
            return Proof(seen, proven, passes, looks, round(now - begun, 3), in_vain)
        sleep(patience.interval)


def _limit(patience: Patience, passes: int, on_its_way: bool, excused: float) -> float:
    """Return the seconds after which a wait ends.

    A streak that began in time may finish; a process that keeps changing must not extend it for ever.
    """
    timeout = max(patience.timeout, patience.wait_timeout) if on_its_way else patience.timeout + excused
    return timeout if passes == 0 else timeout + patience.window + patience.interval * (patience.passes + 1)
