# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program of the target to its end: as its owner, within a deadline, with a cap on its output.

Nothing is written to a disk, which may be what is full: output comes through pipes, secrets lie in memory.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import typing as t

# Searched after PATH: a non-interactive login often lacks the sbin directories.
MORE_PATHS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
# Exit codes, as in a shell, of a program that does not exist or may not be started.
NOT_FOUND, NOT_ALLOWED = 127, 126


class Ran(t.NamedTuple):
    """How a program ended: its exit code (negative: the signal), what it printed, and whether the deadline ended it."""

    rc: int
    out: str
    err: str
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.rc == 0 and not self.timed_out


def run(
    words: t.Sequence[str], deadline: float, *, user: str = "", env: t.Optional[t.Mapping[str, str]] = None,
    secrets: t.Optional[t.Mapping[str, str]] = None, stdin: str = "", cwd: str = "/", cap: int = 4 << 20,
) -> Ran:  # fmt: skip
    """Run *words* for at most *deadline* seconds as *user* (name; "" or without root: as we are); never raises for how it ends.

    *env* comes on top of a bare environment in English. Each of *secrets* is the text of a file that only that user can read, whose path is
    in the variable of that name. Of what it prints, *cap* bytes at the end of each stream are kept. At the deadline the program and all
    that it started get SIGTERM, then SIGKILL.
    """
    try:
        source = subprocess.PIPE if stdin else subprocess.DEVNULL
        with started(words, user=user, env=env, secrets=secrets, cwd=cwd, stdin=source) as process:
            return _ended(process, stdin, deadline, cap)
    except FileNotFoundError:
        return Ran(NOT_FOUND, "", "%s is not there" % words[0])
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        return Ran(NOT_ALLOWED, "", "%s cannot be run%s: %s" % (words[0], " as " + user if user else "", error))


@contextlib.contextmanager
def started(
    words: t.Sequence[str], *, user: str = "", env: t.Optional[t.Mapping[str, str]] = None,
    secrets: t.Optional[t.Mapping[str, str]] = None, cwd: str = "/", stdin: int = subprocess.DEVNULL, merged: bool = False,
) -> t.Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """Yield *words* as a process that writes to our pipes, to one pipe if *merged*; the caller ends it. Raises as Popen does."""
    given = {"PATH": _path(), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "HOME": "/", **(env or {})}
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(_secret(text, user)) for text in (secrets or {}).values()]
        given.update(zip(secrets or {}, (path for path, _fds in held)))
        yield subprocess.Popen(
            list(words), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            cwd=cwd, env=given, start_new_session=True, preexec_fn=become(user), pass_fds=[fd for _path, fds in held for fd in fds],
        )  # fmt: skip


@contextlib.contextmanager
def _secret(text: str, user: str) -> t.Iterator[tuple[str, tuple[int, ...]]]:
    """Yield (the path of a file with *text* that only *user* can read, the descriptors that it needs in the child)."""
    in_memory = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")
    fd, path = (os.memfd_create("secret"), "") if in_memory else tempfile.mkstemp(prefix="somabrain-")
    try:
        os.fchmod(fd, 0o600)
        if os.geteuid() == 0 and user:
            entry = pwd.getpwnam(user)
            os.fchown(fd, entry.pw_uid, entry.pw_gid)
        os.write(fd, text.encode("utf-8", "surrogateescape"))
        yield path or "/proc/self/fd/%d" % fd, () if path else (fd,)
    finally:
        os.close(fd)
        if path:
            os.unlink(path)


class _Tail(threading.Thread):
    """Reads one stream to its end and keeps the last *cap* bytes."""

    def __init__(self, stream: t.IO[bytes], cap: int) -> None:
        super().__init__(daemon=True)
        self._stream, self._cap, self._kept = stream, cap, bytearray()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for chunk in iter(lambda: os.read(self._stream.fileno(), 65536), b""):
                self._kept += chunk
                if len(self._kept) > 2 * self._cap:
                    del self._kept[: -self._cap]

    def text(self) -> str:
        # A surviving grandchild may keep the stream open.
        self.join(1)
        return bytes(self._kept[-self._cap :]).decode("utf-8", "backslashreplace")


def _ended(process: subprocess.Popen[bytes], stdin: str, deadline: float, cap: int) -> Ran:
    """Feed the program and wait for its end or the deadline; then end whatever is left of it."""
    tails = [_Tail(t.cast("t.IO[bytes]", stream), cap) for stream in (process.stdout, process.stderr)]
    feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
    feeder.start()
    timed_out, end = False, time.monotonic() + deadline
    try:
        # Its streams end with it; waiting for the process itself would mean polling.
        for tail in tails:
            tail.join(max(0.05, end - time.monotonic()))
        process.wait(max(0.05, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        if process.poll() is None:
            end_all(process)
    out, err = (tail.text() for tail in tails)
    for stream in (process.stdout, process.stderr):
        t.cast("t.IO[bytes]", stream).close()
    return Ran(process.returncode, out, err, timed_out)


def _feed(stream: t.Optional[t.IO[bytes]], text: str) -> None:
    if stream:
        with contextlib.suppress(OSError):
            stream.write(text.encode("utf-8", "surrogateescape"))
        with contextlib.suppress(OSError):
            stream.close()


def end_all(process: subprocess.Popen[bytes]) -> None:
    """End a process and all of its children: SIGTERM, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(2)
            return
    process.wait()


def _path() -> str:
    return os.pathsep.join(dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep) + list(MORE_PATHS))).strip(os.pathsep)


def become(user: str) -> t.Optional[t.Callable[[], None]]:
    """Return what a child calls to become *user*, None where it stays what we are. Raises KeyError for an unknown user."""
    if not user or os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(user)
    if entry.pw_uid == 0:
        return None

    def change() -> None:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.umask(0o077)

    return change


def find(name: str, folders: t.Sequence[str] = ()) -> str:
    """Return the path of a program, searched in *folders*, then where programs are; "" for none."""
    return shutil.which(name, path=os.pathsep.join([*folders, _path()])) or ""
