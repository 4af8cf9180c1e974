# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many endpoints and many hosts: verify-health as a whole process, compared with the usual tools."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

from measure import Job, Row, interleaved, timed
from world import HERE, PLAYBOOK, Skipped, Ssh, World, pyinfra, run

FORKS = 20


def rows(world: World, quick: bool) -> t.Iterator[Row]:
    """Measure and yield the rows of the fleet."""
    yield from _endpoints(world, quick)
    yield _hosts(world, 20 if quick else 100, 1 if quick else 3)


def _verify(world: World, urls: t.Sequence[str]) -> Job:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    report = world.file({})
    inventory = world.file({"all": {"hosts": {"here": host}, "vars": {
        "health_verification_endpoints": list(urls), "health_verification_host_checks": [], "health_verification_report_file": report,
    }}})  # fmt: skip

    def job() -> float:
        took = timed(lambda: run([PLAYBOOK, "playbooks/verify-health.yml", "-i", inventory]))
        told = json.loads(Path(report).read_text())
        if told["hosts"]["here"]["health"] != "well":
            raise RuntimeError("an endpoint was not well")
        return took

    return job


def _curl(world: World, urls: t.Sequence[str]) -> Job:
    listed = Path(world.file(""))
    listed.write_text("\n".join(urls) + "\n")
    command = f"xargs -P64 -n1 curl -sf -o /dev/null --max-time 10 < {listed}"
    return lambda: timed(lambda: run(["sh", "-c", command]))


def _uri(world: World, urls: t.Sequence[str]) -> Job:
    given = world.file({"endpoints": list(urls), "ansible_python_interpreter": sys.executable})
    words = [PLAYBOOK, str(HERE / "peers/uri_loop.yml"), "-i", "localhost,", "-c", "local", "-e", f"@{given}"]
    return lambda: timed(lambda: run(words, env=world.default_environment()))


def _endpoints(world: World, quick: bool) -> t.Iterator[Row]:
    port = world.endpoints()
    urls = [f"http://127.0.0.1:{port}/{number}" for number in range(1000)]
    jobs = {"1000": _verify(world, urls), "1": _verify(world, urls[:1]), "curl": _curl(world, urls)}
    seen = interleaved(jobs, 2 if quick else 7, warm=0 if quick else 1)
    yield Row("verify-health, 1000 endpoints of 50 ms", "xargs -P64 curl", seen["1000"], seen["curl"], 0.15)
    yield Row("verify-health, 1000 endpoints", "1 endpoint", seen["1000"], seen["1"], 1.7)
    # A loop takes the same time for each of its turns; a few of them tell in a quick run.
    few = 10 if quick else 100
    seen = interleaved({f"{few}": _verify(world, urls[:few]), "uri": _uri(world, urls[:few])}, 1 if quick else 3, warm=0)
    yield Row(f"verify-health, {few} endpoints", "a loop of ansible.builtin.uri", seen[f"{few}"], seen["uri"], None if quick else 0.05)


def _hosts(world: World, hosts: int, runs: int) -> Row:
    work, peer = f"verify-health, disks, memory, load and clock of {hosts} hosts over cold ssh", "pyinfra, cold ssh"
    try:
        program, ssh = pyinfra(), world.ssh()
    except Skipped as skipped:
        return Row(work, peer, [], [], 1.5, why=str(skipped))
    seen = interleaved({"ours": _check_hosts(world, ssh, hosts), "pyinfra": _pyinfra_hosts(world, ssh, program, hosts)}, runs, warm=0)
    return Row(work, peer, seen["ours"], seen["pyinfra"], 1.5)


def _check_hosts(world: World, ssh: Ssh, count: int) -> Job:
    report = world.file({})
    hosts = {f"h{number:03}": ssh.variables() for number in range(count)}
    inventory = world.file({"all": {"hosts": hosts, "vars": {"health_verification_report_file": report}}})

    def job() -> float:
        ssh.forget()
        words = [PLAYBOOK, "playbooks/verify-health.yml", "-i", inventory, "-f", str(FORKS)]
        took = timed(lambda: run(words, env=ssh.environment, ok=(0, 2)))
        # This machine may be as busy as it likes; only an answer that is missing spoils the figure.
        answered = [one for one in json.loads(Path(report).read_text())["hosts"].values() if len(one["checks"]) == 4]
        if len(answered) != count:
            raise RuntimeError(f"{len(answered)} of {count} hosts answered")
        return took

    return job


def _pyinfra_hosts(world: World, ssh: Ssh, program: str, count: int) -> Job:
    own = {"ssh_hostname": "127.0.0.1", "ssh_port": ssh.port, "ssh_user": ssh.user, "ssh_key": str(ssh.folder / "user")}
    own.update(ssh_known_hosts_file=str(ssh.folder / "known_hosts"), ssh_strict_host_key_checking="yes")
    inventory = world.folder / "pyinfra_hosts.py"
    inventory.write_text(f"hosts = [(f'h{{number:03}}', {own!r}) for number in range({count})]\n")
    words = [program, "-y", "--parallel", str(FORKS), str(inventory), str(HERE / "peers/pyinfra_check.py")]
    return lambda: timed(lambda: run(words, cwd=world.folder))
