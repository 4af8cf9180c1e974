# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs of the drills' own, made fresh in a private folder, and drills side by side on them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import typing as t
from pathlib import Path

from .drill import Result, hold
from .errors import DrillError
from .families import FAMILIES, Place
from .faults import Fault
from .ports import free_port
from .runs import ROOT

Tell = t.Callable[[Result], t.Any]


@contextlib.contextmanager
def private_folder() -> t.Iterator[Path]:
    """Yield a folder that others may enter, since the servers run as another user, and that is gone afterwards."""
    # Short, for the unix sockets in it.
    folder = Path(tempfile.mkdtemp(prefix="sb-drill-", dir="/tmp"))  # noqa: S108
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def lab(folder: Path) -> t.Iterator[Place]:
    """Yield a lab made for drills only; raises DrillError with the reason where it does not start."""
    ports = {f"lab_{name}_port": free_port() for name in ("redis", "postgres", "api", "ltm")}
    try:
        _play("start_lab", folder, ports)
        yield place_of_lab(folder)
    finally:
        _play("stop_lab", folder, {"lab_remove_data": True})


def _play(name: str, folder: Path, variables: dict[str, t.Any]) -> None:
    words = [str(Path(sys.executable).parent / "ansible-playbook"), str(ROOT / f"playbooks/{name}.yml")]
    words += ["-i", str(ROOT / "inventories/lab"), "-e", json.dumps(variables)]
    environment = {**os.environ, "SOMABRAIN_LAB_DIR": str(folder), "COLUMNS": "100", "NO_COLOR": "1"}
    # In a session of its own: a ctrl-C is for the drills to answer.
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    if done.returncode:
        raise DrillError(f"{name} failed: {' '.join((done.stdout + done.stderr).split())[-400:]}")


def place_of_lab(folder: Path) -> Place:
    """Return what there is to break in the lab in *folder*, as its lab.json says."""
    told = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
    parts = {family.part: family.of_lab(folder, told) for family in FAMILIES.values()}
    return Place("lab", (str(ROOT / "inventories/lab"),), str(folder), parts)


def in_lanes(faults: t.Sequence[Fault], lanes: int, tell: Tell, keep: Path) -> list[Result]:
    """Hold all drills on *lanes* labs side by side; *tell* is called with each result as it comes, *keep* gets the runs of failed ones."""
    waiting, results, failures = queued(faults), t.cast("list[Result]", []), t.cast("list[str]", [])

    def work(folder: Path) -> None:
        try:
            with lab(folder / "lab") as place:
                one_after_the_other(place, folder, waiting, noted(results, tell), keep)
        except Exception as error:
            failures.append(str(error))

    with private_folder() as folder:
        count = max(1, min(lanes, len(faults)))
        threads = [threading.Thread(target=work, args=(_made(folder / f"lane{number}"),)) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            # Labs and data have to be put away by those who hold them: the drills under way are ended, no other is begun.
            print("stopping after the drills under way; once more ends at once and leaves their labs running", file=sys.stderr)
            drain(waiting)
            for thread in threads:
                thread.join()
            raise DrillError("stopped by hand") from None
    if failures:
        raise DrillError("; ".join(failures))
    return sorted(results, key=lambda result: [fault.name for fault in faults].index(result.fault))


def on_target(place: Place, faults: t.Sequence[Fault], tell: Tell, keep: Path) -> list[Result]:
    """Hold drills one after the other in a place that is there already."""
    results: list[Result] = []
    with private_folder() as folder:
        one_after_the_other(place, folder, queued(faults), noted(results, tell), keep)
    return results


def noted(results: list[Result], tell: Tell) -> Tell:
    """Return a *tell* that also adds to *results*."""

    def both(result: Result) -> None:
        results.append(result)
        tell(result)

    return both


def drain(waiting: queue.SimpleQueue[Fault]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            waiting.get_nowait()


def queued(faults: t.Iterable[Fault]) -> queue.SimpleQueue[Fault]:
    waiting: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in faults:
        waiting.put(fault)
    return waiting


def one_after_the_other(place: Place, folder: Path, waiting: queue.SimpleQueue[Fault], tell: Tell, keep: Path) -> None:
    """Hold drills in one place until none waits."""
    while True:
        try:
            fault = waiting.get_nowait()
        except queue.Empty:
            return
        work = _made(folder / fault.name)
        result = hold(place, fault, work, free_port)
        if result.verdict == "FAILED":
            result.why = (*result.why, f"its runs are kept in {_kept(work, keep)}")
        tell(result)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755)
    return folder


def _kept(work: Path, keep: Path) -> Path:
    """Copy what the runs of a drill printed and wrote to where it outlives the drill, in place of an earlier one; return where."""
    place = keep / work.name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(work, place, ignore=shutil.ignore_patterns("s", "decoy", "replica", "master"))
    return place
