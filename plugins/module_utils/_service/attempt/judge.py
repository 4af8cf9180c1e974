# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cause of a failed start out of its lines and of how it ended. Plain data in, plain data out."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.causes import (
    STEPS,
    Table,
    of_line,
    translated_of,
)

Lines = t.Sequence[t.Mapping[str, str]]
# A path in a line of a log or of a command.
_PATH = re.compile(r"(?<![\w/:.])/(?:[\w.@%+=,-]+/)*[\w.@%+=,-]*[\w]")


def judge(lines: Lines, service: t.Mapping[str, t.Any], table: Table = ()) -> t.Optional[dict[str, t.Any]]:
    """Return {code, text, from} of why the attempt failed, None if nothing says so; the last line that names a cause counts.

    *service* is the state of the service after the attempt ({} where no manager is known).
    """
    return _of_lines(lines, table) or _of_end(service) or _of_no_attempt(lines) or _of_last_words(lines, service)


def _of_lines(lines: Lines, table: Table) -> t.Optional[dict[str, t.Any]]:
    seen = [(of_line(one["text"], table), one) for one in lines]
    found = [(code, one) for code, one in seen if code and code != "start_limit"]
    if not found:
        found = [(code, one) for code, one in ((translated_of(one["text"]), one) for one in lines if not one["text"].isascii()) if code]
    if not found:
        return None
    code, line = found[-1]
    text = " ".join([line["text"].strip(), *_goes_on(lines, line)])
    return {"code": code, "text": one_line(redact(text), 200), "from": line["from"]}


def _goes_on(lines: Lines, line: t.Mapping[str, str]) -> list[str]:
    """Return the line below *line* that says in which file it is, as parsers of YAML do."""
    at = next(at for at, one in enumerate(lines) if one is line)
    below = [one["text"].strip() for one in lines[at + 1 : at + 4] if one["from"] == line["from"] and one["text"][:1] in (" ", "\t")]
    return [one for one in below if re.match(r"(?:in|at|File) \"?/", one)][:1]


def _of_end(service: t.Mapping[str, t.Any]) -> t.Optional[dict[str, t.Any]]:
    """Return the cause that the manager knows by how the service ended."""
    name, manager = one_line(service.get("name") or "it", 60), str(service.get("manager") or "")
    code = int(service.get("exit_code") or 0)
    if service.get("oom_killed"):
        return {"code": "oom", "text": "%s was killed for lack of memory" % name, "from": manager}
    if service.get("result") == "timeout":
        return {"code": "timeout", "text": "%s was not ready within its start timeout" % name, "from": manager}
    if service.get("result") in ("resources", "exec-condition", "protocol", "watchdog"):
        return {"code": str(service["result"]), "text": "%s: result %s" % (name, service["result"]), "from": manager}
    if code in STEPS and service.get("state") != "running":
        kind, what = STEPS[code]
        return {"code": kind, "text": "%s could not set up %s (exit code %s)" % (manager, what, code), "from": manager}
    return None


def _of_no_attempt(lines: Lines) -> t.Optional[dict[str, t.Any]]:
    """Return that its manager did not even try, where it says so and the program wrote nothing."""
    refused = [one for one in lines if of_line(one["text"]) == "start_limit"]
    if not refused or any(one["from"] != refused[-1]["from"] for one in lines):
        return None
    return {"code": "start_limit", "text": one_line(refused[-1]["text"].strip(), 200), "from": refused[-1]["from"]}


def _of_last_words(lines: Lines, service: t.Mapping[str, t.Any]) -> t.Optional[dict[str, t.Any]]:
    """Return how it ended, with the last line of the program: better than nothing, and said as what it is."""
    if service.get("state") in (None, "running", "starting", "unknown", "stopped"):
        return None
    by = str(service.get("signal") or ("exit code %s" % service["exit_code"] if service.get("exit_code") is not None else ""))
    own = [one for one in lines if one["from"] != "systemd"]
    if not by and not own:
        return None
    said = "its last line: " + one_line(redact(own[-1]["text"].strip()), 160) if own else "it wrote nothing"
    return {"code": "ended", "text": "%s; %s" % ("it ended by " + by if by else "it ended", said), "from": own[-1]["from"] if own else ""}


def named_paths(lines: Lines, command: str) -> list[str]:
    """Return the paths that the lines of an attempt or its start command name."""
    texts = [command, *(one["text"][:2000] for one in lines)]
    return list(dict.fromkeys(os.path.normpath(one) for text in texts for one in _PATH.findall(text)))
