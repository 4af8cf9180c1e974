# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of data directories: what a whole one holds, and every reason for which there is none."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import copies as system_copies
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.copies import CopyRefused, copy_tree, verify_copy

Spoil = t.Callable[[Path, pytest.MonkeyPatch], None]


def soon() -> float:
    return time.monotonic() + 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "dump.rdb").write_bytes(os.urandom(3000))
    (folder / "appendonlydir/a.manifest").write_text("file a.1.base.rdb seq 1 type b\n")
    (folder / "appendonlydir/a.1.base.rdb").write_bytes(os.urandom(system_copies.CHUNK + 17))
    (folder / "appendonlydir/a.1.incr.aof").write_bytes(b"")
    (folder / "dump.rdb").chmod(0o640)
    os.utime(folder / "dump.rdb", (1_000_000_000, 1_000_000_000.25))
    return folder


def dest_of(data: Path) -> Path:
    return data.parent / "work" / "run" / "copy"


def content(folder: Path) -> dict[str, tuple[t.Any, ...]]:
    """Return what can be said of everything below *folder*."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        body = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, body)
    return found


def test_the_copy_is_the_directory_byte_by_byte_with_its_modes_owners_and_times(data: Path) -> None:
    before = content(data)
    made = copy_tree(str(data), str(dest_of(data)), soon())
    assert content(dest_of(data)) == content(data) == before
    assert made["consistent"] is True
    assert made["bytes"] == sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    for one in made["files"]:
        assert one["sha256"] == hashlib.sha256((data / one["name"]).read_bytes()).hexdigest()
    assert made["sha256"] == system_copies.whole_digest(made["files"])
    assert verify_copy(str(dest_of(data)), soon()) == []


def test_nothing_but_the_copy_and_its_manifest_is_left(data: Path) -> None:
    copy_tree(str(data), str(dest_of(data)), soon())
    assert sorted(path.name for path in dest_of(data).parent.iterdir()) == ["copy", "copy.manifest.json"]


def test_a_second_copy_of_the_same_data_takes_the_first(data: Path) -> None:
    first = copy_tree(str(data), str(dest_of(data)), soon())
    inode = (dest_of(data) / "dump.rdb").stat().st_ino
    assert copy_tree(str(data), str(dest_of(data)), soon()) == first
    assert (dest_of(data) / "dump.rdb").stat().st_ino == inode


def test_a_copy_of_other_data_is_not_taken_and_not_touched(data: Path) -> None:
    copy_tree(str(data), str(dest_of(data)), soon())
    (data / "dump.rdb").write_bytes(b"other")
    before = content(dest_of(data).parent)
    with pytest.raises(CopyRefused, match="already exists") as refused:
        copy_tree(str(data), str(dest_of(data)), soon())
    assert refused.value.code == "bad_input"
    assert content(dest_of(data).parent) == before


def test_sockets_and_what_an_installation_put_aside_are_not_copied_and_that_is_told(data: Path) -> None:
    (data / "before-run").mkdir()
    (data / "before-run/dump.rdb").write_bytes(b"old")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(data)
        listener.bind("redis.sock")
        os.chdir(here)
        made = copy_tree(str(data), str(dest_of(data)), soon())
    assert sorted(made["skipped"]) == ["before-run", "redis.sock"]
    assert not (dest_of(data) / "before-run").exists()


def link(data: Path, patch: pytest.MonkeyPatch) -> None:
    (data / "x.rdb").symlink_to("/etc/passwd")


def folder_link(data: Path, patch: pytest.MonkeyPatch) -> None:
    (data / "y").symlink_to("/etc")


def pipe(data: Path, patch: pytest.MonkeyPatch) -> None:
    os.mkfifo(data / "pipe")


def odd_name(data: Path, patch: pytest.MonkeyPatch) -> None:
    (data / "a\nb").write_text("")


def no_room(data: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(system_copies, "MARGIN_BYTES", 1 << 60)


def no_directory(data: Path, patch: pytest.MonkeyPatch) -> None:
    data.rename(data.with_name("elsewhere"))
    data.write_text("a file")


def foreign_dest(data: Path, patch: pytest.MonkeyPatch) -> None:
    dest_of(data).mkdir(parents=True)
    (dest_of(data) / "precious").write_text("")


def left_by_another(data: Path, patch: pytest.MonkeyPatch) -> None:
    Path(str(dest_of(data)) + system_copies.PARTIAL).mkdir(parents=True)


def open_to_others(data: Path, patch: pytest.MonkeyPatch) -> None:
    dest_of(data).parent.mkdir(parents=True)
    dest_of(data).parent.chmod(0o777)


def linked_dest(data: Path, patch: pytest.MonkeyPatch) -> None:
    dest_of(data).parent.parent.mkdir()
    (data.parent / "target").mkdir()
    dest_of(data).parent.symlink_to(data.parent / "target")


def changing(data: Path, patch: pytest.MonkeyPatch) -> None:
    stream = system_copies._stream

    def and_write(*args: t.Any) -> t.Any:
        done = stream(*args)
        with (data / "dump.rdb").open("ab") as file:
            file.write(b"more")
        return done

    patch.setattr(system_copies, "_stream", and_write)


def growing(data: Path, patch: pytest.MonkeyPatch) -> None:
    stream = system_copies._stream

    def and_add(*args: t.Any) -> t.Any:
        (data / "added").write_text("")
        return stream(*args)

    patch.setattr(system_copies, "_stream", and_add)


def going(data: Path, patch: pytest.MonkeyPatch) -> None:
    stream = system_copies._stream

    def and_remove(*args: t.Any) -> t.Any:
        (data / "dump.rdb").unlink(missing_ok=True)
        return stream(*args)

    patch.setattr(system_copies, "_stream", and_remove)


def lying_disk(data: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(system_copies, "_digest", lambda descriptor, end: ("0" * 64, 0))


REFUSED: list[tuple[Spoil, str, str]] = [
    (link, "data_damaged", "x.rdb is a symbolic link"),
    (folder_link, "data_damaged", "y is a symbolic link"),
    (pipe, "data_damaged", "pipe is no regular file"),
    (odd_name, "data_damaged", "no plain text"),
    (no_room, "no_room", "free"),
    (no_directory, "bad_input", "cannot open the directory"),
    (foreign_dest, "bad_input", "already exists"),
    (left_by_another, "bad_input", "already exists"),
    (open_to_others, "bad_input", "that we own"),
    (linked_dest, "bad_input", "that we own"),
    (changing, "state_not_handled", "something is writing"),
    (growing, "state_not_handled", "something is writing"),
    (going, "state_not_handled", "(disappeared|something is writing)"),
    (lying_disk, "data_damaged", "do not trust its disk"),
]


@pytest.mark.parametrize(("spoil", "code", "text"), REFUSED, ids=[one[0].__name__ for one in REFUSED])
def test_refused_with_a_reason_and_nothing_of_the_copy_is_left(
    data: Path, monkeypatch: pytest.MonkeyPatch, spoil: Spoil, code: str, text: str
) -> None:
    spoil(data, monkeypatch)
    work = dest_of(data).parent
    before = content(work)
    with pytest.raises(CopyRefused, match=text) as refused:
        copy_tree(str(data), str(dest_of(data)), soon())
    assert refused.value.code == code
    assert code in REASONS
    assert len(refused.value.text) < 400
    assert content(work) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of two owners")
@pytest.mark.parametrize("name", ["dump.rdb", "appendonlydir", "appendonlydir/a.1.base.rdb"])
def test_files_of_two_owners_are_refused(data: Path, name: str) -> None:
    os.chown(data / name, 12345, 0)
    with pytest.raises(CopyRefused, match="several owners") as refused:
        copy_tree(str(data), str(dest_of(data)), soon())
    assert refused.value.code == "data_damaged"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_is_kept(data: Path) -> None:
    for path in [data, *data.rglob("*")]:
        os.chown(path, 12345, 54321)
    copy_tree(str(data), str(dest_of(data)), soon())
    assert {(path.stat().st_uid, path.stat().st_gid) for path in [dest_of(data), *dest_of(data).rglob("*")]} == {(12345, 54321)}


def test_out_of_time_leaves_nothing(data: Path) -> None:
    with pytest.raises(CopyRefused, match="ran out of time") as refused:
        copy_tree(str(data), str(dest_of(data)), time.monotonic() - 1)
    assert refused.value.code == "state_not_handled"
    assert content(data.parent / "work") == {}


@pytest.mark.parametrize("spoil", [changing, growing, going], ids=lambda one: str(one.__name__))
def test_a_living_directory_is_copied_and_told_to_be_inconsistent(data: Path, monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    spoil(data, monkeypatch)
    made = copy_tree(str(data), str(dest_of(data)), soon(), live=True)
    assert made["consistent"] is False
    assert verify_copy(str(dest_of(data)), soon()) == []


def test_a_living_directory_that_did_not_change_is_consistent(data: Path) -> None:
    assert copy_tree(str(data), str(dest_of(data)), soon(), live=True)["consistent"] is True


def test_a_folder_that_becomes_a_link_is_not_followed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("a.manifest", "a.1.base.rdb", "a.1.incr.aof"):
        (secret / name).write_text("secret")
    judge = system_copies._judge_place

    def and_swap(dest: str, tree: t.Any) -> None:
        judge(dest, tree)
        (data / "appendonlydir").rename(data / "moved")
        (data / "appendonlydir").symlink_to(secret)

    monkeypatch.setattr(system_copies, "_judge_place", and_swap)
    with pytest.raises(CopyRefused, match="cannot be opened"):
        copy_tree(str(data), str(dest_of(data)), soon())
    assert content(dest_of(data).parent) == {}


def flip(copy: Path) -> None:
    body = bytearray((copy / "dump.rdb").read_bytes())
    body[7] ^= 1
    (copy / "dump.rdb").write_bytes(bytes(body))


def drop(copy: Path) -> None:
    (copy / "appendonlydir/a.1.incr.aof").unlink()


def add(copy: Path) -> None:
    (copy / "added").write_text("")


def forge(copy: Path) -> None:
    path = Path(str(copy) + system_copies.MANIFEST)
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0', 1))


def lose(copy: Path) -> None:
    Path(str(copy) + system_copies.MANIFEST).unlink()


@pytest.mark.parametrize("spoil", [flip, drop, add, forge, lose], ids=lambda one: str(one.__name__))
def test_a_copy_that_changed_is_told(data: Path, spoil: t.Callable[[Path], None]) -> None:
    copy_tree(str(data), str(dest_of(data)), soon())
    spoil(dest_of(data))
    assert verify_copy(str(dest_of(data)), soon()) != []


def test_a_copy_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert verify_copy(str(tmp_path / "none"), soon()) != []


def test_memory_is_bounded_by_the_chunk(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    read = os.read

    def seen(descriptor: int, count: int) -> bytes:
        sizes.append(count)
        return read(descriptor, count)

    monkeypatch.setattr(os, "read", seen)
    copy_tree(str(data), str(dest_of(data)), soon())
    assert max(sizes) <= system_copies.CHUNK
