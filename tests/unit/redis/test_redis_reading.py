# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what Redis says and writes: its protocol, its append-only files, its manifest, configuration and log."""

from __future__ import annotations

import io
import math
import os
import socket
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.attempt import load_attempt
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
    encode,
    password_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import Refused, parse_manifest
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import goes_on_after, scan_resp
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.fit import load_misfits
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.lines import changes_saved, replicas_in, said_at
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.load import _on_disk as load_redis_on_disk
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.load import weighted
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.place import (
    is_system,
    load_place,
    missing_mount,
    moved_text,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.process import (
    holds_aof,
    load_log,
    load_start,
    process_facts,
    works_in,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.settings import load_effective
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask


def conversation(answer: bytes, deadline: float = 1.0, pause: float = 0.0, max_bytes: int = 1000) -> t.Any:
    """Send PING to a server that answers with *answer*, byte by byte where there is a pause."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer_once, args=(server, answer, pause), daemon=True).start()
        with Connection(address_of({"port": server.getsockname()[1]}), deadline, max_bytes) as connection:
            return connection.ask("PING")


def answer_once(server: socket.socket, answer: bytes, pause: float) -> None:
    peer, dummy = server.accept()
    with peer:
        peer.recv(1000)
        for piece in [answer[i : i + 1] for i in range(len(answer))] if pause else [answer]:
            try:
                peer.sendall(piece)
            except OSError:
                return
            time.sleep(pause)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (b"+PONG\r\n", "PONG"),
        (b":-3\r\n", -3),
        (b"$-1\r\n", None),
        (b"$0\r\n\r\n", ""),
        (b"$4\r\na\r\nb\r\n", "a\r\nb"),
        (b"$2\r\n\xff\xfe\r\n", b"\xff\xfe"),
        (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", ["a", [1]]),
        (b"-ERR no\r\n", "ERR no"),
    ],
)
def test_replies_are_read(answer: bytes, value: t.Any) -> None:
    assert conversation(answer) == value
    assert isinstance(conversation(answer), ErrorReply) == answer.startswith(b"-")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.0 200 OK\r\n", "garbage"),
        (b"$x\r\n", "garbage"),
        (b"", "closed"),
        (b"$5\r\nab", "closed"),
        (b"$5000\r\n", "too_large"),
        (b"*200000\r\n", "too_large"),
        (b"*1\r\n" * 20 + b":1\r\n", "too_large"),
    ],
)
def test_what_is_no_reply_is_told_apart(answer: bytes, kind: str) -> None:
    with pytest.raises(RespError) as caught:
        conversation(answer)
    assert (caught.value.kind, caught.value.connected) == (kind, True)


def test_a_dripping_server_does_not_stretch_the_deadline() -> None:
    begun = time.monotonic()
    with pytest.raises(RespError) as caught:
        conversation(b"+" + b"x" * 100, deadline=0.3, pause=0.02)
    assert caught.value.kind == "timeout"
    assert time.monotonic() - begun < 1


def test_a_closed_port_and_a_missing_socket_are_told_apart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for options, kind in (({"port": port}, "refused"), ({"socket": str(tmp_path / "none")}, "no_socket")):
        with pytest.raises(RespError) as caught:
            Connection(address_of(options), 1)
        assert (caught.value.kind, caught.value.connected) == (kind, False)


def test_a_password_file_loses_only_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" se cret \n")
    with pytest.raises(StepError, match="chmod 600"):
        password_of({"password_file": str(tmp_path / "password")})
    (tmp_path / "password").chmod(0o600)
    assert password_of({"password_file": str(tmp_path / "password")}) == " se cret "
    with pytest.raises(StepError, match="password_file"):
        password_of({"password_file": str(tmp_path / "none")})


SET = encode(["SET", "key", "value"])
FILES: dict[str, tuple[bytes, str, int]] = {
    "whole": (SET * 3, "", 3 * len(SET)),
    "empty": (b"", "", 0),
    "with a timestamp": (b"#TS:1790000000\r\n" + SET, "", 16 + len(SET)),
    "cut in a value": (SET + SET[:-4], "cut", len(SET)),
    "cut in a length": (SET + b"*3\r\n$3\r\nSET\r\n$1", "cut", len(SET)),
    "cut after a mark": (SET + b"*", "cut", len(SET)),
    "cut in a transaction": (SET + encode(["MULTI"]) + SET, "cut", len(SET)),
    "whole transaction": (encode(["MULTI"]) + SET + encode(["EXEC"]), "", len(encode(["MULTI"]) + SET + encode(["EXEC"]))),
    "zeros at the end": (SET + b"\0" * 100, "bad", len(SET)),
    "wrong mark": (SET + SET.replace(b"$5", b"%5"), "bad", len(SET)),
    "wrong length": (SET + SET.replace(b"$3\r\nkey", b"$2\r\nkey") + SET, "bad", len(SET)),
    "negative count": (b"*-1\r\n", "bad", 0),
    "no words": (b"*0\r\n", "bad", 0),
    "a name that is none": (encode(["S\x00T", "a"]), "bad", 0),
    "huge count": (b"*99999999999999999999\r\n", "bad", 0),
}


@pytest.mark.parametrize("case", FILES)
def test_an_append_only_file_is_followed_to_where_it_is_good(case: str) -> None:
    content, problem, good_to = FILES[case]
    scan = scan_resp(io.BytesIO(content), len(content), math.inf)
    assert (scan.problem, scan.good_to) == (problem, good_to)


@pytest.mark.parametrize("cut", range(1, len(SET)))
def test_a_cut_at_any_byte_is_a_cut(cut: int) -> None:
    content = SET + SET[:cut]
    scan = scan_resp(io.BytesIO(content), len(content), math.inf)
    assert (scan.problem, scan.good_to) == ("cut", len(SET))
    assert not goes_on_after(io.BytesIO(content), len(content), scan.failed_at, math.inf)


def test_a_length_that_swallows_good_commands_is_no_cut() -> None:
    content = SET + SET.replace(b"$5", b"$5555") + SET * 3
    scan = scan_resp(io.BytesIO(content), len(content), math.inf)
    assert scan.problem == "cut"
    assert goes_on_after(io.BytesIO(content), len(content), scan.failed_at, math.inf)


def test_the_manifest_is_read_in_loading_order() -> None:
    text = 'file i1 seq 1 type i\nfile old seq 1 type h\nfile "b 1" seq 2 type b\n#note\nfile i2 seq 2 type i\n'
    assert parse_manifest(text, "m") == [("b 1", "b"), ("i1", "i"), ("old", "h"), ("i2", "i")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage\n",
        "file ../../etc/passwd seq 1 type b\n",
        "file /etc/passwd seq 1 type b\n",
        "file .. seq 1 type b\n",
        "file m seq 1 type b\n",
        "file a seq 1 type x\n",
        "file a seq x type b\n",
        "file a seq 1 type b\nfile b seq 2 type b\n",
        "file a seq 2 type i\nfile b seq 1 type i\n",
        "file a seq 1 type i\nfile a seq 2 type i\n",
        "file 'a seq 1 type b\n",
    ],
)
def test_a_manifest_that_redis_would_not_write_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_manifest(text, "m")


def test_the_configuration_file_tells_where_the_data_are(tmp_path: Path) -> None:
    lines = ["# dir /wrong", 'dir "/my data"', "APPENDONLY yes", "save 900 1", 'save ""', "save 60 5", "requirepass secret"]
    (tmp_path / "redis.conf").write_text("\n".join(lines))
    seen = load_effective(str(tmp_path / "redis.conf"), "")
    assert {name: seen.settings[name] for name in ("dir", "appendonly", "save")} == {"dir": "/my data", "appendonly": "yes", "save": "60 5"}
    assert seen.settings["requirepass"] == "***"
    assert load_effective(str(tmp_path / "none"), "") == ({}, {}, [], [], False, [])


def test_only_the_last_start_of_the_log_counts(tmp_path: Path) -> None:
    start = "1:C oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n"
    log = tmp_path / "redis.log"
    log.write_text(start + "Bad file format reading the append only file\n" + start + "\x1b[31mNo space left on device\n")
    found = load_log(str(log))
    assert (found["starts"], found["ready"], list(found["lines"])) == (2, False, ["no_space"])
    assert "\x1b" not in found["lines"]["no_space"]
    log.write_text(start + "Ready to accept connections\n")
    found = load_log(str(log))
    told = {"lines": {}, "starts": 1, "ready": True, "failed_starts": 0, "saved_at_end": False}
    told.update(saved_at=None, synced_at_end=False, unsynced_at_end=False, began_at=None, rewritten=False, rewrote_config_at=None)
    told.update(promoted=False, changes_saved=[], replicas=[], role="")
    assert found == dict(told, written_at=log.stat().st_mtime)


@pytest.mark.parametrize(
    ("end", "saved"),
    [
        ("Saving the final RDB snapshot before exiting.\nDB saved on disk\nRedis is now ready to exit, bye bye...\n", True),
        ("Redis is now ready to exit, bye bye...\n", False),
        ("Saving the final RDB snapshot before exiting.\nError trying to save the DB, can't exit.\n", False),
        ("DB saved on disk\n", False),
        ("", False),
    ],
)
def test_only_a_redis_that_was_asked_to_end_and_saved_says_so(tmp_path: Path, end: str, saved: bool) -> None:
    log = tmp_path / "redis.log"
    log.write_text("Redis is starting\nReady to accept connections\n" + end)
    assert load_log(str(log))["saved_at_end"] is saved
    log.write_text(end or "nothing of it\n")
    assert load_log(str(log))["saved_at_end"] is None


def line(pid: int, second: int, words: str, role: str = "M") -> str:
    return f"{pid}:{role} 30 Nov 2026 14:40:{second:02d}.250 * {words}\n"


def begun(pid: int, port: int) -> str:
    return line(pid, 1, "Redis is starting", "C") + line(pid, 2, f"Running mode=standalone, port={port}.") + line(pid, 3, "Ready to accept")


ENDED = ("Saving the final RDB snapshot before exiting.", "DB saved on disk", "Redis is now ready to exit, bye bye...")


def test_of_a_log_that_two_servers_share_only_the_own_lines_count(tmp_path: Path) -> None:
    log, end = tmp_path / "redis.log", "".join(line(22, 9, words) for words in ENDED)
    log.write_text(begun(11, 6379) + begun(22, 6380) + line(11, 5, "Background saving started") + end)
    ours, theirs = load_log(str(log), port=6379), load_log(str(log), port=6380)
    assert (ours["saved_at_end"], ours["saved_at"], theirs["saved_at_end"]) == (False, None, True)
    assert theirs["saved_at"] - theirs["began_at"] == 8.0
    # The start of ours is no longer in what was read.
    log.write_text(line(11, 0, "Background saving started") + begun(22, 6380) + end)
    assert load_log(str(log), port=6379)["saved_at_end"] is None
    # Nothing says that there are two.
    assert load_log(str(log), port=0)["saved_at_end"] is True


@pytest.mark.parametrize(
    "words",
    ["Short write while writing to the AOF file: (nwritten=15733, expected=19593)", "Error writing to the AOF file: File too large",
     "Fail to fsync the AOF file: Input/output error"],
)  # fmt: skip
def test_a_write_that_failed_counts_until_it_is_made_up_for(tmp_path: Path, words: str) -> None:
    log = tmp_path / "redis.log"
    log.write_text(begun(11, 6379) + line(11, 5, words))
    assert list(load_log(str(log), port=6379)["lines"]) == ["write_failed"]
    log.write_text(begun(11, 6379) + line(11, 5, words) + line(11, 6, "AOF write error looks solved. The server can write again."))
    assert load_log(str(log), port=6379)["lines"] == {}
    end = "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
    log.write_text(begun(11, 6379) + line(11, 5, words) + line(11, 6, end))
    told = load_log(str(log), port=6379)
    assert (told["lines"], told["synced_at_end"]) == ({}, True)


BAD = "Bad file format reading the append only file\n"
READY = "Ready to accept connections\n"
STARTS: dict[str, tuple[list[str], int]] = {
    "one that failed": ([BAD], 1),
    "three in a row": ([READY, BAD, BAD, BAD], 3),
    "one more that has not come to its end": ([BAD, BAD, ""], 2),
    "one that came up since": ([BAD, BAD, READY], 0),
    "another reason at the end": ([BAD, BAD, "No space left on device\n", BAD], 1),
}


@pytest.mark.parametrize("case", STARTS)
def test_starts_in_a_row_that_refused_their_data_are_counted(tmp_path: Path, case: str) -> None:
    ends, count = STARTS[case]
    log = tmp_path / "redis.log"
    log.write_text("".join("1:C oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n" + end for end in ends))
    assert load_log(str(log))["failed_starts"] == count


COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    "arguments win": ("redis-server {conf} --appendonly yes --save ''", {"appendonly": "yes", "save": ""}),
    "a shell": ("sh -c 'rm -f x && exec redis-server {conf} --dbfilename b.rdb'", {"dbfilename": "b.rdb", "appendonly": "no"}),
    "words without quotes": ("/usr/bin/valkey-server {conf} --save --appendonly yes", {"save": "", "appendonly": "yes"}),
    "no file at all": ("redis-server --dir /x", {"dir": "/x", "appendonly": "no", "dbfilename": "dump.rdb"}),
    "no word": ("redis-server", {"dir": "/home", "appendonly": "no"}),
    "relative to where it starts": ("sh -c 'cd {folder} && redis-server redis.conf'", {"dbfilename": "a.rdb"}),
    "an include": ("redis-server {conf} --include {folder}/more.conf", {"appendonly": "yes", "dbfilename": "a.rdb"}),
    "one word": ('redis-server {conf} "--appendonly yes"', {"appendonly": "yes"}),
    "one word with a value": ('redis-server {conf} "--save 60 5" --dbfilename=b.rdb', {"save": "60 1 60 5", "dbfilename": "b.rdb"}),
    "a wrapper that says nothing": ("/opt/start.sh", {"dbfilename": "a.rdb"}),
    "a variable that nobody knows": ("redis-server $CONF", {"dbfilename": "a.rdb"}),
    "a script that hands its words on": ('/opt/r {conf} --port 7\nexec redis-server "$@"', {"dbfilename": "a.rdb", "port": "7"}),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_the_next_start_is_read_as_redis_reads_it(tmp_path: Path, case: str) -> None:
    conf = tmp_path / "redis.conf"
    conf.write_text("dbfilename a.rdb\nappendonly no\nsave 60 1\n")
    (tmp_path / "more.conf").write_text("appendonly yes\n")
    command, wanted = COMMANDS[case]
    seen = load_effective(str(conf), command.replace("{conf}", str(conf)).replace("{folder}", str(tmp_path)), "/home")
    assert seen.known
    assert {name: seen.settings.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("command", "doubts"),
    [
        ("redis-server {conf} --appendonly yes", []),
        ("sh -c 'echo appendonly yes | redis-server {conf} -'", ["its standard input (-)"]),
        ("redis-server - --port 7", ["its standard input (-)"]),
        ("sh -c 'exec redis-server {conf} $OPTS'", ["$OPTS"]),
        ("redis-server {conf} --port 7 $OPTS", ["$OPTS"]),
        ("redis-server {conf} --port $PORT", []),
        ("redis-server $CONF", []),
        ('/opt/r {conf} --port 7\nexec redis-server "$@"', []),
    ],
)
def test_settings_that_only_the_start_shows_are_named(tmp_path: Path, command: str, doubts: list[str]) -> None:
    (tmp_path / "redis.conf").write_text("appendonly no\n")
    assert list(load_effective("", command.replace("{conf}", f"{tmp_path}/redis.conf")).doubts) == doubts


def test_includes_count_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "b.conf").write_text("include c.conf\n")
    (tmp_path / "c.conf").write_text("appendonly yes\n")
    lines = [f"dir {tmp_path}", "appendonly no", f"include {tmp_path}/d/*.conf", f"include {tmp_path}/none/*.conf", "include gone.conf"]
    (tmp_path / "redis.conf").write_text("\n".join(lines))
    seen = load_effective(str(tmp_path / "redis.conf"), "")
    assert (seen.settings["appendonly"], seen.origins["appendonly"]["where"]) == ("yes", "c.conf:1")
    assert seen.problems == [f"{tmp_path}/redis.conf:5 includes gone.conf, which does not exist"]


@pytest.mark.parametrize(
    ("path", "is_one"),
    [("/", True), ("/etc", True), ("/etc/redis", True), ("/var/spool/cron/crontabs", True), ("/root/.ssh", True), ("/var/lib", True),
     ("/home", True), ("/dev/sda", True), ("/var/lib/redis", False), ("/data", False), ("/home/redis/data", False),
     ("/dev/shm/redis", False)],
)  # fmt: skip
def test_a_directory_of_the_system_is_no_data_directory(path: str, is_one: bool) -> None:
    assert is_system(path) is is_one


@pytest.mark.parametrize(
    ("path", "fstab", "units", "mounted", "missing"),
    [
        ("/data/redis", "UUID=1 /data ext4 defaults 0 2\n", [], ["/"], "/data"),
        ("/data/redis", "UUID=1 /data ext4 defaults 0 2\n", [], ["/", "/data"], ""),
        ("/data/redis", "# UUID=1 /data ext4 defaults 0 2\n", [], ["/"], ""),
        ("/database", "UUID=1 /data ext4 defaults 0 2\n", [], ["/"], ""),
        ("/data/redis", "", ["/data/redis"], ["/"], "/data/redis"),
        ("/data/redis", "UUID=1 / ext4 defaults 0 1\n", [], ["/"], ""),
    ],
)
def test_a_mount_that_is_missing_is_named(path: str, fstab: str, units: list[str], mounted: list[str], missing: str) -> None:
    assert missing_mount(path, fstab, units, mounted) == missing


def test_the_append_only_file_of_another_directory_is_not_the_one_that_a_start_loads(tmp_path: Path) -> None:
    process = {"pid": os.getpid()}
    inner = tmp_path / "one" / "appendonlydir"
    inner.mkdir(parents=True)
    with (inner / "appendonly.aof.1.incr.aof").open("wb"):
        assert holds_aof(process, {"dir": str(tmp_path / "one")}) is True
        assert holds_aof(process, {"dir": str(tmp_path / "two")}) is False
        assert holds_aof(process, {}) is True
    assert holds_aof(process, {"dir": str(tmp_path / "one")}) is False
    assert works_in(process) == os.path.realpath(os.getcwd())
    place = load_place("", {"dir": str(tmp_path)}, {"where": "redis.conf:1"}, works_in(process), None)
    assert "but redis.conf:1 says" in moved_text(place)


def test_a_start_command_may_name_directories_pipes_and_links_beside_scripts(tmp_path: Path) -> None:
    script, pipe, dangling, data = (tmp_path / name for name in ("start", "pipe", "dangling", "data"))
    script.write_text("#!/bin/sh\nexec redis-server\n")
    os.mkfifo(pipe)
    dangling.symlink_to("nothing")
    data.mkdir()
    command = f"{script} --dir {data} --logfile {pipe} --unixsocket {dangling}"
    assert load_start(command) == command + "\n#!/bin/sh\nexec redis-server\n"
    assert load_start(f"/usr/bin/redis-server --port 6379 --dir {data}") == f"/usr/bin/redis-server --port 6379 --dir {data}"


def test_files_that_are_gone_are_missed_only_under_a_process_that_surely_answers(tmp_path: Path) -> None:
    inner = tmp_path / "appendonlydir"
    inner.mkdir()
    (inner / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    (tmp_path / "dump.rdb").write_text("x" * 10)
    ours = dict(process_facts(os.getpid()), found_by="info")

    def found(directory: str = str(tmp_path), process: dict[str, t.Any] | None = None, **info: str) -> tuple[t.Any, t.Any]:
        look = {"info": {"run_id": "a", "aof_enabled": "1", **info}, "config": {"dir": directory}}
        seen = load_redis_on_disk(look, ours if process is None else process, "/nowhere", {"appendonly": "yes"})
        return seen["dump_bytes"], seen["gone"]

    with (inner / "appendonly.aof.1.incr.aof").open("w"):
        assert found() == (10, "")
        (tmp_path / "dump.rdb").unlink()
        assert found() == (0, "")
        (tmp_path / "dump.rdb").symlink_to("/nowhere")
        assert found() == (None, "")
        (inner / "appendonly.aof.1.incr.aof").unlink()
        assert found() == (None, "aof")
        # It is being written anew.
        assert found(aof_rewrite_in_progress="1") == found(aof_enabled="0") == (None, "")
        # Another process of that name may be another Redis.
        assert found(process=dict(ours, found_by="title")) == found(process={}) == (None, "")
    assert found(directory="")[1] == "dir"
    assert found(directory="", process={}) == (None, "")


def test_times_to_live_of_several_databases_count_by_their_keys() -> None:
    day = 86400.0
    many = weighted([(5000, [4.0] * 60), (70, [day] * 60)])
    assert 0.97 < sum(life < day for life in many) / len(many) < 1
    assert weighted([(70, [day, 4.0])]) == [day, 4.0]
    # Of the keys of a database that nobody looked at nothing is known.
    assert sorted(set(weighted([(50, [day]), (50, [])]))) == [0.0, day]
    assert weighted([(50, [])]) == weighted([]) == []


LINE = "7:M 30 Nov 2026 20:00:%06.3f * %s\n"


def test_changes_that_were_saved_came_after_the_save_before() -> None:
    text = "".join(
        LINE % one
        for one in [
            (0, "Ready"), (10, "100 changes in 60 seconds. Saving..."), (10.1, "Background saving started by pid 9"),
            (10.5, "Background saving terminated with success"), (20, "7 changes in 5 seconds. Saving..."),
            (20.1, "Background saving started by pid 10"), (20.2, "Background saving error"), (30, "9 changes in 5 seconds. Saving..."),
        ]
    )  # fmt: skip
    start = said_at(text, "Ready")
    assert start is not None
    assert [[round(at - start, 1) for at in one] for one in changes_saved(text)] == [[0, 10], [10.1, 20], [10.1, 30]]


def test_the_replicas_that_followed_at_the_end_of_a_log_are_named() -> None:
    lines = [
        "Synchronization with replica 10.0.0.2:6379 succeeded", "Synchronization with replica 10.0.0.3:6379 succeeded",
        "Connection with replica 10.0.0.3:6379 lost.", "Connection with replica client id #7 lost.",
        "Partial resynchronization request from 10.0.0.4:6380 accepted. Sending 14 bytes of backlog starting from offset 1.",
    ]  # fmt: skip
    assert replicas_in("".join(LINE % (0, line) for line in lines)) == ["10.0.0.2:6379", "10.0.0.4:6380"]


def test_a_write_that_failed_and_was_made_up_for_is_no_trouble_any_more(tmp_path: Path) -> None:
    start, log = LINE % (0, "Redis is starting oO0"), tmp_path / "redis.log"
    failed = "Failed opening the temp RDB file temp-1.rdb for saving: Permission denied"
    appended = "Error writing to the AOF file: No space left on device"
    for said, kinds in {
        (failed,): ["permission"],
        (failed, "DB saved on disk"): [],
        (failed, "DB saved on disk", failed): ["permission"],
        # Each file fails and recovers by itself.
        (appended, "DB saved on disk"): ["no_space", "write_failed"],
        (appended, "AOF write error looks solved. Redis can write again."): [],
        (failed, "AOF write error looks solved. Redis can write again."): ["permission"],
        ("Failed opening Unix socket: bind: Permission denied",): [],
        ("Could not create server TCP listening socket 10.9.9.9:1: bind: Cannot assign requested address",): ["no_address"],
    }.items():
        log.write_text(start + "".join(LINE % (1, one) for one in said))
        assert sorted(load_log(str(log))["lines"]) == kinds, said


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("port 63q9", "port 63q9, where Redis wants a number from 0 to 65535"),
        ("port 70000", "port 70000, where Redis wants a number from 0 to 65535"),
        ("PORT 6379", ""), ("port", "where Redis wants one value"),
        ("port 6379 6380", "where Redis wants one value"), ("port {{ port }}", ""),
        ("tcp-backlog -1", "where Redis wants a number"), ("slowlog-log-slower-than -1", ""),
        ("maxmemory 1 gb", "where Redis wants one value"), ("maxmemory 1GB", ""),
        ("maxmemory 1gig", "where Redis wants a size such as 512mb"),
        ("appendonly ture", "where Redis wants yes or no"), ("appendonly YES", ""), ('appendonly "yes"', ""),
        ("appendfsync everysecond", "where Redis wants one of always, everysec, no"),
        ("maxmemory-policy noevict", "where Redis wants one of noeviction"), ("maxmemory-policy allkeys-lrm", ""),
        ("save 900", "save 900, where Redis wants pairs"), ('save ""', ""), ("save 900 1 300 10", ""), ('save "900 1"', ""),
        ('requirepass "abc', "its quotes do not close"), ("requirepass 'a'b", "its quotes do not close"),
        ("requirepass it's", "its quotes do not close"),
        ('requirepass "a\\"b"', ""), ("# it's", ""), ("some-later-setting 7x", ""),
    ],
)  # fmt: skip
def test_a_line_that_redis_would_refuse_is_named(line: str, why: str, tmp_path: Path) -> None:
    conf = tmp_path / "redis.conf"
    conf.write_text(f"# first\n{line}\n")
    found = load_effective(str(conf), "").problems
    assert [one.startswith(f"{conf}:2: ") and why in one for one in found] == ([True] if why else [])


def test_a_wrong_value_of_the_start_command_is_named_and_its_shell_words_are_not() -> None:
    start = "redis-server --port 6379 >> /tmp/redis.out --appendonly yes --save 60 1 2>&1"
    assert load_effective("", start).problems == []
    assert "the start command: port 6x" in str(load_effective("", "redis-server --port 6x --save 60 1").problems)


def test_what_would_end_a_start_on_this_machine_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "closed").mkdir(mode=0o755)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    other = os.getuid() + 4321

    def misfits(start: str = "", manager: str = "supervisor", uid: int = other, **settings: t.Any) -> str:
        return "; ".join(load_misfits(settings, {"bind": {"where": "redis.conf:1"}}, uid, start, manager))

    assert misfits(bind="127.0.0.1 203.0.113.9") == "redis.conf:1: bind 203.0.113.9, an address that no interface of this machine has"
    assert misfits(bind="127.0.0.1 -203.0.113.9 -::1 * a.name") == misfits(bind="203.0.113.9", port="0") == misfits() == ""
    assert misfits(bind="203.0.113.9", start="sh -c 'ip address add 203.0.113.9 dev lo; redis-server'") == ""
    assert f"may not write to {tmp_path}/closed (owner" in misfits(unixsocket=f"{tmp_path}/closed/s")
    assert misfits(unixsocket=f"{tmp_path}/open/s") == misfits(unixsocket=f"{tmp_path}/closed/s", uid=0) == ""
    assert "a directory that does not exist" in misfits(unixsocket=f"{tmp_path}/gone/s")
    # systemd may make it (RuntimeDirectory).
    assert misfits(unixsocket=f"{tmp_path}/gone/s", manager="systemd") == misfits(unixsocket="/run/gone/s", manager="systemd") == ""
    (tmp_path / "closed/redis.log").touch(mode=0o644)
    assert "may not write to" in misfits(logfile=f"{tmp_path}/closed/redis.log")
    (tmp_path / "closed/redis.log").chmod(0o666)
    assert misfits(logfile=f"{tmp_path}/closed/redis.log") == ""
    assert "does not exist" in misfits(aclfile=f"{tmp_path}/gone")


@pytest.mark.parametrize(("ran", "mended"), [(0.4, False), (30.0, None)])
def test_an_untimed_error_of_its_configuration_does_not_outlive_a_redis_that_ran(
    ran: float, mended: t.Optional[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, began = tmp_path / "redis.out", time.time() - 40
    out.write_text("*** FATAL CONFIG FILE ERROR ***\n>>> 'save many'\nBad directive or wrong number of arguments\n")
    monkeypatch.setattr(ask, "last_start", lambda named, deadline: {"began": began, "invocation": "", "files": [str(out)]})
    monkeypatch.setattr(ask, "said_since", lambda named, start, deadline: [])
    monkeypatch.setattr(ask, "load_service", lambda named, deadline: {"last_ended_at": began + ran})
    found = load_attempt({"manager": "m", "name": "redis"}, "", [], 2.0)
    assert (found["code"], found["mended"]) == ("configuration", mended)
