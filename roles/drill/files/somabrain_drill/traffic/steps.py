# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a fault file that only a load balancer knows."""

from __future__ import annotations

import json
import typing as t

from .. import steps
from ..errors import DrillError
from ..target import until
from .bed import POOL
from .load import Load
from .scene import Later, Scene

# Percent points: weights are whole numbers.
NEAR = 1.5


def weigh(scene: Scene, given: t.Any) -> None:
    """weigh: {SERVER: WEIGHT}: somebody sets weights by hand."""
    for name, weight in given.items():
        said = scene.bed.ask(f"set server {POOL}/{name} weight {int(weight)}")
        if said:
            raise DrillError(f"HAProxy says {said}")


def drain(scene: Scene, name: t.Any) -> None:
    """drain: SERVER: somebody drains it by hand."""
    scene.bed.ask(f"set server {POOL}/{name} state drain")


def weights(scene: Scene, given: t.Any) -> None:
    """weights: {SERVER: WEIGHT}: so it has to be now."""
    now = scene.bed.weights()
    wrong = [f"{name} has {now.get(name)}, not {weight}" for name, weight in given.items() if now.get(name) != weight]
    if wrong:
        raise DrillError(", ".join(wrong))


def stop_server(scene: Scene, name: t.Any) -> None:
    """stop_server: NAME: it dies, and HAProxy finds it down."""
    scene.bed.stop(str(name))
    until(lambda: scene.bed.status(str(name)).startswith("DOWN"), 10, f"HAProxy never finds {name} down")
    scene.ledger.forget_failures()


def faults(scene: Scene, given: t.Any) -> None:
    """faults: {SERVER: RULE}: what stand-ins do wrong from now on; see standin.py."""
    for name, rule in given.items():
        file = scene.bed.faults_of(str(name))
        new = file.with_suffix(".new")
        new.write_text(json.dumps(rule), encoding="utf-8")
        new.replace(file)


def mend(scene: Scene, _given: t.Any) -> None:
    """mend: no stand-in does wrong any more."""
    for name in scene.bed.ports:
        scene.bed.faults_of(name).unlink(missing_ok=True)


def reload(scene: Scene, _given: t.Any) -> None:
    """reload: HAProxy reloads its configuration; weights and drains are lost."""
    scene.bed.reload()


def maintenance(scene: Scene, wanted: t.Any) -> None:
    """maintenance: true or false: wait until clients are kept out, or let in."""
    until(lambda: (POOL in scene.bed.switched()) is bool(wanted), 30, f"maintenance never becomes {wanted}")


def answered_by(scene: Scene, names: t.Any) -> None:
    """answered_by: [NAME, ...]: of the next 40 requests each gets an answer from one of them, and each of them answers."""
    before = len(scene.ledger.answers)
    scene.ledger.write(40)
    found = {one.server for one in scene.ledger.answers[before:]}
    if found != set(names):
        raise DrillError(f"requests are answered by {', '.join(sorted(found)) or 'nobody'}, not by {', '.join(names)}")


def out(scene: Scene, names: t.Any) -> None:
    """out: [SERVER, ...]: somebody takes them out by hand, as for a repair."""
    for name in names:
        scene.bed.ask(f"set server {POOL}/{name} state maint")


def load(scene: Scene, rate: t.Any) -> None:
    """load: RATE: from here on so many requests a second come, beside those of the clients."""
    one = Load(scene.bed.port, float(rate))
    one.__enter__()
    scene.loads.append(one)


def share(scene: Scene, percent: t.Any) -> None:
    """share: PERCENT: so much is given to the main servers now."""
    now = scene.bed.share()
    if abs(now - float(percent)) > NEAR:
        raise DrillError(f"the main servers have {now:.1f} %, not {percent} %")


def at(scene: Scene, given: t.Any) -> None:
    """at: {share, take: [STEP, ...]}: once a run has let in that share, the steps are taken while it goes on; see taken."""

    def take() -> None:
        until(lambda: abs(scene.bed.share() - float(given["share"])) <= NEAR, 90, f"{given['share']} % are never let in")
        steps.inject(scene, WORDS, given["take"])

    scene.later.append(Later(take))
    scene.later[-1].start()


def taken(scene: Scene, _given: t.Any) -> None:
    """taken: the steps of each at before were taken, all of them."""
    while scene.later:
        one = scene.later.pop()
        one.join(30)
        if one.wrong or one.is_alive():
            raise DrillError(f"the steps in the middle were not taken: {one.wrong or 'they do not end'}")


def control(scene: Scene, word: t.Any) -> None:
    """control: pause, abort or go_on: a person says so of restorations, by the files that they heed."""
    folder = scene.work / "ledger"
    for name in ("pause", "abort"):
        file = folder / f"traffic.{name}"
        if name == word:
            file.touch()
        else:
            file.unlink(missing_ok=True)


def control_socket(scene: Scene, word: t.Any) -> None:
    """control_socket: gone, hung or back: whether others may ask HAProxy; requests are not touched."""
    if word == "back":
        scene.bed.open_control()
    else:
        scene.bed.close_control(word == "hung")


WORDS: steps.Words = {
    **steps.WORDS,
    **{
        step.__name__: step
        for step in (
            answered_by, at, control, control_socket, drain, faults, load, maintenance, mend, out, reload, share, stop_server, taken, weigh,
            weights,
        )
    },
}  # fmt: skip
