# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the last start of a Redis failed, in its own words, and whether that still holds."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt import judge, read
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.causes import Table

Named = t.Mapping[str, t.Any]

BOUNDARY = "is starting oO0"
# What Redis and Valkey write before they end.
TABLE: Table = (
    ("module", re.compile(r"Can't load module|Module \S+ failed to load|Module .* initialization failed|Error loading the extension")),
    ("configuration", re.compile(r"FATAL CONFIG FILE ERROR|Bad directive or wrong number|Fatal error, can't open config|Can't chdir to")),
    ("newer_format", re.compile(r"Can't handle RDB format version")),
    ("no_process", re.compile(r"fork: Resource temporarily unavailable|Can't create (?:background )?thread|pthread_create failed")),
    ("no_memory", re.compile(r"fork: Cannot allocate memory|Out Of Memory allocating")),
)
# Causes that another start meets again, unless something they name has changed.
LASTING = ("configuration", "module", "not_executable")

# How long a Redis may need to read its configuration and modules, and to give up.
READ_SECONDS = 10.0


def load_attempt(named: Named, log_file: str, config_files: t.Sequence[str], deadline: float) -> t.Dict[str, t.Any]:
    """Return {code, text, began, mended} of the last attempt to start the service *named*, {} where nothing says why it failed.

    ``mended``: something that it names, or its configuration, has changed since; None where that cannot be known. Never raises.
    """
    seen = read.last(named, [log_file] if log_file else [], deadline, TABLE, BOUNDARY)
    cause = seen["cause"]
    if not cause:
        return {}
    return {"code": cause["code"], "text": _worded(seen["lines"], cause), "began": seen["began"], "mended": _mended(seen, config_files)}


def _mended(seen: t.Mapping[str, t.Any], config_files: t.Sequence[str]) -> t.Optional[bool]:
    if seen["began"] is None or _ran(seen):
        return None
    cause = seen["cause"]
    there = [path for path in judge.named_paths([{"from": "", "text": cause["text"]}], "") if os.path.exists(path)]
    # A module that was missing and is there now.
    reads = [*config_files, *(seen["service"].get("reads") or [])]
    return bool(read.changed_since(reads, seen["began"]) or cause.get("changed") or (cause["code"] == "module" and there))


def _ran(seen: t.Mapping[str, t.Any]) -> bool:
    """Return whether it ran on after it had read its configuration, and lines without a time may be of an earlier start."""
    ended = seen["service"].get("last_ended_at")
    return bool(seen["bound"] == "tail" and ended and ended - seen["began"] > READ_SECONDS)


def _worded(lines: t.Sequence[t.Mapping[str, str]], cause: t.Mapping[str, t.Any]) -> str:
    """Return the cause in words; of a wrong configuration with the line that is wrong, which Redis writes below."""
    texts = [one["text"].strip() for one in lines]
    at = max((index for index, text in enumerate(texts) if "FATAL CONFIG FILE ERROR" in text), default=-1)
    if cause["code"] == "configuration" and at >= 0:
        return one_line(redact("; ".join(texts[at + 1 : at + 4])), 240)
    return str(cause["text"])
