# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two files of nginx changed as one, and rolled back, by renames; what is loaded is kept apart from what is only on the disk.

Before a file gets new bytes, the loaded ones get a name with the digest of the new ones. So a run that died between the rename and the
reload leaves both, and the next look knows which of them nginx uses.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import sync_directory, write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.files import MAX_BYTES, Unreadable
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.process import is_newer


class Loaded(t.NamedTuple):
    """The text that nginx uses, the file that holds it, and what is at *path* now."""

    path: str
    holder: str
    text: str
    on_disk: str


def read_loaded(path: str, moment: float) -> Loaded:
    """Return what nginx loaded at *moment* from *path*; raises Unreadable if that is no longer known."""
    real = os.path.realpath(path)
    try:
        now = _read(real)
        if not is_newer(real, moment):
            return Loaded(real, real, now, now)
        before = _before(real, now)
        if os.path.isfile(before) and not is_newer(before, moment):
            return Loaded(real, before, _read(before), now)
    except (OSError, ValueError) as error:
        raise Unreadable("%s: %s" % (one_line(path, 80), one_line(getattr(error, "strerror", "") or error, 60))) from None
    raise Unreadable("%s was changed after nginx loaded it: review it, then run nginx -s reload" % one_line(path, 80))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError("it is longer than %d bytes" % MAX_BYTES)
    return text


def _before(path: str, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return os.path.join(os.path.dirname(path), ".%s.before-%s" % (os.path.basename(path), digest))


def put(was: Loaded, text: str) -> None:
    """Write *text* at its path with the mode of the file, after the loaded bytes got a name of their own. Raises OSError."""
    before, facts = _before(was.path, text), os.stat(was.holder)
    if was.holder != before:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(before)
        os.link(was.holder, before)
    write_durably(was.path, text.encode())
    os.chmod(was.path, facts.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(was.path, facts.st_uid, facts.st_gid)


def put_back(was: Loaded, text: str) -> None:
    """Put the loaded bytes, with their time, back in the place of *text*. Raises OSError."""
    before = _before(was.path, text)
    if os.path.exists(before):
        os.replace(before, was.path)
        sync_directory(os.path.dirname(was.path))


def forget(was: Loaded) -> None:
    """Remove the kept copy of *was*, once its successor is loaded."""
    pattern = os.path.join(glob.escape(os.path.dirname(was.path)), "." + glob.escape(os.path.basename(was.path)) + ".before-*")
    for path in glob.glob(pattern):
        with contextlib.suppress(OSError):
            os.unlink(path)
