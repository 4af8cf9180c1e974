# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps uncommitted changes before a configuration is returned, proves them restorable, and makes the commit.

It uses separate indexes: until the plan is on disk, neither branch, index nor a file of the working copy has changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import stat
import tempfile
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.look import (
    MOST_DRIFT,
    NOTHING,
    Names,
    Seen,
    digest_of,
    pathspec,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.put import Around, blocked, kept, rights_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.rights import Change, load_coming
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.run import Git, GitError, native
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import (
    below,
    facts_of,
    make_folder,
    opened_folder,
    write_new,
)

PLAN, PATCH, STAGED = "plan.json", "drift.patch", "staged.patch"
Plan = t.Dict[str, t.Any]
_DIFF = (
    "-p", "--binary", "--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--unified=3", "--src-prefix=a/",
    "--dst-prefix=b/",
)  # fmt: skip
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_REMOVED = ("0", "0" * 40)
_IDENTITY = {"NAME": "somabrain.incident_response", "EMAIL": "remediation@localhost"}


class Unfit(Exception):
    """The configuration cannot be returned in its present state; ``code`` is a refusal code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextlib.contextmanager
def scratch(git: Git) -> t.Iterator[str]:
    """Yield a private directory for indexes, owned by the user that git runs as."""
    folder = tempfile.mkdtemp(prefix="somabrain-return-")
    try:
        if git.user:
            entry = pwd.getpwnam(git.user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def identity(stamp: str) -> dict[str, str]:
    """Return who makes a commit, and when: the same again after a kill."""
    return {"GIT_%s_%s" % (role, key): value for role in ("AUTHOR", "COMMITTER") for key, value in {**_IDENTITY, "DATE": stamp}.items()}


# What changes ------------------------------------------------------------------------------------


def tree_of(git: Git, tree: str, folder: str) -> Names:
    """Return mode and blob of each file of a tree, by its name in the working copy."""
    names: Names = {}
    prefix = folder + "/" if folder else ""
    for record in git.ask("ls-tree", "-r", "-z", "--full-tree", tree).split("\0")[:-1] if tree else ():
        head, dummy, name = record.partition("\t")
        mode, dummy, blob = head.split(" ")
        names[prefix + name] = (mode, blob)
    return names


def touched_of(git: Git, seen: Seen, folder: str) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """Return (index entry, entry to come) of each name that differs from the wanted tree in HEAD, index or working copy. Raises Unfit."""
    head, wanted = tree_of(git, seen.facts["tree"], folder), tree_of(git, seen.facts["wanted_tree"], folder)
    names = {name for name in {*head, *wanted} if head.get(name) != wanted.get(name)} | set(seen.changed)
    odd = [name for name in sorted(names) if wanted.get(name, NOTHING)[0] == "160000" or "/.git/" in "/%s/" % name.lower()]
    if odd:
        raise Unfit("state_not_handled", "the wanted commit contains another repository there: %s" % one_line(odd[0], 80))
    index = {name: seen.changed.get(name, seen.entries.get(name, NOTHING)) for name in names}
    return {name: (index[name], wanted.get(name, NOTHING)) for name in sorted(names)}


def plan_of(git: Git, seen: Seen, folder: str, params: t.Mapping[str, t.Any]) -> Plan:
    """Return what would be done, as data; nothing is written. Raises Unfit, GitError, OSError."""
    touched = touched_of(git, seen, folder)
    if git.filters and any(name.rpartition("/")[2] == ".gitattributes" for name in touched):
        raise Unfit("state_not_handled", "it would change which files go through the filter %s" % one_line(git.filters[0], 40))
    leaving = {name for name, (dummy, new) in touched.items() if new == NOTHING} | set(seen.changed) | set(seen.entries)
    with opened_folder(git.top) as top:
        for name, (_index, new) in touched.items():
            found = blocked(top, name, leaving) if new != NOTHING else ""
            if found:
                raise Unfit("state_not_handled", "%s is in the way, and git does not track it: move it away" % one_line(found, 80))
        folders = _folders(top, touched)
        change = Change(touched, seen.entries, (seen.facts["commit"], seen.facts["wanted"]))
        rights = load_coming(git, top, change, params.get("rights") or {})
    entries = [{"name": name, "index": list(index), "new": list(new), "come": rights.get(name)} for name, (index, new) in touched.items()]
    return {
        "version": 1, "state": "begun", "path": folder, "repository": git.top, "ref": seen.facts["ref"], "head": seen.facts["commit"],
        "commit": params["commit"], "wanted_tree": seen.facts["wanted_tree"], "run_id": params["run_id"], "entries": entries,
        "drift_sha256": seen.facts["drift_sha256"], "folders": folders, "stamp": "%d +0000" % time.time(),
    }  # fmt: skip


def _folders(top: int, touched: t.Mapping[str, t.Any]) -> dict[str, list[int]]:
    """Return (user, group, mode) of the folders above the files, as far as they are there."""
    found = {}
    for path in sorted(_parents(touched)):
        facts = facts_of(top, native(path))
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            found[path] = rights_of(facts)
    return found


def _parents(names: t.Iterable[str]) -> set[str]:
    return {"/".join(parts[:index]) for parts in (name.split("/") for name in names) for index in range(1, len(parts))}


def around_of(plan: Plan, back: bool) -> Around:
    """Return what is known of folders: going back to a commit empties those inside the path, putting back those that were not there."""
    there = plan["folders"]
    inside = {path for path in there if not plan["path"] or path.startswith(plan["path"] + "/")}
    return Around(there, _parents(entry["name"] for entry in plan["entries"]) - set(there) if back else inside)


# Keeping -----------------------------------------------------------------------------------------


def keep(git: Git, rescue: int, plan: Plan, seen: Seen) -> None:
    """Copy every file that will change, and write the drift as patches that are proven to apply; adds to *plan*. Raises Unfit."""
    make_folder(rescue, "files")
    total, drift = 0, {}
    with opened_folder(git.top) as top:
        for number, entry in enumerate(plan["entries"]):
            state, rights, content = kept(top, entry["name"])
            if state[0] == "other":
                raise Unfit("state_not_handled", "%s is not a file, link or folder" % one_line(entry["name"], 80))
            total += len(content)
            if total > MOST_DRIFT:
                raise Unfit("state_not_handled", "the files to change exceed %d bytes, too much to keep" % MOST_DRIFT)
            entry.update(was=list(state), rights=rights, copy="files/%d" % number if state[0] else "")
            if state[0]:
                write_new(rescue, entry["copy"], content)
            if entry["name"] in seen.changed:
                drift[entry["name"]] = (seen.changed[entry["name"]], state)
    if digest_of(drift) != plan["drift_sha256"]:
        raise Unfit("approval_stale", "the uncommitted changes changed during the copy")
    plan["patch"] = _keep_patches(git, rescue, plan, seen)


def _keep_patches(git: Git, rescue: int, plan: Plan, seen: Seen) -> str:
    """Write the patches of the drift, and return the name of the one to read, "" for no drift."""
    with scratch(git) as folder:
        patch = _proven_patch(git, folder, plan, seen)
    staged = git.ask("diff-index", "--cached", *_DIFF, "HEAD", *pathspec(plan["path"])) if seen.changed else ""
    for name, text in ((PATCH, patch), (STAGED, staged if staged != patch else "")):
        if text:
            write_new(rescue, name, text.encode("utf-8", "surrogateescape"))
    return PATCH if patch else STAGED if staged else ""


def _proven_patch(git: Git, folder: str, plan: Plan, seen: Seen) -> str:
    """Return the drift as a patch that makes HEAD's tree the very tree of the working copy. Raises Unfit where it does not."""
    drift = {entry["name"]: entry["was"][0] for entry in plan["entries"] if entry["name"] in seen.changed}
    if not drift:
        return ""
    index, again = os.path.join(folder, "index"), os.path.join(folder, "again")
    git.ask("read-tree", "HEAD", index=index)
    set_entries(git, {name: NOTHING for name, mode in drift.items() if not mode}, index)
    there = "".join(name + "\0" for name, mode in drift.items() if mode)
    git.ask("update-index", "--add", "--replace", "-z", "--stdin", stdin=there, index=index)
    patch = git.ask("diff-index", "--cached", *_DIFF, "HEAD", index=index)
    if patch:
        git.ask("read-tree", "HEAD", index=again)
        git.ask("apply", "--cached", "--binary", "-", stdin=patch, index=again)
        if git.ask("write-tree", index=again) != git.ask("write-tree", index=index):
            raise Unfit("state_not_handled", "the patch of the uncommitted changes does not reproduce the files")
    return patch


def set_entries(git: Git, entries: t.Mapping[str, t.Sequence[str]], index: str = "") -> None:
    """Set entries (mode, blob) of an index, of the real one by default; those that go first, since a folder may come in their place."""
    lines = [(name, _REMOVED if tuple(entry) == NOTHING else tuple(entry)) for name, entry in entries.items()]
    text = "".join("%s %s\t%s\0" % (mode, blob, name) for name, (mode, blob) in sorted(lines, key=lambda line: line[1] != _REMOVED))
    if text:
        git.ask("update-index", "--replace", "-z", "--index-info", stdin=text, index=index)


def commit_of(git: Git, plan: Plan, patch: str) -> str:
    """Make the commit that goes back, on top of HEAD, and return it; HEAD's own where its tree is the wanted one. Raises GitError."""
    with scratch(git) as folder:
        index = os.path.join(folder, "index")
        git.ask("read-tree", plan["head"], index=index)
        set_entries(git, {entry["name"]: entry["new"] for entry in plan["entries"]}, index)
        tree = git.ask("write-tree", index=index).strip()
    inner, old = git.ask("rev-parse", "%s:%s" % (tree, plan["path"]), plan["head"] + "^{tree}").split()
    if inner != plan["wanted_tree"]:
        raise GitError("unknown", "the new tree differs from the wanted one")
    if tree == old:
        return str(plan["head"])
    what = one_line(plan["path"] or "the configuration", 60)
    text = "Return %s to %s\n\nRemediation run %s." % (what, plan["commit"][:12], one_line(plan["run_id"], 80))
    text += " What was not committed is kept in %s.\n" % one_line(patch, 200) if patch else "\n"
    return git.ask("commit-tree", tree, "-p", plan["head"], "-F", "-", stdin=text, env=identity(plan["stamp"])).strip()


# The plan ----------------------------------------------------------------------------------------


def save_plan(rescue: int, plan: Plan) -> None:
    """Write the plan so that it is whole at every moment. Raises OSError."""
    write_new(rescue, PLAN + ".part", json.dumps(plan, sort_keys=True).encode())
    os.rename(PLAN + ".part", PLAN, src_dir_fd=rescue, dst_dir_fd=rescue)
    os.fsync(rescue)


def load_plan(rescue: int) -> t.Optional[Plan]:
    """Return the plan of an earlier call, None where there was none. Raises Unfit for one that cannot be read, OSError."""
    try:
        return t.cast(Plan, json.loads(read_kept(rescue, PLAN).decode()))
    except FileNotFoundError:
        return None
    except ValueError:
        raise Unfit("state_not_handled", "the plan of an earlier call is unreadable") from None


def read_kept(rescue: int, name: str) -> bytes:
    """Return a file of the rescue directory. Raises OSError."""
    with below(rescue, name) as (folder, last):
        descriptor = os.open(last, _READ, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
