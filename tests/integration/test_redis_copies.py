# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies onto real small, full and read-only disks, of files that cannot be read, and of more bytes than memory is given."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._system import copies as system_copies
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.copies import CopyRefused, copy_tree, verify_copy

MB = 1024 * 1024


def soon() -> float:
    return time.monotonic() + 60


@pytest.fixture
def small_disk(tmp_path: Path) -> t.Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.rdb", "b.rdb", "c.rdb"):
        (folder / name).write_bytes(os.urandom(2 * MB))
    return folder


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(os.urandom(MB // 4))


def refused(source: Path, dest: Path) -> CopyRefused:
    with pytest.raises(CopyRefused) as error:
        copy_tree(str(source), str(dest), soon())
    return error.value


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(data: Path, small_disk: Path) -> None:
    assert refused(data, small_disk / "copy").code == "no_room"
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_is_refused_and_is_empty_again(data: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_copies, "MARGIN_BYTES", -(1 << 40))
    assert refused(data, small_disk / "copy").code == "no_room"
    assert list(small_disk.iterdir()) == []


def test_a_read_only_disk_is_refused(data: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_copies, "MARGIN_BYTES", -(1 << 40))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    error = refused(data, small_disk / "copy")
    assert (error.code, "Read-only file system" in error.text) == ("bad_input", True)


def test_data_on_a_read_only_and_full_disk_can_be_copied_away(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "data").mkdir()
    fill(small_disk / "data/dump.rdb")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    made = copy_tree(str(small_disk / "data"), str(tmp_path / "copy"), soon())
    assert made["bytes"] == (small_disk / "data/dump.rdb").stat().st_size > 3 * MB
    assert verify_copy(str(tmp_path / "copy"), soon()) == []


def test_more_bytes_than_memory_are_copied(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (tmp_path / "data/dump.rdb").open("wb") as file:
        for _turn in range(256):
            file.write(b"x" * MB)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            # Address space for 64 MB on top of what Python has; the file has 256.
            resource.setrlimit(resource.RLIMIT_AS, (used + 64 * MB, used + 64 * MB))
            made = copy_tree(str(tmp_path / "data"), str(tmp_path / "copy"), soon())
            code = 0 if made["bytes"] == 256 * MB and verify_copy(made["path"], soon()) == [] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not read")
def test_a_file_that_may_not_be_read_is_refused() -> None:
    # Not pytest's own folder: nobody may not enter that.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        for path in (data, work):
            path.mkdir(mode=0o700)
        (data / "b.rdb").write_bytes(b"REDIS")
        (data / "b.rdb").chmod(0)
        for path in (Path(folder), data, work, data / "b.rdb"):
            os.chown(path, 65534, 65534)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgid(65534)
                os.setuid(65534)
                copy_tree(str(data), str(work / "copy"), soon())
            except CopyRefused as error:
                code = 0 if error.code == "data_damaged" and "b.rdb cannot be opened" in error.text and not list(work.iterdir()) else 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
