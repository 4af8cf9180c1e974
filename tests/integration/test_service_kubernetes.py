# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads of a real API server with real controllers: what is seen of each, and what the role's acts do and refuse."""

from __future__ import annotations

import itertools
import subprocess
import sys
import typing as t

import pytest
from farms import playing
from farms.kubernetes import Cluster, a_cluster, image_id, why_not
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import service_info

GOOD = "shop/api:1"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Cluster]:
    if why_not():
        pytest.skip(why_not())
    pytest.importorskip("kubernetes", reason="the Python library kubernetes is not installed")
    with a_cluster(tmp_path_factory.mktemp("kube")) as cluster:
        yield cluster


@pytest.fixture
def space(cluster: Cluster) -> str:
    """Return a namespace of this test's own."""
    name = f"shop-{next(NUMBERS)}"
    cluster.must("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def look(cluster: Cluster, space: str, name: str = "api", **more: t.Any) -> dict[str, t.Any]:
    patience = {"passes": 1, "window": 0.0, "timeout": 0.0, "wait_timeout": 0.0, "interval": 0.1, "probe_timeout": 5.0, "stage": "assess"}
    named = {"manager": "kubernetes", "name": name, "namespace": space, "workload_kind": "Deployment", "context": "here"}
    return service_info.run(
        {**named, "kubeconfig": cluster.kubeconfig, **patience, "restarts_before": None, "wanted": "running", "log_lines": 0, **more}, False
    )


def as_state(cluster: Cluster, space: str, state: str, name: str = "api", **more: t.Any) -> dict[str, t.Any]:
    until(lambda: look(cluster, space, name, **more)["state"] == state)
    return look(cluster, space, name, **more)


def play(
    cluster: Cluster, space: str, file: str, *words: str, name: str = "api", **more: t.Any
) -> tuple[subprocess.CompletedProcess[str], dict[str, t.Any]]:
    """Run one task file of the role on a workload, and return how it ended and what it registered."""
    if not playing.borrowed("kubernetes/core"):
        pytest.skip("kubernetes.core is not there; scripts/test integration fetches it")
    given = {
        "service_manager_name": name,
        "service_manager_namespace": space,
        "service_manager_context": "here",
        "service_manager_kubeconfig": cluster.kubeconfig,
        "service_manager_timeout": 60,
        **more,
    }
    path = file if "/" in file else f"kubernetes/{file}"
    done, results = playing.play(cluster.home / space, [path], given, *words)
    return done, results.get(path, {})


def deployment(space: str, name: str = "api") -> str:
    return f"/apis/apps/v1/namespaces/{space}/deployments/{name}"


def autoscaler(cluster: Cluster, space: str) -> None:
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}, "minReplicas": 2, "maxReplicas": 4}
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "busy"}, "spec": spec}
    cluster.must("POST", f"/apis/autoscaling/v2/namespaces/{space}/horizontalpodautoscalers", body)


def test_a_deployment_whose_pods_are_all_ready_is_well_and_names_them(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    seen = as_state(cluster, space, "running")
    workload = seen["service"]["workload"]
    assert (seen["health"], workload["ready"], workload["autoscalers"], workload["budgets"]) == ("well", 2, [], [])
    assert sorted(seen["identity"]["pods"]) == [pod["name"] for pod in workload["pods"]]
    assert seen["service"]["image"]["digests"] == [image_id(GOOD)]
    assert "2 of 2 pods ready" in seen["say"][0]


@pytest.mark.parametrize(
    ("image", "state", "health", "told"),
    [
        ("shop/bad:1", "failed", "sick", "ImagePullBackOff"),
        ("shop/crash:1", "backoff", "sick", "CrashLoopBackOff"),
        ("shop/sick:1", "unhealthy", "sick", "is no longer ready"),
        ("shop/slow:1", "starting", "unknown", "0 of 2 pods ready"),
    ],
)
def test_pods_that_are_not_ready_are_told_with_their_reason(
    cluster: Cluster, space: str, image: str, state: str, health: str, told: str
) -> None:
    cluster.workload(space, "api", image)
    until(lambda: told in look(cluster, space)["say"][0])
    seen = as_state(cluster, space, state)
    assert (seen["health"], seen["state"]) == (health, state)
    assert seen["actions"] == (["wait"] if state == "starting" else [])


def test_pods_killed_for_lack_of_memory_are_told_with_their_restarts(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", "shop/greedy:1")
    until(lambda: look(cluster, space)["service"]["restarts"] == 8)
    seen = look(cluster, space)
    assert (seen["state"], seen["service"]["oom_killed"], seen["service"]["exit_code"]) == ("backoff", True, 137)


def test_a_rollout_that_is_stuck_on_a_bad_image_is_sick_though_the_old_pods_serve(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD, progressDeadlineSeconds=2)
    as_state(cluster, space, "running")
    cluster.roll(space, "api", "shop/bad:2")
    until(lambda: "its rollout is stuck (ProgressDeadlineExceeded)" in look(cluster, space)["say"][0])
    seen = look(cluster, space)
    assert (seen["health"], seen["state"]) == ("sick", "unhealthy")
    assert "2 of 2 pods ready, 2 of an older version" in seen["say"][0]
    assert "ImagePullBackOff" in seen["say"][0]
    cluster.roll(space, "api", GOOD)
    assert as_state(cluster, space, "running")["health"] == "well"


def test_a_quota_that_lets_no_pod_be_made_is_told(cluster: Cluster, space: str) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}}
    cluster.must("POST", f"/api/v1/namespaces/{space}/resourcequotas", quota)
    # Its own controller is not there to write this.
    status = {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}
    cluster.patch(f"/api/v1/namespaces/{space}/resourcequotas/small", status, status=True)
    cluster.workload(space, "api", GOOD)
    until(lambda: "no pod can be created (FailedCreate" in look(cluster, space)["say"][0])
    seen = look(cluster, space)
    assert (seen["health"], seen["state"]) == ("sick", "failed")
    assert "exceeded quota: small" in seen["say"][0]
    assert seen["service"]["workload"]["quotas"] == [{"name": "small", "hard": {"pods": "0"}, "used": {"pods": "0"}}]


def test_a_disruption_budget_is_told(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    for name in ("api", "other"):
        spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": name}}}
        body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": f"keep-{name}"}, "spec": spec}
        cluster.must("POST", f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets", body)
    assert as_state(cluster, space, "running")["service"]["workload"]["budgets"] == [{"name": "keep-api", "may_go": 0}]


def test_a_pod_with_the_same_labels_that_nobody_owns_is_not_counted(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    # Its labels are those of the workload, but not those of its ReplicaSet, which would adopt it.
    metadata = {"name": "stranger", "labels": {"app": "api"}}
    stranger = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "main", "image": "shop/crash:1"}]},
    }
    cluster.must("POST", f"/api/v1/namespaces/{space}/pods", stranger)
    seen = as_state(cluster, space, "running")
    assert "stranger" not in [pod["name"] for pod in seen["service"]["workload"]["pods"]]


def test_what_is_not_there_is_unknown_and_names_what_is(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "web", GOOD)
    seen = look(cluster, space)
    assert (seen["health"], seen["service"]["exists"]) == ("unknown", False)
    assert "it has web" in seen["say"][0]
    assert look(cluster, "nowhere")["health"] == "unknown"
    assert look(cluster, space, "web", workload_kind="StatefulSet")["service"]["exists"] is False


@pytest.mark.parametrize("given", [{"context": "nope"}, {"context": ""}, {"namespace": ""}, {"namespace": "A b"}, {"kubeconfig": "/none"}])
def test_a_context_or_namespace_left_to_chance_is_refused(cluster: Cluster, space: str, given: dict[str, t.Any]) -> None:
    with pytest.raises(StepError, match="needs context|needs namespace|cannot be used"):
        look(cluster, given.get("namespace", space), **{key: value for key, value in given.items() if key != "namespace"})


def test_a_cluster_that_does_not_answer_and_one_that_does_not_permit_are_unknown(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    for context, told in (("current", "does not answer"), ("lesser", "this user is not allowed to read")):
        seen = look(cluster, space, context=context)
        assert (seen["health"], seen["service"]["reachable"]) == ("unknown", False)
        assert told in seen["say"][0]


def test_without_the_library_it_is_unknown_and_says_what_to_install(cluster: Cluster, space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    seen = look(cluster, space)
    assert (seen["health"], seen["service"]["reachable"]) == ("unknown", False)
    assert "pip install kubernetes" in seen["say"][0]


def test_a_restart_rolls_every_pod_out_anew(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    before = as_state(cluster, space, "running")["identity"]
    done, result = play(cluster, space, "restart")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (result["changed"], result["settled"], result["after"]["state"]) == (True, True, "running")
    assert not set(before["pods"]) & set(result["identity"]["pods"])
    assert result["identity"]["workload"] == before["workload"]


def test_check_mode_changes_nothing(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    before = as_state(cluster, space, "running")["identity"]
    generation = cluster.must("GET", deployment(space))["metadata"]["generation"]
    for file in ("restart", "stop"):
        done, result = play(cluster, space, file, "--check")
        assert done.returncode == 0, done.stdout + done.stderr
        assert result["changed"] is True
    assert cluster.must("GET", deployment(space))["metadata"]["generation"] == generation
    assert look(cluster, space)["identity"] == before


def test_a_workload_that_somebody_else_changed_meanwhile_is_not_changed(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    as_state(cluster, space, "running")
    # What the look before the act saw is older than this change.
    seen = look(cluster, space)["service"]["workload"]
    cluster.patch(deployment(space), {"spec": {"replicas": 3}})
    wanted = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    given = {"__service_manager_workload": seen, "__service_manager_patch": wanted}
    done, dummy = play(cluster, space, "kubernetes_steps/change", **given)
    assert "Note the change" not in done.stdout, done.stdout
    assert cluster.must("GET", deployment(space))["spec"]["replicas"] == 3
    # What is seen now is what is there, so the same change goes through.
    given["__service_manager_workload"] = look(cluster, space)["service"]["workload"]
    done, dummy = play(cluster, space, "kubernetes_steps/change", **given)
    assert "Note the change" in done.stdout, done.stdout
    assert cluster.must("GET", deployment(space))["spec"]["replicas"] == 0


def test_a_restart_onto_a_bad_image_fails_and_says_why(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", "shop/bad:1")
    as_state(cluster, space, "failed")
    done, dummy = play(cluster, space, "restart", service_manager_timeout=4)
    assert done.returncode == 2
    assert "ImagePullBackOff" in done.stdout


def test_stop_and_start_give_back_as_many_pods_as_there_were(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD, replicas=3)
    as_state(cluster, space, "running")
    done, stopped = play(cluster, space, "stop")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (stopped["changed"], stopped["after"]["state"], stopped["after"]["workload"]["pods"]) == (True, "stopped", [])
    assert stopped["after"]["workload"]["remembered"] == 3
    again = play(cluster, space, "stop")[1]
    assert again["changed"] is False
    done, started = play(cluster, space, "start")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (started["changed"], started["after"]["state"], started["after"]["workload"]["ready"]) == (True, "running", 3)
    assert started["after"]["workload"]["remembered"] is None
    assert play(cluster, space, "start")[1]["changed"] is False


def test_a_start_does_not_guess_how_many(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD, replicas=0)
    as_state(cluster, space, "stopped")
    done, dummy = play(cluster, space, "start")
    assert done.returncode == 2
    assert "set service_manager_replicas" in done.stdout
    done, result = play(cluster, space, "start", service_manager_replicas=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["after"]["workload"]["ready"] == 1


def test_a_stop_does_not_work_against_an_autoscaler(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD)
    autoscaler(cluster, space)
    assert as_state(cluster, space, "running")["service"]["workload"]["autoscalers"] == ["busy"]
    done, dummy = play(cluster, space, "stop")
    assert done.returncode == 2
    assert "an autoscaler (busy) sets its pods" in done.stdout
    assert cluster.must("GET", deployment(space))["spec"]["replicas"] == 2


def test_pods_that_do_not_leave_are_deleted_only_by_force(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", "shop/stuck:1")
    as_state(cluster, space, "running")
    done, dummy = play(cluster, space, "stop", service_manager_timeout=4)
    assert done.returncode == 2
    assert look(cluster, space)["state"] == "stopping"
    done, result = play(cluster, space, "stop", service_manager_stop_timeout=1, service_manager_force=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (result["killed"], result["after"]["state"]) == (True, "stopped")


def test_pods_of_a_stateful_set_are_not_deleted_even_by_force(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", "shop/stuck:1", replicas=1, kind="StatefulSet")
    as_state(cluster, space, "running", workload_kind="StatefulSet")
    more: dict[str, t.Any] = {"service_manager_workload_kind": "StatefulSet", "service_manager_force": True}
    done, dummy = play(cluster, space, "stop", service_manager_stop_timeout=1, service_manager_timeout=3, **more)
    assert done.returncode == 2
    pods = look(cluster, space, workload_kind="StatefulSet")["service"]["workload"]["pods"]
    assert [(pod["name"], pod["leaves"]) for pod in pods] == [("api-0", True)]


def test_a_stateful_set_is_restarted(cluster: Cluster, space: str) -> None:
    cluster.workload(space, "api", GOOD, kind="StatefulSet")
    before = as_state(cluster, space, "running", workload_kind="StatefulSet")["identity"]
    done, result = play(cluster, space, "restart", service_manager_workload_kind="StatefulSet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(result["identity"]["pods"]) == ["api-0", "api-1"]
    assert all(result["identity"]["pods"][name] != before["pods"][name] for name in before["pods"])


@pytest.mark.parametrize("file", ["hold", "signal", "release", "reset_failed", "extend_start_timeout", "state", "logs"])
def test_what_makes_no_sense_in_a_cluster_says_so_and_changes_nothing(cluster: Cluster, space: str, file: str) -> None:
    cluster.workload(space, "api", GOOD)
    before = as_state(cluster, space, "running")["identity"]
    done, result = play(cluster, space, file)
    assert done.returncode == (2 if file in ("hold", "signal") else 0), done.stdout + done.stderr
    assert "nothing was changed" in done.stdout if file in ("hold", "signal") else result["changed"] is False
    assert look(cluster, space)["identity"] == before
