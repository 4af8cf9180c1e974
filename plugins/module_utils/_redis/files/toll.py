# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the keys that differ because of damage in an append-only file: keys that are missing, have another value, or came back.

It follows the sound and the lost commands in order. A lost write is no loss if its key is set again or removed later; it stays one if
later commands build on it. The number is never too small, as long as the lost commands are of kinds that occur elsewhere in the file.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.effects import (
    FRAME,
    KNOWN,
    Effect,
    effect_of,
    most_keys,
    surely_changes,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.maybe import Maybe
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.words import Remains

Key = t.Tuple[bytes, bytes]

# Lost keys followed by name, and damaged places followed by their text; more of them are only counted.
MOST_NAMES = 10_000
MOST_PLACES = 200
# Least bytes of a key in a command if none is known; else the least share of what a key takes elsewhere.
KEY_BYTES, SLACK = 6.0, 0.75
# If more than one in so many writes hits an existing key, a lost key without a name may have been hit too.
RARE = 1000


class _Lost:
    """A lost key whose name is known: whether it is lost for certain, and whether it never existed before."""

    def __init__(self, sure: bool, fresh: bool) -> None:
        self.sure, self.fresh = sure, fresh


class _Place:
    """The unknown commands of one damaged place, their bytes, and the text that can still be read there."""

    def __init__(self, count: int, size: int, text: bytes, keys: bool, since: int, exact: bool = True) -> None:
        self.count, self.size, self.text, self.keys, self.since, self.exact = count, size, text, keys, since, exact


class Toll:
    """What is lost. Give it the sound and lost commands in order, then read ``total``."""

    def __init__(self, many_databases: bool = False) -> None:
        self.many_databases = many_databases
        self._was = Maybe()
        self._names: dict[Key, _Lost] = {}
        self._places: list[_Place] = []
        self._counted = 0
        self._sure, self._unknown, self._astray = True, False, False
        # Set if there was no time to follow all commands: then the total says nothing.
        self.given_up = False
        self._writes = self._met = 0
        self._widest, self._bytes = 1, 0.0
        self._strange = False

    def total(self) -> tuple[t.Optional[int], bool]:
        """Return (the number of keys, None if unknown; whether it is exact, else it is the most it can be)."""
        hidden = any(place.count and not place.keys for place in self._places)
        if self._unknown or (hidden and self._strange):
            return None, False
        nameless = sum(self._most_in(place) for place in self._places)
        count = len(self._names) + nameless + self._counted
        if not count:
            return 0, True
        # Exact is only what was read: each lost command, and each lost key.
        read = self._sure and not hidden and not self._may_be_written_again(nameless)
        return count, read and all(lost.sure for lost in self._names.values())

    def _may_be_written_again(self, nameless: int) -> bool:
        """Return whether a key that is lost without its name may have been written later, or by another lost command."""
        again = nameless > 1 or any(place.count and place.since < self._writes for place in self._places)
        return again and self._met * RARE > self._writes

    def _most_in(self, place: _Place) -> int:
        """Return how many keys a place may have affected: hidden commands hardly take fewer bytes per key than all others here."""
        if place.keys or not place.count:
            return place.count
        least = place.count if place.exact else 1
        return min(place.count * self._widest, max(least, int(place.size / (self._bytes * SLACK or KEY_BYTES))))

    @property
    def _any(self) -> bool:
        return bool(self._names or self._counted or self._unknown or any(place.count for place in self._places))

    def there(self, db: bytes, key: bytes) -> None:
        """Add a key that exists before any command."""
        self._was.add((db, key))

    def sound(self, words: t.Sequence[bytes], db: bytes) -> None:
        """Add a command that is kept."""
        effect = self._noted(words)
        if effect.emptied:
            self._emptied(effect.emptied, db)
        elif self._astray:
            # Each key is missing in one database and surplus in another.
            self._nameless(2 * len(set(effect.touched)))
            self._unknown = self._unknown or effect.wild
        elif effect.wild:
            self._unknown = self._unknown or self._any
        else:
            self._kept(effect, db)

    def _noted(self, words: t.Sequence[bytes]) -> Effect:
        effect = effect_of(words)
        self._widest = max(self._widest, len(effect.touched))
        if effect.touched:
            took = (4 + sum(len(word) + len(str(len(word))) + 5 for word in words)) / len(effect.touched)
            self._bytes = min(self._bytes or took, took)
        self._strange = self._strange or effect.wild or bool(effect.emptied)
        return effect

    def _emptied(self, what: str, db: bytes) -> None:
        if what == "all" or (what == "db" and not self.many_databases):
            # Whatever was wrong is gone.
            self._names.clear()
            self._places.clear()
            self._counted, self._sure, self._unknown = 0, True, False
            return
        for name in [name for name in self._names if name[0] == db]:
            del self._names[name]
        self._sure = self._sure and not self._any and not self._astray

    def _kept(self, effect: Effect, db: bytes) -> None:
        mixed = any((db, key) in self._names for key in effect.sources)
        for key in effect.removes:
            self._removed((db, key), len(effect.removes) == 1)
        for key in effect.sets:
            self._write((db, key))
            self._names.pop((db, key), None)
        for key in [*effect.changes, *effect.stores]:
            self._built((db, key), mixed, key in effect.stores)
        if effect.sources and (self._places or self._counted):
            self._nameless(len(effect.changes) + len(effect.stores))

    def _built(self, name: Key, mixed: bool, whole: bool) -> None:
        self._write(name)
        if name in self._names:
            self._names[name].sure = False
        if mixed:
            self._name(name, False)
        elif whole:
            self._names.pop(name, None)

    def _write(self, name: Key) -> None:
        self._writes += 1
        self._met += self._was.add(name)

    def _removed(self, name: Key, alone: bool) -> None:
        if name in self._names:
            del self._names[name]
        elif not self._was.has(name) and (self._places or self._counted):
            # Redis writes a removal only if the key existed: a lost command must have created it.
            self._recognised(name[1], alone)

    def _recognised(self, key: bytes, alone: bool) -> None:
        """Take *key* off the nameless ones if a damaged place still contains its name somewhere."""
        for place in self._places:
            if alone and place.count and key in place.text:
                place.count -= 1
                return
        self._sure = False

    def lost(self, words: t.Sequence[bytes], db: bytes) -> None:
        """Add a lost command whose words are all known."""
        effect = effect_of(words)
        if effect.emptied or effect.wild:
            self._unknown = True
            return
        if not effect.touched:
            self._nameless(1)
        mixed = bool(effect.sources) and self._any
        for key in effect.removes:
            self._lost_removal((db, key))
        for key in [*effect.sets, *effect.changes, *effect.stores]:
            self._lost_write((db, key), surely_changes(words[0].lower()) and not mixed)

    def _lost_write(self, name: Key, sure: bool) -> None:
        fresh = not self._was.has(name)
        self._name(name, (fresh or sure) and name not in self._names, fresh)

    def _lost_removal(self, name: Key) -> None:
        known = self._names.get(name)
        if known and known.fresh:
            del self._names[name]
        elif known or self._was.has(name):
            self._name(name, True)
        else:
            # Another lost command had created the key: nothing of it is missing.
            self._sure = self._sure and not (self._places or self._counted)

    def _name(self, name: Key, sure: bool, fresh: bool = False) -> None:
        if name in self._names or len(self._names) < MOST_NAMES:
            known = self._names.get(name)
            self._names[name] = _Lost(sure, fresh and (known.fresh if known else True))
        else:
            self._nameless(1)

    def _nameless(self, count: int) -> None:
        if count:
            self._counted, self._sure = self._counted + count, False

    def keys(self, count: int, exact: bool, text: bytes) -> None:
        """Add *count* lost keys of which only *text* is known."""
        self._sure = self._sure and exact
        self._place(_Place(count, 0, text, True, self._writes))

    def _place(self, place: _Place) -> None:
        if len(self._places) >= MOST_PLACES:
            place.text = b""
            same = next((one for one in self._places if one.keys == place.keys and not one.text), None)
            if same:
                same.count, same.size, same.exact = same.count + place.count, same.size + place.size, same.exact and place.exact
                return
        self._places.append(place)

    def region(self, left: Remains, count: int, exact: bool, size: int, db: bytes) -> bool:
        """Add a damaged region of *size* bytes that held *count* commands, or at most so many if not *exact*.

        Return whether each of these commands is known.
        """
        if left.first and left.first[0].lower() in KNOWN:
            most = 1 if left.first[0].lower() in FRAME else most_keys(left.first[0].lower(), left.announced)
            self._unknown, self._widest = self._unknown or most is None, max(self._widest, most or 1)
        if exact and count == left.announced == 1 and not self._strange:
            # The only commands of one word are MULTI, EXEC and those that empty databases.
            return True
        known = self._known(left, count, exact)
        for words in known:
            self.lost(words, db)
        self._sure = self._sure and exact
        if count > len(known):
            self._place(_Place(count - len(known), size, left.text, False, self._writes, exact))
        return exact and count == len(known)

    def astray(self, is_so: bool) -> None:
        """Set whether commands from here on may have run in another database than they were written for."""
        self._astray = is_so

    def _known(self, left: Remains, count: int, exact: bool) -> list[list[bytes]]:
        """Return the words of the lost commands whose keys are known."""
        if not count or (left.first and left.first[0].lower() in FRAME):
            return []
        words = self._only(left) if exact and count == 1 else self._begun(left)
        return [words] if words else []

    def _only(self, left: Remains) -> list[bytes]:
        """Return the words of the one command of a region, of which some may be hidden, but not its name or a key."""
        hidden = left.announced - len(left.first) - len(left.last)
        if not left.first or hidden < 0 or left.first[0].lower() not in KNOWN:
            return []
        words = [*left.first, *[b""] * hidden, *left.last]
        where = range(len(left.first), len(left.first) + hidden)
        return words if not any(place in where for place in _places_of_keys(words)) else []

    def _begun(self, left: Remains) -> list[bytes]:
        """Return the words of a command whose first words are left."""
        if len(left.first) < 2 or left.first[0].lower() not in KNOWN:
            return []
        words = [*left.first, *[b""] * (left.announced - len(left.first))]
        return words if all(place < len(left.first) for place in _places_of_keys(words)) else []


def _places_of_keys(words: t.Sequence[bytes]) -> list[int]:
    """Return the positions of the keys that a command touches."""
    marked = [words[0], *[word if word.isdigit() and index == 2 else b"\0%d" % index for index, word in enumerate(words[1:], 1)]]
    effect = effect_of(marked)
    if effect.wild or effect.emptied:
        return [len(words)]
    return [index for index, word in enumerate(marked) if word in effect.touched]
