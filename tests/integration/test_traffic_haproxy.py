# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of traffic on a real HAProxy under load: who is let in when, what it costs clients, and what is left after a failure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from farms.playing import BORROWED, OURS, ROOT, run_playbook
from farms.traffic import HAPROXY, PROMETHEUS, Balanced
from farms.waiting import until
from farms.warmly import run_ansible
from somabrain_drill.traffic.bed import OPERATOR, POOL
from somabrain_drill.traffic.load import PATHS, Load

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
WHY = {"remediation_reason": "a test"}
BAD = {"share": 1, "status": 500, "paths": list(PATHS)}
FULL = {"api1": 100, "api2": 100, "spare": 0, "overflow": 0}
TENTH = {"api1": 1, "api2": 1, "spare": 18, "overflow": 0}
QUARTER = {**TENTH, "spare": 6}


@pytest.fixture
def bed() -> t.Iterator[Balanced]:
    with Balanced() as made:
        yield t.cast(Balanced, made)


def given_to(bed: Balanced, **more: t.Any) -> dict[str, t.Any]:
    options = {"haproxy_address": str(bed.socket), "haproxy_maintenance_map": str(bed.map), "haproxy_state_dir": str(bed.folder / "kept")}
    return {
        "traffic_scaling_hosts": "machine", "traffic_scaling_pool": POOL, "traffic_scaling_balancer_options": options,
        "traffic_scaling_spare": ["spare"], "remediation_state_dir": str(bed.folder / "state"), "traffic_scaling_sample_window": 2,
        "traffic_scaling_settle_seconds": 0.3,
        "traffic_scaling_hold_timeout": 20, **more,
    }  # fmt: skip


def run(bed: Balanced, name: str, *words: str, **more: t.Any) -> dict[str, t.Any]:
    return run_playbook(bed.folder / "play", name, given_to(bed, **more), *words)


@pytest.fixture(autouse=True)
def folders(bed: Balanced) -> None:
    (bed.folder / "play").mkdir()


def told(outcome: dict[str, t.Any]) -> tuple[str, str]:
    return outcome["outcome"], outcome["reasons"][0]["code"] if outcome["reasons"] else ""


def owed(bed: Balanced) -> list[tuple[str, bool]]:
    """What has to be ended yet: its goal, and whether it has an end."""
    with contextlib.closing(sqlite3.connect(bed.folder / "state/ledger.sqlite")) as ledger:
        rows = ledger.execute("select body, ends_at from obligation where ended_at is null").fetchall()
    return [(json.loads(body)["goal"], bool(end)) for body, end in rows]


def in_maintenance(bed: Balanced) -> bool:
    return POOL in bed.ask(f"show map {bed.map}")


def test_maintenance_keeps_clients_out_and_lets_health_probes_and_operators_through(bed: Balanced) -> None:
    before = bed.map.read_bytes()
    assert told(run(bed, "enable_maintenance", "--check", **WHY))[0] == "rehearsed"
    assert (bed.map.read_bytes(), in_maintenance(bed)) == (before, False)
    assert told(run(bed, "enable_maintenance")) == ("refused", "bad_input")
    # SomaBrain has no maintenance of its own: its 404 is told, and believed by nobody.
    endpoint = f"http://127.0.0.1:{bed.ports['api1']}/admin/maintenance"
    client = f"http://127.0.0.1:{bed.port}/recall"
    outcome = run(bed, "enable_maintenance", traffic_scaling_client_url=client, traffic_scaling_endpoint=endpoint, **WHY)
    assert told(outcome)[0] == "recovered", outcome["shown"]
    assert "has no maintenance of its own (404)" in outcome["shown"]
    assert {(one.status, one.retry_after) for one in bed.load(50, 1).answers} == {(503, "120")}
    assert bed.load(20, 1, ["/health"]).statuses == {200: 20}
    assert bed.load(20, 1, source=OPERATOR).statuses == {200: 20}
    assert owed(bed) == [("maintenance_off", True)]
    bed.reload()
    assert in_maintenance(bed)
    assert told(run(bed, "enable_maintenance", **WHY))[0] == "nothing_to_do"
    assert told(run(bed, "disable_maintenance"))[0] == "recovered"
    assert (bed.load(50, 1).statuses, owed(bed)) == ({200: 50}, [])


def waited(bed: Balanced, name: str, status: str) -> None:
    until(lambda: bed.status(name).startswith(status), 10, f"HAProxy never calls {name} {status}")


def test_a_drain_in_maintenance_leaves_its_end_alone_also_where_the_drain_fails(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)
    drain = {"traffic_scaling_servers": {"api2": {"admin": "drain"}}, "traffic_scaling_set_seconds": 600}
    # In maintenance no client gets its 200, so this one is put back; that clients are kept out is no matter of it.
    failed = run(bed, "scale_traffic", traffic_scaling_client_url=f"http://127.0.0.1:{bed.port}/recall", **drain)
    assert told(failed)[0] == "undone", failed["shown"]
    assert (in_maintenance(bed), owed(bed)) == (True, [("maintenance_off", True)])
    assert told(run(bed, "scale_traffic", **drain))[0] == "recovered"
    assert (in_maintenance(bed), owed(bed)) == (True, [("maintenance_off", True), ("set", True)])
    assert told(run(bed, "disable_maintenance"))[0] == "recovered"
    assert (bed.load(50, 1).servers, owed(bed)) == ({"api1": 50}, [("set", True)])


def test_a_cache_that_another_run_lost_lets_clients_in_step_by_step_only(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)
    loss = {"loss": {"count": 7, "exact": True, "text": "keys of Redis"}}
    with contextlib.closing(sqlite3.connect(bed.folder / "state/ledger.sqlite")) as ledger:
        # As the recovery of a Redis on this host would have left it.
        now = time.time()
        ledger.execute("insert into run values('r1', 'machine', 'redis', 'redis_recovery', 'me', ?, ?, 'recovered_with_loss')", (now, now))
        ledger.execute("insert into journal select max(seq) + 1, 'r1', ?, 'close', ?, '', '' from journal", (now, json.dumps(loss)))
        ledger.commit()
    refused = run(bed, "disable_maintenance")
    assert told(refused) == ("refused", "cold_cache"), refused["shown"]
    assert "redis of machine (run r1): keys of Redis" in refused["reasons"][0]["text"]
    assert in_maintenance(bed)
    rehearsed = run(bed, "restore_traffic", "--check", traffic_scaling_steps=[50, 100])
    assert "the steps are 10, 50, 100 %" in rehearsed["shown"]
    outcome = run(bed, "disable_maintenance", traffic_scaling_skip_warm_up="few clients")
    assert (told(outcome)[0], outcome["before"]["facts"]["skip_warm_up"]) == ("recovered", "few clients")


class Watched:
    """Notes at which second of a load the weights were which, until the end of the with."""

    def __init__(self, bed: Balanced, load: Load) -> None:
        self.bed, self.load, self.over = bed, load, threading.Event()
        self.seen: list[tuple[float, dict[str, int], bool]] = []
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watched:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.thread.join(10)

    def _watch(self) -> None:
        begun = time.monotonic()
        while not self.over.wait(0.05):
            with contextlib.suppress(OSError, IndexError):
                weights, shut = self.bed.weights(), in_maintenance(self.bed)
                self.seen.append((time.monotonic() - begun, weights, shut))

    def whole_seconds(self, weights: dict[str, int]) -> list[int]:
        """The seconds during all of which, and of their neighbours' edges, these weights stood and the pool was open."""
        other = [at for at, seen, shut in self.seen if seen != weights or shut]
        stood = [at for at, seen, shut in self.seen if seen == weights and not shut]
        if not stood:
            return []
        first = max([at for at in other if at < stood[0]], default=0.0)
        last = min([at for at in other if at > stood[-1]], default=stood[-1])
        return [second for second in range(int(first) + 1, int(last)) if second + 1.2 < last and second > first + 0.2]


def test_a_restoration_under_load_costs_no_request_and_hits_every_share(bed: Balanced) -> None:
    assert told(run(bed, "enable_maintenance", **WHY))[0] == "recovered"
    with Load(bed.port, 200, 100) as load, Watched(bed, load) as watched:
        outcome = run(bed, "restore_traffic", traffic_scaling_sample_window=5)
        time.sleep(4)
    assert told(outcome)[0] == "recovered", outcome["shown"]
    counted = load.counted()
    assert counted.failed == []
    # Until it was left, maintenance answered; from then on nobody got anything but an answer of the API.
    assert set(counted.statuses) == {200, 503}
    for share, weights in ((10, TENTH), (25, QUARTER), (50, {**TENTH, "spare": 2}), (100, FULL)):
        seconds = watched.whole_seconds(weights)
        mine = [one.server for one in counted.answers if one.second in seconds]
        assert len(mine) >= 500, (share, seconds)
        hit = 100 * sum(name in ("api1", "api2") for name in mine) / len(mine)
        assert abs(hit - share) <= 2, (share, hit, len(mine))
    assert (bed.weights(), owed(bed)) == (FULL, [])
    assert told(run(bed, "restore_traffic"))[0] == "nothing_to_do"
    for line in (" 10 %:", " 25 %:", " 50 %:", "100 %:"):
        assert line in outcome["shown"]


def test_health_that_regresses_at_a_quarter_is_stepped_back_within_two_windows(bed: Balanced) -> None:
    window = 3
    run(bed, "enable_maintenance", **WHY)

    def break_it() -> None:
        until(lambda: bed.weights() == QUARTER, 60, "a quarter is never let in")
        for name in ("api1", "api2"):
            bed.faults_of(name).write_text(json.dumps(BAD))
        broken.append(time.monotonic())
        until(lambda: bed.weights() != QUARTER, 60, "it is never stepped back")
        broken.append(time.monotonic())
        # What it is stepped back to is well again: there it stays.
        for name in ("api1", "api2"):
            bed.faults_of(name).unlink()

    broken: list[float] = []
    breaking = threading.Thread(target=break_it, daemon=True)
    with Load(bed.port, 200, 100) as load:
        breaking.start()
        outcome = run(bed, "restore_traffic", traffic_scaling_sample_window=window)
        breaking.join(10)
    assert told(outcome) == ("undone", "regressed"), outcome["shown"]
    assert "regressed at 25" in outcome["failure"]["msg"]
    assert broken[1] - broken[0] <= 2 * window
    assert {one.server for one in load.counted().answers if one.status == 500} <= {"api1", "api2"}
    assert sum(bed.weights().values()) in (20, 200)
    assert bed.load(50, 1).statuses.get(500) is None


def test_what_stays_bad_is_stepped_back_to_where_it_began(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)
    for name in ("api1", "api2"):
        bed.faults_of(name).write_text(json.dumps(BAD))
    with Load(bed.port, 200, 100):
        outcome = run(bed, "restore_traffic")
    assert (told(outcome)[0], in_maintenance(bed), bed.weights()) == ("undone", True, FULL), outcome["shown"]
    assert owed(bed) == [("maintenance_off", True)]


def test_without_requests_it_holds_and_synthetic_ones_make_up_for_them(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)
    outcome = run(bed, "restore_traffic", traffic_scaling_hold_timeout=4)
    assert (told(outcome)[0], bed.weights()) == ("unproven", TENTH), outcome["shown"]
    assert "0 of at least 50 requests so far" in outcome["shown"].partition("Proven")[2], outcome["shown"]
    assert "restore_traffic.yml" in outcome["shown"].partition("Next:")[2], outcome["shown"]
    # Weights alone would let everybody in at once: clients were kept out before it began.
    assert "enable-maintenance.yml" in outcome["undo"].partition("&&")[0], outcome["undo"]
    gates = {"error_rate": 0.05, "p95": 0.5, "recall_p95": None, "factor": 1.5, "room": {"error_rate": 0.01, "p95": 0.1}}
    probes = {"probe_path": "/recall", "probe_body": {"query": "x"}, "probes_per_second": 50}
    outcome = run(bed, "restore_traffic", traffic_scaling_probes=probes, traffic_scaling_gates=gates)
    assert (told(outcome)[0], bed.weights()) == ("recovered", FULL), outcome["shown"]
    assert "50 probes" in outcome["shown"]


def control(bed: Balanced, word: str) -> list[str] | None:
    """Say *word* to a restoration that is under way; returns the files that it finds then, None where the word was refused."""
    words = command(bed, "restore_traffic", traffic_scaling_control=word)
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    return sorted(path.name for path in (bed.folder / "state").glob("traffic.*")) if done.returncode == 0 else None


def test_a_person_pauses_and_stops_a_restoration_from_elsewhere(bed: Balanced) -> None:
    def stop() -> None:
        until(lambda: bed.weights() == QUARTER, 60, "a quarter is never let in")
        assert control(bed, "abort") == ["traffic.abort"]

    run(bed, "enable_maintenance", **WHY)
    assert control(bed, "pause") == ["traffic.pause"]
    with Load(bed.port, 100, 60):
        paused = run(bed, "restore_traffic", traffic_scaling_hold_timeout=4)
        assert (told(paused)[0], bed.weights()) == ("unproven", TENTH), paused["shown"]
        assert control(bed, "go_on") == []
        stopping = threading.Thread(target=stop, daemon=True)
        stopping.start()
        aborted = run(bed, "restore_traffic")
        stopping.join(10)
    assert told(aborted) == ("undone", "aborted"), aborted["shown"]
    # How far it had come when it was told depends on the second; it is back where it had proven itself last.
    stands = bed.weights()
    assert stands in (TENTH, QUARTER, {**TENTH, "spare": 2})
    assert (told(run(bed, "restore_traffic")), bed.weights()) == (("refused", "aborted"), stands)
    assert control(bed, "stop") is None


def test_what_a_person_sets_during_a_restoration_stays_and_ends_it(bed: Balanced) -> None:
    def shut() -> None:
        until(lambda: bed.weights() == QUARTER, 60, "a quarter is never let in")
        bed.ask(f"add map {bed.map} {POOL} 300")
        bed.ask(f"set server {POOL}/api2 state maint")

    run(bed, "enable_maintenance", **WHY)
    with Load(bed.port, 90, 60) as load:
        person = threading.Thread(target=shut, daemon=True)
        person.start()
        outcome = run(bed, "restore_traffic", traffic_scaling_sample_window=3)
        person.join(10)
        # Long enough for a run that overrules it.
        time.sleep(3)
        assert in_maintenance(bed), outcome["shown"]
    assert told(outcome) == ("refused", "changed_by_another"), outcome["shown"]
    assert "api2 ready -> maint" in outcome["shown"]
    assert "maintenance was turned on" in outcome["shown"]
    assert (bed.weights(), bed.states()["api2"][1]) == (QUARTER, 1)
    # No later run ends what nobody of us set.
    assert owed(bed) == []
    reconcile(bed)
    assert in_maintenance(bed)
    assert load.counted().failed == []
    assert set(load.counted().statuses) == {200, 503}


def test_every_balancer_is_tried_also_where_the_first_is_down(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)
    hosts = bed.folder / "play/hosts.json"
    dead = {"haproxy_address": str(bed.folder / "nobody.sock"), "haproxy_maintenance_map": str(bed.map)}
    lost = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    there: dict[str, dict[str, t.Any]] = {"first": {"traffic_scaling_balancer_options": dead}, "second": lost, "third": {}}
    hosts.write_text(json.dumps({"all": {"children": {"machine": {"hosts": there}}}}))
    given = given_to(bed, remediation_outcome_file=str(bed.folder / "play/outcome.json"), ansible_python_interpreter=sys.executable)
    options = given.pop("traffic_scaling_balancer_options")
    there["third"]["traffic_scaling_balancer_options"] = options
    for one in ("first", "third"):
        there[one].update(ansible_connection="local", remediation_state_dir=str(bed.folder / ("state" if one == "third" else "other")))
    given.pop("remediation_state_dir")
    hosts.write_text(json.dumps({"all": {"children": {"machine": {"hosts": there}}}}))
    (bed.folder / "play/given.json").write_text(json.dumps(given))
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    words = [program, "-i", str(hosts), "-e", f"@{bed.folder}/play/given.json", str(ROOT / "playbooks/disable_maintenance.yml")]
    done = run_ansible(words, cwd=ROOT, env=environment(), timeout=240)
    assert not in_maintenance(bed), done.stdout
    assert done.returncode != 0
    for row in ("first/traffic   REFUSED", "third/traffic   RECOVERED", "second/traffic  MISSING"):
        assert row in done.stdout, done.stdout


# Tables tell the same of these.
LATER = pytest.mark.long


@pytest.mark.parametrize(
    ("name", "more", "code"),
    [
        ("scale_traffic", {"traffic_scaling_pool": "nowhere"}, "unknown_pool"),
        pytest.param("scale_traffic", {"traffic_scaling_servers": {"api9": {"weight": 1}}}, "unknown_server", marks=LATER),
        pytest.param("scale_traffic", {"traffic_scaling_servers": {"api1": {"weight": 257}}}, "weight_out_of_range", marks=LATER),
        ("scale_traffic", {"traffic_scaling_servers": {"api1": {"admin": "drain"}, "api2": {"weight": 0}}}, "last_server"),
        ("scale_traffic", {"traffic_scaling_pool": "a b; shutdown frontend front"}, "health_unknown"),
        pytest.param("restore_traffic", {"traffic_scaling_steps": [10, 50, 25, 100]}, "steps_not_rising", marks=LATER),
        ("restore_traffic", {"traffic_scaling_main": ["{{ 1 }}"]}, "unknown_server"),
        ("enable_maintenance", {**WHY, "traffic_scaling_balancer_options": {}}, "health_unknown"),
        # It would never end.
        ("enable_maintenance", {**WHY, "traffic_scaling_maintenance_seconds": 0}, "bad_input"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(bed: Balanced, name: str, more: dict[str, t.Any], code: str) -> None:
    outcome = run(bed, name, **more)
    assert (told(outcome), outcome["code"] != 0) == (("refused", code), True), outcome["shown"]
    assert (bed.weights(), in_maintenance(bed)) == (FULL, False)
    assert bed.load(20, 1).statuses == {200: 20}


def test_with_no_server_up_nobody_is_let_in_and_cold_caches_let_in_step_by_step_only(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)
    assert told(run(bed, "disable_maintenance", traffic_scaling_cold="Redis began empty")) == ("refused", "cold_cache")
    for name in ("api1", "api2", "spare"):
        bed.stop(name)
    for name in ("api1", "api2", "spare"):
        waited(bed, name, "DOWN")
    assert told(run(bed, "disable_maintenance")) == ("refused", "no_server_up")
    assert told(run(bed, "restore_traffic")) == ("refused", "no_server_up")
    assert in_maintenance(bed)


def test_a_drain_has_an_end_and_what_a_reload_lost_is_set_again(bed: Balanced) -> None:
    outcome = run(bed, "scale_traffic", traffic_scaling_servers={"api2": {"admin": "drain"}}, traffic_scaling_set_seconds=1)
    assert told(outcome)[0] == "recovered", outcome["shown"]
    assert bed.load(50, 1).servers == {"api1": 50}
    bed.reload()
    assert set(bed.load(50, 1).servers) == {"api1", "api2"}
    assert told(run(bed, "scale_traffic"))[0] == "recovered"
    assert bed.load(50, 1).servers == {"api1": 50}
    time.sleep(1)
    reconcile(bed)
    assert set(bed.load(50, 1).servers) == {"api1", "api2"}
    assert owed(bed) == []


def test_a_server_that_is_set_once_more_goes_back_to_how_it_was_first_and_a_run_that_fails_leaves_the_end_as_it_was(bed: Balanced) -> None:
    def give(seconds: float, server: str, change: dict[str, t.Any], **more: t.Any) -> str:
        given = {"traffic_scaling_servers": {server: change}, "traffic_scaling_set_seconds": seconds, **more}
        given["traffic_scaling_budget"] = {"attempts": 50, "within_seconds": 900}
        return told(run(bed, "scale_traffic", **given))[0]

    nowhere = {"traffic_scaling_client_url": "http://127.0.0.1:1/"}
    usual = bed.load(50, 1).servers
    assert give(600, "api2", {"admin": "drain"}) == "recovered"
    assert give(600, "api2", {"admin": "ready", "weight": 50}) == "recovered"
    ends = ends_of(bed)
    assert [(part, was) for part, was, _end in ends] == [("api2", {"admin": "ready", "weight": 100})]
    assert give(0, "api2", {"weight": 20}, **nowhere) == give(900, "api1", {"weight": 20}, **nowhere) == "undone"
    assert ends_of(bed) == ends
    assert give(0.5, "api1", {"weight": 10}) == "recovered"
    time.sleep(0.5)
    reconcile(bed)
    assert ends_of(bed) == ends
    assert give(0, "api2", {"weight": 100}) == "recovered"
    assert (bed.load(50, 1).servers, ends_of(bed)) == (usual, [])


def ends_of(bed: Balanced) -> list[tuple[str, t.Any, float]]:
    """The servers that have an end: which, how each was, and when."""
    with contextlib.closing(sqlite3.connect(bed.folder / "state/ledger.sqlite")) as ledger:
        rows = ledger.execute("select body, ends_at from obligation where ended_at is null order by id").fetchall()
    return [(json.loads(body)["part"], json.loads(body)["was"], end) for body, end in rows]


def reconcile(bed: Balanced) -> subprocess.CompletedProcess[str]:
    return run_ansible(command(bed, "reconcile"), cwd=ROOT, env=environment(), timeout=120)


def command(bed: Balanced, name: str, **more: t.Any) -> list[str]:
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (bed.folder / "given.json").write_text(json.dumps({**given_to(bed, **more), **here}))
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    return [program, "-i", "machine,", "-e", f"@{bed.folder}/given.json", str(ROOT / "playbooks" / f"{name}.yml")]


def environment() -> dict[str, str]:
    given = {"ANSIBLE_COLLECTIONS_PATH": f"{OURS}:{BORROWED}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}
    return {**os.environ, **given}


def test_maintenance_whose_end_has_come_ends_only_when_a_server_is_up(bed: Balanced) -> None:
    run(bed, "enable_maintenance", traffic_scaling_maintenance_seconds=1, **WHY)
    for name in ("api1", "api2", "spare"):
        bed.stop(name)
        waited(bed, name, "DOWN")
    done = reconcile(bed)
    assert (done.returncode != 0, in_maintenance(bed)) == (True, True), done.stdout
    assert "prolonged by 600 s" in done.stdout
    assert owed(bed) == [("maintenance_off", True)]
    with contextlib.closing(sqlite3.connect(bed.folder / "state/ledger.sqlite")) as ledger:
        ledger.execute("update obligation set ends_at=1")
        ledger.commit()
    bed.start_server("api1")
    waited(bed, "api1", "UP")
    done = reconcile(bed)
    assert (done.returncode, in_maintenance(bed), owed(bed)) == (0, False, []), done.stdout


def test_what_a_dead_run_left_is_gone_on_with(bed: Balanced) -> None:
    brief = {"traffic_scaling_shift_timeout": 2}
    run(bed, "enable_maintenance", **WHY)
    with Load(bed.port, 100, 100) as load:
        with subprocess.Popen(
            command(bed, "restore_traffic", **brief),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as dying:
            until(lambda: bed.weights() == QUARTER, 60, "a quarter is never let in")
            os.killpg(dying.pid, signal.SIGKILL)
        # What it did last might go on for the time that a change may take.
        time.sleep(brief["traffic_scaling_shift_timeout"] + 1)
        assert bed.weights() == QUARTER
        done = reconcile(bed)
    assert (done.returncode, bed.weights(), owed(bed)) == (0, FULL, []), done.stdout
    assert load.counted().failed == []


def test_maintenance_that_a_dead_run_left_is_ended(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)
    with contextlib.closing(sqlite3.connect(bed.folder / "state/ledger.sqlite")) as ledger:
        # As a take-over writes it down: nobody answers for it any more.
        ledger.execute("update run set outcome='abandoned'")
        ledger.commit()
    done = reconcile(bed)
    assert (done.returncode, in_maintenance(bed), owed(bed)) == (0, False, []), done.stdout


def test_a_reload_in_the_middle_of_a_step_is_noticed_and_the_step_set_again(bed: Balanced) -> None:
    run(bed, "enable_maintenance", **WHY)

    def reload() -> None:
        until(lambda: bed.weights() == QUARTER, 60, "a quarter is never let in")
        bed.reload()

    reloading = threading.Thread(target=reload, daemon=True)
    with Load(bed.port, 100, 100) as load:
        reloading.start()
        outcome = run(bed, "restore_traffic", traffic_scaling_sample_window=4)
        reloading.join(10)
    assert (told(outcome)[0], bed.weights()) == ("recovered", FULL), outcome["shown"]
    assert "a reload of the balancer lost what was set" in outcome["shown"]
    assert load.counted().failed == []


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_latency_that_prometheus_measures_steps_it_back(bed: Balanced) -> None:
    address = bed.prometheus()
    run(bed, "enable_maintenance", **WHY)
    rate = "sum by (le) (rate(somabrain_http_latency_seconds_bucket{server=~'api.'}[5s]))"
    metrics = {"prometheus_url": address, "queries": {"p95": f"histogram_quantile(0.95, {rate})"}}
    gates = {"error_rate": 0.05, "p95": 0.4, "recall_p95": None, "factor": 9, "room": {"error_rate": 0.01, "p95": 0.1}}

    def slow_down() -> None:
        until(lambda: bed.weights() == QUARTER, 90, "a quarter is never let in")
        for name in ("api1", "api2"):
            bed.faults_of(name).write_text(json.dumps({"delay_seconds": 0.8, "paths": list(PATHS)}))

    slowing = threading.Thread(target=slow_down, daemon=True)
    with Load(bed.port, 100, 100):
        slowing.start()
        outcome = run(
            bed, "restore_traffic", traffic_scaling_metrics=metrics, traffic_scaling_gates=gates, traffic_scaling_sample_window=8,
            traffic_scaling_hold_timeout=40,
        )  # fmt: skip
        slowing.join(10)
    assert told(outcome)[0] == "undone", outcome["shown"]
    assert "p95" in outcome["failure"]["msg"]
