# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of keys confirmed as corrupt, and the file that keeps the removed values so that they can be put back.

Both are JSON lines of mode 0600 with keys and values in base64; a list is identified by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

# The longest line: a value of 256 MB in base64, and its key.
MOST_LINE = 400 * 1024 * 1024
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def packed(data: bytes) -> str:
    """Return bytes as text for JSON."""
    return base64.b64encode(data).decode("ascii")


def unpacked(text: t.Any) -> bytes:
    """Return the bytes of ``packed``. Raises ValueError."""
    return base64.b64decode(str(text), validate=True)


def write_list(path: str, digests: t.Mapping[bytes, str]) -> str:
    """Write the keys with the digests of their values, in order, as a new file; return its sha256. Raises StepError."""
    lines = [json.dumps({"key": packed(key), "digest": digests[key]}, sort_keys=True).encode() + b"\n" for key in sorted(digests)]
    with Keeper(path) as file:
        for line in lines:
            file.write(line)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def read_list(path: str, sha256: str) -> dict[bytes, str]:
    """Return {key: digest} of the list at *path*. Raises StepError if its hash is not *sha256*."""
    said = hashlib.sha256()
    found: dict[bytes, str] = {}
    for line, body in _lines(path):
        said.update(line)
        found[unpacked(body["key"])] = str(body["digest"])
    if said.hexdigest() != sha256:
        raise StepError("the list %s is not the one that was approved" % one_line(path, 120))
    return found


def read_kept(path: str) -> t.Iterator[tuple[int, bytes, bytes]]:
    """Yield (db, key, dump) of what was kept; stops at a cut last line, left by a run that died. Raises StepError."""
    for _line, body in _lines(path):
        yield int(body["db"]), unpacked(body["key"]), unpacked(body["dump"])


def _lines(path: str) -> t.Iterator[tuple[bytes, dict[str, t.Any]]]:
    try:
        descriptor = os.open(path, _READ)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
                raise StepError("%s must be owned by us and have mode 0600" % one_line(path, 120))
            for line in iter(lambda: file.readline(MOST_LINE), b""):
                if line.endswith(b"\n"):
                    yield line, dict(json.loads(line))
    except OSError as error:
        raise StepError("cannot read %s: %s" % (one_line(path, 120), error.strerror)) from None
    except (ValueError, KeyError, TypeError):
        raise StepError("%s was not written by redis_confirm or redis_clear" % one_line(path, 120)) from None


class Keeper:
    """A new private file that is on disk once ``sync`` returns. A context manager. Raises StepError."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._file = os.fdopen(os.open(path, _WRITE, 0o600), "wb")
        except OSError as error:
            raise StepError("cannot write %s: %s" % (one_line(path, 120), error.strerror)) from None

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if exc[0] is None:
                self.sync()
        finally:
            self._file.close()

    def keep(self, db: int, key: bytes, dump: bytes) -> None:
        """Add one key and its DUMP."""
        self.write(json.dumps({"db": db, "key": packed(key), "dump": packed(dump)}, sort_keys=True).encode() + b"\n")

    def write(self, line: bytes) -> None:
        """Add a line."""
        try:
            self._file.write(line)
        except OSError as error:
            raise StepError("cannot write %s: %s" % (one_line(self.path, 120), error.strerror)) from None

    def sync(self) -> None:
        """Return only once the content and the name of the file would survive a power cut."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StepError("cannot write %s: %s" % (one_line(self.path, 120), error.strerror)) from None
