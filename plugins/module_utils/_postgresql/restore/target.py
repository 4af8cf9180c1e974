# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a backup to a time into a fresh directory beside the live one, and plans what a run could do with it.

The name of a folder in the side directory says what was restored, so a later run continues what an earlier one began. ``restore.json`` in
it records the progress; a lock on it shows that another process works there.
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import is_counted, left
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.load import load_wal, time_text
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
    """The restore is refused; ``code`` is one of the catalogue of reasons."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def folder_of(params: Params, raw: Raw, purpose: str) -> str:
    """Return the folder of this restore: the same for the same backup, target and timeline."""
    backup = raw["backup"]
    what = [params["stanza"], backup["label"], backup["system_identifier"], time_text(raw["target"]), raw["wal"].get("timeline")]
    mark = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    folder, number = os.path.join(str(params["side_dir"]), "%s-%s" % (purpose, mark)), 1
    # The folder of a swap holds its journal, and after a put-back data that were written to.
    while os.path.lexists(os.path.join(folder, JOURNAL)):
        number += 1
        folder = folder.rpartition(mark)[0] + "%s-%d" % (mark, number)
    return folder


@contextlib.contextmanager
def held(folder: str) -> t.Iterator[None]:
    """Lock *folder*, creating it where it is missing. Raises Refused where another process holds it, OSError."""
    os.makedirs(os.path.dirname(folder), mode=0o711, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o711)
    descriptor = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused("state_not_handled", "another process is working in %s" % one_line(folder, 80)) from None
    finally:
        os.close(descriptor)


def manifest_of(folder: str) -> dict[str, t.Any]:
    """Return the manifest of a restore, {} where there is none."""
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def write_manifest(folder: str, content: t.Mapping[str, t.Any]) -> None:
    """Record the progress of a restore. Raises OSError."""
    save_json(os.path.join(folder, MANIFEST), content)


def sweep(side_dir: str, keep_seconds: float, now: float, besides: str = "", purpose: str = "restore") -> list[str]:
    """Remove expired restores of earlier runs; return their names. Whatever a swap touched stays. Raises OSError."""
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
    """Return whether a swap from *folder* may still have to be finished or undone."""
    try:
        journal = load_journal(folder)
    except Unfit:
        return True
    return bool(journal) and (journal or {}).get("state") != "put_back"


def hand_over_wal(params: Params, raw: Raw, end: float) -> str:
    """Have the live server write a commit and archive all WAL up to it; return the segment's name. Raises Refused, SqlError.

    A recovery stops at the first commit after its target; without one it runs out of WAL before it knows that it is there.
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
            why = archiver_trouble(params) or "its archive_command has not finished"
            text = "the live server cannot archive %s: %s" % (name, why)
            raise Refused("wal_gap", text)
        time.sleep(0.2)


def archiver_trouble(params: Params) -> str:
    """Return what the archiver failed at last, "" for nothing."""
    query = "SELECT last_failed_wal FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"
    try:
        answer = ask(params, {"archiver": Query(query)}, 5.0)["archiver"]
    except SqlError:
        return ""
    return "" if isinstance(answer, SqlError) or not answer else "it failed with %s" % one_line(answer[0]["last_failed_wal"], 40)


def judge_wal(wal: Raw, target: float) -> None:
    """Raise Refused unless the archive leads to *target* (0: to its end) without a gap."""
    if wal["error"]:
        raise Refused("backup_missing" if wal["whole"] is None else "wal_gap", str(wal["error"]))
    if not wal["whole"] and not (target and wal["last_at"] > target):
        raise Refused("wal_gap", "the archive lacks %s" % ", ".join(wal["missing"]))


def restore_words(params: Params, raw: Raw, folder: str) -> list[str]:
    """Return the words of the restore command: always into a fresh directory, never over existing data."""
    begun = restore_wal.parse_segment(str(raw["backup"]["wal_start"]), int(raw["wal"].get("segment_bytes") or restore_wal.SEGMENT_BYTES))[0]
    timeline = "current" if raw["wal"]["timeline"] == begun else str(raw["wal"]["timeline"])
    words = ["restore", "--set=" + str(raw["backup"]["label"]), "--target-timeline=" + timeline, "--archive-mode=off"]
    if raw["target"]:
        words += ["--type=time", "--target=" + time_text(raw["target"]), "--target-action=pause"]
    words += ["--tablespace-map-all=" + os.path.join(folder, TABLESPACES), "--pg1-path=" + os.path.join(folder, DATA)]
    return words


def restore(params: Params, raw: Raw, folder: str, run_id: str, end: float) -> dict[str, t.Any]:
    """Restore into *folder*; return its manifest. Remove first what an interrupted attempt left there.

    Raises Refused, OSError.
    """
    for name in (DATA, TABLESPACES):
        if os.path.lexists(os.path.join(folder, name)):
            shutil.rmtree(os.path.join(folder, name))
    about = {
        "state": "restoring", "stanza": params["stanza"], "label": raw["backup"]["label"], "run_id": run_id, "made_at": time.time(),
        "target": time_text(raw["target"]) if raw["target"] else "", "timeline": raw["wal"]["timeline"],
        "system_identifier": raw["backup"]["system_identifier"],
    }  # fmt: skip
    write_manifest(folder, about)
    for name in (DATA, TABLESPACES):
        os.mkdir(os.path.join(folder, name), 0o700)
        _give(os.path.join(folder, name), str(params["os_user"]))
    begun = time.monotonic()
    problem = pgbackrest.error_of(pgbackrest.command(params, restore_words(params, raw, folder), left(end)))
    if problem:
        raise Refused("no_room" if "No space left" in problem else "data_damaged", "pgBackRest failed to restore: %s" % problem)
    done = dict(about, state="restored", made_at=time.time(), restore_seconds=round(time.monotonic() - begun, 3))
    write_manifest(folder, done)
    return done


def _give(path: str, user: str) -> None:
    if os.geteuid() == 0 and user:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def reload_wal(params: Params, raw: dict[str, t.Any], end: float) -> dict[str, t.Any]:
    """Return *raw* with the WAL that the archive has now."""
    return dict(raw, wal=load_wal(params, raw["backup"], raw, end))


def plans_of(raw: Raw, tables: t.Sequence[Raw], params: Params, swappable: str) -> list[dict[str, t.Any]]:
    """Return the plans that the restored database allows, each with its loss: rows go back into named tables, a swap concerns all. Pure.

    *swappable* is why the directories cannot be swapped, "" where they can.
    """
    named = {name if "." in name else "public." + name for name in params["tables"]}
    target, names = time_text(raw["target"]), sorted(one["table"] for one in tables)
    binds = {"stanza": params["stanza"], "label": raw["backup"]["label"], "target": target, "tables": names}
    chosen = [one for one in tables if one["table"] in named]
    plans = []
    if params["mode"] in ("", "insert_missing") and chosen and len(chosen) == len(named) and all(one["exact"] for one in chosen):
        of_named = dict(binds, tables=sorted(one["table"] for one in chosen))
        plans.append(_insert_plan(chosen, target, of_named, float(params["tolerance"])))
    if params["mode"] in ("", "swap") and not swappable:
        plans.append(_swap_plan(raw, tables, target, dict(binds, data_dir=raw["data_dir"]), float(params["tolerance"])))
    return plans


def _insert_plan(tables: t.Sequence[Raw], target: str, binds: Raw, tolerance: float) -> dict[str, t.Any]:
    missing = {str(one["table"]): int(one["missing"]) for one in tables}
    text = "put back the rows that existed at %s and are missing now (%s); existing rows stay as they are" % (
        target,
        _listed(missing, "none"),
    )
    changed = sum(int(one["changed"]) for one in tables)
    text += "; %s changed since then stay changed" % counted(changed, "rows") if changed else ""
    if sum(missing.values()):
        # Nothing shows why a row is gone.
        text += "; rows deleted on purpose since then come back too: leave out their tables"
    return {
        "name": "insert_missing", "text": one_line(text, 600), "loss": {"count": 0, "unit": "rows", "exact": True},
        "binds": binds, "counts": missing, "tolerance": tolerance,
    }  # fmt: skip


def _swap_plan(raw: Raw, tables: t.Sequence[Raw], target: str, binds: Raw, tolerance: float) -> dict[str, t.Any]:
    losses = {str(one["table"]): int(one["extra"]) + int(one["changed"] or 0) for one in tables if one["extra"] is not None}
    known = bool(losses) and not raw["live"]["error"]
    rest = _not_counted(raw, [str(one["table"]) for one in tables if not is_counted(one)])
    text = "the whole server goes back to %s (%.1f minutes); rows written or changed since then are lost: %s" % (
        target, (raw["now"] - raw["target"]) / 60, _listed(losses, "none" if known else "not known"),
    )  # fmt: skip
    # A sum of what could be counted would not be the most that is lost.
    lost = sum(losses.values()) if known and not rest else None
    return {
        "name": "swap", "text": one_line(text + rest, 600), "binds": binds, "tolerance": tolerance,
        "counts": {} if lost is None else {"lost": lost},
        "loss": {"count": lost, "unit": "rows", "exact": lost is not None},
    }  # fmt: skip


def _not_counted(raw: Raw, tables: t.Sequence[str]) -> str:
    """Return what of the server is in no count, "" for nothing: other databases, large objects, *tables* that could not be compared."""
    own = (raw["database"], *([] if raw.get("beside_tables") else ["postgres"]))
    others = [name for name in raw["live"].get("databases") or [] if name not in own]
    objects = int(raw["live"].get("large_objects") or 0)
    text = "; so are those of the databases %s" % ", ".join(others) if others else ""
    text += "; so are changes of the %s, which are not compared" % counted(objects, "large objects") if objects else ""
    return text + ("; what else is lost of %s is not known" % ", ".join(tables[:3]) if tables else "")


def _listed(counts: t.Mapping[str, int], nothing: str) -> str:
    return ", ".join("%d of %s" % (count, name) for name, count in sorted(counts.items()) if count) or nothing


def table_lines(tables: t.Sequence[Raw]) -> list[str]:
    """Return the comparison as lines of a table."""
    lines = ["%-36s %9s %9s %9s %9s %9s" % ("table", "restored", "live", "missing", "only live", "changed")]
    for one in tables[:40]:
        words = ["?" if one[key] is None else str(one[key]) for key in ("restored", "live", "missing", "extra", "changed")]
        lines.append("%-36s %9s %9s %9s %9s %9s" % (one_line(one["table"], 36), *words))
        lines += ["  " + one_line(one["note"], 96)] if one["note"] else []
    return lines
