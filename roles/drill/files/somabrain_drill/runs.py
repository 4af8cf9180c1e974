# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of a playbook as a person starts it, and what each said in the end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from .errors import DrillError
from .families import Family
from .faults import Fault, Turn
from .scene import Scene, differing, moved
from .steps import inject

# The root of the collection that this file belongs to.
ROOT = Path(__file__).resolve().parents[4]
LONGEST = 180.0


@dataclasses.dataclass
class Ran:
    """One run that has ended: its exit code, its outcome, and what it printed."""

    code: int
    outcome: dict[str, t.Any]
    text: str
    killed: bool = False
    # What this run changed and left so, by name: service, writers, automatic restart, settings.
    moved: t.Tuple[str, ...] = ()

    @property
    def word(self) -> str:
        return str(self.outcome.get("outcome") or "no outcome")

    @property
    def reason(self) -> str:
        return str(self._first.get("code") or "")

    @property
    def told(self) -> str:
        """What the first reason says, or what failed; "" where there is neither."""
        return str(self._first.get("text") or (self.outcome.get("failure") or {}).get("msg") or "")

    @property
    def acts(self) -> list[str]:
        return [str(act["action"]) for act in self.outcome.get("acts") or []]

    @property
    def token(self) -> str:
        """The token of the recommended plan, "" where none was offered."""
        plans = self._first.get("plans") or [{}]
        return str(plans[0].get("token") or self._first.get("token") or "")

    @property
    def _first(self) -> dict[str, t.Any]:
        return dict((self.outcome.get("reasons") or [{}])[0])


@dataclasses.dataclass
class Turned:
    """What one turn of a fault came to: the runs of it, and whether bytes and process stayed as they were."""

    turn: Turn
    ran: list[Ran]
    same: t.Optional[bool]
    # Seconds in which a server that was up before gave no answer.
    cost: float = 0.0

    @property
    def last(self) -> Ran:
        return self.ran[-1]


class Player:
    """Runs the playbook on the target of one scene."""

    def __init__(self, scene: Scene, fault: Fault, family: Family) -> None:
        self.scene, self.fault, self.target = scene, fault, scene.target
        self.playbook, self.words = fault.playbook or family.playbook, family.words
        self.state_dir = scene.work / "ledger"
        self.token = ""
        # What there was before the first run that may change something.
        self.first: dict[str, t.Any] = {}
        self._count = 0

    def begin(self, turn: Turn, *flags: str, **variables: t.Any) -> tuple[subprocess.Popen[bytes], Path]:
        """Start one run; its outcome will be in a file."""
        self._count += 1
        base = self.scene.work / f"run-{self._count}"
        given = {"remediation_state_dir": str(self.state_dir), "remediation_outcome_file": f"{base}.json"}
        given = {**given, **self.scene.variables, **self._filled({**self.fault.variables, **turn.variables}), **variables}
        name = turn.playbook or self.playbook
        limit = [] if f"{name}_hosts" in given else ["--limit", turn.host or self.target.host]
        program, playbook = Path(sys.executable).parent / "ansible-playbook", ROOT / f"playbooks/{name}.yml"
        words = [str(program), str(playbook), *self._inventories(turn)]
        environment = {**os.environ, **self.target.environment, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONFAULTHANDLER": "1"}
        with base.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                [*words, *limit, "-e", json.dumps(given), *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environment, start_new_session=True,
            )  # fmt: skip
        return process, base

    def end(self, process: subprocess.Popen[bytes], base: Path) -> Ran:
        """Wait for a run; raises DrillError when it takes too long."""
        try:
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            base.with_suffix(".hung").write_text("\n".join(below(process.pid)) + "\n")
            # With PYTHONFAULTHANDLER each process of Python writes to the log where it hangs.
            os.killpg(process.pid, signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            raise DrillError(f"a run did not end within {LONGEST:.0f} s: see {base}.log") from None
        except KeyboardInterrupt:
            # It has a session of its own, so nobody else ends it.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        file = base.with_suffix(".json")
        outcome = json.loads(file.read_text()) if file.exists() else {}
        return Ran(code, outcome, base.with_suffix(".log").read_text(errors="replace"))

    def play(self, turn: Turn, *flags: str, **variables: t.Any) -> Ran:
        return self.end(*self.begin(turn, *flags, **variables))

    def watched(self, turn: Turn, **variables: t.Any) -> Ran:
        """Run once, and note what it left changed."""
        before = self.scene.standing()
        ran = self.play(turn, **variables)
        ran.moved = moved(before, self.scene.standing())
        return ran

    def rehearse(self, turn: Turn) -> tuple[Ran, t.Tuple[str, ...]]:
        """Run in check mode; return the run and the names of what did not stay as it was, of all files and the process."""
        self.scene.settle()
        before = self.scene.bytes()
        ran = self.play(turn, "--check")
        return ran, differing(before, self.scene.bytes())

    def turn(self, turn: Turn) -> Turned:
        """Take one turn of the fault (its steps are injected already)."""
        if turn.unchanged or self.fault.loss == "untouched":
            self.scene.settle()
        before = self.scene.bytes()
        self.first = self.first or before
        if turn.kill_at:
            ran = [self._killed(turn)]
        elif turn.drop_at:
            ran = [self._dropped(turn)]
        elif turn.hold_at:
            ran = [self._held(turn)]
        elif turn.at_once > 1:
            ran = [self.end(*one) for one in [self.begin(turn) for _turn in range(turn.at_once)]]
        else:
            ran = self._approved(turn)
        self.token = ran[-1].token or self.token
        return Turned(turn, ran, before == self.scene.bytes())

    def _approved(self, turn: Turn) -> list[Ran]:
        """Run once, and where the fault says so a second time with the token of the recommended plan."""
        given = {"remediation_approval": self._token(turn)} if turn.approval else {}
        ran = [self.watched(turn, **given)]
        if self.fault.approve and ran[0].reason == "approval_needed" and ran[0].token:
            ran.append(self.watched(turn, remediation_approval=ran[0].token))
        return ran

    def _token(self, turn: Turn) -> str:
        if not self.token:
            raise DrillError("no run before this one offered a token")
        if turn.approval == "altered":
            return self.token[:-1] + ("0" if self.token[-1] != "0" else "1")
        return self.token

    def _reached(self, process: subprocess.Popen[bytes], kind: str, more_than: int = 0) -> bool:
        """Wait until the journal has more records of *kind*; False when the run ended before."""
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end and self.journal(kind) <= more_than:
            time.sleep(0.005)
        return process.poll() is None

    def _held(self, turn: Turn) -> Ran:
        """Run until the journal has a further record of that kind, stop the run while steps are taken, and let it come to its end."""
        before = self.journal(turn.hold_at)
        process, base = self.begin(turn)
        reached = self._reached(process, turn.hold_at, before)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
        try:
            inject(self.scene, self.words, turn.meanwhile)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
        ran = self.end(process, base)
        ran.killed = reached
        return ran

    def _dropped(self, turn: Turn) -> Ran:
        """Run until the journal has a record of that kind, cut the connection, and let the run come to its end."""
        process, base = self.begin(turn)
        reached = self._reached(process, turn.drop_at)
        if self.scene.sshd:
            self.scene.sshd.cut()
        ran = self.end(process, base)
        ran.killed = reached
        return ran

    def _killed(self, turn: Turn) -> Ran:
        """Run until the journal has a record of that kind and the steps have come true; kill the controller with all that it started."""
        process, base = self.begin(turn)
        killed = self._reached(process, turn.kill_at)
        inject(self.scene, self.words, turn.meanwhile)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        ran = self.end(process, base)
        ran.killed = killed
        return ran

    def journal(self, kind: str) -> int:
        """Return how many records of *kind* the ledger of this drill has."""
        file = self.state_dir / "ledger.sqlite"
        with contextlib.suppress(sqlite3.Error):
            if file.exists():
                with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
                    return int(db.execute("select count(*) from journal where kind=?", (kind,)).fetchone()[0])
        return 0

    def _inventories(self, turn: Turn) -> list[str]:
        sources = list(self.target.inventories)
        if turn.host:
            # A second name for the same target, as an inventory with a wrong line has it.
            facts = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
            file = self.scene.work / "other.json"
            file.write_text(json.dumps({"redis": {"hosts": {turn.host: facts}}}))
            sources.append(str(file))
        return [word for source in sources for word in ("-i", source)]

    def _filled(self, given: t.Any) -> t.Any:
        """Return *given* with <work>, <data>, <decoy_port>, ... filled in."""
        if isinstance(given, dict):
            return {key: self._filled(value) for key, value in given.items()}
        if isinstance(given, list):
            return [self._filled(value) for value in given]
        places = self.scene.places()
        if given in places:
            return places[given]
        for name, value in places.items():
            given = given.replace(name, str(value)) if isinstance(given, str) else given
        return given


def below(pid: int) -> list[str]:
    """Return one line for process *pid* and each of its descendants: pid, parent, group, state, where in the kernel it waits, command."""
    found, lines = {pid}, []
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError, IndexError):
            state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(parent) in found or int(folder.name) == pid:
                found.add(int(folder.name))
                waits = (folder / "wchan").read_text()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:150]
                lines.append(f"{folder.name} {parent} {group} {state} {waits} {command}")
    return lines
