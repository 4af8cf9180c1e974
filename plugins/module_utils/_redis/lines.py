# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a log are of one Redis, where several write into the same file, and when it wrote them. Pure."""

from __future__ import annotations

import re
import time
import typing as t

_LINE = re.compile(r"^(\d+):([MSCX]) (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)(\.\d+)? . ")
_CHANGES = re.compile(r"\d+ changes in \d+ seconds\. Saving")
MOST_SAVES = 20
_FOLLOWS = re.compile(r"(?:Synchronization with (?:replica|slave) (\S+) succeeded|resynchronization request from (\S+) accepted)")
_LEFT = re.compile(r"Connection with (?:replica|slave) (?:client id #\d+|(\S+)) lost")
MOST_REPLICAS = 20
_SERVES = re.compile(r"Running mode=\w+, port=(\d+)")
_TIME = "%d %b %Y %H:%M:%S"


def own_text(text: str, port: int, started: str) -> str:
    """Return *text* without the lines of other servers: those that said at their start that they serve another port than *port*.

    Lines of child processes stay, as nothing says whose they are; without a port, or a word about it, all lines stay.
    """
    lines, ports = text.splitlines(), _ports(text.splitlines())
    others = {pid for pid, number in ports.items() if port and number != port}
    if not others:
        return text
    # A server whose start is no longer in what was read, beside one that says its port: whose it is, is not known.
    mine = {pid for pid in ports if pid not in others}
    servers = {found.group(1) for found in map(_LINE.match, lines) if found and found.group(2) in "MS"}
    foreign = others | (servers - mine)
    return "\n".join(line for line in lines if _pid(line) not in foreign) + "\n"


def _ports(lines: t.Sequence[str]) -> t.Dict[str, int]:
    found = {}
    for line in lines:
        said = _SERVES.search(line)
        if said and _pid(line):
            found[_pid(line)] = int(said.group(1))
    return found


def _pid(line: str) -> str:
    found = _LINE.match(line)
    return found.group(1) if found else ""


def said_at(text: str, words: str) -> t.Optional[float]:
    """Return when the last line with *words* was written, by the clock of this machine; None where there is none."""
    return next((_at(line) for line in reversed(text.splitlines()) if words in line and _LINE.match(line)), None)


def _at(line: str) -> t.Optional[float]:
    found = _LINE.match(line)
    try:
        return time.mktime(time.strptime(found.group(3), _TIME)) + float(found.group(4) or 0) if found else None
    except (ValueError, OverflowError):
        return None


def changes_saved(text: str) -> t.List[t.List[float]]:
    """Return [since, at] of the last saves that Redis began by itself because of changes: those came between these two times."""
    found: t.List[t.List[float]] = []
    since = begun = None
    for line in text.splitlines():
        at = _at(line)
        if at is None:
            continue
        since = at if since is None else since
        if _CHANGES.search(line):
            found.append([since, at])
        elif "Background saving started by pid" in line:
            begun = at
        elif "Background saving terminated with success" in line and begun is not None:
            since = begun
    return found[-MOST_SAVES:]


def replicas_in(text: str) -> t.List[str]:
    """Return the addresses of the replicas that followed when a log ends, by what it says since its server started."""
    there: t.Dict[str, None] = {}
    for line in text.splitlines():
        came, left = _FOLLOWS.search(line), _LEFT.search(line)
        if came:
            there[(came.group(1) or came.group(2)).rstrip(".")] = None
        elif left and left.group(1):
            there.pop(left.group(1).rstrip("."), None)
    return list(there)[-MOST_REPLICAS:]


def role_in(text: str) -> str:
    """Return the role in which a server wrote its last line: M for a master, S for a replica, "" where no line says."""
    found = (_LINE.match(line) for line in reversed(text.splitlines()))
    return next((one.group(2) for one in found if one and one.group(2) in "MS"), "")
