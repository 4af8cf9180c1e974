# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owner, group and mode of files that come back though nothing lies there now: git keeps none of them.

The first that is known holds: what was recorded with the commit; what the same file has under the name that it was given since; what all
files beside it have. Otherwise its folder decides, when the file is written.
"""

from __future__ import annotations

import hashlib
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._git.look import EXEC, FILE, LINK, Names, state_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.put import rights_of, suggested
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.run import Git, native
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import below, facts_of

# More files than this are not remembered one by one.
MOST_FILES = 5000
Rights = t.List[int]


def load_odd(top: int, entries: Names) -> dict[str, Rights]:
    """Return (user, group, mode) of each tracked file that git would not give back like that."""
    found = {}
    for name, (mode, _blob) in sorted(entries.items())[:MOST_FILES]:
        facts = facts_of(top, native(name))
        if facts is None or not stat.S_ISREG(facts.st_mode):
            continue
        with below(top, native(name)) as (folder, _last):
            usual = suggested(mode, None, os.fstat(folder))
        if rights_of(facts) != usual:
            found[name] = rights_of(facts)
    return found


def given(recorded: t.Any, mode: str) -> t.Optional[Rights]:
    """Return recorded rights as they are used for a file of this mode, None for what are none."""
    if not (
        isinstance(recorded, (list, tuple))
        and len(recorded) == 3
        and all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in recorded)
    ):
        return None
    user, group, bits = recorded
    return [user, group, _fit(bits & 0o777, mode)]


def _fit(bits: int, mode: str) -> int:
    return bits | (bits & 0o444) >> 2 if mode == EXEC else bits & ~0o111


class Change(t.NamedTuple):
    """``touched`` is (index entry, entry to come) by name, ``entries`` the index, ``trees`` the present and the wanted one."""

    touched: t.Mapping[str, t.Any]
    entries: Names
    trees: tuple[str, str]


def load_coming(git: Git, top: int, change: Change, recorded: t.Mapping[str, t.Any]) -> dict[str, Rights]:
    """Return the rights of each file that comes where nothing is; *recorded* are those kept with the commit. Raises GitError, OSError."""
    wanted = {name: new[0] for name, (_index, new) in change.touched.items() if new[0] in (FILE, EXEC)}
    coming = {name: mode for name, mode in wanted.items() if not _is_file(facts_of(top, native(name)))}
    found: dict[str, Rights] = {}
    for source in (
        lambda rest: {name: given(recorded.get(name), mode) for name, mode in rest.items()},
        lambda rest: _renamed(git, top, change.trees, rest),
        lambda rest: _moved(git, top, change.touched, rest),
        lambda rest: {name: _beside(top, name, change.entries, mode) for name, mode in rest.items()},
    ):
        rest = {name: mode for name, mode in coming.items() if name not in found}
        found.update({name: rights for name, rights in (source(rest) if rest else {}).items() if rights})
    return found


def _is_file(facts: t.Optional[os.stat_result]) -> bool:
    return facts is not None and stat.S_ISREG(facts.st_mode)


def _of(facts: t.Optional[os.stat_result], mode: str) -> t.Optional[Rights]:
    return given(rights_of(facts), mode) if facts is not None and _is_file(facts) else None


def _renamed(git: Git, top: int, trees: tuple[str, str], coming: t.Mapping[str, str]) -> dict[str, t.Optional[Rights]]:
    """Return the rights of files that have another name in the present tree, as git finds renames."""
    if not all(trees):
        return {}
    words = git.ask("diff-tree", "-r", "-z", "-M30%", "-l5000", "--diff-filter=R", *trees).split("\0")
    names = {words[at + 2]: words[at + 1] for at in range(0, len(words) - 2, 3)}
    return {name: _of(facts_of(top, native(names[name])), mode) for name, mode in coming.items() if name in names}


def _moved(git: Git, top: int, touched: t.Mapping[str, t.Any], coming: t.Mapping[str, str]) -> dict[str, t.Optional[Rights]]:
    """Return the rights of files that somebody renamed without a commit: the very content lies under a name that goes."""
    going = {state_of(top, name)[1]: name for name, (_index, new) in touched.items() if not new[1]}
    names = {name: going.get(_digest(git, touched[name][1][1]), "") for name in coming if set(going) - {""}}
    return {name: _of(facts_of(top, native(before)), coming[name]) for name, before in names.items() if before}


def _digest(git: Git, blob: str) -> str:
    return hashlib.sha256(git.ask("cat-file", "blob", blob).encode("utf-8", "surrogateescape")).hexdigest()


def _beside(top: int, name: str, entries: Names, mode: str) -> t.Optional[Rights]:
    """Return the rights that all tracked files in the folder of *name* share, but for the right to run them; None where they differ."""
    folder = name.rpartition("/")[0]
    beside = [other for other, (kind, _blob) in entries.items() if other.rpartition("/")[0] == folder and kind != LINK]
    seen = [facts_of(top, native(other)) for other in beside[:MOST_FILES]]
    shared = {(facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode) & 0o666) for facts in seen if facts and _is_file(facts)}
    return given(shared.pop(), mode) if len(shared) == 1 else None
