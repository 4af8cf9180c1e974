# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last lines of a component's log: of its file, else of what its manager kept. Bounded, without secrets. Loaders; they never raise."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import LOG_BYTES, newest, tail_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.written import time_of

# Length of a line as it is shown, and how much of it is looked at for secrets.
SHOWN, LOOKED_AT = 300, 4000
_HEADLESS_KEY = re.compile(r"\A(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z ]*PRIVATE KEY-----")
Log = t.Dict[str, t.Any]


def load_log(place: t.Mapping[str, t.Any], lines: int, deadline: float) -> Log:
    """Return {lines, source, from, to, cut, error} of one component within *deadline* seconds."""
    path = _file_of(place)
    data, error = _read(path) if path else (b"", "")
    source = path
    if not data and place.get("service"):
        data, more = _of_manager(place["service"], lines, deadline)
        source, error = "%s %s" % (place["service"]["manager"], place["service"].get("name")), more or error
    if not data and not error:
        error = "it is empty" if path else "no log was found"
    kept, cut = last_lines(data, lines, is_part=len(data) >= LOG_BYTES)
    begun, ended = span_of(kept)
    told = {"source": one_line(source, 120), "from": begun, "to": ended, "cut": cut, "error": "" if kept else error or "it is empty"}
    return dict(told, lines=kept)


def span_of(lines: t.Sequence[str]) -> tuple[t.Optional[float], t.Optional[float]]:
    """Return the times (epoch seconds) of the first and the last line that has one; without a zone it is the time of this machine."""
    times = [at for at in map(time_of, lines) if at is not None]
    return (times[0], times[-1]) if times else (None, None)


def _file_of(place: t.Mapping[str, t.Any]) -> str:
    """Return the newest file that the inventory names; a usual place only where it is there."""
    given = str(place.get("log_file") or "")
    if given:
        return newest(given) or given
    return newest(str(place.get("usual") or ""))


def _read(path: str) -> tuple[bytes, str]:
    data = tail_of(path)
    if data or os.access(path, os.R_OK):
        return data, ""
    return b"", "%s cannot be read: %s" % (one_line(path, 120), "permission denied" if os.path.exists(path) else "it does not exist")


def _of_manager(service: t.Mapping[str, t.Any], lines: int, deadline: float) -> tuple[bytes, str]:
    try:
        data = ask.logs_of(service, lines, deadline)
    except StepError as error:
        return b"", one_line(error, 120)
    return data, "" if data else "%s kept no output of %s" % (service["manager"], one_line(service.get("name"), 60))


def last_lines(data: bytes, lines: int, is_part: bool = False) -> tuple[list[str], bool]:
    """Return (the last *lines* lines of *data* without secrets, whether there is more). Pure.

    *is_part*: data begins in the middle, where a secret may have lost its name.
    """
    if is_part:
        head, newline, rest = data.partition(b"\n")
        data = rest if newline else head.partition(b" ")[2]
    found = data.splitlines()
    text = "\n".join(line[:LOOKED_AT].decode("utf-8", "replace") for line in found[-lines:])
    kept = redact(_HEADLESS_KEY.sub("", text)).split("\n") if text else []
    return [one_line(line, SHOWN) for line in kept if line.strip()], is_part or len(found) > lines
