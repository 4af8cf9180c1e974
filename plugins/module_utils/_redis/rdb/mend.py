# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies what is intact in a damaged RDB: repairs a few wrong bytes, or keeps all complete entries and skips the damage.

Bounded in memory and time; the source is only read. Bad data never raises, only a deadline does (``OutOfTime``).
The only checksum covers the whole file: if the framing is intact, nothing shows which value is wrong.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.crc64 import Crc64, wrong_bytes
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import is_rdb
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.salvage import LISTED, Salvaged
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import (
    CHUNK,
    RDB_EOF_BYTES,
    SMALL,
    chunks,
    crc64_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.plan import SHORTEST, Plan, planned
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import (
    EOF,
    HEAD_BYTES,
    SELECTDB,
    SINCE,
    Broken,
    Cursor,
    version_of,
)

NEWEST = 12  # the version of the format that Redis 7.4 writes
# A repair is used only if a match by chance is less likely than one in a million.
_CHANCE_BITS = 20
# The checksum can repair up to so many wrong bytes in a row.
_FEW = 3
# With so many text strings for each one that is not text, the latter are suspect.
_FEW_OTHERS = 10
_NO_TEXT = re.compile(rb"[^ -~]+")
_LAST_ROW = re.compile(rb"[^ -~]*\Z")
_MORE = "there may be more damage: some values may be wrong too, and nothing shows which"
_UNSEEN = "the checksum does not match: some value is wrong, and nothing shows which"


class _Writer:
    """Writes an RDB and its checksum."""

    def __init__(self, out: t.BinaryIO) -> None:
        self.out, self.crc = out, Crc64()

    def write(self, data: bytes) -> None:
        self.out.write(data)
        self.crc.add(data)

    def copy(self, source: t.BinaryIO, start: int, stop: int) -> None:
        for chunk in chunks(source, start, stop):
            self.write(chunk)

    def close(self) -> None:
        self.write(bytes([EOF]))
        self.out.write(self.crc.value().to_bytes(8, "little"))


def salvage_rdb(source: t.BinaryIO, size: int, out: t.BinaryIO, end: float) -> Salvaged:
    """Copy all complete entries of *source* into a sound RDB, before and after each damaged region. Raises OutOfTime.

    If ``kept`` is 0, nothing is written. Two entries of the same key are both dropped: Redis would not load them, and nothing shows
    which one is right.
    """
    difference = _difference(source, size, end)
    plan = planned(source, size, end)
    if plan.kept:
        _write(plan, source, size, out)
    dropped, exact = _dropped(plan)
    exact = exact and (difference == 0 or plan.dropped_bytes > 0)
    doubt = "" if difference == 0 and not plan.dropped_bytes else _doubt(plan, source, size, end, (dropped, exact))
    _share(plan.regions, dropped - plan.faulty)
    details = [_detail(plan, size)] + ([_UNSEEN] if difference and not plan.dropped_bytes else [_MORE] if doubt == "values" else [])
    regions, detail = plan.regions[:LISTED], "; ".join(details)
    return Salvaged(plan.kept, dropped, exact, plan.dropped_bytes, regions, plan.last_write, detail, doubt=doubt)


def repaired_rdb(source: t.BinaryIO, size: int, out: t.BinaryIO, end: float) -> t.Optional[Salvaged]:
    """Copy *source* with one to three wrong bytes in a row repaired; None if that does not explain everything. Raises OutOfTime.

    The checksum shows where they are and what they were, so nothing is lost. A file that was cut cannot be repaired.
    """
    difference = _difference(source, size, end)
    if not difference:
        return None
    cursor = Cursor(source, size, end)
    # The wider the run, the more likely a match by chance.
    width = min(_FEW, (64 - _CHANCE_BITS - size.bit_length()) // 8)
    found = wrong_bytes(difference, size, width, lambda: cursor.tick(0)) if width > 0 else []
    if len(found) != 1:
        return None
    at, wrong = found[0]
    mended = t.cast(t.BinaryIO, _Mended(source, at, wrong))
    plan = planned(mended, size, end)
    if not plan.kept or plan.dropped_bytes or not plan.ended:
        return None
    mended.seek(0)
    for chunk in iter(lambda: mended.read(CHUNK), b""):
        out.write(chunk)
    text = "repaired %d wrong bytes at byte %d: the checksum matches again" % (len(wrong), at)
    return Salvaged(plan.kept, 0, True, 0, [], plan.last_write, text)


def preamble_length(source: t.BinaryIO, size: int, end: float) -> t.Optional[int]:
    """Return the length in bytes of the RDB at the start of an old append-only file, 0 for none, None if it is broken."""
    source.seek(0)
    if not is_rdb(source.read(9)):
        return 0
    cursor = Cursor(source, size, end)
    cursor.go(HEAD_BYTES)
    try:
        for turn, _kind in enumerate(iter(lambda: cursor.item().kind, "eof")):
            cursor.tick(turn)
        cursor.skip(8)
    except Broken:
        return None
    return cursor.at


class _Mended:
    """A file as it would be with some bytes changed."""

    def __init__(self, source: t.BinaryIO, at: int, wrong: bytes) -> None:
        self._source, self._at, self._wrong = source, at, wrong

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def read(self, count: int = -1) -> bytes:
        start = self._source.tell()
        data = self._source.read(count)
        if start >= self._at + len(self._wrong) or start + len(data) <= self._at:
            return data
        changed = bytearray(data)
        for place, wrong in enumerate(self._wrong, self._at - start):
            if 0 <= place < len(changed):
                changed[place] ^= wrong
        return bytes(changed)


def _difference(source: t.BinaryIO, size: int, end: float) -> t.Optional[int]:
    """Return the computed checksum XOR the stored one, None if none is stored."""
    if size < HEAD_BYTES + RDB_EOF_BYTES:
        return None
    source.seek(0)
    computed = crc64_of(source, size - 8, end)
    stored = int.from_bytes(source.read(8), "little")
    return computed ^ stored if stored else None


def _write(plan: Plan, source: t.BinaryIO, size: int, out: t.BinaryIO) -> None:
    writer = _Writer(out)
    writer.write(b"REDIS%04d" % _version(source, plan))
    for start, stop, database, resumed in plan.runs:
        if resumed:
            writer.write(bytes([SELECTDB]) + _number(database))
        for at, length in plan.left_out:
            if start <= at < stop:
                writer.copy(source, start, at)
                start = at + length
        writer.copy(source, start, stop)
    writer.close()


def _version(source: t.BinaryIO, plan: Plan) -> int:
    """Return the format version of the file or, if that is impossible, one that supports everything in it."""
    least = max([6] + [SINCE.get(kind, 0) for kind in plan.types])
    said = version_of(source)
    return said if least <= said <= NEWEST else max(least, 9)


def _number(value: int) -> bytes:
    return bytes([value]) if value < 64 else b"\x80" + value.to_bytes(4, "big")


def _dropped(plan: Plan) -> tuple[int, bool]:
    """Return (how many keys are not in the copy, whether that is certain; else it is the most it can be)."""
    known = sum(plan.sizes.values())
    lost_in = {database: plan.sizes.get(database, 0) - kept for database, kept in plan.kept_in.items()}
    sized = bool(plan.sizes) and all(lost >= 0 for lost in lost_in.values()) and set(plan.kept_in) <= set(plan.sizes)
    lost = known - plan.kept
    if not plan.regions:
        return max(plan.faulty, lost if sized else 0), plan.ended and (not sized or lost == plan.faulty)
    damaged = sum(region["bytes"] for region in plan.regions)
    # If a region hides the start of a database, or a size is damaged, too, the number does not fit entries as long as those that are kept.
    fits = plan.shortest * (lost - plan.faulty) <= damaged <= max(1, lost) * plan.longest
    if sized and (fits or not plan.ended):
        return lost, fits and plan.ended
    return max(lost if sized else 0, plan.faulty + damaged // SHORTEST), False


def _doubt(plan: Plan, source: t.BinaryIO, size: int, end: float, lost: tuple[int, bool]) -> str:
    """Return why more may be lost than counted, "" if the damage is in one place and wide enough to be all of it."""
    places = plan.regions + [{"at": at, "bytes": length} for at, length in plan.left_out]
    if len(places) != 1:
        return "values"
    if not plan.ended:
        return "databases"
    if _scattered(plan, source, size, end):
        return "values"
    if plan.sizes and not all(kept <= plan.sizes.get(database, 0) for database, kept in plan.kept_in.items()):
        # The start of another database is lost.
        return "values"
    start = places[0]["at"]
    sound = max((_strange(source, at, min(stop, start) if at < start else stop) for at, stop, _database, _resumed in plan.runs), default=0)
    # The checksum would have repaired a few wrong bytes, so others are wrong too. Of three entries, at least one is damaged completely.
    is_wide = lost[1] and lost[0] > 2
    return "" if is_wide or _strange(source, start, start + places[0]["bytes"]) > max(sound + 1, _FEW) else "values"


def _scattered(plan: Plan, source: t.BinaryIO, size: int, end: float) -> bool:
    """Return whether a few kept strings are not text while all others are: then they are damaged too."""
    cursor, text, other = Cursor(source, size, end), 0, 0
    for start, stop, _database, _resumed in plan.runs:
        cursor.go(start)
        while cursor.at < stop:
            cursor.tick((text + other) << 6)
            item = cursor.item()
            if item.kind != "key" or item.type or item.expires:
                continue
            after = cursor.at
            cursor.go(item.at + 1)
            is_text = not _NO_TEXT.search(cursor.text() + cursor.text())
            cursor.go(after)
            text, other = text + is_text, other + (not is_text)
    return 0 < other < text / _FEW_OTHERS


def _strange(source: t.BinaryIO, start: int, stop: int) -> int:
    """Return the length of the longest run of bytes from *start* to *stop* that are not text."""
    longest, carried = 0, b""
    for chunk in chunks(source, start, stop):
        rows = _NO_TEXT.findall(carried + chunk)
        longest = max([longest] + [len(row) for row in rows])
        carried = _LAST_ROW.search(chunk).group(0)[-SMALL:]  # type: ignore[union-attr]
    return longest


def _share(regions: t.Sequence[dict[str, int]], dropped: int) -> None:
    """Share the dropped keys among the regions by their bytes."""
    total, seen, shared = sum(region["bytes"] for region in regions), 0, 0
    for region in regions:
        seen += region["bytes"]
        region["dropped"] = max(0, dropped) * seen // total - shared
        shared += region["dropped"]


def _detail(plan: Plan, size: int) -> str:
    if not size:
        return "zero bytes"
    parts = []
    if plan.faulty:
        parts.append("left out %d entries that Redis would refuse: %s" % (plan.faulty, plan.fault))
    if plan.regions:
        parts.append("skipped %s, %d bytes of %d" % (counted(len(plan.regions), "damaged regions"), plan.dropped_bytes, size))
    if not plan.ended:
        parts.append("the end is missing: databases after that point are not counted")
    if plan.unsure:
        parts.append("too many keys to find every duplicate")
    return "; ".join(parts) or "nothing had to be skipped"
