# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence is capped at its source, redacted, hashed, and never waits; what is missing is named."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import resource
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import evidence


def item(**given: t.Any) -> dict[str, t.Any]:
    defaults = {name: option.get("default") for name, option in evidence.SUBOPTIONS.items()}
    return {**defaults, "name": "x", **given}


def command(*argv: str, **given: t.Any) -> dict[str, t.Any]:
    return item(kind="command", argv=list(argv), **given)


def python(code: str, **given: t.Any) -> dict[str, t.Any]:
    return command(sys.executable, "-c", code, **given)


def test_a_short_file_is_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntwo\n")
    assert evidence.load_item(item(kind="file", path=str(tmp_path / "log")))["content"] == b"one\ntwo\n"


def test_of_a_long_file_the_end_is_kept_from_a_whole_line_on(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("password=hunter2hunter2\n" + "line\n" * 10)
    kept = evidence.load_item(item(kind="file", path=str(tmp_path / "log"), max_bytes=60))["content"]
    assert kept == b"line\n" * 10


def test_a_key_whose_first_line_was_cut_off_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("-----BEGIN PRIVATE KEY-----\n" + "c2VjcmV0\n" * 30 + "-----END PRIVATE KEY-----\nafter\n")
    kept = evidence.load_item(item(kind="file", path=str(tmp_path / "log"), max_bytes=150))["content"]
    assert b"c2VjcmV0" not in kept
    assert b"after" in kept


def test_secrets_are_taken_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("requirepass hunter2hunter2\nAuthorization: Bearer abcdef123456\nplain\n")
    kept = evidence.load_item(item(kind="file", path=str(tmp_path / "log")))["content"].decode()
    assert "hunter2" not in kept
    assert "abcdef123456" not in kept
    assert "plain" in kept


@pytest.mark.parametrize("text", ["a." * 100_000, "password" * 30_000, "auth " * 40_000, "-----BEGIN " * 20_000])
def test_no_text_makes_redaction_slow(tmp_path: Path, text: str) -> None:
    (tmp_path / "log").write_text(text)
    begun = time.monotonic()
    evidence.load_item(item(kind="file", path=str(tmp_path / "log")))
    # Going back and forth over this would take hours.
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "file", "path": "/nonexistent"}, "No such file"),
        ({"kind": "file", "path": "/"}, "irectory"),
        ({"kind": "file", "path": "/dev/zero"}, "not a regular file"),
        ({"kind": "file", "path": "a\0b"}, "null"),
        ({"kind": "file"}, "needs a path"),
        ({"kind": "command", "argv": ["/nonexistent/tool"]}, "No such file"),
        ({"kind": "command", "argv": []}, "needs an argv"),
        ({"kind": "command", "argv": ["sleep", "30"], "timeout": 0.2}, "did not finish within"),
    ],
)
def test_what_cannot_be_read_is_missing_and_says_why(wrong: dict[str, t.Any], words: str) -> None:
    begun = time.monotonic()
    loaded = evidence.load_item(item(**wrong))
    assert loaded["content"] is None
    assert words in loaded["error"]
    assert time.monotonic() - begun < 2


def test_what_a_command_that_failed_printed_is_kept_and_told_apart(tmp_path: Path) -> None:
    captured = evidence.capture([command("sh", "-c", "echo cannot connect; exit 3", name="log"), command("echo", "fine", name="b")], 1000)
    assert (captured[0]["content"], captured[0]["error"], captured[1]["error"]) == (b"cannot connect\n", "sh ended with exit code 3", "")
    stored = evidence.store(str(tmp_path / "evidence" / "R1"), captured)
    assert (stored["ok"], stored["missing"], stored["doubtful"]) == (True, {}, {"log": "sh ended with exit code 3"})


def test_a_pipe_in_place_of_a_log_does_not_hold_up_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    assert "not a regular file" in evidence.load_item(item(kind="file", path=str(tmp_path / "log")))["error"]


def test_of_an_endless_command_only_the_cap_is_held_in_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = "import sys\nfor n in range(3000): sys.stdout.write('x' * 99999 + chr(10))"
    loaded = evidence.load_item(python(code, max_bytes=100_000, timeout=20.0))
    assert len(loaded["content"]) <= 100_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_grandchild_that_keeps_the_pipe_open_is_ended_with_its_parent(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import subprocess\np = subprocess.Popen(['sleep', '30'])\nopen({str(pid)!r}, 'w').write(str(p.pid))"
    begun = time.monotonic()
    assert "did not finish" in evidence.load_item(python(code, timeout=1.0))["error"]
    # Going back and forth over this would take hours.
    assert time.monotonic() - begun < 60
    time.sleep(0.1)
    stat = Path(f"/proc/{pid.read_text()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_total_cap_leaves_out_what_comes_last() -> None:
    captured = evidence.capture([command("printf", "12345", name="a"), command("printf", "67890", name="b")], 7)
    assert [one["content"] for one in captured] == [b"12345", None]
    assert "remediation_evidence_max_bytes" in captured[1]["error"]


def test_stored_evidence_is_hashed_private_and_never_overwritten(tmp_path: Path) -> None:
    captured = [
        {"name": name, "content": name.encode(), "error": "", "required": False}
        for name in ("log", "log", "../../etc/passwd", "..", "a b\0")
    ]
    stored = evidence.store(str(tmp_path / "evidence" / "R1"), captured)
    assert stored["ok"]
    assert [re.sub(r"-[0-9a-f]{8}$", "-#", name) for name in stored["files"]] == ["log", "log.2", "_.._etc_passwd-#", "x-#", "a_b_-#"]
    assert sorted(path.name for path in (tmp_path / "evidence/R1").iterdir()) == sorted(stored["files"])
    assert stored["files"]["log"] == {"sha256": hashlib.sha256(b"log").hexdigest(), "bytes": 3}
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "evidence").rglob("*")} == {0}


@pytest.mark.parametrize(("required", "ok"), [(True, False), (False, True)])
def test_only_required_evidence_that_is_missing_stops_the_run(tmp_path: Path, required: bool, ok: bool) -> None:
    stored = evidence.store(str(tmp_path / "R1"), [{"name": "log", "content": None, "error": "gone", "required": required}])
    assert (stored["ok"], stored["missing"]) == (ok, {"log": "gone"})


def test_a_folder_that_cannot_be_written_is_told_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stored = evidence.store(str(tmp_path / "file" / "R1"), [])
    assert not stored["ok"]
    assert stored["error"]


def test_on_a_full_disk_room_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def full(path: str, content: bytes) -> None:
        calls.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evidence, "write_durably", full)
    captured = [{"name": "log", "content": b"x", "error": "", "required": False}]
    assert not evidence.store(str(tmp_path / "R1"), captured, lambda: True)["ok"]
    assert len(calls) == 2


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    evidence.write_durably(str(tmp_path / "out.json"), b"new")
    assert [(path.name, path.read_text(), path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("out.json", "new", 0o600)]


def test_a_device_is_never_replaced_by_a_file() -> None:
    with pytest.raises(OSError, match="is not a regular file"):
        evidence.write_durably("/dev/full", b"x")


def test_evidence_travels_from_target_to_keeper_unchanged() -> None:
    captured: list[dict[str, t.Any]] = [
        {"name": "a", "content": bytes(range(256)), "error": "", "required": True},
        {"name": "b", "content": None, "error": "gone", "required": False},
    ]
    assert evidence.unpacked(evidence.packed(captured)) == captured
