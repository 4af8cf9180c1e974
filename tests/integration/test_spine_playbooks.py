# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""reconcile and show-history by path, on a real ledger and a real supervisor."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from farms.waiting import until
from farms.warmly import run_ansible

import ansible_collections.somabrain.incident_response as collection
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger

BIN = Path(sys.executable).parent
PLAYBOOK = os.environ.get("SOMABRAIN_ANSIBLE_PLAYBOOK") or str(BIN / "ansible-playbook")
COLLECTION = Path(next(iter(collection.__path__)))
SUPERVISOR = """
[unix_http_server]
file={0}/s.sock
[supervisord]
logfile={0}/supervisord.log
pidfile={0}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:api]
command=sleep 600
autostart=false
startsecs=0
"""


def play(folder: Path, name: str, *args: str, **given: t.Any) -> tuple[int, str]:
    variables = {"remediation_state_dir": str(folder / "state"), "ansible_python_interpreter": sys.executable, **given}
    env = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION.parents[2]), "ANSIBLE_CONFIG": str(folder / "none.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "somabrain.incident_response.on_call",
    }  # fmt: skip
    words = [PLAYBOOK, "-i", "lab,", "-c", "local", str(COLLECTION / "playbooks" / name), "-e", json.dumps(variables), *args]
    done = run_ansible(words, env=env, timeout=120)
    return done.returncode, done.stdout + done.stderr


def lease_a_run(folder: Path, run_id: str, ends_at: float) -> dict[str, t.Any]:
    run: dict[str, t.Any] = {"host": "lab", "component": "api", "run_id": run_id, "remedy": "toy", "owner": "ann", "controller": {}}
    with open_ledger(str(folder / "state"), False) as ledger, ledger.transaction():
        ledger.grant(dict(run, ends_at=ends_at), time.time())
        ledger.append(run_id, "open", {"by": "ann"}, time.time())
    return run


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def owe(folder: Path, run: dict[str, t.Any], kind: str, body: dict[str, t.Any], ends_at: float | None) -> None:
    with open_ledger(str(folder / "state"), False) as ledger, ledger.transaction():
        ledger.owe(run, kind, body, ends_at, time.time())


@pytest.fixture
def supervisor(tmp_path: Path) -> t.Iterator[str]:
    if not (BIN / "supervisord").exists():
        pytest.skip("supervisord is not installed beside this Python")
    (tmp_path / "supervisor.conf").write_text(SUPERVISOR.format(tmp_path))
    daemon = subprocess.Popen([str(BIN / "supervisord"), "-n", "-c", str(tmp_path / "supervisor.conf")], stdout=subprocess.DEVNULL)
    until((tmp_path / "s.sock").exists)
    yield f"unix://{tmp_path}/s.sock"
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(20)


def running(url: str) -> bool:
    done = subprocess.run([str(BIN / "supervisorctl"), "-s", url, "status", "api"], capture_output=True, text=True, check=False)
    return "RUNNING" in done.stdout


def test_reconcile_closes_a_dead_run_ends_what_is_due_and_keeps_protections(tmp_path: Path, supervisor: str) -> None:
    run = lease_a_run(tmp_path, "R1", ends_at=1.0)
    owed = {"tasks_from": "supervisor/start", "vars": {"service_manager_name": "api", "service_manager_supervisor_url": supervisor}}
    owe(tmp_path, run, "service_manager", owed, 1.0)
    owe(tmp_path, run, "isolated_replica", {}, None)
    before = bytes_of(tmp_path / "state")
    code, said = play(tmp_path, "reconcile.yml", "--check")
    assert code == 0, said
    assert "would close run R1" in said
    assert bytes_of(tmp_path / "state") == before
    assert not running(supervisor)
    code, said = play(tmp_path, "reconcile.yml")
    assert code == 0, said
    assert "closed run R1" in said
    assert "still active: isolated_replica of api" in said
    assert running(supervisor)
    code, said = play(tmp_path, "reconcile.yml")
    assert code == 0, said
    assert "closed run" not in said
    assert "due: " not in said


@pytest.mark.parametrize("where", ["keeper", "controller"])
def test_reconcile_ends_nothing_while_a_kill_switch_is_on(tmp_path: Path, where: str) -> None:
    run = lease_a_run(tmp_path, "R1", ends_at=1.0)
    owe(tmp_path, run, "service_manager", {"tasks_from": "supervisor/start", "vars": {"service_manager_name": "api"}}, 1.0)
    switch = tmp_path / ("state/kill" if where == "keeper" else "kill")
    switch.write_text("storm")
    before = bytes_of(tmp_path / "state")
    code, said = play(tmp_path, "reconcile.yml", remediation_kill_switch_files=[str(tmp_path / "kill")])
    assert code == 2, said
    assert "kill_switch: the kill switch is on" in said
    assert bytes_of(tmp_path / "state") == before


@pytest.mark.parametrize("owed", [("strange", {}), ("service_manager", {"tasks_from": "../../lab/tasks/stop", "vars": {}})])
def test_reconcile_turns_red_where_it_does_not_know_how_to_end_something(tmp_path: Path, owed: tuple[str, dict[str, t.Any]]) -> None:
    owe(tmp_path, lease_a_run(tmp_path, "R1", ends_at=1.0), *owed, 1.0)
    code, said = play(tmp_path, "reconcile.yml")
    assert code == 2, said
    with open_ledger(str(tmp_path / "state"), True) as ledger:
        assert len(ledger.owed()) == 1


def test_reconcile_leaves_a_living_run_alone(tmp_path: Path) -> None:
    lease_a_run(tmp_path, "R1", ends_at=time.time() + 600)
    code, said = play(tmp_path, "reconcile.yml")
    assert code == 0, said
    assert "left alone: run R1 by ann" in said


def test_history_shows_verifies_and_exports_and_turns_red_on_an_altered_record(tmp_path: Path) -> None:
    lease_a_run(tmp_path, "R1", ends_at=1.0)
    export = tmp_path / "journal.jsonl"
    code, said = play(tmp_path, "show-history.yml", show_history_run="R1", show_history_export=str(export))
    assert code == 0, said
    assert "the chain of 1 records is intact" in said
    assert [json.loads(line)["run_id"] for line in export.read_text().splitlines()] == ["R1"]
    assert export.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(tmp_path / "state/ledger.sqlite")) as db:
        db.execute("update journal set body=replace(body, 'ann', 'bob')")
        db.commit()
    code, said = play(tmp_path, "show-history.yml")
    assert code == 2, said
    assert "THE CHAIN IS BROKEN at record 1" in said


@pytest.mark.parametrize("name", ["reconcile.yml", "show-history.yml"])
def test_a_pattern_that_matches_no_host_is_red(tmp_path: Path, name: str) -> None:
    code, said = play(tmp_path, name, **{name.replace("-", "_")[:-4] + "_hosts": "nobody"})
    assert code == 2, said
    assert "no_host_matched" in said


@pytest.mark.parametrize(
    ("given", "code", "named"),
    [
        ({"redis_recovery_mend_data_dir": "perhaps"}, "bad_input", "redis_recovery_mend_data_dir is 'perhaps'"),
        ({"redis_recovery_also_verify": "a,b", "redis_recovery_port": True}, "bad_input", "redis_recovery_also_verify is 'a,b'"),
        ({"redis_recovery_password": "SECRET"}, "bad_input", "set redis_recovery_password_file"),
        ({"traffic_scaling_skip_warm_up": "{{ lookup('pipe', 'touch %s') }}"}, "template_in_input", "traffic_scaling_skip_warm_up"),
    ],
    ids=str,
)
def test_a_wrong_value_of_a_role_is_refused_by_its_code_before_anything_is_done(
    tmp_path: Path, given: dict[str, t.Any], code: str, named: str
) -> None:
    ran, kept = tmp_path / "ran", tmp_path / "out.json"
    given = {name: value % ran if isinstance(value, str) and "%s" in value else value for name, value in given.items()}
    returned, said = play(tmp_path, "recover-redis.yml", recover_redis_hosts="lab", remediation_outcome_file=str(kept), **given)
    assert returned == 2, said
    outcome = json.loads(kept.read_text())
    assert (outcome["outcome"], outcome["host"], {one["code"] for one in outcome["reasons"]}) == ("refused", "lab", {code})
    assert named in " ".join(one["text"] for one in outcome["reasons"])
    assert "SECRET" not in said + kept.read_text()
    assert not (tmp_path / "state").exists()
    assert not ran.exists()
