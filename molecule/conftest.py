# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stories about Redis and about services look at in the end: the outcome, the acknowledged keys, the processes, the ledger."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

LEDGER = "/var/lib/somabrain/incident_response"


class Story:
    """One machine after its story."""

    def __init__(self, host: t.Any) -> None:
        self.host = host

    def outcome(self, name: str = "outcome") -> dict[str, t.Any]:
        return dict(json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"{name}.json").read_text()))

    def told(self, name: str = "outcome") -> tuple[t.Any, ...]:
        """Return (outcome, acts, state before, state after)."""
        told = self.outcome(name)
        states = [(told.get(when) or {}).get("state") for when in ("before", "after")]
        return (told["outcome"], [act["action"] for act in told["acts"]], *states)

    def before(self) -> list[str]:
        """Return what identified the broken process and its neighbour before the story."""
        return str(self.host.file("/var/tmp/processes-before").content_string).splitlines()

    def keeps_the_ledger_private(self) -> None:
        assert self.host.file(LEDGER).mode == 0o700
        files = self.host.check_output(f"find {LEDGER} -type f -printf '%m\\n'").split()
        assert files
        assert set(files) == {"600"}
        assert set(self.host.check_output(f"find {LEDGER} -type d -printf '%m\\n'").split()) == {"700"}


class RedisStory(Story):
    """A Redis on 6379 with its neighbour on 6380."""

    def process(self, port: int) -> str:
        """Return the line of INFO on *port* that no other process of Redis has."""
        lines = self.host.check_output(f"redis-cli -p {port} info server").splitlines()
        return next(str(line).strip() for line in lines if line.startswith("run_id:"))

    def keeps_every_key(self) -> None:
        names = " ".join(f"story:{number}" for number in range(60))
        assert self.host.check_output(f"redis-cli exists {names}") == "60"
        assert self.host.check_output("redis-cli set story:after kept") == "OK"

    def keeps_the_neighbour(self) -> None:
        assert self.process(6380) == self.before()[1]


class ServiceStory(Story):
    """A small service of its own unit, with Redis as its neighbour."""

    def process(self, unit: str) -> str:
        """Return the pid and start of the unit's process, which no other has."""
        told = self.host.check_output(f"systemctl show --property=MainPID,ExecMainStartTimestampMonotonic {unit}")
        return " ".join(str(told).split())

    def answers(self) -> None:
        code = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9696/', timeout=2).status)"
        assert self.host.run("python3 -c %s", code).stdout.strip() == "200"

    def keeps_the_neighbour(self) -> None:
        assert self.process("redis-server.service") == self.before()[1]


@pytest.fixture
def story(host: t.Any) -> RedisStory:
    """The machine, after checks that hold for every story about Redis."""
    told = RedisStory(host)
    told.keeps_every_key()
    told.keeps_the_neighbour()
    told.keeps_the_ledger_private()
    return told


@pytest.fixture
def service_story(host: t.Any) -> ServiceStory:
    """The machine, after checks that hold for every story about a service."""
    told = ServiceStory(host)
    told.answers()
    told.keeps_the_neighbour()
    told.keeps_the_ledger_private()
    return told


@pytest.fixture
def traffic_story(host: t.Any) -> Story:
    """The machine, after a check that holds for every story about traffic."""
    told = Story(host)
    told.keeps_the_ledger_private()
    return told
