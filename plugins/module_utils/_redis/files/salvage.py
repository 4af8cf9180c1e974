# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies what is intact in a damaged append-only file: cut it, skip the damage, leave out a flush, rebuild the manifest.

Bounded in memory and time; the source is only read. Bad data never raises, only a deadline does (``OutOfTime``).
An append-only file has no checksum: a damaged byte inside a value keeps the framing intact and stays unseen here.
"""

from __future__ import annotations

import collections
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.effects import FRAME
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import Refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.resync import (
    SELECT_BYTES,
    Command,
    commands_in,
    ends_a_value,
    next_command,
    sound_commands,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime, chunks
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.toll import Toll
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.words import remains_of, worded

# Commands before and after a region whose lengths bound the number of commands in it.
BEFORE, AFTER = 64, 16
# No command is longer.
MOST_BYTES = 1 << 40
# Share of the remaining time for following the loss key by key.
TOLL_SHARE = 0.4
# Regions and flushes that are listed; all regions are counted.
LISTED = 100
_PART = re.compile(r"\.([1-9]\d{0,17})\.(base|incr)\.(rdb|aof)")


class Salvaged(t.NamedTuple):
    """What was copied from a file. Offsets and sizes are bytes, ``last_write`` seconds since 1970.

    Counts are the writes of an append-only file (without SELECT, MULTI and EXEC) or the keys of an RDB. If ``exact`` is false,
    ``dropped`` is the most it can be. No count includes what an earlier cut had already removed.
    """

    kept: int
    dropped: int
    exact: bool
    dropped_bytes: int
    regions: t.List[t.Dict[str, int]]
    last_write: t.Optional[float]
    detail: str
    # "keys" if the writes were followed to the keys that they changed.
    unit: str = ""
    # Why the number is no limit: "values" may be wrong unnoticed, "databases" may have followed the end, lost commands may have had any
    # "effects".
    doubt: str = ""


class _Piece:
    """A run of complete commands. It begins and ends outside of transactions; a torn one at either end belongs to the damage."""

    def __init__(self, begin: int, resumed: bool, database: bytes) -> None:
        self.begin = self.good = self.stop = begin
        self.database = self.database_begin = self.database_good = self.database_torn = database
        self.last_write: t.Optional[float] = None
        self.kept = self.pending = self.torn = 0
        # After damage, an EXEC may follow whose MULTI is lost.
        self.resumed, self.opened = resumed, False
        self.first: list[int] = []
        self.last: list[int] = []
        self.flushes: t.Deque[tuple[int, int]] = collections.deque(maxlen=LISTED)

    def add(self, one: Command) -> None:
        """Add one command: it counts as soon as no transaction is open."""
        at, length, name, note = one
        self.stop = at + length
        if name == b"exec" and self.resumed and not self.opened:
            self._tear()
        self.opened = name == b"multi" or (self.opened and name != b"exec")
        self.resumed = self.resumed and name not in (b"multi", b"exec")
        if name == b"#":
            self.last_write = note if note is not None else self.last_write
        elif name not in FRAME:
            self.pending += 1
            self._note(at, length, name)
        if not self.opened:
            self.good, self.database_good = self.stop, self.database
            self.kept, self.pending = self.kept + self.pending, 0

    def _note(self, at: int, length: int, name: bytes) -> None:
        if name[:5] == b"flush":
            self.flushes.append((at, length))
        if len(self.first) < AFTER:
            self.first.append(length)
        self.last.append(length)
        if len(self.last) > 2 * BEFORE:
            del self.last[:BEFORE]

    def _tear(self) -> None:
        self.torn, self.kept = self.kept, 0
        self.begin, self.database_begin = self.stop, self.database


class _Walk:
    """The sound commands of one file in order, copied to *out*, and the damaged regions between them."""

    def __init__(
        self, source: t.BinaryIO, size: int, end: float, out: t.Optional[t.BinaryIO] = None, toll: t.Optional[Toll] = None
    ) -> None:
        self.source, self.size, self.end, self.out, self.toll = source, size, end, out, toll
        self.until = time.monotonic() + (end - time.monotonic()) * TOLL_SHARE
        self.left_out: t.Sequence[tuple[int, int]] = ()
        self.regions: list[dict[str, int]] = []
        self.kept = self.dropped = self.dropped_bytes = self.holes = 0
        self.exact = True
        self.last_write: t.Optional[float] = None
        self.flushes: t.Deque[tuple[int, int]] = collections.deque(maxlen=LISTED)
        # The database now selected in the source and in the copy, and all that were ever selected.
        self.database = self.selected = b"0"
        self.databases: set[bytes] = set()
        self.near: list[int] = []

    def copy(self, start: int, stop: int) -> None:
        """Copy the bytes from *start* to *stop*."""
        if self.out is None:
            return
        for chunk in chunks(self.source, start, stop):
            self.out.write(chunk)

    def run(self, start: int) -> None:
        """Copy all sound commands from *start* to the end of the file. Raises OutOfTime."""
        piece = self.piece(start, False)
        self.take(piece)
        while piece.good < self.size:
            piece = self.beyond(piece)

    def beyond(self, piece: _Piece) -> _Piece:
        """Step over the damage after *piece*; copy and return what follows."""
        stop = after = piece.stop
        while True:
            after = next_command(self.source, self.size, after + 1, self.end) if after < self.size else self.size
            follows = self.piece(after, after < self.size)
            # The values of a damaged command may contain commands as text.
            if follows.stop >= self.size or not ends_a_value(self.source, follows.stop):
                break
            after = follows.stop
        self.lose(piece, stop, after, follows)
        self.take(follows)
        return follows

    def piece(self, start: int, resumed: bool) -> _Piece:
        """Return the run of sound commands from *start*."""
        piece = _Piece(start, resumed, self.database)
        for one in sound_commands(self.source, self.size, self.end, start):
            if one[2] == b"select":
                piece.database = self._selected_by(one)
                self.databases.add(piece.database)
            piece.add(one)
        return piece

    def _selected_by(self, one: Command) -> bytes:
        before = self.source.tell()
        self.source.seek(one[0])
        number = self.source.read(min(one[1], 64))[:-2].rpartition(b"\n")[2]
        self.source.seek(before)
        return number if number.isdigit() else b"0"

    def take(self, piece: _Piece) -> None:
        """Copy *piece* into the database that it was written for."""
        if self.out is not None and piece.good > piece.begin and piece.database_begin != self.selected:
            self.out.write(b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n" % (len(piece.database_begin), piece.database_begin))
        position = piece.begin
        for at, length in self.left_out:
            if piece.begin <= at < piece.good:
                self.copy(position, at)
                position = at + length
        self.copy(position, piece.good)
        if piece.good > piece.begin:
            self.selected = piece.database_good
            self.follow(piece.begin, piece.good, piece.database_begin)
        self.database, self.near = piece.database, piece.last[-BEFORE:]
        self.kept += piece.kept
        self.flushes += [one for one in piece.flushes if piece.begin <= one[0] < piece.good]
        self.last_write = piece.last_write if piece.last_write is not None else self.last_write

    def lose(self, piece: _Piece, stop: int, after: int, follows: _Piece) -> None:
        """Record the region between two pieces as dropped, with the number of its writes."""
        count, exact = 0, True
        self.follow(piece.good, stop, piece.database_good, is_lost=True)
        if after > stop:
            count, exact = commands_in(self.source, stop, after, self.size, self.near + follows.first, self.end)
            self.count(stop, after, count, exact)
        self.follow(after, follows.begin, follows.database_torn, is_lost=True)
        count += piece.pending + follows.torn
        at, size = piece.good, follows.begin - piece.good
        self.dropped, self.dropped_bytes, self.exact = self.dropped + count, self.dropped_bytes + size, self.exact and exact
        self.holes += 1
        if len(self.regions) < LISTED:
            self.regions.append({"at": at, "bytes": size, "dropped": count})

    def follow(self, start: int, stop: int, database: bytes, is_lost: bool = False) -> None:
        """Report the sound commands from *start* to *stop* to the toll, as kept or lost."""
        toll = self.toll
        if toll is None or toll.given_up:
            return
        try:
            for words in worded(self.source, start, stop, self.until):
                name = words[0].lower()
                if name == b"select":
                    database = words[-1]
                    toll.astray(False)
                elif name not in FRAME:
                    (toll.lost if is_lost else toll.sound)(words, database)
        except OutOfTime:
            toll.given_up = True

    def count(self, at: int, until: int, count: int, exact: bool) -> None:
        """Report the damaged region from *at* to *until* to the toll."""
        if self.toll is None:
            return
        left = remains_of(self.source, at, until)
        # A command cut by the end of the file may have had any length.
        size = until - at if until < self.size else MOST_BYTES
        is_known = self.toll.region(left, count, exact, size, self.database) or (exact and count > 1)
        may_select = self.toll.many_databases and not is_known and until - at >= SELECT_BYTES
        if may_select or b"select" in left.text.lower():
            self.toll.astray(True)

    def said(self, detail: str) -> Salvaged:
        """Return the counts with *detail*."""
        if self.holes and len(self.databases) > 1:
            detail += "; a SELECT may be lost: then the commands after the damage belong to another database"
        return Salvaged(self.kept, self.dropped, self.exact, self.dropped_bytes, self.regions, self.last_write, detail)


def cut_aof(source: t.BinaryIO, size: int, out: t.BinaryIO, end: float, start: int = 0, toll: t.Optional[Toll] = None) -> Salvaged:
    """Copy *source* up to its last complete command before any damage, as ``redis-check-aof --fix`` would. Raises OutOfTime.

    *start* is the length in bytes of the RDB at the head of an old single file, which is copied unchanged. A *toll* follows the loss to
    the keys that it affects.
    """
    walk = _Walk(source, size, end, out, toll)
    walk.copy(0, start)
    piece = walk.piece(start, False)
    walk.take(piece)
    good, walk.out = piece.good, None
    if good >= size:
        return walk.said("nothing had to be cut")
    kept, last_write = walk.kept, walk.last_write
    while piece.good < size:
        piece = walk.beyond(piece)
    dropped = walk.dropped + walk.kept - kept
    detail = "cut at byte %d of %d" % (good, size)
    return Salvaged(kept, dropped, walk.exact, size - good, [{"at": good, "bytes": size - good, "dropped": dropped}], last_write, detail)


def salvage_aof(source: t.BinaryIO, size: int, out: t.BinaryIO, end: float, start: int = 0, toll: t.Optional[Toll] = None) -> Salvaged:
    """Copy all sound commands of *source*, before and after each damaged region. Raises OutOfTime.

    A torn transaction is dropped completely. What follows a region goes to the database that was last selected before it.
    *start* is the length in bytes of the RDB at the head of an old single file, which is copied unchanged. A *toll* follows the loss to
    the keys that it affects.
    """
    walk = _Walk(source, size, end, out, toll)
    walk.copy(0, start)
    walk.run(start)
    if not walk.holes:
        return walk.said("nothing had to be skipped")
    return walk.said("skipped %s, %d bytes of %d" % (counted(walk.holes, "damaged regions"), walk.dropped_bytes, size))


def flushes(source: t.BinaryIO, size: int, end: float, start: int = 0) -> list[tuple[int, int]]:
    """Return [(offset, length)] in bytes of the last 100 sound commands that empty a database or all of them. Raises OutOfTime."""
    walk = _Walk(source, size, end)
    walk.run(start)
    return list(walk.flushes)


def without_flush(source: t.BinaryIO, size: int, out: t.BinaryIO, end: float, start: int = 0) -> Salvaged:
    """Copy all sound commands except the last one that empties a database; later writes stay. Raises OutOfTime.

    If no command empties a database, ``kept`` is 0 and nothing is copied.
    """
    found = flushes(source, size, end, start)
    if not found:
        return Salvaged(0, 0, True, 0, [], None, "no command in the file empties a database")
    walk = _Walk(source, size, end, out)
    walk.left_out = found[-1:]
    walk.copy(0, start)
    walk.run(start)
    walk.kept -= 1
    return walk.said("without the command at byte %d that empties a database" % found[-1][0])


def rebuilt_manifest(names: t.Collection[str], aof_name: str) -> str:
    """Return the manifest for the files of an append-only directory. Raises Refused if the parts or their order are uncertain."""
    parts: dict[str, dict[int, str]] = {"base": {}, "incr": {}}
    for name in sorted(names):
        found = _PART.fullmatch(name, len(aof_name)) if name.startswith(aof_name) else None
        if not found or (found.group(2), found.group(3)) == ("incr", "rdb"):
            continue
        kind, number = found.group(2), int(found.group(1))
        if number in parts[kind]:
            raise Refused("damaged", "two files claim to be %s %d" % (kind, number))
        parts[kind][number] = name
    _refuse_doubts(sorted(parts["base"]), sorted(parts["incr"]))
    lines = ["file %s seq %d type b" % (_quoted(name), number) for number, name in parts["base"].items()]
    lines += ["file %s seq %d type i" % (_quoted(parts["incr"][number]), number) for number in sorted(parts["incr"])]
    return "\n".join(lines) + "\n"


def _refuse_doubts(bases: t.Sequence[int], increments: t.Sequence[int]) -> None:
    if not bases:
        raise Refused("missing", "the base is missing: no other file holds its data")
    if len(bases) > 1:
        raise Refused("damaged", "there is more than one base, and only the manifest said which one counts")
    if not increments:
        raise Refused("missing", "there is no incremental file: writes after the base are lost")
    if increments[0] < bases[0]:
        raise Refused("damaged", "an incremental file is older than the base: the base may already include it")
    if list(increments) != list(range(increments[0], increments[-1] + 1)):
        raise Refused("missing", "an incremental file is missing in the sequence")


def _quoted(name: str) -> str:
    """Return *name* as Redis writes it in a manifest. Raises Refused for a name that Redis would not write."""
    if not name.isprintable():
        raise Refused("damaged", "a file has a name that cannot be written in a manifest")
    if not re.search(r"[\s\"'\\]", name):
        return name
    return '"%s"' % name.replace("\\", "\\\\").replace('"', '\\"')
