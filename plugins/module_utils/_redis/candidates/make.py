# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries candidates: writes each, loads it in a side instance, counts and samples it, saves it as one RDB, checks and hashes that.

Everything happens in a private directory of the run. Nothing is written to the data directory or to a running server.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.choice import (
    RISKS,
    UNPROVEN,
    is_earlier,
    kind_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.recipes import (
    WHOLE,
    Recipe,
    Unbuildable,
    open_plain,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.salvage import Salvaged
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime, scan_rdb, sha256_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import wrong_keys
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.load import known_answer
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.prints import (
    Prints,
    changed,
    contains,
    missing,
    prints_of,
    sizes_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import SideInstance
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

Facts = t.Dict[str, t.Any]
Fill = t.Callable[[Connection, float], Salvaged]

# Stays free beside a candidate.
MARGIN_BYTES = 64 * 1024 * 1024
FILES = {"aof": "appendonly.aof", "rdb": "dump.rdb", "wire": ""}


class Bench(t.NamedTuple):
    """Where and how candidates are tried: the program, the run's directory, the owner of the data, the end (monotonic), known answers."""

    program: str
    folder: str
    owner: tuple[int, int]
    end: float
    known_keys: t.Sequence[t.Mapping[str, t.Any]]
    prints: dict[str, Prints]
    # Keys that expire before that time (seconds since 1970) are in no comparison: they may be gone by themselves.
    outlives: float


def blank(name: str, lineage: str, error: str = "") -> Facts:
    """Return the facts of a candidate about which nothing is known yet."""
    return {
        "name": name, "path": "", "sha256": "", "bytes": 0, "keys": 0, "expires": 0, "last_write": None, "lineage": lineage,
        "dropped": 0, "unit": "keys", "exact": True, "dropped_bytes": 0, "detail": "", "unproven": False, "moves": False,
        "known_wrong": 0, "wrong_keys": [],
        "in_step": False, "doubt": "", "missing": None, "changed": 0, "contains_all": False, "superset": False, "loss": {}, "binds": {},
        "risk": RISKS[kind_of(name)], "proof": "", "error": error, "seconds": 0.0,
    }  # fmt: skip


def tried(bench: Bench, recipe: Recipe, fill: t.Optional[Fill] = None) -> Facts:
    """Return the facts of one candidate; a failure becomes its ``error``. *fill* puts keys into an empty side instance."""
    begun = time.monotonic()
    facts = blank(recipe.name, recipe.lineage)
    facts["risk"] = UNPROVEN if recipe.unproven else facts["risk"]
    facts["unit"] = "commands" if recipe.kind == "aof" else "keys"
    facts.update(unproven=recipe.unproven, binds=dict(recipe.binds), last_write=recipe.last_write)
    folder = os.path.join(bench.folder, recipe.name)
    try:
        facts.update(_made(bench, recipe, folder, fill))
    except OutOfTime:
        facts["error"] = "ran out of time trying candidates"
    except OSError as error:
        facts["error"] = one_line(error.strerror or error, 160)
    except (SideFailed, Unbuildable, RespError, StepError) as error:
        facts["error"] = one_line(error, 160)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    facts["seconds"] = round(time.monotonic() - begun, 3)
    return facts


def _made(bench: Bench, recipe: Recipe, folder: str, fill: t.Optional[Fill]) -> Facts:
    shutil.rmtree(folder, ignore_errors=True)
    _check_room(bench.folder, 2 * recipe.size)
    os.mkdir(folder, 0o700)
    done = WHOLE if recipe.kind == "wire" else _written(bench, recipe, os.path.join(folder, FILES[recipe.kind]))
    settings = dict(recipe.settings, appendonly="yes" if recipe.kind == "aof" else "no")
    with SideInstance(bench.program, folder, bench.end, bench.owner, settings, expects=recipe.memory) as side:
        if fill is not None:
            with side.connect() as redis:
                done = fill(redis, bench.end)
        facts = _looked(bench, recipe.name, side)
        saved = side.save()
    facts.update(_kept(saved, os.path.join(bench.folder, recipe.name + ".rdb"), bench.end))
    facts.update(dropped=done.dropped, exact=done.exact, dropped_bytes=done.dropped_bytes, detail=one_line(done.detail, 200))
    facts.update(doubt=done.doubt, **({"unit": done.unit} if done.unit else {}))
    if done.last_write is not None:
        facts["last_write"] = done.last_write
    return facts


def _check_room(folder: str, needed: int) -> None:
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free < needed + MARGIN_BYTES:
        raise SideFailed("no_room", "needs %d bytes in %s, %d are free" % (needed + MARGIN_BYTES, one_line(folder, 60), free))


def _written(bench: Bench, recipe: Recipe, path: str) -> Salvaged:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w+b") as out:
        done = recipe.write(out, bench.end)
        if os.geteuid() == 0:
            os.fchown(out.fileno(), *bench.owner)
    return done


def _looked(bench: Bench, name: str, side: SideInstance) -> Facts:
    """Count, sample and fingerprint what a side instance has loaded."""
    with side.connect() as redis:
        bench.prints[name] = prints_of(redis, bench.end, outlives=bench.outlives)
        # An append-only file loads keys whose time is over: reading them ended them, and they no longer count.
        sizes = sizes_of(redis).values()
        seen = [known_answer(redis, one) for one in bench.known_keys]
    wrong = wrong_keys({"known": seen}, {"known_keys": bench.known_keys})
    return {
        "keys": sum(one[0] for one in sizes), "expires": sum(one[1] for one in sizes),
        "known_wrong": len(wrong), "wrong_keys": wrong,
    }  # fmt: skip


def _kept(saved: str, path: str, end: float) -> Facts:
    """Take over the RDB that the side instance saved; return {path, bytes, sha256, proof}. Raises SideFailed, OutOfTime, OSError."""
    os.rename(saved, path)
    with open_plain(path) as file:
        if os.geteuid() == 0:
            os.fchown(file.fileno(), 0, 0)
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
        seen = scan_rdb(file, size, end)
        if seen["verdict"] not in ("valid", "unjudged", "newer"):
            raise SideFailed("io", "the side instance saved a damaged file: %s" % one_line(seen["detail"], 100))
        digest = sha256_of(file, end)
    proof = "side instance" + (", " + seen["proof"] if seen["verdict"] == "valid" else "")
    return {"path": path, "bytes": size, "sha256": digest, "proof": proof}


def related(candidates: t.Sequence[Facts], prints: t.Mapping[str, Prints], today: t.Collection[str]) -> None:
    """Fill in, for each candidate that loads, what others hold and it lacks: ``missing`` (of those of *today*), ``contains_all``."""
    there = {one["name"]: prints[one["name"]] for one in candidates if not one["error"]}
    whole = all(one.complete for one in there.values())
    for one in candidates:
        if one["name"] in there:
            mine = there[one["name"]]
            others = {name: other for name, other in there.items() if name != one["name"] and not is_earlier(name, one["name"])}
            one["contains_all"] = one["superset"] = all(contains(mine, other) for other in others.values())
            one["missing"] = missing(mine, [other for name, other in others.items() if name in today]) if whole else None


def compared(candidates: t.Sequence[Facts], prints: t.Mapping[str, Prints], best: str) -> None:
    """Fill in ``changed``: how many keys have another value in the candidate *best*, or were removed there later."""
    for one in candidates:
        with contextlib.suppress(KeyError):
            mine, newest = prints[one["name"]], prints[best]
            removed = missing(newest, [mine]) if is_earlier(one["name"], best) else 0
            one["changed"] = changed(mine, newest) + removed if one["missing"] is not None else 0
