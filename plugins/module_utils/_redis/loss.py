# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one recovery of Redis lost, and what proves it: pure functions over what was known, what it did, and what is there now.

Unknown stays unknown. 0 needs files that were read whole and a Redis that had written everything to them.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.contents import still_due

Facts = t.Mapping[str, t.Any]
Loss = t.Dict[str, t.Any]

# What a log says of a Redis that could not write what it had in memory.
UNWRITTEN = frozenset(["no_space", "read_only", "permission", "save_failed", "out_of_memory"])
# Seconds between the last save of a Redis and its exit.
AT_ITS_END = 5.0
# Of a sample of times to live: what it may be wrong by, as a share of all keys that expire.
SAMPLING = 0.15
HARMLESS = {
    **dict.fromkeys(("wait", "continue", "kill_script", "raise_maxmemory", "isolate"), "Redis goes on with all that it has in memory"),
    **dict.fromkeys(("rescue", "rescue_dump", "save", "rewrite_aof", "fix_cause"), "Redis goes on with all that it has in memory"),
    **dict.fromkeys(("hold", "reset_failed"), "its data files were only read"),
    "reload": "keys were only added, from the copy that an earlier run kept",
}
COPIED = "its data files were only copied"
READ_WHOLE = "each command of its append-only file was read, to the end of the file"
KILLED_ALONE = "it wrote each command to its append-only file, and its process ended, not the machine"
SAVED = "it ended when it was asked to, and saved its data before"
COMPARED = "each candidate was loaded, and they were compared key by key"
SNAPSHOTS = "Redis keeps its data in snapshots, and nothing shows that it saved once more before it went down"
SINCE = "what was written after the last proven look is not in this number"


def keys_alive(known: Facts, now: float) -> int:
    """Return how many keys of a proven look {key_count, expires, left, at} have to be there *now*, -1 where none were counted.

    A key whose time has not come is data; one whose time came meanwhile is not. *left* is a sample of the seconds that keys had left.
    """
    count = known.get("key_count")
    if count is None:
        return -1
    expires, left = int(known.get("expires") or 0), [float(one) for one in known.get("left") or []]
    passed = max(0.0, now - float(known.get("at") or now))
    share = sum(one > passed for one in left) / len(left) if left else 0.0
    # Only where all of the sample still lives there is nothing to be wrong about.
    share = share if share == 1.0 else max(0.0, share - SAMPLING)
    return int(count) - expires + int(expires * share)


def harmless(done: Facts) -> t.Dict[str, str]:
    """Return the acts that lose nothing, each with why; a mend is one until Redis was stopped for it or data were put in place."""
    copies = not (done.get("chosen") or done.get("stopped") or done.get("installed"))
    return {**HARMLESS, **({"mend": COPIED} if copies else {}), **({"mend": "the old data files are back"} if done.get("put_back") else {})}


def loss_of(done: Facts, before: Facts, after: Facts) -> Loss:
    """Return the loss of a run that put data in place, or that started or restarted Redis, {} where nothing can be said.

    done: what its acts gave; before, after: the facts of the first and the last look.
    """
    present, contents = after.get("keys"), (before.get("files") or {}).get("contents") or {}
    if present is None:
        return {}
    known = still_due(int(done.get("known_keys", -1)), {"at": done.get("known_at")}, contents)
    counted = {"unit": "keys", "known_before": None if known < 0 else known, "present_after": present}
    if done.get("replaced"):
        return dict(counted, **_of_candidate(done))
    unproven = _unproven(done, before)
    if done.get("approved") and done.get("restarted"):
        counted["approved"] = True
    return _at_least(counted, unproven) if unproven else dict(counted, count=0, exact=True, witness=_witness(done, before))


def _at_least(counted: Loss, why: str) -> Loss:
    """Return a loss of which only the keys are known that are missing, if any are."""
    known, present = counted["known_before"], counted["present_after"]
    missing = max(0, known - present) if known is not None else 0
    return dict(counted, count=missing or None, exact=False, text="%s; %s" % (why, SINCE) if missing else why)


def _of_candidate(done: Facts) -> Loss:
    """Return what the installed candidate lacks, as it was said before it was chosen."""
    loss, name = done["installed"].get("loss") or {}, done["installed"].get("name")
    approved = {"approved": True} if done.get("by") == "policy" else {}
    if loss.get("exact") and loss.get("count") is not None:
        text = "the installed data (%s) lacks some keys or changes" % name if loss["count"] else ""
        return dict(loss, text=text, witness=COMPARED, **approved)
    text = "nothing proves that the installed data (%s) is complete"
    if loss.get("count"):
        text = "the installed data (%s) lacks some keys or changes"
    return dict(loss, exact=False, text=text % name, **approved)


def _unproven(done: Facts, before: Facts) -> str:
    """Return why something may be lost, "" where nothing is."""
    if done.get("reload_from"):
        return "keys that were kept before the start are not loaded again"
    return _unproven_restart(done, before) if done.get("restarted") else unproven_start(before)


def _unproven_restart(done: Facts, before: Facts) -> str:
    """Return why a Redis that was restarted may have lost something, "" where it lost nothing."""
    persistence = before.get("persistence") or {}
    if persistence.get("loss_if_killed") in ("none", "up_to_1s"):
        return ""
    if not done["restarted"].get("killed") and done["restarted"].get("saves"):
        return ""
    return "a kill lost what was not on disk" if done["restarted"].get("killed") else "Redis ended without saving what was not on disk"


def unproven_start(before: Facts) -> str:
    """Return why a Redis that was found down may have lost something when it went down, "" where it lost nothing."""
    files, log = before.get("files") or {}, before.get("log") or {}
    if files.get("verdict") == "empty":
        return "there was no data file before it was started, and nothing says whether there should have been one"
    if files.get("verdict") != "valid":
        return "its data files were not proven whole before it was started"
    # A start that failed had nothing in memory that it could not write.
    if UNWRITTEN & set(log.get("lines") or {}) and log.get("ready") is not False:
        return "it could not write what it had in memory before it went down"
    if files.get("source") == "aof" or _ended_by_itself(before):
        return ""
    return SNAPSHOTS


def _ended_by_itself(before: Facts) -> bool:
    """Return whether Redis saved when it was asked to end: its log says so, or it exited with 0 and its file is from that moment."""
    ended, said = before.get("ended") or {}, (before.get("log") or {}).get("saved_at_end")
    if said is not None:
        return bool(said)
    exited = ended.get("exit_code") == 0 and not ended.get("signal") and ended.get("last_ended_at")
    changed = float((before.get("files") or {}).get("changed_at") or 0)
    return bool(exited and abs(float(ended["last_ended_at"]) - changed) < AT_ITS_END)


def _witness(done: Facts, before: Facts) -> str:
    if done.get("restarted"):
        return KILLED_ALONE if (before.get("persistence") or {}).get("aof_enabled") else SAVED
    return READ_WHOLE if (before.get("files") or {}).get("source") == "aof" else SAVED
