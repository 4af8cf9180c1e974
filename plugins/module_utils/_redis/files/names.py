# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the data files of a Redis, those that its settings give, else the usual ones; and how an RDB begins."""

from __future__ import annotations

import re
import typing as t

USUAL = {"appenddirname": "appendonlydir", "appendfilename": "appendonly.aof", "dbfilename": "dump.rdb"}
# Nine bytes: the name and the version of the format. Valkey 9 has a name of its own.
_HEAD = re.compile(rb"(?:REDIS(\d{4})|VALKEY(\d{3}))")
_CTIME = re.compile(rb"\xfa\x05ctime\xc2(.{4})", re.S)


def name_in(settings: t.Mapping[str, t.Any], key: str) -> str:
    """Return the file or directory name that *key* (one of USUAL) has in *settings*."""
    return str(settings.get(key) or USUAL[key])


def is_rdb(head: bytes) -> bool:
    """Return whether a file that begins with these nine bytes (or more) is an RDB."""
    return bool(_HEAD.match(head))


def taken_at(head: bytes) -> t.Optional[float]:
    """Return when an RDB was taken according to itself (seconds since 1970), None if it does not say."""
    found = _CTIME.search(head)
    return float(int.from_bytes(found.group(1), "little")) if found else None
