# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a backup to a time into a fresh directory beside the live one, and plans what could be done with it.

A folder of the side directory is known by what was restored, so a later run goes on with what an earlier one made. ``restore.json`` in it
says how far that was; a lock on it says that somebody is at it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import shutil
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import wal as restore_wal
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import Query, SqlError, ask, rows
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import pgbackrest
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import left
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.load import load_wal, told_time
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.swap import (
    JOURNAL,
    Unfit,
    load_journal,
    save_json,
)

MANIFEST, LOCK, DATA, TABLESPACES = "restore.json", "lock", "data", "tablespaces"
Params = t.Mapping[str, t.Any]
Raw = t.Mapping[str, t.Any]


class Refused(Exception):
    """It cannot be restored; ``code`` is one of ``_reasons``."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def folder_of(params: Params, raw: Raw, purpose: str) -> str:
    """Return the folder of this restore: the same for the same backup, target and timeline."""
    backup = raw["backup"]
    what = [params["stanza"], backup["label"], backup["system_identifier"], told_time(raw["target"]), raw["wal"].get("timeline")]
    mark = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    folder, number = os.path.join(str(params["side_dir"]), "%s-%s" % (purpose, mark)), 1
    # What a swap was made from holds its journal, and after a put-back data that were written to.
    while os.path.lexists(os.path.join(folder, JOURNAL)):
        number += 1
        folder = folder.rpartition(mark)[0] + "%s-%d" % (mark, number)
    return folder


@contextlib.contextmanager
def held(folder: str) -> t.Iterator[None]:
    """Hold *folder* for us, making it where it is not there. Raises Refused where somebody else is at it, OSError."""
    os.makedirs(os.path.dirname(folder), mode=0o711, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o711)
    descriptor = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused("state_not_handled", "another process works in %s" % one_line(folder, 80)) from None
    finally:
        os.close(descriptor)


def manifest_of(folder: str) -> dict[str, t.Any]:
    """Return what is written down of a restore, {} where nothing is."""
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def write_manifest(folder: str, content: t.Mapping[str, t.Any]) -> None:
    """Write down how far a restore is. Raises OSError."""
    save_json(os.path.join(folder, MANIFEST), content)


def sweep(side_dir: str, keep_seconds: float, now: float, besides: str = "", purpose: str = "restore") -> list[str]:
    """Remove what earlier runs restored and nobody needs any more; return the names. What a swap has touched stays. Raises OSError."""
    gone = []
    for name in sorted(os.listdir(side_dir)) if os.path.isdir(side_dir) else []:
        folder = os.path.join(side_dir, name)
        if folder == besides or not name.startswith(purpose + "-") or _belongs_to_a_swap(folder):
            continue
        with contextlib.suppress(Refused), held(folder):
            known = manifest_of(folder)
            if known.get("state") in ("restored", "promoted") and now - float(known.get("made_at") or 0) < keep_seconds:
                continue
            shutil.rmtree(folder)
            gone.append(name)
    return gone


def _belongs_to_a_swap(folder: str) -> bool:
    """Return whether a swap out of *folder* may still have to be ended or taken back."""
    try:
        journal = load_journal(folder)
    except Unfit:
        return True
    return bool(journal) and (journal or {}).get("state") != "put_back"


def hand_over_wal(params: Params, raw: Raw, end: float) -> str:
    """Have the live server write a commit and archive all until then; return the segment's name. Raises Refused, SqlError.

    A recovery stops at the first commit after its target; without one it would run out of WAL before it knows that it is there.
    """
    rows(params, "SELECT txid_current()::text AS xid", min(10.0, left(end)), writes=True)
    [switched] = rows(params, "SELECT pg_walfile_name(pg_switch_wal()) AS name", min(10.0, left(end)), writes=True)
    name, limit = str(switched["name"]), min(end, time.monotonic() + float(params["archive_timeout"]))
    where = "archive/%s/%s/%s" % (params["stanza"], raw["backup"]["archive_id"], name[:16])
    while True:
        done = pgbackrest.command(params, ["repo-ls", "--output=json", where], left(end))
        if name in done.out and done.ok:
            return name
        if time.monotonic() > limit:
            why = archiver_trouble(params) or "its archive_command has not ended"
            text = "the live server does not get %s into the archive: %s" % (name, why)
            raise Refused("wal_gap", text)
        time.sleep(0.2)


def archiver_trouble(params: Params) -> str:
    """Return what the archiver says failed last, "" for nothing."""
    query = "SELECT last_failed_wal FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"
    try:
        answer = ask(params, {"archiver": Query(query)}, 5.0)["archiver"]
    except SqlError:
        return ""
    return "" if isinstance(answer, SqlError) or not answer else "it failed with %s" % one_line(answer[0]["last_failed_wal"], 40)


def judge_wal(wal: Raw, target: float) -> None:
    """Raise Refused unless the archive leads to *target* (0: to its end) without a gap. Looked at again after the hand-over."""
    if wal["error"]:
        raise Refused("backup_missing" if wal["whole"] is None else "wal_gap", str(wal["error"]))
    if not wal["whole"] and not (target and wal["last_at"] > target):
        raise Refused("wal_gap", "the archive lacks %s" % ", ".join(wal["missing"]))


def restore_words(params: Params, raw: Raw, folder: str) -> list[str]:
    """Return the words of the restore: always into a fresh directory of its own, never over what is there."""
    begun = restore_wal.parse_segment(str(raw["backup"]["wal_start"]), int(raw["wal"].get("segment_bytes") or restore_wal.SEGMENT_BYTES))[0]
    timeline = "current" if raw["wal"]["timeline"] == begun else str(raw["wal"]["timeline"])
    words = ["restore", "--set=" + str(raw["backup"]["label"]), "--target-timeline=" + timeline, "--archive-mode=off"]
    if raw["target"]:
        words += ["--type=time", "--target=" + told_time(raw["target"]), "--target-action=pause"]
    words += ["--tablespace-map-all=" + os.path.join(folder, TABLESPACES), "--pg1-path=" + os.path.join(folder, DATA)]
    return words


def restore(params: Params, raw: Raw, folder: str, run_id: str, end: float) -> dict[str, t.Any]:
    """Restore into *folder*, over nothing; return its manifest. What an attempt that was cut off left there is removed first.

    Raises Refused, OSError.
    """
    for name in (DATA, TABLESPACES):
        if os.path.lexists(os.path.join(folder, name)):
            shutil.rmtree(os.path.join(folder, name))
    about = {
        "state": "restoring", "stanza": params["stanza"], "label": raw["backup"]["label"], "run_id": run_id, "made_at": time.time(),
        "target": told_time(raw["target"]) if raw["target"] else "", "timeline": raw["wal"]["timeline"],
        "system_identifier": raw["backup"]["system_identifier"],
    }  # fmt: skip
    write_manifest(folder, about)
    for name in (DATA, TABLESPACES):
        os.mkdir(os.path.join(folder, name), 0o700)
        _give(os.path.join(folder, name), str(params["os_user"]))
    begun = time.monotonic()
    problem = pgbackrest.error_of(pgbackrest.command(params, restore_words(params, raw, folder), left(end)))
    if problem:
        raise Refused("no_room" if "No space left" in problem else "data_damaged", "pgBackRest cannot restore: %s" % problem)
    done = dict(about, state="restored", made_at=time.time(), restore_seconds=round(time.monotonic() - begun, 3))
    write_manifest(folder, done)
    return done


def _give(path: str, user: str) -> None:
    if os.geteuid() == 0 and user:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def reload_wal(params: Params, raw: dict[str, t.Any], end: float) -> dict[str, t.Any]:
    """Return *raw* with the WAL as it is in the archive now."""
    return dict(raw, wal=load_wal(params, raw["backup"], raw, end))


def plans_of(raw: Raw, tables: t.Sequence[Raw], params: Params, swappable: str) -> list[dict[str, t.Any]]:
    """Return what could be done with the restored database, each with what it would lose. Pure.

    *swappable* is why the directories cannot be swapped, "" where they can.
    """
    target, names = told_time(raw["target"]), sorted(one["table"] for one in tables)
    binds = {"stanza": params["stanza"], "label": raw["backup"]["label"], "target": target, "tables": names}
    plans = []
    if params["mode"] in ("", "insert_missing") and params["tables"] and all(one["exact"] for one in tables):
        plans.append(_insert_plan(tables, target, binds, float(params["tolerance"])))
    if params["mode"] in ("", "swap") and not swappable:
        plans.append(_swap_plan(raw, tables, target, dict(binds, data_dir=raw["data_dir"]), float(params["tolerance"])))
    return plans


def _insert_plan(tables: t.Sequence[Raw], target: str, binds: Raw, tolerance: float) -> dict[str, t.Any]:
    missing = {str(one["table"]): int(one["missing"]) for one in tables}
    named = ", ".join("%d of %s" % (count, name) for name, count in sorted(missing.items()) if count) or "none"
    text = "put the rows back that were there at %s and are not now (%s); all that live has stays as it is" % (target, named)
    changed = sum(int(one["changed"]) for one in tables)
    text += "; %s that were changed since stay changed" % counted(changed, "rows") if changed else ""
    if sum(missing.values()):
        # No byte tells why a row is gone.
        text += "; those among them that were deleted on purpose since then come back too: leave their tables out"
    return {
        "name": "insert_missing", "text": one_line(text, 600), "loss": {"count": 0, "unit": "rows", "exact": True},
        "binds": binds, "counts": missing, "tolerance": tolerance,
    }  # fmt: skip


def _swap_plan(raw: Raw, tables: t.Sequence[Raw], target: str, binds: Raw, tolerance: float) -> dict[str, t.Any]:
    losses = {str(one["table"]): int(one["extra"]) + int(one["changed"] or 0) for one in tables if one["extra"] is not None}
    lost = sum(losses.values())
    others = [name for name in raw["live"].get("databases") or [] if name not in ("postgres", raw["database"])]
    known, minutes = bool(losses) and not raw["live"]["error"], (raw["now"] - raw["target"]) / 60
    what = ", ".join("%d of %s" % (count, name) for name, count in sorted(losses.items()) if count)
    text = "the whole server goes back to %s (%.1f minutes); rows that were written or changed since are lost: %s" % (
        target, minutes, what or ("none" if known else "not known"),
    )  # fmt: skip
    text += "; so are those of the databases %s" % ", ".join(others) if others else ""
    exact = known and not others and all(one["exact"] for one in tables)
    return {
        "name": "swap", "text": one_line(text, 600), "loss": {"count": lost if known else None, "unit": "rows", "exact": exact},
        "binds": binds, "counts": {"lost": lost} if known else {}, "tolerance": tolerance,
    }  # fmt: skip


def table_lines(tables: t.Sequence[Raw]) -> list[str]:
    """Return the comparison as lines for a person."""
    lines = ["%-36s %9s %9s %9s %9s %9s" % ("table", "restored", "live", "missing", "only live", "changed")]
    for one in tables[:40]:
        words = ["?" if one[key] is None else str(one[key]) for key in ("restored", "live", "missing", "extra", "changed")]
        lines.append("%-36s %9s %9s %9s %9s %9s" % (one_line(one["table"], 36), *words))
        lines += ["  " + one_line(one["note"], 96)] if one["note"] else []
    return lines
