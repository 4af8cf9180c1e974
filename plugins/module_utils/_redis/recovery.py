# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one recovery of Redis has done so far, and what follows from it: what the next look expects, what is lost, how to undo it.

Pure and total functions over plain data: what is missing or not known stays unknown, and nothing here raises.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.command import module_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import ISOLATED
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.loss import keys_alive, proof_of_start
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.left import reserve_gone

Facts = t.Mapping[str, t.Any]

# Writing, syncing and reading a file again: a few seconds for any, one more for each so many bytes.
INSTALL_SECONDS, BYTES_A_SECOND = 20, 10_000_000
MOST_REPLICAS = 20


def so_far(kept: Facts, run: Facts, state_before: str, empty_below_share: float, accepted: int, now: float) -> t.Dict[str, t.Any]:
    """Return what the acts of *run* gave ({} for those of an earlier run of the same play), with what follows for the acts to come.

    kept: {run_id, approved, raised, mended, held, isolated, decided, stopped, installed, by, put_back, kept, reloaded, restarted,
    unloaded}, each there once its act is done; run: the opened run; state_before: of the first look; accepted: the keys that a person
    says are meant to be there, -1 for nothing said. Adds {replaced, may_be_held, to_reload, known_keys, known_at, last_file,
    and what a look is to expect: last_known, last_known_keys, empty_below_share, excused_keys, reload_from}.
    """
    last, known = _last_known(run, accepted), _meant(known_keys(run, now), accepted)
    acts = dict(kept if kept.get("run_id") == run.get("run_id") else {}, run_id=run.get("run_id"))
    owed = run.get("owed") or []
    installed = acts.get("installed") or {}
    replaced = bool(installed) and not acts.get("put_back")
    copies = [acts["kept"]] if acts.get("kept") else []
    copies += [one["body"]["path"] for one in reversed(owed) if one["kind"] == "redis_reload"]
    # An emptied Redis is not full again because writers carried on: until its data is replaced, any smaller number than known is too few.
    whole = replaced or state_before == "up_but_empty"
    return dict(
        acts,
        replaced=replaced,
        may_be_held=bool(acts.get("held")) or any(one["kind"] == "service_manager" for one in owed),
        to_reload=copies,
        known_keys=known,
        known_at=last["at"],
        last_file=_last_file(run),
        # Every lasting key of what was installed has to be there.
        last_known={} if replaced else last,
        last_known_keys=lasting(installed) if replaced else known,
        empty_below_share=1.0 if whole else empty_below_share,
        excused_keys=_excused(installed, replaced),
        reload_from=[] if acts.get("reloaded") else copies,
    )


def _excused(installed: Facts, replaced: bool) -> t.List[int]:
    """Return the places of known answers that are wrong in what was installed: its plan said so, and an approval of it covers that."""
    return list(installed.get("wrong_keys") or []) if replaced else []


def _meant(known: int, accepted: int) -> int:
    """Return how many keys have to be there, where a person says that *accepted* are meant to be (-1 for nothing said)."""
    return min(known, accepted) if accepted >= 0 else known


def lasting(candidate: Facts) -> int:
    """Return how many keys of a candidate do not expire by themselves."""
    return int(candidate.get("keys") or 0) - int(candidate.get("expires") or 0)


def _last_known(run: Facts, accepted: int) -> t.Dict[str, t.Any]:
    """Return when a run last ended well, where the data was then, and how long the append-only file.

    Who says how many keys are meant to be there (*accepted*, -1 for nobody) means what emptied it, too.
    """
    last = (run.get("last_verified") or {}).get("redis") or {}
    seen = {"mount": str(last.get("mount") or ""), "bytes": int(last.get("aof_bytes") or 0), "at": float(last.get("at") or 0)}
    kept = ("role", "replicas") if accepted >= 0 else ("role", "flushed", "replicas")
    return dict(seen, **{name: last[name] for name in kept if last.get(name)})


def _last_file(run: Facts) -> t.Dict[str, t.Any]:
    """Return the append-only file that a run saw written when it last ended well {at, file}, {} where it saw none."""
    last = (run.get("last_verified") or {}).get("redis") or {}
    saved = last.get("persistence") or {}
    on = saved.get("aof_enabled") and saved.get("aof_ok") is not False
    return {"at": float(last.get("at") or 0), "file": last["aof_file"]} if on and last.get("aof_file") else {}


def known_keys(run: Facts, now: float) -> int:
    """Return how many keys have to be there of those that a run last proved, -1 where none did."""
    return keys_alive((run.get("last_verified") or {}).get("redis") or {}, now)


def turns(actions: t.Sequence[str], watched: bool, persistence: Facts) -> t.List[t.Dict[str, t.Any]]:
    """Return {act, first, file} of each act in order; the file of tasks that takes it.

    The first act goes straight to the gate, unless it may lose data or Sentinels watch (*watched*): then it is looked at again.
    What was set apart is set back in the end.
    """
    found = []
    for index, act in enumerate(actions):
        asks = act == "rescue_dump" or (act == "restart" and bool(kill_loss(persistence)))
        found.append({"act": act, "first": not index, "file": "step" if index or watched or asks else "gated"})
    if "isolate" in actions:
        found.append({"act": "set_back", "first": False, "file": "acts/set_back"})
    return found


def kill_loss(persistence: Facts) -> str:
    """Return what killing Redis at this moment loses, "" where it loses at most what an append-only file had not written for a second."""
    if persistence.get("loss_if_killed") in ("none", "up_to_1s"):
        return ""
    return "killing Redis loses what is not on disk: %s changes" % (persistence.get("loss_count") or "an unknown number of")


def chosen(offer: Facts, decided: Facts, most_seconds: float) -> t.Dict[str, t.Any]:
    """Return the candidate of *offer* that a person approved (*decided*, a verdict) or the policy chose, {} where none is.

    Adds ``install_seconds``: how long putting it in place may take, *most_seconds* at most.
    """
    name = decided.get("plan") or (offer.get("choice") or {}).get("name")
    for one in offer.get("candidates") or []:
        if one["name"] == name:
            seconds = INSTALL_SECONDS + int(one.get("bytes") or 0) // BYTES_A_SECOND
            return dict(one, install_seconds=min(seconds, int(most_seconds)))
    return {}


def reload_plan(facts: Facts, actions: t.Sequence[str], done: Facts) -> t.Dict[str, t.Any]:
    """Return the plan by which a start command that deletes the data is gone along with: a person has to know, whatever is lost."""
    deletion = facts.get("start_deletion") or ""
    text = (
        "the start command of Redis deletes its data (%s). The data files are copied first, Redis starts without them, and every key in "
        "the copy is loaded again; until then keys are missing. Keys written in the meantime stay as written" % deletion
    )
    # What memory had and no file has, no copy brings back.
    beyond = kill_loss(facts.get("persistence") or {}) if "restart" in actions else proof_of_start(facts, done.get("last_file") or {})[0]
    return {
        "name": "rescue_and_reload",
        "text": "; ".join(part for part in (text, beyond) if part),
        "loss": {"count": None if beyond else 0, "unit": "keys", "exact": not beyond},
        "binds": {"start": deletion, "data": _bound_data(facts.get("files") or {}, done)},
    }


def _bound_data(files: Facts, done: Facts) -> t.Dict[str, t.Any]:
    # Each run rebuilds what it installs, a few bytes different each time.
    if done.get("replaced"):
        return {"candidate": done["installed"]["name"], "keys": done["installed"]["keys"]}
    sizes = {one["name"]: one["bytes"] for one in files.get("files") or []}
    return {"files": sizes, "changed_at": str(files.get("changed_at") or 0)}


def verified(probe: Facts) -> t.Dict[str, t.Any]:
    """Return what is remembered of a run that ended well: the next one measures emptiness by it. {} where the last look was not well."""
    facts = probe.get("facts")
    if facts is None or probe.get("health") != "well":
        return {}
    expiring, mount = facts.get("expiring") or {}, (facts.get("place") or {}).get("mount")
    counted = {"key_count": facts.get("keys"), "expires": expiring.get("keys"), "left": expiring.get("left") or []}
    counted.update(aof_bytes=facts.get("aof_bytes"), aof_file=(facts.get("written") or {}).get("aof") or {})
    counted.update({name: facts[name] for name in ("role", "flushed") if facts.get(name)})
    if facts.get("replicas"):
        counted["replicas"] = ["%s:%s" % (one["ip"], one["port"]) for one in facts["replicas"][:MOST_REPLICAS]]
    return {"redis": dict(counted, persistence=facts.get("persistence") or {}, **({"mount": mount} if mount else {}))}


class Target(t.NamedTuple):
    """What a printed command needs: how to reach Redis, and its service."""

    reach: Facts
    service: Facts


def left_of(done: Facts, target: Target) -> t.List[t.Dict[str, str]]:
    """Return what the run leaves held, paused or switched off, with the command that ends each."""
    found = []
    isolated = done.get("isolated") or {}
    if done.get("given_up"):
        found.append(reserve_gone(done["given_up"], done.get("given_bytes")))
    if done.get("paused"):
        command = module_on("redis_admin", dict(target.reach, action="resume_writers"))
        found.append({"what": "writers_paused", "text": "the writers of Redis are paused", "command": command})
    if isolated.get("changed") and not (done.get("stopped") or done.get("set_back")):
        command = module_on("redis_admin", dict(target.reach, action="release", settings=isolated.get("before")))
        found.append({"what": "isolated", "text": ISOLATED, "command": command})
    return found


def undo_of(done: Facts, before: Facts, target: Target) -> str:
    """Return how to undo what the run did; *before*: the facts of its first look."""
    raised, disk = done.get("raised") or {}, before.get("disk") or {}
    if done.get("unloaded"):
        return str(done["unloaded"])
    if raised.get("changed"):
        return _undo_maxmemory((raised.get("before") or {}).get("maxmemory"), target)
    if done.get("replaced"):
        # The old files are beside the new ones.
        options = {"state": "put_back", "run_id": done.get("run_id"), "data_dir": disk.get("path"), "settings": before.get("settings")}
        stop = module_on("service_control", dict(target.service, action="stop"))
        return "%s && %s" % (stop, module_on("redis_install", options))
    isolated = done.get("isolated") or {}
    if isolated.get("changed") and not done.get("stopped"):
        return module_on("redis_admin", dict(target.reach, action="release", settings=isolated.get("before")))
    if (done.get("held") or {}).get("changed"):
        return module_on("service_control", dict(target.service, action="release"))
    if (done.get("mended") or {}).get("changed"):
        was = {"path": disk.get("path"), "uid": disk.get("owner"), "mode": disk.get("mode"), "stage": "undo"}
        return module_on("redis_data_dir", was)
    return "nothing to put back"


def _undo_maxmemory(before: t.Any, target: Target) -> str:
    if before is None:
        return "set maxmemory back to its old value, which is unknown"
    return module_on("redis_admin", dict(target.reach, action="set_maxmemory", value=before, max_bytes=before))
