# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the writers of drills leave in a real Redis, and how a loss of it is counted."""

from __future__ import annotations

import shutil
import time
import typing as t
from pathlib import Path

import pytest
from somabrain_drill.ports import free_port
from somabrain_drill.redis import scene, shapes, writers
from somabrain_drill.redis.target import Target

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
NONE = {"missing": 0, "wrong": 0, "resurrected": 0, "lapsed": 0}


def target_of(server: scene.Server) -> Target:
    folder = server.folder
    return Target("here", (), "", server.port, folder, folder / "none", folder / "log", {}, socket=str(server.socket))


@pytest.fixture
def server(tmp_path: Path) -> t.Iterator[scene.Server]:
    one = scene.Server(tmp_path / "redis", free_port())
    yield one
    one.end()


def test_each_shape_is_written_and_read_again_and_a_loss_of_each_is_counted(server: scene.Server, tmp_path: Path) -> None:
    ledger = writers.Ledger(tmp_path / "log", target_of(server), "drill:it:")
    ledger.write(3 * len(shapes.SHAPES))
    assert ledger.compare() == {"acknowledged": 3 * len(shapes.SHAPES), **NONE}
    assert sorted(line.partition(":")[0] for line in server.ask("INFO", "keyspace").splitlines()[1:]) == ["db0", "db1", "db3"]
    kinds = {shape: next(key for key in ledger.expected if f":{shape}:" in key and ledger.expected[key]) for shape in ("hash.0", "set.0")}
    server.ask("HDEL", kinds["hash.0"], "kind")
    server.ask("DEL", kinds["set.0"])
    long = next(key for key in ledger.expected if f":string.0.{shapes.DAY}:" in key and ledger.expected[key])
    server.ask("PERSIST", long)
    time.sleep(shapes.SHORT + 0.6)
    short = sum(f":string.0.{shapes.SHORT}:" in key and value is not None for key, value in ledger.expected.items())
    assert ledger.compare() == {"acknowledged": 3 * len(shapes.SHAPES), **NONE, "missing": 1, "wrong": 2, "lapsed": short}
    ledger.close()


def test_paused_writers_and_changed_settings_are_seen(server: scene.Server) -> None:
    def standing() -> dict[str, str]:
        return {name: value for name, value in scene.seen(target_of(server)).items() if name in ("writers", "setting save")}

    assert standing() == {"writers": "go on", "setting save": ""}
    server.ask("CONFIG", "SET", "save", "3600 1")
    server.ask("CLIENT", "PAUSE", 60000, "WRITE")
    try:
        assert standing() == {"writers": "paused", "setting save": "3600 1"}
    finally:
        server.ask("CLIENT", "UNPAUSE")
