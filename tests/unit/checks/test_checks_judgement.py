# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks are validated by name, judged by table, and none can hold up the others."""

from __future__ import annotations

import json
import time
import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import kinds
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import (
    clock,
    cpu,
    disk,
    memory,
    postgresql,
    round_trip,
    tcp,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.place import belongs_on_target, with_manager
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, Proof, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as net_client
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Answer
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import psql
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import judge_before
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info

LOOK = {
    "stands_on": "target",
    "passes": 1,
    "window": 0,
    "timeout": 0,
    "wait_timeout": 0,
    "interval": 0.02,
    "probe_timeout": 1,
    "stage": "assess",
}


def options(kind: str, **given: t.Any) -> dict[str, t.Any]:
    [check] = checks_look.validated([dict(given, kind=kind)], 5)
    return dict(check, stands_on=given.get("look_from", "target"))


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ([], "checks is empty"),
        (["http"], "checks[0] is not a dictionary"),
        ([{"kind": "htp"}], "checks[0].kind is 'htp': choose one of " + ", ".join(sorted(kinds.KINDS))),
        ([{"kind": "tcp", "port": 1}], "checks[0].host is missing"),
        ([{"kind": "tcp", "host": "a", "port": "b"}], "checks[0].port is not of type int"),
        ([{"kind": "tcp", "host": "a", "port": True}], "checks[0].port is not of type int"),
        ([{"kind": "tcp", "host": "a", "port": 1, "prt": 2}], "has the unknown option 'prt'"),
        ([{"kind": "http", "url": "http://a", "method": "DELETE"}], "checks[0].method is 'DELETE'"),
        ([{"kind": "http", "url": "http://a", "expect_status": [200, "x"]}], "checks[0].expect_status[1] is not of type int"),
        ([{"kind": "disk", "writable": "perhaps"}], "checks[0].writable is not of type bool"),
        ([{"kind": "disk", "max_used_share": float("nan")}], "checks[0].max_used_share is not of type float"),
        ([{"kind": "disk", "timeout": 0}], "checks[0].timeout must be more than 0"),
        ([{"kind": "disk", "name": "a"}, {"kind": "cpu", "name": "a"}], "checks[1].name 'a' is used twice"),
        ([{"kind": "x\x1b[2J\ny"}], "checks[0].kind is 'x\\x1b[2J\\ny'"),
    ],
)
def test_a_wrong_check_is_refused_by_name_in_one_line(checks: list[t.Any], message: str) -> None:
    with pytest.raises(StepError) as refused:
        checks_look.validated(checks, 3)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unnamed_checks_get_readable_unique_names() -> None:
    checks = checks_look.validated([{"kind": "disk"}, {"kind": "disk"}, {"kind": "tcp", "host": "a", "port": 1}], 3)
    names = [check["name"] for check in checks]
    assert names == ["disk", "disk #2", "tcp a:1"]


@pytest.mark.parametrize(
    ("check", "on_target"),
    [
        ({"kind": "disk"}, True),
        ({"kind": "service", "service": "a"}, True),
        ({"kind": "tcp", "host": "127.0.0.1"}, True),
        ({"kind": "tcp", "host": "localhost"}, True),
        ({"kind": "tcp", "host": "::1"}, True),
        ({"kind": "tcp", "host": "10.0.0.1"}, False),
        ({"kind": "tcp", "host": "localhost.example.org"}, False),
        ({"kind": "postgresql", "host": "/var/run/postgresql"}, True),
        ({"kind": "redis", "socket": "/run/redis.sock", "host": "redis1"}, True),
        ({"kind": "http", "url": "http://127.0.0.1:9696/health"}, True),
        ({"kind": "http", "url": "http://[::1]:9696/"}, True),
        ({"kind": "http", "url": "http://api.example.org/"}, False),
        ({"kind": "http", "url": "not a url"}, False),
    ],
)
def test_what_only_the_target_can_see_is_looked_at_there(check: dict[str, t.Any], on_target: bool) -> None:
    assert belongs_on_target(check) is on_target


def kind_that(load: t.Callable[[t.Any, float], t.Any]) -> types.ModuleType:
    """Return a kind of check whose loader is *load* and whose raw data is its Health."""
    kind = types.ModuleType("kind")
    kind.__dict__.update(OPTIONS={}, load=load, judge=lambda raw, _options: raw)
    return kind


def test_a_probe_that_hangs_is_left_behind_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    well = Health((Finding("x", State.WELL, "fine"),))

    def hangs(_options: t.Any, _deadline: float) -> Health:
        # It ends well: left behind, it must not fail in the middle of a later test.
        time.sleep(30)
        return well

    monkeypatch.setitem(kinds.KINDS, "hangs", kind_that(hangs))
    monkeypatch.setitem(kinds.KINDS, "fine", kind_that(lambda _options, _deadline: well))
    monkeypatch.setattr(checks_look, "WORKERS", 4)
    checks = checks_look.validated([{"kind": "hangs"}] * 4 + [{"kind": "fine"}] * 20, 0.2)
    begun = time.monotonic()
    results = checks_look.run_checks(checks, "target")
    assert time.monotonic() - begun < 2
    assert [result["health"] for result in results] == ["unknown"] * 4 + ["well"] * 20


def test_a_check_that_breaks_is_unknown_and_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_options: t.Any, _deadline: float) -> t.Any:
        raise RuntimeError("password=hunter2\nsecond line")

    monkeypatch.setitem(kinds.KINDS, "broken", kind_that(broken))
    [result] = checks_look.run_checks(checks_look.validated([{"kind": "broken"}], 1), "target")
    assert result["health"] == "unknown"
    assert "hunter2" not in str(result)
    assert "\n" not in result["findings"][0]["text"]


@pytest.mark.parametrize(
    ("mode", "health", "state", "part"),
    [
        (0o600, "well", "", "fine"),
        (0o400, "well", "", "fine"),
        (0o640, "unknown", "bad_input", "0640"),
        (0o604, "unknown", "bad_input", "chmod 600"),
        (0o644, "unknown", "bad_input", "chmod 600"),
        (None, "unknown", "bad_input", "does not exist"),
    ],
)
def test_a_secret_file_that_is_missing_or_open_to_others_is_a_mistake_of_ours_named_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int | None, health: str, state: str, part: str
) -> None:
    file = tmp_path / "password"
    if mode is not None:
        file.touch()
        file.chmod(mode)
    given: dict[str, t.Any] = {"sentinels": [{"password_file": str(file)}], "kind": "thing", "timeout": 1, "name": "x"}
    monkeypatch.setitem(kinds.KINDS, "thing", kind_that(lambda _o, _d: Health((Finding("x", State.WELL, "fine"),))))
    seen = checks_look.look_once(given)
    assert (seen["health"], seen["state"], part in seen["findings"][0]["text"]) == (health, state, True)
    # Waiting for it would be in vain.
    assert checks_look.is_final([seen]) == (health == "unknown")
    to_do, reasons = judge_before({"health": "unknown", "subject": "y", "state": "down", "actions": ["start"], "checks": [seen]}, {})
    assert (to_do, [one["code"] for one in reasons]) == ((False, ["bad_input"]) if state else (False, ["health_unknown"]))


def test_a_check_without_findings_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, "thing", kind_that(lambda _o, _d: Health()))
    assert checks_look.look_once({"kind": "thing", "timeout": 1, "name": "x"})["health"] == "unknown"


def test_passes_start_again_when_another_process_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    pids = iter([1, 1, 2, 2, 2])
    finding = (Finding("x", State.WELL, "fine"),)
    monkeypatch.setitem(kinds.KINDS, "thing", kind_that(lambda _o, _d: Health(finding, identity={"pid": next(pids)})))
    result = health_info.run(dict(LOOK, checks=[{"kind": "thing"}], subject="", secrets=[], passes=3, timeout=2), False)
    assert (result["proven"], result["passes"], result["looks"]) == (True, 3, 5)


def test_a_check_whose_need_is_not_well_is_left_out_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(asked: t.Any, _deadline: float) -> Health:
        return Health((Finding("x", State.SICK if asked["name"] == "sick" else State.WELL, "seen"),))

    monkeypatch.setitem(kinds.KINDS, "thing", kind_that(look))
    checks: list[dict[str, t.Any]] = [{"name": "sick"}, {"name": "b", "needs": ["fine"]}, {"name": "fine"}]
    checks.insert(0, {"name": "a", "needs": ["sick"]})
    results = checks_look.run_checks(checks_look.validated([dict(check, kind="thing") for check in checks], 1), "target")
    assert [result["health"] for result in results] == ["unknown", "sick", "well", "well"]
    assert results[0]["findings"][0]["text"] == "skipped because sick is not well"


WELL, SICK_API = ("redis", "well", "", "up", False), ("api", "sick", "restart_service", "down", False)
# Results (name, health, beside, state, final): health of the look, whether the proof is settled, whether waiting is in vain.
BESIDE: dict[str, tuple[list[tuple[str, str, str, str, bool]], tuple[str, bool, bool]]] = {
    "what is beside and down does not decide and is not waited for": ([WELL, SICK_API], ("well", True, False)),
    "what is beside and answers is waited for": ([WELL, ("api", "sick", "restart_service", "degraded", False)], ("well", False, False)),
    "what is beside and has ended for good is not": ([WELL, ("api", "sick", "restart_service", "crashed", True)], ("well", True, False)),
    "what decides, does": ([("redis", "sick", "", "down", False), SICK_API], ("sick", True, False)),
    "what decides and has ended for good": ([("redis", "sick", "", "down", True)], ("sick", True, True)),
    "a part of a look with nothing that decides": ([SICK_API], ("well", True, False)),
    "nothing at all": ([], ("unknown", True, False)),
}


@pytest.mark.parametrize(("looks", "expected"), BESIDE.values(), ids=list(BESIDE))
def test_each_component_is_proven_by_itself(looks: list[tuple[str, str, str, str, bool]], expected: tuple[str, bool, bool]) -> None:
    results = [_result(*one) for one in looks]
    assert (checks_look.health_of(results).value, checks_look.is_settled(results), checks_look.is_final(results)) == expected


def _result(name: str, health: str, beside: str, state: str, final: bool) -> dict[str, t.Any]:
    findings = [{"name": "x", "state": health, "text": f"{name} is {state}"}]
    found = {"name": name, "kind": "tcp", "health": health, "state": state, "findings": findings, "identity": {"of": name}, "actions": []}
    return {**found, "facts": {"final": final}, "seconds": 0.0, **({"beside": beside} if beside else {})}


def test_what_is_beside_is_reported_with_its_playbook_and_changes_no_identity() -> None:
    results = [_result(*WELL), _result(*SICK_API)]
    found = checks_look.combine(results, "redis", Proof(results, True, 3, 3, 1.0), "verify")
    assert (found["health"], found["state"]) == ("well", "up")
    assert found["beside"] == [{"name": "api", "health": "sick", "state": "down", "text": "api is down", "playbook": "restart_service"}]
    assert found["say"] == ["well: 1 check passes, 3 times in a row", "beside it, api is sick: api is down"]
    assert checks_look.identities_of(results) == checks_look.identities_of(results[:1])


def test_a_need_that_names_no_check_is_refused() -> None:
    with pytest.raises(StepError, match=r"a needs 'typo', but no check has that name"):
        checks_look.require_needs(checks_look.validated([{"kind": "disk", "name": "a", "needs": ["typo"]}], 1))


def test_no_finding_is_never_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, "empty", kind_that(lambda _o, _d: Health()))
    result = health_info.run(dict(LOOK, checks=[{"kind": "empty"}], subject="", secrets=[]), False)
    assert (result["health"], result["proven"]) == ("unknown", False)


def test_the_subject_gives_the_result_its_state_and_a_wrong_one_is_refused() -> None:
    results = [dict(Health((), state=name).as_dict(), name=name, kind="x", seconds=0) for name in ("a", "b")]
    assert checks_look.combine(results, "b", Proof(None, False, 0, 1, 0.0), "assess")["state"] == "b"
    with pytest.raises(StepError, match="subject 'c' is not the name of a check: choose one of a, b"):
        checks_look.combine(results, "c", Proof(None, False, 0, 1, 0.0), "assess")


def test_a_rehearsal_leaves_out_what_would_write() -> None:
    checks = [{"kind": "disk"}, {"kind": "round_trip", "name": "canary", "url": "http://127.0.0.1:1"}]
    result = health_info.run(dict(LOOK, checks=checks, subject="", secrets=[]), True)
    assert [check["name"] for check in result["checks"]] == ["disk"]
    assert "canary: skipped, a rehearsal writes no canary" in result["say"]


def test_secrets_come_back_to_the_check_they_were_taken_from() -> None:
    checks = [{"kind": "http", "secret_at": {"token": 1}}, {"kind": "redis", "secret_at": {"password": 0}}]
    assert health_info.with_secrets(checks, ["p", "t"]) == [{"kind": "http", "token": "t"}, {"kind": "redis", "password": "p"}]


DISK = {"path": "/", "error": "", "free_bytes": 10**9, "used_share": 0.5, "inodes_used_share": 0.5, "read_only": False}


@pytest.mark.parametrize(
    ("change", "given", "health", "state"),
    [
        ({}, {}, "well", ""),
        ({"used_share": 0.95}, {}, "sick", "full"),
        ({"used_share": 0.95}, {"max_used_share": 0.99}, "well", ""),
        ({}, {"min_free_bytes": 10**10}, "sick", "full"),
        ({"inodes_used_share": 0.99}, {}, "sick", "full"),
        ({"inodes_used_share": None}, {}, "well", ""),
        ({"read_only": True}, {}, "sick", ""),
        ({"read_only": True}, {"writable": False}, "well", ""),
        ({"error": "No such file or directory"}, {}, "unknown", ""),
        ({"used_share": None}, {}, "unknown", ""),
    ],
)
def test_a_disk_is_judged_by_space_inodes_and_mount(change: dict[str, t.Any], given: dict[str, t.Any], health: str, state: str) -> None:
    seen = disk.judge({"paths": [dict(DISK, **change)]}, options("disk", **given))
    assert (seen.health.value, seen.state) == (health, state)


@pytest.mark.parametrize(
    ("info", "given", "health"),
    [
        ({"MemTotal": 1000, "MemAvailable": 500}, {}, "well"),
        ({"MemTotal": 1000, "MemAvailable": 50}, {}, "sick"),
        ({"MemTotal": 1000, "MemAvailable": 500, "SwapTotal": 100, "SwapFree": 5}, {"max_swap_used_share": 0.5}, "sick"),
        ({"MemTotal": 1000}, {}, "unknown"),
        ({}, {}, "unknown"),
    ],
)
def test_memory_is_judged_by_what_is_available(info: dict[str, int], given: dict[str, t.Any], health: str) -> None:
    assert memory.judge({"meminfo": info, "oom_kills": 0}, options("memory", **given)).health.value == health


@pytest.mark.parametrize(
    ("load", "pressure", "given", "health"),
    [
        (1.0, 0.9, {}, "well"),
        (20.0, None, {}, "well"),
        (20.0, None, {"max_load_per_core": 4}, "sick"),
        (8.0, None, {"max_load_per_core": 4}, "well"),
        (1.0, 0.9, {"max_pressure_share": 0.5}, "sick"),
        (1.0, None, {"max_pressure_share": 0.5}, "well"),
    ],
)
def test_the_processor_is_judged_by_load_a_core_and_pressure(load: float, pressure: t.Any, given: dict[str, t.Any], health: str) -> None:
    raw = {"load": [load, 0, 0], "cores": 2, "pressure": pressure, "top": []}
    assert cpu.judge(raw, options("cpu", **given)).health.value == health


def test_the_top_processes_are_named_without_their_arguments() -> None:
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    top = cpu.load(options("cpu", sample=0.1), 2)["top"]
    assert 1 <= len(top) <= 20
    assert set(top[0]) == {"pid", "name", "cpu_share"}


@pytest.mark.parametrize(
    ("skew", "travel", "health"),
    [
        (0.0, 0.0, "well"),
        (1.9, 0.0, "well"),
        (-1.9, 0.0, "well"),
        (2.5, 0.0, "sick"),
        (-2.5, 0.0, "sick"),
        # What looks like a skew may be the way to the target, and the other way round.
        (2.5, 1.0, "unknown"),
        (3.5, 1.0, "sick"),
        (1.0, 1.0, "well"),
        (3.0, 9.0, "unknown"),
        (-2.5, 1.0, "sick"),
    ],
)
def test_a_clock_is_only_judged_as_far_as_the_way_to_it_allows(skew: float, travel: float, health: str) -> None:
    raw = {"now": 1000.0 + skew, "reference": 1000.0, "synchronised": True, "travel": travel}
    assert clock.judge(raw, options("clock")).health.value == health


@pytest.mark.parametrize(("synchronised", "health"), [(True, "well"), (False, "sick"), (None, "unknown")])
def test_a_clock_may_have_to_be_synchronised(synchronised: t.Any, health: str) -> None:
    raw = {"now": 1.0, "reference": 1.0, "synchronised": synchronised, "travel": 0.0}
    assert clock.judge(raw, options("clock", require_synchronised=True)).health.value == health
    assert clock.judge(raw, options("clock")).health.value == "well"


def test_a_clock_without_a_reference_is_unknown() -> None:
    raw = {"now": 1.0, "reference": None, "synchronised": True, "travel": 0.0}
    assert clock.judge(raw, options("clock")).health.value == "unknown"


@pytest.mark.parametrize(
    ("error", "stands_on", "health", "state"),
    [
        ("refused", "target", "sick", "down"),
        ("refused", "controller", "unknown", "down"),
        ("no_socket", "target", "sick", "down"),
        ("connect_timeout", "controller", "unknown", "unreachable"),
        ("resolve", "target", "unknown", "unreachable"),
        ("forbidden_address", "target", "unknown", "unreachable"),
        ("tls", "target", "unknown", "tls"),
        ("timeout", "controller", "sick", "hung"),
        ("closed", "controller", "sick", "closed"),
        ("garbage", "target", "unknown", "garbage"),
        ("new class", "target", "unknown", ""),
    ],
)
def test_where_the_probe_stood_decides_what_a_failed_connection_means(error: str, stands_on: str, health: str, state: str) -> None:
    check = dict(options("tcp", host="db1", port=5432), stands_on=stands_on)
    seen = tcp.judge({"error": error, "detail": "", "banner": ""}, check)
    assert (seen.health.value, seen.state) == (health, state)


@pytest.mark.parametrize(
    ("sqlstate", "message", "health", "state"),
    [
        ("57P03", "the database system is starting up", "unknown", "rejecting"),
        ("57P01", "terminating connection", "unknown", "rejecting"),
        ("53300", "sorry, too many clients already", "sick", "too_many_connections"),
        ("3D000", "no such database", "sick", "no_database"),
        ("28P01", "password authentication failed", "unknown", "auth"),
        ("28000", "no pg_hba.conf entry", "unknown", "auth"),
        ("XX000", "internal error", "unknown", "refusing"),
    ],
)
def test_postgresql_says_why_it_refuses(sqlstate: str, message: str, health: str, state: str) -> None:
    raw = {"error": "", "detail": "", "sqlstate": sqlstate, "message": message, "accepting": False, "login": {}, "seconds": 0.01}
    seen = postgresql.judge(raw, options("postgresql"))
    assert (seen.health.value, seen.state) == (health, state)
    login = dict(raw, sqlstate="", accepting=True, login={"ok": False, "sqlstate": sqlstate, "message": message})
    assert postgresql.judge(login, options("postgresql", login=True)).state == state


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ('psql: error: FATAL:  password authentication failed for user "soma"', "28P01"),
        ("psql: error: connection to server failed: timeout expired", "57014"),
        ('FATAL:  database "nope" does not exist', "3D000"),
        ("FATAL:  the database system is starting up", "57P03"),
        ("something else", ""),
    ],
)
def test_the_wording_of_a_failed_log_in_gives_its_class(text: str, sqlstate: str) -> None:
    assert psql.sqlstate_in(text) == sqlstate


OK_CALL = {"error": "", "detail": "", "status": 200, "location": "", "seconds": 0.02}
REMEMBERED = dict(OK_CALL, sent=True, acknowledged=True)
RECALLED = dict(OK_CALL, understood=True, found=True, score=0.74, ltm=True, coordinate=[1])
GONE = {"statuses": [200], "gone": True, "ltm_left": False}


@pytest.mark.parametrize(
    ("remember", "recall", "given", "health", "state"),
    [
        ({}, {}, {}, "well", "proven"),
        # Acknowledged and lost: what SomaBrain does with its memory service down.
        ({}, {"found": False, "score": None, "ltm": False}, {}, "sick", "not_recalled"),
        ({}, {"score": 0.12}, {}, "sick", "not_recalled"),
        ({}, {"ltm": False}, {}, "sick", "no_ltm"),
        ({}, {"ltm": False}, {"require_ltm": False}, "well", "proven"),
        # A path or a request that it does not know: our profile, layer or port.
        ({"status": 404}, {}, {}, "unknown", "bad_input"),
        ({}, {"status": 405}, {}, "unknown", "bad_input"),
        ({"status": 422}, {}, {}, "unknown", "bad_input"),
        ({"status": 500, "location": "http://evil"}, {}, {}, "sick", "error"),
        ({"acknowledged": False}, {}, {}, "sick", "not_acknowledged"),
        ({}, {"understood": False, "found": False}, {}, "unknown", "other_service"),
        ({"status": 401}, {}, {}, "unknown", "auth"),
        ({"status": 429}, {}, {}, "unknown", "rate_limited"),
        ({"status": 503}, {}, {}, "sick", "error"),
        ({"status": 302, "location": "http://evil"}, {}, {}, "sick", "redirect"),
        ({"error": "timeout", "status": 0}, {}, {}, "sick", "hung"),
        ({}, {"status": 500}, {}, "sick", "error"),
        ({}, {}, {"max_recall_ms": 5}, "sick", "slow"),
        ({}, {}, {"max_remember_ms": 500, "max_recall_ms": 500}, "well", "proven"),
    ],
)
def test_only_the_very_canary_proves_a_memory(
    remember: dict[str, t.Any], recall: dict[str, t.Any], given: dict[str, t.Any], health: str, state: str
) -> None:
    raw = {"problem": "", "remember": dict(REMEMBERED, **remember), "recall": dict(RECALLED, **recall), "cleanup": GONE}
    seen = round_trip.judge(raw, options("round_trip", url="http://api:9696", **given))
    assert (seen.health.value, seen.state) == (health, state)


class Head:
    """The recall of the second generation: each layer by its word, ten results, and working memory always scores best."""

    def __init__(self, long_term: str, noise: int) -> None:
        self.long_term, self.noise = long_term, noise
        self.value: dict[str, t.Any] = {}
        self.layers: list[str] = []

    def ask(self, url: str, deadline: float, body: bytes = b"", **_given: t.Any) -> Answer:
        given = json.loads(body)
        if url.endswith("/remember"):
            self.value = given["value"]
            return self.answer({"ok": True, "persisted_to_ltm": True})
        if not url.endswith("/recall"):
            return Answer(status=404, body=b"{}")
        layer = given["layer"]
        self.layers.append(layer)
        if layer == "ltm" and self.long_term == "away":
            return Answer(status=503, body=b'{"detail": "memory backend unreachable"}')
        noise = [{"content": {"task": "other"}, "layer": "wm", "score": 1.0}] * self.noise
        held = [*noise, {"content": self.value, "layer": "wm", "score": 1.0}] if layer in ("wm", "both") else []
        kept = [{"content": self.value, "layer": "ltm", "score": 0.9}] if self.long_term == "up" and layer in ("ltm", "both") else []
        return self.answer({"results": (held + kept)[:10], "degraded": layer == "both" and self.long_term == "away"})

    def answer(self, body: dict[str, t.Any]) -> Answer:
        return Answer(status=200, body=json.dumps(body).encode(), seconds=0.01)


@pytest.mark.parametrize(
    ("long_term", "noise", "state", "text"),
    [
        ("up", 0, "proven", ""),
        # Ten memories in working memory leave no room for others where both layers are asked.
        ("up", 12, "proven", ""),
        ("away", 0, "no_ltm", "SomaBrain says that its long-term memory is away"),
        ("forgets", 0, "no_ltm", "only the working memory returned the canary; that proves nothing"),
    ],
)
def test_the_second_generation_is_asked_for_its_long_term_memory(
    monkeypatch: pytest.MonkeyPatch, long_term: str, noise: int, state: str, text: str
) -> None:
    head = Head(long_term, noise)
    monkeypatch.setattr(net_client, "ask", head.ask)
    monkeypatch.setattr(round_trip, "_KEEPS", {("http://api", "somabrain-canary"): False})
    given = options("round_trip", url="http://api", profile="v2_health")
    seen = round_trip.judge(round_trip.load(given, 0.8), given)
    assert (seen.state, set(head.layers) <= {"ltm", "both"}) == (state, True), seen.findings
    assert any(text in one.text for one in seen.findings)
    assert seen.findings[-1].text == "the profile v2_health is called v2 for the memory of an API: write v2"


def test_a_recall_that_our_own_deadline_cuts_off_says_less_than_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = {"status": 200, "error": "", "found": True, "ltm": False, "degraded": False}
    cut_off = {"status": 0, "error": "timeout", "found": False, "ltm": False, "degraded": False}
    for answers, told in (([answered, answered, cut_off], answered), ([cut_off], cut_off)):
        rest = list(answers)
        monkeypatch.setattr(round_trip, "_recall", lambda *_given, rest=rest: rest.pop(0))
        found = round_trip._recall_until_found(lambda *_given: Answer(), {"require_ltm": True}, {}, time.monotonic() + 5)
        assert found == told


@pytest.mark.parametrize(
    ("cleanup", "litter"),
    [
        (GONE, "none"),
        ({"statuses": [404], "gone": False, "ltm_left": False}, "working_memory"),
        ({"statuses": [404], "gone": False, "ltm_left": True}, "long_term_memory"),
        ({"statuses": [0], "gone": None, "ltm_left": None}, "unknown"),
        ({"statuses": [500], "gone": False, "ltm_left": True, "kept": True}, "kept"),
        ({"statuses": [], "gone": False, "ltm_left": True, "kept": True}, "kept"),
    ],
)
def test_litter_is_told(cleanup: dict[str, t.Any], litter: str) -> None:
    raw = {"problem": "", "remember": REMEMBERED, "recall": RECALLED, "cleanup": cleanup}
    assert round_trip.judge(raw, options("round_trip", url="http://api:9696")).facts["litter"] == litter


def test_a_check_of_a_managers_service_is_named_as_the_services_of_its_host_are() -> None:
    named = {"supervisor_url": "unix:///lab.sock", "project": "brain"}
    service = {"kind": "service", "manager": "supervisor", "service": "redis"}
    other = {"kind": "redis", "host": "127.0.0.1"}
    below = {"kind": "application", "manager": "systemd", "service": "api", "project": "own", "dependencies": [service, other]}
    checks = with_manager([service, other, below, dict(service, supervisor_url="unix:///own.sock"), "wrong"], named)
    assert checks[0] == {**service, **named}
    assert (checks[1], checks[4]) == (other, "wrong")
    assert (checks[2]["project"], checks[2]["dependencies"]) == ("own", [{**service, **named}, other])
    assert checks[3]["supervisor_url"] == "unix:///own.sock"
