# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another number of pods on a real API server with real controllers: what is judged before, what the act refuses, and what turns it red."""

from __future__ import annotations

import threading
import typing as t
from pathlib import Path

import pytest
from farms import playing
from farms.kubernetes import Cluster
from farms.waiting import until
from test_service_kubernetes import GOOD, as_state, autoscaler, cluster, deployment, look, play, space

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.replicas import Verdict, judge_replicas

__all__ = ["cluster", "space"]


def judged(cluster: Cluster, space: str, wanted: int, **more: t.Any) -> Verdict:
    return judge_replicas(look(cluster, space, **more)["service"], wanted, minimum=1, maximum=10)


def wanted_now(cluster: Cluster, space: str) -> int:
    return int(cluster.must("GET", deployment(space))["spec"]["replicas"])


def scale(cluster: Cluster, space: str, wanted: int, *words: str, now: int = 0, **more: t.Any) -> tuple[int, str, dict[str, t.Any]]:
    given = {"service_manager_replicas": wanted, "service_manager_replicas_now": now, **more}
    done, result = play(cluster, space, "scale", *words, **given)
    return done.returncode, done.stdout + done.stderr, result


def limited(cluster: Cluster, space: str, hard: dict[str, str], used: dict[str, str]) -> None:
    """Make a quota; its own controller is not there to write its status, its admission is."""
    place = f"/api/v1/namespaces/{space}/resourcequotas"
    cluster.must("POST", place, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}})
    cluster.patch(f"{place}/small", {"status": {"hard": hard, "used": used}}, status=True)


def guarded(cluster: Cluster, space: str, least: int, status: dict[str, int]) -> None:
    """Make a disruption budget; its own controller is not there to write its status."""
    place = f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets"
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": "api"}}}
    cluster.must("POST", place, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "keep"}, "spec": spec})
    cluster.patch(f"{place}/keep", {"status": status}, status=True)


def test_out_and_back_and_no_change_where_it_is_so_already(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    before = as_state(cluster, space, "running")["identity"]["pods"]
    assert [judged(cluster, space, wanted).word for wanted in (2, 3, 1)] == ["scaled", "scale_out", "scale_in"]
    code, shown, result = scale(cluster, space, 3, now=2)
    assert code == 0, shown
    assert (result["changed"], result["settled"], result["after"]["workload"]["ready"]) == (True, True, 3)
    after = look(cluster, space)["identity"]["pods"]
    assert {name: after[name] for name in before} == before
    generation = cluster.must("GET", deployment(space))["metadata"]["generation"]
    code, shown, result = scale(cluster, space, 3)
    assert (code, result["changed"]) == (0, False), shown
    assert cluster.must("GET", deployment(space))["metadata"]["generation"] == generation
    code, shown, result = scale(cluster, space, 2, now=3)
    assert (code, result["changed"], result["after"]["workload"]["ready"]) == (0, True, 2), shown


def test_check_mode_wants_nothing_else(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    code, shown, result = scale(cluster, space, 3, "--check", now=2)
    assert (code, result["changed"]) == (0, True), shown
    assert wanted_now(cluster, space) == 2


def test_a_number_that_is_not_the_judged_one_any_more_is_red_and_left_alone(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    seen = look(cluster, space)["service"]["workload"]
    cluster.patch(deployment(space), {"spec": {"replicas": 4}})
    code, shown, dummy = scale(cluster, space, 3, now=2)
    assert (code, wanted_now(cluster, space)) == (2, 4)
    assert "it wants 4 pods by now, not 2" in shown
    # Between the act's own look and its request the API server itself refuses.
    patch = [{"op": "test", "path": "/spec/replicas", "value": 2}, {"op": "replace", "path": "/spec/replicas", "value": 3}]
    done, dummy = play(cluster, space, "kubernetes_steps/change", __service_manager_workload=seen, __service_manager_patch=patch)
    assert (done.returncode, wanted_now(cluster, space)) == (2, 4), done.stdout


def test_an_autoscaler_is_never_worked_against(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    autoscaler(cluster, space)
    assert judged(cluster, space, 3).code == "autoscaled"
    code, shown, dummy = scale(cluster, space, 3)
    assert (code, wanted_now(cluster, space)) == (2, 2)
    assert "an autoscaler (busy) sets its pods" in shown


@pytest.mark.parametrize(
    ("hard", "used"), [({"pods": "3"}, {"pods": "2"}), ({"requests.cpu": "350m"}, {"requests.cpu": "200m"})], ids=["pods", "cpu"]
)
def test_a_quota_is_reckoned_before_as_the_api_server_does_it(
    cluster: Cluster, space: str, hard: dict[str, str], used: dict[str, str]
) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    limited(cluster, space, hard, used)
    assert (judged(cluster, space, 3).word, judged(cluster, space, 4).code) == ("scale_out", "beyond_quota")
    # Had nobody reckoned, this is how the act itself tells it; going back is right again.
    code, shown, dummy = scale(cluster, space, 4, service_manager_timeout=6)
    assert (code, wanted_now(cluster, space)) == (2, 4)
    assert "exceeded quota: small" in shown
    assert "Scale back to 2" in shown
    assert until(lambda: look(cluster, space)["service"]["workload"]["ready"] == 3)
    assert judged(cluster, space, 3).word == "scale_in"
    code, shown, result = scale(cluster, space, 2, now=4)
    assert (code, result["after"]["workload"]["ready"]) == (0, 2), shown


def test_a_disruption_budget_guards_what_serves(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD, replicas=4)
    as_state(cluster, space, "running")
    guarded(cluster, space, 3, {"disruptionsAllowed": 1, "currentHealthy": 4, "desiredHealthy": 3, "expectedPods": 4})
    assert (judged(cluster, space, 3).word, judged(cluster, space, 2).code) == ("scale_in", "budget_guards")


def test_an_image_that_is_stuck_is_refused_before_and_told_by_the_act(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD, progressDeadlineSeconds=2)
    as_state(cluster, space, "running")
    cluster.roll(space, "api", "shop/bad:2")
    until(lambda: "ImagePullBackOff" in look(cluster, space)["say"][0])
    assert judged(cluster, space, 3).code == "rollout_stuck"
    code, shown, dummy = scale(cluster, space, 3, service_manager_timeout=5)
    assert code == 2
    assert "ImagePullBackOff" in shown
    assert "expected 3 ready within 5" in shown


def test_pods_that_are_not_ready_in_time_turn_it_red(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", "shop/slow:1")
    as_state(cluster, space, "starting")
    assert judged(cluster, space, 3).health == "unknown"
    code, shown, dummy = scale(cluster, space, 3, service_manager_timeout=3)
    assert code == 2
    assert "0 of 3 pods ready" in shown


def test_a_stateful_set_is_scaled_too(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD, kind="StatefulSet")
    as_state(cluster, space, "running", workload_kind="StatefulSet")
    assert judged(cluster, space, 3, workload_kind="StatefulSet").word == "scale_out"
    code, shown, result = scale(cluster, space, 3, now=2, service_manager_workload_kind="StatefulSet")
    assert (code, sorted(result["identity"]["pods"])) == (0, ["api-0", "api-1", "api-2"]), shown


def test_a_volume_of_one_node_is_told_as_a_warning(cluster: Cluster, space: str) -> None:
    place = f"/api/v1/namespaces/{space}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.must("POST", place, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec})
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    template = {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "main", "image": GOOD}], "volumes": volumes}}
    cluster.workload(space, "api", GOOD, template=template)
    as_state(cluster, space, "running")
    verdict = judged(cluster, space, 3)
    assert (verdict.word, len(verdict.warnings)) == ("scale_out", 1)
    assert "volume data is tied to one node" in verdict.warnings[0]


@pytest.mark.parametrize("manager", ["systemd", "supervisor"])
def test_what_is_one_process_by_design_is_refused_with_what_to_do(cluster: Cluster, space: str, manager: str) -> None:
    done, dummy = play(cluster, space, f"{manager}/scale", service_manager_replicas=3)
    assert done.returncode == 2
    assert f"api is one process under {manager} by design" in done.stdout


def run(cluster: Cluster, space: str, home: Path, *words: str, **more: t.Any) -> dict[str, t.Any]:
    """Run scale-traffic as a person does, with the machine as the keeper of the cluster."""
    if not playing.borrowed("kubernetes/core"):
        pytest.skip("kubernetes.core is not there; scripts/test integration fetches it")
    given = {
        "traffic_scaling_hosts": "all",
        "traffic_scaling_manager": "kubernetes",
        "traffic_scaling_service": "api",
        "traffic_scaling_replicas_timeout": 60,
        "traffic_scaling_patience": {"passes": 2, "window": 0.2, "timeout": 15, "interval": 0.1},
        "service_manager_namespace": space,
        "service_manager_context": "here",
        "service_manager_kubeconfig": cluster.kubeconfig,
        "remediation_state_dir": str(home / "state"),
        **more,
    }
    return playing.run_playbook(home, "scale-traffic", given, *words)


def test_a_whole_run_scales_out_again_does_nothing_and_ends_when_it_is_time(cluster: Cluster, space: str, tmp_path: Path) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    rehearsed = run(cluster, space, tmp_path, "--check", traffic_scaling_replicas=3)
    assert (rehearsed["outcome"], wanted_now(cluster, space)) == ("rehearsed", 2), rehearsed["shown"]
    outcome = run(cluster, space, tmp_path, traffic_scaling_replicas=3, traffic_scaling_set_seconds=1)
    assert (outcome["outcome"], outcome["code"], wanted_now(cluster, space)) == ("recovered", 0, 3), outcome["shown"]
    assert look(cluster, space)["service"]["workload"]["ready"] == 3
    assert run(cluster, space, tmp_path, traffic_scaling_replicas=3)["outcome"] == "nothing_to_do"
    # It knows from the ledger alone what it is about.
    ended = playing.run_playbook(tmp_path, "reconcile", {"remediation_state_dir": str(tmp_path / "state")})
    # What an ended pod had in memory nobody counts; it was asked for, so it is green.
    assert ended["outcome"] in ("recovered", "recovered_with_loss"), ended["shown"]
    assert (ended["code"], wanted_now(cluster, space)) == (0, 2), ended["shown"]


def test_a_whole_run_is_refused_by_name_before_anything_changes(cluster: Cluster, space: str, tmp_path: Path) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    limited(cluster, space, {"pods": "3"}, {"pods": "2"})
    guarded(cluster, space, 2, {"disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2})
    refused = {wanted: run(cluster, space, tmp_path, traffic_scaling_replicas=wanted) for wanted in (4, 1, 0, 11)}
    autoscaler(cluster, space)
    refused[3] = run(cluster, space, tmp_path, traffic_scaling_replicas=3)
    told = {wanted: (one["outcome"], one["reasons"][0]["code"]) for wanted, one in refused.items()}
    codes = {4: "beyond_quota", 1: "budget_guards", 0: "last_server", 11: "replicas_out_of_range", 3: "autoscaled"}
    assert told == {wanted: ("refused", code) for wanted, code in codes.items()}, refused[4]["shown"]
    assert wanted_now(cluster, space) == 2


def test_pods_that_do_not_come_up_are_given_back(cluster: Cluster, space: str, tmp_path: Path) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    before = look(cluster, space)["identity"]
    # There is room, but the API server wants every pod to name what it takes of it, and these do not.
    limited(cluster, space, {"limits.memory": "1Gi"}, {"limits.memory": "0"})
    outcome = run(cluster, space, tmp_path, traffic_scaling_replicas=3, traffic_scaling_replicas_timeout=8)
    assert (outcome["outcome"], outcome["code"], wanted_now(cluster, space)) == ("undone", 2, 2), outcome["shown"]
    assert "limits.memory" in outcome["shown"]
    assert look(cluster, space)["identity"] == before


def test_what_another_sets_meanwhile_stays_and_a_stuck_image_is_refused(cluster: Cluster, space: str, tmp_path: Path) -> None:
    cluster.workload(space, "api", GOOD, progressDeadlineSeconds=2)
    as_state(cluster, space, "running")
    # No further pod comes up, so the run would put back the number that it found.
    limited(cluster, space, {"limits.memory": "1Gi"}, {"limits.memory": "0"})

    def overtake() -> None:
        until(lambda: wanted_now(cluster, space) == 3, 60, "the run never wants 3")
        cluster.patch(deployment(space), {"spec": {"replicas": 4}})

    overtaking = threading.Thread(target=overtake, daemon=True)
    overtaking.start()
    outcome = run(cluster, space, tmp_path, traffic_scaling_replicas=3, traffic_scaling_replicas_timeout=6)
    overtaking.join(10)
    assert (outcome["outcome"], outcome["code"], wanted_now(cluster, space)) == ("failed", 2, 4), outcome["shown"]
    assert "it wants 4 pods by now, not 3" in outcome["shown"]
    cluster.must("DELETE", f"/api/v1/namespaces/{space}/resourcequotas/small")
    cluster.roll(space, "api", "shop/bad:2")
    until(lambda: judged(cluster, space, 5).code == "rollout_stuck")
    outcome = run(cluster, space, tmp_path, traffic_scaling_replicas=5)
    assert (outcome["outcome"], outcome["reasons"][0]["code"]) == ("refused", "rollout_stuck"), outcome["shown"]
    assert wanted_now(cluster, space) == 4


@pytest.mark.parametrize("fault", ["no node has room for a pod", "the registry of an image is away", "a process ends in its pod"])
def test_what_only_a_node_shows(cluster: Cluster, fault: str) -> None:
    if not cluster.must("GET", "/api/v1/nodes")["items"]:
        pytest.skip(f"{fault}: no kubelet runs containers on this API server; what the API tells of it is written by the tests")
    pytest.fail("there is a node, so this can be tried for real")
