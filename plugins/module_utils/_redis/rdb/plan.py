# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans what to keep of a damaged RDB: runs of complete entries, and the regions and single entries to leave out.

Nothing in an RDB marks the start of an entry, so a place is believed only if several entries or the end of the file follow it.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.maybe import Maybe
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import RDB_EOF_BYTES
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.check import check_string
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.search import BELIEVED, LONG, Ends, Search, next_item
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import HEAD_BYTES, Broken, Cursor, Item

# How many bytes before the place where reading failed the damage is searched for.
_BACK = 256 * 1024
# Bytes of the shortest entry: type, key of one letter, empty value.
SHORTEST = 4
_MOST_REGIONS = 10000
_MOST_SUSPECTS = 100000
_MOST_LEFT_OUT = 100000
_Run = t.Tuple[int, int, int, bool]


class Plan:
    """What to keep of one RDB. ``runs``: (start, stop, database, whether damage precedes it); ``left_out``: (offset, length) in them."""

    def __init__(self) -> None:
        self.runs: list[_Run] = []
        self.left_out: list[tuple[int, int]] = []
        self.regions: list[dict[str, int]] = []
        self.kept = self.faulty = self.kept_bytes = self.dropped_bytes = self.longest = self.shortest = 0
        self.kept_in: t.Counter[int] = collections.Counter()
        self.sizes: dict[int, int] = {}
        self.types: set[int] = set()
        self.last_write: t.Optional[float] = None
        self.fault = ""
        self.ended = self.unsure = False

    def missing(self) -> bool:
        """Return whether more keys are unaccounted for than the regions have room for, by the usual length of an entry."""
        regions = sum(region["bytes"] for region in self.regions)
        room = 2 * len(self.regions) + 5 * regions * self.kept // max(1, 4 * self.kept_bytes)
        return self.ended and sum(self.sizes.values()) - self.kept - self.faulty > room


def planned(source: t.BinaryIO, size: int, end: float) -> Plan:
    """Return the plan for *source*. Raises OutOfTime."""
    planner = _Planner(source, size, end)
    planner.run()
    if planner.plan.missing():
        # A damaged length may have stepped over entries and landed on one.
        planner = _Planner(source, size, end, look_inside=True)
        planner.run()
    planner.leave_out_same_keys()
    return planner.plan


class _Planner:
    def __init__(self, source: t.BinaryIO, size: int, end: float, look_inside: bool = False) -> None:
        self.source, self.size, self.end, self.look_inside = source, size, end, look_inside
        self.plan = Plan()
        self.cursor = Cursor(source, size, end, check_string)
        self.search = Search(source, size, end)
        # Shared: what was read so far decides what may follow a damaged place.
        self.order = self.search.order
        # The last items are not believed until more follow.
        self.recent: t.Deque[tuple[Item, int]] = collections.deque()
        self.database = self.believed_database = self.start_database = 0
        self.start = self.good = HEAD_BYTES
        self.before_run: t.Optional[dict[str, t.Any]] = None
        self.text_only, self.before = True, None  # type: bool, t.Optional[bytes]
        self.seen, self.suspects = Maybe(), set()  # type: Maybe, set[int]

    def run(self) -> None:
        """Read the file from its head to its end."""
        position: t.Optional[int] = min(HEAD_BYTES, self.size)
        turn = 0
        while position is not None and position < self.size:
            self.cursor.go(position)
            try:
                item = self._next()
            except Broken as error:
                position = self._beyond(position, error)
                continue
            turn += 1
            self.cursor.tick(turn << 6)
            if item.kind == "eof":
                self.plan.ended = True
                break
            position = item.at + item.length
            self._read(item)
        self._believe(0)
        self._close(self.size - (RDB_EOF_BYTES if self.plan.ended else 0))

    def _next(self) -> Item:
        item = next_item(self.cursor, self.order)
        if item.kind == "key" and (item.fault or self.look_inside) and item.length > LONG and self.search.hides_entries(item):
            raise Broken("its length is damaged")
        if item.kind == "key":
            # A run of equal bytes reads as the same key again and again.
            if item.value == self.before:
                raise Broken("the same key again")
            self.before = item.value
        return item

    def _read(self, item: Item) -> None:
        if item.kind == "select":
            self.database = item.value
        self.recent.append((item, self.database))
        self._believe(BELIEVED)

    def _believe(self, left: int) -> None:
        """Move what was read into the plan, except the last *left* items."""
        plan = self.plan
        while len(self.recent) > left:
            item, database = self.recent.popleft()
            self.good, self.believed_database = item.at + item.length, database
            if item.kind == "key":
                self._keep(item, database)
            elif item.kind == "resize":
                plan.sizes[database] = item.value[0]
            elif item.kind == "aux" and item.value[0] == b"ctime" and item.value[1].isdigit() and len(item.value[1]) < 14:
                plan.last_write = float(item.value[1])

    def _keep(self, item: Item, database: int) -> None:
        plan = self.plan
        plan.types.add(item.type)
        plan.longest = max(plan.longest, item.length)
        plan.shortest = min(plan.shortest or item.length, item.length)
        if item.fault:
            self._leave_out(item.at, item.length, item.fault)
            return
        plan.kept, plan.kept_bytes = plan.kept + 1, plan.kept_bytes + item.length
        plan.kept_in[database] += 1
        self.text_only = self.text_only and _is_text(item.value)
        code = hash((database, item.value))
        if self.seen.add(code):
            if len(self.suspects) < _MOST_SUSPECTS:
                self.suspects.add(code)
            else:
                plan.unsure = True

    def _leave_out(self, at: int, length: int, fault: str) -> None:
        plan = self.plan
        if len(plan.left_out) < _MOST_LEFT_OUT:
            plan.left_out.append((at, length))
        plan.faulty, plan.dropped_bytes, plan.fault = plan.faulty + 1, plan.dropped_bytes + length, plan.fault or fault

    def _beyond(self, failed: int, error: Broken) -> t.Optional[int]:
        """Drop what the damage at or before *failed* makes doubtful; return where entries resume, None for nowhere."""
        if isinstance(error, Ends) and self.before_run is not None:
            self._reject()
        first = self.recent[0][0].at + 1 if self.recent else failed + 1
        last = self.recent[-1][0].at + 1 if self.recent else first
        start = max(first, min(last, failed - _BACK))
        self.before = None
        self.order = self.search.order = self.order.fresh()
        after = self.search.place(start, failed, [item for item, dummy in self.recent])
        doubtful = [item for item, dummy in self.recent if item.at + item.length > after]
        for _item in doubtful:
            self.recent.pop()
        if not doubtful and not (error.cut and after >= self.size):
            self._doubt()
        self._believe(0)
        return self._resume(after if len(self.plan.regions) < _MOST_REGIONS else self.size)

    def _doubt(self) -> None:
        """Drop the last key, whose length may be damaged, and later ones if their keys are not text as all others are."""
        keys = [item for item, dummy in self.recent if item.kind == "key"]
        if self.text_only:
            while keys and not _is_text(keys[-1].value):
                keys.pop()
        last = keys[-1].at if keys else self.good
        while self.recent and self.recent[-1][0].at >= last and self.recent[-1][0].kind == "key":
            self.recent.pop()

    def _resume(self, after: int) -> t.Optional[int]:
        if self.good > self.start:
            self.plan.runs.append((self.start, self.good, self.start_database, self.start > HEAD_BYTES))
        self.start = self.good
        kept = {name: value for name, value in vars(self.plan).items() if isinstance(value, int)}
        copies = {"kept_in": self.plan.kept_in.copy(), "sizes": dict(self.plan.sizes)}
        lists = {name: len(getattr(self.plan, name)) for name in ("runs", "left_out", "regions")}
        self.before_run = {"plan": {**kept, **copies}, "lists": lists, "good": self.good, "database": self.believed_database}
        self._close(after)
        self.start = self.good = after
        self.database = self.start_database = self.believed_database
        return after if after < self.size else None

    def _reject(self) -> None:
        """Forget everything since the last damage: it was an RDB inside a value."""
        before = t.cast(t.Dict[str, t.Any], self.before_run)
        vars(self.plan).update(before["plan"])
        for name, length in before["lists"].items():
            del getattr(self.plan, name)[length:]
        self.recent.clear()
        self.start = self.good = before["good"]
        self.database = self.start_database = self.believed_database = before["database"]
        self.before_run = None

    def _close(self, after: int) -> None:
        """End the run at the last believed entry; from there to *after* is a damaged region."""
        plan = self.plan
        if self.good > self.start:
            plan.runs.append((self.start, self.good, self.start_database, self.start > HEAD_BYTES))
        if after > self.good:
            plan.regions.append({"at": self.good, "bytes": after - self.good, "dropped": 0})
            plan.dropped_bytes += after - self.good

    def leave_out_same_keys(self) -> None:
        """Leave out all entries of a key that appears more than once."""
        places: dict[int, list[tuple[int, int, int]]] = collections.defaultdict(list)
        for item, database in self._entries() if self.suspects else ():
            code = hash((database, item.value))
            if code in self.suspects:
                places[code].append((item.at, item.length, database))
        left_out = set(self.plan.left_out)
        for found in places.values():
            found = [one for one in found if one[:2] not in left_out]
            for at, length, database in found if len(found) > 1 else ():
                self._leave_out(at, length, "a key appears twice")
                self.plan.kept -= 1
                self.plan.kept_in[database] -= 1
        self.plan.left_out.sort()

    def _entries(self) -> t.Iterator[tuple[Item, int]]:
        cursor, turn = Cursor(self.source, self.size, self.end), 0
        for start, stop, database, _resumed in self.plan.runs:
            cursor.go(start)
            while cursor.at < stop:
                turn += 1
                cursor.tick(turn << 6)
                item = cursor.item()
                if item.kind == "select":
                    database = item.value
                elif item.kind == "key":
                    yield item, database


def _is_text(key: bytes) -> bool:
    return bool(key) and key.isascii() and key.decode().isprintable()
