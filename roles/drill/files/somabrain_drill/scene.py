# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of one drill: the target's own data put aside, the drill's in its place, a decoy beside it; all of it put back in the end."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

from .errors import DrillError, Skipped
from .sshd import Sshd
from .target import Target, hashes, until
from .writers import Ledger

if t.TYPE_CHECKING:  # faults reads families, and families reads this file
    from .faults import Fault

ASIDE = ".kept-by-drill"


class Server(t.Protocol):
    """A server of the drill's own beside the target."""

    port: int

    def facts(self) -> tuple[t.Any, ...]:
        """Return what must not change: process, data and files."""

    def end(self) -> None: ...


class Scene:
    """One drill's scene. Use it as a context manager: leaving it puts the target back as it was."""

    # What the remedy's leases are on, and its name.
    component: t.ClassVar[str]
    remedy: t.ClassVar[str]
    target: Target
    ledger: Ledger

    def __init__(self, target: Target, fault: Fault, work: Path, ports: t.Callable[[], int]) -> None:
        self.target, self.fault, self.work, self.ports = target, fault, work, ports
        self.data_aside, self.config_aside = aside(target.data_dir), aside(target.config_file)
        # The dice of this fault and seed: they fall the same way each time.
        self.dice = random.Random(f"{fault.seed} {fault.name}")  # noqa: S311
        self.servers: dict[str, t.Any] = {}
        self.sshd: t.Optional[Sshd] = None
        # Whether writers go to whichever server is the master, and so touch nothing of a target that is none any more.
        self.followed = False
        # Runs the playbook once and returns the word of its outcome; set by who plays the drill.
        self.prove: t.Callable[[], str] = lambda: "no player"

    def __enter__(self) -> Scene:
        restore(self.target)
        try:
            self.set()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.let_go()
        for server in self.servers.values():
            server.end()
        if self.sshd:
            self.sshd.cut()
        if hasattr(self, "ledger"):
            self.ledger.close()
        restore(self.target)

    def set(self) -> None:
        """Put the target's own data aside and set the scene: ledger, decoy, and the target on data of the drill."""
        raise NotImplementedError

    def configure(self, settings: t.Mapping[str, t.Any]) -> None:
        """Write the target's configuration: its own, the drill's, the fault's, then *settings*."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Close what steps hold open."""

    def about(self, number: t.Any, spread: float = 0.25) -> t.Any:
        """Return *number* as it is with seed 0, else one near it; a share of a file stays one."""
        if not self.fault.seed or not number:
            return number
        other = number * (1 + self.dice.uniform(-spread, spread))
        return min(other, 0.98) if isinstance(number, float) else max(1, round(other))

    @property
    def small(self) -> Path:
        """Where the small disk is mounted in a fault that needs one."""
        return self.target.data_dir

    @property
    def decoy(self) -> t.Any:
        return self.servers["decoy"]

    @property
    def variables(self) -> dict[str, t.Any]:
        """The variables of this scene, in addition to those of the inventory."""
        return self.sshd.variables if self.sshd else {}

    def places(self) -> dict[str, t.Any]:
        """What <NAME> stands for in the variables of a fault."""
        ports = {f"<{name}_port>": server.port for name, server in self.servers.items()}
        return {"<work>": str(self.work), "<data>": str(self.target.data_dir), **ports}

    def bytes(self) -> dict[str, t.Any]:
        """Return what no rehearsal and no refusal may change: data, configuration, process, and the decoy with all that it has."""
        files = hashes(self.target.data_dir, self.target.config_file)
        return {**files, "process": self.target.process(), "decoy": self.decoy.facts()}

    def settle(self) -> bool:
        """Wait until nothing that the writers left behind changes by itself any more, so that bytes can be compared; return if so."""
        return False

    def identity(self) -> tuple[t.Any, ...]:
        """Return what a run on a target that is well may not change: the process and its configuration."""
        return self.target.process(), hashes(self.target.config_file)

    def standing(self) -> dict[str, str]:
        """Return, by name, what a run that refuses has to leave as it is or to list as left."""
        state = self.target.state()
        answers = "answers" if self.target.answers() else "does not answer"
        return {"service": answers, "automatic restart": f"{state['autorestart']} {state['held']}"}

    def put_aside(self) -> os.stat_result:
        """Stop the target and put its own data, configuration and log aside; return mode and owner of the data directory."""
        self.target.stop()
        facts = self.target.data_dir.stat()
        for path in self.target.outside:
            if path.exists():
                log = path.stat()
                path.rename(aside(path))
                if path == self.target.log_file:
                    # Its server may not be allowed to make a file in that folder.
                    path.touch(mode=log.st_mode & 0o777)
                    os.chown(path, log.st_uid, log.st_gid)
        self.target.data_dir.rename(self.data_aside)
        return facts

    def file(self, pattern: str) -> Path:
        """Return the newest file of the data directory that matches; raises DrillError for none."""
        found = sorted(self.target.data_dir.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            raise DrillError(f"no file {pattern} in {self.target.data_dir}")
        return found[-1]


def moved(before: t.Mapping[str, str], after: t.Mapping[str, str]) -> t.Tuple[str, ...]:
    """Return the names of what changed, of that which could be seen both times."""
    return tuple(sorted(name for name in set(before) & set(after) if before[name] != after[name]))


def differing(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> t.Tuple[str, ...]:
    """Return the names of what changed, came or went."""
    return tuple(sorted(name for name in set(before) | set(after) if before.get(name) != after.get(name)))


def mount_small(folder: Path, size: str) -> None:
    """Mount a disk of *size* on *folder*. Raises Skipped where that cannot be."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped("no small disk can be mounted here: " + " ".join(done.stderr.split())[:80])


def unmount(folder: Path) -> None:
    """Unmount every disk on *folder* or below it, the deepest first."""
    places = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((place for place in places if place == folder or folder in place.parents), reverse=True):
        subprocess.run(["umount", "-l", str(place)], check=True)


def aside(path: Path) -> Path:
    """Return where a file or folder of the target is kept while a drill uses its place."""
    return path.with_name(path.name + ASIDE)


def restore(target: Target) -> None:
    """Put back what a drill had put aside, now or when it died, and start the target; nothing where there is none."""
    data, files = aside(target.data_dir), [path for path in target.outside if aside(path).exists()]
    if not data.exists() and not files:
        return
    target.end()
    if data.exists():
        unmount(target.data_dir)
        remove(target.data_dir)
        data.rename(target.data_dir)
    for path in files:
        aside(path).replace(path)
    target.start()
    until(target.answers, 30, f"{target.host}: it does not come back with its own data after the drill; see {target.log_file}")


def remove(folder: Path) -> None:
    """Remove the drill's own data, moved away first, so that a half removed folder is never mistaken for data."""
    if folder.exists():
        away = Path(tempfile.mkdtemp(prefix="drill-", dir=folder.parent)) / folder.name
        folder.rename(away)
        shutil.rmtree(away.parent)
