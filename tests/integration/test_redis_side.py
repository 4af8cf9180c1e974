# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Side instances of a real redis-server: what they serve, what they refuse, and that nothing of them is left."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import SideInstance, find_server
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "side with space"
    made.mkdir(mode=0o700)
    return made


def side(folder: Path, seconds: float = 10, **given: object) -> SideInstance:
    return SideInstance(find_server(""), str(folder), time.monotonic() + seconds, **given)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    return pid > 0 and os.path.exists(f"/proc/{pid}")


def test_it_serves_saves_and_leaves_nothing_behind(folder: Path) -> None:
    with side(folder, owner=(NOBODY.pw_uid, NOBODY.pw_gid)) as one:
        pid, private = one.pid, one.address.path
        with one.connect() as redis:
            assert redis.ask("SET", "a", "1") == "OK"
            assert redis.ask("CONFIG", "GET", "port") == ["port", "0"]
        assert Path(one.save()).stat().st_size > 0
        status = Path(f"/proc/{pid}/status").read_text()
        expected = NOBODY.pw_uid if os.geteuid() == 0 else os.geteuid()
        assert f"Uid:\t{expected}\t{expected}" in status
        assert os.stat(os.path.dirname(private)).st_mode & 0o077 == 0
    assert not alive(pid)
    assert not os.path.exists(os.path.dirname(private))
    with side(folder) as again, again.connect() as redis:
        assert redis.ask("DBSIZE") == 1


@pytest.mark.parametrize("content", [b"", b"garbage", b"REDIS0009\xff12345678"])
def test_bad_data_are_refused_with_the_words_of_redis(folder: Path, content: bytes) -> None:
    (folder / "dump.rdb").write_bytes(content)
    before = set(glob.glob("/tmp/redis-side-*"))
    with pytest.raises(SideFailed) as failure, side(folder):
        pass
    assert failure.value.code == "refused"
    assert "RDB" in str(failure.value)
    assert set(glob.glob("/tmp/redis-side-*")) - before == set()


def test_no_room_no_server_and_no_time_are_told_apart(folder: Path) -> None:
    with pytest.raises(SideFailed, match="bytes of memory") as failure, side(folder, expects=10**15):
        pass
    assert failure.value.code == "no_room"
    for program in ("/nowhere/redis-server", sys.executable):
        with pytest.raises(SideFailed, match="redis_recovery_server"), SideInstance(program, str(folder), time.monotonic() + 5):
            pass
    with pytest.raises(SideFailed, match="in time") as failure, side(folder, seconds=-1):
        pass
    assert failure.value.code == "timeout"


def test_it_dies_with_the_one_who_started_it(folder: Path) -> None:
    script = (
        "import sys, time\n"
        "from ansible_collections.somabrain.incident_response.plugins.module_utils"
        "._redis.side import SideInstance, find_server\n"
        "with SideInstance(find_server(''), sys.argv[1], time.monotonic() + 30) as one:\n"
        "    print(one.pid, one.address.path, flush=True)\n"
        "    time.sleep(30)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        told, path = starter.stdout.readline().split()
        assert alive(int(told))
        starter.send_signal(signal.SIGKILL)
    shutil.rmtree(os.path.dirname(path))
    end = time.monotonic() + 5
    while alive(int(told)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(int(told))
