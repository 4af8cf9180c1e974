# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recover-redis on the relatives of Redis that Debian's suites have: killed, and with an append-only file that ends too early."""

from __future__ import annotations

import os
import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest
from farms.redis import SUPERVISORD, Farm, farmed
from farms.relatives import Unavailable, unpacked

pytestmark = [pytest.mark.long, pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed")]


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-kin-") as made:
        yield made


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> t.Iterator[Path]:
    suite, package = request.param
    # A short name: that of the loader has to fit into the program.
    folder = Path(tempfile.mkdtemp(prefix="sb", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield unpacked(folder, suite, package)
    except Unavailable as why:
        pytest.skip(str(why))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("programs", "package"),
    [(("trixie", "redis"), "redis"), (("trixie", "valkey"), "valkey"), (("sid", "valkey"), "valkey")],
    indirect=["programs"],
    ids=["redis-8", "valkey-8", "valkey-9"],
)
def test_a_relative_is_recovered_as_redis_is(farm: Farm, programs: Path, package: str, request: pytest.FixtureRequest) -> None:
    redis = farm.make(request.node.callspec.id.partition("-")[0] + programs.parent.name, "appendonly yes\nsave 3600 1000\n")
    farm.recommand(redis, f"{programs}/{package}-server {redis.config}")
    redis.start()
    redis.write(60)
    assert redis.ask("SAVE") == "OK"
    redis.kill()
    server = {"redis_recovery_server": str(programs / f"{package}-server")}
    run = redis.recover(**server)
    assert (run.word, run.acts, redis.ask("DBSIZE")) == ("recovered", ["start"], 60), run.text
    redis.write(40, prefix="more")
    redis.kill()
    # Some servers begin another incremental file at each start.
    end = max(
        (one for one in (redis.data / "appendonlydir").glob("*.incr.aof") if one.stat().st_size), key=lambda one: one.stat().st_mtime_ns
    )
    os.truncate(end, end.stat().st_size - 3)
    refused = redis.recover(**server)
    assert (refused.code, refused.states[0]) == ("approval_needed", "down_bad_file"), refused.text
    recommended = refused.outcome["reasons"][0]["plans"][0]
    assert recommended["name"] in ("cut", "salvage"), refused.text
    run = redis.recover(remediation_approval=recommended["token"], **server)
    assert run.rc == 0, run.text
    assert redis.ask("DBSIZE") == 99
