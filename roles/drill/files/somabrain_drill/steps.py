# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a fault file that every family knows: each is one function of the scene and its argument, and breaks one thing."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger

from .errors import DrillError
from .scene import Scene
from .sshd import Sshd
from .target import until

if t.TYPE_CHECKING:  # faults reads families, and families reads this file
    from .faults import Step

Words = t.Mapping[str, t.Callable[[t.Any, t.Any], None]]


def inject(scene: Scene, words: Words, steps: t.Iterable[Step]) -> None:
    """Take the steps one by one. Raises DrillError that names the step which could not be taken."""
    failures: tuple[type[Exception], ...] = (OSError, TypeError, KeyError, *scene.ledger.away)
    for step in steps:
        for word, argument in step.items():
            if word not in words:
                raise DrillError(f"no such step: {word}; there are: {', '.join(sorted(words))}")
            try:
                words[word](scene, argument)
            except failures as error:
                raise DrillError(f"the step {word} could not be taken: {error}") from error


def write(scene: Scene, given: t.Any) -> None:
    """write: COUNT, or {count, size}: acknowledged keys of the drill's ledger."""
    words = given if isinstance(given, dict) else {"count": given}
    scene.ledger.write(**{**words, "count": scene.about(words["count"])})


def prove(scene: Scene, _given: t.Any) -> None:
    """prove: a run that has nothing to do, so that the ledger of the recovery knows what there was."""
    word = scene.prove()
    if word != "nothing_to_do":
        raise DrillError(f"the run before the fault ended {word}, expected nothing_to_do")


def write_until_refused(scene: Scene, size: t.Any) -> None:
    """write_until_refused: SIZE: one key after the other until no more are taken, and none of them goes by itself any more."""
    for _turn in range(5000):
        before = len(scene.ledger.expected)
        with contextlib.suppress(*scene.ledger.away):
            scene.ledger.write(3, int(size))
        if len(scene.ledger.expected) < before + 3 and not scene.settle():
            return
    raise DrillError("every write is taken")


def kill(scene: Scene, _given: t.Any) -> None:
    """kill: the server dies as by kill -9."""
    scene.target.kill()


def freeze(scene: Scene, _given: t.Any) -> None:
    """freeze: the server is stopped by SIGSTOP."""
    os.kill(scene.target.pid, signal.SIGSTOP)
    time.sleep(0.1)


def lease(scene: Scene, _given: t.Any) -> None:
    """lease: the ledger says that a run which died an hour ago holds the target."""
    ago = time.time() - 3600
    held = {"host": scene.target.host, "component": scene.component, "run_id": "dead-run", "remedy": scene.remedy, "owner": "somebody"}
    with open_ledger(str(scene.work / "ledger"), False) as ledger, ledger.transaction():
        ledger.grant({**held, "controller": {}, "ends_at": ago + 120}, ago)
        ledger.append("dead-run", "open", {"by": "somebody"}, ago)


def start(scene: Scene, wait: t.Any) -> None:
    """start: the manager starts it; with true until it answers."""
    scene.target.start()
    if wait:
        until(scene.target.answers, 20, "it does not answer after its start")


def starts(scene: Scene, count: t.Any) -> None:
    """starts: COUNT: the manager starts it so often, whatever comes of it."""
    for _turn in range(int(count)):
        scene.target.start()
        time.sleep(0.3)


def configure(scene: Scene, settings: t.Any) -> None:
    """configure: {WORD: VALUE}: other words in the configuration, read at the next start."""
    scene.configure(settings)


def cut(scene: Scene, given: t.Any) -> None:
    """cut: {file, bytes}: so many bytes fewer at the end."""
    path = scene.file(given["file"])
    os.truncate(path, max(0, path.stat().st_size - int(given["bytes"])))


def truncate(scene: Scene, given: t.Any) -> None:
    """truncate: {file, to}: only so many bytes are left, or that share of them."""
    path = scene.file(given["file"])
    left = scene.about(given["to"]) if isinstance(given["to"], float) else given["to"]
    os.truncate(path, int(path.stat().st_size * left) if isinstance(left, float) else int(left))


def damage(scene: Scene, given: t.Any) -> None:
    """damage: {file, at: SHARE or OFFSET (from the end below 0), bytes}: that many bytes become other ones."""
    path = scene.file(given["file"])
    content = bytearray(path.read_bytes())
    at = int(len(content) * scene.about(given["at"])) if isinstance(given["at"], float) else int(given["at"]) % len(content)
    for index in range(at, min(at + int(given["bytes"]), len(content))):
        content[index] ^= 0xFF
    with path.open("r+b") as file:
        file.write(content)


def remove(scene: Scene, pattern: t.Any) -> None:
    """remove: PATTERN: the newest file of the data directory that matches is gone."""
    scene.file(str(pattern)).unlink()


def replace(scene: Scene, given: t.Any) -> None:
    """replace: {file, text}: the newest file of the data directory that matches has that text alone."""
    scene.file(given["file"]).write_text(str(given["text"]), encoding="utf-8")


def take_away(scene: Scene, pattern: t.Any) -> None:
    """take_away: PATTERN: the newest file that matches belongs to root, and nobody else may read it."""
    path = scene.file(str(pattern))
    os.chown(path, 0, 0)
    path.chmod(0o600)


class Stranger:
    """A program of nobody in particular that listens where the target should."""

    def __init__(self, port: int) -> None:
        self.port = port
        code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(3600)"
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def facts(self) -> tuple[t.Any, ...]:
        return self.process.pid, self.process.poll()

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


def stranger(scene: Scene, _given: t.Any) -> None:
    """stranger: another program listens on the port of the target, which is down."""
    one = scene.servers["stranger"] = Stranger(scene.target.port)
    until(one.listens, 10, "the stranger does not get the port")


def close_directory(scene: Scene, _given: t.Any) -> None:
    """close_directory: the data directory belongs to root and nobody else may write in it."""
    os.chown(scene.target.data_dir, 0, 0)
    scene.target.data_dir.chmod(0o555)


def fill_disk(scene: Scene, given: t.Any) -> None:
    """fill_disk: {free}: a file named ballast takes all of the small disk but so many bytes."""
    free = int((given or {}).get("free", 0))
    folder = scene.small
    facts = os.statvfs(folder)
    with (folder / "ballast").open("wb", buffering=0) as file:
        left = facts.f_bavail * facts.f_frsize - free
        try:
            while left > 0:
                left -= file.write(b"x" * min(left, 65536))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def ssh(scene: Scene, _given: t.Any) -> None:
    """ssh: from here on the runs come to the target over an ssh server of the drill's own."""
    if scene.sshd:
        scene.sshd.start()
    else:
        scene.sshd = Sshd(scene.work / "sshd", scene.ports())


def password(scene: Scene, text: t.Any) -> None:
    """password: TEXT: what the file with the recovery's password holds."""
    path = scene.work / "password"
    path.touch(mode=0o600)
    path.write_text(str(text), encoding="utf-8")


def sleep(_scene: Scene, seconds: t.Any) -> None:
    """sleep: SECONDS."""
    time.sleep(float(seconds))


WORDS: Words = {
    step.__name__: step
    for step in (
        close_directory, configure, cut, damage, fill_disk, freeze, kill, lease, password, prove, remove, replace, sleep, ssh, start,
        starts, stranger, take_away, truncate, write, write_until_refused,
    )
}  # fmt: skip
