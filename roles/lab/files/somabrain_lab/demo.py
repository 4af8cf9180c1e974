# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: break the lab's Redis, recover it with the playbook, compare the acknowledged keys with those that exist.

Run by ``scripts/demo`` from a checkout. Exit code 0 only when the outcome is ``recovered`` and no acknowledged key is missing.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request
from pathlib import Path

from . import redis_client, supervisor

# The checkout that contains scripts/demo.
ROOT = Path.cwd()
KEYS = 500
WIDTH = 100
DAY = 86400
AWAY = (OSError, redis_client.RedisRefused)


class Demo:
    """One run of the demo on the lab that is described by its lab.json."""

    def __init__(self, lab: Path) -> None:
        told = json.loads((lab / "lab.json").read_text(encoding="utf-8"))
        password = lab / "secrets" / "redis_password"
        secret = password.read_text(encoding="utf-8").strip() if password.exists() else ""
        self.lab, self.ports = lab, told["ports"]
        self.redis = redis_client.RedisClient(self.ports["redis"], secret)
        self.prefix = f"demo:{secrets.token_hex(4)}:"
        self.back: t.Optional[float] = None

    def write(self) -> list[str]:
        """Write KEYS keys, one by one, and return those that Redis acknowledged."""
        keys = [f"{self.prefix}{number}" for number in range(KEYS)]
        # They end after a day, so that demos leave nothing behind.
        return [key for key in keys if self.redis("SET", key, key, "EX", DAY) == "OK"]

    def missing(self, keys: list[str]) -> list[str]:
        """Return which of *keys* are gone or changed."""
        found = self.redis.pipeline([("GET", key) for key in keys])
        return [key for key, value in zip(keys, found) if value != key]

    def kill(self) -> int:
        """Kill Redis as a crash would and return its pid."""
        pid = int(supervisor.Supervisor(self.lab).programs()["redis"]["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def watch(self, killed: float) -> None:
        """Measure how long Redis rejects writes, as a client sees it, independent of the playbook."""
        while self.back is None and time.monotonic() - killed < 120:
            try:
                self.redis("SET", self.prefix + "probe", "1", "EX", DAY)
                self.back = time.monotonic() - killed
            except AWAY:
                time.sleep(0.02)

    def dead(self) -> list[str]:
        """Return sentences on the stack now that Redis is dead."""
        state = supervisor.Supervisor(self.lab).programs()["redis"]["statename"]
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['api']}/health", timeout=5) as answer:
            said = json.load(answer).get("ok")
        lines = [f"supervisor says {state}", f"a client gets: {self._refusal()}"]
        return [*lines, f"and the API's /health still says ok: {json.dumps(said)} - a green that means nothing"]

    def _refusal(self) -> str:
        try:
            return str(self.redis("PING"))
        except AWAY as error:
            return str(error)


def playbook(name: str, *words: str) -> tuple[int, float]:
    """Run a playbook on the lab with its output on screen; return its exit code and seconds."""
    begun = time.monotonic()
    command = [str(ROOT / ".venv/bin/ansible-playbook"), f"playbooks/{name}.yml", "-i", "inventories/lab", *words]
    code = subprocess.run(command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL).returncode
    return code, time.monotonic() - begun


def lab_dir() -> Path:
    """Return the folder of the lab, as inventories/lab finds it."""
    usual = "/var/lib/somabrain-lab" if os.geteuid() == 0 else os.path.expanduser("~/.local/state/somabrain-lab")
    return Path(os.environ.get("SOMABRAIN_LAB_DIR") or usual)


def say(text: str) -> None:
    print(text, flush=True)


def row(name: str, text: str) -> str:
    """Return one line of the screen."""
    return f"  {name:<10} {text}"[:WIDTH]


def screen(outcome: dict[str, t.Any], acknowledged: int, lost: int, times: dict[str, t.Optional[float]]) -> list[str]:
    """Return the last screen: found, done, proven, times, evidence, next commands."""
    before, after = outcome.get("before") or {}, outcome.get("after") or {}
    word = str(outcome.get("outcome") or "no outcome")
    back = "not seen" if times["back"] is None else f"{times['back']:.1f} s after the kill"
    proven = f"{after.get('passes', 0)} good looks in a row, {'proven' if after.get('proven') else 'NOT proven'}"
    lines = [
        "=" * WIDTH,
        f"  {word.upper()} in {float(outcome.get('seconds') or 0):.1f} s - {acknowledged} keys acknowledged, {lost} lost",
        "-" * WIDTH,
        row("found", f"Redis {before.get('state') or before.get('health') or '?'}"),
        row("done", ", ".join(names(outcome.get("acts"))) or "nothing"),
        row("proven", proven),
        row("kept", f"{acknowledged - lost} of {acknowledged} acknowledged keys exist, each with its own value"),
        row("times", f"first write again {back}; playbook {times['playbook']:.1f} s; lab start {times['lab']:.1f} s"),
    ]
    evidence = outcome.get("evidence") or {}
    lines += [row("evidence", str(evidence["dir"]))] if evidence.get("dir") else []
    lines += [row("outcome", str(outcome["file"]))] if outcome.get("file") else []
    return [*lines, "-" * WIDTH, *advice(), "=" * WIDTH]


def names(acts: t.Any) -> list[str]:
    """Return the names of the acts, in whatever form the outcome lists them."""
    return [str(act.get("action") or act.get("name") or act) if isinstance(act, dict) else str(act) for act in acts or []]


def advice() -> list[str]:
    again = "ansible-playbook -i inventories/lab playbooks/"
    return [
        row("next", f". .venv/bin/activate; {again}recover-redis.yml"),
        row("", "  finds nothing to do; with --check it only rehearses, with -v it shows every task"),
        row("", f"{again}verify-health.yml"),
        row("stop", "make stop-lab  (make clean removes the data too)"),
    ]


def read_outcome(file: Path) -> dict[str, t.Any]:
    """Return the outcome that the playbook wrote, {} if there is none."""
    try:
        return t.cast(t.Dict[str, t.Any], json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def break_and_recover(demo: Demo, file: Path) -> tuple[int, float]:
    """Kill Redis, show that it is dead, run the playbook."""
    say(f"demo: {KEYS} keys written; killing Redis (pid {demo.kill()}) with SIGKILL")
    threading.Thread(target=demo.watch, args=(time.monotonic(),), daemon=True).start()
    time.sleep(0.2)
    for line in demo.dead():
        say(f"demo: {line}")
    say("demo: ansible-playbook playbooks/recover-redis.yml -i inventories/lab")
    return playbook("recover-redis", "-e", json.dumps({"remediation_outcome_file": str(file)}))


def main() -> int:
    code, lab_seconds = playbook("start-lab")
    if code:
        return code
    demo = Demo(lab_dir())
    keys = demo.write()
    file = demo.lab / "demo-outcome.json"
    file.unlink(missing_ok=True)
    code, seconds = break_and_recover(demo, file)
    outcome = read_outcome(file)
    try:
        lost = len(demo.missing(keys))
    except AWAY:
        lost = len(keys)
    times = {"back": demo.back, "playbook": seconds, "lab": lab_seconds}
    say("\n".join(["", *screen(outcome, len(keys), lost, times)]))
    return 0 if code == 0 and outcome.get("outcome") == "recovered" and lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
