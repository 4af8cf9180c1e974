# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a real Redis wrote, damaged by hand: what is told of them is what that Redis makes of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files import scan
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import fingerprint, judge_files

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")
AOF, RDB = {"appendonly": "yes"}, {"appendonly": "no"}
BASE, INCREMENTAL, MANIFEST = "appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"


def serve(folder: Path, appendonly: str) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    where = {"socket": str(folder / "redis.sock")}
    words = ["--port", "0", "--unixsocket", where["socket"], "--dir", str(folder), "--appendonly", appendonly, "--save", ""]
    # Any other fsync may keep acknowledged writes back while the disk is busy, and the kill loses them.
    words += ["--appendfsync", "always"]
    process = subprocess.Popen([str(SERVER), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(RespError), Connection(address_of(where), 1) as connection:
            if connection.ask("PING") == "PONG":
                break
        time.sleep(0.02)
    return process, where


@pytest.fixture(scope="module")
def written() -> t.Iterator[Path]:
    """Data of a Redis that was killed: an RDB base of 500 keys, 500 more in the incremental file, and a dump of 500."""
    folder = Path(tempfile.mkdtemp(prefix="redis-files-"))
    process, where = serve(folder, "yes")
    with Connection(address_of(where), 20) as redis:
        redis.ask_all([("SET", f"base:{index}", "x" * 50) for index in range(500)])
        redis.ask_all([("SAVE",), ("BGREWRITEAOF",)])
        while "aof_rewrite_in_progress:1" in redis.ask("INFO", "persistence"):
            time.sleep(0.02)
        redis.ask_all([("SET", f"more:{index}", "y" * 50) for index in range(500)])
    process.kill()
    process.wait()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "data", ignore=shutil.ignore_patterns("*.sock")))


def starts_with(folder: Path, appendonly: str) -> int | None:
    """Return how many keys a real Redis has after starting on a copy of *folder*, None when it refuses to start."""
    copy = Path(tempfile.mkdtemp(prefix="redis-try-"))
    shutil.copytree(folder, copy, dirs_exist_ok=True, symlinks=True)
    process, where = serve(copy, appendonly)
    try:
        with Connection(address_of(where), 5) as redis:
            return int(redis.ask("DBSIZE"))
    except RespError:
        return None
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(copy)


def cut(path: Path, size: int) -> None:
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))


def swallow(path: Path) -> None:
    """Make one length in the middle so large that it swallows the rest of the file."""
    path.write_bytes(path.read_bytes().replace(b"$8\r\nmore:250\r\n", b"$88888888\r\nmore:250\r\n"))


def spoil(path: Path) -> None:
    """Damage the mark before one word in the middle."""
    path.write_bytes(path.read_bytes().replace(b"$8\r\nmore:250\r\n", b"#8\r\nmore:250\r\n"))


def name_in_manifest(folder: Path, name: str) -> None:
    with (folder / "appendonlydir" / MANIFEST).open("a") as manifest:
        manifest.write(f"file {name} seq 3 type i\n")


def link(folder: Path, name: str) -> None:
    outside = folder.parent / name
    (folder / "appendonlydir" / name).rename(outside)
    (folder / "appendonlydir" / name).symlink_to(outside)


INNER = "appendonlydir"


def follow_a_cut_one(folder: Path) -> None:
    cut(folder / INNER / INCREMENTAL, -7)
    name_in_manifest(folder, "x.aof")
    (folder / INNER / "x.aof").write_bytes(b"")


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder / INNER)
    (folder / "dump.rdb").unlink()


# What is done, how Redis is set up, the verdict, and the keys a real Redis starts with (None: it refuses).
CASES: dict[str, tuple[t.Callable[[Path], t.Any], dict[str, str], str, int | None]] = {
    "nothing, append-only": (lambda d: None, AOF, "valid", 1000),
    "nothing, dump": (lambda d: None, RDB, "valid", 500),
    "tail of the last incremental cut": (lambda d: cut(d / INNER / INCREMENTAL, -7), AOF, "tail_cut", 999),
    "incremental damaged in the middle": (lambda d: spoil(d / INNER / INCREMENTAL), AOF, "damaged", None),
    "a length swallows the rest": (lambda d: swallow(d / INNER / INCREMENTAL), AOF, "damaged", 750),
    "base damaged": (lambda d: flip(d / INNER / BASE, 9000), AOF, "damaged", None),
    "base cut": (lambda d: cut(d / INNER / BASE, 9000), AOF, "damaged", None),
    "base missing": (lambda d: (d / INNER / BASE).unlink(), AOF, "missing", None),
    "manifest missing: it starts empty": (lambda d: (d / INNER / MANIFEST).unlink(), AOF, "missing", 0),
    "directory missing: the dump is ignored": (lambda d: shutil.rmtree(d / INNER), AOF, "missing", 0),
    "manifest empty": (lambda d: cut(d / INNER / MANIFEST, 0), AOF, "damaged", None),
    "manifest names a path": (lambda d: name_in_manifest(d, "../../../etc/passwd"), AOF, "damaged", None),
    "manifest names itself": (lambda d: name_in_manifest(d, MANIFEST), AOF, "damaged", None),
    "non-last incremental cut": (
        follow_a_cut_one,
        AOF, "damaged", None,
    ),
    "dump of zero bytes": (lambda d: cut(d / "dump.rdb", 0), RDB, "damaged", None),
    "dump cut": (lambda d: cut(d / "dump.rdb", -5), RDB, "damaged", None),
    "dump with a wrong checksum": (lambda d: flip(d / "dump.rdb", -1), RDB, "damaged", None),
    "dump with a wrong head": (lambda d: flip(d / "dump.rdb", 2), RDB, "damaged", None),
    "dump missing": (lambda d: (d / "dump.rdb").unlink(), RDB, "empty", 0),
    "all gone": (remove_all, AOF, "empty", 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_fits_what_a_real_redis_does_with_the_files(data: Path, case: str) -> None:
    damage, settings, verdict, keys = CASES[case]
    damage(data)
    before = fingerprint(str(data), settings)
    found = judge_files(str(data), settings, 20)
    assert (found["verdict"], fingerprint(str(data), settings)) == (verdict, before), found
    assert starts_with(data, settings["appendonly"]) == keys


WITHOUT_CHECKERS = ["nothing, dump", "dump with a wrong checksum", "dump cut", "dump with a wrong head", "nothing, append-only"]


@pytest.mark.parametrize("case", WITHOUT_CHECKERS)
def test_the_verdict_is_the_same_without_redis_own_checkers(data: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "tool", lambda name: "")
    damage, settings, verdict, _keys = CASES[case]
    damage(data)
    found = judge_files(str(data), settings, 20)
    assert found["verdict"] == verdict, found


def test_a_link_out_of_the_data_directory_is_not_followed(data: Path) -> None:
    link(data, INCREMENTAL)
    assert judge_files(str(data), AOF, 20)["verdict"] == "unjudged"


def test_a_pipe_in_place_of_a_file_does_not_hang(data: Path) -> None:
    (data / "dump.rdb").unlink()
    os.mkfifo(data / "dump.rdb")
    begun = time.monotonic()
    assert judge_files(str(data), RDB, 20)["verdict"] == "unjudged"
    assert time.monotonic() - begun < 1


def test_a_large_file_is_judged_in_bounded_memory_or_left_unjudged(data: Path) -> None:
    with (data / INNER / INCREMENTAL).open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000000\r\n")
        file.seek(60_000_000, os.SEEK_CUR)
        file.write(b"\r\n")
    assert judge_files(str(data), AOF, 20)["verdict"] == "valid"
    assert judge_files(str(data), AOF, 0.0)["verdict"] == "unjudged"


def test_the_number_of_keys_is_told_where_a_dump_is_all_there_is(data: Path) -> None:
    assert judge_files(str(data), RDB, 20)["expected_keys"] == 500
