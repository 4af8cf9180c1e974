# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at Redis means: tables of what was seen, and the state, health and acts that follow."""

from __future__ import annotations

import json
import shlex
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import STATES, judge_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.replicas import load_replicas, read_info, replica_ahead

MB = 2**20
GOOD = {"verdict": "valid", "files": [], "detail": ""}
CUT = {"verdict": "tail_cut", "files": [{"name": "a.incr.aof", "verdict": "tail_cut", "detail": "ends"}], "detail": ""}
PLACE = {"path": "/data", "named": "", "planned": "/data", "where": "redis.conf:1", "sure": True, "running": "", "mount": "/data"}
PLANNED = {"known": True, "settings": {"appendonly": "yes"}, "origins": {}, "problems": []}
REPLICA = dict(PLANNED, settings={"appendonly": "yes", "replicaof": "10.0.0.9"})
SNAPSHOT = dict(GOOD, source="rdb", contents={"keys": 100, "history": "a" * 40, "offset": 1000, "written_at": 5000.0})
WAIT = ["wait"]
MEND = ["hold", "mend", "start"]
ISOLATE = ["isolate", "mend", "start"]
STORM = {"lines": {}, "ready": False, "failed_starts": 3}


def raw(**given: t.Any) -> dict[str, t.Any]:
    """A look at a healthy append-only master of 100 keys, changed by what is given; ``info`` and ``config`` are added to."""
    info = {
        "run_id": "a" * 40, "role": "master", "process_id": "7", "tcp_port": "6379", "db0": "keys=100,expires=0,avg_ttl=0",
        "aof_enabled": "1", "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok",
        "rdb_last_bgsave_status": "ok", "rdb_changes_since_last_save": "3",
        "used_memory": str(50 * MB), "maxmemory": "0", "maxmemory_policy": "noeviction", "total_system_memory": str(1000 * MB),
    }  # fmt: skip
    config = {"save": "3600 1", "appendfsync": "everysec", "appendonly": "yes"}
    look: dict[str, t.Any] = {
        "error": "", "text": "", "connected": True, "auth": "", "ping": "PONG", "ping_seconds": 0.001, "role": ["master", 0, []],
        "write": "accepted", "known": [], "stands_on": "target", "service": {}, "process": {"pid": 7, "process_state": "S"},
        "settings": {}, "data_dir": "/data", "disk": {}, "dump_bytes": None, "log": {}, "files": None,
    }  # fmt: skip
    look["info"] = dict(info, **given.pop("info", {})) if given.get("info", {}) is not None else given.pop("info") or {}
    look["config"] = dict(config, **given.pop("config", {}))
    return dict(look, **given)


def silent(error: str, **given: t.Any) -> dict[str, t.Any]:
    return raw(**dict({"error": error, "ping": "", "ping_seconds": None, "info": None, "connected": False, "process": {}}, **given))


def reply(text: str) -> dict[str, t.Any]:
    return raw(ping=text, info=None, write="", role=[])


def replica(**info: str) -> dict[str, t.Any]:
    return raw(info=dict({"role": "slave", "master_link_status": "up", "master_host": "m", "master_port": "1"}, **info), write="READONLY x")


def following(**given: t.Any) -> dict[str, t.Any]:
    """A replica that has 500 keys, and lost its master at 5300."""
    seen: dict[str, t.Any] = {"address": "r:1", "error": "", "role": "slave", "keys": 500, "lasting": 500, "histories": ["a" * 40]}
    return dict(seen, **dict({"offset": 9000, "down_since": 5300.0, "loading": False}, **given))


def down(**given: t.Any) -> dict[str, t.Any]:
    return silent("refused", **dict({"files": GOOD}, **given))


def hung(**given: t.Any) -> dict[str, t.Any]:
    """A stopped append-only Redis, of which only settings, disk, log and process can be seen."""
    seen = {"settings": {"appendonly": "yes"}, "disk": {"free_bytes": 9, "writable_by_redis": True}, "log": {"lines": {}}, "aof_open": True}
    look = silent("timeout", **dict({"connected": True, "process": {"pid": 7, "process_state": "T"}, **seen}, **given))
    return dict(look, config={})


DELETES = "sh -c 'rm -f /data/dump.rdb && redis-server'"
CASES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str, str, list[str]]] = {
    "healthy": (raw(), {}, "up", "well", []),
    "password missing": (reply("NOAUTH Authentication required."), {}, "auth", "unknown", []),
    "protected mode": (reply("DENIED Redis is running in protected mode"), {}, "auth", "unknown", []),
    "no right to ping": (reply("NOPERM this user has no permissions"), {}, "auth", "unknown", []),
    "loading": (raw(ping="LOADING x", info={"loading": "1", "loading_loaded_perc": "42.5"}), {}, "loading", "unknown", WAIT),
    "loading, INFO refused": (reply("LOADING Redis is loading the dataset in memory"), {}, "loading", "unknown", WAIT),
    "busy": (reply("BUSY Redis is busy running a script."), {}, "busy_script", "sick", ["kill_script"]),
    "strange reply": (reply("HELLO"), {}, "", "unknown", []),
    "no more clients": (reply("ERR max number of clients reached"), {}, "up", "sick", []),
    "INFO denied": (raw(info=None, info_error="NOPERM x"), {}, "up", "unknown", []),
    "silent after PING": (raw(error="timeout"), {}, "", "unknown", []),
    "MISCONF of RDB": (
        raw(ping="MISCONF Redis is configured to save RDB snapshots"), {}, "misconf_rdb", "sick", ["rescue", "fix_cause", "save"]),
    "save failed, writes still taken": (
        raw(info={"rdb_last_bgsave_status": "err"}), {}, "misconf_rdb", "sick", ["rescue", "fix_cause", "save"]),
    "save failed, none configured": (raw(info={"rdb_last_bgsave_status": "err"}, config={"save": ""}), {}, "up", "well", []),
    "MISCONF of AOF": (raw(ping="MISCONF Errors writing to the AOF file: No space"), {}, "misconf_aof", "sick", ["rescue", "fix_cause"]),
    "AOF write failed": (raw(info={"aof_last_write_status": "err"}), {}, "misconf_aof", "sick", ["rescue", "fix_cause"]),
    "AOF rewrite failed": (raw(info={"aof_last_bgrewrite_status": "err"}), {}, "up", "sick", ["fix_cause", "rewrite_aof"]),
    "directory not writable": (raw(disk={"writable_by_redis": False}), {}, "up", "sick", ["fix_cause"]),
    "directory not writable, nothing kept": (
        raw(disk={"writable_by_redis": False}, info={"aof_enabled": "0"}, config={"save": "", "appendonly": "no"}), {}, "up", "well", []),
    "out of memory, no limit given": (raw(write="OOM x", info={"maxmemory": str(50 * MB)}), {}, "oom", "sick", []),
    "out of memory, room": (
        raw(write="OOM x", info={"maxmemory": str(50 * MB)}), {"maxmemory_limit": 90 * MB}, "oom", "sick", ["raise_maxmemory"]),
    "out of memory, machine too small": (
        raw(write="OOM x", info={"maxmemory": str(50 * MB), "total_system_memory": str(60 * MB)}),
        {"maxmemory_limit": 90 * MB}, "oom", "sick", []),
    "above the limit but evicting": (
        raw(info={"maxmemory": str(40 * MB), "maxmemory_policy": "allkeys-lru"}), {}, "up", "well", []),
    "hovering below the limit after refusals": (
        raw(info={"maxmemory": str(51 * MB), "errorstat_OOM": "count=3"}), {}, "oom", "sick", []),
    "just below the limit, never refused": (raw(info={"maxmemory": str(51 * MB)}), {}, "up", "well", []),
    "replica in place": (replica(), {}, "readonly_replica", "well", []),
    "replica where a master belongs": (replica(), {"expected_role": "master"}, "readonly_replica", "sick", []),
    "replica without its master": (replica(master_link_status="down"), {}, "readonly_replica", "sick", []),
    "replica that syncs": (
        replica(master_link_status="down", master_sync_in_progress="1"), {}, "readonly_replica", "unknown", WAIT),
    "replica emptied by its master": (replica(), {"last_known_keys": 1000}, "readonly_replica", "sick", []),
    "master where a replica belongs": (raw(), {"expected_role": "replica"}, "up", "sick", []),
    "replica missing": (raw(), {"expected_replicas": 1}, "up", "sick", []),
    "far fewer keys": (raw(), {"last_known_keys": 201}, "up_but_empty", "sick", ISOLATE),
    "some fewer keys": (raw(), {"last_known_keys": 200}, "up", "well", []),
    "flushed, and half full again by its writers": (
        raw(info={"cmdstat_flushall": "calls=1"}), {"last_known_keys": 101}, "up_but_empty", "sick", ISOLATE),
    "flushed long ago, and full again": (raw(info={"cmdstat_flushall": "calls=1"}), {"last_known_keys": 100}, "up", "well", []),
    "empty beside a full dump": (raw(info={"db0": ""}, dump_bytes=5000), {}, "up_but_empty", "sick", ISOLATE),
    "empty beside an empty dump": (raw(info={"db0": ""}, dump_bytes=100), {}, "up", "well", []),
    "empty as it should be": (raw(info={"db0": ""}, dump_bytes=5000), {"last_known_keys": 0}, "up", "well", []),
    "empty and MISCONF: a save would destroy": (
        raw(ping="MISCONF Redis is configured to save RDB", info={"db0": ""}), {"last_known_keys": 9}, "up_but_empty", "sick", ISOLATE),
    "writers paused": (raw(write="unanswered"), {}, "up", "unknown", []),
    "empty, writers paused": (raw(info={"db0": ""}, write="unanswered"), {"last_known_keys": 9}, "up_but_empty", "sick", ISOLATE),
    "wrong answer": (
        raw(known=[{"key": "k", "exists": False, "sha256": ""}]), {"known_keys": [{"key": "k"}]}, "up_but_wrong", "sick", []),
    "contradicted, as a person approved": (
        raw(known=[{"key": "k", "exists": False, "sha256": ""}]), {"known_keys": [{"key": "k"}], "excused_keys": [1]}, "up", "well", []),
    "contradicted, and another one approved": (
        raw(known=[{"key": "k", "exists": False, "sha256": ""}]), {"known_keys": [{"key": "k"}], "excused_keys": [2]},
        "up_but_wrong", "sick", []),
    "unread answer": (
        raw(known=[{"key": "k", "exists": None, "sha256": ""}]), {"known_keys": [{"key": "k"}]}, "up", "unknown", []),
    "slow": (raw(ping_seconds=0.3), {"max_latency_ms": 100.0}, "up", "sick", []),
    "another process": (raw(), {"expected_identity": {"run_id": "b"}}, "up", "sick", []),
    "the same process": (raw(), {"expected_identity": {"run_id": "a" * 40}}, "up", "well", []),
    "restarted since": (raw(service={"restarts": 4}), {"expected_identity": {"restarts": 3}}, "up", "sick", []),
    "writes want replicas": (raw(write="NOREPLICAS Not enough good replicas to write."), {}, "up", "sick", []),
    "stopped": (
        silent("timeout", connected=True, process={"pid": 7, "process_state": "T"}), {}, "hung", "sick", ["continue", "restart"]),
    "mute stranger on its port": (silent("timeout", connected=True, process={"pid": 7}, listens=False), {}, "", "unknown", []),
    "held by the kernel": (silent("timeout", connected=True, process={"pid": 7, "process_state": "D"}), {}, "hung", "sick", WAIT),
    "computing": (
        silent("timeout", connected=True, process={"pid": 7, "process_state": "R"}), {}, "hung", "sick", ["wait", "restart"]),
    "mute, seen from the controller": (
        silent("timeout", connected=True, stands_on="controller"), {}, "hung", "sick", ["continue", "restart"]),
    "mute, and no Redis is there": (silent("timeout", connected=True), {}, "", "unknown", []),
    "unreachable from the controller": (silent("timeout", stands_on="controller"), {}, "", "unknown", []),
    "refused to the controller": (silent("refused", stands_on="controller"), {}, "", "unknown", []),
    "garbage": (silent("garbage"), {}, "", "unknown", []),
    "closes": (silent("closed", connected=True), {}, "", "unknown", []),
    "process there, listening elsewhere": (
        silent("refused", process={"pid": 7, "process_state": "S"}, ports=[6380]), {}, "", "unknown", []),
    "process there, not listening": (silent("refused", process={"pid": 7, "process_state": "S"}), {}, "", "unknown", WAIT),
    "process stopped before it listened": (
        silent("refused", process={"pid": 7, "process_state": "T"}), {}, "hung", "sick", ["continue", "restart"]),
    "manager says starting": (silent("refused", service={"state": "starting"}), {}, "", "unknown", WAIT),
    "down, files good": (down(), {}, "down_clean", "sick", ["start"]),
    "down, socket gone": (dict(down(), error="no_socket"), {}, "down_clean", "sick", ["start"]),
    "down, files not judged": (down(files=None), {}, "down_clean", "sick", []),
    "down, without a data file": (down(files={"verdict": "empty", "files": []}), {}, "down_clean", "sick", ["start"]),
    "down, newer data beside its own": (
        down(files={"verdict": "outdated", "files": [{"name": "a", "verdict": "outdated", "detail": "newer"}]}), {},
        "down_bad_file", "sick", MEND),
    "append-only file deleted under it": (raw(gone="aof"), {}, "up", "sick", ["rewrite_aof"]),
    "data directory deleted under it": (raw(gone="dir"), {}, "up", "sick", []),
    "dump deleted under it": (
        raw(info={"aof_enabled": "0", "rdb_saves": "1"}, config={"appendonly": "no"}, dump_bytes=0), {}, "up", "sick", ["save"]),
    "dump loaded and deleted since": (
        raw(info={"aof_enabled": "0", "rdb_changes_since_last_save": "0"}, config={"appendonly": "no"}, dump_bytes=0), {},
        "up", "sick", ["save"]),
    "never saved yet": (
        raw(info={"aof_enabled": "0", "rdb_saves": "0"}, config={"appendonly": "no"}, dump_bytes=0), {}, "up", "well", []),
    "saves elsewhere since a change at run time": (
        raw(planned=PLANNED, place=dict(PLACE, running="/tmp/x")), {}, "up", "sick", []),
    "replica that was promoted by hand": (raw(planned=REPLICA), {}, "up", "sick", []),
    "appendonly off at run time, and CONFIG refused": (
        dict(raw(planned=PLANNED, info={"aof_enabled": "0"}), config={}), {}, "up", "sick", []),
    "no right to write": (raw(write="NOPERM this user has no permissions"), {}, "up", "well", []),
    "down, and its configuration makes a replica of a master": (
        down(planned=REPLICA), {"last_known": {"role": "master"}}, "would_follow", "sick", []),
    "down, promoted according to its log": (down(planned=REPLICA, log={"promoted": True}), {}, "would_follow", "sick", []),
    "down, a master by the last lines of its log": (down(planned=REPLICA, log={"role": "M"}), {}, "would_follow", "sick", []),
    "down, a replica by the last lines of its log": (down(planned=REPLICA, log={"role": "S"}), {}, "down_clean", "sick", ["start"]),
    "hung, and a restart would end it": (
        silent("timeout", connected=True, process={"pid": 7, "process_state": "T"}, planned=dict(PLANNED, problems=["x"])), {}, "hung",
        "sick", ["continue"]),
    "down, a replica as it is meant to be": (
        down(planned=REPLICA), {"last_known": {"role": "master"}, "expected_role": "replica"}, "down_clean", "sick", ["start"]),
    "down, and it was a replica before": (down(planned=REPLICA), {}, "down_clean", "sick", ["start"]),
    "down, another server works in its directory": (
        down(holders=[{"pid": 9, "name": "redis-server", "why": "works_in"}]), {}, "down_start_fails", "sick", []),
    "down, and a replica has more than its dump": (
        down(files=SNAPSHOT, replicas_seen=[following()]), {}, "down_bad_file", "sick", MEND),
    "down, a replica itself, and another one has more": (
        down(files=SNAPSHOT, replicas_seen=[following()], planned=REPLICA, log={"replicas": ["r:1"]}), {}, "down_clean", "sick", ["start"]),
    "down, and a replica of it could not be asked": (
        down(files=SNAPSHOT, replicas_seen=[{"address": "r:1", "error": "NOAUTH"}]), {}, "replicas_unseen", "sick", []),
    "down, and it had a replica when last well": (
        down(files=SNAPSHOT), {"last_known": {"replicas": ["r:1"]}}, "replicas_unseen", "sick", []),
    "down, and Sentinels watch over its replicas": (
        down(files=SNAPSHOT, log={"replicas": ["r:1"]}, sentinel={"asked": 0}), {"sentinels": [{"host": "s"}]}, "down_clean", "sick",
        ["start"]),
    "down, and its only replica is away too": (
        down(files=SNAPSHOT, replicas_seen=[{"address": "r:1", "error": "refused"}]), {}, "down_clean", "sick", ["start"]),
    "down, its start would empty it": (
        down(start_text="sh -c 'redis-server & sleep 1; redis-cli FLUSHALL'"), {}, "start_empties", "sick", []),
    "down, and an include is missing": (down(planned=dict(PLANNED, problems=["x includes y"])), {}, "down_start_fails", "sick", []),
    "down, and a file is not its own": (
        down(files=dict(GOOD, unreadable=["dump.rdb belongs to root"])), {}, "down_start_fails", "sick", []),
    "down, and its last start met a wrong directive": (
        down(attempt={"code": "configuration", "text": "line 7", "mended": False}), {}, "down_start_fails", "sick", []),
    "down, its wrong directive corrected": (
        down(attempt={"code": "configuration", "text": "line 7", "mended": True}), {}, "down_clean", "sick", ["start"]),
    "down, no process could be made at its last start": (
        down(attempt={"code": "no_process", "text": "fork", "mended": False}), {}, "down_clean", "sick", ["start"]),
    "down, and its manager has no such service": (
        down(service={"manager": "systemd", "name": "redis", "exists": False, "reachable": True}), {}, "down_start_fails", "sick", []),
    "down, a stranger has its port": (down(stranger="port 6379 is held by python3"), {}, "port_taken", "sick", []),
    "down, its dump written by a newer server": (
        down(files={"verdict": "newer", "files": [{"name": "d", "verdict": "newer", "detail": "x"}]}), {}, "down_start_fails", "sick", []),
    "loading longer than its unit allows": (
        raw(ping="LOADING x", service={"state": "starting", "start_timeout": 90.0},
            info={"loading": "1", "loading_eta_seconds": "200", "loading_loaded_perc": "10", "uptime_in_seconds": "20"}),
        {}, "loading", "sick", []),
    "not writable, and the path is a link": (
        raw(place=dict(PLACE, ungiven="/data is a link"), disk={"writable_by_redis": False, "read_only": False}), {},
        "doubtful_dir", "sick", []),
    "full, and the path is a link": (
        raw(place=dict(PLACE, ungiven="a link"), disk={"free_bytes": 0, "writable_by_redis": True}), {}, "up", "sick", ["fix_cause"]),
    "down, over a link that its user made": (down(files=CUT, place=dict(PLACE, link="/data")), {}, "doubtful_dir", "sick", []),
    "down, a start evicts": (
        down(planned=dict(PLANNED, settings={"maxmemory": "4mb", "maxmemory-policy": "allkeys-lru"}),
             files=dict(GOOD, contents={"memory": 7 * MB})), {}, "down_would_evict", "sick", []),
    "down, at its limit": (
        down(planned=dict(PLANNED, settings={"maxmemory": "4mb", "maxmemory-policy": "allkeys-lru"}),
             files=dict(GOOD, contents={"memory": 5 * MB})), {}, "down_clean", "sick", ["start"]),
    "down, over its limit without eviction": (
        down(planned=dict(PLANNED, settings={"maxmemory": "4mb"}), files=dict(GOOD, contents={"memory": 7 * MB})), {},
        "down_clean", "sick", ["start"]),
    "down, settings from its input": (down(planned=dict(PLANNED, doubts=["-"])), {}, "doubtful_settings", "sick", []),
    "up, settings from its input": (raw(planned=dict(PLANNED, doubts=["-"])), {}, "up", "well", []),
    "empty, without CONFIG": (
        dict(raw(info={"db0": ""}), config={}), {"last_known_keys": 9}, "up_but_empty", "sick", ["mend", "start"]),
    "down, a container has its port": (
        down(container={"name": "c", "project": "shop", "running": False, "port": 6379}), {}, "owned_elsewhere", "sick", []),
    "down, a container that is paused has its port": (
        down(stranger="port 6379 is held by docker-proxy", container={"name": "c", "project": "shop", "running": True, "port": 6379}), {},
        "owned_elsewhere", "sick", []),
    "up, a container has its port": (
        raw(container={"name": "c", "project": "shop", "running": True, "port": 6379}), {}, "up", "well", []),
    "down, disk not mounted": (down(place=dict(PLACE, missing_mount="/data")), {}, "no_mount", "sick", []),
    "down, disk of the last look gone": (
        down(place=dict(PLACE, mount="/")), {"last_known": {"mount": "/data"}}, "no_mount", "sick", []),
    "down, its unit wants a mount": (
        down(place=dict(PLACE, mount="/", entries=0), service={"mounts": ["/data"]}), {}, "no_mount", "sick", []),
    "down, its unit wants a mount, and there is data": (
        down(place=dict(PLACE, mount="/", entries=2), service={"mounts": ["/data"]}), {}, "down_clean", "sick", ["start"]),
    "down, and the inventory names another directory": (
        down(place=dict(PLACE, named="/srv/a", planned="/srv/b")), {}, "doubtful_dir", "sick", []),
    "down, files damaged in a system directory": (
        down(files=CUT, place=dict(PLACE, path="/etc", system=True)), {}, "doubtful_dir", "sick", []),
    "not writable, in a directory set at run time": (
        raw(place=dict(PLACE, running="/var/spool/cron"), disk={"writable_by_redis": False, "read_only": False}), {},
        "doubtful_dir", "sick", []),
    "not writable, named by a file that its user may change": (
        raw(place=dict(PLACE, sure=False), disk={"writable_by_redis": False, "read_only": False}), {}, "up", "sick", ["fix_cause"]),
    "disk full, named by a file that its user may change": (
        raw(place=dict(PLACE, sure=False), disk={"free_bytes": 0, "writable_by_redis": True}), {}, "up", "sick", ["fix_cause"]),
    "emptied, among files of others": (
        raw(info={"db0": ""}, place=dict(PLACE, foreign=["authorized_keys"])), {"last_known_keys": 9}, "doubtful_dir", "sick", []),
    "saving switched off at run time": (
        raw(info={"aof_enabled": "0"}, config={"save": "", "appendonly": "no"}, planned=dict(PLANNED, settings={"save": "60 1"})), {}, "up",
        "sick", ["persist"]),
    "append-only file switched off at run time": (
        raw(info={"aof_enabled": "0"}, config={"appendonly": "no"}, planned=PLANNED), {}, "up", "sick", ["persist"]),
    "append-only file switched on at run time": (
        raw(config={"appendonly": "yes"}, planned=dict(PLANNED, settings={"appendonly": "no"})), {}, "up", "well", []),
    "another dump at run time": (
        raw(config={"dbfilename": "b"}, planned=dict(PLANNED, settings={"dbfilename": "a"})), {}, "up", "sick", []),
    "down, tail cut": (down(files=CUT), {}, "down_bad_file", "sick", MEND),
    "down, damaged, and systemd gave up": (
        down(files=CUT, service={"manager": "systemd", "state": "failed", "start_limit_hit": True}),
        {}, "down_bad_file", "sick", ["hold", "mend", "reset_failed", "start"]),
    "between two starts on damaged files": (down(files=CUT, service={"state": "backoff"}), {}, "down_bad_file", "sick", MEND),
    "met in the middle of such a start": (
        silent("refused", files=CUT, log=STORM, service={"state": "starting"}, process={"pid": 7, "process_state": "R"}),
        {}, "down_bad_file", "sick", MEND),
    "met while it loads what it will refuse": (
        raw(ping="LOADING x", info={"loading": "1", "loading_loaded_perc": "42.5"}, log=STORM, files=CUT),
        {}, "down_bad_file", "sick", MEND),
    "loads what was put there after such starts": (
        raw(ping="LOADING x", info={"loading": "1", "loading_loaded_perc": "42.5"}, log=STORM, files=GOOD), {}, "loading", "unknown", WAIT),
    "starts on what was put there after such starts": (
        silent("refused", files=GOOD, log=STORM, process={"pid": 7, "process_state": "R"}), {}, "", "unknown", WAIT),
    "down, never had data": (down(files={"verdict": "empty", "files": []}), {}, "down_clean", "sick", ["start"]),
    "down, data gone": (down(files={"verdict": "empty", "files": []}), {"last_known_keys": 5}, "down_bad_file", "sick", MEND),
    "down, refused its data": (down(log={"lines": {"bad_file": "Bad file format"}}), {}, "down_bad_file", "sick", MEND),
    "down, refused what lay there before": (
        down(log={"lines": {"bad_file": "x"}, "written_at": 5.0}, files=dict(GOOD, changed_at=6.0)), {}, "down_clean", "sick", ["start"]),
    "down, refused what still lies there": (
        down(log={"lines": {"bad_file": "x"}, "written_at": 6.0}, files=dict(GOOD, changed_at=5.0)), {}, "down_bad_file", "sick", MEND),
    "down, changed since, and still damaged": (
        down(log={"lines": {"bad_file": "x"}, "written_at": 5.0}, files=dict(CUT, changed_at=6.0)), {}, "down_bad_file", "sick", MEND),
    "down, its start deletes its dump": (
        down(config={"appendonly": "no"}), {"start_command": DELETES}, "down_clean", "sick", ["rescue_dump", "start", "reload"]),
    "down, its manager's start deletes its dump": (
        down(config={"appendonly": "no"}, start_text=DELETES), {}, "down_clean", "sick", ["rescue_dump", "start", "reload"]),
    "down, its start deletes its dump, its disk is full": (
        down(config={"appendonly": "no"}, start_text=DELETES, log={"lines": {}}, disk={"free_bytes": 0}), {},
        "down_clean", "sick", ["fix_cause", "rescue_dump", "start", "reload"]),
    "down, its start deletes its dump, which holds no keys": (
        down(config={"appendonly": "no"}, start_text=DELETES, files=dict(GOOD, expected_keys=0)), {}, "down_clean", "sick", ["start"]),
    "down, its start deletes its dump, and there is none": (
        down(config={"appendonly": "no"}, start_text=DELETES, files={"verdict": "empty", "files": []}), {},
        "down_clean", "sick", ["start"]),
    "down, its start deletes a dump that it does not load": (
        down(settings={"appendonly": "yes"}, start_text=DELETES), {}, "down_clean", "sick", ["start"]),
    "down, its start deletes its data, which are not whole": (
        down(config={"appendonly": "no"}, start_text=DELETES, files=CUT), {},
        "down_bad_file", "sick", ["hold", "mend", "rescue_dump", "start", "reload"]),
    "down without data, which an earlier run has kept": (
        down(files={"verdict": "empty", "files": []}), {"last_known_keys": 5, "reload_from": ["/kept"]},
        "down_clean", "sick", ["start", "reload"]),
    "hung, its start deletes its data": (
        hung(start_text="rm -rf /data/*"), {}, "hung", "sick", ["continue", "rescue_dump", "restart", "reload"]),
    "up, its start deletes its dump": (raw(info={"aof_enabled": "0"}, start_text=DELETES), {}, "up", "well", []),
    "up, with keys kept that are not loaded": (raw(), {"reload_from": ["/kept"]}, "up_but_empty", "sick", ["reload"]),
    "up without keys, with keys kept that are not loaded": (
        raw(info={"db0": None}), {"last_known_keys": 100, "reload_from": ["/kept"]}, "up_but_empty", "sick", ["reload"]),
    "out of memory, with keys kept that are not loaded": (
        raw(write="OOM command not allowed"), {"reload_from": ["/kept"]}, "oom", "sick", []),
    "killed once": (down(service={"state": "failed", "manager": "systemd", "signal": "KILL"}), {}, "down_clean", "sick", ["start"]),
    "start limit": (
        down(service={"state": "failed", "start_limit_hit": True}), {}, "down_crash_loop", "sick", ["reset_failed", "start"]),
    "supervisor gave up": (down(service={"state": "failed", "result": "fatal"}), {}, "down_crash_loop", "sick", ["start"]),
    "supervisor saw it end": (down(service={"state": "failed", "manager": "supervisor"}), {}, "down_clean", "sick", ["start"]),
    "down, its disk is full": (down(log={"lines": {}}, disk={"free_bytes": 0}), {}, "down_clean", "sick", ["fix_cause", "start"]),
    "answers, but is not of the service": (raw(owned=False), {}, "up", "sick", []),
    "answers, and whose it is cannot be seen": (raw(owned=None), {}, "up", "well", []),
    "died while starting, its port was taken then": (
        down(log={"lines": {"port_in_use": "x"}, "ready": False}), {}, "down_crash_loop", "sick", ["start"]),
    "died while starting, its disk is full": (
        down(log={"lines": {"no_space": "x"}, "ready": False}, disk={"free_bytes": 0}),
        {}, "down_crash_loop", "sick", ["fix_cause", "start"]),
    "died while starting, its disk was full": (
        down(log={"lines": {"no_space": "x"}, "ready": False}, disk={"free_bytes": MB}), {}, "down_crash_loop", "sick", ["start"]),
    "died while starting, its directory may still be closed": (
        down(log={"lines": {"permission": "x"}, "ready": False}, disk={"free_bytes": MB, "writable_by_redis": None}),
        {}, "down_crash_loop", "sick", ["fix_cause", "start"]),
    "died while starting, on a file system that is writable again": (
        down(log={"lines": {"read_only": "x"}, "ready": False}, disk={"free_bytes": MB, "read_only": False}),
        {}, "down_crash_loop", "sick", ["start"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_was_seen_means(case: str) -> None:
    look, options, state, health, actions = CASES[case]
    found = judge_redis(look, options)
    assert (found.state, found.health.value, list(found.actions)) == (state, health, actions), found.findings


def test_who_only_stands_on_it_is_told_no_more_than_that_it_is_down() -> None:
    told = [finding.text for finding in judge_redis(down(files=None), {}).findings if finding.state.value == "sick"]
    assert told == ["it is down", "its files were not judged: set data_dir, or config_file"]


def test_a_restart_that_would_lose_the_keys_is_told_of_a_redis_that_is_well() -> None:
    found = judge_redis(raw(info={"aof_enabled": "0"}, start_text=DELETES), {})
    assert [finding.text for finding in found.findings if finding.name == "warning"] == [
        "a restart would lose its keys: its start command deletes its data: rm -f /data/dump.rdb"
    ]
    assert found.facts["start_deletes_data"] is True
    assert judge_redis(raw(), {}).facts["start_deletes_data"] is False


def test_keys_that_were_evicted_are_named_where_fewer_are_there_than_were_known() -> None:
    def warned(evicted: str, **given: t.Any) -> list[str]:
        seen = judge_redis(raw(info={"evicted_keys": evicted}), given)
        assert seen.health.value == "well"
        return [one.text for one in seen.findings if one.name == "warning"]

    assert warned("42", last_known_keys=142) == ["100 keys where 142 were known, and 42 were evicted since its start"]
    assert [warned("0", last_known_keys=142), warned("42", last_known_keys=100), warned("42")] == [[], [], []]


def test_a_redis_that_was_emptied_and_filled_again_is_not_said_to_have_what_it_had() -> None:
    def seen(calls: int, share: float = 0.5, **before: t.Any) -> tuple[str, str, list[str]]:
        look = raw(info={"cmdstat_flushall": "calls=%d,usec=1" % calls})
        last = {"flushed": before} if before else {}
        found = judge_redis(look, {"last_known_keys": 90, "last_known": last, "empty_below_share": share})
        return found.state, found.health.value, list(found.actions)

    sick = ("up_but_empty", "sick", ISOLATE)
    assert seen(2, run_id="a" * 40, count=1) == seen(1, run_id="b" * 40, count=7) == sick
    assert seen(2, run_id="a" * 40, count=2) == seen(2) == ("up", "well", [])
    # Of a cache that may be emptied at any time.
    assert seen(2, share=0, run_id="a" * 40, count=1) == ("up", "well", [])


SAME = {"keys": 100, "lasting": 100}
WRITTEN = {"aof": {"written_at": 5301.0}}
AOF = {"verdict": "valid", "source": "aof", "contents": {"keys": 100}}
NEVER = {"verdict": "empty", "source": "rdb"}
SAVED = {"saved_at_end": True, "saved_at": 5000.0}
OF_THEN = {"dump": {"written_at": 5000.0, "changed_at": 5000.0}}
AHEAD: dict[str, tuple[str, dict[str, t.Any], dict[str, t.Any]]] = {
    "more keys than the dump": ("holds 500 keys where its files have 100", {}, {}),
    "as many keys, and commands after the dump": ("8000 bytes", SAME, {}),
    "as many keys, and only what an idle master sends": ("", dict(SAME, offset=1000 + 30 * 14), {}),
    "as many keys, and a write that is as long as two pings": ("448 bytes", dict(SAME, offset=1000 + 32 * 14), {}),
    "nothing after the dump": ("", dict(SAME, offset=1000), {}),
    "its keys expire": ("8000 bytes", {"lasting": 100}, {}),
    "it is a master by now": ("holds 500", {"role": "master", "down_since": None}, {}),
    "of a later history": ("in one piece after", dict(SAME, histories=["b" * 40]), {}),
    "promoted since, of the same history before": ("8000 bytes", dict(SAME, histories=["b" * 40, "a" * 40]), {}),
    "loading a new state": ("", {"loading": True}, {}),
    "no dump at all": ("have 0", {}, {"files": NEVER}),
    "neither has any key": ("", {"keys": 0, "lasting": 0}, {"files": NEVER}),
    "a dump that was saved at the end": ("", {}, {"log": SAVED, "written": OF_THEN}),
    "an append-only file that nothing proves, followed to the end": ("holds 500", {}, {"files": AOF, "written": WRITTEN}),
    "an append-only file, and a replica that stayed behind": ("", {"down_since": 5000.0}, {"files": AOF, "written": WRITTEN}),
    "an append-only file with the same number of keys": ("", SAME, {"files": AOF, "written": WRITTEN}),
    "keys that were not counted": (
        "8000 bytes",
        {},
        {"files": {**SNAPSHOT, "contents": {**t.cast("dict[str, t.Any]", SNAPSHOT["contents"]), "keys": None}}},
    ),
}


@pytest.mark.parametrize("case", AHEAD)
def test_what_a_replica_has_beyond_the_files_is_seen(case: str) -> None:
    text, seen, before = AHEAD[case]
    found = replica_ahead([{"address": "x:1", "error": "refused"}, following(**seen)], {"files": SNAPSHOT, **before})
    assert text in found if text else found == ""


def test_every_replica_is_asked_however_many_there_are() -> None:
    named = [{"socket": f"/nowhere/{number}.sock"} for number in range(12)]
    found = load_replicas(named, {})
    assert [str(one["address"]).rpartition("/")[2] for one in found] == [f"{number}.sock" for number in range(12)]
    assert {one["error"] for one in found} == {"no_socket"}


def test_what_info_says_of_a_replica_is_read_as_its_data() -> None:
    info = {
        "run_id": "x", "role": "slave", "master_link_status": "down", "master_link_down_since_seconds": "30",
        "db0": "keys=7,expires=2,avg_ttl=0",
        "master_replid": "a" * 40, "master_replid2": "0" * 40, "slave_repl_offset": "77", "master_repl_offset": "99",
    }  # fmt: skip
    assert read_info(info, 1000.0) == {
        "role": "slave", "keys": 7, "lasting": 5, "histories": ["a" * 40], "offset": 77, "down_since": 970.0, "loading": False,
    }  # fmt: skip
    assert read_info({}, 1000.0)["lasting"] is None


def test_every_state_is_in_the_table() -> None:
    # What Sentinels rule has a table of its own.
    assert {case[2] for case in CASES.values()} - {""} == set(STATES) - {"failing_over", "failed_over"}


def test_no_state_that_is_not_sick_allows_more_than_waiting() -> None:
    assert all(actions in ([], WAIT) for _look, _options, _state, health, actions in CASES.values() if health != "sick")


LOSSES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str, int | None]] = {
    "append-only, every second": (raw(), {}, "up_to_1s", None),
    "append-only, always": (raw(config={"appendfsync": "always"}), {}, "none", None),
    "append-only that cannot write": (raw(info={"aof_last_write_status": "err"}), {}, "unknown", None),
    "dump, changes since": (raw(info={"aof_enabled": "0"}, dump_bytes=500), {}, "count", 3),
    "dump, none since": (raw(info={"aof_enabled": "0", "rdb_changes_since_last_save": "0"}, dump_bytes=500), {}, "none", 0),
    "dump deleted since": (raw(info={"aof_enabled": "0", "rdb_changes_since_last_save": "0"}, dump_bytes=0), {}, "count", 100),
    "dump deleted at start": (
        raw(info={"aof_enabled": "0", "rdb_changes_since_last_save": "0"}, dump_bytes=500),
        {"start_command": "rm -f /data/dump.rdb"}, "count", 100),
    "append-only file deleted at start": (raw(start_text="rm -rf /data/*; redis-server"), {}, "count", 100),
    "append-only, dump deleted at start": (raw(start_text="rm -f /data/dump.rdb; redis-server"), {}, "up_to_1s", None),
    "hung, append-only file deleted at start": (hung(start_text="rm -rf /data/*; redis-server"), {}, "unknown", None),
    "not a word from INFO": (raw(info=None), {}, "unknown", None),
    "hung, append-only": (hung(), {}, "up_to_1s", None),
    "hung, append-only always": (hung(settings={"appendonly": "yes", "appendfsync": "always"}), {}, "none", None),
    "hung, append-only by the kernel's leave": (hung(settings={"appendonly": "yes", "appendfsync": "no"}), {}, "unknown", None),
    "hung, append-only was switched off at run time": (hung(aof_open=False), {}, "unknown", None),
    "hung, its open files may not be seen": (hung(aof_open=None), {}, "up_to_1s", None),
    "hung, only dumps": (hung(settings={"appendonly": "no", "save": "3600 1"}), {}, "unknown", None),
    "hung, disk full": (hung(disk={"free_bytes": 0, "writable_by_redis": True}), {}, "unknown", None),
    "hung, directory not writable": (hung(disk={"free_bytes": 9, "writable_by_redis": False}), {}, "unknown", None),
    "hung, could not write before": (hung(log={"lines": {"no_space": "x"}}), {}, "unknown", None),
    "hung, nobody saw its process": (hung(process={}), {}, "unknown", None),
}  # fmt: skip


@pytest.mark.parametrize("case", LOSSES)
def test_the_loss_of_a_kill_is_told(case: str) -> None:
    look, options, loss, count = LOSSES[case]
    saved = judge_redis(look, options).facts["persistence"]
    assert (saved["loss_if_killed"], saved["loss_count"]) == (loss, count)


def test_an_emptied_redis_tells_what_emptied_it() -> None:
    text = judge_redis(raw(info={"db0": "", "cmdstat_flushall": "calls=1"}), {"last_known_keys": 100}).findings[0].text
    assert "0 keys where 100 were known" in text
    assert "flushall" in text


def test_loading_carries_its_progress() -> None:
    look = raw(ping="LOADING x", info={"loading": "1", "loading_loaded_perc": "42.50", "loading_eta_seconds": "34"})
    facts = judge_redis(look, {}).facts
    assert (facts["loaded_perc"], facts["loading_eta_seconds"]) == (42.5, 34)


def test_names_and_values_of_known_keys_stay_out_of_the_result() -> None:
    look = raw(known=[{"key": "tenant:secret", "exists": False, "sha256": ""}])
    assert "tenant:secret" not in str(judge_redis(look, {"known_keys": [{"key": "tenant:secret"}]}).as_dict())


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("WRONGPASS invalid username-password pair", "NOAUTH", "rejected our password or user as wrong (WRONGPASS)"),
        ("", "NOAUTH", "we gave none (NOAUTH)"),
        ("", "NOPERM", "may not do this (NOPERM)"),
        ("", "DENIED", "rejected us (DENIED)"),
    ],
)
def test_a_wrong_password_a_missing_one_and_a_missing_right_are_told_apart(answer: str, code: str, words: str) -> None:
    seen = judge_redis(dict(reply(code + " x"), auth=answer), {}).as_dict()
    assert words in seen["findings"][0]["text"]


ALL_APART = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "2147483647", "save": "", "auto-aof-rewrite-percentage": "0"}
CONFIGURED = {"repl-diskless-sync": "no", "repl-diskless-sync-delay": "0", "save": "3600 1000", "auto-aof-rewrite-percentage": "50"}


@pytest.mark.parametrize(
    ("running", "planned", "wanted"),
    [
        (ALL_APART, CONFIGURED, CONFIGURED),
        # A command of an earlier version left these two behind.
        (dict(CONFIGURED, **{"auto-aof-rewrite-percentage": "0", "repl-diskless-sync": "yes"}), CONFIGURED, CONFIGURED),
        (ALL_APART, {}, dict(ALL_APART, **{"repl-diskless-sync-delay": "5", "auto-aof-rewrite-percentage": "100"})),
        (CONFIGURED, CONFIGURED, None),
        (dict(CONFIGURED, save=""), CONFIGURED, None),
        (ALL_APART, ALL_APART, None),
    ],
)
def test_an_isolation_is_ended_by_all_that_the_configuration_says(
    running: dict[str, str], planned: dict[str, str], wanted: t.Optional[dict[str, str]]
) -> None:
    seen = judge_redis(raw(config=running, planned=dict(PLANNED, settings=planned)), {}).facts["left"]
    if wanted is None:
        assert seen == []
    else:
        assert [one["what"] for one in seen] == ["isolated"]
        assert json.loads(shlex.split(seen[0]["command"])[-1])["settings"] == wanted
