# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges everything in the data directory of a stopped Redis: what a start would load, and what lies beside it and is newer.

Adds to ``judge_files`` the verdict ``outdated``: another set of data is newer than what would be loaded; ``missing`` where nothing would
be loaded although there is data.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import (
    FileResult,
    Settings,
    combined,
    entry,
    judge_files,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import name_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime, scan_rdb
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb import others
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import FOLDER, open_regular


def judge_data(data_dir: str, settings: Settings, deadline: float) -> t.Dict[str, t.Any]:
    """Return what ``judge_files`` does, and ``others``: the newer sets of data {kind, name, file} that a start would ignore, latest first.

    Never raises.
    """
    begun = time.monotonic()
    seen = judge_files(data_dir, settings, deadline)
    beside: t.List[others.Store] = []
    found: t.List[FileResult] = []
    try:
        directory = os.open(data_dir, FOLDER & ~os.O_NOFOLLOW)
    except (OSError, ValueError):
        return dict(seen, others=[])
    try:
        beside, found = _beside(directory, settings, seen, begun + deadline)
    except OutOfTime:
        found = [entry("", "", 0, "unjudged", "ran out of time comparing the files; allow more time")]
    except OSError as error:
        found = [entry("", "", 0, "unjudged", one_line(error, 100))]
    finally:
        os.close(directory)
    files = seen["files"] + found
    named = [{"kind": one.kind, "name": one.name, "file": one.file} for one in beside]
    keys = seen["expected_keys"] if combined(files) == "valid" else None
    took = round(time.monotonic() - begun, 3)
    return dict(seen, verdict=combined(files) if files else seen["verdict"], files=files, others=named, expected_keys=keys, seconds=took)


def with_saves(judged: t.Mapping[str, t.Any], data_dir: str, settings: Settings, at: float, why: str) -> t.Dict[str, t.Any]:
    """Return the verdict of ``judge_data`` where a log proves (*why*) that dumps from the time *at* on hold what was never appended.

    Their keys may all be in the append-only file, with older values. Never raises.
    """
    if judged.get("source") != "aof" or not at or judged.get("verdict") == "outdated":
        return dict(judged)
    try:
        directory = os.open(data_dir, FOLDER & ~os.O_NOFOLLOW)
    except (OSError, ValueError):
        return dict(judged)
    try:
        found = [one for one in others.load_stores(directory, settings) if one.kind == "rdb" and one.written >= at and not one.hollow]
    except OSError:
        found = []
    finally:
        os.close(directory)
    if not found:
        return dict(judged)
    best = max(found, key=lambda one: one.written)
    files = [*judged["files"], entry(best.name, best.kind, best.bytes, "outdated", why)]
    named = [{"kind": best.kind, "name": best.name, "file": best.file}]
    return dict(judged, verdict=combined(files), files=files, others=named, expected_keys=None)


def _beside(
    directory: int, settings: Settings, seen: t.Mapping[str, t.Any], end: float
) -> t.Tuple[t.List[others.Store], t.List[FileResult]]:
    """Return (the newer sets of data that a start would ignore, what that means for the verdict)."""
    source, files = seen["source"], seen["files"]
    stores = others.load_stores(directory, settings)
    loaded = others.loaded_of(stores, source, settings)
    if loaded is None and any(one["verdict"] != "valid" for one in files):
        # What it needs is missing or cannot be read: whatever lies here is a candidate.
        return others.newer_than(None, stores), []
    newer, short = others.newer_than(loaded, stores), 0
    if source == "aof" and loaded is not None:
        newer, short = _unnamed(directory, settings, newer, files, end)
    if not newer:
        return [], []
    verdict = "missing" if loaded is None else "outdated"
    return newer, [entry(newer[0].name, newer[0].kind, newer[0].bytes, verdict, others.outdated_text(loaded, newer[0], short))]


def _unnamed(
    directory: int, settings: Settings, newer: t.Sequence[others.Store], files: t.Sequence[FileResult], end: float
) -> t.Tuple[t.List[others.Store], int]:
    """Return those of *newer* that hold what the append-only file never had, and how many keys: a save always comes after its commands."""
    inside = name_in(settings, "appenddirname") + "/" if any(one["kind"] == "manifest" for one in files) else ""
    paths = [inside + one["name"] for one in files if one["kind"] in ("base", "incremental", "aof")]
    kept, most = [], 0
    for one in newer:
        short: t.Optional[int] = None
        if one.kind == "rdb":
            with contextlib.suppress(OSError), os.fdopen(open_regular(one.name, directory), "rb") as file:
                seen = scan_rdb(file, one.bytes, end)
                short = others.lacking(directory, one, paths, seen["keys"] or 0, end) if seen["verdict"] == "valid" else 0
        if one.kind == "aof" or short:
            kept.append(one)
            most = max(most, short or 0)
    return kept, most
