# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which container has which slot of a pool; what HAProxy's answers mean, and in which order a change is told to it."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import slots as kind_slots
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.replicas import parse_all
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refusal
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.haproxy import words as haproxy_words
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.judge import judge_traffic
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.slots import Slots, judge_slots

ROOT = Path(__file__).resolve().parents[3]
OUT: dict[str, t.Any] = {"admin": "maint", "up": None, "passed": None}
IN: dict[str, t.Any] = {"admin": "ready", "up": True, "passed": True}
FREED = {"admin": "maint", "weight": 100}
DRAINED: dict[str, t.Any] = {"admin": "drain", "weight": 0}


def at(number: int) -> str:
    return f"172.18.0.{number}:9696"


def slot(name: str, number: int = 0, **given: t.Any) -> dict[str, t.Any]:
    usual = {"weight": 100, "initial": 100, "up": True, "checked": True, "passed": True, "address": at(number) if number else "127.0.0.1:1"}
    return traffic_pool.server(name, **{**usual, **({} if number else OUT), **given})


def pod(number: int, ready: bool = True, **networks: str) -> dict[str, t.Any]:
    told = networks or {"shop_default": f"172.18.0.{number}"}
    return {"name": f"shop-api-{number}", "number": number, "ready": ready, "leaves": False, "networks": told}


def pool(*slots: dict[str, t.Any], **given: t.Any) -> dict[str, t.Any]:
    beside = [traffic_pool.server("spare", up=True, checked=True), traffic_pool.server("overflow")]
    state = {"reachable": True, "pool": "brain", "pools": ["brain"], "addresses": True, "servers": [*slots, *beside], **given}
    return traffic_pool.blank("haproxy", "brain", **state)


GIVEN: dict[str, t.Any] = {
    "slots": ["api*"], "network": "", "port": 9696, "project": "shop", "spare": ["spare"], "overflow": "overflow",
}  # fmt: skip


def judged(seen: dict[str, t.Any], pods: list[dict[str, t.Any]], wanted: int, **given: t.Any) -> Slots:
    return judge_slots(seen, pods, wanted, {**GIVEN, **given})


ONE, TWO, THREE = slot("api1", 1), slot("api2", 2), slot("api3", 3)
FREE2, FREE3 = slot("api2"), slot("api3")


@pytest.mark.parametrize(
    ("seen", "pods", "wanted", "parts"),
    [
        pytest.param(pool(ONE, TWO, FREE3), [pod(1), pod(2)], 2, [{}, {}, {}, {}], id="every container has its slot"),
        pytest.param(pool(ONE, FREE2, FREE3), [pod(1)], 3, [{}, {}, {}, {}], id="those that are yet to come have none"),
        pytest.param(
            pool(ONE, FREE2, FREE3),
            [pod(1), pod(2)],
            2,
            [{"api2": {"address": at(2), "weight": 0, "admin": "ready"}}, {"api2": {"weight": 100}}, {}, {}],
            id="one without a slot gets a free one",
        ),
        pytest.param(pool(ONE, TWO), [pod(1), pod(2)], 1, [{}, {}, {"api2": DRAINED}, {}], id="one that will go is drained"),
        pytest.param(pool(ONE, {**TWO, **DRAINED}), [pod(1), pod(2)], 1, [{}, {}, {}, {}], id="and once only"),
        pytest.param(pool(ONE, {**TWO, **DRAINED, "up": False}), [pod(1)], 1, [{}, {}, {}, {"api2": FREED}], id="then it is nobody's"),
        pytest.param(
            pool(ONE, {**TWO, **DRAINED}),
            [pod(1), pod(2)],
            2,
            [{"api2": {"weight": 0, "admin": "ready"}}, {"api2": {"weight": 100}}, {}, {}],
            id="one that a dead run drained is let in where it stays",
        ),
        pytest.param(
            pool(ONE, slot("api2", 2, weight=0)),
            [pod(1), pod(2)],
            2,
            [{}, {"api2": {"weight": 100}}, {}, {}],
            id="so is one without a weight",
        ),
        pytest.param(pool(ONE, slot("api2", 2, admin="drain")), [pod(1), pod(2)], 2, [{}, {}, {}, {}], id="a drain of a person stays"),
        pytest.param(
            pool(ONE, slot("api2", 9), FREE3),
            [pod(1), pod(2)],
            2,
            [
                {"api3": {"address": at(2), "weight": 0, "admin": "ready"}},
                {"api3": {"weight": 100}},
                {},
                {"api2": {"admin": "maint"}},
            ],
            id="a container with another address gets a free slot first",
        ),
        pytest.param(
            pool(ONE, slot("api2", 9, up=False)),
            [pod(1), pod(2)],
            2,
            [{"api2": {"address": at(2), "weight": 0, "admin": "ready"}}, {"api2": {"weight": 100}}, {}, {}],
            id="else the one that answers nobody",
        ),
        pytest.param(
            pool(slot("api1", 1, weight=1), FREE2),
            [pod(1), pod(2)],
            2,
            [{"api2": {"address": at(2), "weight": 0, "admin": "ready"}}, {"api2": {"weight": 1}}, {}, {}],
            id="a low share stays low",
        ),
    ],
)
def test_who_gets_which_slot(seen: dict[str, t.Any], pods: list[dict[str, t.Any]], wanted: int, parts: list[dict[str, t.Any]]) -> None:
    found = judged(seen, pods, wanted)
    assert [found.join, found.open, found.leave, found.free] == parts
    assert (found.word, found.health) == (("slots", "sick") if parts[0] or parts[1] or parts[3] else ("fit", "well"))


def test_a_container_whose_slot_a_person_put_into_maintenance_stays_out() -> None:
    out = slot("api2", 2, **OUT)
    left_ready = {"identity": {}, "servers": {"api2": {"weight": 100, "admin": "ready"}}}
    found = judged(pool(ONE, out, FREE3, kept=left_ready), [pod(1), pod(2)], 2)
    assert (found.word, found.changes()) == ("fit", {}), found
    assert found.told == ("api2 was put into maintenance by a person and stays there",)
    # One that a run freed, or that died while it gave the address, is free.
    for kept in ({}, {"identity": {}, "servers": {"api2": {"weight": 100, "admin": "maint"}}}):
        assert judged(pool(ONE, out, FREE3, kept=kept), [pod(1), pod(2)], 2).join["api2"]["admin"] == "ready"


def test_where_the_spare_servers_have_everything_a_container_that_comes_gets_nothing() -> None:
    seen = pool(slot("api1", 1, weight=0), FREE2)
    next(one for one in seen["servers"] if one["name"] == "spare")["weight"] = 1
    found = judged(seen, [pod(1), pod(2)], 2)
    assert (list(found.join), found.open) == (["api2"], {})


@pytest.mark.parametrize(
    ("seen", "pods", "wanted", "given", "word", "health"),
    [
        (pool(reachable=False, detail="refused"), [pod(1)], 2, {}, "unreachable", "unknown"),
        (pool(pool="", pools=["other"]), [pod(1)], 2, {}, "unknown_pool", "unknown"),
        (pool(ONE), [pod(1)], 1, {"slots": ["api*", "web*"]}, "unknown_server", "unknown"),
        (pool(ONE, FREE2, addresses=False), [pod(1)], 2, {}, "address_fixed", "sick"),
        (pool(ONE, FREE2), [pod(1)], 3, {}, "no_slot", "sick"),
        (pool(ONE, slot("api2", 9)), [pod(1), pod(2)], 2, {}, "no_slot", "sick"),
        (pool(ONE), [pod(1)], 1, {"slots": ["api1", "spare"]}, "no_slot", "sick"),
        (pool(ONE, slot("api2", checked=False)), [pod(1)], 1, {}, "no_slot", "sick"),
        (pool(ONE, slot("api2", backup=True)), [pod(1)], 1, {}, "no_slot", "sick"),
        (pool(ONE, FREE2), [pod(1, shop_default="172.18.0.1", shop_data="172.19.0.1")], 2, {}, "no_network", "sick"),
        (pool(ONE, FREE2), [pod(1, shop_default="172.18.0.1", shop_data="172.19.0.1")], 2, {"network": "default"}, "fit", "well"),
        (pool(ONE, FREE2), [pod(1)], 2, {"network": "shop_default"}, "fit", "well"),
        (pool(ONE, FREE2), [pod(1)], 2, {"network": "data"}, "no_network", "sick"),
        (pool(ONE, FREE2), [pod(1, host="")], 2, {}, "no_network", "sick"),
        (pool(slot("api1", 1, up=False), TWO), [pod(1), pod(2)], 2, {}, "slot_down", "sick"),
        (pool(slot("api1", 1, fall=1), FREE2), [pod(1)], 2, {}, "no_slot", "sick"),
        (pool(ONE, FREE2, rights="maintenance"), [pod(1)], 2, {}, "balancer_refused", "sick"),
        (pool(ONE, FREE2, rights="none"), [pod(1), pod(2)], 2, {}, "balancer_refused", "sick"),
        (pool(ONE, FREE2, rights="none"), [pod(1)], 1, {}, "fit", "well"),
        (pool(slot("api1", address="[fd00::1]:9696", **IN)), [pod(1, shop_default="fd00::1")], 1, {}, "fit", "well"),
        (pool(slot("api1", 1, admin="drain"), TWO), [pod(1), pod(2)], 1, {}, "last_server", "sick"),
    ],
)
def test_what_cannot_be_is_refused(
    seen: dict[str, t.Any], pods: list[dict[str, t.Any]], wanted: int, given: dict[str, t.Any], word: str, health: str
) -> None:
    found = judged(seen, pods, wanted, **given)
    assert (found.word, found.health, bool(found.changes())) == (word, health, False), found.text


def test_every_word_that_refuses_has_a_refusal_in_the_role_with_a_code_that_is_known() -> None:
    source = (ROOT / "plugins/module_utils/_traffic/slots.py").read_text()
    words = set(re.findall(r'Slots\("([a-z_]+)", "(?:sick|unknown)"', source)) - {"unreachable"}
    refusals = yaml.safe_load((ROOT / "roles/traffic_scaling/vars/main.yml").read_text())["__traffic_scaling_refusals"]
    assert {"no_slot", "no_network"} < words <= set(refusals)
    assert {refusal(refusals[word])["code"] for word in words} <= set(REASONS)


def container(number: int, **more: t.Any) -> dict[str, t.Any]:
    config = {"Image": "shop/api:1", "Labels": {"com.docker.compose.container-number": str(number)}}
    networks = {"shop_default": {"IPAddress": f"172.18.0.{number}"}, "left": None}
    state = {"Status": "running", "ExitCode": 0, "OOMKilled": False}
    told = {
        "Id": f"{number:064d}",
        "Name": f"/shop-api-{number}",
        "RestartCount": 0,
        "State": state,
        "Config": config,
        "Image": "sha256:aa",
    }
    return {**told, "NetworkSettings": {"Networks": networks}, **more}


@pytest.mark.parametrize(
    ("slots", "wanted", "word", "actions"),
    [
        ((ONE, TWO), 2, "scaled", ()),
        ((ONE, FREE2), 2, "slots", ("slots",)),
        ((ONE, TWO, FREE3), 3, "scale_out", ("scale",)),
        ((ONE, TWO), 3, "no_slot", ()),
        ((ONE, TWO), 1, "scale_in", ("scale",)),
        ((ONE, TWO), 11, "replicas_out_of_range", ()),
    ],
)
def test_number_and_slots_are_judged_together(slots: t.Any, wanted: int, word: str, actions: tuple[str, ...]) -> None:
    service = parse_all("api", "shop", [container(1), container(2)])
    given = {**GIVEN, "network": "default", "wanted_replicas": wanted, "minimum": 1, "maximum": 10}
    found = kind_slots.judge({"service": service, "pool": pool(*slots)}, given)
    assert (found.state, tuple(found.actions)) == (word, actions)
    assert (found.health.value == "well") == (word == "scaled")
    assert found.facts["plan"]["slots"]["leave"] == ({"api2": DRAINED} if wanted == 1 else {})


def test_a_service_that_cannot_be_seen_is_unknown_and_changes_no_slot() -> None:
    service = service_state.blank("compose", "api", reachable=False, detail="refused")
    found = kind_slots.judge({"service": service, "pool": pool(ONE)}, {**GIVEN, "wanted_replicas": 1, "minimum": 1, "maximum": 10})
    assert (found.health.value, found.actions) == ("unknown", ())


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ("no need to change the addr, port changed from '1' to '80' by 'stats socket command'\n\n", ""),
        ("IP changed from '127.0.0.1' to '127.0.0.9', no need to change the port by 'stats socket command'\n\n", ""),
        ("Invalid addr '999.0.0.9' by 'stats socket command'\n\n", "Invalid addr '999.0.0.9' by 'stats socket command'"),
        ("No such server.\n\n", "No such server."),
    ],
)
def test_a_new_address_is_believed_by_the_answer_alone_that_tells_it(answer: str, refusal: str) -> None:
    assert haproxy_words.refusal_in("set server brain/api1 addr 127.0.0.9 port 80", answer) == refusal
    assert bool(haproxy_words.refusal_in("set server brain/api1 weight 1", answer))


@pytest.mark.parametrize(
    ("now", "wanted", "words"),
    [
        (FREE2, {"address": at(2), "weight": 0, "admin": "ready"}, ["addr 172.18.0.2 port 9696", "weight 0", "state ready"]),
        (TWO, {"address": at(9), "weight": 0, "admin": "ready"}, ["state maint", "addr 172.18.0.9 port 9696", "weight 0", "state ready"]),
        (TWO, {"address": "127.0.0.1:1", "weight": 100, "admin": "maint"}, ["state maint", "addr 127.0.0.1 port 1"]),
        (TWO, {"address": at(2), "weight": 0, "admin": "drain"}, ["weight 0", "state drain"]),
        ({**TWO, **DRAINED}, {"weight": 100, "admin": "ready"}, ["weight 100", "state ready"]),
    ],
)
def test_a_server_gets_another_address_while_it_is_out(now: dict[str, t.Any], wanted: dict[str, t.Any], words: list[str]) -> None:
    commands = haproxy_words.commands_for("brain", {"api2": now}, {"servers": {"api2": wanted}})
    assert commands == [f"set server brain/api2 {word}" for word in words]


def test_an_address_that_a_reload_lost_is_set_again_and_a_restoration_carries_it() -> None:
    kept = {"identity": {"pid": 6}, "servers": {"api1": {"weight": 100, "admin": "ready", "address": at(1)}}}
    given: dict[str, t.Any] = {
        "goal": "set", "main": [], "spare": ["spare"], "overflow": "overflow", "wanted": {}, "steps": [50, 100], "held": "",
        "cold": "", "skip_warm_up": "", "warm_up_share": 10,
    }  # fmt: skip
    lost = judge_traffic(pool(slot("api1"), TWO, identity={"pid": 7}, kept=kept), given, 256)
    assert lost.plan["servers"] == {"api1": {"admin": "ready", "address": at(1)}}
    shut = {"prepared": True, "on": True, "retry_after": 5, "detail": ""}
    restored = judge_traffic(pool(ONE, TWO, FREE3, kept=kept, maintenance=shut), {**given, "goal": "restore"}, 256)
    for servers in (restored.plan["steps"][0]["servers"], restored.plan["back"]["servers"]):
        assert (servers["api1"]["address"], "address" in servers["api2"], "api3" in servers) == (at(1), False, False)


@pytest.mark.parametrize(
    ("address", "balancer", "word"),
    [
        (at(5), True, "other"),
        (at(5), False, "address_fixed"),
        ("api:80", True, "weight_out_of_range"),
        ("1.2.3.4:0", True, "weight_out_of_range"),
    ],
)
def test_a_person_may_give_an_address_where_the_balancer_can(address: str, balancer: bool, word: str) -> None:
    given = {"goal": "set", "main": [], "spare": [], "overflow": "overflow", "wanted": {"api1": {"address": address}}}
    assert judge_traffic(pool(ONE, TWO, addresses=balancer), given, 256).word == word
