# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the lines with one of many words in parts of logs: several parts at once, in bounded memory, whatever the bytes are.

grep looks for the words where the host has GNU grep, as it is many times faster than Python; without it Python does, with the same result.
grep gets whole lines of at most LONG bytes through a pipe; a longer line is looked at here, piece by piece.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import queue
import subprocess
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.lines import RAW
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.sources import Part, Trouble, chunks_of, opened
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import Window
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.window import Keeper
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import program

LONG = 1 << 20
HEAD = 4096
BATCH = 256 * 1024
_WAITING = 4
_NEAR = 4096
_EXTENDED = frozenset(b".[]\\*^$+?{}|()")
_F_SETPIPE_SZ = 1031


class Long(t.NamedTuple):
    """A line that is longer than LONG: how it begins, how long it is, which it is, whether it has one of the runbook's words anywhere,
    and whether it has any of our words in its first LONG bytes.
    """

    head: bytes
    length: int
    digest: bytes
    raw: bool
    wide: bool


class Batch(t.NamedTuple):
    """Lines that were found, without the last newline, from one part; *number* counts the batches of that part."""

    part: int
    number: int
    lines: bytes
    long: t.Optional[Long] = None


class Reading:
    """What became of one part: bytes read, whether its end was reached or the room of its source was *full*, and what went wrong.

    *without* counts the lines before the first with a time, which cannot be placed in the window.
    """

    def __init__(self) -> None:
        self.bytes, self.whole, self.without, self.full = 0, False, 0, False
        self.trouble = Trouble()


class _LongLine:
    def __init__(self, words: t.Sequence[bytes], begun: bytes) -> None:
        self._hash, self._length, self._head, self._tail, self._raw = hashlib.blake2b(digest_size=16), 0, begun[:HEAD], b"", False
        self._wide = any(word in begun for word in words)
        self.add(begun)

    def add(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._length += len(piece)
        if not self._raw:
            looked = self._tail + piece
            self._raw = any(word in looked for word in RAW)
            self._tail = looked[1 - max(map(len, RAW)) :]

    def done(self) -> Long:
        return Long(self._head, self._length, self._hash.digest(), self._raw, self._wide or self._raw)


def lines_of(chunks: t.Iterable[bytes], words: t.Sequence[bytes]) -> t.Iterator[t.Union[bytes, Long]]:
    """Yield blocks of whole lines; a line that is longer than LONG comes as Long, in which *words* were looked for."""
    rest, long = b"", None
    for chunk in chunks:
        if long:
            at = chunk.find(b"\n")
            long.add(chunk if at < 0 else chunk[:at])
            if at < 0:
                continue
            yield long.done()
            long, chunk = None, chunk[at + 1 :]
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield rest + chunk[:cut] if rest else chunk[:cut]
        rest = chunk[cut:] if cut else rest + chunk
        if len(rest) > LONG:
            rest, long = b"", _LongLine(words, rest)
    if long:
        yield long.done()
    elif rest:
        yield rest


def matched(block: bytes, words: t.Sequence[bytes]) -> list[bytes]:
    """Return the lines of *block* that have one of *words*, as ``grep -a`` does."""
    found: dict[int, int] = {}
    for word in words:
        at = block.find(word)
        while at >= 0:
            start, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at)
            found[start] = end = len(block) if end < 0 else end
            at = block.find(word, end)
    return [block[start : found[start]] for start in sorted(found)]


@functools.lru_cache(maxsize=1)
def gnu_grep() -> str:
    """Return the path of GNU grep, "" where there is none: others are slow, or know no -a."""
    path = program.find("grep")
    if path and "GNU grep" in program.run([path, "--version"], 5.0).out:
        return path
    return ""


def expression(words: t.Sequence[bytes]) -> bytes:
    """Return the extended regular expression that finds any of *words*."""
    return b"|".join(b"".join(b"\\%c" % code if code in _EXTENDED else b"%c" % code for code in word) for word in words)


class Scan:
    """Reads *parts* in *lanes* threads until *end* (of the monotonic clock); iterate for what was found, then look at *readings*.

    *room* bytes of each source are read, not counting plain files.
    """

    def __init__(
        self, parts: t.Sequence[Part], words: t.Sequence[bytes], window: Window, now: float, end: float, *, lanes: int = 1, grep: str = "",
        room: int = 1 << 62,
    ) -> None:  # fmt: skip
        self._parts, self._words, self._window, self._now, self._end, self._grep = parts, words, window, now, end, grep
        self._lanes = max(1, min(lanes, len(parts)))
        self._found: queue.Queue[t.Union[Batch, BaseException, None]] = queue.Queue(_WAITING)
        self._left = iter(enumerate(parts))
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._room = {part.source: room for part in parts}
        self.readings = [Reading() for _part in parts]

    def __iter__(self) -> t.Iterator[Batch]:
        threads = [threading.Thread(target=self._lane, daemon=True) for _number in range(self._lanes)]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                one = self._found.get()
                if isinstance(one, BaseException):
                    raise one
                if one is None:
                    running -= 1
                else:
                    yield one
        finally:
            self._stopped.set()
            self._drain(threads)

    def _drain(self, threads: t.Sequence[threading.Thread]) -> None:
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(queue.Empty):
                self._found.get(timeout=0.05)

    def _lane(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._lock:
                    number, part = next(self._left, (-1, None))
                if part is None:
                    break
                self._read(number, part)
        except BaseException as error:  # noqa: BLE001 - the thread that iterates raises it
            self._found.put(error)
        self._found.put(None)

    def _read(self, number: int, part: Part) -> None:
        reading = self.readings[number]
        blocks = self._blocks(part, reading)
        if not self._grep:
            self._looked_at(number, blocks)
            return
        grep = _Grep(self._grep, self._words, number, self._found)
        try:
            if part.how == "plain" and not part.filtered and _has_short_lines(part):
                grep.run(functools.partial(self._sent, part, reading))
            else:
                grep.run(functools.partial(grep.feed, blocks))
        except (OSError, subprocess.SubprocessError) as error:
            reading.whole = False
            reading.trouble.text = "%s: the search stopped: %s" % (one_line(part.name, 200), one_line(error, 120))

    def _looked_at(self, number: int, blocks: t.Iterable[t.Union[bytes, Long]]) -> None:
        for batch, block in enumerate(blocks):
            if isinstance(block, Long):
                self._found.put(Batch(number, batch, b"", block))
                continue
            lines = matched(block, self._words)
            if lines:
                self._found.put(Batch(number, batch, b"\n".join(lines)))

    def _blocks(self, part: Part, reading: Reading) -> t.Iterator[t.Union[bytes, Long]]:
        keeper = Keeper(self._window, self._now, part.utc) if part.filtered else None
        for block in lines_of(self._counted(part, reading), self._words):
            if self._stopped.is_set():
                return
            if keeper is None:
                yield block
            elif isinstance(block, Long):
                if keeper.keeps(block.head):
                    yield block
            else:
                kept = keeper.kept(block)
                reading.without = keeper.without
                if kept:
                    yield kept

    def _sent(self, part: Part, reading: Reading, into: int) -> None:
        """Give the bytes of *part* to the descriptor *into* without reading them here."""
        descriptor = opened(part.path)
        try:
            at = part.start
            while at < part.end and not self._stopped.is_set() and time.monotonic() <= self._end:
                sent = os.sendfile(into, descriptor, at, min(LONG, part.end - at))
                if not sent:
                    reading.trouble.text = "%s became shorter while it was read" % one_line(part.name, 200)
                    return
                at += sent
                reading.bytes += sent
            reading.whole = at == part.end
        finally:
            os.close(descriptor)

    def _counted(self, part: Part, reading: Reading) -> t.Iterator[bytes]:
        for chunk in chunks_of(part, reading.trouble, self._end):
            reading.bytes += len(chunk)
            self._room[part.source] -= len(chunk)
            yield chunk
            if self._room[part.source] <= 0 and part.how != "plain":
                reading.full = True
                return
        reading.whole = not reading.trouble.text and time.monotonic() <= self._end


class _Grep:
    """One grep: this thread feeds it, another collects what it finds."""

    def __init__(self, path: str, words: t.Sequence[bytes], part: int, found: queue.Queue[t.Any]) -> None:
        self._argv = [path, "-a", "-E", "-e", os.fsdecode(expression(words))]
        self._part, self._found, self._number = part, found, 0
        self._error: t.Optional[BaseException] = None

    def run(self, feed: t.Callable[[int], None]) -> None:
        """Search what *feed* writes to the descriptor that it is given."""
        with program.started(self._argv, env={"LC_ALL": "C", "LANG": "C"}, stdin=subprocess.PIPE) as process:
            into, out = t.cast("t.IO[bytes]", process.stdin), t.cast("t.IO[bytes]", process.stdout)
            _widen(into)
            _widen(out)
            collector = threading.Thread(target=self._collect, args=(out,), daemon=True)
            collector.start()
            try:
                feed(into.fileno())
            finally:
                with contextlib.suppress(OSError):
                    into.close()
                collector.join()
                self._finish(process, out)
        if self._error:
            raise self._error

    def feed(self, blocks: t.Iterable[t.Union[bytes, Long]], descriptor: int) -> None:
        for block in blocks:
            if isinstance(block, Long):
                self._put(b"", block)
                continue
            # The last line of a file may have no end; the next block is another line all the same.
            view = memoryview(block if block.endswith(b"\n") else block + b"\n")
            while view:
                view = view[os.write(descriptor, view) :]

    def _collect(self, out: t.IO[bytes]) -> None:
        rest: list[bytes] = []
        size = 0
        try:
            for chunk in iter(lambda: os.read(out.fileno(), BATCH), b""):
                cut = chunk.rfind(b"\n")
                size += len(chunk)
                if cut < 0 or size < BATCH // 2:
                    rest.append(chunk)
                    continue
                self._put(b"".join([*rest, chunk[:cut]]))
                rest, size = [chunk[cut + 1 :]], len(chunk) - cut - 1
            left = b"".join(rest)
            if left:
                self._put(left[:-1] if left.endswith(b"\n") else left)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that feeds
            self._error = error

    def _put(self, lines: bytes, long: t.Optional[Long] = None) -> None:
        self._number += 1
        self._found.put(Batch(self._part, self._number, lines, long))

    def _finish(self, process: subprocess.Popen[bytes], out: t.IO[bytes]) -> None:
        for stream in (out, process.stderr):
            with contextlib.suppress(OSError, AttributeError):
                t.cast("t.IO[bytes]", stream).close()
        if process.poll() is None:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                program.end_all(process)


def _has_short_lines(part: Part) -> bool:
    """Return whether no line of a plain file can be much longer than LONG: grep would keep all of it in memory."""
    try:
        descriptor = opened(part.path)
        try:
            return all(
                b"\n" in os.pread(descriptor, _NEAR, at) or b"\n" in os.pread(descriptor, LONG, at)
                for at in range(part.start, part.end - LONG, LONG)
            )
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return False


def _widen(stream: t.IO[bytes]) -> None:
    """Let a pipe hold more, so that its two ends take turns less often."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import fcntl

        fcntl.fcntl(stream.fileno(), _F_SETPIPE_SZ, LONG)
