# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why did it not start: reads what one attempt to start a service left behind, and nothing older.

``mark`` before an attempt and ``read`` after it; ``last`` for an attempt made before we came. Loaders: plain data, they never raise.
An attempt is {began, bound, lines: [{from, text}], service, paths_changed, cause}; ``bound`` says what keeps older lines out:

- ``mark``: how long each file was before, and the journal's time; exact
- ``start``: the time of the last start that the manager knows, against the times in the lines
- ``boundary``: the last line by which the program says that it starts
- ``tail``: nothing; the last lines, which may be older
- ``none``: nothing was written
"""

from __future__ import annotations

import json
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.causes import Table
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.judge import judge, named_paths
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import LOG_BYTES, newest, tail_of, written_at
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.port import holders_of, port_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.written import (
    SLACK,
    mark_of,
    since_mark,
    since_time,
    untimed_end,
)

Named = t.Mapping[str, t.Any]
Attempt = t.Dict[str, t.Any]

# How many lines are kept of a tail, of an attempt, and how many of the paths that they name are looked at.
TAIL_LINES = 40
MOST_LINES = 400
MOST_PATHS = 40
MOST_JSON = 1 << 22


def mark(named: Named, files: t.Sequence[str] = (), deadline: float = 3.0) -> dict[str, t.Any]:
    """Return, before an attempt, where the logs of the service *named* ({} for none) end; *files* are paths or patterns of more logs."""
    own = _quietly({}, ask.last_start, named, deadline) if named.get("manager") else {}
    patterns = list(dict.fromkeys([*files, *(own.get("files") or [])]))
    return {"began": time.time(), "files": [mark_of(one) for one in patterns if one]}


def read(named: Named, marked: t.Mapping[str, t.Any], deadline: float = 5.0, table: Table = (), ports: t.Sequence[int] = ()) -> Attempt:
    """Return the attempt that began after *marked*.

    *table* is what the technology knows of its own lines, (cause, pattern) each; *ports* are those that the service wants.
    """
    clock = Clock(deadline)
    lines = _as_lines((since_mark(one) for one in marked["files"]), (str(one["pattern"]) for one in marked["files"]))
    lines += _quietly([], ask.said_since, named, {"began": marked["began"] - 0.05}, max(0.3, clock.left))
    service = _quietly({}, ask.load_service, named, max(0.3, clock.left))
    return _attempt(service, float(marked["began"]), "mark" if lines else "none", lines, table, ports)


def last(
    named: Named,
    files: t.Sequence[str] = (),
    deadline: float = 5.0,
    table: Table = (),
    boundary: str = "",
    ports: t.Sequence[int] = (),
    service: t.Optional[Named] = None,
) -> Attempt:
    """Return the last attempt that was made before we came.

    *boundary* is the text by which the program says in its log that it has read its configuration and starts; *service* is its state where
    that is known already.
    """
    clock = Clock(deadline)
    start = _quietly({}, ask.last_start, named, deadline) if named.get("manager") else {}
    began = start.get("began")
    wrote = _written(_paths([*files, *(start.get("files") or [])]), began, boundary)
    lines = _as_lines([one[1] for one in wrote], [one[0] for one in wrote])
    if began or not lines:
        lines += _quietly([], ask.said_since, named, start, max(0.3, clock.left))
    bound = _loosest([one[2] for one in wrote], "start" if began else "tail") if lines else "none"
    began = _earliest([one[0] for one in wrote]) if began is None else began
    state = service or _quietly({}, ask.load_service, named, max(0.3, clock.left))
    return _attempt(state, began, bound, lines, table, ports)


def _written(paths: t.Sequence[str], began: t.Optional[float], boundary: str) -> list[tuple[str, str, str]]:
    """Return (path, text, bound) of each file to which the last attempt wrote."""
    found = [(path, *_of_last(path, began, boundary)) for path in paths]
    found = [one for one in found if one[1]]
    # Its log says that this attempt got as far as to write there: lines of unknown time elsewhere are of an earlier one.
    got_on = boundary and began and any(bound == "start" and _is_of_start(text, boundary, began) for path, text, bound in found)
    return [one for one in found if one[2] != "tail"] if got_on else found


def _is_of_start(text: str, boundary: str, began: float) -> bool:
    """Return whether lines of a log are surely of the process that began then: it says so, or they are later than its first second."""
    return boundary in text or bool(since_time(text, began + 2 * SLACK))


def _earliest(paths: t.Sequence[str]) -> t.Optional[float]:
    return min((written_at(path) for path in paths), default=None)


def _loosest(bounds: t.Sequence[str], otherwise: str) -> str:
    return next((one for one in ("tail", "boundary") if one in bounds), otherwise)


def _paths(patterns: t.Iterable[str]) -> list[str]:
    return list(dict.fromkeys(path for path in (newest(one) for one in patterns if one) if path))


def _of_last(path: str, began: t.Optional[float], boundary: str) -> tuple[str, str]:
    """Return (text, bound) of what the last attempt wrote to a file."""
    if began and written_at(path) < began - SLACK:
        return "", "start"
    text = tail_of(path, LOG_BYTES).decode("utf-8", "replace")
    timed = since_time(text, began) if began else None
    if timed is not None:
        # Lines without a time after the last one that has a time, which is older: the file was written to since, so they may be its.
        return (timed, "start") if timed or not began else (untimed_end(text), "tail")
    at = text.rfind(boundary) if boundary else -1
    if at >= 0:
        # A program writes why it does not read its configuration before it says that it starts: the line is kept whole.
        return text[text.rfind("\n", 0, at) + 1 :], "boundary"
    return "".join(text.splitlines(keepends=True)[-TAIL_LINES:]), "tail"


def _as_lines(texts: t.Iterable[str], names: t.Iterable[str]) -> list[dict[str, str]]:
    return [{"from": name, "text": line} for text, name in zip(texts, names) for line in text.splitlines() if line.strip()]


def _attempt(
    service: Named, began: t.Optional[float], bound: str, lines: list[dict[str, str]], table: Table, ports: t.Sequence[int]
) -> Attempt:
    kept = lines[-MOST_LINES:]
    cause = judge(kept, service, table)
    paths = [*named_paths(kept, str(service.get("start_command") or "")), *(service.get("reads") or [])]
    changed = changed_since(paths, began)
    if cause and cause["code"] == "port_in_use":
        named_port = port_in(cause["text"])
        cause["holders"] = [dict(one, port=port) for port in ([named_port] if named_port else ports) for one in holders_of(port)]
    if cause:
        cause["file"] = broken_json(paths) if re.search("json", cause["text"], re.IGNORECASE) else ""
        cause["changed"] = [path for path in changed if path in cause["text"]]
    return {"began": began, "bound": bound, "lines": kept, "service": service, "paths_changed": changed, "cause": cause}


def broken_json(paths: t.Iterable[str]) -> str:
    """Return the first of *paths* that is named as JSON and is not valid, "" for none: a parser does not say which file it read."""
    for path in [one for one in paths if one.endswith(".json")][:MOST_PATHS]:
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                json.loads(file.read(MOST_JSON))
        except OSError:
            continue
        except (ValueError, RecursionError):
            return path
    return ""


def changed_since(paths: t.Iterable[str], began: t.Optional[float]) -> list[str]:
    """Return those of *paths* whose content, owner, mode or name has changed since *began*, [] where that time is unknown.

    The time of the inode (ctime) counts: ``cp -p`` and ``mv`` keep the time of the content. A path that is not there has not changed.
    """
    if began is None:
        return []
    # A time in whole seconds may be almost a second too early.
    since, found = began + (1.0 if float(began).is_integer() else 0.01), []
    for path in list(paths)[:MOST_PATHS]:
        try:
            facts = os.stat(path)
        except (OSError, ValueError):
            continue
        if facts.st_ctime > since and not _is_written_to(path):
            found.append(path)
    return found


def _is_written_to(path: str) -> bool:
    """Return whether a change of *path* says nothing: a directory, a device, or a log."""
    return not os.path.isfile(path) or path.startswith(("/proc/", "/sys/", "/dev/")) or bool(re.search(r"\.log(\.|$)|/log/", path))


def _quietly(otherwise: t.Any, call: t.Callable[..., t.Any], *given: t.Any) -> t.Any:
    """Return what *call* returns; *otherwise* where the manager or the name is not known."""
    try:
        return call(*given)
    except (StepError, OSError, ValueError, KeyError):
        return otherwise
