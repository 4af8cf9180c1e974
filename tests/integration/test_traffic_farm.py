# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed on which changes of traffic are tried is what it says: shares follow weights, maintenance is a proper 503, a reload forgets."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from farms.traffic import HAPROXY, PROMETHEUS, Balanced
from farms.waiting import until
from somabrain_drill.errors import DrillError
from somabrain_drill.traffic.bed import OPERATOR
from somabrain_drill.traffic.load import Load
from somabrain_drill.traffic.writers import Ledger

pytestmark = pytest.mark.skipif(not HAPROXY, reason="no haproxy is installed here")


@pytest.fixture(scope="module")
def shared() -> t.Iterator[Balanced]:
    with Balanced() as bed:
        yield t.cast(Balanced, bed)


@pytest.fixture
def balanced(shared: Balanced) -> t.Iterator[Balanced]:
    """The bed as its configuration has it."""
    yield shared
    for name in shared.ports:
        shared.faults_of(name).unlink(missing_ok=True)
    shared.ask(f"clear map {shared.map}")
    for name, weight in {"api1": 100, "api2": 100, "spare": 0, "overflow": 0}.items():
        shared.ask(f"set server api/{name} weight {weight}")


def weigh(bed: Balanced, **weights: int) -> None:
    for name, weight in weights.items():
        assert not bed.ask(f"set server api/{name} weight {weight}")


def test_shares_follow_the_weights(balanced: Balanced) -> None:
    weigh(balanced, api1=50, api2=50, spare=50, overflow=50)
    even = balanced.load(125, 4)
    weigh(balanced, api1=45, api2=45, spare=0, overflow=10)
    uneven = balanced.load(125, 4)
    assert len(even.answers) == len(uneven.answers) == 500
    assert all(abs(even.share(name) - 25) <= 2 for name in ("api1", "api2", "spare", "overflow")), even.servers
    wanted = {"api1": 45, "api2": 45, "overflow": 10}
    assert all(abs(uneven.share(name) - share) <= 2 for name, share in wanted.items()), uneven.servers
    assert {one.retry_after for one in uneven.answers if one.server == "overflow"} == {"30"}
    assert not uneven.failed


def test_maintenance_answers_clients_and_lets_probes_and_operators_through(balanced: Balanced) -> None:
    assert not balanced.ask(f"add map {balanced.map} api 120")
    told = {(one.status, one.server, one.retry_after) for one in balanced.load(50, 1).answers}
    assert told == {(503, "maintenance", "120")}
    assert balanced.load(50, 0.4, paths=["/health", "/metrics"]).statuses == {200: 20}
    operator = balanced.load(50, 0.4, source=OPERATOR)
    assert operator.statuses == {200: 20}
    assert set(operator.servers) == {"api1", "api2"}
    assert not balanced.ask(f"del map {balanced.map} api")
    assert balanced.load(50, 0.4).statuses == {200: 20}


def test_a_reload_loses_weights_and_no_request(balanced: Balanced) -> None:
    weigh(balanced, api1=0)
    before, worker = balanced.weights(), balanced.worker()
    with Load(balanced.port, 50) as load:
        until(lambda: len(load.counted().answers) > 20)
        balanced.reload()
        reached = len(load.counted().answers)
        until(lambda: len(load.counted().answers) > reached + 20)
    assert (before["api1"], balanced.weights()["api1"]) == (0, 100)
    assert balanced.worker() != worker
    assert load.counted().statuses == {200: len(load.counted().answers)}


def test_a_fault_hits_its_share_of_the_requests(balanced: Balanced) -> None:
    balanced.faults_of("api1").write_text(json.dumps({"share": 0.2, "status": 500, "paths": ["/recall"]}))
    weigh(balanced, api2=0)
    assert balanced.load(100, 1, paths=["/recall"]).statuses == {200: 80, 500: 20}
    assert balanced.load(100, 0.5, paths=["/remember"]).statuses == {200: 50}


def test_what_answers_nothing_is_counted_apart(balanced: Balanced) -> None:
    balanced.faults_of("api1").write_text('{"refuse": true}')
    alone = Load(balanced.ports["api1"], 50, 0.4).run()
    assert alone.statuses == {0: 20}
    assert len(alone.failed) == 20
    assert not alone.servers
    until(lambda: not balanced.is_up(), 10, "HAProxy does not see that a server answers nothing")
    assert balanced.load(50, 0.4).servers == {"api2": 20}
    balanced.faults_of("api1").unlink()
    until(balanced.is_up, 10, "HAProxy does not see that a server answers again")


def test_a_request_is_lost_only_where_nobody_answers_it(balanced: Balanced, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "acknowledged.log", balanced.port)
    balanced.faults_of("api1").write_text('{"share": 1, "paths": ["/recall", "/remember"]}')
    ledger.write(10)
    weigh(balanced, api1=0, api2=0, overflow=1)
    ledger.write(10)
    balanced.ask(f"add map {balanced.map} api 120")
    ledger.write(10)
    assert ledger.compare() == {"acknowledged": 5, "missing": 0, "wrong": 0, "resurrected": 0, "lapsed": 0}
    balanced.ask(f"clear map {balanced.map}")
    weigh(balanced, overflow=0)
    ledger.write(10)
    assert ledger.compare()["missing"] == 10
    ledger.forget_failures()
    ledger.write(1)
    assert ledger.compare() == {"acknowledged": 5, "missing": 1, "wrong": 0, "resurrected": 0, "lapsed": 0}
    ledger.close()


def test_a_load_has_bounds(balanced: Balanced) -> None:
    for wrong in ({"rate": 501}, {"rate": 1, "seconds": 121}, {"rate": 1, "source": "10.0.0.1"}):
        with pytest.raises(DrillError):
            Load(balanced.port, **t.cast("dict[str, t.Any]", wrong))


@pytest.mark.skipif(not PROMETHEUS, reason="no prometheus is installed here")
def test_prometheus_sees_what_the_load_did(balanced: Balanced) -> None:
    balanced.prometheus()
    counted = balanced.load(50, 2)
    until(lambda: (balanced.query('sum(somabrain_http_requests_total{path=~"/re.*"})') or 0) >= 100, 20)
    total = sum(balanced.query(f'sum(somabrain_http_requests_total{{path="/recall",server="{name}"}})') or 0 for name in balanced.ports)
    assert total >= counted.statuses[200] / 2
    bucket = 'histogram_quantile(0.95, sum by (le) (somabrain_recall_ltm_latency_seconds_bucket{cohort="baseline"}))'
    assert 0 <= (balanced.query(bucket) or 1) < 0.5
