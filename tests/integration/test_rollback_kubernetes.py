# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of a Deployment on a real API server with real controllers: a stuck rollout goes back by the digest that was verified."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from farms import playing
from farms.kubernetes import Cluster, image_id
from farms.waiting import until
from test_service_kubernetes import GOOD, as_state, autoscaler, cluster, deployment, look, space

__all__ = ["cluster", "space"]
BUDGET = {"minAvailable": 1, "selector": {"matchLabels": {"app": "api"}}}


class Shop:
    """A Deployment `api` of one namespace, and the playbooks run on it."""

    def __init__(self, cluster: Cluster, space: str, home: Path) -> None:
        self.cluster, self.space, self.home = cluster, space, home

    def run(self, name: str, *words: str, **more: t.Any) -> dict[str, t.Any]:
        given = {
            "service_restart_manager": "kubernetes",
            "service_restart_service": "api",
            "service_restart_url": "",
            "service_restart_round_trip": "",
            "service_restart_working_memory": False,
            "service_restart_start_seconds": 10,
            "service_restart_memory_seconds": 0,
            "rollback_deadlines": {"configure": 60, "switch": 40},
            "service_manager_namespace": self.space,
            "service_manager_context": "here",
            "service_manager_kubeconfig": self.cluster.kubeconfig,
            "rollback_hosts": "all",
            "record_release_hosts": "all",
            "remediation_state_dir": str(self.home / "state"),
            "remediation_budget": {"attempts": 50, "within_seconds": 900},
            **more,
        }
        return playing.run_playbook(self.home, name, given, *words)

    def image(self) -> str:
        found = self.cluster.must("GET", deployment(self.space))
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def deploy(self, image: str) -> None:
        self.cluster.roll(self.space, "api", image)


@pytest.fixture
def shop(cluster: Cluster, space: str, tmp_path: Path) -> Shop:
    if not playing.borrowed("kubernetes/core"):
        pytest.skip("kubernetes.core is not there; scripts/test integration fetches it")
    one = Shop(cluster, space, tmp_path)
    cluster.workload(space, "api", GOOD, progressDeadlineSeconds=2)
    as_state(cluster, space, "running")
    recorded = one.run("record-release")
    assert (recorded["outcome"], recorded["code"]) == ("nothing_to_do", 0), recorded
    return one


@pytest.mark.parametrize(("image", "state"), [("shop/bad:2", "unhealthy"), ("shop/crash:2", "unhealthy")])
def test_a_stuck_rollout_goes_back_by_digest_beside_autoscaler_and_budget(shop: Shop, image: str, state: str) -> None:
    autoscaler(shop.cluster, shop.space)
    policy = f"/apis/policy/v1/namespaces/{shop.space}/poddisruptionbudgets"
    shop.cluster.must(
        "POST", policy, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "one"}, "spec": BUDGET}
    )
    serving = set(look(shop.cluster, shop.space)["identity"]["pods"])
    shop.deploy(image)
    as_state(shop.cluster, shop.space, state)
    rehearsed = shop.run("rollback", "--check")
    assert (rehearsed["outcome"], shop.image()) == ("rehearsed", image), rehearsed
    outcome = shop.run("rollback")
    assert (outcome["outcome"], outcome["code"]) == ("recovered", 0), outcome["failure"] or outcome
    # The bad one came from another repository.
    assert shop.image() == image_id(GOOD)
    after = look(shop.cluster, shop.space)
    assert (after["state"], after["service"]["workload"]["desired"]) == ("running", 2)
    # A template that names the digest is another one than that of the tag, so its pods are new; none of the old was lost before.
    assert not serving & set(after["identity"]["pods"])
    assert shop.run("rollback")["outcome"] == "nothing_to_do"


def fill(shop: Shop) -> None:
    """Let a quota have no room for another pod."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    shop.cluster.must("POST", f"/api/v1/namespaces/{shop.space}/resourcequotas", quota)
    status = {"status": {"hard": {"pods": "1"}, "used": {"pods": "3"}}}
    shop.cluster.patch(f"/api/v1/namespaces/{shop.space}/resourcequotas/small", status, status=True)


def test_where_no_new_pod_fits_it_goes_back_by_the_revision_that_still_serves(shop: Shop) -> None:
    """No pod of another template can be made, so a rollout by the digest would be stuck; the old pods serve on."""
    shop.deploy("shop/sick:2")
    as_state(shop.cluster, shop.space, "unhealthy")
    fill(shop)
    served = [pod["name"] for pod in look(shop.cluster, shop.space)["service"]["workload"]["pods"] if pod["ready"]]
    before = shop.cluster.must("GET", deployment(shop.space))["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    outcome = shop.run("rollback")
    assert (outcome["outcome"], outcome["code"]) == ("recovered", 0), outcome["failure"] or outcome
    after = look(shop.cluster, shop.space)
    assert {pod["name"] for pod in after["service"]["workload"]["pods"]} == set(served)
    assert (after["state"], shop.image()) == ("running", GOOD)
    undo = f"--context here --namespace {shop.space} rollout undo deployment/api --to-revision={before}"
    assert undo in outcome["undo"]


def test_what_would_be_stuck_is_refused_before_it_begins(shop: Shop) -> None:
    shop.deploy("shop/sick:2")
    as_state(shop.cluster, shop.space, "unhealthy")
    # The revision that served is gone, as a short history leaves it.
    shop.deploy("shop/sick:3")
    sets = f"/apis/apps/v1/namespaces/{shop.space}/replicasets"
    for one in shop.cluster.must("GET", sets)["items"]:
        if one["spec"]["template"]["spec"]["containers"][0]["image"] == GOOD:
            shop.cluster.must("DELETE", f"{sets}/{one['metadata']['name']}")
    fill(shop)
    outcome = shop.run("rollback")
    assert (outcome["outcome"], outcome["reasons"][0]["code"], outcome["acts"]) == ("refused", "no_room", []), outcome
    assert "quota small" in outcome["reasons"][0]["text"]


def test_what_is_unclear_is_refused_and_the_object_stays(shop: Shop) -> None:
    shop.deploy("shop/bad:2")
    as_state(shop.cluster, shop.space, "unhealthy")
    before = shop.cluster.must("GET", deployment(shop.space))["metadata"]["generation"]
    refusals: dict[str, dict[str, t.Any]] = {
        "health_unknown": {"service_manager_context": "nowhere"},
        "no_such_service": {"service_restart_service": "apj"},
        "never_verified": {"rollback_release": f"shop/api@sha256:{'1' * 64}"},
        "release_missing": {"rollback_release": "shop/api:0"},
        "no_verified_release": {"remediation_state_dir": str(shop.home / "another")},
    }
    seen = {code: shop.run("rollback", **given) for code, given in refusals.items()}
    assert {code: one["reasons"][0]["code"] for code, one in seen.items()} == {code: code for code in refusals}
    assert shop.cluster.must("GET", deployment(shop.space))["metadata"]["generation"] == before


def test_a_paused_rollout_is_a_persons(shop: Shop) -> None:
    shop.deploy("shop/bad:2")
    as_state(shop.cluster, shop.space, "unhealthy")
    shop.cluster.patch(deployment(shop.space), {"spec": {"paused": True}})
    until(lambda: look(shop.cluster, shop.space)["service"]["workload"]["paused"])
    outcome = shop.run("rollback")
    assert (outcome["outcome"], outcome["code"], shop.image()) == ("refused", 2, "shop/bad:2")
    assert (outcome["reasons"][0]["code"], outcome["acts"]) == ("state_not_handled", [])
    assert "kubectl rollout resume deployment/api" in outcome["reasons"][0]["text"]
