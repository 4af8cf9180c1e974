# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files held open for writing are data: below a data directory or on a mounted volume, and no log, lock, cache or SQLite."""

from __future__ import annotations

import mmap
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._system import data_files

CONTAINER = {"/": "overlay", "/dev": "tmpfs", "/state": "ext4", "/scratch": "tmpfs", "/etc/hosts": "ext4", "/app": "ext4"}
HOST = {"/": "ext4", "/var": "ext4", "/home": "xfs", "/mnt/disk1": "xfs", "/boot": "vfat"}
PATHS: list[tuple[dict[str, str], str, bool]] = [
    (HOST, "/var/lib/stored/0001.dat", True), (HOST, "/mnt/disk1/db/000012.sst", True), (HOST, "/srv/store/a.bin", True),
    (HOST, "/home/api/file", False), (HOST, "/var/log/api/a.dat", False), (HOST, "/var/lib/api/api.log", False),
    (HOST, "/var/lib/api/access.log.1", False), (HOST, "/var/lib/api/logs/x", False), (HOST, "/var/lib/api/audit_log.jsonl", False),
    (HOST, "/var/lib/api/api.pid", False), (HOST, "/var/lib/api/.cache/x", False), (HOST, "/tmp/x", False), (HOST, "/run/x", False),
    (HOST, "/var/lib/api/metrics/gauge_livesum_12.db", False), (HOST, "/opt/api/x", False), (HOST, "/var/lib/catalog.db", True),
    (CONTAINER, "/state/journal.jsonl", True), (CONTAINER, "/scratch/x", False), (CONTAINER, "/srv/x", True), (CONTAINER, "/code/x", False),
    (CONTAINER, "/app/data.bin", True), (CONTAINER, "/dev/shm/x", False), (CONTAINER, "/var/lib/x/y", True),
]  # fmt: skip


@pytest.mark.parametrize(("mounts", "path", "is_data"), PATHS, ids=[path for _mounts, path, _is_data in PATHS])
def test_data_lies_below_a_data_directory_or_on_a_volume(mounts: dict[str, str], path: str, is_data: bool) -> None:
    assert data_files.is_data(path, mounts) is is_data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of this test's own."""
    monkeypatch.setattr(data_files, "FOLDERS", (str(tmp_path) + "/",))
    monkeypatch.setattr(data_files, "FLEETING", ("/dev",))
    monkeypatch.setattr(data_files, "_NO_DATA", re.compile(r"\.log\Z"))
    monkeypatch.setattr(data_files, "OF_A_SYSTEM", ("/", *data_files.mounts_of(os.getpid())))
    return tmp_path


def test_only_what_is_open_for_writing_counts(folder: Path) -> None:
    pid = os.getpid()
    (folder / "read").write_text("x")
    with (folder / "read").open():
        assert [path for path in data_files.data_files([pid]) if path.startswith(str(folder))] == []
        with (folder / "a.dat").open("ab"):
            assert str(folder / "a.dat") in data_files.data_files([pid])
    assert data_files.data_files([2**22 + 1]) == []


def test_a_file_that_is_written_to_through_memory_counts(folder: Path) -> None:
    path = folder / "mapped.mdb"
    path.write_bytes(b"x" * 4096)
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4096)
    assert str(path) in data_files.data_files([os.getpid()])
    mapped.close()


def test_an_sqlite_file_is_none_for_what_is_committed_there_survives(folder: Path) -> None:
    link = sqlite3.connect(folder / "cache.db")
    link.execute("pragma journal_mode=wal")
    link.execute("create table a (b)")
    assert data_files.data_files([os.getpid()]) == []
    link.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the mounts are the kernel's")
def test_the_mounts_of_a_process_are_read() -> None:
    assert data_files.mounts_of(os.getpid())["/proc"] == "proc"
