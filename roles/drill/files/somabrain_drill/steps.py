# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a fault file: each is one function of the scene and its argument, and breaks one thing."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._ledger import open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._resp import Connection, ErrorReply, RespError

from .errors import DrillError
from .faults import Step
from .scene import Scene
from .sshd import Sshd
from .target import refused, until

# Connections that stay open for as long as the drill does: Redis ends a script or a sleep of a client that has gone.
HELD: dict[int, list[Connection]] = {}


def inject(scene: Scene, steps: t.Iterable[Step]) -> None:
    """Take the steps one by one. Raises DrillError that names the step which could not be taken."""
    for step in steps:
        for word, argument in step.items():
            if word not in WORDS:
                raise DrillError(f"no such step: {word}; there are: {', '.join(sorted(WORDS))}")
            try:
                WORDS[word](scene, argument)
            except (OSError, RespError, TypeError, KeyError) as error:
                raise DrillError(f"the step {word} could not be taken: {error}") from error


def write(scene: Scene, given: t.Any) -> None:
    """write: COUNT, or {count, size}: acknowledged keys of the drill's ledger."""
    words = given if isinstance(given, dict) else {"count": given}
    scene.ledger.write(**words)


def prove(scene: Scene, _given: t.Any) -> None:
    """prove: a run that has nothing to do, so that the ledger of the recovery knows what there was."""
    word = scene.prove()
    if word != "nothing_to_do":
        raise DrillError(f"the run before the fault ended {word}, expected nothing_to_do")


def write_until_refused(scene: Scene, size: t.Any) -> None:
    """write_until_refused: SIZE: one key after the other until Redis takes no more."""
    for _turn in range(5000):
        before = len(scene.ledger.expected)
        with contextlib.suppress(RespError):
            scene.ledger.write(3, int(size))
        if len(scene.ledger.expected) < before + 3:
            return
    raise DrillError("Redis takes every write")


def ask(scene: Scene, words: t.Any) -> None:
    """ask: [WORD, ...]: one command that has to be answered without an error."""
    reply = scene.target.ask(*words, seconds=30)
    if refused(reply):
        raise DrillError(f"{words[0]} was answered with {reply}")


def send(scene: Scene, words: t.Any) -> None:
    """send: [WORD, ...]: one command whose answer is not waited for."""
    connection = scene.target.connect(3600)
    connection.send([words])
    HELD.setdefault(id(scene), []).append(connection)
    time.sleep(0.2)


def let_go(scene: Scene) -> None:
    """Close what `send` holds open."""
    for connection in HELD.pop(id(scene), []):
        connection.close()


def rewrite(scene: Scene, _given: t.Any) -> None:
    """rewrite: the append-only file is written anew, with a base."""
    _written(scene)
    ask(scene, ["BGREWRITEAOF"])
    _written(scene)


def second_incremental(scene: Scene, _given: t.Any) -> None:
    """second_incremental: a rewrite that dies leaves a second incremental file behind the first."""
    ask(scene, ["CONFIG", "SET", "rdb-key-save-delay", 1000000])
    ask(scene, ["BGREWRITEAOF"])
    pid = scene.target.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until(lambda: bool(children.read_text().split()), 10, "the rewrite does not begin")
    for child in children.read_text().split():
        os.kill(int(child), signal.SIGKILL)
    ask(scene, ["CONFIG", "SET", "rdb-key-save-delay", 0])
    _written(scene)


def _written(scene: Scene) -> None:
    """Wait until no append-only file is being written anew."""

    def quiet() -> bool:
        told = str(scene.target.ask("INFO", "persistence"))
        return "aof_rewrite_in_progress:0" in told and "aof_rewrite_scheduled:0" in told

    time.sleep(0.2)
    until(quiet, 20, "the append-only file is not written anew")
    time.sleep(0.2)


def kill(scene: Scene, _given: t.Any) -> None:
    """kill: Redis dies as by kill -9."""
    scene.target.end()


def freeze(scene: Scene, _given: t.Any) -> None:
    """freeze: Redis is stopped by SIGSTOP."""
    os.kill(scene.target.pid, signal.SIGSTOP)
    time.sleep(0.1)


def freeze_for_good(scene: Scene, _given: t.Any) -> None:
    """freeze_for_good: a script that never ends keeps Redis from answering; no SIGCONT helps."""
    send(scene, ["EVAL", "while true do end", 0])


def lease(scene: Scene, _given: t.Any) -> None:
    """lease: the ledger says that a run which died an hour ago holds the target."""
    ago = time.time() - 3600
    held = {"host": scene.target.host, "component": "redis", "run_id": "dead-run", "remedy": "redis_recovery", "owner": "somebody"}
    with open_ledger(str(scene.work / "ledger"), False) as ledger, ledger.transaction():
        ledger.grant({**held, "controller": {}, "ends_at": ago + 120}, ago)
        ledger.append("dead-run", "open", {"by": "somebody"}, ago)


def start(scene: Scene, wait: t.Any) -> None:
    """start: the manager starts Redis; with true until it answers."""
    scene.target.start()
    if wait:
        until(scene.target.answers, 20, "Redis does not answer after its start")


def starts(scene: Scene, count: t.Any) -> None:
    """starts: COUNT: the manager starts Redis so often, whatever comes of it."""
    for _turn in range(int(count)):
        scene.target.start()
        time.sleep(0.3)


def configure(scene: Scene, settings: t.Any) -> None:
    """configure: {WORD: VALUE}: other words in the configuration, read at the next start."""
    scene.configure(settings)


def until_error(scene: Scene, code: t.Any) -> None:
    """until_error: CODE: wait until a write is refused with that word."""

    def is_there() -> bool:
        with contextlib.suppress(RespError):
            reply = scene.target.ask("SET", f"{scene.ledger.prefix}probe", "1", seconds=1)
            return isinstance(reply, ErrorReply) and reply.code == code
        return False

    until(is_there, 20, f"Redis does not refuse writes with {code}")


def cut(scene: Scene, given: t.Any) -> None:
    """cut: {file, bytes}: so many bytes fewer at the end."""
    path = scene.file(given["file"])
    os.truncate(path, max(0, path.stat().st_size - int(given["bytes"])))


def truncate(scene: Scene, given: t.Any) -> None:
    """truncate: {file, to}: only so many bytes are left, or that share of them."""
    path = scene.file(given["file"])
    left = given["to"]
    os.truncate(path, int(path.stat().st_size * left) if isinstance(left, float) else int(left))


def damage(scene: Scene, given: t.Any) -> None:
    """damage: {file, at: SHARE or OFFSET (from the end below 0), bytes}: that many bytes become other ones."""
    path = scene.file(given["file"])
    content = bytearray(path.read_bytes())
    at = int(len(content) * given["at"]) if isinstance(given["at"], float) else int(given["at"]) % len(content)
    for index in range(at, min(at + int(given["bytes"]), len(content))):
        content[index] ^= 0xFF
    with path.open("r+b") as file:
        file.write(content)


def remove(scene: Scene, pattern: t.Any) -> None:
    """remove: PATTERN: the newest file of the data directory that matches is gone."""
    scene.file(str(pattern)).unlink()


def close_directory(scene: Scene, _given: t.Any) -> None:
    """close_directory: the data directory belongs to root and nobody else may write in it."""
    os.chown(scene.target.data_dir, 0, 0)
    scene.target.data_dir.chmod(0o555)


def fill_disk(scene: Scene, given: t.Any) -> None:
    """fill_disk: {free}: a file named ballast takes all of the small disk but so many bytes."""
    free = int((given or {}).get("free", 0))
    facts = os.statvfs(scene.target.data_dir)
    with (scene.target.data_dir / "ballast").open("wb", buffering=0) as file:
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


def follow(scene: Scene, _given: t.Any) -> None:
    """follow: the target becomes a replica of a server of the drill, and has its data."""
    master = scene.serve("master")
    for key, value in scene.ledger.expected.items():
        if value is not None:
            master.ask("SET", key, value)
    ask(scene, ["REPLICAOF", "127.0.0.1", master.port])
    until(lambda: scene.target.ask("ROLE")[3] == "connected", 20, "the replica does not come up")
    # Its append-only file is written anew after the transfer.
    _written(scene)


def part_replica(scene: Scene, _given: t.Any) -> None:
    """part_replica: the replica loses sight of the target and keeps the data that it has."""
    replica = scene.servers["replica"]
    offset = scene.target.ask("ROLE")[1]
    until(lambda: replica.ask("ROLE")[4] >= offset, 20, "the replica does not catch up")
    replica.ask("REPLICAOF", "127.0.0.1", 1)


def end_master(scene: Scene, _given: t.Any) -> None:
    """end_master: the server that `follow` made is gone."""
    scene.servers.pop("master").end()
    until(lambda: scene.target.ask("ROLE")[3] != "connected", 20, "the replica does not notice")


WORDS: t.Mapping[str, t.Callable[[Scene, t.Any], None]] = {
    step.__name__: step
    for step in (
        ask, close_directory, configure, cut, damage, end_master, fill_disk, follow, freeze, freeze_for_good, kill, lease,
        part_replica, password, prove, remove, rewrite, second_incremental, send, sleep, ssh, start, starts, truncate,
        until_error, write, write_until_refused,
    )
}  # fmt: skip
