# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a crash may have cost: how a cluster that is down had run, how far its WAL was written, and what that means for its commits.

The ``load_*`` read files and never raise; ``judge_loss`` is pure.
"""

from __future__ import annotations

import os
import re
import struct
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.settings import value_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wal import parse_segment, segment_name
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import boot_time

Raw = t.Mapping[str, t.Any]

COMMITS = "committed transactions"
CLEAN = ("shut down", "shut down in recovery")
OFF = ("off", "false", "no", "0", "f", "n")
KEYS = ("fsync", "synchronous_commit")
PAGE, SHORT, LONG = 8192, 24, 40
# Of a record: its head, and where the address of the record before it is.
RECORD, BEFORE = 24, 8
IS_REST, IS_LONG = 0x0001, 0x0002
WALK_SECONDS = 2.0


def load_end(data_dir: str, effective: Raw, control: Raw, wal: Raw) -> t.Dict[str, t.Any]:
    """Return {clean, written_to, reached, config_changed, config_unsure, begun_anew, copied, lacks, torn, fsync, synchronous_commit} of a
    cluster that is down.

    ``written_to``: a position that its WAL reached for certain; ``reached``: one that it did not pass; ``config_changed``: whether its
    configuration was changed since it ended, so that the two settings are not those it ran with; ``begun_anew``: whether somebody made a
    new WAL for it while it was down; ``copied``: whether it is a base backup; ``lacks``: a file that is missing from its WAL; ``torn``:
    whether the host went down while pages were not protected against that.
    """
    folder = str(wal.get("folder") or "")
    written = [_time_of(os.path.join(folder, name), "st_mtime") for name in _names(folder)]
    written += [_time_of(os.path.join(data_dir, name), "st_mtime") for name in ("global/pg_control", "postmaster.pid")]
    clean = control.get("state") in CLEAN
    timeline, size = int(control.get("timeline") or 0), int(control.get("segment_bytes") or 0)
    written_to = load_written_to(folder, timeline, size)
    return {
        "clean": clean,
        "written_to": written_to,
        # A shutdown ends with a checkpoint, after all that was written.
        "reached": position_of(control.get("redo_lsn")) if clean else written_to + PAGE if written_to else None,
        "config_changed": any(_time_of(file, "st_ctime") > max(written) for file in effective["files"]),
        "begun_anew": is_begun_anew(folder, control, size),
        "copied": os.path.exists(os.path.join(data_dir, "backup_label")),
        "lacks": load_lacking(folder, timeline, size, written_to),
        "torn": value_of(effective, "full_page_writes").lower() in OFF and boot_time() > max(written),
        **load_ran_with(data_dir, effective),
    }


def load_ran_with(data_dir: str, effective: Raw) -> t.Dict[str, t.Any]:
    """Return {fsync, synchronous_commit} as configured, and ``config_unsure``: when a file with them changed after the last start, 0.0 for
    none: whether the server had loaded it is then not known.
    """
    # Each start writes this file.
    started = _time_of(os.path.join(data_dir, "postmaster.opts"), "st_mtime")
    changed = max([_time_of(file, "st_ctime") for file in effective["files"]], default=0.0)
    unsure = changed if changed > started > 0 else 0.0
    return {"config_unsure": unsure, **{key: value_of(effective, key) or "on" for key in KEYS}}


def is_begun_anew(folder: str, control: Raw, size: int) -> bool:
    """Return whether the last checkpoint is the first record of a new WAL: a record without one before it."""
    position = position_of(control.get("redo_lsn"))
    # The WAL of a new cluster begins in its first segment.
    if not position or not size or position % size != LONG or position // size <= 1:
        return False
    try:
        with open(os.path.join(folder, str(control.get("redo_file") or "")), "rb") as file:
            file.seek(LONG)
            head = file.read(RECORD)
    except OSError:
        return False
    return len(head) == RECORD and struct.unpack_from("=Q", head, BEFORE)[0] == 0


def load_lacking(folder: str, timeline: int, size: int, written_to: int) -> str:
    """Return the segment after the last written one, where it is missing although a server has made it: it makes them in order.

    It made it where later ones lie there, and where records go on behind the last page of the one before.
    """
    numbers = {number for number, _name in _segments(folder, timeline, size)} if written_to else set()
    wanted = written_to // size + 1 if numbers else 0
    if not numbers or wanted in numbers:
        return ""
    name = segment_name(timeline, wanted - 1, size)
    goes_on = written_to % size == size - PAGE and _is_filled(os.path.join(folder, name), written_to % size)
    return segment_name(timeline, wanted, size) if goes_on or max(numbers) > wanted else ""


def _is_filled(path: str, begin: int) -> bool:
    """Return whether a page is filled up to its end; after a switch to the next segment the rest is empty."""
    try:
        with open(path, "rb") as file:
            file.seek(begin + PAGE - LONG)
            return any(file.read(LONG))
    except OSError:
        return False


def load_written_to(folder: str, timeline: int, size: int) -> int:
    """Return the address of the last page of WAL on which a record ends or begins, 0 where none can be seen. Replay has to reach it.

    Recycled segments hold pages with older addresses. A record that the crash cut off at the very end does not count.
    """
    for number, name in sorted(_segments(folder, timeline, size), reverse=True):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                found = _last_page(file, number * size, size // PAGE)
        except OSError:
            return 0
        if found:
            return found
    return 0


def _last_page(file: t.BinaryIO, begin: int, pages: int) -> int:
    """Return the address of the last such page of a segment that begins at *begin*, 0 for none."""

    def is_own(page: int, judge: t.Callable[[bytes, int], bool]) -> bool:
        file.seek(page * PAGE)
        return judge(file.read(SHORT), begin + page * PAGE)

    if not any(is_own(page, _is_of) for page in range(4)):
        return 0
    return next((begin + page * PAGE for page in range(pages - 1, -1, -1) if is_own(page, _ends_here)), 0)


def _segments(folder: str, timeline: int, size: int) -> t.Iterator[t.Tuple[int, str]]:
    for name in _names(folder) if size else []:
        if re.match(r"[0-9A-F]{24}\Z", name):
            line, number = parse_segment(name, size)
            if line == timeline:
                yield number, name


def _is_of(head: bytes, address: int) -> bool:
    """Return whether a page is the one written for *address*."""
    return len(head) == SHORT and bool(address) and struct.unpack_from("=Q", head, 8)[0] == address


def _ends_here(head: bytes, address: int) -> bool:
    """Return whether that page is more than the middle of one record."""
    if not _is_of(head, address):
        return False
    _magic, info, _line, _own, rest = struct.unpack_from("=HHIQI", head)
    return not (info & IS_REST and rest > PAGE - (LONG if info & IS_LONG else SHORT))


def load_unlogged(data_dir: str) -> t.Optional[int]:
    """Return how many relations of all databases a crash empties: each has a file of its own for that. None where they cannot be seen."""
    found, end = 0, time.monotonic() + WALK_SECONDS
    spaces = os.path.join(data_dir, "pg_tblspc")
    roots = [os.path.join(data_dir, "base"), *(os.path.join(spaces, name) for name in _names(spaces))]
    wrong: t.List[OSError] = []
    for root in roots:
        for _folder, _folders, files in os.walk(root, onerror=wrong.append):
            found += sum(1 for name in files if name.endswith("_init"))
            if time.monotonic() > end:
                return None
    return None if wrong else found


def _names(folder: str) -> t.List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _time_of(path: str, name: str) -> float:
    try:
        return float(getattr(os.stat(path), name))
    except OSError:
        return 0.0


def position_of(lsn: t.Any) -> t.Optional[int]:
    """Return an LSN such as 0/15D2A08 as a number, None for anything else."""
    found = re.match(r"([0-9A-F]+)/([0-9A-F]+)\Z", str(lsn or ""))
    return (int(found.group(1), 16) << 32) + int(found.group(2), 16) if found else None


def judge_loss(durable: Raw, ended: Raw, known: Raw) -> t.Dict[str, t.Any]:
    """Return what a server that was started again lost; {} where it does not say how it commits.

    *durable*: what it says now; *ended*: ``load_end`` of the cluster before the start, or what the running server said; {} for unknown;
    *known*: what the last proven look remembered, {} for none.
    """
    if any(durable.get(key) is None for key in KEYS):
        return {}
    doubts = [*_older(durable, ended, known), *_not_its_own(ended), *_settings(durable, ended, known), *_cut_off(durable, ended)]
    if not ended.get("clean"):
        doubts += _emptied(durable)
    if doubts and durable.get("in_recovery"):
        # Only one that streams is well.
        text = "%s; it is a standby, so its primary has what it may lack" % "; ".join(dict.fromkeys(doubts))
        return {"unit": COMMITS, "text": text, "suspected": False, "witness": "it is a standby and receives from its primary"}
    if doubts:
        return {"unit": COMMITS, "text": "%s, so what was lost when it went down is unknown" % "; ".join(dict.fromkeys(doubts))}
    how = "it had been shut down" if ended.get("clean") else "PostgreSQL has replayed its write-ahead log to its end"
    text = "fsync and synchronous_commit are on as configured and %s, so what was committed is there" % how
    if _is_unsure(ended, known):
        unsure = "a file of its configuration was touched after its start; whether it ran with fsync and synchronous_commit on is not known"
        return {"unit": COMMITS, "text": unsure, "suspected": False, "witness": "both are on now, and %s" % how}
    return {"count": 0, "exact": True, "unit": COMMITS, "witness": text}


def _older(durable: Raw, ended: Raw, known: Raw) -> t.List[str]:
    """An older copy of the data directory has the same identity, but had not come as far; WAL since its start does not count."""
    before, now = position_of(known.get("lsn")), ended.get("reached") or position_of(durable.get("lsn"))
    same = known.get("system_identifier") == durable.get("system_identifier") and known.get("timeline") == durable.get("timeline")
    if now is None or before is None or not same or now >= before:
        return []
    return ["its data are older than at the last proven look (its WAL had come to %s, and now ends before that)" % known["lsn"]]


def _not_its_own(ended: Raw) -> t.List[str]:
    """What lay there before the start was not, or not all, what the server had left."""
    found = ["somebody made a new write-ahead log while it was down"] if ended.get("begun_anew") else []
    found += ["it is a base backup (backup_label), which holds nothing newer than its own end"] if ended.get("copied") else []
    found += ["a file of its write-ahead log is missing (%s)" % ended["lacks"]] if ended.get("lacks") and not ended.get("clean") else []
    torn = "the host went down while full_page_writes was off, so half-written pages may have stayed"
    return found + ([torn] if ended.get("torn") and not ended.get("clean") else [])


def _is_unsure(ended: Raw, known: Raw) -> bool:
    """Return whether nothing says what the server ran with: its files changed after its start, and after what it last said itself."""
    unsure = float(ended.get("config_unsure") or 0)
    return bool(unsure) and not ended.get("clean") and unsure > float(known.get("config_loaded_at") or 0)


def _settings(durable: Raw, ended: Raw, known: Raw) -> t.List[str]:
    """A clean shutdown writes everything out, but without fsync not to the disk."""
    keys = KEYS[:1] if ended.get("clean") else KEYS
    before = known.get("durable") or {}
    found = ["%s is off" % key for key in keys if str(durable[key]).lower() in OFF]
    found += ["%s was off" % key for key in keys if str(ended.get(key)).lower() in OFF or str(before.get(key)).lower() in OFF]
    if ended.get("clean"):
        return found
    who = durable.get("off_for") or before.get("off_for")
    found += ["synchronous_commit is off for %s" % ", ".join(who)] if who else []
    return found + (["its configuration was changed after it had ended"] if ended.get("config_changed") else [])


def _cut_off(durable: Raw, ended: Raw) -> t.List[str]:
    replayed = position_of(durable.get("redo_lsn"))
    if ended.get("clean") or not ended.get("written_to") or replayed is None or replayed >= ended["written_to"]:
        return []
    reached = "%X/%X" % (ended["written_to"] >> 32, ended["written_to"] & 0xFFFFFFFF)
    return ["the replay ended at %s although its WAL went on to %s (is a page of it damaged?)" % (durable["redo_lsn"], reached)]


def _emptied(durable: Raw) -> t.List[str]:
    tables, files = durable.get("unlogged_tables"), durable.get("unlogged_files")
    if files is None:
        return ["whether there are unlogged tables, which a crash empties, cannot be seen in every database"]
    here = " (%s here)" % tables if tables else ""
    return ["a crash empties its unlogged tables" + here] if files or tables else []
