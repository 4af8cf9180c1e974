# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One drill from the scene to the verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
import typing as t
from pathlib import Path

from . import downtime, sshd, triage
from .errors import DrillError, Skipped
from .families import FAMILIES, Family, Place
from .faults import Fault
from .judge import WELL, Seen, declared, judge, mended
from .runs import ROOT, Player, Turned
from .scene import Scene
from .steps import inject
from .traffic import bed
from .undo import replay
from .writers import Writers


@dataclasses.dataclass
class Result:
    """The line of one drill in the table. *lost* and *declared* count acknowledged writes; None: nothing was counted."""

    fault: str
    verdict: str
    outcome: str = "-"
    lost: t.Optional[int] = None
    acknowledged: int = 0
    declared: t.Optional[int] = None
    exact: bool = True
    seconds: float = 0.0
    down: t.Optional[float] = None
    why: t.Tuple[str, ...] = ()
    # Whether the printed undo was done and brought back the same bytes; None where nothing was put in place.
    undone: t.Optional[bool] = None
    at: float = 0.0
    seed: int = 0
    # What triage named before the first run; None where it was not asked.
    triage: t.Optional[triage.Named] = None


def hold(place: Place, fault: Fault, work: Path, ports: t.Callable[[], int]) -> Result:
    """Hold one drill and return its line; a drill that could not be held is failed, one that cannot be is skipped with its reason."""
    begun, family = time.time(), FAMILIES[fault.family]
    failures: tuple[type[Exception], ...] = (DrillError, OSError, *family.away)
    try:
        lack(place, fault)
        with family.scene(family.target(place), fault, work, ports) as scene:
            seen = play(scene, fault, family)
    except Skipped as reason:
        return Result(fault.name, "skipped", why=(str(reason),), at=begun, seed=fault.seed)
    except failures as error:
        return Result(fault.name, "FAILED", why=(f"the drill could not be held: {error}",), at=begun, seed=fault.seed)
    named = triage.judge_triage(*seen.triage, seen, fault.playbook or family.playbook) if seen.triage else None
    wrong = [*judge(seen), *(named.wrong if named else [])]
    losses = seen.losses or {"acknowledged": 0}
    told = None if seen.losses is None else declared(seen.last.outcome)
    verdict = "FAILED" if wrong else "held"
    line = Result(fault.name, verdict, seen.last.word, seen.lost, losses["acknowledged"], told, seed=fault.seed)
    exact = not told or bool((seen.last.outcome.get("loss") or {}).get("exact"))
    undone = None if seen.undone is None else seen.undone.code == 0 and not seen.undone.differ
    line.triage = named
    return dataclasses.replace(line, undone=undone, exact=exact, seconds=seen.seconds, down=seen.down, why=tuple(wrong), at=begun)


def lack(place: Place, fault: Fault) -> None:
    """Raise Skipped with the reason when this machine or target has not what the fault needs."""
    playbook = fault.playbook or FAMILIES[fault.family].playbook
    if not (ROOT / f"playbooks/{playbook}.yml").exists():
        raise Skipped(f"there is no playbook {playbook} yet")
    here = {
        "root": (os.geteuid() == 0, "only root can do this to a data directory"),
        "small_disk": (os.geteuid() == 0, "only root can mount a small disk"),
        "lab": (bool(place.lab_dir), "needs the lab: it gives the target another name in the inventory"),
        "sshd": (sshd.program() is not None, "no sshd is installed here"),
        "su": (os.geteuid() == 0 and shutil.which("su") is not None, "needs root and su, to become another user without sudo"),
        "no_sudo": (shutil.which("sudo") is None, "sudo is installed here, so it cannot be missing"),
        "pgbackrest": (shutil.which("pgbackrest") is not None, "no pgbackrest is installed here"),
        "haproxy": (bed.program() is not None, "no haproxy is installed here"),
        "git": (shutil.which("git") is not None, "no git is installed here"),
        "systemd": (not place.lab_dir and Path("/run/systemd/system").exists(), "needs units of systemd, which the lab has none of"),
    }
    for need in sorted(fault.needs | ({"pgbackrest"} if fault.backups else set())):
        if not here[need][0]:
            raise Skipped(here[need][1])


def play(scene: Scene, fault: Fault, family: Family) -> Seen:
    """Break, rehearse, run, run again, count."""
    player = Player(scene, fault, family)
    scene.prove = lambda: player.play(dataclasses.replace(fault.runs[0], host="", variables={}, approval="")).word
    decoy = scene.decoy.facts()
    inject(scene, family.words, fault.before)
    with contextlib.ExitStack() as stack:
        stack.callback(scene.let_go)
        writers = stack.enter_context(Writers(scene.ledger, scene.about(2))) if fault.writers else None
        time.sleep(scene.about(0.3, 0.8) if writers else 0)
        inject(scene, family.words, fault.inject)
        seen, begun = Seen(fault, []), time.time()
        for turn in fault.runs:
            inject(scene, family.words, turn.inject)
            if not seen.turns and fault.triage and triage.can_be_asked(turn):
                with quiet(writers):
                    seen.triage = triage.ask(player)
            if not seen.turns and fault.rehearse:
                with quiet(writers):
                    seen.rehearsal = player.rehearse(turn)
            seen.turns.append(_turn(player, fault, turn, writers, seen))
        seen.begun = player.journal("begin")
        if seen.last.word in WELL and fault.again:
            with quiet(writers):
                seen.again = _again(player)
    seen.losses = None if fault.loss == "untouched" else _count(scene, begun)
    if mended(seen.last):
        seen.undone = replay(player, seen.last, player.first)
    seen.decoy_same = not fault.decoy or scene.decoy.facts() == decoy
    return seen


def _turn(player: Player, fault: Fault, turn: t.Any, writers: t.Optional[Writers], seen: Seen) -> Turned:
    """Take one turn; where it has to change nothing the writers hold still, so that nobody else does either."""
    still = (turn.unchanged or fault.loss == "untouched") and not player.scene.followed
    with quiet(writers if still else None), downtime.Client(player.target.answers) as client:
        begun = time.monotonic()
        turned = player.turn(turn)
        seen.seconds += time.monotonic() - begun
    seen.down = (seen.down or 0.0) + client.seconds
    turned.cost = client.seconds if client.up_before else 0.0
    return turned


def quiet(writers: t.Optional[Writers]) -> t.ContextManager[None]:
    return writers.paused() if writers else contextlib.nullcontext()


def _again(player: Player) -> tuple[t.Any, bool]:
    """Run once more on what is well; the API's proof writes and removes a canary, so process and configuration are compared."""
    before = player.scene.identity()
    ran = player.play(dataclasses.replace(player.fault.runs[-1], host="", variables={}, approval=""))
    return ran, before == player.scene.identity()


def _count(scene: Scene, since: float) -> t.Optional[dict[str, int]]:
    with contextlib.suppress(*scene.ledger.away):
        return scene.ledger.compare(since=since)
    return None
