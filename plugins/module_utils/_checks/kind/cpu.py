# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``cpu``: load per core, pressure where the kernel reports it, and which processes use the processor.

C(cpu): C(max_load_per_core), C(max_pressure_share) (0, the default of both, only reports), C(top) (how many processes to name), C(sample)
(seconds).
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State

HOST_ONLY = True
NO_SERVICE = True
CLASS = "host"
OPTIONS: dict[str, t.Any] = {
    # 0: only reported, since a machine may be busy with other work while its services are well.
    "max_load_per_core": {"type": "float", "default": 0.0},
    "max_pressure_share": {"type": "float", "default": 0},
    "top": {"type": "int", "default": 20},
    "sample": {"type": "float", "default": 0.3},
}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return load averages, pressure, and the *top* processes by processor use over a sample of ``sample`` seconds.

    Command lines are not read: they may hold secrets. Only the kernel's short name of a process is.
    """
    raw: dict[str, t.Any] = {"load": list(os.getloadavg()), "cores": _cores(), "pressure": _pressure(), "top": []}
    if options["top"] > 0:
        raw["top"] = _top(options["top"], min(max(0.05, options["sample"]), deadline / 2))
    return raw


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _pressure() -> float | None:
    try:
        with open("/proc/pressure/cpu", encoding="ascii") as file:
            words = dict(word.split("=") for word in file.readline().split()[1:])
        return float(words["avg60"]) / 100
    except (OSError, ValueError, KeyError):
        return None


def _top(count: int, sample: float) -> list[dict[str, t.Any]]:
    before, begun = _ticks(), time.monotonic()
    time.sleep(sample)
    after, took = _ticks(), time.monotonic() - begun
    hertz = os.sysconf("SC_CLK_TCK")
    # A reused pid has different start ticks, so it is a different key.
    used = [(after[key][0] - before.get(key, (0, ""))[0], key[0], after[key][1]) for key in after if key in before]
    ranked = sorted(used, key=lambda one: (-one[0], one[1]))[:count]
    return [{"pid": pid, "name": one_line(name, 40), "cpu_share": round(ticks / hertz / took, 3)} for ticks, pid, name in ranked]


def _ticks() -> dict[tuple[int, str], tuple[int, str]]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="backslashreplace") as file:
                    head, _paren, tail = file.read().rpartition(")")
            except OSError:
                continue  # it ended while we looked
            fields = tail.split()
            found[int(entry), fields[19]] = (int(fields[11]) + int(fields[12]), head.partition("(")[2])
    return found


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Sick over ``max_load_per_core`` (one minute) or, where reported by the kernel, ``max_pressure_share``; 0 sets no limit."""
    per_core = raw["load"][0] / max(1, raw["cores"])
    text = f"load {raw['load'][0]:.2f} on {raw['cores']} cores: {per_core:.2f} a core"
    most = options["max_load_per_core"]
    loaded = 0 < most < per_core
    findings = [Finding("load", State.SICK if loaded else State.WELL, f"{text}, {most:g} allowed" if most > 0 else text)]
    limit = options["max_pressure_share"]
    if limit > 0 and raw["pressure"] is not None:
        state = State.WELL if raw["pressure"] <= limit else State.SICK
        findings.append(Finding("pressure", state, f"work waited for a processor {raw['pressure']:.0%} of the time, {limit:.0%} allowed"))
    facts = {"load": raw["load"], "cores": raw["cores"], "pressure": raw["pressure"], "top": raw["top"]}
    return Health(tuple(findings), facts=facts)
