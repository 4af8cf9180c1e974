# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a working copy can go back to a commit, judged before anything is begun, by what the act itself would refuse. Writes nothing."""

from __future__ import annotations

import os
import pwd
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._git import look, rescue
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.rights import load_odd
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.run import COMMIT, Git, GitError, folder_of, opened
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import opened_folder


def load_returns(given: t.Mapping[str, t.Any], seconds: float) -> dict[str, t.Any]:
    """Return {returns: {commit: why it cannot be gone back to, "" where it can}, rights: of files that git would give back otherwise,
    owner: of the working copy}.

    *given* has repository, path, user, commits and rescue_dir.
    """
    commits = [str(one) for one in given["commits"]]
    try:
        git = opened(given["repository"], given["user"], seconds)
        seen = look.load_seen(git, given["path"], "")
        with opened_folder(git.top) as top:
            rights = load_odd(top, seen.entries)
        inside = _inside(git, str(given["rescue_dir"]))
        return {
            "returns": {one: inside or _unfit_for(git, seen, given["path"], one) for one in commits},
            "rights": rights,
            "owner": _owner(git),
        }
    except (GitError, OSError) as error:
        return {"returns": dict.fromkeys(commits, one_line(error, 200)), "rights": {}, "owner": ""}


def _owner(git: Git) -> str:
    try:
        return pwd.getpwuid(os.stat(git.top).st_uid).pw_name
    except KeyError:
        return ""


def _unfit_for(git: Git, seen: look.Seen, path: str, commit: str) -> str:
    """Return why the folder cannot go back to *commit*, "" if it can, or already is what the commit had."""
    try:
        if not COMMIT.match(commit):
            return "%s is no commit id" % one_line(commit, 60)
        facts = dict(seen.facts, **look.load_commits(git, folder_of(path), commit))
        if facts["tree"] and facts["tree"] == facts["wanted_tree"] and not seen.changed:
            return ""
        why = absent_of(git, facts, path) or unfit_of(facts)
        return why or lacking_of(
            git, rescue.plan_of(git, look.Seen(facts, seen.changed, seen.entries), folder_of(path), {"commit": commit, "run_id": ""})
        )
    except (GitError, rescue.Unfit, OSError) as error:
        return _partial(git, commit, "some of its files") if "promisor" in str(error) else one_line(error, 200)


def _partial(git: Git, commit: str, what: str) -> str:
    """Say that a clone left content out, to fetch it when it is needed: a rollback asks nobody."""
    top = one_line(git.top, 80)
    text = "%s has commit %s without the content of %s: its clone is partial; get it with git -C %s fetch --refetch --no-filter"
    return text % (top, commit[:12], what, top)


def _inside(git: Git, place: str) -> str:
    inside = place and (os.path.realpath(place) + "/").startswith(git.top + "/")
    return "rescue_dir must be outside the repository: %s" % one_line(place, 80) if inside else ""


def absent_of(git: Git, facts: t.Mapping[str, t.Any], path: str) -> str:
    """Return why the wanted commit is not in this working copy, "" if it is."""
    top = one_line(git.top, 80)
    if not facts["commit"]:
        return "%s has no commit yet" % top
    if facts["wanted_there"] and facts["wanted_tree"]:
        return ""
    if facts["wanted_there"]:
        return "commit %s has no folder %s" % (facts["wanted"][:12], one_line(path, 80))
    if git.ask("rev-parse", "--is-shallow-repository").strip() == "true":
        text = "%s has no commit %s: its clone is shallow; get the whole history with git -C %s fetch --unshallow"
        return text % (top, facts["wanted"][:12], top)
    return "%s has no commit %s: get it with git -C %s fetch" % (top, facts["wanted"][:12], top)


def unfit_of(facts: t.Mapping[str, t.Any]) -> str:
    """Return why no commit can be made from what was seen, "" if one can."""
    whole = (
        (not facts["unfinished"], "a %s was begun there and not finished" % facts["unfinished"]),
        (not facts["detached"], "no branch is checked out there"),
        (not facts["locked"], "another git is working there: .git/index.lock is held"),
        (not facts["submodules"], "it contains another repository: %s" % ", ".join(facts["submodules"][:1])),
        (not facts["overlooked"], "git is configured to ignore changes of some files (assume-unchanged, skip-worktree)"),
        (not facts["filters"], "its files go through a filter, a program that we do not run: %s" % ", ".join(facts["filters"][:1])),
        (not facts["link"], "%s is a symbolic link in the working copy" % facts["link"]),
        (
            not facts["changed_count"] or facts["drift_sha256"],
            "the uncommitted changes have %d bytes, too much to keep" % facts["drift_bytes"],
        ),
    )
    return next((one_line(text, 200) for holds, text in whole if not holds), "")


def lacking_of(git: Git, plan: rescue.Plan) -> str:
    """Return which content of the wanted commit is not in this working copy, "" if all is: a partial clone fetches it when it is needed."""
    wanted = {entry["new"][1]: entry["name"] for entry in plan["entries"] if entry["new"][1]}
    told = git.ask("cat-file", "--batch-check", stdin="".join(blob + "\n" for blob in wanted)) if wanted else ""
    gone = [wanted[line.split(" ")[0]] for line in told.splitlines() if line.endswith(" missing")]
    return _partial(git, str(plan["commit"]), one_line(gone[0], 80)) if gone else ""
