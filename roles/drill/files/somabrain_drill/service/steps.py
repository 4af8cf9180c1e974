# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a fault file that only the API knows."""

from __future__ import annotations

import json
import os
import signal
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask

from .. import steps
from ..target import until
from .scene import Scene


def faults(scene: Scene, rules: t.Any) -> None:
    """faults: RULES of api_faults.json; ``pid: here`` is the process that runs now."""
    ready = [{**rule, **({"pid": scene.target.pid} if rule.get("pid") == "here" else {})} for rule in rules]
    new = scene.target.faults.with_suffix(".new")
    new.write_text(json.dumps(ready), encoding="utf-8")
    new.chmod(0o644)
    new.replace(scene.target.faults)


def mend(scene: Scene, _given: t.Any) -> None:
    """mend: every fault is taken away, and nothing is started."""
    scene.mend()


def freeze_neighbour(scene: Scene, name: t.Any) -> None:
    """freeze_neighbour: NAME: a program beside the API is stopped by SIGSTOP, and stays the same process."""
    os.kill(scene.decoy.pid(str(name)), signal.SIGSTOP)
    time.sleep(0.1)


def slow_memory(scene: Scene, seconds: t.Any) -> None:
    """slow_memory: SECONDS: each answer of the long-term memory takes so long."""
    delay = scene.target.memory_delay
    delay.write_text(str(float(seconds)), encoding="utf-8")
    delay.chmod(0o644)


def stop_neighbour(scene: Scene, name: t.Any) -> None:
    """stop_neighbour: NAME: a program beside the API is stopped by its manager."""
    service = scene.decoy.service(str(name))
    scene.stopped.append(str(name))
    ask.manager_of(service).stop(service, 20)


def start_neighbour(scene: Scene, name: t.Any) -> None:
    """start_neighbour: NAME: a program that stop_neighbour stopped is started again, and answers."""
    service = scene.decoy.service(str(name))
    ask.manager_of(service).start(service, 20)
    scene.stopped.remove(str(name))
    until(lambda: bool(scene.decoy.pid(str(name))), 20, f"{name} is not started")


def answers(scene: Scene, _given: t.Any) -> None:
    """answers: wait until the API answers."""
    until(scene.target.answers, 20, "the API does not answer")


def restarts(scene: Scene, count: t.Any) -> None:
    """restarts: COUNT: wait until its manager has restarted it so often since this step began."""
    before = int(scene.target.state()["restarts"] or 0)
    until(lambda: int(scene.target.state()["restarts"] or 0) >= before + int(count), 60, f"it is not restarted {count} times")


def given_up(scene: Scene, _given: t.Any) -> None:
    """given_up: wait until its manager starts it no more."""
    until(lambda: bool(scene.target.state()["start_limit_hit"]), 60, "its manager does not give up")


def stop_it(scene: Scene, _given: t.Any) -> None:
    """stop_it: its manager stops it, as a person asks."""
    ask.manager_of(scene.target.service).stop(scene.target.service, 20)


WORDS: steps.Words = {
    **steps.WORDS,
    **{
        step.__name__: step
        for step in (answers, faults, freeze_neighbour, given_up, mend, restarts, slow_memory, start_neighbour, stop_it, stop_neighbour)
    },
}
