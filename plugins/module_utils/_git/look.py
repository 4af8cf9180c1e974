# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a folder of a git working copy differs from what was committed, as plain data; writes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.run import COMMIT, Git, GitError, folder_of, native, opened
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import below, facts_of, opened_folder

# Uncommitted contents that are still hashed and saved.
MOST_DRIFT = 64 * 2**20
MOST_SHOWN = 50
NOTHING = ("000000", "")
LINK, FILE, EXEC, FOLDER = "120000", "100644", "100755", "040000"
# What an unfinished operation leaves in the git directory.
MARKS = {
    "MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert",
    "sequencer": "cherry-pick", "BISECT_LOG": "bisect",
}  # fmt: skip
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Names = t.Dict[str, t.Tuple[str, str]]


class Seen(t.NamedTuple):
    """``entries`` is the index (mode and blob by name), ``changed`` those of what differs from HEAD there or in the working copy."""

    facts: dict[str, t.Any]
    changed: Names
    entries: Names


def load_seen(git: Git, path: str, wanted: str) -> Seen:
    """Look at the folder *path* and at the commit *wanted* ("" for none). Raises GitError."""
    folder = folder_of(path)
    if wanted and not COMMIT.match(wanted):
        raise GitError("bad", "give a full commit id: %s" % one_line(wanted, 80))
    facts = dict(load_commits(git, folder, wanted), **_place(git))
    index, overlooked, submodules = _index(git, folder)
    changed, unmerged, nested = _status(git, folder)
    facts.update(
        unfinished=facts["unfinished"] or ("merge" if unmerged else ""), changed=_shown(changed), changed_count=len(changed),
        changed_elsewhere=_elsewhere(git, folder), overlooked=overlooked, filters=_filtered(git, index, changed),
        submodules=_shown(submodules + nested), link=_link_in(git.top, folder),
    )  # fmt: skip
    facts["drift_bytes"], facts["drift_sha256"] = drift_of(git.top, changed)
    return Seen(facts, changed, index)


def _shown(names: t.Iterable[str]) -> list[str]:
    return [one_line(name, 200) for name in sorted(names)[:MOST_SHOWN]]


def load_facts(repository: str, path: str, wanted: str, user: str, seconds: float) -> dict[str, t.Any]:
    """Return {error, detail, ...the facts of a look}; ``error`` is "" or a word of GitError."""
    try:
        return dict(load_seen(opened(repository, user, seconds), path, wanted).facts, error="", detail="")
    except GitError as error:
        return {"error": error.word, "detail": str(error)}
    except OSError as error:
        return {"error": "unknown", "detail": one_line(error, 160)}


def load_commits(git: Git, folder: str, wanted: str) -> dict[str, t.Any]:
    """Return {commit, tree, wanted, wanted_there, wanted_tree}: ids, "" for what is not there."""
    asked = [word for commit in ("HEAD", wanted) if commit for word in (commit + "^{commit}", "%s:%s" % (commit, folder))]
    lines = git.ask("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin="".join(one + "\n" for one in asked)).splitlines()
    found = [line.split(" ")[0] if line.endswith((" commit", " tree")) else "" for line in lines] + ["", ""]
    return {"commit": found[0], "tree": found[1], "wanted": wanted, "wanted_there": bool(found[2]), "wanted_tree": found[3]}


def _place(git: Git) -> dict[str, t.Any]:
    code, out, dummy = git.tell("symbolic-ref", "-q", "HEAD")
    name = out.rstrip("\n") if code == 0 and out.startswith("refs/heads/") else ""
    inner = native(git.ask("rev-parse", "--absolute-git-dir").rstrip("\n"))
    begun = [word for mark, word in MARKS.items() if os.path.lexists(os.path.join(inner, mark))]
    return {
        "branch": one_line(name[len("refs/heads/") :], 200), "ref": name, "detached": not name, "unfinished": begun[0] if begun else "",
        "locked": os.path.lexists(os.path.join(inner, "index.lock")),
    }  # fmt: skip


def pathspec(folder: str) -> tuple[str, ...]:
    return ("--", folder or ".")


def _index(git: Git, folder: str) -> tuple[Names, int, list[str]]:
    """Return (mode and blob by name, how many of them git is configured to ignore, the submodules among them)."""
    names: Names = {}
    overlooked = 0
    for record in git.ask("ls-files", "--stage", "-v", "-z", *pathspec(folder)).split("\0")[:-1]:
        head, dummy, name = record.partition("\t")
        tag, mode, blob, dummy = head.split(" ")
        overlooked += tag not in ("H", "M")
        names[name] = (mode, blob)
    return names, overlooked, [name for name, (mode, dummy) in names.items() if mode == "160000"]


def _status(git: Git, folder: str) -> tuple[Names, bool, list[str]]:
    """Return (index entries of what differs from HEAD, whether a merge is unfinished, nested repositories that are not submodules)."""
    words = ("status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all", *pathspec(folder))
    changed: Names = {}
    unmerged, nested = False, []
    for record in git.ask(*words).split("\0")[:-1]:
        if record.startswith("? "):
            nested += [record[2:]] if record.endswith("/") else []
            changed.setdefault(record[2:], NOTHING)
        elif record.startswith("1 "):
            fields = record.split(" ", 8)
            changed[fields[8]] = NOTHING if fields[4] == NOTHING[0] or not fields[7].strip("0") else (fields[4], fields[7])
        else:
            unmerged = True
    return changed, unmerged, nested


def _elsewhere(git: Git, folder: str) -> int:
    if not folder:
        return 0
    out = git.ask("status", "--porcelain=v2", "-z", "--untracked-files=normal", "--no-renames", "--ignore-submodules=all")
    names = [record.split(" ", {"1": 8, "u": 10}.get(record[:1], 1))[-1] for record in out.split("\0")[:-1]]
    # git reports an untracked folder above ours as a whole.
    return sum(not (name + "/").startswith(folder + "/") and not (name.endswith("/") and folder.startswith(name)) for name in names)


def _filtered(git: Git, *names: t.Iterable[str]) -> list[str]:
    """Return the filters (programs that we do not run) that apply to contents of the folder."""
    asked = sorted({name for some in names for name in some})
    if not git.filters or not asked:
        return []
    fields = git.ask("check-attr", "-z", "--stdin", "filter", stdin="".join(name + "\0" for name in asked)).split("\0")
    return sorted(set(fields[2::3]) & set(git.filters))


def _link_in(top: str, folder: str) -> str:
    """Return the part of *folder* that is a symbolic link in the working copy, "" for none."""
    at = top
    for part in folder.split("/") if folder else ():
        at = os.path.join(at, native(part))
        if os.path.islink(at):
            return one_line(os.path.relpath(at, top), 200)
    return ""


# The working copy --------------------------------------------------------------------------------


def kind_of(facts: t.Optional[os.stat_result]) -> str:
    """Return the kind of file in git's modes; "" for nothing, "other" for what git does not store."""
    if facts is None:
        return ""
    if stat.S_ISREG(facts.st_mode):
        return EXEC if facts.st_mode & 0o100 else FILE
    return LINK if stat.S_ISLNK(facts.st_mode) else FOLDER if stat.S_ISDIR(facts.st_mode) else "other"


def content_of(top: int, name: str) -> bytes:
    """Return the bytes of a file or the target of a link below *top*. Raises OSError, also for what became neither."""
    with below(top, native(name)) as (folder, last):
        if stat.S_ISLNK(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode):
            return os.fsencode(os.readlink(last, dir_fd=folder))
        with os.fdopen(os.open(last, _READ, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("%s is not a file" % one_line(name, 80))
            content = file.read(MOST_DRIFT + 1)
    if len(content) > MOST_DRIFT:
        raise OSError("%s is too large" % one_line(name, 80))
    return content


def state_of(top: int, name: str) -> tuple[str, str]:
    """Return (mode as git has it, sha256 of the bytes) of what lies at *name*; nothing and a folder are ("", "")."""
    kind = kind_of(facts_of(top, native(name)))
    if kind in ("", FOLDER, "other"):
        return ("other", "") if kind == "other" else ("", "")
    return kind, hashlib.sha256(content_of(top, name)).hexdigest()


def drift_of(path: str, changed: Names) -> tuple[int, str]:
    """Return (bytes, one digest) of what is not committed: index entry, mode and bytes of each path. "" for none and for too much."""
    with opened_folder(path) as top:
        sizes = [facts.st_size for facts in (facts_of(top, native(name)) for name in changed) if facts and not stat.S_ISDIR(facts.st_mode)]
        if not changed or sum(sizes) > MOST_DRIFT:
            return sum(sizes), ""
        return sum(sizes), digest_of({name: (entry, state_of(top, name)) for name, entry in changed.items()})


def digest_of(drift: t.Mapping[str, tuple[tuple[str, str], tuple[str, str]]]) -> str:
    """Return one sha256 for (index entry, state of the file) by name."""
    lines = sorted(json.dumps([name, *entry, *state]) for name, (entry, state) in drift.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""
