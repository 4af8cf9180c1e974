# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program of the target to its end: as the user it belongs to, within a deadline, with a cap on what it says."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import typing as t

# Looked at after PATH: a non-interactive login often lacks the sbin folders.
MORE_PATHS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
# What a program that is not there, or may not be started, ends with, as in a shell.
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
    stdin: str = "", cwd: str = "/", cap: int = 4 << 20,
) -> Ran:  # fmt: skip
    """Run *words* for at most *deadline* seconds as *user* (name; "" or without root: as we are); never raises for how it ends.

    *env* comes on top of a bare environment in English; secrets may be in it, since only the same user can read it. Of what it
    prints, *cap* bytes at the end of each stream are kept. At the deadline the program and all that it started get SIGTERM, then SIGKILL.
    """
    given = {"PATH": _path(), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "HOME": "/", **(env or {})}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                list(words), stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=given,
                start_new_session=True, preexec_fn=become(user),
            )  # fmt: skip
        except FileNotFoundError:
            return Ran(NOT_FOUND, "", "%s is not there" % words[0])
        except (OSError, subprocess.SubprocessError, KeyError) as error:
            return Ran(NOT_ALLOWED, "", "%s cannot be run%s: %s" % (words[0], " as " + user if user else "", error))
        timed_out = _wait(process, stdin, deadline)
        return Ran(process.returncode, _end_of(out, cap), _end_of(err, cap), timed_out)


def _wait(process: subprocess.Popen[bytes], stdin: str, deadline: float) -> bool:
    """Wait for the end; return whether the deadline came first, in which case nothing of the program is left alive."""
    try:
        process.communicate(stdin.encode("utf-8", "surrogateescape") if stdin else None, timeout=max(0.05, deadline))
        return False
    except subprocess.TimeoutExpired:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(2)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait()
        return True


def _end_of(file: t.IO[bytes], cap: int) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - cap))
    return file.read(cap).decode("utf-8", "backslashreplace")


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
