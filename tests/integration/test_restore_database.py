# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restore-database on a real cluster under supervisor: plans, approvals, rows and directories taken over and back, dead runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from farms.postgresql_backed import STANZA, USER, BackedCluster, backed, missing, owner
from farms.redis import BIN, PATIENCE, ROOT, SUPERVISORD, Farm, Run, end_process
from farms.waiting import until
from farms.warmly import run_ansible

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import swap
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import postgresql_cutover, postgresql_restore

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
    pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed"),
]


class Stage:
    """A cluster under a supervisord of its own, whose rows 1 to 300 were deleted after `target`; row 900 was written since."""

    def __init__(self, cluster: BackedCluster, farm: Farm) -> None:
        self.cluster, self.farm, self.runs = cluster, farm, 0
        cluster.sql("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, 'x' || g FROM generate_series(1, 800) g")
        self.label = cluster.backup()
        time.sleep(1.1)
        self.target = cluster.moment()
        cluster.sql("DELETE FROM t WHERE id <= 300", "INSERT INTO t VALUES (900, 'new')")
        cluster.stop()
        user = f"user={USER}" if owner() else ""
        (farm.folder / "programs/pg.conf").write_text(
            f"[program:pg]\ncommand={cluster.binaries}/postgres -D {cluster.data}\nautostart=false\nautorestart=false\nstartsecs=0\n"
            f"stopsignal=INT\nstopwaitsecs=60\nstdout_logfile={farm.folder}/pg.log\nredirect_stderr=true\n{user}\n"
        )
        farm.call.reloadConfig()
        farm.call.addProcessGroup("pg")
        farm.call.startProcess("pg", True)
        self.answers()

    def answers(self) -> None:
        end = time.monotonic() + 60
        while not (self.cluster.socket / ".s.PGSQL.5432").exists() or "1" not in self.cluster.run(
            "psql", "-h", str(self.cluster.socket), "-U", "postgres", "-Atc", "SELECT 1", check=False
        ):
            assert time.monotonic() < end, "PostgreSQL does not answer"
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        return int(self.farm.call.getProcessInfo("pg")["pid"])

    def variables(self, **more: t.Any) -> dict[str, t.Any]:
        where = self.cluster.where()
        own = {
            "host": where["host"], "port": where["port"], "stanza": STANZA, "pgbackrest_config": where["pgbackrest_config"],
            "os_user": where["os_user"], "manager": "supervisor", "service": "pg", "data_dir": str(self.cluster.data),
            "side_dir": str(self.cluster.folder / "side"), "patience": dict(PATIENCE, timeout=60), "target": self.target,
            "known_answers": [{"name": "first row", "query": "SELECT v FROM t WHERE id = 1", "expect": "x1"}],
        }  # fmt: skip
        return {
            **{f"database_restore_{name}": value for name, value in own.items()},
            "remediation_state_dir": f"{self.farm.folder.parent}-ledger", "service_manager_supervisor_url": self.farm.url, **more,
        }  # fmt: skip

    def command(self, *flags: str, **more: t.Any) -> tuple[list[str], Path]:
        """Return the command line of the playbook, and the file of its outcome."""
        self.runs += 1
        inventory, file = self.farm.folder / f"i-{self.runs}.json", self.farm.folder / f"o-{self.runs}.json"
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "remediation_outcome_file": str(file)}
        inventory.write_text(json.dumps({"postgresql": {"hosts": {"pg": {**local, **self.variables(**more)}}}}))
        return [str(BIN / "ansible-playbook"), "playbooks/restore-database.yml", "-i", str(inventory), *flags], file

    def start(self, *flags: str, env: t.Optional[dict[str, str]] = None, **more: t.Any) -> tuple[subprocess.Popen[str], Path]:
        command, file = self.command(*flags, **more)
        process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
            start_new_session=True,
        )  # fmt: skip
        return process, file

    def restore(self, *flags: str, **more: t.Any) -> Run:
        command, file = self.command(*flags, **more)
        done = run_ansible(command, cwd=ROOT, timeout=300)
        return Run(done.returncode, done.stdout + done.stderr, json.loads(file.read_text()) if file.exists() else {})

    def token(self, run: Run, plan: str) -> str:
        return str(next(one["token"] for one in run.outcome["reasons"][0]["plans"] if one["name"] == plan))


@pytest.fixture
def stage(tmp_path: Path) -> t.Iterator[Stage]:
    with backed() as cluster:
        folder = cluster.folder / "farm"
        folder.mkdir()
        farm = Farm(folder)
        try:
            yield Stage(cluster, farm)
        finally:
            pid = int(farm.call.getProcessInfo("pg")["pid"]) if (folder / "programs/pg.conf").exists() else 0
            farm.stop()
            end_process(pid)


def test_lost_rows_are_planned_approved_put_back_and_left_alone(stage: Stage) -> None:
    cluster, pid = stage.cluster, stage.pid
    rehearsed = stage.restore("--check", database_restore_tables=["t"])
    assert (rehearsed.rc, rehearsed.word, rehearsed.acts) == (0, "rehearsed", []), rehearsed.text
    assert not (cluster.folder / "side").exists()
    planned = stage.restore(database_restore_tables=["t"])
    assert (planned.word, planned.code, planned.acts) == ("refused", "approval_needed", ["restore_beside"]), planned.text
    assert cluster.sql("SELECT count(*), min(id) FROM t") == "501|301"
    plans = {one["name"]: one for one in planned.outcome["reasons"][0]["plans"]}
    assert plans["insert_missing"]["loss"]["count"] == 0
    assert plans["swap"]["loss"] == {"count": 1, "unit": "rows", "exact": True}
    altered = stage.restore(database_restore_tables=["t"], remediation_approval=stage.token(planned, "insert_missing")[:-2] + "00")
    assert altered.code == "approval_other_target", altered.text
    cluster.sql("DELETE FROM t WHERE id = 500")
    stale = stage.restore(database_restore_tables=["t"], remediation_approval=stage.token(altered, "insert_missing"))
    assert stale.code == "approval_stale", stale.text
    assert cluster.sql("SELECT count(*) FROM t") == "500"
    done = stage.restore(database_restore_tables=["t"], remediation_approval=stage.token(stale, "insert_missing"))
    assert (done.rc, done.word, done.acts) == (0, "recovered", ["restore_beside", "insert_missing"]), done.text
    assert cluster.sql("SELECT count(*), min(id), max(id) FROM t") == "801|1|900"
    assert (stage.pid, done.outcome["loss"]["count"]) == (pid, 0)
    assert not list((cluster.folder / "side").glob("restore-*"))
    again = stage.restore(database_restore_tables=["t"])
    assert (again.rc, again.word, again.acts) == (0, "nothing_to_do", []), again.text


def test_the_whole_server_is_taken_back_and_the_printed_undo_brings_the_old_one(stage: Stage) -> None:
    cluster = stage.cluster
    planned = stage.restore(database_restore_mode="swap")
    run = stage.restore(database_restore_mode="swap", remediation_approval=stage.token(planned, "swap"))
    assert (run.rc, run.word, run.acts) == (0, "recovered_with_loss", ["restore_beside", "promote", "swap", "backup"]), run.text
    assert (run.outcome["loss"]["count"], run.outcome["loss"]["exact"]) == (1, True)
    assert cluster.sql("SELECT count(*), max(id) FROM t") == "800|800"
    labels = [path.name for path in (cluster.repo / "backup" / STANZA).iterdir() if path.name.endswith("F")]
    assert len(labels) == 2
    assert stage.label in labels
    # The undo, word by word.
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
    subprocess.run(["bash", "-c", run.outcome["undo"]], cwd=ROOT, check=True, capture_output=True, env=env)
    stage.answers()
    assert cluster.sql("SELECT count(*), max(id) FROM t") == "501|900"


def test_a_server_that_is_down_is_taken_back_by_what_the_archive_has_and_its_loss_is_unknown(stage: Stage) -> None:
    cluster = stage.cluster
    # The archive tells whole seconds: a segment of the second of the target is not known to come after it.
    time.sleep(1.1)
    cluster.sql("SELECT pg_switch_wal()", "CHECKPOINT")
    stage.farm.call.stopProcess("pg", True)
    planned = stage.restore(database_restore_mode="swap")
    assert planned.code == "approval_needed", planned.text
    [plan] = planned.outcome["reasons"][0]["plans"]
    assert (plan["name"], plan["loss"]["count"], plan["loss"]["exact"]) == ("swap", None, False)
    run = stage.restore(database_restore_mode="swap", remediation_approval=stage.token(planned, "swap"))
    assert (run.rc, run.word, run.acts) == (0, "recovered_with_loss", ["restore_beside", "promote", "swap", "backup"]), run.text
    assert (run.outcome["loss"]["count"], run.outcome["loss"]["exact"]) == (None, False)
    assert cluster.sql("SELECT count(*), max(id) FROM t") == "800|800"


def test_what_is_put_in_place_and_is_not_well_is_put_back(stage: Stage) -> None:
    cluster = stage.cluster
    wrong = [{"name": "never", "query": "SELECT 1", "expect": "2"}]
    planned = stage.restore(database_restore_mode="swap")
    more = {"database_restore_live_answers": wrong, "database_restore_backup_after_swap": False}
    more["database_restore_patience"] = dict(PATIENCE, timeout=5)
    run = stage.restore(database_restore_mode="swap", remediation_approval=stage.token(planned, "swap"), **more)
    assert (run.word, run.acts[-2:]) == ("undone", ["swap", "put_back"]), run.text
    stage.answers()
    assert cluster.sql("SELECT count(*), max(id) FROM t") == "501|900"


def test_a_controller_that_is_killed_after_the_restore_is_gone_on_with(stage: Stage) -> None:
    side = stage.cluster.folder / "side"
    soon: dict[str, t.Any] = {"remediation_lease_seconds": 10, "remediation_takeover_wait": 90}
    process, _file = stage.start(database_restore_tables=["t"], **soon)
    until(lambda: process.poll() is not None or any('"restored"' in path.read_text() for path in side.glob("restore-*/restore.json")))
    assert process.poll() is None, process.communicate()[0]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    [folder] = side.glob("restore-*")
    made = (folder / "data/PG_VERSION").stat().st_ino
    # Whoever works in its name still, as a worker that was left alive, has ended by then.
    until(lambda: not servers_in(folder))
    run = stage.restore(database_restore_tables=["t"], **soon)
    assert (run.word, run.code) == ("refused", "approval_needed"), run.text
    assert (folder / "data/PG_VERSION").stat().st_ino == made
    assert stage.cluster.sql("SELECT count(*) FROM t") == "501"


def servers_in(folder: Path) -> list[str]:
    """Return the processes that work in *folder*."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.readlink(f"/proc/{name}/cwd").startswith(str(folder)):
                found.append(name)
    return found


def given(spec: t.Mapping[str, t.Any], known: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {**{name: rule.get("default") for name, rule in spec.items()}, **{name: known[name] for name in known if name in spec}}


def test_a_swap_whose_run_died_between_two_renames_is_ended_by_the_next(stage: Stage) -> None:
    cluster = stage.cluster
    known = cluster.where(target=stage.target, side_dir=str(cluster.folder / "side"), run_id="dead", timeout=120.0, mode="swap")
    restored = postgresql_restore.run(given(postgresql_restore.ARGUMENT_SPEC, known), False)
    known.update(folder=restored["folder"], state="promoted")
    postgresql_restore.run(given(postgresql_restore.ARGUMENT_SPEC, known), False)
    stage.farm.call.stopProcess("pg", True)
    known.update(state="done", about={"loss": {"count": 1, "unit": "rows", "exact": True, "approved": True, "text": "x"}})
    params = given(postgresql_cutover.ARGUMENT_SPEC, known)
    journal = postgresql_cutover._planned(params)
    swap.keep_configuration(str(cluster.data), os.path.join(restored["folder"], "data"))
    swap.save_json(os.path.join(restored["folder"], swap.JOURNAL), journal)
    swap.forward(journal["moves"][:1])
    assert not cluster.data.exists()
    run = stage.restore(database_restore_mode="swap")
    assert (run.rc, run.word, run.acts) == (0, "recovered_with_loss", ["finish_swap", "backup"]), run.text
    assert run.outcome["loss"]["count"] == 1
    assert cluster.sql("SELECT count(*), max(id) FROM t") == "800|800"


REFUSALS: list[tuple[dict[str, t.Any], str, str]] = [
    ({"database_restore_target": "2026-11-25 10:00:00"}, "bad_input", "a time zone"),
    ({"database_restore_target": "2999-01-01T00:00:00Z"}, "bad_input", "a past time"),
    ({"database_restore_target": "2001-01-01T00:00:00Z"}, "backup_missing", "after the end of the first backup"),
    ({"database_restore_stanza": "nope"}, "backup_missing", "correct database_restore_stanza"),
    ({"database_restore_label": "20200101-000000F"}, "backup_missing", "correct database_restore_label"),
    ({"database_restore_system_identifier": "1"}, "wrong_identity", "correct the address or the pinned identity"),
    ({"database_restore_space_factor": 1e9}, "no_room", "free space"),
]


def test_bad_input_is_refused_with_what_would_unblock_it_before_anything_stops(stage: Stage) -> None:
    pid, rows = stage.pid, stage.cluster.sql("SELECT count(*) FROM t")
    for more, code, unblock in REFUSALS:
        run = stage.restore(**more)
        assert (run.rc, run.word, run.code, run.acts) == (2, "refused", code, []), run.text
        assert unblock in run.outcome["reasons"][0]["unblock"], run.text
    stage.cluster.sql("CREATE ROLE watcher LOGIN", "GRANT pg_monitor TO watcher")
    for user in ("watcher", "nobody"):
        run = stage.restore(database_restore_user=user)
        assert (run.code, run.acts) == ("credentials_refused", []), run.text
        assert "pg_switch_wal" in run.outcome["reasons"][0]["unblock"]
    assert stage.restore(database_restore_database="dropped").code == "health_unknown"
    (stage.cluster.data / "standby.signal").touch()
    assert stage.restore().code == "not_this_component"
    assert (stage.pid, stage.cluster.sql("SELECT count(*) FROM t")) == (pid, rows)
    assert not (stage.cluster.folder / "side").exists()
