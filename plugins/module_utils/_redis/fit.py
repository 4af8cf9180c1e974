# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of this machine does not fit the settings of the next start, which would end it: an address that it does not have, a path that
its user may not use. Loaders; they never raise. What the start command or the manager may still make is not judged."""

from __future__ import annotations

import errno
import os
import re
import socket
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.place import may, name_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait

Facts = t.Mapping[str, t.Any]

_MAKES = re.compile(r"\b(?:mkdir|install|chown|chmod|chgrp|setfacl|ip|ifconfig|touch)\b")
# A manager that makes folders makes these for a service when it starts (RuntimeDirectory and the like).
MADE_AT_START = ("/run/", "/var/run/", "/tmp/", "/var/tmp/")  # noqa: S108
ACCESS_LIST = "system.posix_acl_access"


def load_misfits(settings: Facts, origins: Facts, uid: t.Optional[int], start_text: str, manager: str) -> t.List[str]:
    """Return a sentence for each setting that would end a start here, by user *uid* (None: not known)."""
    if _MAKES.search(start_text):
        return []
    found = [(name, why) for name, why in [("bind", _unbound(settings)), ("unixsocket", _unusable(settings, "unixsocket", uid, manager)),
             ("logfile", _unusable(settings, "logfile", uid, manager)), ("aclfile", _unread(settings, uid))] if why]  # fmt: skip
    return ["%s: %s" % ((origins.get(name) or {}).get("where") or "its configuration", why) for name, why in found]


def _unbound(settings: Facts) -> str:
    """Return which address to listen on is not of this machine, "" for none; those with a dash may be missing."""
    if str(settings.get("port") or "6379") == "0":
        return ""
    missing = [one for one in str(settings.get("bind") or "").split() if not one.startswith("-") and _is_missing(one)]
    return "bind %s, an address that no interface of this machine has" % one_line(missing[0], 60) if missing else ""


def _is_missing(address: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                # Nothing is sent, and no port is taken that a server could want.
                probe.bind((address, 0))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
                return True
    return False


def _unusable(settings: Facts, name: str, uid: t.Optional[int], manager: str) -> str:
    """Return why *uid* cannot make, or write, the file that a setting names, "" where it can, or that is not known."""
    path = str(settings.get(name) or "")
    folder = os.path.dirname(os.path.normpath(path))
    if not path.startswith("/") or (trait(manager, "MAKES_FOLDERS") and (path.startswith(MADE_AT_START) or not os.path.isdir(folder))):
        return ""
    if not os.path.isdir(folder):
        return "%s %s, a path in a directory that does not exist" % (name, one_line(path, 100))
    writes = name == "logfile" and os.path.exists(path)
    return _closed(name, path, path if writes else folder, uid, 2 if writes else 3)


def _unread(settings: Facts, uid: t.Optional[int]) -> str:
    path = str(settings.get("aclfile") or "")
    if not path.startswith("/"):
        return ""
    return _closed("aclfile", path, path, uid, 4) if os.path.exists(path) else "aclfile %s, which does not exist" % one_line(path, 100)


def _closed(name: str, path: str, at: str, uid: t.Optional[int], rights: int) -> str:
    """Return that *uid* lacks one of the *rights* at a path, "" where it has them, or a list of more rights says who has which."""
    try:
        facts = os.stat(at)
        if uid in (None, 0) or ACCESS_LIST in os.listxattr(at) or all(may(facts, uid, right) for right in (1, 2, 4) if rights & right):
            return ""
    except (OSError, ValueError):
        return ""
    text = "%s %s, and %s may not %s %s (owner %s, mode %04o)"
    does = "read" if rights == 4 else "write to"
    return text % (name, one_line(path, 100), name_of(uid), does, one_line(at, 100), name_of(facts.st_uid), facts.st_mode & 0o7777)
