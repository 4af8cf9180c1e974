# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one recovery of Redis lost, and what proves it: pure functions over what was known, what it did, and what is there now.

Unknown stays unknown. 0 needs files that were read whole and a Redis that had written everything to them.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.contents import still_due
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.written import SAVED, judge_aof, judge_dump, unsaved

Facts = t.Mapping[str, t.Any]
Loss = t.Dict[str, t.Any]

# What a log says of a Redis that could not write what it had in memory.
UNWRITTEN = frozenset(["no_space", "read_only", "permission", "save_failed", "out_of_memory", "write_failed"])
# A dump of no keys is smaller.
EMPTY_DUMP_BYTES = 256
HARMLESS = {
    **dict.fromkeys(("wait", "continue", "kill_script", "raise_maxmemory", "isolate"), "Redis goes on with all that it has in memory"),
    **dict.fromkeys(("rescue", "rescue_dump", "save", "rewrite_aof", "fix_cause"), "Redis goes on with all that it has in memory"),
    **dict.fromkeys(("hold", "reset_failed"), "its data files were only read"),
    "persist": "Redis goes on with all that it has in memory, and keeps it again",
    "reload": "keys were only added, from the copy that an earlier run kept",
}
COPIED = "its data files were only copied"
KILLED_ALONE = "it wrote each command to its append-only file, and its process ended, not the machine"
COMPARED = "each candidate was loaded, and they were compared key by key"
EVICTED = "%d keys were evicted since its start, as maxmemory leaves no room for all that its files hold"
FELL = "its files hold %d keys and %d are there, and no command since its start removed the others"
NOTHING_THERE = "no key is there after the start, although there were data before"
HIDDEN = "more than those may be: keys that were written since hide others; %s"


def keys_alive(known: Facts, now: float) -> int:
    """Return how many keys of a proven look {key_count, expires, left, at} have to be there *now*, -1 where none were counted.

    A key whose time has not come is data; one whose time came meanwhile is not. *left* is the seconds that a sample of them had left: of n
    keys a share is right within 1 / sqrt(n), 19 times in 20, so fewer have to be there. Only where all were seen there is no doubt.
    """
    count = known.get("key_count")
    if count is None:
        return -1
    expires, left = int(known.get("expires") or 0), [float(one) for one in known.get("left") or []]
    passed = max(0.0, now - float(known.get("at") or now))
    share = sum(one > passed for one in left) / len(left) if left else 0.0
    if left and len(left) < expires:
        share = max(0.0, share - len(left) ** -0.5)
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
    if present is None or _untouched(done, before):
        return {}
    known = still_due(int(done.get("known_keys", -1)), {"at": done.get("known_at")}, contents)
    counted = {"unit": "keys", "known_before": None if known < 0 else known, "present_after": present}
    if done.get("replaced"):
        return dict(counted, **_of_candidate(done, unsaved(before)))
    (doubt, witness), fallen = _proof(done, before), _fallen(done, before, after)
    unproven = "; ".join(part for part in (fallen, doubt) if part)
    if done.get("approved") and done.get("restarted"):
        counted["approved"] = True
    if not unproven:
        return dict(counted, count=0, exact=True, witness=witness)
    least = _at_least(counted, unproven)
    # Not proven, but nothing speaks against it: no key that was known is missing, and each look at the files was good.
    quiet = bool(witness) and not fallen and least["text"] == doubt
    return dict(least, suspected=False, witness=witness) if quiet else least


def _untouched(done: Facts, before: Facts) -> bool:
    """Return whether Redis was there before and nothing ended it or changed its data: what is missing then was not lost by this run."""
    alive = before.get("keys") is not None or before.get("process") or before.get("ping")
    return bool(alive) and not any(done.get(act) for act in ("stopped", "installed", "restarted", "replaced", "reload_from", "put_back"))


def _fallen(done: Facts, before: Facts, after: Facts) -> str:
    """Return what a start did not load, or threw away, of what the files held; "" where all of it is there."""
    present, since = int(after["keys"]), after.get("since_start") or {}
    held, expired = _held(before.get("files") or {}), int(since.get("expired") or 0)
    if after.get("evicted"):
        return EVICTED % int(after["evicted"])
    if not present and _had_data(done, held, expired, after.get("persistence") or {}):
        return NOTHING_THERE
    if done.get("restarted") or held is None or since.get("removes") or present + expired >= held:
        return ""
    return FELL % (held, present)


def _held(files: Facts) -> t.Optional[int]:
    """Return how many keys the files hold at least, None where they were not counted."""
    contents = files.get("contents") or {}
    counted = contents.get("sure", contents.get("keys"))
    return counted if counted is not None else files.get("expected_keys")


def _had_data(done: Facts, held: t.Optional[int], expired: int, persistence: Facts) -> bool:
    """Return whether there were keys: some were known, the files hold some, or a dump lies there that is larger than an empty one."""
    if int(done.get("known_keys", -1)) > 0 or (held or 0) > expired:
        return True
    return held is None and int(persistence.get("dump_bytes") or 0) > EMPTY_DUMP_BYTES


def _at_least(counted: Loss, why: str) -> Loss:
    """Return a loss of which only the keys are known that are missing, if any are: that is the least of it, which is no count."""
    known, present = counted["known_before"], counted["present_after"]
    missing = max(0, known - present) if known is not None else 0
    return dict(counted, count=None, exact=False, text=HIDDEN % why if missing else why)


def _of_candidate(done: Facts, beyond: str) -> Loss:
    """Return what the installed candidate lacks, as it was said before it was chosen; *beyond*: why no file may have the last changes."""
    said = _of_files(done)
    if not beyond:
        return said
    # What a policy accepted was counted in files.
    kept = {key: value for key, value in said.items() if key != "approved" or said.get("count")}
    text = "; ".join(part for part in (said["text"], beyond) if part)
    return dict(kept, count=said.get("count") or None, exact=False, text=text)


def _of_files(done: Facts) -> Loss:
    loss, name = done["installed"].get("loss") or {}, done["installed"].get("name")
    wrong = "; wrong or missing in it, and to be put back by hand: number %s of the known keys"
    wrong = wrong % ", ".join(str(place) for place in done["excused_keys"]) if done.get("excused_keys") else ""
    approved = {"approved": True} if done.get("by") == "policy" else {}
    if loss.get("exact") and loss.get("count") is not None:
        text = "the installed data (%s) lacks some keys or changes" % name if loss["count"] else ""
        return dict(loss, text=text + wrong, witness=COMPARED, **approved)
    text = "nothing proves that the installed data (%s) is complete"
    if loss.get("count"):
        text = "the installed data (%s) lacks some keys or changes"
    elif loss.get("least"):
        text = HIDDEN % text
    return dict(loss, exact=False, text=text % name + wrong, **approved)


def _proof(done: Facts, before: Facts) -> t.Tuple[str, str]:
    """Return (why something may be lost, what proves that nothing is)."""
    if done.get("reload_from"):
        return "keys that were kept before the start are not loaded again", ""
    return _proof_of_restart(done, before) if done.get("restarted") else proof_of_start(before, done.get("last_file") or {})


def _proof_of_restart(done: Facts, before: Facts) -> t.Tuple[str, str]:
    """Return why a Redis that was restarted may have lost something, and what proves that it lost nothing."""
    persistence = before.get("persistence") or {}
    if persistence.get("loss_if_killed") in ("none", "up_to_1s"):
        return "", KILLED_ALONE if persistence.get("aof_enabled") else SAVED
    if not done["restarted"].get("killed") and done["restarted"].get("saves"):
        return "", SAVED
    return "a kill lost what was not on disk" if done["restarted"].get("killed") else "Redis ended without saving what was not on disk", ""


def proof_of_start(before: Facts, known: Facts) -> t.Tuple[str, str]:
    """Return why a Redis that was found down may have lost something when it went down, and what proves that it lost nothing.

    known: what the last proven look remembered of its append-only file {at, file}, {} for nothing.
    """
    files, log = before.get("files") or {}, before.get("log") or {}
    if files.get("verdict") == "empty":
        return "there was no data file before it was started, and nothing says whether there should have been one", ""
    if files.get("verdict") != "valid":
        return "its data files were not proven whole before it was started", ""
    # A start that failed had nothing in memory that it could not write.
    if UNWRITTEN & set(log.get("lines") or {}) and log.get("ready") is not False:
        return "it could not write what it had in memory before it went down", ""
    return judge_aof(before, known) if files.get("source") == "aof" else judge_dump(before)
