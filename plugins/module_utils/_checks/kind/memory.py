# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``memory``: how much memory the target's kernel can still hand out without swapping.

C(memory): C(min_available_share), C(max_swap_used_share).
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State

HOST_ONLY = True
NO_SERVICE = True
CLASS = "host"
OPTIONS: dict[str, t.Any] = {
    "min_available_share": {"type": "float", "default": 0.1},
    "max_swap_used_share": {"type": "float", "default": 1.0},
}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the kB of /proc/meminfo, and how many processes the OOM killer has ended since boot where the kernel reports it."""
    raw: dict[str, t.Any] = {"meminfo": {}, "oom_kills": None}
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            raw["meminfo"] = {line.partition(":")[0]: int(line.split()[1]) for line in file}
        with open("/proc/vmstat", encoding="ascii") as file:
            raw["oom_kills"] = next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), None)
    except (OSError, ValueError, IndexError):
        pass
    return raw


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Sick when less than ``min_available_share`` of the memory is available, or too much swap is used."""
    info = raw["meminfo"]
    total, available = info.get("MemTotal"), info.get("MemAvailable")
    if not total or available is None:
        return Health((Finding("memory", State.UNKNOWN, "the kernel does not report how much memory is available"),))
    share = available / total
    text = f"{share:.0%} of {total // 1024} MiB memory available, {options['min_available_share']:.0%} needed"
    findings = [Finding("memory", State.WELL if share >= options["min_available_share"] else State.SICK, text)]
    facts = {"total_bytes": total * 1024, "available_bytes": available * 1024, "oom_kills_since_boot": raw["oom_kills"]}
    if info.get("SwapTotal"):
        used = 1 - info.get("SwapFree", 0) / info["SwapTotal"]
        state = State.WELL if used <= options["max_swap_used_share"] else State.SICK
        findings.append(Finding("swap", state, f"{used:.0%} of the swap used, {options['max_swap_used_share']:.0%} allowed"))
    return Health(tuple(findings), facts=facts)
