# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis killed, until it is proven well: the whole process from outside, compared with the usual tools.

The stability window (a second in which Redis must stay well) is subtracted from our runs where they are compared with a
peer: no peer has one. The rows in seconds include it.
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

from measure import Job, Row, interleaved, timed
from world import HERE, PLAYBOOK, Skipped, SlowFarm, Ssh, World, control_words, pyinfra, run

if t.TYPE_CHECKING:
    from farms.redis import Farm

# What the role ships.
PATIENCE: dict[str, t.Any] = {"passes": 3, "window": 1.0, "timeout": 30, "interval": 0.1}
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
WARM_SSH = "recover-redis, warm ssh"
PROVEN = "recover-redis%s, killed to proven, window included, p95 of %d runs"


class Bench:
    """One Redis, and the ways to bring it back."""

    def __init__(self, world: World, farm: Farm, name: str, ssh: Ssh | None = None) -> None:
        self.world, self.redis = world, farm.make(name)
        self.env: dict[str, str] = dict(ssh.environment) if ssh else {}
        self.redis.start()
        self.outcome = world.folder / f"outcome-{name}.json"
        host = {**(ssh.variables() if ssh else LOCAL), **self.redis.variables}
        host.update(redis_recovery_patience=PATIENCE, remediation_outcome_file=str(self.outcome))
        host.update(naive_restart=control_words(self.redis, "restart"))
        self.inventory = world.file({"redis": {"hosts": {name: host}}})

    def killed(self, work: t.Callable[[], object]) -> float:
        """Kill Redis, then return the seconds of *work*; raises RuntimeError if Redis does not answer afterwards."""
        self.redis.kill()
        took = timed(work)
        if self.redis.try_ask("PING") is None:
            raise RuntimeError("Redis does not answer after the run")
        return took

    def _recover(self, wanted: str) -> None:
        self.outcome.unlink(missing_ok=True)
        run([PLAYBOOK, "playbooks/recover-redis.yml", "-i", self.inventory], env=self.env)
        word = json.loads(self.outcome.read_text())["outcome"]
        if word != wanted:
            raise RuntimeError(f"the outcome is {word} instead of {wanted}")

    def whole(self) -> float:
        return self.killed(lambda: self._recover("recovered"))

    def ours(self) -> float:
        return self.whole() - float(PATIENCE["window"])

    def well(self) -> float:
        return timed(lambda: self._recover("nothing_to_do"))

    def peer(self, playbook: str) -> Job:
        words = [PLAYBOOK, str(HERE / f"peers/{playbook}.yml"), "-i", self.inventory]
        env = {**self.world.default_environment(), **self.env}
        return (lambda: self.killed(lambda: run(words, env=env))) if playbook == "naive" else (lambda: timed(lambda: run(words, env=env)))

    def pyinfra(self) -> float:
        start = " ".join(control_words(self.redis, "start"))
        words = [pyinfra(), "-y", "@local", str(HERE / "peers/pyinfra_start.py")]
        return self.killed(lambda: run([*words, "--data", f"start={start}", "--data", f"port={self.redis.port}"], cwd=self.world.folder))

    def runbook(self) -> float:
        words = [str(HERE / "peers/runbook.sh"), str(self.redis.port), *control_words(self.redis, "start")]
        return self.killed(lambda: run(words))

    def events(self, work: t.Callable[[], object]) -> list[dict[str, t.Any]]:
        """Return when each task of *work* began and ended, as Ansible's callbacks see it."""
        times = Path(self.world.file(""))
        times.write_text("")
        plain = self.env
        plugins = {"ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"), "ANSIBLE_CALLBACKS_ENABLED": "task_times"}
        self.env = {**plain, **plugins, "BENCH_TIMES": str(times)}
        try:
            work()
        finally:
            self.env = plain
        return [json.loads(line) for line in times.read_text().splitlines()]

    def inside(self) -> float:
        """Return the seconds of the three tasks that look, act and verify."""
        wanted = [one["at"] for one in self.events(self.whole) if one["action"].rpartition(".")[2] in ("health_info", "service_control")]
        return float(sum(end - begin for begin, end in zip(wanted[::2], wanted[1::2])) - PATIENCE["window"])

    def resident(self) -> float:
        """Return the seconds that one Python takes which has everything loaded."""
        own = self.redis.variables
        service = {"manager": "supervisor", "name": self.redis.name, "supervisor_url": self.redis.farm.url}
        check = {"kind": "redis", "name": "redis", "port": self.redis.port, "service": dict(service, scope="system")}
        check.update({name: own[f"redis_recovery_{name}"] for name in ("data_dir", "config_file", "log_file")}, timeout=123)
        told = json.dumps({"check": check, "service": service, "patience": PATIENCE})
        said: list[str] = []
        env = {"PYTHONPATH": str(HERE.parent / "playbooks/collections")}
        self.killed(lambda: said.append(run([sys.executable, str(HERE / "peers/resident.py"), told], env=env)))
        answer = json.loads(said[0])
        if not answer["ok"]:
            raise RuntimeError("the resident Python did not bring Redis back")
        return float(answer["seconds"])


def rows(world: World, quick: bool) -> t.Iterator[Row]:
    """Measure and yield the rows of Redis."""
    farm = world.farm()
    runs = 2 if quick else 7
    bench = Bench(world, farm, "local")
    yield from _local(bench, runs, 3 if quick else 20)
    yield _nothing_to_do(bench, runs)
    yield _inside(Bench(world, farm, "inside"), runs)
    yield from _over_ssh(world, farm, runs, 2 if quick else 20)
    slow = Bench(world, world.farm(SlowFarm), "slow")
    seen = interleaved({"ours": slow.ours, "runbook": slow.runbook}, 1 if quick else 4, warm=0)
    yield Row("recover-redis, Redis ready after 1 s", "the runbook's shell loop", seen["ours"], seen["runbook"], 0.6)


def _local(bench: Bench, runs: int, proofs: int) -> t.Iterator[Row]:
    jobs: dict[str, Job] = {"ours": bench.ours, "naive": bench.peer("naive"), "empty": bench.peer("empty")}
    why = ""
    try:
        pyinfra()
        jobs["pyinfra"] = bench.pyinfra
    except Skipped as skipped:
        why = str(skipped)
    seen = interleaved(jobs, runs)
    yield Row("recover-redis, local", "the naive playbook", seen["ours"], seen["naive"], 0.45)
    yield Row("recover-redis, local", "an empty play", seen["ours"], seen["empty"], 2.0)
    yield Row("recover-redis, local", "pyinfra (start and ping, nothing else)", seen["ours"], seen.get("pyinfra", []), 1.7, why=why)
    yield _proven(bench, "", proofs)


def _proven(bench: Bench, how: str, runs: int) -> Row:
    return Row(PROVEN % (how, runs), "5 s", interleaved({"whole": bench.whole}, runs, warm=0)["whole"], [], 5.0, limit=True)


def _nothing_to_do(bench: Bench, runs: int) -> Row:
    tasks = sum(one["what"] == "begin" for one in bench.events(bench.well))
    seen = interleaved({"well": bench.well, "empty": bench.peer("empty")}, runs, warm=0)
    return Row(f"recover-redis on a Redis that is well ({tasks} tasks)", "an empty play", seen["well"], seen["empty"], None)


def _inside(bench: Bench, runs: int) -> Row:
    seen = interleaved({"ours": bench.inside, "resident": bench.resident}, runs)
    return Row("probe, act and verify inside of the run", "a resident Python doing the same", seen["ours"], seen["resident"], 2.0)


def _over_ssh(world: World, farm: Farm, runs: int, proofs: int) -> t.Iterator[Row]:
    peers = {"the naive playbook over the same": 0.5, "an empty play": 2.3}
    try:
        ssh = world.ssh()
    except Skipped as skipped:
        yield from [Row(WARM_SSH, peer, [], [], most, why=str(skipped)) for peer, most in peers.items()]
        yield Row(PROVEN % (", warm ssh", proofs), "5 s", [], [], 5.0, why=str(skipped))
        return
    bench = Bench(world, farm, "ssh", ssh)
    # The first run opens the connection that the others find open.
    bench.whole()
    seen = interleaved({"ours": bench.ours, "naive": bench.peer("naive"), "empty": bench.peer("empty")}, runs, warm=0)
    for (peer, most), name in zip(peers.items(), ("naive", "empty")):
        yield Row(WARM_SSH, peer, seen["ours"], seen[name], most)
    yield _proven(bench, ", warm ssh", proofs)
