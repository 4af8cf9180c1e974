# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``pgbackrest_info``: what the repository of a stanza holds, and whether its WAL has no gap by our own count. Changes nothing."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import wal as restore_wal
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import pgbackrest
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import left

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    pgbackrest.REPO_SPEC,
    os_user={"type": "str", "default": "postgres"},
    segment_bytes={"type": "int", "default": restore_wal.SEGMENT_BYTES},
    verify={"type": "bool", "default": False},
    timeout={"type": "float", "default": 30.0},
)


def run(params: Params, check: bool) -> Result:
    """Return {changed, state, error, locked, backups, newest, age_seconds, wal, problems, say}."""
    end = time.monotonic() + params["timeout"]
    info = pgbackrest.load_info(params, left(end))
    newest, _state, text = pgbackrest.choose_backup(info["backups"], 0.0)
    wal = _wal(params, newest, end) if newest else {}
    problems = [info["error"]] if info["error"] else [] if newest else [info.get("message") or text]
    problems += ["the archive lacks %s" % ", ".join(wal["missing"])] if wal.get("missing") else []
    problems += [wal["error"]] if wal.get("error") else []
    problems += _verified(params, end) if params["verify"] and newest else []
    age = round(time.time() - newest["stop"], 1) if newest else None
    kept = {key: info.get(key) for key in ("state", "error", "locked", "backups")}
    say = _say(newest, age, wal, problems)
    return dict(kept, changed=False, newest=newest or {}, age_seconds=age, wal=wal, problems=problems, say=say)


def _wal(params: Params, backup: t.Mapping[str, t.Any], end: float) -> dict[str, t.Any]:
    """Return the contiguity of the WAL from the newest backup on, along the newest timeline."""
    listed = pgbackrest.load_archive(params, str(backup["archive_id"]), left(end))
    if listed["error"]:
        return {"error": listed["error"], "whole": None, "missing": []}
    archive = restore_wal.read_archive(listed["files"], params["segment_bytes"])
    timeline = max(restore_wal.timelines(archive), default=1)
    text = pgbackrest.load_history(params, str(backup["archive_id"]), timeline, left(end)) if timeline in archive.histories else ""
    try:
        history = restore_wal.read_history(text, params["segment_bytes"])
        judged = restore_wal.judge_contiguity(archive, str(backup["wal_start"]), timeline, history, params["segment_bytes"])
    except ValueError as error:
        return {"error": str(error), "whole": None, "missing": []}
    return dict(judged._asdict(), error="", timeline=timeline)


def _verified(params: Params, end: float) -> list[str]:
    done = pgbackrest.command(params, ["verify", "--output=text", "--verbose"], left(end))
    return ["verify did not finish in time"] if done.timed_out else pgbackrest.judge_verify(done.rc, done.out + done.err)


def _say(newest: t.Any, age: t.Any, wal: t.Mapping[str, t.Any], problems: t.Sequence[str]) -> list[str]:
    if not newest:
        return ["no backup to restore from: %s" % (problems or ["none"])[0]]
    facts = (newest["label"], age / 3600, counted(wal.get("checked", 0), "segments"))
    return ["the newest backup is %s, %.1f hours old, with %s of WAL" % facts, *problems]
