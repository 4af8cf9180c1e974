# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab on real Redis, PostgreSQL and supervisor: starting, stopping, moving ports, and the stand-in API's false greens."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from farms.waiting import until
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import round_trip
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import memory_round_trip

ROOT = Path(__file__).resolve().parents[2]
TOKEN_REFUSALS = [({}, 401), ({"Authorization": "Bearer wrong"}, 403)]
REDIS = shutil.which("redis-server")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

pytestmark = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed"),
    pytest.mark.skipif(not POSTGRES, reason="PostgreSQL is not installed"),
]


class Lab:
    """One lab in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder / "lab"
        self.settings: dict[str, t.Any] = {
            "lab_dir": str(self.dir),
            "profile": "v1",
            "ports": {name: free_port() for name in ("redis", "postgres", "api", "ltm")},
            "user": "postgres",
            "redis_server": REDIS,
            "redis_maxmemory": "64mb",
            "redis_start_seconds": 0,
            "redis_password": "",
            "postgres_bin": "",
            "postgres_checksums": False,
            "backups": True,
            "supervisord": "",
            "audit_table": "audit_log",
            "audit_time_column": "created_at",
            "metrics_gate": True,
            "redis_keeps": "aof",
            "api_start_seconds": 0,
            "release_faults": [],
            "remove_data": False,
        }

    def __call__(self, word: str, **changes: t.Any) -> dict[str, t.Any]:
        """Run the lab's program and return what it tells."""
        told = subprocess.run(
            [sys.executable, "-B", "-m", "somabrain_lab", word],
            input=json.dumps({**self.settings, **changes}),
            cwd=ROOT / "roles" / "lab" / "files",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert told.stderr == ""
        return t.cast(t.Dict[str, t.Any], json.loads(told.stdout))

    @property
    def ports(self) -> dict[str, int]:
        return t.cast(t.Dict[str, int], json.loads((self.dir / "lab.json").read_text())["ports"])

    @property
    def token(self) -> str:
        return (self.dir / "secrets" / "api_token").read_text().strip()

    def redis(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.ports["redis"]), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    def supervisor(self, *words: str) -> str:
        program = Path(sys.executable).parent / "supervisorctl"
        command = [str(program), "-c", str(self.dir / "etc" / "supervisord.conf"), *words]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
        assert "error" not in told.lower()
        return told

    def pgbackrest(self, *words: str) -> str:
        command = ["pgbackrest", f"--config={self.dir}/etc/pgbackrest.conf", "--stanza=lab", *words]
        user: dict[str, t.Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=self.dir, **user)
        return str(done.stdout + done.stderr)

    def call(
        self, method: str, path: str, body: t.Any = None, headers: t.Optional[dict[str, str]] = None, timeout: float = 60
    ) -> tuple[int, t.Any]:
        """Return status and parsed body of one request, with token and tenant unless *headers* says otherwise."""
        usual = {"Authorization": f"Bearer {self.token}", "X-Tenant-ID": "public"}
        link = http.client.HTTPConnection("127.0.0.1", self.ports["api"], timeout=timeout)
        try:
            link.request(method, path, None if body is None else json.dumps(body), usual if headers is None else headers)
            answer = link.getresponse()
            text = answer.read().decode()
        finally:
            link.close()
        return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text


@pytest.fixture(scope="module")
def folder() -> t.Iterator[Path]:
    # Not pytest's own folder: the lab's user may not enter that, and a socket's path has to be short.
    place = Path(tempfile.mkdtemp(prefix="sb-lab-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def started(folder: Path) -> t.Iterator[Lab]:
    one = Lab(folder)
    told = one("start")
    assert told.get("error") is None
    yield one
    one("stop", remove_data=True)


@pytest.fixture
def lab(started: Lab) -> Lab:
    """The lab, whole again whatever the test before did to it."""
    (started.dir / "api_faults.json").unlink(missing_ok=True)
    assert started("start").get("error") is None
    return started


def test_starting_what_runs_already_changes_nothing(lab: Lab) -> None:
    assert lab("start")["changed"] is False
    assert lab("plan-start")["changed"] is False


def test_secrets_and_data_are_private(lab: Lab) -> None:
    modes = {name: oct((lab.dir / name).stat().st_mode & 0o777) for name in ("secrets", "redis", "postgres", "ltm", "secrets/api_token")}
    assert modes == {"secrets": "0o700", "redis": "0o700", "postgres": "0o700", "ltm": "0o700", "secrets/api_token": "0o600"}


def test_a_killed_redis_stays_dead_until_the_lab_is_started_and_has_kept_what_it_acknowledged(lab: Lab) -> None:
    kept = [f"key:{number}" for number in range(50) if lab.redis("SET", f"key:{number}", "x") == "OK"]
    os.kill(int(lab.supervisor("pid", "redis")), signal.SIGKILL)
    until(lambda: "EXITED" in lab.supervisor("status", "redis"))
    time.sleep(1.5)
    assert "EXITED" in lab.supervisor("status", "redis")
    assert lab("start")["changed"] is True
    assert [key for key in kept if lab.redis("GET", key) != "x"] == []


def test_a_killed_postgres_stays_dead_until_the_lab_is_started_again(lab: Lab) -> None:
    before = int(lab.supervisor("pid", "postgres"))
    os.kill(before, signal.SIGKILL)
    until(lambda: "EXITED" in lab.supervisor("status", "postgres"))
    time.sleep(1.5)
    assert "EXITED" in lab.supervisor("status", "postgres")
    assert lab("start").get("error") is None
    assert int(lab.supervisor("pid", "postgres")) not in (0, before)


@pytest.mark.skipif(shutil.which("pgbackrest") is None, reason="pgbackrest is not installed")
def test_the_cluster_has_a_full_backup_and_its_wal_arrives(lab: Lab) -> None:
    told = json.loads(lab.pgbackrest("--output=json", "info"))
    assert [backup["type"] for backup in told[0]["backup"]] == ["full"]
    # It ends well only when a segment that is switched now has arrived.
    assert "error" not in lab.pgbackrest("check").lower()


def test_programs_left_by_a_killed_supervisor_are_ended_before_the_data_is_opened_again(lab: Lab) -> None:
    lab.redis("SET", "orphan", "kept")
    os.kill(int(lab.supervisor("pid")), signal.SIGKILL)
    told = lab("start")
    assert "earlier supervisord" in " ".join(told["say"])
    assert told["ports"] == lab.settings["ports"]
    assert lab.redis("GET", "orphan") == "kept"


def test_a_taken_port_is_named_and_another_one_chosen(lab: Lab) -> None:
    lab("stop")
    with socket.create_server(("127.0.0.1", lab.settings["ports"]["redis"])):
        told = lab("start")
        assert f"port {lab.settings['ports']['redis']}, wanted for redis, is taken by" in told["say"][0]
        assert lab.redis("PING") == "PONG"
    assert lab("start")["changed"] is False
    lab("stop")
    assert lab("start")["ports"] == lab.settings["ports"]


def test_a_password_is_asked_for_as_long_as_one_is_set(lab: Lab) -> None:
    lab("start", redis_password='quo"ted pass')
    assert "NOAUTH" in lab.redis("PING")
    assert lab.call("POST", "/remember", {"payload": {"task": "with a password"}})[0] == 200
    assert (lab.dir / "secrets" / "redis_password").stat().st_mode & 0o777 == 0o600
    lab("start")
    assert lab.redis("GET", "adaptation:state:public") != ""
    assert not (lab.dir / "secrets" / "redis_password").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the services as another user")
def test_the_user_of_the_services_can_write_nothing_that_root_runs_or_reads_for_itself(lab: Lab) -> None:
    user = pwd.getpwnam("postgres").pw_uid
    theirs = {"redis", "postgres", "ltm", "run", "backups"}
    rest = [path for path in lab.dir.rglob("*") if path.relative_to(lab.dir).parts[0] not in theirs and not path.is_socket()]
    open_to_others = [path for path in rest if path.lstat().st_uid == user or (path.lstat().st_mode & 0o022 and not path.is_symlink())]
    written = [str(path.relative_to(lab.dir)) for path in open_to_others]
    assert written == ["logs/redis.log"]
    pid = int(lab.supervisor("pid", "api"))
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    cache = Path(next(word.partition("=")[2] for word in words if word.startswith("pycache_prefix=")))
    assert cache.lstat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of another user")
@pytest.mark.parametrize("case", ["owner", "parent", "link", "above", "writable", "marker"])
def test_a_directory_that_another_user_can_change_is_no_lab(case: str, folder: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    base = folder / f"foreign-{case}"
    place = base / "lab"
    place.mkdir(parents=True)
    (place / ".somabrain-lab").write_text("a marker\n")
    if case in ("owner", "parent", "marker"):
        os.chown({"owner": place, "parent": base, "marker": place / ".somabrain-lab"}[case], nobody, -1)
    if case == "writable":
        place.chmod(0o777)
    if case == "above":
        base.chmod(0o777)
    if case == "link":
        (folder / "by-link").symlink_to(base)
        os.lchown(folder / "by-link", nobody, -1)
        place = folder / "by-link/lab"
    before = sorted(str(path) for path in base.rglob("*"))
    one = Lab(folder)
    assert any(word in one("start", lab_dir=str(place))["error"] for word in ("others could change", "is not a lab"))
    assert "error" in one("stop", lab_dir=str(place), remove_data=True)
    assert sorted(str(path) for path in base.rglob("*")) == before


def test_a_folder_that_is_not_a_lab_is_neither_used_nor_removed(folder: Path) -> None:
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "precious").write_text("data")
    one = Lab(folder)
    assert "is not a lab" in one("start", lab_dir=str(foreign))["error"]
    assert "marker" in one("stop", lab_dir=str(foreign), remove_data=True)["error"]
    assert (foreign / "precious").read_text() == "data"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lab_dir": "/"}, "absolute path two levels deep"),
        ({"lab_dir": "relative/lab"}, "absolute path two levels deep"),
        ({"redis_server": "/nowhere/redis-server"}, "set lab_redis_server"),
        ({"postgres_bin": "/nowhere"}, "set lab_postgres_bin"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(folder: Path, changes: dict[str, t.Any], words: str) -> None:
    told = Lab(folder)("plan-start", **changes)
    assert words in told["error"]
    assert "\n" not in told["error"]


def test_stopping_ends_everything_and_leaves_the_data(lab: Lab) -> None:
    lab.redis("SET", "after", "stop")
    assert lab("stop")["changed"] is True
    assert lab("stop")["changed"] is False
    for port in lab.settings["ports"].values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()
    lab("start")
    assert lab.redis("GET", "after") == "stop"


def test_settings_that_come_as_words_mean_what_they_say(lab: Lab) -> None:
    # ansible-core 2.18 hands over templated numbers and booleans as text; "False" must not remove the data.
    words = {
        name: str(lab.settings[name]) for name in ("remove_data", "metrics_gate", "postgres_checksums", "backups", "redis_start_seconds")
    }
    assert lab("start", ports={name: str(port) for name, port in lab.settings["ports"].items()}, **words)["changed"] is False
    assert lab("stop", **words)["changed"] is True
    assert (lab.dir / "lab.json").exists()


def test_a_remembered_task_is_recalled_with_a_score_that_noise_does_not_reach(lab: Lab) -> None:
    lab.call("POST", "/remember", {"payload": {"content": "no task at all"}})
    lab.call("POST", "/remember", {"payload": {"task": "unique canary 4711", "content": "x"}})
    status, found = lab.call("POST", "/recall", {"query": "unique canary 4711", "top_k": 3})
    scores = {hit["payload"]["content"]: hit["score"] for hit in found["wm"]}
    assert status == 200
    assert 0.7 < scores["x"] < 0.76
    assert 0.07 <= scores["no task at all"] <= 0.15
    assert found["memory"][0]["_source_endpoint"] == "/recall_with_scores"


def test_a_restart_empties_working_memory_and_not_the_long_term_memory(lab: Lab) -> None:
    lab.call("POST", "/remember", {"payload": {"task": "outlives restarts", "content": "x"}})
    lab.supervisor("restart", "api", "ltm")
    lab("start")
    _status, found = lab.call("POST", "/recall", {"query": "outlives restarts", "top_k": 3})
    assert found["wm"] == []
    assert [item["task"] for item in found["memory"]] == ["outlives restarts"]


@pytest.mark.parametrize("path", ["/delete", "/recall/delete"])
def test_no_deletion_works_and_each_counts_as_an_error_of_the_service(lab: Lab, path: str) -> None:
    lab.call("POST", "/remember", {"payload": {"task": "canary that stays", "content": "x"}})
    assert lab.call("POST", path, {"task": "canary that stays"})[0] == 500
    assert lab.call("POST", path, {"task": "canary that stays"}, {})[0] == 401
    _status, found = lab.call("POST", "/recall", {"query": "canary that stays", "top_k": 3})
    assert "canary that stays" in json.dumps(found)
    assert f'path="{path}",status="500"' in lab.call("GET", "/metrics")[1]


def errors_of(lab: Lab) -> float:
    lines = lab.call("GET", "/metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if "_requests_total{" in line and 'status="500"' in line)


def test_a_round_trip_proves_nothing_while_the_long_term_memory_is_away(lab: Lab) -> None:
    lab.supervisor("stop", "ltm")
    try:
        result = memory_round_trip.run(dict(canary_of(lab), tenant="somabrain-away"), False)
    finally:
        lab.supervisor("start", "ltm")
        lab("start")
    assert (result["health"], result["state"]) == ("sick", "no_ltm")
    assert "only the working memory returned the canary" in str(result["say"])


def canary_of(lab: Lab) -> dict[str, t.Any]:
    options = {name: rule.get("default") for name, rule in memory_round_trip.ARGUMENT_SPEC.items()}
    return dict(options, url=f"http://127.0.0.1:{lab.ports['api']}", token=lab.token, timeout=10.0)


def test_a_round_trip_keeps_one_canary_where_none_can_be_deleted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    options, results, errors = canary_of(lab), [], errors_of(lab)
    for _process in range(3):
        monkeypatch.setattr(round_trip, "_KEEPS", {})
        results += [memory_round_trip.run(dict(options), False) for _pass in range(2)]
    assert {(one["health"], one["state"], one["litter"]) for one in results} == {("well", "proven", "kept")}
    assert "no other is added" in str(results[-1])
    records = [json.loads(line) for line in (lab.dir / "ltm/journal.jsonl").read_text().splitlines()]
    kept = {one["id"] for one in records if one["namespace"] == "somabrain_ns:somabrain-canary"}
    assert len(kept) == 2
    # Counted twice, as each request is.
    assert errors_of(lab) - errors == 2


def test_with_the_memory_service_hung_health_takes_twenty_seconds_and_writes_go_on(lab: Lab) -> None:
    pid = int(lab.supervisor("pid", "ltm"))
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        status, health = lab.call("GET", "/health")
        assert (status, health["ok"], health["memory_ok"]) == (200, True, False)
        assert 19 <= time.monotonic() - begun < 30
        assert lab.call("POST", "/remember", {"payload": {"task": "while it hangs"}})[1]["success"] is True
    finally:
        os.kill(pid, signal.SIGCONT)


def test_as_shipped_health_says_for_ever_that_it_is_not_ok(lab: Lab) -> None:
    lab("start", metrics_gate=False)
    status, health = lab.call("GET", "/health")
    assert (status, health["ok"], health["ready"], health["memory_ok"]) == (200, False, False, True)
    assert lab.call("GET", "/healthz")[1]["alerts"] == ["observability_metrics_missing"]


def test_the_api_takes_its_time_to_start_and_has_lost_its_working_memory(lab: Lab) -> None:
    lab("start", api_start_seconds=2)
    lab.call("POST", "/remember", {"payload": {"task": "before the restart"}})
    begun = time.monotonic()
    lab.supervisor("restart", "api")
    until(lambda: lab("start", api_start_seconds=2).get("error") is None)
    assert time.monotonic() - begun >= 2
    assert lab.call("POST", "/recall", {"query": "before the restart"})[1]["wm"] == []


@pytest.mark.parametrize(("keeps", "left"), [("dump", "saved"), ("nothing", "")])
def test_a_redis_without_an_append_only_file_keeps_its_dump_or_nothing(lab: Lab, keeps: str, left: str) -> None:
    lab("start", redis_keeps=keeps)
    lab.redis("SET", "key", "saved")
    lab.redis("SAVE")
    lab.redis("SET", "key2", "not saved")
    if keeps == "nothing":
        # What the manager stops is the shell: Redis lives on.
        lab.supervisor("stop", "redis")
        assert lab.redis("PING") == "PONG"
    os.kill(next(int(line.partition(":")[2]) for line in lab.redis("INFO", "server").splitlines() if "process_id" in line), signal.SIGKILL)
    until(lambda: "RUNNING" not in lab.supervisor("status", "redis"))
    lab("start", redis_keeps=keeps)
    assert (lab.redis("GET", "key"), lab.redis("GET", "key2")) == (left, "")
    lab("stop", redis_keeps=keeps)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", lab.settings["ports"]["redis"]), 1).close()


def test_with_redis_down_health_shows_no_change(lab: Lab) -> None:
    _status, before = lab.call("GET", "/health")
    lab.supervisor("stop", "redis")
    status, after = lab.call("GET", "/health")
    assert status == 200
    assert {**after, "trace_id": ""} == {**before, "trace_id": ""}
    assert lab.call("POST", "/remember", {"payload": {"task": "t"}})[1]["success"] is True
    assert lab.call("GET", "/opa/policy")[0] == 404


def test_with_the_memory_service_down_a_write_is_acknowledged_and_not_kept(lab: Lab) -> None:
    lab.supervisor("stop", "ltm")
    status, health = lab.call("GET", "/health")
    assert (status, health["ok"], health["ready"], health["memory_ok"]) == (200, True, False, False)
    assert health["components"]["memory"] == {"ok": False}
    assert lab.call("POST", "/remember", {"payload": {"task": "never kept", "content": "x"}})[1]["success"] is True
    assert lab.call("POST", "/recall", {"query": "never kept"})[1]["wm"][0]["payload"]["task"] == "never kept"
    lab.supervisor("restart", "api")
    lab("start")
    assert lab.call("POST", "/recall", {"query": "never kept"})[1]["results"] == []


def test_audit_events_wait_in_redis_while_postgres_is_down_and_are_replayed(lab: Lab) -> None:
    lab.supervisor("stop", "postgres")
    lab.call("POST", "/remember", {"payload": {"task": "audited later"}})
    assert lab.redis("LLEN", "soma:audit:buffer") == "1"
    lab("start")
    lab.call("POST", "/remember", {"payload": {"task": "audited now"}})
    assert lab.redis("LLEN", "soma:audit:buffer") == "0"


@pytest.mark.parametrize(("headers", "status"), TOKEN_REFUSALS)
def test_without_the_right_token_nothing_but_health_and_metrics_answers(lab: Lab, headers: dict[str, str], status: int) -> None:
    detail = {401: "missing bearer token", 403: "invalid token"}[status]
    assert lab.call("POST", "/recall", {"query": "x"}, headers) == (status, {"detail": detail})
    assert [lab.call("GET", path, None, headers)[0] for path in ("/health", "/metrics")] == [200, 200]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/remember", [], 400),
        ("POST", "/recall", {}, 422),
        ("POST", "/recall", [], 422),
        ("POST", "/admin/maintenance", {}, 404),
        ("GET", "/remember", None, 405),
    ],
)
def test_a_wrong_request_gets_the_status_of_the_real_service(lab: Lab, method: str, path: str, body: t.Any, status: int) -> None:
    assert lab.call(method, path, body)[0] == status


def test_without_a_tenant_header_the_start_of_the_token_becomes_the_tenant(lab: Lab) -> None:
    _status, found = lab.call("POST", "/recall", {"query": "x"}, {"Authorization": f"Bearer {lab.token}"})
    assert found["namespace"] == f"somabrain_ns:{lab.token[:16]}"


def test_a_practised_fault_holds_for_its_paths_only(lab: Lab) -> None:
    (lab.dir / "api_faults.json").write_text(json.dumps([{"paths": ["/recall"], "status": 500, "body": "<html>", "delay_seconds": 0.3}]))
    begun = time.monotonic()
    assert lab.call("POST", "/recall", {"query": "x"}) == (500, "<html>")
    assert time.monotonic() - begun >= 0.3
    assert lab.call("GET", "/health")[0] == 200


def test_metrics_bear_the_real_names(lab: Lab) -> None:
    status, text = lab.call("GET", "/metrics")
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    wanted = {"somabrain_http_requests_total", "somabrain_wm_utilization", "somabrain_memory_outbox_pending_items"}
    assert status == 200
    assert wanted <= names


def test_the_second_generation_keeps_its_own_shapes_and_false_greens(lab: Lab) -> None:
    lab("start", profile="v2", audit_table="aaas_audit_log", audit_time_column="timestamp")
    body = {"tenant": "standalone", "key": "probe-1", "value": {"task": "probe 4712", "content": "x"}}
    assert lab.call("POST", "/memory/remember", body, {})[0] == 401
    assert lab.call("POST", "/memory/remember", body)[1]["persisted_to_ltm"] is True
    _status, found = lab.call("POST", "/memory/recall", {"tenant": "standalone", "query": "probe 4712", "top_k": 3})
    assert [hit["layer"] for hit in found["results"]] == ["ltm", "wm"]
    assert lab.call("GET", "/readyz")[0] == 200
    lab.supervisor("stop", "postgres", "redis")
    status, health = lab.call("GET", "/health")
    assert (status, health["status"], health["postgres_ok"]) == (200, "critical", False)
    assert health["infrastructure"]["redis"]["status"] == "healthy"
    assert health["infrastructure"]["kafka"] == {**health["infrastructure"]["kafka"], "status": "healthy"}
    assert lab.call("GET", "/readyz")[0] == 503
    assert lab.call("GET", "/healthz")[0] == 200
    assert lab.call("GET", "/admin/")[0] == 302
    assert lab.call("POST", "/admin/maintenance", {})[0] == 403


def test_the_second_generation_finds_nothing_in_a_layer_that_it_does_not_know(lab: Lab) -> None:
    lab("start", profile="v2", audit_table="aaas_audit_log", audit_time_column="timestamp")
    lab.call("POST", "/memory/remember", {"tenant": "standalone", "key": "layered", "value": {"task": "layered 4713"}})
    asked = {"tenant": "standalone", "query": "layered 4713"}
    found = {layer: lab.call("POST", "/memory/recall", {**asked, "layer": layer}) for layer in ("wm", "ltm", "both", "all")}
    layers = {layer: [hit["layer"] for hit in answer["results"]] for layer, (_status, answer) in found.items()}
    assert layers == {"wm": ["wm"], "ltm": ["ltm"], "both": ["ltm", "wm"], "all": []}
    assert {status for status, _answer in found.values()} == {200}


def test_a_suspended_worker_of_the_second_generation_hangs_under_a_living_master(lab: Lab) -> None:
    lab("start", profile="v2", audit_table="aaas_audit_log", audit_time_column="timestamp")
    master = int(lab.supervisor("pid", "api"))
    worker = int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])
    os.kill(worker, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        lab.call("GET", "/healthz", timeout=1.5)
    assert int(lab.supervisor("pid", "api")) == master
    os.kill(worker, signal.SIGKILL)
    until(lambda: lab.call("GET", "/healthz")[0] == 200)
    assert int(lab.supervisor("pid", "api")) == master
    lab.supervisor("restart", "api")
    lab("start", profile="v2", audit_table="aaas_audit_log", audit_time_column="timestamp")
    assert lab.call("GET", "/healthz")[0] == 200
    assert int(lab.supervisor("pid", "api")) != master
