# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a fault file that only Redis knows."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
)

from .. import steps
from ..errors import DrillError
from ..target import until
from .scene import Scene
from .target import refused
from .writers import commands, each


def ask(scene: Scene, words: t.Any) -> None:
    """ask: [WORD, ...]: one command that has to be answered without an error."""
    reply = scene.target.ask(*words, seconds=30)
    if refused(reply):
        raise DrillError(f"{words[0]} was answered with {reply}")


def send(scene: Scene, words: t.Any) -> None:
    """send: [WORD, ...]: one command whose answer is not waited for."""
    connection = scene.target.connect(3600)
    connection.send([words])
    scene.held.append(connection)
    time.sleep(0.2)


def rewrite(scene: Scene, _given: t.Any) -> None:
    """rewrite: rewrite the append-only file, with a base."""
    _written(scene)
    ask(scene, ["BGREWRITEAOF"])
    _written(scene)


def keep_commands(scene: Scene, given: t.Any) -> None:
    """keep_commands: {file, share}: an append-only file ends after that share of its commands, exactly between two of them."""
    path = scene.file(given["file"])
    content, ends, at = path.read_bytes(), [0], 0
    while at < len(content):
        for _part in range(int(content[at + 1 : content.index(b"\r\n", at)])):
            head = content.index(b"$", content.index(b"\r\n", at))
            at = content.index(b"\r\n", head) + 2 + int(content[head + 1 : content.index(b"\r\n", head)])
        at += 2
        ends.append(at)
    os.truncate(path, ends[int(len(ends) * scene.about(float(given["share"])))])


def include(scene: Scene, settings: t.Any) -> None:
    """include: {WORD: VALUE}: a file with these words beside the configuration, which includes it at its end."""
    file = scene.target.config_file.with_name("local.conf")
    file.write_text("".join(f"{word} {value}\n" for word, value in settings.items()), encoding="utf-8")
    file.chmod(0o644)
    scene.made.append(file)
    scene.configure({"include": file})


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
    """Wait until no rewrite of an append-only file is running."""

    def quiet() -> bool:
        told = str(scene.target.ask("INFO", "persistence"))
        return "aof_rewrite_in_progress:0" in told and "aof_rewrite_scheduled:0" in told

    time.sleep(0.2)
    until(quiet, 20, "the append-only file was not rewritten")
    time.sleep(0.2)


def freeze_for_good(scene: Scene, _given: t.Any) -> None:
    """freeze_for_good: a script that never ends keeps Redis from answering; no SIGCONT helps."""
    send(scene, ["EVAL", "while true do end", 0])


def until_error(scene: Scene, code: t.Any) -> None:
    """until_error: CODE: wait until a write is refused with that word."""

    def is_there() -> bool:
        with contextlib.suppress(RespError):
            reply = scene.target.ask("SET", f"{scene.ledger.prefix}probe", "1", seconds=1)
            return isinstance(reply, ErrorReply) and reply.code == code
        return False

    until(is_there, 20, f"Redis does not refuse writes with {code}")


def follow(scene: Scene, _given: t.Any) -> None:
    """follow: the target becomes a replica of a server of the drill, and has its data."""
    master = scene.serve("master")
    with Connection(address_of({"socket": str(master.socket)}), 30) as connection:
        each(connection, {key: commands(key, value) for key, value in scene.ledger.expected.items() if value is not None})
    ask(scene, ["REPLICAOF", "127.0.0.1", master.port])
    until(lambda: scene.target.ask("ROLE")[3] == "connected", 20, "the replica does not come up")
    # Its append-only file is rewritten after the transfer.
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


def watch(scene: Scene, _given: t.Any) -> None:
    """watch: three Sentinels watch the target and its replica; writes count once both have them, and go to the master that they name."""
    scene.watched()


def fail_over(scene: Scene, _given: t.Any) -> None:
    """fail_over: the Sentinels stop waiting and agree that the master is down; they do the rest themselves."""
    scene.watch.lose_patience()


def failed_over(scene: Scene, _given: t.Any) -> None:
    """failed_over: wait until all Sentinels name the replica as master, after one failover, and it takes writes."""
    replica = scene.servers["replica"]
    until(lambda: scene.watch.masters() == {(str(replica.port), "1")}, 30, "the Sentinels do not agree on the replica as master")
    until(lambda: replica.ask("ROLE")[0] == "master", 10, "the replica does not become master")


WORDS: steps.Words = {
    **steps.WORDS,
    **{
        step.__name__: step
        for step in (
            ask, end_master, fail_over, failed_over, follow, freeze_for_good, include, keep_commands, part_replica, rewrite,
            second_incremental, send, until_error, watch,
        )
    },
}  # fmt: skip
