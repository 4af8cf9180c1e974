# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs git in a working copy of unknown origin: as its owner, bounded in time and size, and without running its programs.

Hooks, filters, helpers and transports that the repository's own configuration names stay unused; the configuration of machine and user
is not read. Names and contents are text in UTF-8 in which any other byte is kept (surrogateescape).
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import pwd
import re
import stat
import subprocess
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import end_all, started

# Of what git prints: more than this is refused, never cut.
MOST = 96 * 2**20
COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_SETTINGS = (
    "core.hooksPath=/dev/null", "core.fsmonitor=", "core.untrackedCache=false", "core.splitIndex=false", "core.bare=false",
    "core.sshCommand=false", "core.askPass=false", "core.editor=false", "core.pager=cat", "core.alternateRefsCommand=false",
    "core.fsync=committed,reference,index", "protocol.allow=never", "apply.whitespace=nowarn", "apply.ignoreWhitespace=no",
    "commit.gpgSign=false", "gc.auto=0", "maintenance.auto=false", "submodule.recurse=false", "index.sparse=false",
)  # fmt: skip
_ENVIRONMENT = {
    "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_MERGE_AUTOEDIT": "no",
}  # fmt: skip
_FILTER = re.compile(r"filter\.([\w.-]+)\.(?:clean|smudge|process)\Z", re.ASCII)


class GitError(Exception):
    """The working copy is unusable. ``word`` is ``missing``, ``bad`` (an input) or ``unknown``; the text is one line."""

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.word = word


class Git:
    """git in one working copy, as one user, until one moment."""

    def __init__(self, top: str, user: str, end: float) -> None:
        self.top, self.user, self.end = top, user, end
        self.settings = [*_SETTINGS, "core.sharedRepository=%s" % _shared(top)]
        self.filters = self._without_filters()

    def ask(self, *words: str, stdin: str = "", index: str = "", env: t.Optional[t.Mapping[str, str]] = None) -> str:
        """Return what git prints. Raises GitError where it fails, prints too much or takes too long."""
        code, out, err = self.tell(*words, stdin=stdin, index=index, env=env)
        if code:
            raise GitError("unknown", "git %s failed: %s" % (words[0], _why(err, code)))
        return out

    def tell(
        self, *words: str, stdin: str = "", index: str = "", env: t.Optional[t.Mapping[str, str]] = None
    ) -> tuple[int, str, str]:  # fmt: skip
        """Return (exit code, what git prints, what it complains). Raises GitError where it cannot be run to its end."""
        command = ["git", "--no-optional-locks", "--no-pager", "--literal-pathspecs"]
        command += [word for setting in self.settings for word in ("-c", setting)]
        given = {"GIT_DIR": os.path.join(self.top, ".git"), "GIT_WORK_TREE": self.top, **({"GIT_INDEX_FILE": index} if index else {})}
        try:
            environment = {**_ENVIRONMENT, **given, **(env or {})}
            # A pipe in any case: an empty list is a list too.
            with started([*command, *words], user=self.user, env=environment, cwd=self.top, stdin=subprocess.PIPE) as process:
                return self._to_its_end(process, stdin)
        except FileNotFoundError:
            raise GitError("unknown", "git is not installed: install the package git") from None
        except (OSError, KeyError) as error:
            raise GitError("unknown", "git does not run: %s" % one_line(error, 120)) from None

    def _to_its_end(self, process: t.Any, stdin: str) -> tuple[int, str, str]:
        out, err = _Reader(process.stdout, MOST), _Reader(process.stderr, 65536)
        feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
        feeder.start()
        try:
            for stream in (out, err):
                stream.join(max(0.05, self.end - time.monotonic()))
            if out.is_alive() or err.is_alive():
                raise GitError("unknown", "git did not answer in time: give it more time")
            if out.is_more:
                raise GitError("unknown", "git printed more than %d bytes: choose a smaller folder" % MOST)
            code = process.wait(max(0.05, self.end - time.monotonic()))
        finally:
            if process.poll() is None:
                end_all(process)
            process.stdout.close()
            process.stderr.close()
        return code, out.text(), err.text()

    def _without_filters(self) -> tuple[str, ...]:
        """Leave the programs that the configuration names for contents unused, and return whose they are."""
        keys = self.ask("config", "--list", "--name-only", "-z").split("\0")
        names = [key for key in keys if key.startswith("filter.") and key.endswith((".clean", ".smudge", ".process"))]
        odd = [name for name in names if not _FILTER.match(name)]
        if odd:
            raise GitError("unknown", "the repository's configuration names a filter that cannot be disabled: %s" % one_line(odd[0], 60))
        found = sorted({t.cast("re.Match[str]", _FILTER.match(name)).group(1) for name in names})
        for one in found:
            self.settings += ["filter.%s.%s" % (one, rest) for rest in ("clean=", "smudge=", "process=", "required=false")]
        return tuple(found)


class _Reader(threading.Thread):
    """Reads a stream to its end and keeps no more than its first *cap* bytes."""

    def __init__(self, stream: t.IO[bytes], cap: int) -> None:
        super().__init__(daemon=True)
        self._stream, self._cap, self._kept, self.is_more = stream, cap, bytearray(), False
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for chunk in iter(lambda: os.read(self._stream.fileno(), 1 << 16), b""):
                self.is_more = self.is_more or len(self._kept) + len(chunk) > self._cap
                self._kept += chunk[: self._cap - len(self._kept)]

    def text(self) -> str:
        return bytes(self._kept).decode("utf-8", "surrogateescape")


def _feed(stream: t.IO[bytes], text: str) -> None:
    with contextlib.suppress(OSError):
        stream.write(text.encode("utf-8", "surrogateescape"))
    with contextlib.suppress(OSError):
        stream.close()


def _shared(top: str) -> str:
    """Return the mode that git gives to files of its own, whatever the umask: anyone who can enter ``.git`` can read it."""
    facts = os.lstat(os.path.join(top, ".git"))
    mode = facts.st_mode if stat.S_ISDIR(facts.st_mode) else os.stat(top).st_mode
    return "0%o" % (mode & 0o666 | 0o600)


def _why(text: str, code: int) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("warning:", "hint:"))]
    return one_line(redact(lines[0] if lines else "exit code %d" % code), 160)


def opened(repository: str, user: str, seconds: float) -> Git:
    """Return git in the working copy *repository*, as *user* or its owner, for *seconds*. Raises GitError."""
    end, top = time.monotonic() + seconds, os.path.realpath(repository)
    shown = one_line(repository, 100)
    try:
        owner, inner = os.stat(top).st_uid, os.lstat(os.path.join(top, ".git")).st_uid
    except (FileNotFoundError, NotADirectoryError):
        raise GitError("missing", "%s is not a git working copy" % shown) from None
    except (OSError, ValueError) as error:
        raise GitError("unknown", "%s is not accessible: %s" % (shown, one_line(error, 80))) from None
    if inner != owner:
        raise GitError("unknown", "%s belongs to user %d and its .git to user %d" % (shown, owner, inner))
    return Git(top, _runs_as(user, owner, shown), end)


def _runs_as(user: str, owner: int, shown: str) -> str:
    """Return the user to run git as, "" for ourselves. git runs only as the owner, who must own all new files."""
    try:
        wanted = pwd.getpwnam(user).pw_uid if user else owner
        if os.geteuid() == 0:
            user = pwd.getpwuid(wanted).pw_name
    except KeyError:
        raise GitError("unknown", "user %s does not exist" % one_line(user or owner, 40)) from None
    if wanted != owner:
        raise GitError("unknown", "%s belongs to user %d, not to %s" % (shown, owner, one_line(user, 40)))
    if os.geteuid() not in (0, owner):
        raise GitError("unknown", "%s belongs to user %d, and git refuses directories of other users; set become" % (shown, owner))
    return user if os.geteuid() == 0 else ""


def folder_of(path: str) -> str:
    """Return *path* as a folder of a working copy, "" for all of it. Raises GitError unless it is a relative path inside it."""
    parts = str(path).split("/")
    if not path or not str(path).isprintable() or path.startswith("/") or {"..", ".git"} & {part.lower() for part in parts}:
        raise GitError("bad", "path must be a folder inside the repository, relative and without ..: %s" % one_line(path, 80))
    folder = posixpath.normpath(path)
    return "" if folder == "." else folder


def native(name: str) -> str:
    """Return a name of git's as this Python hands it to the system, whatever its locale."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))
