# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a processor a service got while it was silent: one that hardly gets any is slow, and no restart gives it more.

Times are what passed between two looks: {seconds, ready, ran, waited, periods, held}. *ready*: 1 if both saw a thread of it that wants to
run; *ran*: seconds on a processor, of all its processes; *waited*: seconds ready to run without one, of the process that waited longest;
*held*: in how many of the *periods* that the kernel counts the quota of a control group held it back.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.process import group_folders, read

Times = t.Dict[str, float]
TICKS = os.sysconf("SC_CLK_TCK")
# Between two looks there are at least so many seconds.
LEAST = 1.0
# Of a process with more threads, the first are looked at.
MOST_THREADS = 200
# It hardly runs, and for most of the time that is not its own choice.
HARDLY, MOSTLY = 0.2, 0.8


def load_times(pids: t.Sequence[int]) -> Times:
    """Return what the kernel has counted so far of processes, {} where it shows none of them."""
    spent = [one for one in map(_spent, pids) if one is not None]
    if not spent:
        return {}
    groups = [_held_back(pid) for pid in pids]
    periods, held = max(groups, key=lambda one: one[1])
    waited = max(_number(read("/proc/%d/schedstat" % pid).split(), 1) for pid in pids) / 1e9
    told = {"ready": float(any(map(_is_ready, pids))), "ran": sum(spent) / TICKS, "waited": waited, "periods": periods, "held": held}
    return dict(told, seconds=time.monotonic())


def passed_since(before: Times, pids: t.Sequence[int], left: float) -> Times:
    """Return what passed since *before*, {} where nothing was seen then or now; waits until enough did, at most half of *left* seconds."""
    if not before:
        return {}
    time.sleep(max(0.0, min(before["seconds"] + LEAST - time.monotonic(), left / 2)))
    now = load_times(pids)
    found = {key: round(max(0.0, now[key] - before[key]), 3) for key in now}
    return dict(found, ready=min(before["ready"], now["ready"])) if now else {}


def is_starved(times: Times) -> bool:
    """Return whether it hardly ran although it wanted to. Pure."""
    seconds = times.get("seconds") or 0.0
    if seconds < LEAST / 2 or not times["ready"] or times["ran"] > HARDLY * seconds:
        return False
    return _is_held_back(times) or times["waited"] >= MOSTLY * seconds


def _is_held_back(times: Times) -> bool:
    return times["periods"] > 0 and times["held"] >= MOSTLY * times["periods"]


def text_of(times: Times) -> str:
    """Return the sentence for a service that is starved. Pure."""
    text = "it gets too little of a processor: in %.1f s it ran %.1f s" % (times["seconds"], times["ran"])
    if _is_held_back(times):
        return "%s, and the quota of its control group held it back in %d of %d periods" % (text, times["held"], times["periods"])
    return "%s, and waited %.1f s for its turn: the machine is overloaded" % (text, times["waited"])


def _spent(pid: int) -> t.Optional[int]:
    """Return the ticks of the clock that a process, with all its threads, spent on a processor; None for one that is not there."""
    fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return _number(fields, 11) + _number(fields, 12) if fields else None


def _is_ready(pid: int) -> bool:
    """Return whether a thread of a process runs or wants to."""
    try:
        threads = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return False
    return any(read("/proc/%d/task/%s/stat" % (pid, one)).rpartition(")")[2].split()[:1] == ["R"] for one in threads[:MOST_THREADS])


def _held_back(pid: int) -> t.Tuple[int, int]:
    """Return (periods, in how many of them it was held back) of that group of a process that was held back most, (0, 0) for none."""
    told = [dict(line.partition(" ")[::2] for line in read(folder + "/cpu.stat").splitlines()) for folder in group_folders(pid, "cpu")]
    counts = [(_number([one.get("nr_periods", "")], 0), _number([one.get("nr_throttled", "")], 0)) for one in told]
    return max(counts, key=lambda one: one[1], default=(0, 0))


def _number(words: t.Sequence[str], place: int) -> int:
    return int(words[place]) if len(words) > place and words[place].isdigit() else 0
