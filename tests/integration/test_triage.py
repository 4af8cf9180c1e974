# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Triage on a real lab: what it names, what it prints, that the printed command recovers, and that a look changes nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from farms.practice import ROOT, Practice, practising
from farms.warmly import PLAYBOOK, run_ansible

SCHEMA = json.loads((ROOT / "docs/triage.schema.json").read_text())


@pytest.fixture(scope="module")
def practice() -> t.Iterator[Practice]:
    with practising() as one:
        yield one


def triage(practice: Practice, *words: str, **variables: t.Any) -> tuple[subprocess.CompletedProcess[str], dict[str, t.Any]]:
    files = {name: practice.lab.parent / f"triage.{name}" for name in ("report", "markdown", "page")}
    for file in files.values():
        file.unlink(missing_ok=True)
    done = practice.play("triage", *words, **{f"triage_{name}_file": str(file) for name, file in files.items()}, **variables)
    assert all(file.exists() for file in files.values()), done.stdout + done.stderr
    report = json.loads(files["report"].read_text())
    # Not installed beside every version of ansible-core.
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(report, SCHEMA)
    assert len(done.stdout.splitlines()) <= 40
    assert files["markdown"].read_text().startswith(f"**{report['verdict'].upper()}")
    assert "Last lines of the logs" in files["page"].read_text()
    return done, report


def tree_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every path below *folder* that no living server writes to, with its inode and size."""
    found = {}
    for place, _folders, files in os.walk(folder):
        for path in (Path(place) / name for name in files):
            if not {"logs", "postgres", "ltm", "run", "pycache"} & set(path.relative_to(folder).parts):
                facts = path.lstat()
                found[str(path)] = (facts.st_ino, facts.st_size)
    return found


def run_as_it_stands(command: str, practice: Practice) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would copy it: in a shell, from the checkout."""
    program, *words = shlex.split(command)
    assert program == "ansible-playbook"
    return run_ansible([str(PLAYBOOK), *words], cwd=ROOT, env=practice.environment)


def test_a_healthy_lab_ends_with_nothing_is_wrong_and_a_look_leaves_nothing_behind(practice: Practice) -> None:
    before = tree_of(practice.lab)
    done, report = triage(practice)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (report["verdict"], report["findings"], report["next"]) == ("well", [], [])
    assert "nothing is wrong" in done.stdout
    assert tree_of(practice.lab) == before
    assert not (practice.lab / "remediation").exists()


def test_a_killed_redis_is_named_with_the_command_that_recovers_it(practice: Practice) -> None:
    practice.redis("shutdown", "nosave")
    done, report = triage(practice)
    assert done.returncode == 2, done.stdout + done.stderr
    assert report["verdict"] == "sick"
    first = report["findings"][0]
    assert (first["component"], first["host"], first["state"], first["remedy"]["playbook"]) == (
        "redis",
        "lab",
        "down_clean",
        "recover_redis",
    )
    command = report["next"][0]["command"]
    assert command in done.stdout.splitlines()
    assert "recover-redis.yml" in command
    recovered = run_as_it_stands(command, practice)
    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    assert "RECOVERED" in recovered.stdout
    assert practice.redis("ping") == "PONG"
    done, report = triage(practice)
    assert (done.returncode, report["verdict"]) == (0, "well"), done.stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"triage_severity": "P1"}, "triage_severity=P1 needs a reason"),
        ({"triage_severity": "P9"}, "triage_severity"),
        ({"triage_alert_at": "2026-12-01T03:00:00"}, "triage_alert_at is 2026-12-01T03:00:00: write a time with its zone"),
        ({"triage_page_file": "/nowhere/at/all/page.html"}, "triage_page_file: there is no directory /nowhere/at/all"),
        ({"triage_hosts": "misspelt"}, "no host of this inventory and limit matches 'misspelt'"),
    ],
)
def test_a_wrong_input_is_named_before_anything_is_looked_at(given: dict[str, t.Any], words: str, tmp_path: Path) -> None:
    hosts = {"all": {"hosts": {"far": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    command = [str(PLAYBOOK), "playbooks/triage.yml", "-i", str(tmp_path / "hosts.json"), "-e", json.dumps(given)]
    done = run_ansible(command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode != 0
    assert words in " ".join(done.stdout.split())
    assert "unreachable" not in done.stdout


# Never answers while anybody waits.
FROZEN = f"#!{sys.executable}\nimport time\ntime.sleep(40)\n"
# A connection that works: it runs its last word here.
CONNECTION = """#!/bin/sh
for last; do :; done
case "$*" in *"-o ControlPersist") exit 0;; esac
case "$last" in *never-answers*) echo asked >>"$(dirname "$0")/asked";; esac
exec sh -c "$last"
"""


def test_a_host_that_hangs_or_cannot_be_reached_costs_its_own_deadline_and_no_other_host(tmp_path: Path) -> None:
    for name, text in (("python-that-never-answers", FROZEN), ("ssh", CONNECTION)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hung = {
        "ansible_host": "127.0.0.1", "ansible_connection": "ssh", "ansible_ssh_executable": str(tmp_path / "ssh"),
        "ansible_python_interpreter": str(tmp_path / "python-that-never-answers"), "redis_recovery_port": 1,
    }  # fmt: skip
    far = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    hosts = {"all": {"hosts": {"here": local, "hung": hung, "far": far}}}
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    given = {"triage_timeout": 5, "triage_report_file": str(tmp_path / "t.json"), "remediation_state_dir": str(tmp_path / "state")}
    command = [str(PLAYBOOK), str(ROOT / "playbooks/triage.yml"), "-i", str(tmp_path / "hosts.json"), "-e", json.dumps(given)]
    done = run_ansible(command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, timeout=60)
    report = json.loads((tmp_path / "t.json").read_text())
    by_host: dict[str, list[dict[str, t.Any]]] = {}
    for one in report["components"]:
        by_host.setdefault(one["host"], []).append(one)
    assert done.returncode == 2, done.stdout
    assert [one["health"] for one in by_host["far"]] == ["unknown"]
    assert [one["health"] for one in by_host["hung"]] == ["unknown"]
    # One deadline, although several looks at it were to be made.
    assert "5 second" in by_host["hung"][0]["text"], by_host["hung"]
    assert len((tmp_path / "asked").read_text().splitlines()) == 1, done.stdout
    assert {one["name"] for one in by_host["here"]} >= {"disk", "memory", "cpu", "clock"}
    assert report["verdict"] == "unknown"
    assert not (tmp_path / "state").exists()


def kill_postgresql(practice: Practice) -> None:
    os.kill(int((practice.lab / "postgres/postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def stop_api(practice: Practice) -> None:
    command = [str(PLAYBOOK.parent / "supervisorctl"), "-s", f"unix://{practice.lab}/supervisor.sock", "stop", "api"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def deploy_badly(practice: Practice) -> None:
    recorded = practice.play("record-release")
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    done = practice.play("start-lab", lab_release_faults=[{"paths": ["/health"], "status": 500}])
    assert done.returncode == 0, done.stdout + done.stderr


# family: how it breaks, its component, its playbook.
FAMILIES: dict[str, tuple[t.Callable[[Practice], None], str, str]] = {
    "postgres": (kill_postgresql, "postgresql", "recover_database"),
    "service": (stop_api, "somabrain", "restart_service"),
    "release": (deploy_badly, "somabrain", "rollback"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_person_who_sees_only_the_screen_recovers_by_the_command_on_it(practice: Practice, family: str) -> None:
    break_it, component, playbook = FAMILIES[family]
    break_it(practice)
    done, report = triage(practice)
    assert (done.returncode, report["verdict"]) == (2, "sick"), done.stdout + done.stderr
    assert component in [one["component"] for one in report["findings"]], done.stdout
    assert report["next"][0]["playbook"] == playbook, done.stdout
    # The first line of the screen that is a command.
    command = next(line for line in done.stdout.splitlines() if line.startswith("ansible-playbook "))
    recovered = run_as_it_stands(command, practice)
    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    done, report = triage(practice)
    assert (done.returncode, report["verdict"], report["next"]) == (0, "well", []), done.stdout


@pytest.mark.parametrize("more", [{}, {"redis_recovery_port": 1}], ids=["machine alone", "remedy acts on it"])
def test_a_server_that_accepts_and_never_answers_is_waited_for_once(tmp_path: Path, more: dict[str, t.Any]) -> None:
    # As a frozen sshd does: the kernel accepts, and nothing behind it moves.
    with socket.create_server(("127.0.0.1", 0), backlog=16) as frozen:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        far = {"ansible_host": "127.0.0.1", "ansible_port": frozen.getsockname()[1], "ansible_python_interpreter": sys.executable, **more}
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"here": local, "frozen": far}}}))
        given = {"triage_timeout": 4, "triage_report_file": str(tmp_path / "t.json"), "remediation_state_dir": str(tmp_path / "state")}
        command = [str(PLAYBOOK), str(ROOT / "playbooks/triage.yml"), "-i", str(tmp_path / "hosts.json"), "-e", json.dumps(given)]
        done = run_ansible(command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, timeout=60)
        frozen.settimeout(0.2)
        tried = sum(1 for _turn in iter(lambda: accepted(frozen), None))
    report = json.loads((tmp_path / "t.json").read_text())
    lost = [one for one in report["components"] if one["host"] == "frozen"]
    assert (done.returncode, [one["health"] for one in lost]) == (2, ["unknown"]), done.stdout
    assert {one["name"] for one in report["components"] if one["host"] == "here"} >= {"disk", "memory", "cpu", "clock"}
    assert tried == 1, done.stdout


def accepted(server: socket.socket) -> t.Optional[socket.socket]:
    try:
        return server.accept()[0]
    except TimeoutError:
        return None
