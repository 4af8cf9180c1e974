# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose the data directory is before it is given away: tables of owners, and real links on the way to it."""

from __future__ import annotations

import os
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.own import judge_owners, why_not
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.place import load_place
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_data_dir

REDIS = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")


@pytest.mark.parametrize(
    ("owner", "entries", "uid", "says"),
    [
        (0, [], REDIS, ""),
        (0, [("dump.rdb", REDIS), ("appendonlydir", REDIS)], REDIS, ""),
        (0, [("dump.rdb", REDIS), ("before-2026-x", 0), ("lost+found", 0)], REDIS, ""),
        (0, [("dump.rdb", REDIS), ("app.conf", 0)], REDIS, "app.conf (user 0)"),
        (0, [("dump.rdb", 0)], REDIS, "dump.rdb (user 0)"),
        (1, [("dump.rdb", 1)], REDIS, "belongs to user 1"),
        (REDIS, [("dump.rdb", 1)], REDIS, "dump.rdb (user 1)"),
        (REDIS, [("before-x", 1)], REDIS, "before-x (user 1)"),
        (7, [("dump.rdb", 7)], None, ""),
        (7, [("dump.rdb", 8)], None, "dump.rdb (user 8)"),
    ],
)
def test_a_directory_that_is_not_only_of_redis_is_not_given_away(
    owner: int, entries: list[tuple[str, int]], uid: t.Optional[int], says: str
) -> None:
    found = judge_owners("/data", owner, entries, uid)
    assert says in found
    assert bool(found) == bool(says)


@pytest.fixture
def top() -> t.Iterator[Path]:
    # Its parents are those of the system, unlike those of tmp_path.
    with tempfile.TemporaryDirectory(prefix="sb-own-", dir="/tmp") as folder:
        yield Path(folder)


@as_root
@pytest.mark.parametrize("where", ["itself", "above"])
def test_nothing_is_given_away_through_a_link(top: Path, where: str) -> None:
    (top / "victim" / "data").mkdir(parents=True)
    link, path = (top / "link", "link") if where == "itself" else (top / "way", "way/data")
    link.symlink_to(top / "victim")
    assert "is a link" in why_not(str(top / path), REDIS)
    with pytest.raises(StepError, match="is a link"):
        redis_data_dir.run({"path": str(top / path), "uid": REDIS, "mode": "", "stage": "act"}, False)
    assert [(top / one).stat().st_uid for one in ("victim", "victim/data")] == [0, 0]
    os.chown(link, REDIS, REDIS, follow_symlinks=False)
    assert load_place(str(top / path), {}, {}, "", REDIS)["link"] == str(link)


@as_root
def test_a_directory_is_given_back_and_taken_back(top: Path) -> None:
    data = top / "data"
    data.mkdir(mode=0o500)
    (data / "dump.rdb").write_bytes(b"x")
    os.chown(data / "dump.rdb", REDIS, REDIS)
    asked = {"path": str(data), "uid": REDIS, "mode": "", "stage": "act"}
    assert redis_data_dir.run(asked, True)["changed"]
    assert data.stat().st_uid == 0
    given = redis_data_dir.run(asked, False)
    assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (REDIS, 0o700)
    redis_data_dir.run(dict(asked, uid=given["before"]["owner"], mode=given["before"]["mode"], stage="undo"), False)
    assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (0, 0o500)


@as_root
@pytest.mark.parametrize(("owner", "mode", "says"), [(0, 0o755, ""), (REDIS, 0o755, ""), (1, 0o755, "user 1"), (0, 0o775, "mode 0775")])
def test_a_path_that_others_can_change_is_no_proof(top: Path, owner: int, mode: int, says: str) -> None:
    data = top / "above" / "data"
    data.mkdir(parents=True)
    os.chown(top / "above", owner, -1)
    (top / "above").chmod(mode)
    found = why_not(str(data), REDIS)
    assert says in found
    assert bool(found) == bool(says)


@as_root
def test_the_dump_of_a_third_user_is_foreign_and_that_of_root_is_not(top: Path) -> None:
    for name, owner in (("a.rdb", 0), ("b.rdb", 1), ("c.rdb", REDIS)):
        (top / name).touch()
        os.chown(top / name, owner, -1)
    assert load_place(str(top), {}, {}, "", REDIS)["foreign"] == ["b.rdb"]
