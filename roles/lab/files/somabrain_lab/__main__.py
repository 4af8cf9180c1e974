# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""start, stop, plan-start or plan-stop the lab: settings as JSON on standard input, one JSON object on standard output.

``{"changed": bool, "say": [sentence, ...], "ports": {...}}``, or exit code 3 and ``{"error": sentence}``.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import typing as t

from . import backups, cluster, ports, redis_client, releases
from .errors import LabError
from .layout import Layout, Settings
from .supervisor import Supervisor, stop_orphans, wait_for

# The exit code of a failure that is reported in one sentence.
TOLD = 3
SEEDS = (
    ("SET", "soma:opa:policy", "package somabrain.practice\n\ndefault allow = true\n"),
    ("SET", "soma:opa:policy:sig", "lab-signature"),
    ("SET", "soma:constitution", '{"rules": {"practice": true}}'),
)
# What Redis still has after a restart: its append-only file, its last dump, or nothing.
KEEPS = ("aof", "dump", "nothing")
PROGRAMS = frozenset({"redis", "postgres", "ltm", "api"})
# Which programs must be restarted when a file of theirs changes.
READERS = {
    # It holds the password, which the API reads once.
    "etc/redis.conf": ("redis", "api"),
    "etc/standin.json": ("ltm", "api"),
    "postgres/lab.conf": ("postgres",),
    "postgres/pg_hba.conf": ("postgres",),
}


class Lab:
    """One lab: its layout, its supervisor, and what to report."""

    def __init__(self, settings: Settings) -> None:
        self.layout = Layout(settings)
        self.supervisor = Supervisor(self.layout.dir, settings.get("supervisord") or "")
        self.said: list[str] = []
        self.changed = False

    def in_use(self) -> dict[str, int]:
        """Return the ports of our programs that are running now where they should."""
        file, wanted = self.layout.dir / "etc" / "standin.json", self.layout.settings["ports"]
        running = self.supervisor.running()
        if not running or not file.exists():
            return {}
        known = json.loads(file.read_text(encoding="utf-8"))
        return {name: port for name, port in known["ports"].items() if name in running and known["wanted"][name] == wanted[name]}

    def plan_start(self) -> None:
        """Say what start would do; changes nothing."""
        self.layout.check()
        self.layout.check_programs()
        missing = PROGRAMS - self.supervisor.running()
        self.changed = bool(missing)
        self.said += [f"would start {', '.join(sorted(missing))} in {self.layout.dir}"] if missing else ["everything is already running"]

    def plan_stop(self) -> None:
        """Say what stop would do; changes nothing."""
        running = self.supervisor.running()
        self.said += [f"would stop {', '.join(sorted(running))}"] if running else ["nothing of the lab is running"]
        self.said += [f"would remove {self.layout.dir}"] if self.layout.settings["remove_data"] and self.layout.is_ours() else []
        self.changed = self.said[-1] != "nothing of the lab is running"

    def start(self) -> dict[str, int]:
        """Bring everything up and return the ports in use."""
        self.layout.check()
        self.layout.check_programs()
        self.changed = self.layout.make()
        if not self.supervisor.alive() and stop_orphans(self.layout.dir):
            self.said.append("ended processes that an earlier supervisord left running")
        chosen, moved = ports.choose(self.layout.settings["ports"], self.in_use())
        self.said += moved
        self._run(chosen, self._configure(chosen))
        self._wait(chosen, "postgres")
        backup = backups.First(self.layout)
        # A bad release may never answer; that is its purpose.
        self._wait(chosen, "redis", "ltm", *([] if self.layout.settings.get("release_faults") else ["api"]))
        self.changed |= cluster.fill(self.layout, chosen["postgres"]) | backup.due
        self._seed(chosen)
        self.said += backup.end()
        self._publish(chosen)
        return chosen

    def _configure(self, chosen: dict[str, int]) -> set[str]:
        """Write what differs and return the programs that have to load it."""
        self.changed |= cluster.create(self.layout)
        files = {**self.layout.files(chosen), **cluster.configuration(self.layout, backups.archiving(self.layout))}
        files.update(backups.configuration(self.layout, chosen["postgres"]))
        deployed = releases.select(self.layout.dir, releases.add(self.layout.dir, self.layout.settings.get("release_faults")))
        written = [name for name, (text, mode) in files.items() if self.layout.write(name, text, mode)]
        self.changed |= bool(written) or deployed
        return {program for name in written for program in READERS.get(name, ())} | ({"api"} if deployed else set())

    def _run(self, chosen: dict[str, int], stale: set[str]) -> None:
        running = self.supervisor.running()
        if not self.supervisor.alive():
            self.supervisor.launch()
            self.changed = True
            return
        stale -= set(self.supervisor.adopt())
        for name in sorted(stale & running):
            self.supervisor.restart(name)
        for name in sorted(PROGRAMS - self.supervisor.running()):
            self.supervisor.start(name)
            self.changed = True

    def _redis(self, chosen: dict[str, int]) -> redis_client.RedisClient:
        return redis_client.RedisClient(chosen["redis"], self.layout.settings["redis_password"])

    def _wait(self, chosen: dict[str, int], *names: str) -> None:
        """Wait until each of *names* answers; raises LabError that names the log of the one that does not."""
        looks: dict[str, t.Callable[[], bool]] = {
            "postgres": lambda: cluster.accepts(self.layout, chosen["postgres"]),
            "redis": lambda: pongs(self._redis(chosen)),
            "ltm": lambda: answers(chosen["ltm"]),
            "api": lambda: answers(chosen["api"]),
        }
        for name in names:
            if not wait_for(looks[name], 30):
                log = "redis.log" if name == "redis" else f"{name}.out"
                raise LabError(f"{name} does not answer after 30 s: see {self.layout.dir}/logs/{log}")

    def _seed(self, chosen: dict[str, int]) -> None:
        """Put the keys that exist nowhere else into Redis: once in the life of a lab, so that a loss stays visible."""
        if not (self.layout.dir / "etc" / "seeded").exists():
            self._redis(chosen).pipeline(SEEDS)
            self.layout.write("etc/seeded", "once\n")

    def _publish(self, chosen: dict[str, int]) -> None:
        """Write lab.json, from which inventories/lab learns what is in use."""
        found = {"profile": self.layout.settings["profile"], "lab_dir": str(self.layout.dir), "ports": chosen, "user": self.layout.user}
        self.changed |= self.layout.write("lab.json", json.dumps(found, indent=2) + "\n")

    def stop(self) -> None:
        """Stop everything through supervisor; remove the data only if asked."""
        if self.layout.is_ours():
            self.changed = self.supervisor.shutdown()
        if self.layout.settings["remove_data"]:
            self.changed |= self.layout.remove()


def pongs(redis: redis_client.RedisClient) -> bool:
    try:
        return bool(redis("PING") == "PONG")
    except (OSError, redis_client.RedisRefused):
        return False


def answers(port: int) -> bool:
    """Return whether an HTTP server answers on *port*, with any status: faults may be switched on."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", "/health")
        return link.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


def run(word: str, settings: Settings) -> dict[str, t.Any]:
    """Do what *word* says and return the answer; raises LabError."""
    begun = time.monotonic()
    lab = Lab(settings)
    words: dict[str, t.Callable[[], t.Optional[dict[str, int]]]] = {
        "start": lab.start,
        "stop": lab.stop,
        "plan-start": lab.plan_start,
        "plan-stop": lab.plan_stop,
    }
    chosen = words[word]()
    seconds = round(time.monotonic() - begun, 2)
    said = lab.said + summary(word, settings, chosen or {}, seconds)
    return {"changed": lab.changed, "say": said, "ports": chosen or {}, "seconds": seconds}


def summary(word: str, settings: Settings, chosen: dict[str, int], seconds: float) -> list[str]:
    """Return the sentences at the end of a start or a stop; a plan has none."""
    folder = settings["lab_dir"]
    if word == "stop":
        return [f"The lab is stopped ({seconds} s); its data {'is removed' if settings['remove_data'] else f'stays in {folder}'}."]
    if word != "start":
        return []
    up = [f"The lab is up in {folder} ({seconds} s): {', '.join(f'{name} {port}' for name, port in sorted(chosen.items()))}."]
    bad = "Its API runs a bad release, as lab_release_faults asks; rollback.yml goes back to a recorded one."
    return [*up, bad] if settings.get("release_faults") else up


def typed(settings: Settings) -> Settings:
    """Return *settings* with real numbers and booleans: ansible-core 2.18 passes templated ones as text."""
    flags = {name: str(settings[name]).lower() == "true" for name in ("postgres_checksums", "backups", "metrics_gate", "remove_data")}
    ports = {name: int(port) for name, port in settings["ports"].items()}
    keeps, seconds = str(settings.get("redis_keeps") or "aof"), float(settings.get("api_start_seconds") or 0)
    if keeps not in KEEPS:
        raise LabError(f"lab_redis_keeps is {keeps!r}: set it to {', '.join(KEEPS)}")
    more = {"redis_keeps": keeps, "api_start_seconds": seconds, "redis_start_seconds": int(settings["redis_start_seconds"])}
    return {**settings, **flags, **more, "ports": ports}


def main() -> int:
    try:
        answer = run(sys.argv[1], typed(json.load(sys.stdin)))
    except (LabError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return TOLD
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
