# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swaps a restored directory with the data of a stopped server, and back: by renames that a journal lists first.

Every rename is done or not done, and its two paths show which; so after a crash a later run can finish or reverse it.
The last one, of the data directory itself, is the switch: before it no server can start on a half-swapped directory. Nothing is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

JOURNAL = "swap.json"
# The configuration is not data: the current files stay.
CONFIGS = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
_RECOVERY = re.compile(r"^\s*(archive_mode|restore_command|recovery_target\w*|recovery_end_command)\s*=.*$", re.M)

Journal = t.Dict[str, t.Any]


class Unfit(Exception):
    """The directories cannot be swapped; ``code`` is one of the catalogue of reasons."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def plan_moves(data_dir: str, side_data: str, tablespaces: t.Mapping[str, t.Mapping[str, str]], mark: str) -> list[dict[str, str]]:
    """Return the moves in order. *tablespaces* by oid: {live, side}, the directories of a tablespace. Pure.

    A move is {what: rename, from, to} or {what: link, path, old, new}.
    """
    before = ".before-" + mark
    moves = [{"what": "rename", "from": data_dir, "to": data_dir + before}]
    moves += [{"what": "rename", "from": one["live"], "to": one["live"] + before} for _oid, one in sorted(tablespaces.items())]
    for oid, one in sorted(tablespaces.items()):
        moves.append({"what": "rename", "from": one["side"], "to": one["live"]})
        moves.append({"what": "link", "path": os.path.join(side_data, "pg_tblspc", oid), "old": one["side"], "new": one["live"]})
    return [*moves, {"what": "rename", "from": side_data, "to": data_dir}]


def load_tablespaces(data: str) -> dict[str, str]:
    """Return the directory of each tablespace of a data directory, by oid. Raises OSError."""
    folder = os.path.join(data, "pg_tblspc")
    names = [name for name in sorted(os.listdir(folder)) if os.path.islink(os.path.join(folder, name))]
    return {name: os.readlink(os.path.join(folder, name)) for name in names}


def links_outside(data: str, inside: str) -> list[str]:
    """Return the symbolic links in *data* that point outside *inside*; a restored directory has none. Raises OSError."""
    found = []
    top = os.path.realpath(inside) + os.sep
    for folder, folders, files in os.walk(data):
        for name in folders + files:
            path = os.path.join(folder, name)
            if os.path.islink(path) and not (os.path.realpath(path) + os.sep).startswith(top):
                found.append(one_line("%s -> %s" % (os.path.relpath(path, data), os.readlink(path)), 160))
    return found


def judge_places(moves: t.Sequence[t.Mapping[str, str]]) -> None:
    """Raise Unfit unless every rename stays on one filesystem."""
    for move in moves:
        if move["what"] != "rename":
            continue
        source, target = move["from"], os.path.dirname(move["to"])
        facts = os.lstat(source) if os.path.lexists(source) else None
        if facts is not None and not stat.S_ISDIR(facts.st_mode):
            raise Unfit("state_not_handled", "%s is not a plain directory" % one_line(source, 100))
        if os.path.ismount(source) or (facts is not None and facts.st_dev != os.stat(target).st_dev):
            text = "%s cannot be renamed into %s: they are on different filesystems, or it is a mount point"
            raise Unfit("state_not_handled", text % (one_line(source, 80), one_line(target, 80)))


def load_journal(folder: str) -> t.Optional[Journal]:
    """Return the journal of the swap begun from *folder*, None without one. Raises Unfit where it cannot be read."""
    try:
        with open(os.path.join(folder, JOURNAL), encoding="utf-8") as file:
            return t.cast(Journal, json.load(file))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        raise Unfit("data_damaged", "the journal of a swap in %s cannot be read" % one_line(folder, 80)) from None


def save_json(path: str, content: t.Mapping[str, t.Any]) -> None:
    """Write a small file so that it is complete at every moment. Raises OSError."""
    part = path + ".part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Sync the entries of a directory to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def progress(moves: t.Sequence[t.Mapping[str, str]]) -> int:
    """Return how many of *moves*, from the first, are done: all up to the last one that is visibly done. Raises OSError."""
    return max((number + 1 for number, move in enumerate(moves) if _is_done(move)), default=0)


def _is_done(move: t.Mapping[str, str]) -> bool:
    if move["what"] == "link":
        return os.path.islink(move["path"]) and os.readlink(move["path"]) == move["new"]
    return os.path.lexists(move["to"]) and not os.path.lexists(move["from"])


def forward(moves: t.Sequence[t.Mapping[str, str]]) -> int:
    """Do the remaining *moves*; return how many. Raises Unfit, OSError."""
    return sum(_do(move) for move in moves[progress(moves) :])


def backward(moves: t.Sequence[t.Mapping[str, str]]) -> int:
    """Reverse the *moves* done so far, the last first; return how many. Raises Unfit, OSError."""
    return sum(_do(_reversed(move)) for move in reversed(moves[: progress(moves)]))


def _reversed(move: t.Mapping[str, str]) -> dict[str, str]:
    if move["what"] == "link":
        return dict(move, old=move["new"], new=move["old"])
    return dict(move, **{"from": move["to"], "to": move["from"]})


def _do(move: t.Mapping[str, str]) -> int:
    return _link(move) if move["what"] == "link" else _rename(move)


def _rename(move: t.Mapping[str, str]) -> int:
    source, target = os.path.lexists(move["from"]), os.path.lexists(move["to"])
    if not source:
        # Already done, or never there: a lost data directory has nothing to move aside.
        return 0
    if target:
        raise Unfit("state_not_handled", "both %s and %s exist" % (one_line(move["from"], 100), one_line(move["to"], 100)))
    os.rename(move["from"], move["to"])
    for folder in sorted({os.path.dirname(move["from"]), os.path.dirname(move["to"])}):
        sync_folder(folder)
    return 1


def _link(move: t.Mapping[str, str]) -> int:
    # Once the directory that holds the link has been renamed, its link has been changed already.
    if not os.path.islink(move["path"]) or os.readlink(move["path"]) == move["new"]:
        return 0
    facts = os.lstat(move["path"])
    part = move["path"] + ".part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    os.symlink(move["new"], part)
    with contextlib.suppress(PermissionError):
        os.lchown(part, facts.st_uid, facts.st_gid)
    os.rename(part, move["path"])
    sync_folder(os.path.dirname(move["path"]))
    return 1


def keep_configuration(data_dir: str, side_data: str) -> list[str]:
    """Copy the configuration of the live directory into the restored one; return the names. Raises OSError."""
    kept = []
    for name in CONFIGS:
        source, target = os.path.join(data_dir, name), os.path.join(side_data, name)
        text = _read(source)
        if text is None and name == "postgresql.auto.conf":
            # The restore wrote settings for the side instance, archive_mode above all.
            text = _RECOVERY.sub("", _read(target) or "")
        if text is not None:
            _write_as(target, text, source if os.path.lexists(source) else target)
            kept.append(name)
    return kept


def _read(path: str) -> t.Optional[str]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8", errors="surrogateescape") as file:
            return file.read(16 << 20)
    except OSError:
        return None


def _write_as(path: str, text: str, like: str) -> None:
    facts = os.lstat(like)
    descriptor = os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, facts.st_uid, facts.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(facts.st_mode))
        os.fsync(descriptor)
    os.rename(path + ".part", path)


def mark_history(side_data: str) -> list[str]:
    """Mark the history of the new timeline so that the server that starts on *side_data* archives it; return the names. Raises OSError."""
    folder = os.path.join(side_data, "pg_wal")
    marked = []
    facts = os.stat(folder)
    for name in sorted(os.listdir(folder)):
        status = os.path.join(folder, "archive_status", name)
        if name.endswith(".history") and not os.path.exists(status + ".done") and not os.path.exists(status + ".ready"):
            descriptor = os.open(status + ".ready", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, facts.st_uid, facts.st_gid)
            os.close(descriptor)
            marked.append(name)
    return marked
