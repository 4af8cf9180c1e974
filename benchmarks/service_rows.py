# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API that hangs, until it is proven: under Compose, and under systemd on a machine reached over ssh. The bars are seconds."""

from __future__ import annotations

import functools
import typing as t

from farms import boxed, compose, systemd
from measure import Row, interleaved, timed
from world import World

HUNG = "restart-service, %s, hung to proven by a memory written and recalled, p95 of %d runs"
BAR = 30.0
# What the role ships, where the helpers of the tests have something shorter.
SHIPPED = {"service_restart_memory_seconds": 3, "service_restart_answer_timeout": 3}


def recovered(outcome: t.Mapping[str, t.Any]) -> None:
    """Raise RuntimeError unless the run ended as expected."""
    acts = [act["action"] for act in outcome["acts"]]
    if (outcome["outcome"], acts) not in (("recovered", ["restart"]), ("recovered", ["restart", "force"])):
        raise RuntimeError(f"the outcome is {outcome['outcome']} after {acts}")


class Compose:
    """The project of the tests, whose API hangs before each run."""

    def __init__(self, world: World) -> None:
        home = world.folder / "boxed"
        home.mkdir()
        self.boxed = boxed.Boxed(home)
        world.stack.callback(self.boxed.project.end)
        done = self.boxed.project.compose("up", "--detach", "--wait")
        if done.returncode:
            raise RuntimeError(done.stderr)

    def hung(self, stubborn: bool) -> float:
        self.boxed.mend()
        self.boxed.settle()
        for name in ("stubborn", "hangs") if stubborn else ("hangs",):
            self.boxed.say(name)
        return timed(lambda: recovered(self.boxed.restart(**SHIPPED)))


class Systemd:
    """The machine of the tests, whose API hangs before each run."""

    def __init__(self, world: World) -> None:
        home = world.folder / "machine"
        home.mkdir()
        self.machine = world.stack.enter_context(systemd.a_machine(home))

    def hung(self, stubborn: bool) -> float:
        self.machine.settle()
        for name in ("stubborn", "hangs") if stubborn else ("hangs",):
            self.machine.say(name)
        return timed(lambda: recovered(self.machine.restart(**SHIPPED)))


PLACES: dict[str, tuple[t.Callable[[], str], t.Callable[[World], Compose | Systemd]]] = {
    "Compose": (compose.why_not, Compose),
    "systemd over ssh": (systemd.why_not, Systemd),
}


def rows(world: World, quick: bool) -> t.Iterator[Row]:
    """Measure and yield the rows of restart-service."""
    runs = 2 if quick else 20
    for name, (why_not, place) in PLACES.items():
        works = [HUNG % (name + more, runs) for more in ("", ", ended by force")]
        if why := why_not():
            yield from (Row(work, "30 s", [], [], BAR, limit=True, why=why) for work in works)
            continue
        one = place(world)
        for work, stubborn in zip(works, (False, True)):
            took = interleaved({work: functools.partial(one.hung, stubborn)}, runs, warm=0)[work]
            yield Row(work, "30 s", took, [], BAR, limit=True)
