# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real sockets and servers, most of them hostile: every answer in time, none of them well, no secret handed on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from farms.warmly import run_ansible
from somabrain_drill.ports import free_port

import ansible_collections.somabrain.incident_response as collection
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info, memory_round_trip

TOKEN = "canary-token-5f2e"
Speak = t.Callable[[socket.socket], None]


def look(*checks: dict[str, t.Any], stands_on: str = "target", timeout: float = 2.0) -> list[dict[str, t.Any]]:
    return checks_look.run_checks(checks_look.validated(list(checks), timeout), stands_on)


@contextlib.contextmanager
def server(speak: Speak) -> t.Iterator[int]:
    """Serve each connection on loopback by *speak* in a thread of its own; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            speak(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def says(answer: bytes) -> Speak:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return speak


def hangs(connection: socket.socket) -> None:
    connection.recv(65536)
    time.sleep(60)


def drips(connection: socket.socket) -> None:
    connection.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def floods(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    for _turn in range(100):
        connection.sendall(b"x" * 2**20)


def floods_headers(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: " + b"y" * 65000 + b"\r\n")


@pytest.mark.parametrize(
    ("speak", "health", "state"),
    [
        (hangs, "sick", "hung"),
        (drips, "sick", "hung"),
        (floods, "unknown", "too_large"),
        (floods_headers, "unknown", "garbage"),
        (says(b""), "sick", "closed"),
        (says(b"-ERR unknown command\r\n"), "unknown", "garbage"),
        (says(b"\x00\xff\x1b[31m" * 50 + b"\r\n"), "unknown", "garbage"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"), "sick", "closed"),
        (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"), "sick", "closed"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>It works!"), "unknown", "other_service"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 500000), "unknown", "other_service"),
    ],
    ids=["hangs", "drips", "100 MB", "endless headers", "closes", "redis", "binary", "cut body", "bad chunk", "html", "deep json"],
)
def test_a_hostile_server_gets_no_more_than_the_deadline_and_never_a_well(speak: Speak, health: str, state: str) -> None:
    with server(speak) as port:
        begun = time.monotonic()
        [result] = look({"kind": "http", "url": f"http://127.0.0.1:{port}/health", "profile": "v1_health"}, timeout=0.8)
        assert time.monotonic() - begun < 10
    assert (result["health"], result["state"]) == (health, state), result["findings"]
    assert "\x1b" not in json.dumps(result, ensure_ascii=False)


def test_a_redirect_is_told_and_the_token_goes_nowhere() -> None:
    asked: list[bytes] = []

    def trap(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))

    with server(trap) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere}/steal?code=s3cr3t".encode()
        with server(says(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")) as port:
            [result] = look({"kind": "http", "url": f"http://127.0.0.1:{port}/", "token": TOKEN})
        time.sleep(0.1)
    assert (result["health"], result["state"]) == ("sick", "redirect")
    assert f"http://127.0.0.1:{elsewhere}" in result["findings"][0]["text"]
    assert "s3cr3t" not in str(result)
    assert TOKEN not in str(result)
    assert asked == []


def test_token_and_tenant_are_sent_and_never_shown(tmp_path: Path) -> None:
    heard: list[bytes] = []
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    secret.chmod(0o600)

    def speak(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")

    with server(speak) as port:
        [result] = look({"kind": "http", "url": f"http://127.0.0.1:{port}/x?q=1", "token_file": str(secret), "tenant": "ops"})
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in heard[0]
    assert b"X-Tenant-ID: ops\r\n" in heard[0]
    assert (result["health"], result["state"]) == ("unknown", "auth")
    assert TOKEN not in str(result)


def test_a_certificate_that_nobody_signed_is_unknown(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed, so there is no certificate to refuse")
    import ssl

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def speak(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with server(speak) as port:
        url = f"https://127.0.0.1:{port}/"
        refused, trusted, unchecked = look(
            {"kind": "http", "url": url, "name": "refused"},
            {"kind": "http", "url": url, "name": "trusted", "ca_file": str(cert)},
            {"kind": "http", "url": url, "name": "unchecked", "validate_certs": False},
        )
    assert (refused["health"], refused["state"]) == ("unknown", "tls")
    assert (trusted["health"], unchecked["health"]) == ("well", "well")


def test_a_port_is_judged_by_its_banner() -> None:
    def banner(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-thing\r\n")
        time.sleep(1)

    with server(banner) as port, server(hangs) as mute:
        right, wrong, silent, plain = look(
            {"kind": "tcp", "host": "127.0.0.1", "port": port, "expect": "^SSH-2"},
            {"kind": "tcp", "host": "127.0.0.1", "port": port, "expect": "^220 "},
            {"kind": "tcp", "host": "127.0.0.1", "port": mute, "expect": "hello"},
            {"kind": "tcp", "host": "127.0.0.1", "port": mute},
            timeout=0.5,
        )
    assert [one["state"] for one in (right, wrong, silent, plain)] == ["open", "unexpected", "silent", "open"]
    assert [one["health"] for one in (right, wrong, silent, plain)] == ["well", "sick", "sick", "well"]


def test_a_refused_connection_means_more_on_the_target_than_on_the_controller() -> None:
    port = free_port()
    checks = ({"kind": "tcp", "host": "127.0.0.1", "port": port}, {"kind": "postgresql", "port": port})
    assert [one["health"] for one in look(*checks)] == ["sick", "sick"]
    assert [one["health"] for one in look(*checks, stands_on="controller")] == ["unknown", "unknown"]


def test_a_thousand_endpoints_are_asked_at_once() -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        time.sleep(0.05)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with server(speak) as port:
        begun = time.monotonic()
        results = look(*[{"kind": "http", "url": f"http://127.0.0.1:{port}/{i}"} for i in range(1000)], timeout=10.0)
        took = time.monotonic() - begun
    assert [one["health"] for one in results] == ["well"] * 1000
    # One after the other they would take 50 s.
    assert took < 10


class Memory(BaseHTTPRequestHandler):
    """A SomaBrain that remembers, or loses, as told by the attributes of its server."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kept: list[dict[str, t.Any]] = self.server.kept  # type: ignore[attr-defined]
        answer: dict[str, t.Any] = {"ok": True}
        if self.path == "/remember":
            if not self.server.loses:  # type: ignore[attr-defined]
                kept.append(dict(body["payload"], coordinate=[0.5]))
        elif self.path == "/recall":
            noise = {"score": 0.12, "payload": {"task": None, "content": "noise"}}
            answer = {"wm": [noise] + [{"score": 0.74, "payload": one} for one in kept], "memory": [], "results": []}
        elif not self.server.litters:  # type: ignore[attr-defined]
            kept.clear()
        self.server.tenants.add(self.headers["X-Tenant-ID"])  # type: ignore[attr-defined]
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: t.Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def memory(**told: bool) -> t.Iterator[t.Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Memory) as httpd:
        httpd.__dict__.update({"kept": [], "tenants": set(), "loses": False, "litters": False, **told})
        threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
        yield httpd
        httpd.shutdown()


@pytest.mark.parametrize(
    ("told", "given", "health", "state", "litter"),
    [
        ({}, {"require_ltm": False}, "well", "proven", "none"),
        ({"loses": True}, {}, "sick", "not_recalled", "none"),
        ({"litters": True}, {"require_ltm": False}, "well", "proven", "working_memory"),
        ({}, {}, "sick", "no_ltm", "none"),
    ],
)
def test_a_round_trip_proves_the_memory_and_takes_its_canary_away(
    told: dict[str, bool], given: dict[str, t.Any], health: str, state: str, litter: str
) -> None:
    options = {name: rule.get("default") for name, rule in memory_round_trip.ARGUMENT_SPEC.items()}
    with memory(**told) as httpd:
        result = memory_round_trip.run(dict(options, url=f"http://127.0.0.1:{httpd.server_port}", timeout=1.5, **given), False)
    assert (result["health"], result["state"], result["litter"]) == (health, state, litter)
    assert result["changed"] is (litter != "none")
    assert httpd.tenants == {"somabrain-canary"}
    assert bool(httpd.kept) is (litter != "none")


def test_a_rehearsed_round_trip_sends_nothing() -> None:
    options = {name: rule.get("default") for name, rule in memory_round_trip.ARGUMENT_SPEC.items()}
    with memory() as httpd:
        result = memory_round_trip.run(dict(options, url=f"http://127.0.0.1:{httpd.server_port}"), True)
    assert (result["health"], result["changed"], httpd.tenants) == ("unknown", False, set())


def ansible_playbook(play: Path, inventory: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook with the collection that these tests run from, and no configuration of the machine."""
    root = next(iter(collection.__path__)).split("/ansible_collections/")[0]
    env = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=root, ANSIBLE_STDOUT_CALLBACK="default", ANSIBLE_CONFIG=str(cwd / "none.cfg"))
    command = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), str(play), "-i", str(inventory), *words]
    return run_ansible(command, env=env, cwd=cwd, timeout=90)


PLAYBOOKS = Path(next(iter(collection.__path__))) / "playbooks"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    far = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    file = tmp_path / "hosts.json"
    file.write_text(json.dumps({"all": {"hosts": {"here": local}, "children": {"far": {"hosts": {"gone": far}}}}}))
    return file


def test_verify_health_tells_a_partial_outage_and_an_unreachable_host_and_ends_red(tmp_path: Path, inventory: Path) -> None:
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as up, server(says(b"HTTP/1.1 500 Oops\r\n\r\n")) as down:
        given = {
            "health_verification_endpoints": [f"http://127.0.0.1:{up}/a", f"http://127.0.0.1:{down}/b"],
            "health_verification_endpoint_defaults": {"token": TOKEN},
            "health_verification_host_checks": [{"kind": "disk", "paths": ["/"], "max_used_share": 1.0, "max_inodes_used_share": 1.0}],
            "health_verification_report_file": str(tmp_path / "report.json"),
            "health_verification_textfile": str(tmp_path / "health.prom"),
        }
        # In a file: Ansible itself shows its own command line at this verbosity.
        (tmp_path / "vars.json").write_text(json.dumps(given))
        done = ansible_playbook(PLAYBOOKS / "verify_health.yml", inventory, tmp_path, "-e", f"@{tmp_path}/vars.json", "-vvvv")
    report = json.loads((tmp_path / "report.json").read_text())
    assert done.returncode == 2, done.stdout + done.stderr
    assert {host: one["health"] for host, one in report["hosts"].items()} == {"here": "sick", "gone": "unknown"}
    assert f"1 of 2 endpoints fail: http://127.0.0.1:{down}/b" in report["hosts"]["here"]["reason"]
    assert 'somabrain_health_host_state{host="gone"} -1' in (tmp_path / "health.prom").read_text()
    assert TOKEN not in (tmp_path / "report.json").read_text() + done.stdout + done.stderr


def test_verify_health_ends_green_when_all_is_well_and_writes_nothing_in_a_rehearsal(tmp_path: Path, inventory: Path) -> None:
    given: dict[str, t.Any] = {"health_verification_host_checks": [{"kind": "memory", "min_available_share": 0}]}
    given |= {"health_verification_report_file": str(tmp_path / "report.json")}
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as up:
        given |= {"health_verification_endpoints": [f"http://127.0.0.1:{up}/a"]}
        words = ("--limit", "here,localhost", "-e", json.dumps(given))
        rehearsed = ansible_playbook(PLAYBOOKS / "verify_health.yml", inventory, tmp_path, *words, "--check")
        assert (rehearsed.returncode, (tmp_path / "report.json").exists()) == (0, False), rehearsed.stdout
        assert ansible_playbook(PLAYBOOKS / "verify_health.yml", inventory, tmp_path, *words).returncode == 0
    assert json.loads((tmp_path / "report.json").read_text())["health"] == "well"


def test_an_inventory_that_names_no_check_is_looked_at_as_its_remedies_would_and_is_red_when_all_is_stopped(tmp_path: Path) -> None:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    told = {
        "redis_recovery_manager": "supervisor", "redis_recovery_port": free_port(), "redis_recovery_config_file": "",
        "database_recovery_manager": "supervisor", "database_recovery_host": "127.0.0.1", "database_recovery_port": free_port(),
        "service_restart_manager": "supervisor", "service_restart_url": f"http://127.0.0.1:{free_port()}/health",
        "service_manager_supervisor_url": f"unix://{tmp_path}/no.sock", "remediation_state_dir": str(tmp_path / "state"),
        "health_verification_report_file": str(tmp_path / "report.json"), "service_restart_name": "api",
        "health_verification_host_checks": [{"kind": "memory", "min_available_share": 0}],
    }  # fmt: skip
    groups: dict[str, t.Any] = {name: {"hosts": {"here": {}}} for name in ("redis", "postgresql", "somabrain_api")}
    file = tmp_path / "told.json"
    file.write_text(json.dumps({"all": {"hosts": {"here": local, "keeper": local}, "vars": told, "children": groups}}))
    done = ansible_playbook(PLAYBOOKS / "verify_health.yml", file, tmp_path, "--limit", "here,keeper,localhost")
    report = json.loads((tmp_path / "report.json").read_text())["hosts"]
    assert (done.returncode, report["here"]["health"]) == (2, "sick"), done.stdout
    assert [one["health"] for one in report["here"]["checks"][:3]] == ["sick", "unknown", "unknown"], report["here"]
    assert [one["name"] for one in report["here"]["checks"][:3]] == ["redis", "postgresql", "api"]
    assert (report["keeper"]["health"], report["keeper"]["services"]) == ("well", 0)
    tagged = ansible_playbook(PLAYBOOKS / "verify_health.yml", file, tmp_path, "--limit", "here,localhost", "--tags", "redis")
    assert tagged.returncode == 2
    assert "--tags redis would leave tasks out" in tagged.stdout


def test_verify_health_is_red_when_no_host_matches(tmp_path: Path, inventory: Path) -> None:
    done = ansible_playbook(PLAYBOOKS / "verify_health.yml", inventory, tmp_path, "-e", "verify_health_hosts=nowhere")
    assert done.returncode != 0
    assert "no host of this inventory" in done.stdout


def test_a_wrong_check_is_named_in_one_line(tmp_path: Path, inventory: Path) -> None:
    given = json.dumps({"health_verification_checks": [{"kind": "htp"}]})
    done = ansible_playbook(PLAYBOOKS / "verify_health.yml", inventory, tmp_path, "--limit", "here,localhost", "-e", given)
    assert done.returncode == 2
    assert "is 'htp'; choose one of" in done.stdout


def test_check_access_makes_the_reserve_and_tells_what_is_missing(tmp_path: Path, inventory: Path) -> None:
    given = {"remediation_state_dir": str(tmp_path / "state"), "access_check_reserve_bytes": 65536, "access_check_tools": ["sh"]}
    words = ["--limit", "here,localhost", "-e", json.dumps(given)]
    rehearsed = ansible_playbook(PLAYBOOKS / "check_access.yml", inventory, tmp_path, *words, "--check")
    assert (rehearsed.returncode, (tmp_path / "state").exists()) == (2, False)
    first = ansible_playbook(PLAYBOOKS / "check_access.yml", inventory, tmp_path, *words)
    assert first.returncode == 0, first.stdout
    second = ansible_playbook(PLAYBOOKS / "check_access.yml", inventory, tmp_path, *words)
    assert "changed=0" in second.stdout
    missing = ansible_playbook(
        PLAYBOOKS / "check_access.yml", inventory, tmp_path, *words, "-e", '{"access_check_tools": ["no-such-tool"]}', "-v"
    )
    assert missing.returncode == 2
    assert "tool no-such-tool: no-such-tool is missing: install it" in missing.stdout


def test_a_look_of_many_passes_ends_when_it_is_proven() -> None:
    options = {name: rule.get("default") for name, rule in health_info.ARGUMENT_SPEC.items()}
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as port:
        checks = [{"kind": "http", "url": f"http://127.0.0.1:{port}/"}]
        result = health_info.run(dict(options, checks=checks, passes=3, window=0.3, timeout=5.0, interval=0.1), False)
    assert (result["proven"], result["health"]) == (True, "well")
    assert result["passes"] >= 3
    assert 0.3 <= result["seconds"] < 3
