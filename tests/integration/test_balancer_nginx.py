# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real nginx asked and changed by its two files: shares, drains, maintenance, reloads under load, and whatever goes wrong on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
import typing as t
from pathlib import Path

import pytest
from farms.haproxies import Answering
from farms.nginx import NGINX, OPERATOR, POOL, Farm, Load, children, running, title
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer.nginx import PATIENCE, load, shift
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.gates import judge_sample, line_of, sample_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.process import loaded_at
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.put import put, read_loaded

pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed; scripts/test integration installs nginx-light")
DEADLINE = 20.0


@pytest.fixture
def farm(tmp_path: Path) -> t.Iterator[Farm]:
    with running(tmp_path) as found:
        yield found


def weights(farm: Farm) -> dict[str, tuple[int, str]]:
    state = load(farm.options, DEADLINE)
    assert state["reachable"], state["detail"]
    return {one["name"]: (one["weight"], one["admin"]) for one in state["servers"]}


def set_weights(farm: Farm, **given: int) -> list[str]:
    return shift(farm.options, {"servers": {name: {"weight": weight} for name, weight in given.items()}, "maintenance": None}, DEADLINE)


def close(farm: Farm, on: bool = True, retry_after: int = 45) -> list[str]:
    switch = {"on": on, "retry_after": retry_after, "reason": 'upgrade"; return 444; #'}
    return shift(farm.options, {"servers": {}, "maintenance": switch}, DEADLINE)


def snapshot(farm: Farm) -> dict[str, tuple[bytes, int, int]]:
    files = [path for path in sorted(farm.root.iterdir()) if path.suffix == ".conf" or ".conf." in path.name]
    return {path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in files}


FIRST = {"api1": (100, "ready"), "api2": (100, "ready"), "spare": (0, "ready"), "overflow": (0, "ready")}


def test_a_look_tells_servers_health_and_switch(farm: Farm) -> None:
    farm.well("api2", False)
    state = load(farm.options, DEADLINE)
    assert set(state) == set(traffic_pool.blank("nginx", POOL))
    assert (state["reachable"], state["detail"], state["pool"], state["pools"]) == (True, "", POOL, [POOL])
    assert state["version"][0].isdigit()
    assert state["identity"]["pid"] == farm.pid()
    assert {one["name"]: (one["up"], one["status"]) for one in state["servers"]} == {
        "api1": (True, "200"), "api2": (False, "503"), "spare": (True, "200"), "overflow": (None, ""),
    }  # fmt: skip
    assert weights(farm) == FIRST
    assert {one["initial"] for one in state["servers"]} == {100, 0}
    assert all(one[key] is None for one in state["servers"] for key in ("requests", "errors", "counted"))
    # Connections that wait for an answer, or are kept for later ones.
    assert all(isinstance(one["sessions"], int) for one in state["servers"])
    assert state["maintenance"] == {"prepared": True, "on": False, "retry_after": None, "detail": ""}


def test_a_pool_that_is_not_there_is_told_with_those_that_are(farm: Farm) -> None:
    state = load(dict(farm.options, pool="other"), DEADLINE)
    assert (state["reachable"], state["pool"], state["pools"], state["servers"]) == (True, "", [POOL], [])


@pytest.mark.parametrize(
    ("main", "overflow", "wanted"), [(1, 18, 20), (1, 6, 50), (1, 2, 100), (100, 0, 200)], ids=["10 %", "25 %", "50 %", "100 %"]
)
def test_each_step_of_a_restoration_is_exact(farm: Farm, main: int, overflow: int, wanted: int) -> None:
    set_weights(farm, api1=main, api2=main, overflow=overflow)
    assert weights(farm)["overflow"] == (overflow, "ready")
    found = farm.spread(200)
    assert found == {name: count for name, count in (("api1", wanted // 2), ("api2", wanted // 2), ("overflow", 200 - wanted)) if count}


def test_a_drained_server_gets_nothing_keeps_its_weight_and_comes_back(farm: Farm) -> None:
    identity = load(farm.options, DEADLINE)["identity"]
    shift(farm.options, {"servers": {"api1": {"admin": "drain"}}, "maintenance": None}, DEADLINE)
    assert weights(farm)["api1"] == (100, "drain")
    assert farm.spread(20) == {"api2": 20}
    shift(farm.options, {"servers": {"api1": {"admin": "ready"}}, "maintenance": None}, DEADLINE)
    assert weights(farm) == FIRST
    assert farm.spread(20) == {"api1": 10, "api2": 10}
    assert load(farm.options, DEADLINE)["identity"] == identity
    assert "max_fails=2 fail_timeout=5s" in farm.upstreams.read_text()


def test_maintenance_is_a_503_that_says_when_to_come_back_and_lets_operators_and_probes_through(farm: Farm) -> None:
    close(farm)
    assert load(farm.options, DEADLINE)["maintenance"] == {"prepared": True, "on": True, "retry_after": 45, "detail": ""}
    for method, body in (("GET", None), ("POST", b"x" * 100_000), ("DELETE", None)):
        answer = farm.get("/remember", method=method, body=body)
        assert (answer.status, answer.body) == (503, '{"detail":"maintenance"}')
        assert (answer.headers["Retry-After"], answer.headers["Content-Type"]) == ("45", "application/json")
        assert answer.headers["Cache-Control"] == "no-store"
    assert [farm.get(path).status for path in ("/health", "/healthz", "/readyz", "/metrics", "/healthy", "/")] == [200] * 4 + [503] * 2
    assert farm.get("/", source=OPERATOR).body in ("api1", "api2")
    assert "upgrade" not in farm.maintenance.read_text() + farm.upstreams.read_text()
    close(farm, on=False)
    assert farm.get().status == 200
    assert load(farm.options, DEADLINE)["maintenance"]["on"] is False


def test_a_503_of_the_application_is_not_taken_for_maintenance(farm: Farm) -> None:
    for on in (True, False):
        close(farm, on)
        answer = farm.get("/own503", source=OPERATOR)
        assert (answer.status, answer.body, answer.headers.get("Retry-After")) == (503, "of the application", None)


def test_weights_and_switch_change_in_one_reload(farm: Farm) -> None:
    before = farm.workers()
    switch = {"on": True, "retry_after": 5, "reason": ""}
    shift(farm.options, {"servers": {"api1": {"weight": 3}, "api2": {"admin": "maint"}}, "maintenance": switch}, DEADLINE)
    state = load(farm.options, DEADLINE)
    assert (weights(farm)["api1"], weights(farm)["api2"], state["maintenance"]["on"]) == ((3, "ready"), (100, "maint"), True)
    assert len(farm.workers()) == len(before)
    assert (farm.root / "error.log").read_text().count("(SIGHUP) received") == 1


def test_what_is_so_already_loads_nothing_anew(farm: Farm) -> None:
    set_weights(farm, api1=7)
    before, workers = snapshot(farm), farm.workers()
    assert set_weights(farm, api1=7) == []
    assert (snapshot(farm), farm.workers()) == (before, workers)


def test_no_request_is_lost_by_reloads_under_load(farm: Farm) -> None:
    with Load(farm, rate=200) as traffic:
        for weight in (10, 50, 1, 100):
            set_weights(farm, api1=weight)
            threading.Event().wait(0.7)
    assert traffic.lost == []
    assert set(traffic.answers) == {200}
    assert sum(traffic.answers.values()) >= 200


def test_a_long_request_is_finished_by_the_worker_of_before_and_told(farm: Farm) -> None:
    got: list[t.Any] = []
    thread = threading.Thread(target=lambda: got.append(farm.get("/slow")))
    thread.start()
    threading.Event().wait(0.5)
    warnings = set_weights(farm, api1=1)
    thread.join()
    assert [len(warnings), "still finish" in " ".join(warnings)] == [1, True]
    assert (got[0].status, len(got[0].body)) == (200, 500_000)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"api9": {"weight": 1}}, "no server api9"),
        ({"api1\n} server evil;": {"weight": 1}}, "no server api1\\n"),
        ({"api1": {"weight": 257}}, "0 to 256"),
        ({"api1": {"weight": -1}}, "0 to 256"),
        ({"api1": {"weight": "5; evil on"}}, "0 to 256"),
        ({"api1": {"weight": True}}, "0 to 256"),
        ({"api1": {"admin": "off;"}}, "ready, drain or maint"),
    ],
)
def test_what_nginx_could_not_mean_is_refused_and_nothing_touched(farm: Farm, change: dict[str, t.Any], told: str) -> None:
    before, workers = snapshot(farm), farm.workers()
    with pytest.raises(StepError, match="nothing was changed") as error:
        shift(farm.options, {"servers": change, "maintenance": None}, DEADLINE)
    assert told in str(error.value)
    assert error.value.data["reasons"][0]["code"] == "balancer_refused"
    assert (snapshot(farm), farm.workers()) == (before, workers)


@pytest.mark.parametrize("retry_after", ["30", "1 always; evil", -1, 10**9, True, None])
def test_a_time_that_is_none_never_gets_into_a_file(farm: Farm, retry_after: t.Any) -> None:
    before = snapshot(farm)
    with pytest.raises(StepError, match="retry_after"):
        close(farm, retry_after=retry_after)
    assert snapshot(farm) == before


def test_a_file_that_somebody_changed_into_what_is_not_understood_is_never_written_over(farm: Farm) -> None:
    farm.upstreams.write_text(farm.upstreams.read_text().replace("zone somabrain 64k;", "least_conn;"))
    farm.reload()
    before = snapshot(farm)
    state = load(farm.options, DEADLINE)
    assert (state["reachable"], "line 2: with least_conn the shares" in state["detail"]) == (False, True)
    with pytest.raises(StepError, match="line 2: with least_conn"):
        set_weights(farm, api1=1)
    assert snapshot(farm) == before


def test_a_switch_that_somebody_changed_is_not_prepared_and_never_written_over(farm: Farm) -> None:
    farm.maintenance.write_text(farm.maintenance.read_text().replace("no-store", "no-cache"))
    farm.reload()
    before = snapshot(farm)
    switch = load(farm.options, DEADLINE)["maintenance"]
    assert (switch["prepared"], "a person changed it" in switch["detail"]) == (False, True)
    with pytest.raises(StepError, match="a person changed it"):
        close(farm)
    assert snapshot(farm) == before
    set_weights(farm, api1=1)


def test_what_lies_on_the_disk_and_is_not_loaded_is_not_taken_for_what_works(farm: Farm) -> None:
    farm.upstreams.write_text(farm.upstreams.read_text().replace("weight=100;", "weight=50;"))
    state = load(farm.options, DEADLINE)
    assert (state["reachable"], "was changed after nginx loaded it" in state["detail"]) == (False, True)
    with pytest.raises(StepError, match="was changed after nginx loaded it"):
        set_weights(farm, api1=1)
    farm.reload()
    assert weights(farm)["api1"] == (50, "ready")


def test_a_server_block_that_would_stay_open_is_named(farm: Farm) -> None:
    leak = "server { listen 127.0.0.1:%d; server_name side; location / { proxy_pass http://%s; } }" % (farm.ports["api1"] + 20_000, POOL)
    farm.write_front(farm.front + leak)
    switch = load(farm.options, DEADLINE)["maintenance"]
    assert (switch["prepared"], "server block of side passes requests" in switch["detail"]) == (False, True)
    with pytest.raises(StepError, match="server block of side"):
        close(farm)
    farm.write_front(farm.front.replace("include %s;" % farm.maintenance, ""))
    assert "no server block includes" in load(farm.options, DEADLINE)["maintenance"]["detail"]


def test_a_configuration_that_fails_its_test_stops_everything_in_the_words_of_nginx(farm: Farm) -> None:
    farm.write_front(farm.front + "no_such_directive on;")
    before, workers = snapshot(farm), farm.workers()
    assert 'unknown directive "no_such_directive"' in load(farm.options, DEADLINE)["detail"]
    with pytest.raises(StepError, match='unknown directive "no_such_directive"'):
        set_weights(farm, api1=1)
    assert (snapshot(farm), farm.workers()) == (before, workers)


def test_a_change_that_fails_the_test_of_nginx_is_put_back_to_the_byte(farm: Farm) -> None:
    wrapper = farm.root / "nginx-once"
    refuses = 'for word; do [ "$word" = -t ] && { echo "nginx: [emerg] no room" >&2; exit 1; }; done'
    wrapper.write_text(f'#!/bin/sh\n{refuses}\nexec {NGINX} "$@"\n')
    wrapper.chmod(0o755)
    before, workers = snapshot(farm), farm.workers()
    options = dict(farm.options, nginx_command=[str(wrapper), *farm.command[1:]])
    with pytest.raises(StepError, match=r"nginx -t failed: nginx: \[emerg\] no room; its files were restored"):
        shift(options, {"servers": {"api1": {"weight": 1}}, "maintenance": {"on": True, "retry_after": 1, "reason": ""}}, DEADLINE)
    assert (snapshot(farm), farm.workers()) == (before, workers)
    assert weights(farm) == FIRST


def test_a_reload_that_nginx_gives_up_is_an_error_and_the_files_are_put_back(farm: Farm) -> None:
    # Passes nginx -t: only the running nginx knows that the zone had another key.
    farm.write_front(farm.front.replace("$binary_remote_addr", "$remote_addr"))
    before, workers = snapshot(farm), farm.workers()
    with pytest.raises(StepError, match="rejected it: limit_req .*were restored"):
        set_weights(farm, api1=1)
    assert (snapshot(farm), farm.workers()) == (before, workers)
    assert weights(farm) == FIRST
    assert farm.spread(20) == {"api1": 10, "api2": 10}
    farm.write_front(farm.front)
    set_weights(farm, api1=1)


def test_a_master_that_hangs_is_an_error_and_works_by_the_old_files_when_it_comes_back(farm: Farm) -> None:
    before, workers = snapshot(farm), farm.workers()
    os.kill(farm.pid(), signal.SIGSTOP)
    with pytest.raises(StepError, match="did not start new workers within the deadline.*were restored"):
        shift(farm.options, {"servers": {"api1": {"admin": "drain"}}, "maintenance": None}, 5.0)
    assert (snapshot(farm), farm.workers()) == (before, workers)
    os.kill(farm.pid(), signal.SIGCONT)
    assert set_weights(farm, spare=1) == []
    assert weights(farm) == {**FIRST, "spare": (1, "ready")}


def died_before_the_reload(farm: Farm) -> None:
    """Leave behind what a run leaves that dies between the rename and the reload."""
    was = read_loaded(str(farm.upstreams), loaded_at(farm.workers()))
    put(was, was.text.replace("weight=100;", "weight=9;"))


@pytest.mark.parametrize("weight", [9, 100, 50], ids=["go on", "go back", "go elsewhere"])
def test_a_run_that_died_before_its_reload_hides_nothing_and_blocks_nobody(farm: Farm, weight: int) -> None:
    died_before_the_reload(farm)
    assert "weight=9;" in farm.upstreams.read_text()
    assert weights(farm) == FIRST
    assert "a run died before nginx loaded" in load(farm.options, DEADLINE)["detail"]
    set_weights(farm, api1=weight)
    assert weights(farm)["api1"] == (weight, "ready")
    assert f"weight={weight};" in farm.upstreams.read_text()
    assert load(farm.options, DEADLINE)["detail"] == ""
    assert [path.name for path in farm.root.iterdir() if "before" in path.name] == []


def test_a_run_that_died_and_a_person_who_came_after_it_are_told_apart(farm: Farm) -> None:
    died_before_the_reload(farm)
    farm.upstreams.write_text(farm.upstreams.read_text().replace("weight=9;", "weight=8;"))
    assert "was changed after nginx loaded it" in load(farm.options, DEADLINE)["detail"]


def test_files_keep_their_rights_and_may_be_links(farm: Farm) -> None:
    real = farm.root / "elsewhere.conf"
    farm.upstreams.rename(real)
    farm.upstreams.symlink_to(real)
    real.chmod(0o640)
    set_weights(farm, api1=4)
    assert farm.upstreams.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert weights(farm)["api1"] == (4, "ready")


@pytest.mark.parametrize("content", ["", "not a pid", "0", "999999999", "1", "our own"])
def test_a_pid_file_that_names_no_nginx_is_no_nginx(farm: Farm, content: str) -> None:
    path = farm.root / "other.pid"
    path.write_text(str(os.getpid()) if content == "our own" else content)
    options = dict(farm.options, nginx_pid_file=str(path))
    assert "nginx is not running" in load(options, DEADLINE)["detail"]
    with pytest.raises(StepError, match="nginx is not running.*nothing was changed"):
        shift(options, {"servers": {"api1": {"weight": 1}}, "maintenance": None}, DEADLINE)


def test_a_world_without_nginx_is_told_in_one_line(tmp_path: Path) -> None:
    state = load(Farm(tmp_path).options, DEADLINE)
    assert (state["reachable"], state["detail"].startswith("nginx: nginx is not running:")) == (False, True)


def test_a_command_that_hangs_is_ended_by_the_deadline(farm: Farm) -> None:
    state = load(dict(farm.options, nginx_command=["sleep", "60"]), 1.0)
    assert state["reachable"] is False
    hanging = farm.root / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    assert "did not end within the deadline" in load(dict(farm.options, nginx_command=[str(hanging)]), 1.0)["detail"]


def test_servers_that_do_not_answer_cost_no_more_than_their_patience(farm: Farm) -> None:
    behind = farm.pid("behind/nginx.pid")
    for pid in [behind, *children(behind)]:
        os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    state = load(farm.options, DEADLINE)
    assert PATIENCE <= time.monotonic() - begun < DEADLINE / 2
    for pid in [behind, *children(behind)]:
        os.kill(pid, signal.SIGCONT)
    told = {one["name"]: (one["up"], one["status"]) for one in state["servers"]}
    assert told == {**dict.fromkeys(("api1", "api2", "spare"), (False, "timeout")), "overflow": (None, "")}
    os.kill(behind, signal.SIGTERM)
    until(lambda: not title(behind))
    assert {one["status"] for one in load(farm.options, DEADLINE)["servers"] if one["name"] != "overflow"} == {"refused"}


def test_files_may_be_named_by_another_path_than_the_configuration_has(farm: Farm, tmp_path: Path) -> None:
    other = tmp_path / "by another name"
    other.symlink_to(tmp_path)
    options = {**farm.options, "nginx_upstream_file": f"{other}/upstream.conf", "nginx_maintenance_file": f"{tmp_path}//maintenance.conf"}
    state = load(options, DEADLINE)
    assert (state["reachable"], state["maintenance"]["prepared"]) == (True, True), state["detail"]


def test_requests_that_nginx_answers_itself_because_a_server_breaks_off_are_counted(tmp_path: Path) -> None:
    farm, breaks = Farm(tmp_path), Answering(lambda turn: "close" if turn % 3 == 0 else "ok")
    farm.upstreams.write_text(farm.upstreams.read_text().replace(f":{farm.ports['api1']} ", f":{breaks.port} max_fails=0 "))
    farm.write_front(farm.front.replace("proxy_pass http", "proxy_next_upstream off;\n        proxy_pass http"))
    try:
        farm.start()
        asked = {**farm.options, "main": ["api1"]}
        begin: dict[str, t.Any] = {"at": 0.0, "pool": load(farm.options, 10), "scraped": None, "queried": None}
        # A log that is rotated meanwhile goes on in another file.
        statuses = [farm.get("/x").status for _turn in range(30)]
        os.rename(tmp_path / "error.log", tmp_path / "error.log.1")
        os.kill(farm.pid(), signal.SIGUSR1)
        until((tmp_path / "error.log").exists, 5)
        statuses += [farm.get("/x").status for _turn in range(30)]
        failed = statuses.count(502)
        assert failed > 5
        end = {**begin, "at": 5.0, "pool": load({**farm.options, "since": begin["pool"]["marks"]}, 10)}
        made = sample_of(begin, end, {**asked, "spare": [], "overflow": []}, [])
        assert (made["missed"], made["errors"]) == (failed, failed)
        verdict = judge_sample(made, {"error_rate": 0.05}, 5)
        assert (verdict.health, "errors" in verdict.text) == ("sick", True), verdict
        assert f"{failed} of the failed by the balancer's log" in line_of(50, made, verdict)
    finally:
        breaks.end()
        farm.stop()
