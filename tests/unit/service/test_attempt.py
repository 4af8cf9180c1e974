# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a service did not start is read from that attempt alone, in any language, and an old line does not outlive a changed cause."""

from __future__ import annotations

import functools
import os
import re
import socket
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt import causes, read
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.judge import judge, named_paths
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import translated, written

CSV = '2026-11-30 13:05:26.123 UTC,,,42704,,6928.1,1,,2026-11-30 13:05:26 UTC,,0,FATAL,{},"konnte nicht",,,,,,,,,"","postmaster",,0'
LINES: dict[str, tuple[str, str]] = {
    "Python, a port": ("OSError: [Errno 98] Address already in use", "port_in_use"),
    "uvicorn, a port": ("ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 9696): in use", "port_in_use"),
    "Redis, a port": ("Could not create server TCP listening socket 127.0.0.1:6379: bind: Address already in use", "port_in_use"),
    "Node, a port": ("Error: listen EADDRINUSE: address already in use :::9696", "port_in_use"),
    "Rust": ('Error: Os { code: 98, kind: AddrInUse, message: "x" } (os error 98)', "port_in_use"),
    "a missing file": ("FileNotFoundError: [Errno 2] No such file or directory: '/etc/api.json'", "missing"),
    "a missing program": ("sh: 1: redis-serve: not found", "missing"),
    "supervisor, a program": ("can't find command '/opt/api/run'", "missing"),
    "supervisor, not executable": ("command at '/opt/api/run' is not executable", "not_executable"),
    "systemd, a program": ("Failed to locate executable /opt/api/run: No such file or directory", "missing"),
    "systemd, a condition": ("x.service - x was skipped because of an unmet condition check (ConditionPathExists=/srv/x).", "condition"),
    "older systemd, a condition": ("Condition check resulted in x being skipped.", "condition"),
    "permission": ("Can't open the log file: Permission denied", "permission"),
    "a full disk": ("write error: No space left on device", "no_space"),
    "fork": ("Can't fork: Resource temporarily unavailable", "no_process"),
    "a broken JSON": ("json.decoder.JSONDecodeError: Expecting ',' delimiter: line 3 column 5 (char 30)", "exception"),
    "settings": ("django.core.exceptions.ImproperlyConfigured: SECRET_KEY", "exception"),
    "Go": ("panic: runtime error: index out of range", "exception"),
    "csvlog": (CSV.format("F0000"), "configuration"),
    "csvlog whose process id looks like a state": (CSV.format("00000"), ""),
    "jsonlog": ('{"timestamp":"2026-11-30 13:05:26.123 UTC","state_code":"58P01","message":"konnte nicht"}', "missing"),
    "a state in the prefix": ("58P01 FATAL:  konnte nicht", "missing"),
    "an ordinary line": ("INFO: application startup complete", ""),
    "a number that is none": ("listening on port 98", ""),
}


@pytest.mark.parametrize(("line", "cause"), LINES.values(), ids=list(LINES))
def test_a_line_names_its_cause_in_any_language(line: str, cause: str) -> None:
    assert causes.of_line(line) == cause


def test_what_a_technology_knows_of_its_lines_comes_first() -> None:
    table = [("bad_module", re.compile("Can't load module"))]
    assert causes.of_line("Can't load module x.so: No such file or directory", table) == "bad_module"


def said(*texts: str, by: str = "journal") -> list[dict[str, str]]:
    return [{"from": by, "text": text} for text in texts]


def state(**known: t.Any) -> dict[str, t.Any]:
    return {"name": "api.service", "manager": "systemd", "state": "failed", **known}


ENDS: dict[str, tuple[list[dict[str, str]], dict[str, t.Any], t.Any]] = {
    "the last line that names a cause": (said("Permission denied: /x", "Traceback", "a.JSONDecodeError: no"), state(), "exception"),
    "not systemd's own refusal": (said("a.JSONDecodeError: no", "Start request repeated too quickly."), state(), "exception"),
    "killed for memory": ([], state(oom_killed=True), "oom"),
    "a start that took too long": (said("loading"), state(result="timeout"), "timeout"),
    "no program": ([], state(exit_code=203), "not_executable"),
    "no user": ([], state(exit_code=217), "missing"),
    "an exit code, and last words": (said("bye"), state(exit_code=3), "ended"),
    "a signal": ([], state(signal="SIGSEGV"), "ended"),
    "a stop that was asked for": (said("bye"), state(state="stopped", exit_code=0), None),
    "no manager and no line": ([], {}, None),
}


@pytest.mark.parametrize(("lines", "service", "cause"), ENDS.values(), ids=list(ENDS))
def test_the_cause_comes_from_the_lines_and_else_from_how_it_ended(lines: t.Any, service: t.Any, cause: t.Any) -> None:
    found = judge(lines, service)
    assert (found and found["code"]) == cause


def test_a_cause_says_where_it_was_read_and_hides_secrets() -> None:
    found = judge(said("KeyError: password=hunter2 in /etc/x"), state())
    assert found == {"code": "exception", "text": "KeyError: password=[redacted] in /etc/x", "from": "journal"}
    assert judge(said("bye"), state(exit_code=3))["text"] == "it ended by exit code 3; its last line: bye"  # type: ignore[index]


def test_words_of_another_language_are_read_by_the_catalogues_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue as msgfmt writes it: sorted messages, their translations, and its character set."""
    folder = tmp_path / "de/LC_MESSAGES"
    folder.mkdir(parents=True)
    pairs = [("", "Content-Type: text/plain; charset=UTF-8\n"), ("Address already in use", "Die Adresse wird bereits verwendet")]
    (folder / "libc.mo").write_bytes(catalogue(pairs))
    monkeypatch.setattr(causes, "translations_of", lambda domain, words: causes_of(domain, words, str(tmp_path / "*/LC_MESSAGES")))
    found = judge(said("konnte IPv4-Adresse »127.0.0.1« nicht binden: Die Adresse wird bereits verwendet"), state())
    assert (found or {}).get("code") == "port_in_use"


causes_of = translated.translations_of


def catalogue(pairs: t.Sequence[tuple[str, str]]) -> bytes:
    import struct

    head, table = 28, 16 * len(pairs)
    strings, offsets = b"", []
    for text in [one for one, _two in pairs] + [two for _one, two in pairs]:
        offsets.append((len(text.encode()), head + table + len(strings)))
        strings += text.encode() + b"\0"
    index = b"".join(struct.pack("<2I", *one) for one in offsets)
    return struct.pack("<7I", 0x950412DE, 0, len(pairs), head, head + 8 * len(pairs), 0, 0) + index + strings


def test_after_a_mark_only_what_was_added_counts_and_rotation_is_followed(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("Permission denied: an old one\n")
    marked = read.mark({}, [str(log), str(tmp_path / "new*.log")])
    assert read.read({}, marked)["bound"] == "none"
    with log.open("a") as file:
        file.write("JSONDecodeError: new\n")
    first = read.read({}, marked)
    assert (first["bound"], [one["text"] for one in first["lines"]], first["cause"]["code"]) == (
        "mark",
        ["JSONDecodeError: new"],
        "exception",
    )
    log.rename(tmp_path / "api.log.1")
    log.write_text("after the rotation\n")
    (tmp_path / "new1.log").write_text("No space left on device\n")
    assert [one["text"] for one in read.read({}, marked)["lines"]] == [
        "JSONDecodeError: new",
        "after the rotation",
        "No space left on device",
    ]
    marked = read.mark({}, [str(log)])
    log.write_text("emptied\n")
    assert [one["text"] for one in read.read({}, marked)["lines"]] == ["emptied"]


TIMES = {
    "ISO": "2026-11-30 13:05:26 UTC [3] LOG: x",
    "ISO with T": "2026-11-30T13:05:26.5Z x",
    "an offset": "2026-11-30 15:05:26,123 +0200 x",
    "jsonlog": '{"timestamp":"2026-11-30 13:05:26.123 UTC"}',
    "nginx": "[30/Nov/2026:13:05:26 +0000] GET",
}


@pytest.mark.parametrize("line", TIMES.values(), ids=list(TIMES))
def test_the_time_of_a_line_is_read_in_the_usual_forms(line: str) -> None:
    assert written.time_of(line) == pytest.approx(1796043926, abs=1)


def test_a_time_without_a_zone_is_local_and_one_that_is_none_is_ignored() -> None:
    now = time.time()
    for form in ("%Y-%m-%d %H:%M:%S,000 x", "12:C %d %b %Y %H:%M:%S.123 # x"):
        assert written.time_of(time.strftime(form, time.localtime(now))) == pytest.approx(now, abs=1.2)
    assert [written.time_of(one) for one in ("no time", "2026-13-40 13:05:26", "x" * 60 + "2026-11-30 13:05:26")] == [None] * 3


def test_of_an_earlier_attempt_the_lines_since_its_start_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, began = tmp_path / "api.log", time.time()
    stamp = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began + shift)) for shift in (-60, 0)]
    log.write_text(f"{stamp[0]} Permission denied\nold detail\n{stamp[1]} JSONDecodeError\nnew detail\n")
    monkeypatch.setattr(ask, "last_start", lambda named, deadline: {"began": began, "invocation": "", "files": [str(log)]})
    monkeypatch.setattr(ask, "said_since", lambda named, start, deadline: [])
    monkeypatch.setattr(ask, "load_service", lambda named, deadline: {})
    found = read.last({"manager": "m", "name": "api"})
    assert (found["bound"], len(found["lines"]), found["lines"][1]["text"]) == ("start", 2, "new detail")
    os.utime(log, (began - 60, began - 60))
    assert read.last({"manager": "m", "name": "api"})["bound"] == "none", "a file that is older than the attempt says nothing of it"


def test_without_a_known_start_a_boundary_counts_and_else_a_tail_that_is_called_one(tmp_path: Path) -> None:
    log = tmp_path / "redis.log"
    log.write_text("Permission denied\n1:C Redis is starting\nbind: Address already in use\n")
    found = read.last({}, [str(log)], boundary="Redis is starting")
    assert (found["bound"], len(found["lines"])) == ("boundary", 2)
    assert read.last({}, [str(log)])["bound"] == "tail"
    assert read.last({}, [str(tmp_path / "none")]) | {"service": {}} == {
        "began": None, "bound": "none", "lines": [], "service": {}, "paths_changed": [], "cause": None,
    }  # fmt: skip


def test_a_file_that_was_changed_since_the_attempt_is_named_however_it_came(tmp_path: Path) -> None:
    conf, log = tmp_path / "api.json", tmp_path / "api.log"
    conf.write_text("{")
    began = os.stat(conf).st_ctime + 0.02
    log.write_text("x")
    assert read.changed_since([str(conf)], began) == []
    time.sleep(0.05)
    new = tmp_path / "good"
    new.write_text("{}")
    os.utime(new, (1, 1))
    new.rename(conf)
    assert read.changed_since([str(conf), str(tmp_path), str(tmp_path / "gone"), str(log)], began) == [str(conf)]
    assert read.changed_since([str(conf)], None) == []


def test_a_file_that_its_manager_reads_for_it_counts_as_changed_though_nothing_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment file of a unit is where a wrong address is corrected; the line of its log is then old."""
    log, env = tmp_path / "api.out", tmp_path / "api.env"
    log.write_text("ImproperlyConfigured: no backend\n")
    env.write_text("DSN=good\n")
    monkeypatch.setattr(ask, "last_start", lambda named, deadline: {"began": time.time() - 9, "invocation": "", "files": [str(log)]})
    monkeypatch.setattr(ask, "said_since", lambda named, start, deadline: [])
    for reads in ([str(env)], []):
        assert read.last({"manager": "m", "name": "api"}, service=state(reads=reads))["paths_changed"] == reads


def test_paths_are_found_in_lines_and_in_the_start_command() -> None:
    lines = said("Reading /etc/redis/redis.conf, at line 3", 'File "/opt/api/app.py", line 3', "http://127.0.0.1/health and 1/2")
    assert named_paths(lines, "/usr/bin/api --config=/etc/api.json") == [
        "/usr/bin/api", "/etc/api.json", "/etc/redis/redis.conf", "/opt/api/app.py",
    ]  # fmt: skip


def test_a_traceback_without_a_time_counts_where_the_file_was_written_to_since(tmp_path: Path) -> None:
    """It stands after lines of an earlier process that have a time, and was once called nothing at all."""
    log, trace = tmp_path / "api.out", "Traceback (most recent call last):\nValueError: invalid literal for int()\n"
    log.write_text("2026-10-16 14:00:00,1 INFO up\n" + trace)
    assert read._of_last(str(log), time.time() - 5, "") == (trace, "tail")
    os.utime(log, (1, 1))
    assert read._of_last(str(log), time.time() - 5, "") == ("", "start")


@pytest.mark.parametrize("line", ["{} # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo", "{} # old\n1:M {} * 1 changes. Saving..."])
def test_lines_of_unknown_time_are_not_of_a_process_whose_own_log_goes_on(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that writes "Killed" made an hours-old error of Redis's configuration the reason of the kill, and Redis stayed down."""
    log, out, began = tmp_path / "redis.log", tmp_path / "redis.out", time.time() - 30
    stamps = [time.strftime("%d %b %Y %H:%M:%S.0", time.localtime(began + later)) for later in (0, 9)]
    out.write_text("*** FATAL CONFIG FILE ERROR ***\n>>> 'maxmemory-polici none'\nBad directive or wrong number of arguments\nKilled\n")
    monkeypatch.setattr(ask, "last_start", lambda named, deadline: {"began": began, "invocation": "", "files": [str(out)]})
    monkeypatch.setattr(ask, "said_since", lambda named, start, deadline: [])
    monkeypatch.setattr(ask, "load_service", lambda named, deadline: {})
    look = functools.partial(read.last, {"manager": "m", "name": "redis"}, [str(log)], boundary="is starting oO0")
    log.write_text("1:M %s # of an earlier process\n" % time.strftime("%d %b %Y %H:%M:%S.0", time.localtime(began - 60)))
    assert (look()["bound"], len(look()["lines"])) == ("tail", 4), "nothing says that it read its configuration"
    log.write_text("1:M %s\n" % line.format(*stamps))
    assert (look()["bound"], {one["from"] for one in look()["lines"]}) == ("start", {str(log)})


def test_who_holds_a_port_is_named_with_the_cause(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        log = tmp_path / "log"
        log.write_text(f"bind 127.0.0.1:{port}: Address already in use\n")
        holders = read.last({}, [str(log)])["cause"]["holders"]
    assert [one["pid"] for one in holders] == [os.getpid()]


def test_the_file_that_could_not_be_parsed_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text("{}")
    (tmp_path / "api.json").write_text('{"port": 1,}')
    log = tmp_path / "api.out"
    log.write_text("json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 12 (char 11)\n")
    command = f"python3 -m api --users {tmp_path}/good.json --config {tmp_path}/api.json --more {tmp_path}/none.json"
    attempt = read.last({}, [str(log)], service=state(start_command=command))
    assert attempt["cause"]["file"] == str(tmp_path / "api.json")
    log.write_text("ValueError: no\n")
    assert read.last({}, [str(log)], service=state(start_command=command))["cause"]["file"] == ""


def test_a_cause_goes_on_where_its_next_line_names_the_file() -> None:
    lines = said("yaml.scanner.ScannerError: mapping values are not allowed here", '  in "/etc/api.yml", line 3, column 8')
    cause = judge(lines, state())
    assert cause is not None
    assert cause["text"].endswith('not allowed here in "/etc/api.yml", line 3, column 8')
    assert "other" not in str(judge(said("a.JSONDecodeError: no", "  other line"), state()))
