# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault files: what a fault is, read and checked before anything is touched."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t
from pathlib import Path

import yaml

from .errors import DrillError
from .families import FAMILIES

OUTCOMES = frozenset(
    {"nothing_to_do", "recovered", "recovered_with_loss", "refused", "unproven", "undone", "failed", "abandoned", "rehearsed"}
)
LOSS = frozenset({"none", "declared", "honest", "unknown", "untouched"})
NEEDS = frozenset({"root", "small_disk", "lab", "sshd", "su", "no_sudo", "pgbackrest", "systemd", "git", "haproxy"})
APPROVALS = frozenset({"", "given", "altered"})
Step = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Turn:
    """One run of the playbook within a drill."""

    expect: t.FrozenSet[str]
    code: str = ""
    tells: str = ""
    acts: t.Tuple[str, ...] = ()
    inject: t.Tuple[Step, ...] = ()
    variables: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    approval: str = ""
    playbook: str = ""
    host: str = ""
    at_once: int = 1
    kill_at: str = ""
    drop_at: str = ""
    hold_at: str = ""
    meanwhile: t.Tuple[Step, ...] = ()
    unchanged: bool = False


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault: how the scene is set, what breaks, which runs follow, and what has to be true in the end."""

    name: str
    family: str
    hypothesis: str
    runs: t.Tuple[Turn, ...]
    playbook: str = ""
    inject: t.Tuple[Step, ...] = ()
    before: t.Tuple[Step, ...] = ({"write": 300},)
    settings: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    variables: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    needs: t.FrozenSet[str] = frozenset()
    loss: str = "none"
    approve: bool = False
    replica: bool = False
    writers: bool = True
    # Whether what is beside the target has to stay as it is; not where the fault breaks that, too.
    decoy: bool = True
    backups: bool = False
    checksums: t.Optional[bool] = None
    again: bool = True
    rehearse: bool = True
    slow: bool = False
    kept_share: float = 0.0
    # 0: as the file says. Any other number varies what is written and where it is damaged, the same way each time.
    seed: int = 0
    # Whether triage is asked before the first run, and judged by what that run finds.
    triage: bool = False


def load(path: Path, seed: int = 0) -> Fault:
    """Return the fault of one file, varied by *seed*; its folder is its family. Raises DrillError that names the file."""
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _fault(name_of(path), {**given, "family": path.parent.name}, seed)
    except (OSError, yaml.YAMLError, TypeError, ValueError, KeyError) as error:
        raise DrillError(f"{path}: {' '.join(str(error).split())}") from None


def name_of(path: Path) -> str:
    """Return the name of a fault: redis_killed for redis/killed.yml."""
    return f"{path.parent.name}_{path.stem}"


def load_all(folder: Path, names: t.Sequence[str] = (), seed: int = 0) -> list[Fault]:
    """Return the faults of *names* (none: all that are not slow), by name; raises DrillError for one that is not there.

    A fault may be named as its file is, too: redis/killed.
    """
    known = {name_of(path): path for path in sorted(folder.glob("*/*.yml"))}
    names = [name.replace("/", "_", 1) for name in names]
    missing = [name for name in names if name not in known]
    if missing:
        near = difflib.get_close_matches(missing[0], known, 1, 0.8)
        meant = f" ({near[0]} is meant?)" if near else ""
        raise DrillError(f"no such fault: {', '.join(missing)}{meant}; there are: {', '.join(known)}")
    found = [load(known[name], seed) for name in names or known]
    return found if names else [fault for fault in found if not fault.slow]


def _fault(name: str, given: dict[str, t.Any], seed: int) -> Fault:
    expect = _words(given.pop("expect", ()), OUTCOMES)
    single = {"expect": sorted(expect), **{key: str(given.pop(key, "")) for key in ("code", "tells")}, "acts": given.pop("acts", ())}
    turns = tuple(_turn(dict(turn)) for turn in given.pop("runs", None) or [single])
    given["needs"] = _words(given.get("needs", ()), NEEDS)
    for key in ("inject", "before"):
        if key in given:
            given[key] = _steps(given[key])
    fault = Fault(name=name, runs=turns, seed=seed, **given)
    _words(fault.family, FAMILIES)
    if fault.loss not in LOSS:
        raise ValueError(f"loss has to be one of {', '.join(sorted(LOSS))}")
    return fault


def _turn(given: dict[str, t.Any]) -> Turn:
    expect = _words(given.pop("expect", ()), OUTCOMES)
    if not expect and not given.get("kill_at"):
        raise ValueError("a run has to say which outcomes it expects")
    if given.get("approval", "") not in APPROVALS:
        raise ValueError(f"approval has to be one of {', '.join(sorted(APPROVALS))}")
    acts = tuple(str(act) for act in given.pop("acts", ()))
    return Turn(expect=expect, acts=acts, **{**given, **{key: _steps(given.get(key, ())) for key in ("inject", "meanwhile")}})


def _steps(given: t.Iterable[t.Any]) -> tuple[Step, ...]:
    """Return steps as one-key mappings; a bare word is a step without an argument."""
    steps = tuple({step: None} if isinstance(step, str) else dict(step) for step in given)
    if any(len(step) != 1 for step in steps):
        raise ValueError("each step is one word, or one word with its argument")
    return steps


def _words(given: t.Any, allowed: t.Collection[str]) -> frozenset[str]:
    words = frozenset([given] if isinstance(given, str) else given)
    if words - set(allowed):
        raise ValueError(f"unknown word {', '.join(sorted(words - set(allowed)))}; known: {', '.join(sorted(allowed))}")
    return words
