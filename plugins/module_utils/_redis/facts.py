# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the raw look at Redis means in plain facts: identity, persistence, memory, keys, replication. Pure functions."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.start import data_names, deletion_in, emptying_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.written import unappended, unappended_at, unsaved

Raw = t.Mapping[str, t.Any]

# Redis counts in 64 bits; a larger or longer number is not from Redis.
MOST, DIGITS = 2**63, 40
# More replicas than any master has; a larger number is not looped over.
REPLICAS = 1000
# The share of the machine's memory that maxmemory never exceeds, whatever the operator's limit.
SYSTEM_SHARE = 0.8
FILE_SETTINGS = ("appendonly", "appendfilename", "appenddirname", "dbfilename")
# What the log says of a Redis that could not write.
UNWRITTEN = frozenset(["no_space", "read_only", "permission", "write_failed"])

# More than a Redis with a hundred databases and statistics of every command reports.
INFO_LINES = 10_000

# Commands by which a key may be gone.
REMOVING = frozenset(
    ["del", "unlink", "getdel", "rename", "renamenx", "move", "lpop", "rpop", "lmpop", "rpoplpush", "lmove", "blpop", "brpop", "blmove",
     "brpoplpush", "blmpop", "spop", "smove", "srem", "hdel", "zrem", "zpopmin", "zpopmax", "zmpop", "bzpopmin", "bzpopmax", "bzmpop",
     "lrem", "ltrim", "zremrangebyscore", "zremrangebyrank", "zremrangebylex", "eval", "evalsha", "fcall", "restore", "expire",
     "pexpire", "expireat", "pexpireat", "getex", "sinterstore", "sdiffstore", "sunionstore", "zinterstore", "zdiffstore", "sort"]
)  # fmt: skip
# Redis writes a little as soon as it starts.
LITTLE_ROOM = 64 * 1024


def parse_info(text: str) -> dict[str, str]:
    """Return INFO's lines as a dict, in printable characters; a repeated name keeps its first value, a long value is cut."""
    found: dict[str, str] = {}
    for line in text.splitlines()[:INFO_LINES]:
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            found.setdefault(one_line(name, 100), one_line(value, 400))
    return found


def number(value: t.Any) -> t.Optional[int]:
    """Return *value* as an int, None if it is not one or too large for Redis."""
    try:
        found = int(value) if len(str(value)) <= DIGITS else None
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found is not None and abs(found) < MOST else None


def share(value: t.Any) -> t.Optional[float]:
    """Return *value* as a float from 0 to 100, None if it is not one."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if 0.0 <= found <= 100.0 else None


def role_of(raw: Raw) -> str:
    """Return master, replica, sentinel, or "" if unknown."""
    word = str(raw["info"].get("role") or (raw["role"][0] if raw.get("role") else ""))
    return {"slave": "replica", "replica": "replica", "master": "master", "sentinel": "sentinel"}.get(word, "")


def identity_of(raw: Raw) -> dict[str, t.Any]:
    """Return {run_id, pid, start_time, role, port, tcp}: what distinguishes this process from its successor; {} if no process was seen."""
    info, process = raw["info"], raw.get("process") or {}
    if not info and not process:
        return {}
    return {
        "run_id": info.get("run_id", ""),
        "pid": number(process.get("pid") or info.get("process_id")),
        "start_time": process.get("start_time_ticks"),
        "role": role_of(raw),
        "port": number(info.get("tcp_port")),
        "tcp": number(info.get("tcp_port")) not in (None, 0),
    }


def mismatches(identity: Raw, expected: Raw) -> list[str]:
    """Return the names of the fields in *expected* that differ from what was seen; an unseen field does not differ."""
    pinned = [name for name in ("run_id", "pid", "start_time", "role", "port") if expected.get(name) not in (None, "")]
    return [name for name in pinned if identity.get(name) not in (None, "") and str(identity[name]) != str(expected[name])]


def keys_of(info: Raw) -> t.Optional[int]:
    """Return the number of keys over all databases, None if INFO does not contain it."""
    if "run_id" not in info:
        return None
    counts = [re.match(r"keys=(\d{1,18}),", str(value)) for name, value in info.items() if re.match(r"db\d+$", name)]
    return sum(number(found.group(1)) or 0 for found in counts if found)


def expiring_of(raw: Raw) -> dict[str, t.Any]:
    """Return how many keys expire, and a sample of the seconds that they have left, shortest first; {} if INFO does not say."""
    if "run_id" not in raw["info"]:
        return {}
    counts = [re.search(r"expires=(\d{1,18})", str(value)) for name, value in raw["info"].items() if re.match(r"db\d+$", name)]
    return {"keys": sum(number(found.group(1)) or 0 for found in counts if found), "left": sorted(raw.get("lives") or [])}


def persistence_of(raw: Raw, options: Raw) -> dict[str, t.Any]:
    """Return what is kept on disk, and what a kill right now would lose.

    ``loss_if_killed`` is none, up_to_1s, count (then ``loss_count`` keys or changes) or unknown.
    """
    info, settings = raw["info"], dict(raw.get("settings") or {}, **raw.get("config", {}))
    aof = _flag(info.get("aof_enabled"), settings.get("appendonly"))
    save = settings.get("save")
    facts: dict[str, t.Any] = {
        "aof_enabled": aof,
        "aof_loads": str(settings_of(raw).get("appendonly")) == "yes" if (raw.get("planned") or {}).get("known") else aof,
        "aof_ok": info.get("aof_last_write_status") == "ok" if info.get("aof_last_write_status") else None,
        "aof_rewrite_ok": info.get("aof_last_bgrewrite_status") == "ok" if info.get("aof_last_bgrewrite_status") else None,
        "rdb_ok": info.get("rdb_last_bgsave_status") == "ok" if info.get("rdb_last_bgsave_status") else None,
        "save_configured": bool(str(save).strip()) if save is not None else None,
        "changes_since_save": number(info.get("rdb_changes_since_last_save")),
        "fsync": settings.get("appendfsync"),
        "deletes_data_at_start": bool(start_deletion_of(raw, options)),
        "dump_bytes": raw.get("dump_bytes"),
        "dir": raw.get("data_dir") or settings.get("dir") or "",
    }
    keys = keys_of(info)
    return dict(facts, **(_loss_unseen(raw, facts) if keys is None else _loss(facts, keys)))


def _start_command(raw: Raw, options: Raw) -> str:
    return str(raw.get("start_text") or options.get("start_command") or "")


def start_deletion_of(raw: Raw, options: Raw) -> str:
    """Return the part of the start command that deletes what the next start would load, "" for none."""
    settings = dict(raw.get("config") or {}, **(raw.get("settings") or {}))
    seen = raw["info"].get("aof_enabled")
    if not (raw.get("planned") or {}).get("known") and seen is not None and (str(seen) == "1") != (settings.get("appendonly") == "yes"):
        # Switched at run time: it is uncertain what the next start loads.
        settings.pop("appendonly", None)
    return redact(deletion_in(_start_command(raw, options), str(raw.get("data_dir") or settings.get("dir") or ""), data_names(settings)))


def _flag(seen: t.Any, configured: t.Any) -> t.Optional[bool]:
    return str(seen) == "1" if seen is not None else str(configured) == "yes" if configured is not None else None


def _loss_unseen(raw: Raw, facts: Raw) -> dict[str, t.Any]:
    """Return what a kill would lose of a server without INFO: known only if it is seen to write its append-only file."""
    disk, lines = raw.get("disk") or {}, (raw.get("log") or {}).get("lines") or {}
    room = disk.get("free_bytes") and disk.get("writable_by_redis") is not False
    # If it was switched off at run time, Redis has no append-only file open, whatever its configuration file says.
    stays = facts["aof_enabled"] and facts["aof_loads"] and not facts["deletes_data_at_start"]
    written = stays and raw.get("aof_open") is not False and room and not UNWRITTEN & set(lines)
    loss = {"always": "none", "everysec": "up_to_1s"}.get(str(facts["fsync"] or "everysec"), "unknown")
    return {"loss_if_killed": loss if written and raw.get("process") else "unknown", "loss_count": None}


def _loss(facts: Raw, keys: int) -> dict[str, t.Any]:
    if facts["aof_enabled"] is None:
        return {"loss_if_killed": "unknown", "loss_count": None}
    if facts["deletes_data_at_start"]:
        return {"loss_if_killed": "count" if keys else "none", "loss_count": keys}
    if facts["aof_enabled"] and facts["aof_loads"]:
        if not facts["aof_ok"]:
            return {"loss_if_killed": "unknown", "loss_count": None}
        return {"loss_if_killed": {"always": "none", "everysec": "up_to_1s"}.get(str(facts["fsync"]), "unknown"), "loss_count": None}
    changes = facts["changes_since_save"]
    if changes is None or (keys and not facts["dump_bytes"] and facts["dump_bytes"] is not None):
        return {"loss_if_killed": "count" if keys else "none", "loss_count": keys}
    return {"loss_if_killed": "count" if changes else "none", "loss_count": changes}


def memory_of(raw: Raw, options: Raw) -> dict[str, t.Any]:
    """Return used and allowed bytes, the policy, whether Redis refuses writes for lack of memory, and the room to raise the limit."""
    info, config = raw["info"], raw.get("config", {})
    limit = number(info.get("maxmemory"))
    if limit is None:
        limit = number(config.get("maxmemory"))
    policy = str(info.get("maxmemory_policy") or config.get("maxmemory-policy") or "")
    total = number(info.get("total_system_memory"))
    ceiling = int(options.get("maxmemory_limit") or 0)
    if total:
        ceiling = min(ceiling, int(total * SYSTEM_SHARE))
    return {
        "used_memory": number(info.get("used_memory")), "maxmemory": limit, "maxmemory_policy": policy, "total_system_memory": total,
        "full": bool(limit) and not _evicts(policy, info) and _is_full(info, limit or 0),
        "maxmemory_ceiling": ceiling, "room_bytes": max(0, ceiling - limit) if limit else 0,
    }  # fmt: skip


def _evicts(policy: str, info: Raw) -> bool:
    """Return whether Redis makes room by itself: of any key, or of those that expire where there are some."""
    return policy.startswith("allkeys") or (policy.startswith("volatile") and "expires=0" not in str(info.get("db0", "expires=0")))


def _is_full(info: Raw, limit: int) -> bool:
    counted = (number(info.get("used_memory")) or 0) - (number(info.get("mem_not_counted_for_evict")) or 0)
    # Refusals free nothing, and a server that refuses stays just below its limit.
    return counted > limit or (bool(info.get("errorstat_OOM")) and counted >= 0.98 * limit)


def replication_of(raw: Raw) -> dict[str, t.Any]:
    """Return the role's side of replication: the link of a replica, the replicas of a master."""
    info, role = raw["info"], role_of(raw)
    replicas = []
    for index in range(min(number(info.get("connected_slaves")) or 0, REPLICAS)):
        fields = dict(part.partition("=")[::2] for part in str(info.get("slave%d" % index, "")).split(","))
        replicas.append({name: fields.get(name, "") for name in ("ip", "port", "state", "offset", "lag")})
    facts: dict[str, t.Any] = {"role": role, "replicas": replicas}
    if role == "replica":
        facts["master"] = "%s:%s" % (info.get("master_host", "?"), info.get("master_port", "?"))
        facts["link"] = info.get("master_link_status", "")
        facts["syncing"] = info.get("master_sync_in_progress") == "1"
    return facts


def since_start(info: Raw) -> dict[str, t.Any]:
    """Return how many keys expired since the start, those that were left out when it loaded among them, and whether a command may have
    removed others."""
    ran = {name[len("cmdstat_") :].partition("|")[0] for name in info if name.startswith("cmdstat_")}
    expired = (number(info.get("expired_keys")) or 0) + (number(info.get("rdb_last_load_keys_expired")) or 0)
    return {"expired": expired, "removes": bool(ran & REMOVING) or any(name.startswith("flush") for name in ran)}


def flushed_of(info: Raw) -> dict[str, t.Any]:
    """Return {run_id, count} of the commands that emptied a database since this process started, {} if INFO does not say."""
    if "run_id" not in info:
        return {}
    calls = [re.match(r"calls=(\d{1,18}),", str(value)) for name, value in info.items() if re.fullmatch(r"cmdstat_flush(all|db)", name)]
    return {"run_id": info["run_id"], "count": sum(int(found.group(1)) for found in calls if found)}


def _gone(raw: Raw, options: Raw) -> str:
    """Return what of a running Redis is no longer on its disk: dir, aof or dump; "" for nothing."""
    info, saved = raw["info"], persistence_of(raw, options)
    if raw.get("gone") or saved["aof_enabled"] or not saved["save_configured"] or raw.get("dump_bytes") != 0:
        return str(raw.get("gone") or "")
    # One that has keys and nothing to save has saved, or loaded, them.
    had = saved["changes_since_save"] == 0 or number(info.get("rdb_saves")) or number(info.get("rdb_last_load_keys_loaded"))
    return "dump" if keys_of(info) and had else ""


def settings_of(raw: Raw) -> dict[str, str]:
    """Return the settings by which the next start chooses its files; what is set at run time ends with the process."""
    settings = dict(raw.get("config") or {}, **(raw.get("settings") or {}))
    return {name: str(settings[name]) for name in FILE_SETTINGS if settings.get(name) is not None}


def _origins(raw: Raw) -> dict[str, str]:
    origins = (raw.get("planned") or {}).get("origins") or {}
    return {name: str(one.get("where") or "") for name, one in origins.items()}


def facts_of(raw: Raw, options: Raw) -> dict[str, t.Any]:
    """Return the facts of a look, without any name or value of a key."""
    info = raw["info"]
    facts: dict[str, t.Any] = {
        "ping": raw["ping"], "ping_ms": round(raw["ping_seconds"] * 1000, 3) if raw["ping_seconds"] is not None else None,
        "error": raw["error"], "stands_on": raw["stands_on"], "version": info.get("redis_version", ""), "keys": keys_of(info),
        "writes": raw["write"], "process": raw.get("process") or {}, "persistence": persistence_of(raw, options),
        "disk": raw.get("disk") or {}, "files": raw.get("files"), "log": raw.get("log") or {},
        "restarts": (raw.get("service") or {}).get("restarts"), "settings": settings_of(raw), "expiring": expiring_of(raw),
        "aof_bytes": number(info.get("aof_current_size")),
        "ended": {key: (raw.get("service") or {}).get(key) for key in ("exit_code", "signal", "last_ended_at")},
        "place": raw.get("place") or {}, "planned": (raw.get("planned") or {}).get("settings") or {}, "origins": _origins(raw),
        "written": raw.get("written") or {}, "evicted": number(info.get("evicted_keys")), "since_start": since_start(info),
        "start_empties": emptying_in(_start_command(raw, options)),
        "unappended": {"at": unappended_at(raw), "why": unappended(raw), "unsaved": unsaved(raw)},
        "gone": _gone(raw, options), "flushed": flushed_of(info),
        "start_deletes_data": bool(start_deletion_of(raw, options)), "start_deletion": start_deletion_of(raw, options),
    }  # fmt: skip
    facts.update(memory_of(raw, options))
    facts.update(replication_of(raw))
    if info.get("loading") == "1":
        facts["loading_eta_seconds"] = number(info.get("loading_eta_seconds"))
        facts["loaded_perc"] = share(info.get("loading_loaded_perc")) or 0.0
    return facts


def cause_of(disk: Raw, log_lines: Raw) -> str:
    """Return why Redis cannot write: permission, no_space or unknown. What is seen now comes before the log, which may be out of date."""
    free = disk.get("free_bytes")
    if disk.get("writable_by_redis") is False and disk.get("read_only") is False:
        return "permission"
    if free is not None and int(free) < LITTLE_ROOM:
        return "no_space"
    if "permission" in log_lines:
        return "unknown" if disk.get("read_only", True) else "permission"
    return "no_space" if "no_space" in log_lines else "unknown"
