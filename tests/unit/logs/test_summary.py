# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole summaries of real files: every kind of source, windows, what is cut, what cannot be read, and hostile text."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs import sources, summary, window
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.scan import Batch
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import Window, rfc3339
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import log_summary_info

NOW = 1796094000.0
Answer = t.Dict[str, t.Any]


def run(*given: t.Mapping[str, t.Any], **options: t.Any) -> Answer:
    spec = log_summary_info.ARGUMENT_SPEC
    full = [{**{name: rule.get("default") for name, rule in spec["sources"]["options"].items()}, **source} for source in given]
    params = {**{name: rule.get("default") for name, rule in spec.items()}, "sources": full, **options}
    answer = log_summary_info.run(params, False)
    json.dumps(answer)
    return answer


def line(at: float, text: str) -> bytes:
    return f"{rfc3339(at)} {text}\n".encode()


def a_log(path: Path, minutes: int = 60, each: int = 20, start: float = NOW - 3600) -> Path:
    """Write a sorted log: in each minute an error, and other lines."""
    with path.open("wb") as file:
        for number in range(minutes * each):
            at = start + number * 60 / each
            file.write(line(at, "ERROR recall 17 failed" if number % each == 0 else f"INFO request {number} is done"))
    return path


def counts(answer: Answer) -> dict[str, int]:
    return {row["masked"]: row["count"] for row in answer["errors"]}


def test_one_file(tmp_path: Path) -> None:
    answer = run({"path": str(a_log(tmp_path / "x.log")), "name": "api"})
    assert counts(answer) == {"<time> ERROR recall <n> failed": 60}
    row = answer["errors"][0]
    assert (row["first_at"], row["last_at"], row["sources"]) == (rfc3339(NOW - 3600), rfc3339(NOW - 60), {"api": 60})
    assert (answer["raw"]["lines"], answer["raw"]["different"], answer["raw"]["exact"]) == (60, 60, True)
    assert answer["first_error"]["at"] == rfc3339(NOW - 3600)
    assert answer["first_error"]["before"] == []
    assert [text.rpartition("INFO ")[2] for text in answer["first_error"]["after"]] == [
        f"request {number} is done" for number in range(1, 6)
    ]
    assert answer["say"][0].startswith(f"first error {rfc3339(NOW - 3600)} in api: ")


@pytest.mark.parametrize("big", [False, True], ids=["filtered", "searched"])
@pytest.mark.parametrize(("since", "until"), [(-1800, -600), (-1800, None), (None, -600), (-9000, -8000), (600, 900)])
def test_only_the_window_counts(big: bool, since: float | None, until: float | None, tmp_path: Path) -> None:
    path = a_log(tmp_path / "x.log", each=600 if big else 20)
    os.utime(path, (NOW, NOW))
    asked = Window(None if since is None else NOW + since, None if until is None else NOW + until)
    answer = summary.load_summary(summary.Asked([{"path": str(path)}], asked, NOW, time.monotonic() + 60))
    wanted = sum(asked.holds(NOW - 3600 + 60 * minute) for minute in range(60))
    assert answer["raw"]["lines"] == wanted
    if big and since == -1800 and until:
        assert answer["sources"][0]["bytes"] < path.stat().st_size / 2


def test_a_log_out_of_order_is_filtered_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    lines = a_log(path, each=600).read_bytes().splitlines(keepends=True)
    random.Random(3).shuffle(lines)
    path.write_bytes(b"".join(lines))
    asked = Window(NOW - 1800, NOW - 600)
    answer = summary.load_summary(summary.Asked([{"path": str(path)}], asked, NOW, time.monotonic() + 60))
    assert answer["raw"]["lines"] == 20


def test_lines_without_a_time_belong_to_the_line_before(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(line(NOW - 900, "ERROR old") + b"OldError: x\n" + line(NOW - 300, "ERROR new") + b"NewError: x\n")
    os.utime(path, (NOW, NOW))
    asked = Window(NOW - 600, None)
    answer = summary.load_summary(summary.Asked([{"path": str(path)}], asked, NOW, time.monotonic() + 60))
    assert counts(answer) == {"<time> ERROR new": 1, "NewError: x": 1}
    assert {row["first_at"] for row in answer["errors"]} == {rfc3339(NOW - 300)}
    assert sum(row["errors"] for row in answer["rates"]) == 2


def test_a_log_without_any_time_counts_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"ERROR:api:x\nINFO:api:y\n")
    answer = run({"path": str(tmp_path / "x.log")}, since="15m")
    assert answer["raw"]["lines"] == 1
    assert answer["sources"][0]["notes"] == [
        "2 lines before the first with a time were counted: whether they are in the window is not known"
    ]


PACKED: dict[str, t.Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("ending", [*PACKED, "zst"])
def test_a_compressed_file(ending: str, tmp_path: Path) -> None:
    plain = a_log(tmp_path / "x.log")
    path = tmp_path / f"old.log.{ending}"
    if ending == "zst":
        if not shutil.which("zstd"):
            pytest.skip("no zstd here")
        subprocess.run(["zstd", "-q", str(plain), "-o", str(path)], check=True)
    else:
        path.write_bytes(PACKED[ending](plain.read_bytes()))
    answer = run({"path": str(path)})
    assert answer["raw"]["lines"] == 60
    assert answer["first_error"]["found"]
    assert answer["sources"][0]["error"] == ""
    path.write_bytes(path.read_bytes()[:-30])
    broken = run({"path": str(path)}, {"path": str(plain)})
    assert broken["sources"][0]["error"]
    assert broken["sources"][1] == {**broken["sources"][1], "error": "", "raw_lines": 60}


def test_rotated_files_are_read_as_far_as_the_window_goes(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    for number, name in enumerate(["x.log", "x.log.1", "x.log.2.gz", "x.log-20261130", "x.log.3"]):
        text = line(NOW - 600 * number - 60, f"ERROR of {'abcde'[number]}")
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        os.utime(tmp_path / name, (NOW - 600 * number, NOW - 600 * number))
    # Being compressed right now: the same lines twice.
    (tmp_path / "x.log.1.gz").write_bytes(gzip.compress((tmp_path / "x.log.1").read_bytes()))
    asked = Window(NOW - 2000, None)
    answer = summary.load_summary(summary.Asked([{"path": str(path)}], asked, NOW, time.monotonic() + 60))
    assert counts(answer) == {f"<time> ERROR of {name}": 1 for name in "abcd"}
    assert [os.path.basename(name) for name in answer["sources"][0]["files"]] == ["x.log-20261130", "x.log.2.gz", "x.log.1", "x.log"]
    assert answer["first_error"]["line"].endswith("ERROR of d")


def test_a_program(tmp_path: Path) -> None:
    path = a_log(tmp_path / "x.log")
    answer = run(
        {"argv": ["cat", str(path)]},
        {"argv": [sys.executable, "-c", "import sys; print('ERROR a', flush=True); sys.exit('no such \\x1b[31mpod')"]},
    )
    assert [source["raw_lines"] for source in answer["sources"]] == [60, 1]
    assert [source["error"] for source in answer["sources"]][0] == ""
    assert answer["sources"][1]["error"].endswith("ended with 1: no such \\x1b[31mpod")
    assert run({"argv": ["no-such-program"]})["sources"][0]["error"] == "no-such-program is not installed here"


def test_the_time_of_docker_is_no_part_of_what_is_ranked() -> None:
    asked = summary.Asked([{"container": "x"}], Window(), NOW, time.monotonic() + 60)
    one = summary.Summary(asked, [sources.Part(0, "x", "program", argv=("true",), stamped=True)])
    one.add(Batch(0, 0, line(NOW - 60, "ERROR a") + line(NOW, "ERROR a").rstrip()))
    assert one.top(lambda: iter([])) == ([(2, b"ERROR a")], 1)
    assert dict(one.minutes.counts) == {int(NOW // 60) - 1: 1, int(NOW // 60): 1}


def test_a_program_that_hangs_costs_the_time_that_was_given() -> None:
    begun = time.monotonic()
    answer = run({"argv": ["sh", "-c", "echo ERROR a; sleep 60"]}, seconds=1.5)
    assert time.monotonic() - begun < 10
    assert answer["raw"]["top"] == [{"count": 1, "line": "ERROR a"}]
    assert answer["sources"][0]["notes"] == ["the time was over before all of it was read (1 of 1 parts): raise seconds for more"]


def test_what_cannot_be_read_is_named_and_the_rest_is_complete(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ["none", "folder", "pipe", "empty", "loop", "no*match"]
    answer = run(
        *({"path": str(tmp_path / name), "name": name} for name in names), {"path": str(a_log(tmp_path / "x.log")), "name": "good"}
    )
    errors = {source["name"]: source["error"] or source["notes"][0] for source in answer["sources"] if source["error"] or source["notes"]}
    assert {name: text.replace(str(tmp_path), "") for name, text in errors.items()} == {
        "none": "/none cannot be read: No such file or directory",
        "folder": "/folder is not a regular file",
        "pipe": "/pipe is not a regular file",
        "empty": "no log line was found",
        "loop": "/loop cannot be read: Too many levels of symbolic links",
        "no*match": "no file matches /no*match",
    }
    assert answer["raw"]["lines"] == 60
    assert len([text for text in answer["say"] if "cannot be read" in text]) == 2


@pytest.mark.parametrize("grep", [None, ""], ids=["grep", "python"])
def test_hostile_bytes_are_literal_and_secrets_are_not_shown(grep: str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(
        b"ERROR {{ lookup('pipe','id') }} $(id) \x1b[31m \xe2\x80\xae <script>\0\xff\r\n"
        b"ERROR login failed password=hunter2secret for x\nERROR Bearer abc12def34567 refused\nERROR postgres://u:pa55word@db/x"
    )
    answer = summary.load_summary(summary.Asked([{"path": str(path)}], Window(), NOW, time.monotonic() + 60, grep=grep))
    text = json.dumps(answer, ensure_ascii=False)
    assert answer["raw"]["lines"] == 4
    assert text.isprintable()
    assert "$(id) \\\\x1b[31m \\\\u202e <script>\\\\x00\\\\xff" in text
    assert [word for word in ("hunter", "abc12", "abc<n>", "def34", "pa55word", "pa<n>word") if word in text] == []


def test_only_so_many_bytes_are_read_and_it_says_so(tmp_path: Path) -> None:
    path = a_log(tmp_path / "x.log", each=600)
    size = path.stat().st_size
    answer = run({"path": str(path)}, {"argv": ["cat", str(path)]}, max_bytes=1 << 20)
    files, program = answer["sources"]
    assert files["notes"] == [f"only the newest {1 << 20} of {size} bytes were read: raise max_bytes for more"]
    assert files["bytes"] <= 1 << 20
    assert program["notes"] == [f"reading stopped after {1 << 20} bytes: raise max_bytes for more"]
    assert 0 < program["bytes"] < size
    assert answer["errors"][0]["last_at"] == rfc3339(NOW - 60)


def test_a_file_in_pieces_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_log(tmp_path / "x.log", each=200)
    whole = run({"path": str(path)})
    monkeypatch.setattr(summary, "SPLIT", 1 << 16)
    pieces = run({"path": str(path)})
    assert pieces == {**whole, "seconds": pieces["seconds"]}


def test_a_file_that_becomes_shorter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_log(tmp_path / "x.log")
    real = window.in_window

    def cut(*given: t.Any) -> t.Any:
        path.write_bytes(b"ERROR only this\n")
        return real(*given)

    monkeypatch.setattr(summary, "in_window", cut)
    answer = run({"path": str(path)})
    assert answer["raw"]["top"] == [{"count": 1, "line": "ERROR only this"}]
    assert answer["sources"][0]["error"].endswith("x.log became shorter while it was read")


@pytest.mark.parametrize(
    ("uid", "groups", "sees"), [(0, [], True), (1000, ["adm"], True), (1000, ["systemd-journal"], True), (1000, ["tty"], False)]
)
def test_who_may_read_the_journal(uid: int, groups: list[str], sees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setattr("os.getegid", lambda: 987654)
    monkeypatch.setattr("os.getgroups", lambda: range(len(groups)))
    monkeypatch.setattr("grp.getgrgid", lambda number: type("Group", (), {"gr_name": dict(enumerate(groups)).get(number, "none")}))
    assert sources.sees_journal() is sees


def test_rates_around_a_change(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    change = NOW - 1200
    text = [line(change + 60 * minute + second, "ERROR x") for minute in range(-10, 10) for second in range(2 if minute < 0 else 8)]
    path.write_bytes(b"".join(text))
    os.utime(path, (NOW, NOW))
    asked = summary.Asked([{"path": str(path)}], Window(change - 600, change + 600), NOW, time.monotonic() + 60, change=change)
    answer = summary.load_summary(asked)
    assert answer["around"] == {
        "moment": rfc3339(change), "before_minutes": 10, "after_minutes": 10, "before_per_minute": 2.0, "after_per_minute": 8.0,
    }  # fmt: skip
    assert [row["errors"] for row in answer["rates"]] == [2] * 10 + [8] * 10


def test_the_runbooks_ranking_alone(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"ERROR b\nERROR a\npanic: x\nERROR b\n")
    answer = run({"path": str(tmp_path / "x.log")}, masked=False)
    assert answer["raw"]["top"] == [{"count": 2, "line": "ERROR b"}, {"count": 1, "line": "ERROR a"}]
    assert "errors" not in answer
    assert answer["say"] == ["2 x ERROR b", "1 x ERROR a"]


def test_a_line_that_never_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"ERROR a\n" + b"ERROR " + b"x" * (4 << 20))
    answer = run({"path": str(path)})
    assert (answer["raw"]["lines"], answer["raw"]["different"]) == (2, 2)
    assert {row["masked"][:8] for row in answer["errors"]} == {"ERROR a", "ERROR xx"}


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ({}, {}, "sources[0] has none or several of path"),
        ({"path": "/x", "unit": "y"}, {}, "give exactly one"),
        ({"unit": "--flush"}, {}, "begins with a dash"),
        ({"path": "/x"}, {"since": "2024-10-16 14:25:00"}, "since is 2024-10-16 14:25:00, which has no time zone"),
        ({"path": "/x"}, {"change_at": "2024-10-16 14:25:00"}, "change_at is 2024-10-16 14:25:00, which has no time zone"),
        ({"path": "/x"}, {"top": 0}, "top is 0"),
    ],
)
def test_what_cannot_work_is_refused_by_name(source: dict[str, str], options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(StepError) as error:
        run(source, **options)
    assert words in str(error.value)


def test_a_time_with_a_zone_after_the_second_is_not_mistaken(tmp_path: Path) -> None:
    keeper = window.Keeper(Window(NOW, NOW + 60), NOW, True)
    stamp = str(rfc3339(NOW)).rstrip("Z")
    assert [keeper.keeps(f"{stamp}{zone} x".encode()) for zone in ("Z", "Z")] == [True, True]
    assert window.Keeper(Window(NOW, NOW + 60), NOW, True).keeps(f"{stamp}+02:00 x".encode()) is False
