# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real API server with the real controllers of Deployments and StatefulSets. No container runs: a thread plays the kubelet,
and what becomes of a pod is written in the name of its image.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from farms.waiting import until

PROGRAM = os.environ.get("SOMABRAIN_KUBE", "")
TOKEN = "token-of-the-test"  # noqa: S105 - a cluster on loopback that lives as long as its tests
Told = t.Dict[str, t.Any]


def why_not() -> str:
    """Return why this machine has no API server to offer, "" where it has."""
    if not shutil.which("etcd"):
        return "etcd is not installed"
    built = PROGRAM and os.access(PROGRAM, os.X_OK)
    return "" if built else "no API server was built; scripts/test integration builds one (SOMABRAIN_KUBE)"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Cluster:
    """etcd, API server, controllers and the thread that plays the kubelet, in one directory; ``end`` ends them all."""

    def __init__(self, home: Path) -> None:
        self.home, self.kubeconfig = home, str(home / "kubeconfig")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.client: t.Any = None
        self.port, etcd, peers = free_port(), free_port(), free_port()
        (home / "tokens").write_text(f"{TOKEN},admin,admin,system:masters\nlesser,lesser,lesser\n")
        subprocess.run(["openssl", "genrsa", "-out", str(home / "sa.key"), "2048"], check=True, capture_output=True)
        store = f"http://127.0.0.1:{etcd}"
        peer = f"http://127.0.0.1:{peers}"
        self._run("etcd", "etcd", "--data-dir", str(home / "etcd"), "--unsafe-no-fsync", "--listen-client-urls", store,
                  "--advertise-client-urls", store, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                  "--initial-cluster", f"default={peer}")  # fmt: skip
        issuer = "https://kubernetes.default.svc"
        self._run("api", PROGRAM, f"--etcd-servers={store}", "--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={home}",
                  f"--token-auth-file={home}/tokens", "--authorization-mode=RBAC", f"--service-account-issuer={issuer}",
                  f"--service-account-key-file={home}/sa.key", f"--service-account-signing-key-file={home}/sa.key",
                  "--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount")  # fmt: skip
        self.write_kubeconfig()

    def _run(self, name: str, *words: str) -> None:
        with open(self.home / f"{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def write_kubeconfig(self) -> None:
        """Write a kubeconfig whose current context is one that must never be used."""
        there = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.home / "apiserver.crt")}
        contexts = {"here": ("there", "admin"), "lesser": ("there", "lesser"), "current": ("nowhere", "admin")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "there", "cluster": there}, {"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}, {"name": "lesser", "user": {"token": "lesser"}}],
            "contexts": [{"name": name, "context": {"cluster": cluster, "user": user}} for name, (cluster, user) in contexts.items()],
            "current-context": "current",
        }
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))

    def begin(self) -> None:
        """Wait until the server is ready, then start the controllers and the kubelet's stand-in."""
        until((self.home / "apiserver.crt").exists, 60)
        from kubernetes import config

        made: t.Any = config.new_client_from_config
        self.client = made(self.kubeconfig, context="here")
        until(lambda: self.ask("GET", "/readyz")[0] == 200, 90)
        until(lambda: self.ask("GET", "/api/v1/namespaces/default")[0] == 200, 60)
        mine = self.home / "controllers.kubeconfig"
        mine.write_text(Path(self.kubeconfig).read_text().replace("current-context: current", "current-context: here"))
        self._run("controllers", PROGRAM, "controllers", str(mine))
        self.kubelet = Kubelet(self)
        self.kubelet.start()

    def ask(self, method: str, path: str, body: t.Any = None, kind: str = "application/json") -> tuple[int, Told]:
        """Send one request and return status and JSON, (0, {}) where nothing answers."""
        from urllib3.exceptions import HTTPError

        pool, host = self.client.rest_client.pool_manager, self.client.configuration.host
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        try:
            sent = None if body is None else json.dumps(body)
            answer = pool.request(method, host + path, body=sent, headers=headers, timeout=10, retries=False)
        except HTTPError:
            return 0, {}
        with contextlib.suppress(ValueError):
            return int(answer.status), dict(json.loads(answer.data))
        return int(answer.status), {}

    def must(self, method: str, path: str, body: t.Any = None, kind: str = "application/json") -> Told:
        status, told = self.ask(method, path, body, kind)
        assert status in (200, 201, 202), (method, path, status, told.get("message"))
        return told

    def end(self) -> None:
        if hasattr(self, "kubelet"):
            self.kubelet.over.set()
            self.kubelet.join(20)
        for process in reversed(self.processes):
            process.kill()
            process.wait(20)

    def workload(self, namespace: str, name: str, image: str, replicas: int = 2, kind: str = "Deployment", **spec: t.Any) -> None:
        """Make a workload of one container."""
        labels = {"app": name}
        containers = [{"name": "main", "image": image, "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "100m"}}}]
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        given: Told = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
        if kind == "StatefulSet":
            given["serviceName"] = name
        body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": given}
        self.must("POST", f"/apis/apps/v1/namespaces/{namespace}/{kind.lower()}s", body)

    def patch(self, path: str, body: Told, status: bool = False) -> Told:
        return self.must("PATCH", path + ("/status" if status else ""), body, "application/strategic-merge-patch+json")

    def roll(self, namespace: str, name: str, image: str) -> None:
        """Give a Deployment another image."""
        change = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
        self.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", change)


class Kubelet(threading.Thread):
    """Gives each pod a node, and the status that its image's name asks for; deletes what is to leave, unless it is ``stuck``."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.cluster, self.over = cluster, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            for pod in self.cluster.ask("GET", "/api/v1/pods")[1].get("items") or []:
                self.turn(pod)

    def turn(self, pod: Told) -> None:
        metadata, image = pod["metadata"], pod["spec"]["containers"][0]["image"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if metadata.get("deletionTimestamp"):
            if "stuck" not in image.partition("@")[0]:
                self.cluster.ask("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}})
        elif not pod["spec"].get("nodeName"):
            node = {"apiVersion": "v1", "kind": "Node", "name": "farm"}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": node}
            self.cluster.ask("POST", path + "/binding", binding)
        elif not pod["status"].get("containerStatuses"):
            self.cluster.ask("PATCH", path + "/status", {"status": status_of(image)}, "application/strategic-merge-patch+json")


def image_id(image: str) -> str:
    """Return what a kubelet tells of an image: its digest, which here is made of its name."""
    repository, dummy, digest = image.partition("@")
    return f"{repository.partition(':')[0]}@{digest or 'sha256:' + hashlib.sha256(image.encode()).hexdigest()}"


def status_of(image: str) -> Told:
    """Return what a kubelet writes of a pod with this image; what becomes of it is in its name, not in its digest."""
    told, image = image_id(image), image.partition("@")[0]
    began = datetime.now(UTC) - timedelta(seconds=60)
    name = "ImagePullBackOff" if "bad" in image else "CrashLoopBackOff" if "crash" in image or "greedy" in image else ""
    end = {"exitCode": 137, "reason": "OOMKilled"} if "greedy" in image else {"exitCode": 1, "reason": "Error"}
    ready = not name and "slow" not in image
    container: Told = {"name": "main", "image": image, "imageID": "" if "bad" in image else told, "ready": ready}
    container.update(restartCount=4 if name == "CrashLoopBackOff" else 0, state={"waiting": {"reason": name}} if name else {"running": {}})
    if name == "CrashLoopBackOff":
        container["lastState"] = {"terminated": end}
    changed = began + timedelta(seconds=30 if "sick" in image else 1)
    if "sick" in image:
        ready = container["ready"] = False
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": f"{changed:%Y-%m-%dT%H:%M:%SZ}"}
    phase = "Pending" if "bad" in image else "Running"
    return {"phase": phase, "startTime": f"{began:%Y-%m-%dT%H:%M:%SZ}", "conditions": [condition], "containerStatuses": [container]}


@contextlib.contextmanager
def a_cluster(home: Path) -> t.Iterator[Cluster]:
    cluster = Cluster(home)
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.end()
