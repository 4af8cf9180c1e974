# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on a real nginx, as a person runs them: maintenance and back, shares step by step under load, drains, refusals."""

from __future__ import annotations

import contextlib
import json
import threading
import typing as t
from pathlib import Path

import pytest
from farms.nginx import NGINX, OPERATOR, POOL, Farm, Load, running
from farms.playing import run_playbook

from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer.nginx import load

pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed; scripts/test integration installs nginx-light")
FIRST = {"api1": (100, "ready"), "api2": (100, "ready"), "spare": (0, "ready"), "overflow": (0, "ready")}


@pytest.fixture
def farm(tmp_path: Path) -> t.Iterator[Farm]:
    with running(tmp_path) as found:
        yield found


def run(farm: Farm, playbook: str, *words: str, **given: t.Any) -> dict[str, t.Any]:
    """Run a playbook on the pool, with samples as small as they may be."""
    place = {name: value for name, value in farm.options.items() if name.startswith("nginx_")}
    common = {
        "traffic_scaling_hosts": "machine", "traffic_scaling_balancer": "nginx", "traffic_scaling_pool": POOL,
        "traffic_scaling_balancer_options": place, "traffic_scaling_main": ["api1", "api2"],
        "traffic_scaling_metrics": {}, "traffic_scaling_minimum": 20,
        "traffic_scaling_probes": {"probe_path": "/", "probes_per_second": 100}, "traffic_scaling_sample_window": 1,
        "traffic_scaling_settle_seconds": 0.3,
        "traffic_scaling_hold_timeout": 15, "traffic_scaling_gates": {"error_rate": 0.05, "p95": 5, "factor": 1, "room": {}},
        "traffic_scaling_patience": {"passes": 2, "window": 0.2, "timeout": 15, "interval": 0.1},
        "remediation_state_dir": str(farm.root / "ledger"), "remediation_reason": "a test", "ansible_become": False,
    }  # fmt: skip
    return run_playbook(farm.root, playbook, {**common, **given}, *words)


def told(outcome: dict[str, t.Any]) -> tuple[str, str]:
    """Return the outcome and the code of its first reason."""
    return outcome["outcome"], (outcome["reasons"] or [{"code": ""}])[0]["code"]


def weights(farm: Farm) -> dict[str, tuple[int, str]]:
    state = load(farm.options, 20)
    assert state["reachable"], state["detail"]
    return {one["name"]: (one["weight"], one["admin"]) for one in state["servers"]}


@contextlib.contextmanager
def broken_at(farm: Farm, overflow: int) -> t.Iterator[None]:
    """Let /fragile of the servers answer 503 for as long as the overflow has that weight."""
    end, mark = threading.Event(), farm.root / "behind/fragile"

    def follow() -> None:
        while not end.wait(0.01):
            if f"weight={overflow};" in farm.upstreams.read_text():
                mark.unlink(missing_ok=True)
            else:
                mark.touch()

    mark.touch()
    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_maintenance_begins_stays_and_ends(farm: Farm) -> None:
    url = {"traffic_scaling_client_url": f"http://127.0.0.1:{farm.port}/"}
    assert told(run(farm, "enable-maintenance", "--check", **url)) == ("rehearsed", "")
    assert farm.get().status == 200
    outcome = run(farm, "enable-maintenance", **url)
    assert told(outcome) == ("recovered", ""), outcome["shown"]
    assert (farm.get().status, farm.get().headers["Retry-After"]) == (503, "120")
    assert (farm.get("/health").status, farm.get(source=OPERATOR).status) == (200, 200)
    assert told(run(farm, "enable-maintenance", **url))[0] == "nothing_to_do"
    outcome = run(farm, "disable-maintenance", **url)
    assert (told(outcome), farm.get().status) == (("recovered", ""), 200), outcome["shown"]


def test_clients_come_back_step_by_step_and_no_request_is_lost(farm: Farm) -> None:
    assert told(run(farm, "enable-maintenance"))[0] == "recovered"
    with Load(farm, rate=100) as traffic:
        outcome = run(farm, "restore-traffic")
    assert told(outcome) == ("recovered", ""), outcome["shown"]
    assert weights(farm) == FIRST
    assert traffic.lost == []
    assert set(traffic.answers) == {200, 503}
    for share in (10, 25, 50, 100):
        assert f"{share:3g} %: " in outcome["shown"]
    assert {farm.get().status for _turn in range(20)} == {200}
    assert told(run(farm, "restore-traffic"))[0] == "nothing_to_do"


def test_what_regresses_goes_back_to_where_it_began(farm: Farm) -> None:
    assert told(run(farm, "enable-maintenance"))[0] == "recovered"
    outcome = run(farm, "restore-traffic", traffic_scaling_probes={"probe_path": "/own503", "probes_per_second": 100})
    assert outcome["outcome"] == "undone", outcome["shown"]
    assert "regressed" in outcome["shown"]
    assert (weights(farm), load(farm.options, 20)["maintenance"]["on"]) == (FIRST, True)


def test_what_regresses_later_goes_back_to_the_last_share_that_was_well_and_stays_there(farm: Farm) -> None:
    assert told(run(farm, "enable-maintenance"))[0] == "recovered"
    # The application breaks once the second step is set, and mends when that is taken back.
    with broken_at(farm, overflow=6):
        outcome = run(farm, "restore-traffic", traffic_scaling_probes={"probe_path": "/fragile", "probes_per_second": 100})
    assert outcome["outcome"] == "undone", outcome["shown"]
    assert weights(farm) == {**FIRST, "api1": (1, "ready"), "api2": (1, "ready"), "overflow": (18, "ready")}
    assert load(farm.options, 20)["maintenance"]["on"] is False


def test_too_small_a_sample_is_not_good_and_the_share_stays(farm: Farm) -> None:
    assert told(run(farm, "enable-maintenance"))[0] == "recovered"
    outcome = run(farm, "restore-traffic", traffic_scaling_probes={}, traffic_scaling_hold_timeout=2)
    assert outcome["outcome"] == "unproven", outcome["shown"]
    spread = farm.spread(40)
    assert (spread["api1"] + spread["api2"], spread["overflow"]) == (4, 36)


def test_a_server_is_drained_and_the_last_one_is_not(farm: Farm) -> None:
    outcome = run(farm, "scale-traffic", traffic_scaling_servers={"api1": {"admin": "drain"}})
    assert (told(outcome), farm.spread(10)) == (("recovered", ""), {"api2": 10}), outcome["shown"]
    before = farm.upstreams.read_bytes()
    last = run(farm, "scale-traffic", traffic_scaling_servers={"api2": {"admin": "drain"}})
    too_much = run(farm, "scale-traffic", traffic_scaling_servers={"api2": {"weight": 257}})
    assert (told(last), told(too_much)) == (("refused", "last_server"), ("refused", "weight_out_of_range"))
    assert farm.upstreams.read_bytes() == before


def test_a_reload_that_nginx_gives_up_fails_in_its_words_and_leaves_everything(farm: Farm) -> None:
    farm.write_front(farm.front.replace("$binary_remote_addr", "$remote_addr"))
    before = farm.upstreams.read_bytes(), farm.maintenance.read_bytes()
    outcome = run(farm, "enable-maintenance")
    assert outcome["outcome"] == "undone", outcome["shown"]
    assert "limit_req" in outcome["shown"]
    assert (farm.upstreams.read_bytes(), farm.maintenance.read_bytes()) == before
    assert farm.get().status == 200


def test_a_configuration_that_nginx_does_not_take_changes_nothing_and_a_dead_nginx_is_unknown(farm: Farm) -> None:
    farm.write_front(farm.front + "no_such_word on;\n")
    before = farm.upstreams.read_bytes(), farm.maintenance.read_bytes(), farm.workers()
    outcome = run(farm, "scale-traffic", traffic_scaling_servers={"api1": {"weight": 1}})
    assert told(outcome) == ("refused", "health_unknown"), outcome["shown"]
    assert "no_such_word" in outcome["shown"]
    assert (farm.upstreams.read_bytes(), farm.maintenance.read_bytes(), farm.workers()) == before
    farm.write_front(farm.front)
    farm.stop()
    outcome = run(farm, "enable-maintenance")
    assert told(outcome) == ("refused", "health_unknown"), outcome["shown"]
    assert (farm.upstreams.read_bytes(), farm.maintenance.read_bytes()) == before[:2]


def test_a_configuration_without_the_switch_and_a_file_of_somebody_else_are_refused(farm: Farm) -> None:
    farm.write_front(farm.front.replace(f"include {farm.maintenance};", ""))
    farm.reload()
    assert told(run(farm, "enable-maintenance")) == ("refused", "switch_missing")
    farm.upstreams.write_text(farm.upstreams.read_text().replace("zone somabrain 64k;", "least_conn;"))
    farm.reload()
    before = farm.upstreams.read_bytes()
    outcome = run(farm, "scale-traffic", traffic_scaling_servers={"api1": {"weight": 1}})
    assert outcome["outcome"] == "refused"
    assert "line 2: with least_conn the shares" in json.dumps(outcome["before"])
    assert farm.upstreams.read_bytes() == before
