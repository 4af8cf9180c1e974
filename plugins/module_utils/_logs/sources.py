# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where log lines come from: plain, rotated and compressed files, journald, Docker, any program. Gives bytes piece by piece.

``load_parts`` says what is to be read; ``chunks_of`` reads one part. Neither raises for a sick world: what cannot be read has an error.
"""

from __future__ import annotations

import bz2
import contextlib
import glob
import grp
import gzip
import lzma
import os
import re
import selectors
import stat
import subprocess
import time
import typing as t
import zlib

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import Window
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import program

CHUNK = 512 * 1024
_OPENERS: dict[str, t.Callable[..., t.Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_ROTATED = re.compile(
    r"[.-](?:\d{1,4}|\d{8}(?:[-_T.]?\d{1,6})?|\d{4}-\d\d-\d\d(?:[-_T.]?[\d:-]+)?)(?:\.(gz|bz2|xz|zst))?$|\.(gz|bz2|xz|zst)$"
)
# A program that has ended may leave children that hold its output open.
_LAST_WORDS = 2000
_READERS = frozenset(("systemd-journal", "adm", "wheel"))
_OWN_LINES = "this user may see its own lines of the journal alone: set become, or add it to the group systemd-journal"


class Part(t.NamedTuple):
    """One thing to read: bytes *start* to *end* of a plain file, a compressed file, or what a program prints."""

    source: int
    name: str
    how: str  # plain, gz, bz2, xz or program
    path: str = ""
    start: int = 0
    end: int = 0
    argv: tuple[str, ...] = ()
    # Each line begins with Docker's own time.
    stamped: bool = False
    utc: bool = False
    # Its lines have to be held against the window one by one.
    filtered: bool = False

    @property
    def again(self) -> bool:
        """Whether it can be read a second time."""
        return self.how != "program"


class Found(t.NamedTuple):
    """The parts of one source, oldest first, and what has to be known of them."""

    parts: list[Part]
    notes: list[str]
    error: str = ""


class Trouble:
    """What went wrong while a part was read: one sentence, "" for nothing."""

    def __init__(self) -> None:
        self.text = ""


def kind_of(source: t.Mapping[str, t.Any]) -> str:
    """Return which of its options says where the lines are, "" for none or several."""
    given = [name for name in ("path", "unit", "container", "compose", "argv") if source.get(name)]
    return given[0] if len(given) == 1 else ""


def load_parts(number: int, source: t.Mapping[str, t.Any], window: Window) -> Found:
    """Return what has to be read for one *source* and *window*."""
    kind, utc = kind_of(source), bool(source.get("utc"))
    if kind == "path":
        return _files(number, str(source["path"]), source.get("rotated", True) is not False, window, utc)
    argv = {"unit": _journal, "container": _container, "compose": _compose}.get(kind, _given)(source, window)
    if not argv[0]:
        return Found([], [], "%s is not installed here" % argv[1])
    name = one_line(" ".join(argv), 200)
    stamped = kind in ("container", "compose")
    notes = [_OWN_LINES] if kind == "unit" and not sees_journal() else []
    return Found([Part(number, name, "program", argv=tuple(argv), stamped=stamped, utc=utc)], notes)


def sees_journal() -> bool:
    """Return whether this user may read all lines of the journal: journalctl shows others their own lines alone, and no error."""
    if os.geteuid() == 0:
        return True
    names = set()
    for number in {os.getegid(), *os.getgroups()}:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(number).gr_name)
    return bool(names & _READERS)


def _given(source: t.Mapping[str, t.Any], _window: Window) -> list[str]:
    words = [str(word) for word in source["argv"]]
    return [program.find(words[0]) if os.sep not in words[0] else words[0], *words[1:]] if program.find(words[0]) else ["", words[0]]


def _journal(source: t.Mapping[str, t.Any], window: Window) -> list[str]:
    since, until = _bounds(window, "@%d", "--since=", "--until=")
    words = ["--no-pager", "--quiet", "--output=short-iso-precise", "--unit=%s" % source["unit"], *since, *until]
    return [program.find("journalctl"), *words] if program.find("journalctl") else ["", "journalctl"]


def _container(source: t.Mapping[str, t.Any], window: Window) -> list[str]:
    since, until = _bounds(window, "%d", "--since=", "--until=")
    words = ["logs", "--timestamps", *since, *until, "--", str(source["container"])]
    return [program.find("docker"), *words] if program.find("docker") else ["", "docker"]


def _compose(source: t.Mapping[str, t.Any], window: Window) -> list[str]:
    since, until = _bounds(window, "%d", "--since=", "--until=")
    asked = source["compose"]
    words = ["compose", "--project-name", str(asked["project"]), "logs", "--no-color", "--no-log-prefix", "--timestamps", *since, *until]
    return [program.find("docker"), *words, str(asked["service"])] if program.find("docker") else ["", "docker"]


def _bounds(window: Window, form: str, *options: str) -> tuple[list[str], list[str]]:
    """Return the options of both ends of *window*; the end is rounded up, and the lines' own times decide."""
    since = [] if window.since is None else [options[0] + form % int(window.since)]
    return since, [] if window.until is None else [options[1] + form % (int(window.until) + 1)]


def _files(number: int, pattern: str, rotated: bool, window: Window, utc: bool) -> Found:
    paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
    paths = [path for path in paths if not _ROTATED.search(path)] or paths
    if not paths:
        return Found([], [], "no file matches %s" % one_line(pattern, 200))
    parts, notes, errors = [], [], []
    for path in paths:
        older = rotated_of(path) if rotated and window.since is not None else []
        for one in [*older, path]:
            part, error = _part_of(number, one, window, utc)
            parts += [part] if part else []
            errors += [error] if error and one == path else []
            notes += [error] if error and one != path else []
    return Found(parts, notes, "; ".join(errors[:3]))


def rotated_of(path: str) -> list[str]:
    """Return the rotated files of *path*, oldest first: path.1, path.2.gz, path-20261130. One that is being compressed counts once."""
    found = [one for one in glob.glob(glob.escape(path) + "[.-]*") if _ROTATED.match(one[len(path) :])]
    plain = set(found) | {path}
    return sorted((one for one in found if not _is_copy(one, plain)), key=_written)


def _is_copy(path: str, plain: t.Container[str]) -> bool:
    stem, _dot, ending = path.rpartition(".")
    return ending in (*_OPENERS, "zst") and stem in plain


def _written(path: str) -> tuple[float, str]:
    try:
        return os.stat(path).st_mtime, path
    except OSError:
        return 0.0, path


def _part_of(number: int, path: str, window: Window, utc: bool) -> tuple[t.Optional[Part], str]:
    """Return (the part of one file, why it cannot be read): None for a file that was last written before the window."""
    shown = one_line(path, 200)
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return None, "%s is not a regular file" % shown
        os.close(opened(path))
    except (OSError, ValueError) as error:
        return None, "%s cannot be read: %s" % (shown, getattr(error, "strerror", None) or "not a path")
    if window.since is not None and found.st_mtime < window.since - 1:
        return None, ""
    return _by_ending(Part(number, path, "plain", path, 0, found.st_size, utc=utc))


def _by_ending(part: Part) -> tuple[t.Optional[Part], str]:
    ending = part.path.rpartition(".")[2]
    if ending in _OPENERS:
        return part._replace(how=ending), ""
    if ending != "zst":
        return part, ""
    zstd = program.find("zstd")
    if not zstd:
        return None, "%s cannot be read: zstd is not installed here" % one_line(part.path, 200)
    return part._replace(how="zst", argv=(zstd, "--decompress", "--stdout", "--quiet", "--", part.path)), ""


def opened(path: str) -> int:
    """Return a descriptor of a file; raises OSError or ValueError. Opening a pipe would wait for its writer."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def chunks_of(part: Part, trouble: Trouble, end: float) -> t.Iterator[bytes]:
    """Yield the bytes of *part* piece by piece, until *end* (of the monotonic clock); what goes wrong is in *trouble*."""
    how = _plain if part.how == "plain" else _compressed if part.how in _OPENERS else _printed
    try:
        for chunk in how(part, trouble, end):
            yield chunk
            if time.monotonic() > end:
                return
    except (OSError, EOFError, ValueError, KeyError, zlib.error, lzma.LZMAError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        trouble.text = trouble.text or "%s: reading stopped: %s" % (one_line(part.name, 200), one_line(reason, 120))


def _plain(part: Part, trouble: Trouble, _end: float) -> t.Iterator[bytes]:
    descriptor = opened(part.path)
    try:
        at = part.start
        while at < part.end:
            chunk = os.pread(descriptor, min(CHUNK, part.end - at), at)
            if not chunk:
                trouble.text = "%s became shorter while it was read" % one_line(part.name, 200)
                return
            at += len(chunk)
            yield chunk
    finally:
        os.close(descriptor)


def _compressed(part: Part, _trouble: Trouble, _end: float) -> t.Iterator[bytes]:
    descriptor = opened(part.path)
    with open(descriptor, "rb") as raw, _OPENERS[part.how](raw, "rb") as file:
        while True:
            chunk = file.read1(CHUNK) if hasattr(file, "read1") else file.read(CHUNK)
            if not chunk:
                return
            yield chunk


def _printed(part: Part, trouble: Trouble, end: float) -> t.Iterator[bytes]:
    with program.started(part.argv, merged=part.how == "program") as process:
        last = b""
        try:
            for chunk in _output(process, end):
                last = (last + chunk)[-_LAST_WORDS:]
                yield chunk
            ended = process.poll() if time.monotonic() > end else process.wait(5)
            if ended:
                trouble.text = "%s ended with %d: %s" % (one_line(" ".join(part.argv), 120), ended, _last_words(process, last))
        finally:
            if process.poll() is None:
                program.end_all(process)
            for stream in (process.stdout, process.stderr):
                with contextlib.suppress(OSError, AttributeError):
                    t.cast("t.IO[bytes]", stream).close()


def _last_words(process: subprocess.Popen[bytes], printed: bytes) -> str:
    words = process.stderr.read(_LAST_WORDS) if process.stderr else printed
    return one_line(redact((words.decode("utf-8", "replace").strip().splitlines() or ["it printed nothing"])[-1]), 160)


def _output(process: subprocess.Popen[bytes], end: float) -> t.Iterator[bytes]:
    """Yield what a program prints until it ends or the time is over; a silent one is not waited for any longer than that."""
    stream = t.cast("t.IO[bytes]", process.stdout)
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while time.monotonic() < end:
            if ready.select(max(0.0, min(1.0, end - time.monotonic()))):
                chunk = os.read(stream.fileno(), CHUNK)
                if not chunk:
                    return
                yield chunk
