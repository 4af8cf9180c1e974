# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict over many hosts, the files that tell it, and what check-access makes."""

from __future__ import annotations

import json
import os
import pwd
import stat
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.somabrain.incident_response.plugins.filter.endpoint_checks import endpoint_checks
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import access_check, access_report, health_report

FINE = {"name": "x", "state": "well", "text": "fine", "data": {}}
EXPOSED = {"name": "secret", "state": "well", "text": "token_file /t has mode 0644, others can read it: chmod 0600 /t", "data": {}}


def checked(name: str, health: str = "well", text: str = "fine") -> dict[str, t.Any]:
    finding = {"name": "x", "state": health, "text": text, "data": {}}
    return {"name": name, "kind": "http", "health": health, "state": "", "findings": [finding], "seconds": 0.01}


def looked(*checks: dict[str, t.Any], health: str = "well", proven: bool = True) -> dict[str, t.Any]:
    return {"health": health, "proven": proven, "seconds": 0.5, "checks": list(checks)}


def report(hosts: dict[str, t.Any], check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    return health_report.run(dict({"hosts": hosts, "report_file": "", "textfile": "", "stage": "verify"}, **options), check)


@pytest.mark.parametrize(
    ("result", "health", "reason"),
    [
        (looked(checked("a")), "well", "1 checks pass"),
        (looked(checked("a"), proven=False), "unknown", "not as steadily"),
        (looked(checked("a", "sick", "boom"), health="sick", proven=False), "sick", "a is sick: boom"),
        ({"unreachable": True, "msg": "no route"}, "unknown", "cannot be reached: no route"),
        ({"failed": True, "msg": "checks[0].kind"}, "unknown", "the look did not work: checks[0].kind"),
        ({}, "unknown", "no answer"),
        (None, "unknown", "no answer"),
        (dict(looked(), checks=[]), "unknown", "no answer"),
    ],
)
def test_a_host_is_well_only_when_it_was_seen_to_be(result: t.Any, health: str, reason: str) -> None:
    verdict = report({"one": result})
    assert (verdict["health"], verdict["verdicts"]) == (health, {"one": health})
    assert reason in verdict["report"]["hosts"]["one"]["reason"]


def test_a_run_that_looked_at_no_service_is_never_well() -> None:
    disk = dict(checked("disk"), kind="disk")
    skipped = dict(checked("api"), facts={"left_out": True})
    for checks in ([disk], [disk, skipped]):
        verdict = report({"one": looked(*checks)})
        assert (verdict["health"], verdict["verdicts"]) == ("unknown", {"one": "unknown"})
        assert verdict["report"]["hosts"]["one"]["reason"].startswith("no service was looked at: name it in health_verification_checks")


def test_a_host_without_any_check_of_a_service_is_named_and_a_sick_one_stays_sick() -> None:
    disk = dict(checked("disk"), kind="disk")
    verdict = report({"api": looked(checked("a")), "keeper": looked(disk)}, notes={"api": "", "keeper": "no permission"})
    assert verdict["health"] == "well"
    assert [line for line in verdict["say"] if line.startswith("only the machine was looked at, no service: keeper; ")]
    assert verdict["say"][-1] == ("keeper: what was known before could not be read, so that a loss would not be noticed: no permission")
    full = dict(checked("disk", "sick", "full"), kind="disk")
    assert report({"one": looked(full, health="sick")})["verdicts"] == {"one": "sick"}


def test_the_kinds_that_are_sick_are_named_without_what_is_only_beside() -> None:
    sick = [dict(checked("r", "sick"), kind="redis"), dict(checked("s", "sick"), kind="redis"), dict(checked("u", "unknown"), kind="disk")]
    beside = dict(checked("b", "sick"), kind="postgresql", beside="r")
    result = report({"one": looked(*sick, beside, health="sick"), "two": looked(checked("w")), "three": {"unreachable": True}})
    assert result["sick"] == {"one": ["redis"]}


def test_no_host_at_all_is_unknown() -> None:
    assert report({})["health"] == "unknown"


def test_one_sick_host_makes_the_verdict_sick_and_one_unknown_makes_it_unknown() -> None:
    well, sick = looked(checked("a")), looked(checked("a", "sick"), health="sick")
    assert report({"a": well, "b": sick, "c": {}})["health"] == "sick"
    assert report({"a": well, "c": {}})["health"] == "unknown"


def test_a_partial_outage_is_counted_and_named() -> None:
    checks = [checked(f"endpoint /{i}", "sick" if i < 3 else "well") for i in range(7)]
    verdict = report({"api": looked(*checks, health="sick")})
    assert "3 of 7 endpoints fail: /0, /1, /2" in verdict["report"]["hosts"]["api"]["reason"]
    assert verdict["report"]["hosts"]["api"]["endpoints"] == {"failing": ["/0", "/1", "/2"], "all": 7}


def test_the_files_are_replaced_whole_with_their_modes(tmp_path: Path) -> None:
    json_file, textfile = tmp_path / "r.json", tmp_path / "r.prom"
    json_file.write_text("old")
    report({"one": looked(checked('a"b\\c\nd'))}, report_file=str(json_file), textfile=str(textfile))
    told = json.loads(json_file.read_text())
    assert (told["schema"], told["health"], told["hosts"]["one"]["health"]) == (1, "well", "well")
    assert told["hosts"]["one"]["checks"] == [checked('a"b\\c\nd')]
    assert 'somabrain_health_state{host="one",check="a\\"b\\\\c\\nd",kind="http"} 1' in textfile.read_text()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (json_file, textfile)] == [0o600, 0o644]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.prom"]


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StepError, match="is not a regular file: make its directory or change health_verification_report_file"):
        report({"one": looked(checked("a"))}, report_file=str(pipe))
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    with pytest.raises(StepError, match="No such file or directory"):
        report({"one": looked(checked("a"))}, textfile=str(tmp_path / "absent" / "x.prom"))


def test_the_text_file_says_minus_one_for_unknown_and_zero_for_sick() -> None:
    hosts = {"a": {}, "b": looked(checked("x", "sick"), health="sick")}
    told = {"health": "sick", "hosts": {host: health_report.host_verdict(one) for host, one in hosts.items()}}
    lines = health_report.prometheus(told, 12.0).splitlines()
    assert 'somabrain_health_host_state{host="a"} -1' in lines
    assert 'somabrain_health_host_state{host="b"} 0' in lines
    assert "somabrain_health_overall_state 0" in lines
    assert "somabrain_health_timestamp_seconds 12.000" in lines


def test_the_json_has_a_line_for_each_check_and_the_result_only_what_is_said_of_the_hosts(tmp_path: Path) -> None:
    verdict = report({"a": looked(checked("x"), checked("y")), "b": {}}, report_file=str(tmp_path / "r.json"))
    text = (tmp_path / "r.json").read_text()
    told = json.loads(text)
    assert sum(line.startswith('    {"name": ') for line in text.splitlines()) == 2
    assert [len(told["hosts"][host].pop("checks")) for host in ("a", "b")] == [2, 0]
    assert told == verdict["report"]
    assert json.loads(health_report.as_json({"health": "unknown", "hosts": {}}))["hosts"] == {}


def test_packed_checks_are_judged_as_the_others() -> None:
    plain = looked(checked("disk"), checked("endpoint /metrics", "sick"), health="sick")
    packed = look.packed(plain)
    assert packed["checks"] == []
    assert health_report.host_verdict(packed) == health_report.host_verdict(plain)
    assert health_report.host_verdict(packed)["health"] == "sick"


def test_a_rehearsal_writes_no_file(tmp_path: Path) -> None:
    verdict = report({"one": looked(checked("a"))}, True, textfile=str(tmp_path / "r.prom"))
    assert list(tmp_path.iterdir()) == []
    assert f"would write {tmp_path / 'r.prom'}" in verdict["say"]


def test_a_file_that_cannot_be_written_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="health_verification_textfile"):
        report({"one": looked(checked("a"))}, textfile=str(tmp_path / "none/r.prom"))


def test_endpoints_become_checks_with_names_defaults_and_urls() -> None:
    made = endpoint_checks(
        ["/health", {"path": "/recall", "method": "POST", "timeout": 9}, "https://x/y?z=1"], "http://api:1/", {"timeout": 5}
    )
    assert [(one["name"], one["url"], one["timeout"]) for one in made] == [
        ("endpoint /health", "http://api:1/health", 5),
        ("endpoint POST /recall", "http://api:1/recall", 9),
        ("endpoint https://x/y", "https://x/y?z=1", 5),
    ]


@pytest.mark.parametrize("endpoints", ["/health", [{}], ["/health"]])
def test_an_endpoint_without_an_address_is_refused(endpoints: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="endpoint"):
        endpoint_checks(endpoints)


def access(check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    base = {"tools": [], "expect_root": False, "secret_files": [], "state_dir": "", "reserve_bytes": 65536, "stage": "assess"}
    base.update(root_for=[], rooms=[], reserves=[])
    return access_check.run(dict(base, **options), check)


def test_check_access_makes_the_reserve_once_and_nothing_in_a_rehearsal(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    rehearsed = access(True, state_dir=str(state_dir))
    assert (rehearsed["changed"], state_dir.exists(), rehearsed["items"][0]["ok"]) == (True, False, False)
    first, second = access(state_dir=str(state_dir)), access(state_dir=str(state_dir))
    assert (first["changed"], second["changed"]) == (True, False)
    assert all(item["ok"] for item in first["items"] + second["items"])
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert (state_dir / "reserve").stat().st_blocks * 512 >= 65536


def test_a_state_directory_that_others_can_read_is_a_problem_with_its_remedy(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    [item] = access(state_dir=str(tmp_path))["items"]
    assert (item["ok"], item["text"]) == (False, f"has mode 0755: chmod 0700 {tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_reserve_is_not_followed(tmp_path: Path) -> None:
    state_dir, victim = tmp_path / "state", tmp_path / "victim"
    state_dir.mkdir(mode=0o700)
    victim.write_text("precious")
    (state_dir / "reserve").symlink_to(victim)
    result = access(state_dir=str(state_dir))
    assert [item["ok"] for item in result["items"]] == [True, True, False]
    assert victim.read_text() == "precious"


def test_a_ledger_that_cannot_be_read_is_told_before_an_incident(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o700)
    (state_dir / "ledger.sqlite").write_bytes(b"no database" * 1000)
    wrong = [item for item in access(state_dir=str(state_dir))["items"] if not item["ok"]]
    assert [item["name"] for item in wrong] == ["ledger"]
    assert "file is not a database" in wrong[0]["text"]


def test_tools_and_secret_files_are_told_apart_by_what_is_missing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    os.chmod(secret, 0o640)
    items = access(tools=["sh", "no-such-tool|sh", "no-such-tool"], secret_files=[str(secret), str(tmp_path / "none")])["items"]
    assert [item["ok"] for item in items] == [True, True, True, False, False, False]
    assert "chmod 0600" in items[4]["text"]


@pytest.mark.parametrize(
    ("script", "ok", "text"),
    [
        ("echo v2.26", True, "v2.26"),
        ('[ "$HOME" = /home/ops ] && echo v2.26', True, "v2.26"),
        ("echo no such command >&2; echo help >&2; exit 1", False, "(no such command)"),
    ],
)
def test_a_plugin_of_a_tool_has_to_answer(script: str, ok: bool, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\n[ \"$*\" = 'compose version' ] || exit 3\n{script}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", "/home/ops")
    item = access(tools=["docker compose"])["items"][1]
    assert (item["name"], item["ok"], text in item["text"]) == ("tool docker compose", ok, True), item


@pytest.mark.parametrize(
    ("part", "ok", "text"),
    [
        ({"items": [{"name": "a", "ok": True, "text": "fine"}]}, True, "fine"),
        ({"unreachable": True, "msg": "no route", "what": "host"}, False, "the host is unreachable: no route"),
        ({"failed": True, "msg": "Missing sudo password", "what": "become"}, False, "Missing sudo password"),
        ({"checks": [checked("redis")]}, True, "fine"),
        (
            {"checks": [dict(checked("redis", "unknown", "shut out"), state="auth")]},
            False,
            "shut out: put the correct secret into its file",
        ),
        ({"checks": [dict(checked("db"), findings=[FINE, EXPOSED])]}, False, "others can read it"),
        ({"checks": [dict(checked("redis", "sick", "gone"), state="down_clean")]}, False, "gone: start the service"),
    ],
)
def test_every_part_becomes_items(part: dict[str, t.Any], ok: bool, text: str) -> None:
    told = access_report.run({"parts": [part], "stage": "assess", "remedies": []}, False)
    assert told["ok"] is ok
    assert text in told["items"][0]["text"]


def test_a_secret_file_that_cannot_be_used_is_named_with_where_it_has_to_lie() -> None:
    finding: dict[str, t.Any] = {
        "name": "secret",
        "state": "unknown",
        "text": "password_file /s: the file does not exist (on db1)",
        "data": {},
    }
    [item] = access_report.items_of({"checks": [dict(checked("redis", "unknown"), state="bad_input", findings=[finding])]})
    assert (item["ok"], item["text"]) == (False, finding["text"] + access_report.SECRET_FIX)


def test_a_host_without_a_remedy_is_not_told_to_be_ready_for_one() -> None:
    part = {"items": [{"name": "a", "ok": True, "text": "fine"}]}
    told = access_report.run({"parts": [part], "stage": "assess", "remedies": []}, False)["say"][0]
    assert "no remedy is set up for this host" in told
    assert "for rollback" in access_report.run({"parts": [part], "stage": "assess", "remedies": ["rollback"]}, False)["say"][0]


def test_a_file_to_give_up_helps_only_where_it_is_there_and_takes_up_space(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.write_bytes(b"x" * 2**20)
    empty.touch()
    wanted = [{"path": str(path), "variable": "redis_recovery_make_room"} for path in (full, empty, tmp_path / "none", tmp_path)]
    items = access(reserves=wanted)["items"][1:]
    assert [item["ok"] for item in items] == [True, False, False, False]
    assert [f"fallocate -l 1G {path}" in item["text"] for path, item in zip((empty, tmp_path / "none"), items[1:])] == [True, True]


def test_room_for_copies_is_measured_where_the_directory_will_be(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dump.rdb").write_bytes(b"x" * 2**20)
    (tmp_path / "file").touch()
    wanted = [
        {"path": str(tmp_path / path), "variable": "redis_recovery_rescue_dir", "beside": str(tmp_path / "data")}
        for path in ("new/one", "file/one")
    ]
    items = access(rooms=wanted)["items"][1:]
    assert [item["ok"] for item in items] == [True, False]
    assert "2 MiB are needed" in items[0]["text"]
    assert "is not a directory: correct redis_recovery_rescue_dir" in items[1]["text"]


@pytest.mark.parametrize(("uid", "ok"), [(0, True), (1000, False)])
def test_rights_that_a_remedy_lacks_are_named_with_what_needs_them(uid: int, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: pwd.struct_passwd(("ops", "", uid, uid, "", "", "")))
    item = access(root_for=["systemd lets only root start and stop redis"])["items"][1]
    assert item["ok"] is ok
    assert ok or "run as ops, but systemd lets only root start and stop redis: set ansible_become to true" in item["text"]


def test_a_refused_secret_is_told_before_its_mode() -> None:
    check = dict(checked("api", "unknown", "403: it refuses this token"), state="auth")
    check["findings"].append(EXPOSED)
    told = access_report.run(
        {
            "parts": [{"checks": [check]}, {"items": [{"name": "a", "ok": True, "text": "fine"}]}],
            "stage": "assess",
            "remedies": ["rollback"],
        },
        False,
    )
    assert told["say"][:2] == [
        "1 of 2 items are ready for rollback",
        "PROBLEM api: 403: it refuses this token: put the correct secret into its file, or renew it",
    ]


def test_a_release_that_is_not_known_is_told_with_how_to_make_one() -> None:
    check = dict(checked("release that runs", "unknown", "/srv/current is not a link that selects a release"), kind="release")
    told = access_report.run({"parts": [{"checks": [check]}], "stage": "assess", "remedies": ["rollback"]}, False)
    assert not told["ok"]
    assert "is not a link that selects a release: make what runs a release with the module release_add" in told["say"][1]


def test_nothing_looked_at_is_not_ready() -> None:
    assert access_report.run({"parts": [{"skipped": True}], "stage": "assess", "remedies": []}, False)["ok"] is False
