# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bad release, until the one that passed verification is proven to run: under Compose, and under systemd over ssh. Bars are seconds."""

from __future__ import annotations

import functools
import json
import subprocess
import time
import typing as t

from farms import compose, playing, release, systemd
from farms.waiting import until
from measure import Row, interleaved, timed
from world import ROOT, World

from ansible_collections.somabrain.incident_response.plugins.module_utils._release import tree

BAD = "rollback, %s, a bad release to proven, p95 of %d runs"
BAR = 30.0
PLACE = "/srv/toy"
UNIT = f"[Service]\nWorkingDirectory={PLACE}/current\nExecStart=/usr/bin/python3 -B toy_api.py\nRestart=always\nRestartSec=0\n"


def recovered(outcome: t.Mapping[str, t.Any]) -> None:
    """Raise RuntimeError unless the run ended as expected."""
    if (outcome["outcome"], [act["action"] for act in outcome["acts"]]) != ("recovered", ["switch"]):
        raise RuntimeError(f"the outcome is {outcome['outcome']}: {outcome['reasons'] or outcome['failure']}")


class Compose:
    """The project of the tests, whose API is deployed with a release that fails its health check."""

    def __init__(self, world: World) -> None:
        home = world.folder / "released"
        home.mkdir()
        self.shop = release.Shop(home)
        world.stack.callback(self.shop.end)
        self.shop.begin()

    def bad(self) -> float:
        self.shop.deploy(release.BAD["unhealthy"])
        until(lambda: self.shop.project.look("api")["state"] == "unhealthy", 30)
        return timed(lambda: recovered(self.shop.run("rollback")))


class Systemd:
    """The machine of the tests, with a small service that works in a link to its release."""

    def __init__(self, world: World) -> None:
        home = world.folder / "released-machine"
        home.mkdir()
        self.machine = world.stack.enter_context(systemd.a_machine(home))
        good = (ROOT / "molecule/shared/files/toy_api.py").read_text().replace("9696", "9797")
        self.good, self.worse = (
            self.add(home / "good", good),
            self.add(home / "bad", good.replace("send_response(200)", "send_response(503)")),
        )
        self.machine.write("/etc/systemd/system/toy-api.service", UNIT)
        self.deploy(self.good)
        self.run("record_release", "nothing_to_do")

    def add(self, folder: t.Any, text: str) -> str:
        folder.mkdir()
        (folder / "toy_api.py").write_text(text)
        release = tree.content_id(str(folder))
        self.machine.must("mkdir", "-p", f"{PLACE}/releases/{release}")
        self.machine.write(f"{PLACE}/releases/{release}/toy_api.py", text)
        return release

    def deploy(self, release: str) -> None:
        self.machine.must("ln", "-sfn", f"{PLACE}/releases/{release}", f"{PLACE}/current")
        for words in (("daemon-reload",), ("restart", "toy-api")):
            self.machine.systemctl(*words)
        time.sleep(systemd.START_SECONDS + 0.5)

    def run(self, playbook: str, wanted: str = "") -> None:
        given: dict[str, t.Any] = {
            "rollback_hosts": "machine",
            "record_release_hosts": "machine",
            "service_restart_service": "toy-api",
            "service_restart_ltm_url": "",
            "service_restart_url": "http://127.0.0.1:9797/",
            "service_restart_profile": "none",
            "service_restart_round_trip": "",
            "service_restart_working_memory": False,
            "rollback_releases_dir": f"{PLACE}/releases",
            "rollback_current": f"{PLACE}/current",
        }
        command = self.machine.command(playbook, **given)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        outcome = json.loads((self.machine.home / "outcome.json").read_text())
        if not wanted:
            recovered(outcome)
        elif outcome["outcome"] != wanted:
            raise RuntimeError(done.stdout[-500:])

    def bad(self) -> float:
        self.deploy(self.worse)
        return timed(lambda: self.run("rollback"))


def why_no_compose() -> str:
    """Return why containers cannot be recreated here, "" if they can."""
    return compose.why_not() or ("" if playing.borrowed("community/docker") else "community.docker is not there")


PLACES: dict[str, tuple[t.Callable[[], str], t.Callable[[World], Compose | Systemd]]] = {
    "Compose": (why_no_compose, Compose),
    "systemd over ssh": (systemd.why_not, Systemd),
}


def rows(world: World, quick: bool) -> t.Iterator[Row]:
    """Measure and yield the rows of rollback."""
    runs = 2 if quick else 20
    for name, (why_not, place) in PLACES.items():
        work = BAD % (name, runs)
        if why := why_not():
            yield Row(work, "30 s", [], [], BAR, limit=True, why=why)
            continue
        took = interleaved({work: functools.partial(place(world).bad)}, runs, warm=0)[work]
        yield Row(work, "30 s", took, [], BAR, limit=True)
