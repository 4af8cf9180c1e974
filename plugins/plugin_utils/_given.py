# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables given with ``-e`` that nothing reads: Ansible ignores them silently, so the intended setting would not apply."""

from __future__ import annotations

import difflib
import functools
import os
import re
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import options_of

ROOT = Path(os.path.dirname(__file__), "..", "..")
WORD = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
# How alike a name has to be for it to be a slip: another may be a variable of the caller's own.
ALIKE = 0.85
# A value would reach the result of a task, and by it the log, on its way to a module.
_FROM_FILE = (
    "{name} is not read: secrets come from files, so that none reaches a log; set {name}_file. Keep it in Ansible Vault under a name"
    " of your own and write the file with it: docs/first-hour.md has the command"
)


class Slip(t.NamedTuple):
    """What is wrong with a variable, the word that was given in the command, and the better one ("" where none is like it)."""

    text: str
    word: str
    better: str

    def corrected(self, command: str) -> str:
        """Return *command* with what was meant in its place; its playbook, inventory and limit may have the same word in them."""
        if not self.better:
            return command
        before, first, variables = command.partition(" -e ")
        return before + first + variables.replace(self.word, self.better)


def slips(given: t.Mapping[str, t.Any], own: t.Optional[t.Mapping[str, t.Any]] = None) -> list[Slip]:
    """Return one for each variable of *given* that nothing here reads, and for a word without a value.

    A name is a slip that is nearly one of the collection's, or that begins like a role of two words (``redis_recovery_...``). Variables of
    the inventory, *own*, are slips only where they are nearly ours and no other variable there uses them.
    """
    wrong = []
    bare = one_line(redact(str(given.get("_raw_params") or "")), 60)
    if bare:
        wrong.append(Slip("-e %s has no value" % bare, bare, bare + "=VALUE"))
    strange = [name for name in map(str, given) if _is_strange(name)]
    # All of the collection is read only for a name that no role declares.
    known = _names_in([*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "roles").glob("*/*/**/*.yml")]) if strange else set()
    for name in strange:
        if _is_secret(name):
            wrong.append(Slip(_FROM_FILE.format(name=one_line(name, 80)), name, name + "_file"))
            continue
        near = [] if name in known else difflib.get_close_matches(name, known, 1, ALIKE)
        if near:
            wrong.append(Slip("%s is not a variable here; did you mean %s?" % (one_line(name, 80), near[0]), name, near[0]))
        elif name not in known and "_" in _role_of(name):
            wrong.append(Slip("%s is not a variable of the role %s" % (one_line(name, 80), _role_of(name)), name, ""))
    return wrong + _slips_of_inventory(own or {}, given)


def _slips_of_inventory(own: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> list[Slip]:
    texts = " ".join(str(value) for name, value in own.items() if name not in given)
    strange = {name: value for name, value in own.items() if name not in given and _is_strange(name) and name not in texts}
    return [one for one in slips(strange) if one.better] if strange else []


@functools.cache
def _roles() -> tuple[str, ...]:
    return tuple(sorted(role.name for role in (ROOT / "roles").iterdir() if role.is_dir()))


def _role_of(name: str) -> str:
    """Return the role whose variables begin like *name*, "" for none."""
    return max((role for role in _roles() if name.startswith(role + "_")), key=len, default="")


def _is_strange(name: str) -> bool:
    """Return whether a name begins like a role, and is not among its described inputs."""
    role = _role_of(name)
    return bool(role) and name not in options_of(role)


def _is_secret(name: str) -> bool:
    """Return whether a name is that of a secret which a role reads from a file only."""
    return name not in options_of(_role_of(name)) and name + "_file" in options_of(_role_of(name))


def _names_in(files: t.Iterable[Path]) -> set[str]:
    return {name for path in files for name in WORD.findall(path.read_text(encoding="utf-8", errors="replace"))}
