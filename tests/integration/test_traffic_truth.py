# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real HAProxy counts, and what a watched step makes of it: requests that never finish, shares that are missed, people who change
something meanwhile, and the configurations that people have."""

from __future__ import annotations

import json
import os
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from farms.haproxies import HAPROXIES, Answering, Clients, Proxied
from farms.playing import OURS, ROOT
from farms.waiting import until
from farms.warmly import run_ansible
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import balancer
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import haproxy
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.judge import judge_traffic, reverted

PLAIN = (
    "  balance roundrobin\n  option httpchk GET /health\n  server a 127.0.0.1:{a} check weight 1\n  server b 127.0.0.1:{b} check weight 9\n"
)


@pytest.fixture(params=sorted(HAPROXIES))
def binary(request: pytest.FixtureRequest) -> str:
    found = HAPROXIES[request.param]
    if not found:
        pytest.skip("no %s haproxy here (SOMABRAIN_HAPROXY3 names one of 3.x)" % request.param)
    return found


def proxied(binary: str, lines: str = PLAIN, how: t.Callable[[int], str] = lambda turn: "ok", before: str = "") -> Proxied:
    return Proxied(binary, lines, {"a": Answering(how), "b": Answering()}, before)


def up(bed: Proxied, *names: str) -> None:
    until(lambda: all(bed.one(name)["up"] for name in names), 10, "a server does not come up")


@pytest.mark.parametrize(
    ("how", "verdict", "text"),
    [
        ("ok", "well", "0 failed"),
        pytest.param("hints", "well", "0 failed", marks=pytest.mark.long),
        ("hang", "sick", "unanswered"),
        ("body", "sick", "unanswered"),
        ("cut", "sick", "errors"),
        ("close", "sick", "errors"),
        ("503", "sick", "errors"),
        ("401", "unknown", "rejected (4xx) 100 %"),
    ],
)
def test_what_never_comes_back_is_no_success(binary: str, how: str, verdict: str, text: str) -> None:
    with proxied(binary, how=lambda turn: how if how == "401" or turn % 3 == 0 else "ok") as bed:
        up(bed, "a", "b")
        bed.shift(servers={"a": {"weight": 9, "admin": "ready"}, "b": {"weight": 1, "admin": "ready"}})
        with Clients(bed.port, 60, 1.0) as clients:
            # Without a limit of the latency an open request may be a slow one, which is no proof of harm.
            limit = 0.5 if verdict == "sick" else None
            seen = bed.watch(90, 3, gates={"error_rate": 0.05, "p95": limit, "recall_p95": None}, minimum=40)
            doubted = bed.watch(90, 3, gates={"error_rate": 0.05, "p95": None, "recall_p95": None}, minimum=40)
        shown = (how, seen["state"], doubted["state"], clients.statuses)
        assert (seen["verdict"], text in seen["state"]) == (verdict, True), shown
        assert doubted["verdict"] == ("unknown" if how in ("hang", "body") else verdict), shown


@pytest.mark.parametrize(
    ("rule", "verdict", "text"),
    [
        ("http-request return status 503", "sick", "errors"),
        ("http-request silent-drop", "sick", "errors"),
        ("http-response deny deny_status 502", "sick", "errors"),
        ("http-request deny deny_status 429", "unknown", "rejected"),
    ],
)
def test_what_the_balancer_answers_itself_is_counted(binary: str, rule: str, verdict: str, text: str) -> None:
    with proxied(binary, PLAIN + "  %s if {{ rand(100) lt 70 }}\n" % rule) as bed:
        up(bed, "a", "b")
        with Clients(bed.port, 60, 1.0) as clients:
            seen = bed.watch(10, 1.5, minimum=40)
        bad = sum(number for status, number in clients.statuses.items() if status != 200)
        assert bad > 30, clients.statuses
        assert (seen["verdict"], text in seen["state"]) == (verdict, True), (seen["state"], clients.statuses)


def test_hints_hide_no_request_that_hangs_and_a_second_attempt_no_answer(binary: str) -> None:
    with proxied(binary, how=lambda turn: "hang" if turn % 3 == 0 else "hints") as bed:
        up(bed, "a", "b")
        bed.shift(servers={"a": {"weight": 9, "admin": "ready"}, "b": {"weight": 1, "admin": "ready"}})
        with Clients(bed.port, 60, 3.0):
            seen = bed.watch(90, 2, gates={"error_rate": 0.05, "p95": 0.1, "recall_p95": None}, minimum=40)
        assert "more without an answer yet" in seen["state"], seen["state"]
        assert seen["verdict"] == "unknown"
    with proxied(binary, PLAIN + "  retry-on empty-response\n", how=lambda turn: "close" if turn % 3 == 0 else "ok") as bed:
        up(bed, "a", "b")
        bed.shift(servers={"a": {"weight": 9, "admin": "ready"}, "b": {"weight": 1, "admin": "ready"}})
        with Clients(bed.port, 60, 3.0) as clients:
            seen = bed.watch(90, 2, minimum=40)
        assert set(clients.statuses) == {200}
        # A third of what it got went on to the other server, the rest it answered.
        assert abs(seen["sample"]["reached"] - 67) < 4, seen["state"]


def test_maintenance_that_keeps_nobody_out_is_doubted(binary: str) -> None:
    with proxied(binary) as bed:
        up(bed, "a", "b")
        with Clients(bed.port, 60):
            assert bed.shift(maintenance={"on": True, "retry_after": 60})["doubts"] == []
        bed.shift(maintenance={"on": False})
    # A frontend whose rules do not ask the map.
    port = free_port()
    with proxied(binary, before="frontend other\n  bind 127.0.0.1:%d\n  default_backend api\n" % port) as bed:
        up(bed, "a", "b")
        with Clients(port, 60) as clients:
            doubts = bed.shift(maintenance={"on": True, "retry_after": 60})["doubts"]
        assert (set(clients.statuses), len(doubts), "although maintenance is on" in doubts[0]) == ({200}, 1, True), doubts


def test_a_full_frontend_of_another_name_is_seen(binary: str) -> None:
    port = free_port()
    before = "frontend other\n  maxconn 10\n  bind 127.0.0.1:%d\n  default_backend api\n" % port
    with Proxied(binary, PLAIN, {name: Answering(lambda turn: "hang") for name in "ab"}, before) as bed:
        up(bed, "a", "b")
        with Clients(port, 40, 1.0):
            until(lambda: bed.state()["full"] == "frontend other has all of its 10 connections in use", 5, "nothing is full")


def test_what_people_took_out_stays_out(binary: str) -> None:
    lines = PLAIN + "".join("  server %s 127.0.0.1:{%s} check weight %s\n" % (name, of, weight) for name, of, weight in (
        ("c", "b", 5), ("s", "b", 0), ("z", "b", 0),
    ))  # fmt: skip
    asked = {name: rule.get("default") for name, rule in balancer.OPTIONS.items()}
    asked.update(goal="restore", spare=["s", "z"], overflow="", reason="why")
    with proxied(binary, lines) as bed:
        up(bed, "a", "b", "c", "s", "z")
        for words in ("b weight 0", "s state maint", "a weight 0", "z weight 9"):
            bed.ask("set server api/" + words)
        state = bed.state()
        assert {one["name"]: one["closed"] for one in state["servers"]} == {"a": True, "b": True, "c": False, "s": False, "z": False}
        plan = judge_traffic(state, asked, 256).plan
        assert {name for step in plan["steps"] for name in step["servers"]} == {"c", "z"}, plan
        bed.shift(servers=plan["steps"][-1]["servers"])
        after = {one["name"]: (one["weight"], one["admin"]) for one in bed.state()["servers"]}
        assert after == {"a": (0, "ready"), "b": (0, "ready"), "c": (5, "ready"), "s": (0, "maint"), "z": (0, "ready")}
        # What a run closed is no person's doing.
        bed.shift(servers={"c": {"weight": 0}, "z": {"weight": 3}})
        assert not bed.one("c")["closed"]


def test_what_a_run_set_for_a_time_is_not_ended_where_a_person_set_something_else(binary: str) -> None:
    asked = {name: rule.get("default") for name, rule in balancer.OPTIONS.items()}
    asked.update(goal="set", overflow="", reason="why", by_itself=True)
    asked.update(wanted={"a": {"weight": 1, "admin": "ready"}}, expected={"a": {"admin": "drain"}})
    with proxied(binary) as bed:
        up(bed, "a", "b")
        bed.shift(servers={"a": {"admin": "drain"}})
        assert judge_traffic(bed.state(), asked, 256).word == "other"
        bed.ask("set server api/a state maint")
        verdict = judge_traffic(bed.state(), asked, 256)
        assert (verdict.word, "a drain -> maint" in verdict.text) == ("changed_by_another", True), verdict
        # A person who took it back needs nothing more, and what a person drains later is not noted as a run's.
        bed.ask("set server api/a state ready")
        assert judge_traffic(bed.state(), asked, 256).word == "set"
        bed.ask("set server api/b state drain")
        bed.shift(servers={"a": {"weight": 4}})
        bed.ask("set server api/b state ready")
        was = bed.state()["identity"]
        bed.process.send_signal(12)
        until(lambda: bed.state()["reachable"] and bed.state()["identity"] != was, 15, "HAProxy does not reload")
        until(lambda: bed.one("a")["weight"] == 1, 5)
        assert reverted(bed.state()) == {"a": {"weight": 4, "admin": "ready"}}


def test_a_run_that_dies_while_it_sets_something_leaves_a_note_of_what_it_meant(binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {name: rule.get("default") for name, rule in balancer.OPTIONS.items()}
    asked.update(goal="maintenance_off", overflow="", by_itself=True)
    with proxied(binary) as bed:
        up(bed, "a", "b")
        bed.shift(servers={"a": {"weight": 2}})
        monkeypatch.setattr(haproxy, "_prove", _killed)
        with pytest.raises(KeyboardInterrupt):
            bed.shift(maintenance={"on": True, "retry_after": 60})
        assert judge_traffic(bed.state(), asked, 256).word == "maintenance"
        bed.ask(f"set map {bed.map} api 600")
        assert judge_traffic(bed.state(), asked, 256).word == "changed_by_another"


def _killed(*_words: t.Any) -> None:
    raise KeyboardInterrupt


def test_two_requests_of_a_thousand_sessions_are_no_account_of_a_pool_of_sessions(binary: str) -> None:
    lines = "  mode tcp\n  balance roundrobin\n  server a 127.0.0.1:{a} check weight 9\n  server b 127.0.0.1:{b} check weight 1\n"
    with proxied(binary, lines) as bed:
        up(bed, "a", "b")
        with Clients(bed.port, 60) as clients:
            seen = bed.watch(90, 2, minimum=40)
            unlimited = bed.watch(90, 2, minimum=40, gates={"error_rate": None, "p95": None, "recall_p95": None})
        assert set(clients.statuses) == {200}
        # Sessions are counted; what was answered in them is not known from here.
        assert (seen["verdict"], seen["sample"]["requests"]) == ("unknown", None), seen["state"]
        assert "sessions, 0 failed to connect" in seen["state"]
        assert "the balancer sees sessions (mode tcp), not answers" in seen["why"]
        assert unlimited["verdict"] == "well", unlimited["state"]


def test_a_queue_that_grows_is_seen(binary: str) -> None:
    lines = PLAIN.replace("weight 1\n", "weight 9 maxconn 3\n").replace("{b} check weight 9\n", "{b} check weight 1 maxconn 1\n")
    with Proxied(binary, lines, {name: Answering(lambda turn: "hang") for name in "ab"}) as bed:
        up(bed, "a", "b")
        with Clients(bed.port, 60, 1.5):
            seen = bed.watch(90, 2, minimum=20, gates={"error_rate": 0.05, "p95": 0.1, "recall_p95": None})
        assert seen["verdict"] == "sick", seen["state"]
        assert "unanswered" in seen["why"]


@pytest.mark.parametrize(
    ("balance", "verdict", "text"),
    [
        ("roundrobin", "well", ""),
        ("random", "well", ""),
        # All clients have one address here.
        ("source\n  hash-type consistent", "", "balance source keeps it from following the weights"),
        ("roundrobin\n  cookie SRV insert", "sick", "the cookie SRV keeps it from following the weights"),
        ("roundrobin\n  stick-table type ip size 1k\n  stick on src", "", "its stick table (1 entries)"),
    ],
)
def test_the_share_reached_is_held_against_the_share_meant(binary: str, balance: str, verdict: str, text: str) -> None:
    lines = PLAIN.replace("balance roundrobin", "balance " + balance)
    if "cookie" in balance:
        lines = lines.replace("{a} check", "{a} cookie a check").replace("{b} check", "{b} cookie b check")
    with proxied(binary, lines) as bed:
        up(bed, "a", "b")
        with Clients(bed.port, 80, headers={"Cookie": "SRV=a"} if "cookie" in balance else None) as clients:
            seen = bed.watch(10, 2, minimum=10)
        assert set(clients.statuses) == {200}
        # By hash or by table all of them are on one side: too many are harm, none at all proves nothing.
        allowed = {verdict} if verdict else {"sick", "unknown"}
        assert seen["verdict"] in allowed, seen["state"]
        assert text in seen["why"] or verdict == "well"


@pytest.mark.parametrize("balance", ["source", "uri", "hdr(host)", "url_param x", "static-rr"])
def test_a_pool_that_takes_no_weights_at_run_time_is_refused_by_name(binary: str, balance: str) -> None:
    with proxied(binary, PLAIN.replace("balance roundrobin", "balance " + balance)) as bed:
        up(bed, "a", "b")
        before = bed.state()["servers"]
        with pytest.raises(StepError, match="not_by_weight: .*static LB") as caught:
            bed.shift(servers={"a": {"weight": 5}, "b": {"weight": 3}})
        assert caught.value.data["reasons"][0]["code"] == "not_by_weight"
        assert [(one["weight"], one["admin"]) for one in bed.state()["servers"]] == [(one["weight"], one["admin"]) for one in before]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("set server api/a state maint", "a ready -> maint"),
        ("set server api/a state drain", "a ready -> drain"),
        ("set server api/b state maint", "b ready -> maint"),
        ("set server api/a weight 7", "a weight 1 -> 7"),
        ("add map {map} api 120", "maintenance was turned on"),
        ("set server api/a addr 127.0.0.1 port 9", "a address 127.0.0.1:"),
    ],
)
def test_what_somebody_else_sets_ends_the_watch_and_is_not_overruled(binary: str, words: str, said: str) -> None:
    with proxied(binary) as bed:
        up(bed, "a", "b")
        stands = bed.shift(servers={"a": {"weight": 1, "admin": "ready"}, "b": {"weight": 8, "admin": "ready"}}, stands={})["stands"]
        step = {"a": {"weight": 1, "admin": "ready"}, "b": {"weight": 8, "admin": "ready"}}
        threading.Timer(0.5, lambda: bed.ask(words.format(map=bed.map))).start()
        seen = bed.watch(11, 5, stands=stands, servers=step)
        assert (seen["verdict"], said in seen["why"]) == ("changed", True), seen["why"]
        assert "not a run of this collection" in seen["why"]
        after = [(one["weight"], one["admin"], one["address"]) for one in bed.state()["servers"]]
        with pytest.raises(StepError, match="changed_by_another"):
            bed.shift(servers={"a": {"weight": 3, "admin": "ready"}, "b": {"weight": 6, "admin": "ready"}}, stands=stands)
        assert [(one["weight"], one["admin"], one["address"]) for one in bed.state()["servers"]] == after
        # On the way back only what nobody else touched is put back.
        back = bed.shift(
            servers={"a": {"weight": 5, "admin": "ready"}, "b": {"weight": 5, "admin": "ready"}}, stands=stands, others="leave"
        )
        assert any("that was left alone" in one for one in back["doubts"])
        mine = "b" if said.startswith("a ") else "a"
        assert (bed.one(mine)["weight"], bed.state()["maintenance"]["on"]) == (5, "map" in words)
        assert bed.one("a")["admin"] == ("maint" if "a state maint" in words else "drain" if "drain" in words else "ready")


def test_what_somebody_sets_while_a_change_is_made_is_not_rolled_back(binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied(binary) as bed:
        up(bed, "a", "b")
        done = haproxy._do

        def and_a_person(*given: t.Any) -> list[str]:
            warnings = done(*given)
            bed.ask("set server api/b state maint")
            return warnings

        monkeypatch.setattr(haproxy, "_do", and_a_person)
        wanted = {"a": {"weight": 3, "admin": "ready"}, "b": {"weight": 6, "admin": "ready"}}
        with pytest.raises(StepError, match="changed_by_another.* b ready -> maint"):
            bed.shift(servers=wanted)
        assert (bed.one("a")["weight"], bed.one("b")["admin"]) == (3, "maint")
        bed.ask("set server api/b state ready")
        # A way back is not ended by it.
        back = bed.shift(servers={"a": {"weight": 5, "admin": "ready"}, "b": {"weight": 5, "admin": "ready"}}, others="leave")
        assert any("b ready -> maint; that was left alone" in one for one in back["doubts"])
        assert (bed.one("a")["weight"], bed.one("b")["admin"]) == (5, "maint")


def test_a_tracked_server_is_down_with_the_one_it_tracks_and_a_backup_takes_no_share(binary: str) -> None:
    before = "backend checked\n  option httpchk GET /health\n  server base 127.0.0.1:{a} check\n"
    lines = (
        "  balance roundrobin\n  server a 127.0.0.1:{a} track checked/base weight 5\n  server b 127.0.0.1:{b} check weight 5\n"
        "  server c 127.0.0.1:{b} backup check\n  server d 127.0.0.1:{b} disabled check\n"
        "  server-template t 1-2 127.0.0.1:1 check disabled\n"
    )
    with proxied(binary, lines, before=before) as bed:
        up(bed, "a", "b", "c")
        found = {one["name"]: (one["backup"], one["admin"]) for one in bed.state()["servers"]}
        assert found["c"] == (True, "ready")
        assert [found[name][1] for name in ("d", "t1", "t2")] == ["maint"] * 3
        bed.servers["a"].end()
        until(lambda: bed.one("a")["up"] is False, 10, "a tracked server stays up")
        assert bed.one("a")["passed"] is None


def test_an_agent_that_sets_weights_is_named(binary: str) -> None:
    lines = PLAIN.replace("{a} check", "{a} check agent-check agent-port {agent} agent-inter 200ms")
    agent = Answering()
    with Proxied(binary, lines, {"a": Answering(), "b": Answering(), "agent": agent}) as bed:
        assert (bed.one("a")["agent"], bed.one("b")["agent"]) == (True, False)
        stands = bed.shift(servers={})["stands"]
        bed.ask("set server api/a weight 50")
        seen = bed.watch(10, 1, stands=stands)
        assert "its agent check may have done it" in seen["why"], seen["why"]


def test_a_server_that_is_added_or_removed_at_run_time_is_seen(binary: str) -> None:
    with proxied(binary) as bed:
        up(bed, "a", "b")
        port = bed.servers["b"].port
        assert "New server registered" in bed.ask(f"add server api/new 127.0.0.1:{port} weight 4")
        bed.ask("set server api/new state ready")
        until(lambda: "new" in [one["name"] for one in bed.state()["servers"]], 5)
        stands = bed.shift(servers={"new": {"weight": 3, "admin": "ready"}})["stands"]
        bed.ask("set server api/new state maint")
        until(lambda: "Server deleted" in bed.ask("del server api/new"), 10, "HAProxy keeps a server that was added")
        seen = bed.watch(10, 1, stands=stands)
        assert (seen["verdict"], "new is gone from the pool" in seen["why"]) == ("changed", True), seen["why"]


def test_a_reload_is_nobody_s_doing_and_what_it_lost_is_known(binary: str) -> None:
    with proxied(binary) as bed:
        up(bed, "a", "b")
        step = {"a": {"weight": 3, "admin": "ready"}, "b": {"weight": 4, "admin": "ready"}}
        stands = bed.shift(servers=step)["stands"]
        was = bed.state()["identity"]
        bed.process.send_signal(12)
        until(lambda: bed.state()["reachable"] and bed.state()["identity"] != was, 15, "HAProxy does not reload")
        seen = bed.watch(43, 1, stands=stands, servers=step)
        assert (seen["verdict"], "a reload of the balancer lost" in seen["why"]) == ("reverted", True), seen["why"]
        again = bed.shift(servers=step, stands=stands)
        assert (again["changed"], bed.one("a")["weight"]) == (True, 3)


def test_maintenance_is_not_turned_off_where_its_file_would_bring_it_back(binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied(binary) as bed:
        bed.shift(maintenance={"on": True, "retry_after": 60})
        assert bed.map.read_text() == "api 60\n"
        immutable = bed.folder / "other"
        immutable.mkdir()
        # As on a file system that is mounted read-only: root may write anywhere else.
        monkeypatch.setattr("os.replace", _denied)
        with pytest.raises(StepError, match="cannot write .*maintenance stays on; nothing was changed"):
            bed.shift(maintenance={"on": False})
        assert bed.state()["maintenance"]["on"]
        assert bed.map.read_text() == "api 60\n"
        monkeypatch.undo()
        bed.map.chmod(0o640)
        bed.shift(maintenance={"on": False})
        assert (bed.state()["maintenance"]["on"], bed.map.read_text(), bed.map.stat().st_mode & 0o777) == (False, "", 0o640)


def _denied(*_words: t.Any) -> None:
    raise PermissionError(30, "Read-only file system")


def test_verify_health_and_check_access_look_at_the_balancers_of_an_inventory(binary: str, tmp_path: Path) -> None:
    with proxied(binary) as bed:
        up(bed, "a", "b")
        target = bed.target()
        place = {name: value for name, value in target.items() if name.startswith("haproxy_")}
        variables = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "remediation_state_dir": str(tmp_path / "ledger"),
            "traffic_scaling_pool": "api", "traffic_scaling_balancer_options": place, "traffic_scaling_overflow": "",
            "health_verification_host_checks": [], "access_check_become": False, "access_check_reserve_bytes": 0,
        }  # fmt: skip
        book = {"all": {"vars": variables, "children": {"somabrain_balancer": {"hosts": {"lb": {}}}, "others": {"hosts": {"web": {}}}}}}
        (tmp_path / "hosts.json").write_text(json.dumps(book))

        def played(name: str, *words: str) -> tuple[bool, str]:
            env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": OURS, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}
            program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
            command = [program, "-i", str(tmp_path / "hosts.json"), *words, str(ROOT / "playbooks" / f"{name}.yml")]
            done = run_ansible(command, cwd=ROOT, env=env, timeout=240)
            return done.returncode == 0, done.stdout

        lb = ("--limit", "lb,localhost")
        green, shown = played("verify_health", *lb)
        assert (green, "verdict well" in shown) == (True, True), shown
        green, shown = played("check_access", *lb, "-e", '{"traffic_scaling_spare": ["nobody"]}')
        assert (green, "has no server nobody" in shown) == (False, True), shown
        for name in ("a", "b"):
            bed.ask(f"set server api/{name} state drain")
        green, shown = played("verify_health", *lb)
        assert (green, "no server of pool api takes requests" in shown) == (False, True), shown
        # That is nothing that keeps remedies from working.
        green, shown = played("check_access", *lb)
        assert "ok      balancer: pool api can be changed from here" in shown, shown
        bed.process.terminate()
        bed.process.wait(5)
        green, shown = played("verify_health")
        assert (green, "balancer is unknown" in shown) == (False, True), shown
