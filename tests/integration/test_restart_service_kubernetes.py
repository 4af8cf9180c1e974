# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restart-service on workloads of a real API server with real controllers: rolled out anew where that helps, refused by name where not.

No kubelet runs containers: a server of the test's own answers for the Service of the workload, by what the API server says of its pods.
"""

from __future__ import annotations

import http.server
import itertools
import json
import os
import threading
import typing as t

import pytest
from farms import playing
from farms.kubernetes import Cluster, a_cluster, status_of, why_not
from farms.practice import ROOT
from farms.waiting import until
from farms.warmly import PLAYBOOK, run_ansible

NUMBERS = itertools.count(1)
PLENTY = {"remediation_budget": {"attempts": 50, "within_seconds": 900}}


class Space:
    """A namespace with one workload, and what answers for its Service."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name, self.home = cluster, name, cluster.home / name
        self.home.mkdir()
        # Pods that hang: what answers is silent while one of them is left.
        self.hung: set[str] = set()
        space = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if space.hung & set(space.pods()):
                    self.close_connection = space.over.wait(30)
                    return
                self.send_response(200 if space.pods() else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: t.Any) -> None:
                """Say nothing."""

        self.over = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def pods(self) -> list[str]:
        """Return the uids of the pods that are ready and stay."""
        items = self.cluster.ask("GET", f"/api/v1/namespaces/{self.name}/pods")[1].get("items") or []
        there = [pod for pod in items if not pod["metadata"].get("deletionTimestamp")]
        return sorted(pod["metadata"]["uid"] for pod in there if (pod["status"].get("containerStatuses") or [{}])[0].get("ready"))

    def generation(self, name: str = "api", kind: str = "deployments") -> int:
        return int(self.cluster.must("GET", f"/apis/apps/v1/namespaces/{self.name}/{kind}/{name}")["metadata"]["generation"])

    def restart(self, *words: str, **more: t.Any) -> dict[str, t.Any]:
        """Run the playbook on the workload `api`, with this machine as its keeper, and return its outcome and exit code."""
        outcome = self.home / "outcome.json"
        outcome.unlink(missing_ok=True)
        given = {
            **PLENTY, "restart_service_hosts": "cluster", "ansible_connection": "local", "remediation_keeper_is_persistent": True,
            "remediation_state_dir": str(self.home / "ledger"), "remediation_outcome_file": str(outcome),
            "service_restart_manager": "kubernetes", "service_restart_service": "api", "service_manager_namespace": self.name,
            "service_manager_context": "here", "service_manager_kubeconfig": self.cluster.kubeconfig,
            "service_restart_url": f"http://127.0.0.1:{self.server.server_port}/", "service_restart_profile": "none",
            "service_restart_round_trip": "", "service_restart_working_memory": False, "service_restart_behind_proxy": True,
            "service_restart_answer_timeout": 2, "service_restart_start_seconds": 5, "service_restart_memory_seconds": 0, **more,
        }  # fmt: skip
        command = [str(PLAYBOOK), "playbooks/restart-service.yml", "-i", "cluster,", "-e", json.dumps(given), *words]
        env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{playing.OURS}:{playing.BORROWED}"}
        done = run_ansible(command, cwd=ROOT, env=env)
        assert outcome.exists(), done.stdout + done.stderr
        return {**json.loads(outcome.read_text()), "code": done.returncode, "screen": done.stdout}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Cluster]:
    if why_not():
        pytest.skip(why_not())
    pytest.importorskip("kubernetes", reason="the Python library kubernetes is not installed")
    if not playing.borrowed("kubernetes/core"):
        pytest.skip("kubernetes.core is not there; scripts/test integration fetches it")
    with a_cluster(tmp_path_factory.mktemp("kube")) as cluster:
        yield cluster


@pytest.fixture
def space(cluster: Cluster) -> t.Iterator[Space]:
    name = f"shop-{next(NUMBERS)}"
    cluster.must("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    one = Space(cluster, name)
    yield one
    one.end()


def reason(outcome: t.Mapping[str, t.Any]) -> str:
    return str(outcome["reasons"][0]["code"])


def ready(space: Space, image: str = "shop/api:1", **more: t.Any) -> None:
    space.cluster.workload(space.name, "api", image, **more)
    until(lambda: len(space.pods()) == 2)


def refused(space: Space, code: str, **more: t.Any) -> dict[str, t.Any]:
    """Run, and see it refused by *code* without an act: no pod is another one."""
    before = space.pods()
    outcome = space.restart(**more)
    assert (outcome["outcome"], reason(outcome), outcome["code"] > 0) == ("refused", code, True), outcome["screen"]
    assert (outcome["acts"], space.pods()) == ([], before)
    return outcome


def test_a_well_deployment_is_left_alone(space: Space) -> None:
    ready(space)
    before = space.pods()
    outcome = space.restart()
    assert (outcome["outcome"], outcome["code"], space.pods()) == ("nothing_to_do", 0, before), outcome["screen"]


def test_pods_that_hang_are_rehearsed_then_rolled_out_anew_and_an_autoscaler_keeps_its_number(space: Space) -> None:
    ready(space)
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "busy"}}
    spec = {"scaleTargetRef": aim, "minReplicas": 2, "maxReplicas": 4}
    space.cluster.must("POST", f"/apis/autoscaling/v2/namespaces/{space.name}/horizontalpodautoscalers", {**body, "spec": spec})
    space.hung = set(space.pods())
    before, generation = space.pods(), space.generation()
    rehearsed = space.restart("--check")
    assert (rehearsed["outcome"], space.pods(), space.generation()) == ("rehearsed", before, generation), rehearsed["screen"]
    outcome = space.restart()
    assert (outcome["outcome"], outcome["code"], outcome["before"]["state"]) == ("recovered", 0, "hung"), outcome["screen"]
    assert [act["action"] for act in outcome["acts"]] == ["restart"]
    assert (len(space.pods()), set(space.pods()) & set(before)) == (2, set())


def test_one_pod_that_is_not_ready_any_more_is_replaced_while_the_other_serves(space: Space) -> None:
    ready(space)
    pods = space.cluster.must("GET", f"/api/v1/namespaces/{space.name}/pods")["items"]
    path, uid = f"/api/v1/namespaces/{space.name}/pods/{pods[0]['metadata']['name']}", pods[0]["metadata"]["uid"]
    sick = status_of("shop/sick:1")
    space.cluster.patch(path, {"status": {"conditions": sick["conditions"], "containerStatuses": sick["containerStatuses"]}}, status=True)
    until(lambda: uid not in space.pods())
    outcome = space.restart()
    assert (outcome["outcome"], outcome["code"], outcome["before"]["state"]) == ("recovered", 0, "pods_not_ready"), outcome["screen"]
    assert (len(space.pods()), uid in space.pods()) == (2, False)


@pytest.mark.parametrize("image", ["shop/bad:2", "shop/crash:2"])
def test_a_bad_release_is_not_rolled_out_once_more_while_the_old_one_serves(space: Space, image: str) -> None:
    ready(space)
    generation = space.generation()
    space.cluster.roll(space.name, "api", image)
    until(lambda: "BackOff" in json.dumps(space.cluster.must("GET", f"/api/v1/namespaces/{space.name}/pods")))
    outcome = refused(space, "state_not_handled")
    assert (len(space.pods()), space.generation()) == (2, generation + 1)
    assert "BackOff" in outcome["reasons"][0]["text"]


NO_POD: dict[str, tuple[str, str, str]] = {
    "an image that is not there": ("shop/bad:1", "state_not_handled", "ImagePullBackOff"),
    "an exit loop": ("shop/crash:1", "exit_loop", "in a restart loop"),
    "too little memory": ("shop/greedy:1", "out_of_memory", "more memory than its limit"),
}


@pytest.mark.parametrize(("image", "code", "told"), NO_POD.values(), ids=list(NO_POD))
def test_what_ends_the_same_way_again_is_refused_by_name(space: Space, image: str, code: str, told: str) -> None:
    space.cluster.workload(space.name, "api", image)
    until(lambda: "BackOff" in json.dumps(space.cluster.must("GET", f"/api/v1/namespaces/{space.name}/pods")))
    assert told in refused(space, code)["reasons"][0]["text"]


def quota(space: Space, pods: int, used: int) -> None:
    """Allow so many pods; the controller that counts them is not among those that run, so what it writes is written here."""
    path = f"/api/v1/namespaces/{space.name}/resourcequotas"
    hard = {"pods": str(pods)}
    space.cluster.must("POST", path, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}})
    space.cluster.patch(path + "/small", {"status": {"hard": hard, "used": {"pods": str(used)}}}, status=True)


def test_a_rollout_for_whose_pods_the_quota_has_no_room_is_not_begun(space: Space) -> None:
    ready(space)
    quota(space, 2, 2)
    space.hung = set(space.pods())
    generation = space.generation()
    assert "quota small: 2 of 2 pods" in refused(space, "no_room")["reasons"][0]["text"]
    assert space.generation() == generation


def test_pods_that_the_quota_forbids_are_told(space: Space) -> None:
    quota(space, 0, 0)
    space.cluster.workload(space.name, "api", "shop/api:1")
    until(lambda: "exceeded quota" in json.dumps(space.cluster.must("GET", f"/apis/apps/v1/namespaces/{space.name}/deployments/api")))
    assert "exceeded quota" in refused(space, "state_not_handled")["reasons"][0]["text"]


def test_what_somebody_scaled_to_nothing_is_not_started(space: Space) -> None:
    space.cluster.workload(space.name, "api", "shop/api:1", replicas=0)
    refused(space, "state_not_handled")
    assert space.cluster.must("GET", f"/apis/apps/v1/namespaces/{space.name}/deployments/api")["spec"]["replicas"] == 0


WRONG: dict[str, tuple[dict[str, t.Any], str, str]] = {
    "a workload that is not there": ({"service_restart_service": "nobody"}, "no_such_service", "it has api"),
    "a namespace that is not there": ({"service_manager_namespace": "nowhere"}, "no_such_service", "nowhere"),
    "a context that is not there": ({"service_manager_context": "nobodys"}, "health_unknown", "nobodys"),
    "a user who may not look": ({"service_manager_context": "lesser"}, "health_unknown", "not allowed to read"),
}


@pytest.mark.parametrize(("given", "code", "told"), WRONG.values(), ids=list(WRONG))
def test_what_is_named_wrongly_is_refused_by_name_and_nothing_is_touched(
    space: Space, given: dict[str, t.Any], code: str, told: str
) -> None:
    ready(space)
    space.hung = set(space.pods())
    assert told in json.dumps(refused(space, code, **given)["reasons"])


@pytest.mark.parametrize(("name", "image"), [("redis", "shop/own:1"), ("state", "hub.example.com/library/postgres:15")])
def test_a_stateful_set_that_is_a_store_by_name_or_image_is_handed_over(space: Space, name: str, image: str) -> None:
    space.cluster.workload(space.name, name, image, kind="StatefulSet")
    until(lambda: len(space.pods()) == 2)
    space.hung = set(space.pods())
    outcome = refused(space, "stateful_service", service_restart_service=name, service_manager_workload_kind="StatefulSet")
    assert "A store in a container has none here" in outcome["reasons"][0]["unblock"]


ONLY_A_KUBELET = ("a process that ends and is started anew in its pod", "a liveness probe that fails", "memory that grows to its limit")


@pytest.mark.parametrize("fault", ONLY_A_KUBELET)
def test_what_only_a_kubelet_shows(cluster: Cluster, fault: str) -> None:
    nodes = cluster.must("GET", "/api/v1/nodes")["items"]
    if not nodes:
        pytest.skip(f"{fault}: no kubelet runs containers on this API server; what the API tells of it is written by the tests")
    pytest.fail("there is a node, so this can be tried for real")
