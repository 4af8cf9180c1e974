# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``configuration_return``: a folder of a git working copy goes back to what a commit had, as a new commit on its branch.

Order: refuse; copy what will change, with a patch of what is not committed, and prove the patch; make the commit; write the plan; move
the branch by compare-and-swap; put the files in place, each by a rename; set the index; look again. Until the plan is written nothing of
the copy has changed; after that the same call ends what was begun, and ``action: back`` takes it back to the byte.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._git import rescue
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.fit import absent_of, lacking_of, unfit_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.look import LINK, NOTHING, Seen, load_seen, pathspec
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.put import Disturbed, Wanted, put
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.run import COMMIT, Git, GitError, folder_of, opened
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import is_full, make_private, opened_folder

ARGUMENT_SPEC: dict[str, t.Any] = {
    "repository": {"type": "path", "required": True},
    "path": {"type": "str", "default": "."},
    "user": {"type": "str", "default": ""},
    "commit": {"type": "str", "default": ""},
    "expected_head": {"type": "str", "default": ""},
    "expected_drift": {"type": "str", "default": ""},
    "rights": {"type": "dict", "default": {}},
    "rescue_dir": {"type": "path", "required": True},
    "run_id": {"type": "str", "required": True},
    "action": {"type": "str", "choices": ["return", "back"], "default": "return"},
    "timeout": {"type": "float", "default": 120.0},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}
MOST_FILES, MOST_DIFF = 100, 20000
Plan = rescue.Plan


def run(params: Params, check: bool) -> Result:
    """Return {changed, before, after, patch, files, diff, say, stage}. Raises StepError, which says whether anything was begun."""
    act = _return if params["action"] == "return" else _back
    try:
        git = opened(params["repository"], params["user"], params["timeout"])
        return dict(act(git, params, check), stage=params["stage"])
    except rescue.Unfit as error:
        raise _refused(error.code, str(error)) from None
    except GitError as error:
        raise _refused("bad_input" if error.word in ("bad", "missing") else "state_not_handled", str(error)) from None
    except Disturbed as error:
        raise _refused("state_not_handled", "%s; to finish, repeat the call, or use action back" % error) from None
    except OSError as error:
        code = "no_room" if is_full(error) else "state_not_handled"
        text = "%s: %s; to finish, repeat the call, or use action back"
        raise _refused(code, text % (one_line(params["repository"], 60), one_line(error, 120))) from None


# Going back to a commit --------------------------------------------------------------------------


def _return(git: Git, params: Params, check: bool) -> Result:
    _judge_params(params, git)
    plan = _earlier(params)
    if plan and plan["state"] == "putting_back":
        raise rescue.Unfit("state_not_handled", "action back was begun and not finished: finish that first")
    if plan and plan["state"] in ("begun", "done"):
        return _go_on(git, plan, params, check)
    seen = load_seen(git, params["path"], params["commit"])
    _judge_seen(git, seen, params)
    folder = folder_of(params["path"])
    if seen.facts["tree"] == seen.facts["wanted_tree"] and not seen.changed:
        return _result({}, seen.facts, False, ["%s matches commit %s" % (_shown(params), params["commit"][:12])])
    plan = rescue.plan_of(git, seen, folder, params)
    lacking = lacking_of(git, plan)
    if lacking:
        raise rescue.Unfit("configuration_unfit", lacking)
    diff = _diff(git, plan, seen)
    if check:
        say = "would return %s of %s to commit %s" % (counted(len(plan["entries"]), "files"), _shown(params), params["commit"][:12])
        return _result(plan, seen.facts, True, [say], diff)
    with _rescue_dir(params) as kept:
        rescue.keep(git, kept, plan, seen)
        plan["patch"] = os.path.join(params["rescue_dir"], plan["patch"]) if plan["patch"] else ""
        plan["made"] = rescue.commit_of(git, plan, plan["patch"])
        rescue.save_plan(kept, plan)
        return dict(_carry_out(git, kept, plan, params), diff=diff)


def _judge_params(params: Params, git: Git) -> None:
    """Raise Unfit for impossible options."""
    for name in ("commit", "expected_head"):
        if not COMMIT.match(params[name]):
            raise rescue.Unfit("bad_input", "%s must be a full commit id" % name)
    place = os.path.realpath(params["rescue_dir"])
    if (place + "/").startswith(git.top + "/"):
        raise rescue.Unfit("bad_input", "rescue_dir must be outside the repository: %s" % one_line(params["rescue_dir"], 80))


def _judge_seen(git: Git, seen: Seen, params: Params) -> None:
    """Raise Unfit unless this is the approved state and a commit can be made from it."""
    facts = seen.facts
    why = absent_of(git, facts, params["path"]) or unfit_of(facts)
    if why:
        raise rescue.Unfit("configuration_unfit", why)
    if facts["commit"] != params["expected_head"]:
        raise rescue.Unfit("approval_stale", "the branch has moved to %s since the plan was made" % facts["commit"][:12])
    if facts["drift_sha256"] != params["expected_drift"]:
        raise rescue.Unfit("approval_stale", "the uncommitted changes differ from those in the plan")


def _go_on(git: Git, plan: Plan, params: Params, check: bool) -> Result:
    """Finish what an earlier call began, or find it done. Raises Unfit if the call differs or the copy changed since."""
    same = {"path": folder_of(params["path"]), "repository": git.top, "commit": params["commit"], "drift_sha256": params["expected_drift"]}
    if any(plan.get(key) != value for key, value in same.items()) or plan["head"] != params["expected_head"]:
        raise rescue.Unfit("bad_input", "rescue_dir holds another return: %s" % one_line(params["rescue_dir"], 80))
    if plan["state"] == "done":
        facts = load_seen(git, params["path"], params["commit"]).facts
        if facts["tree"] == facts["wanted_tree"] and not facts["changed_count"]:
            return _result(plan, facts, False, ["%s matches commit %s" % (_shown(params), params["commit"][:12])])
        raise rescue.Unfit("approval_stale", "it was returned and has changed since")
    if check:
        return _result(plan, {"commit": _head_of(git, plan)}, True, ["would finish the return that was begun"])
    with _rescue_dir(params) as kept:
        return _carry_out(git, kept, plan, params)


def _carry_out(git: Git, kept: int, plan: Plan, params: Params) -> Result:
    """Do the whole plan from wherever an earlier call was interrupted; raises GitError if the end state is wrong."""
    _move_branch(git, plan, plan["head"], plan["made"], "put %s back to %s" % (plan["path"] or ".", plan["commit"][:12]))
    changed = _put_files(git, plan, rescue.around_of(plan, back=False))
    rescue.set_entries(git, {entry["name"]: entry["new"] for entry in plan["entries"]})
    git.tell("update-index", "-q", "--refresh")
    facts = load_seen(git, params["path"], plan["commit"]).facts
    if facts["tree"] != facts["wanted_tree"] or facts["changed_count"]:
        raise GitError("unknown", "the folder does not match commit %s: %s" % (plan["commit"][:12], ", ".join(facts["changed"][:3])))
    rescue.save_plan(kept, dict(plan, state="done"))
    say = ["returned %s of %s to commit %s" % (counted(changed, "files"), _shown(params), plan["commit"][:12])]
    say += ["uncommitted changes are kept in %s" % one_line(plan["patch"], 200)] if plan["patch"] else []
    return _result(plan, facts, True, say)


def _head_of(git: Git, plan: Plan) -> str:
    """Return the commit of the branch of the plan. Raises Unfit where another one is checked out."""
    code, ref, dummy = git.tell("symbolic-ref", "-q", "HEAD")
    if code or ref.rstrip("\n") != plan["ref"]:
        raise rescue.Unfit("approval_stale", "another branch is checked out than in the plan")
    return git.ask("rev-parse", "--verify", "HEAD").strip()


def _move_branch(git: Git, plan: Plan, old: str, new: str, why: str) -> None:
    now = _head_of(git, plan)
    if now not in (old, new):
        raise rescue.Unfit("approval_stale", "the branch has moved to %s since" % now[:12])
    if now != new:
        text = "configuration_return: %s" % one_line(why, 120)
        git.ask("update-ref", "-m", text, plan["ref"], new, old, env=rescue.identity(plan["stamp"]))


def _put_files(git: Git, plan: Plan, around: t.Any) -> int:
    """Make every file what the commit had; return how many there were. Raises Disturbed."""
    with opened_folder(git.top) as top:
        for entry in _in_order(plan["entries"]):
            put(top, entry["name"], _new_of(git, entry), [entry["was"]], around)
    return len(plan["entries"])


def _in_order(entries: t.Sequence[t.Mapping[str, t.Any]]) -> list[t.Mapping[str, t.Any]]:
    """What says how contents are converted comes first; what goes does so last, unless what comes needs its name."""
    coming = [entry["name"] for entry in entries if tuple(entry["new"]) != NOTHING]
    parents = {"/".join(name.split("/")[:index]) for name in coming for index in range(1, name.count("/") + 1)}

    def rank(entry: t.Mapping[str, t.Any]) -> int:
        name = entry["name"]
        if tuple(entry["new"]) == NOTHING:
            return 0 if name in parents or any(name.startswith(one + "/") for one in coming) else 3
        return 1 if name.rpartition("/")[2] == ".gitattributes" else 2

    return sorted(entries, key=rank)


def _new_of(git: Git, entry: t.Mapping[str, t.Any]) -> Wanted:
    mode, blob = entry["new"]
    if tuple(entry["new"]) == NOTHING:
        return Wanted("")
    words = ("cat-file", "blob", blob) if mode == LINK else ("cat-file", "--filters", "--path=" + os.fsdecode(_bytes(entry["name"])), blob)
    return Wanted(mode, _bytes(git.ask(*words)), entry.get("come"))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# Putting back ------------------------------------------------------------------------------------


def _back(git: Git, params: Params, check: bool) -> Result:
    """Take the return back: branch, index and files are what they were before it, to the byte."""
    plan = _earlier(params)
    if plan is None or plan["state"] == "back":
        return _result(plan or {}, {}, False, ["nothing to put back: this run returned no configuration"])
    if plan["repository"] != git.top:
        raise rescue.Unfit("bad_input", "rescue_dir holds a return of another repository")
    now = _head_of(git, plan)
    if now not in (plan["head"], plan["made"]):
        raise rescue.Unfit("approval_stale", "the branch has moved on to %s; someone has committed since" % now[:12])
    if check:
        return _result(plan, {"commit": plan["head"]}, True, ["would put back %s" % counted(len(plan["entries"]), "files")])
    with _rescue_dir(params) as kept:
        _put_back(git, kept, plan)
        facts = load_seen(git, plan["path"] or ".", "").facts
        if facts["commit"] != plan["head"] or facts["drift_sha256"] != plan["drift_sha256"]:
            text = "the folder differs from before the return; the kept files are in %s"
            raise GitError("unknown", text % one_line(params["rescue_dir"], 80))
        rescue.save_plan(kept, dict(plan, state="back"))
    return _result(plan, facts, True, ["%s is as it was before the return" % _shown(params)])


def _put_back(git: Git, kept: int, plan: Plan) -> None:
    entries = sorted(_in_order(plan["entries"]), key=_is_back_last)
    wanted = {entry["name"]: _old_of(kept, entry) for entry in entries}
    known = {entry["name"]: [_new_of(git, entry).state, tuple(entry["was"])] for entry in entries}
    rescue.save_plan(kept, dict(plan, state="putting_back"))
    _move_branch(git, plan, plan["made"], plan["head"], "take %s out again" % plan["made"][:12])
    around = rescue.around_of(plan, back=True)
    with opened_folder(git.top) as top:
        for entry in entries:
            put(top, entry["name"], wanted[entry["name"]], known[entry["name"]], around)
    rescue.set_entries(git, {entry["name"]: entry["index"] for entry in entries})
    git.tell("update-index", "-q", "--refresh")


def _is_back_last(entry: t.Mapping[str, t.Any]) -> tuple[bool, bool]:
    """What goes does so first, since a folder may come in its place; what says how contents are converted is changed last."""
    return entry["name"].rpartition("/")[2] == ".gitattributes", bool(entry["was"][0])


def _old_of(kept: int, entry: t.Mapping[str, t.Any]) -> Wanted:
    wanted = Wanted(entry["was"][0], rescue.read_kept(kept, entry["copy"]) if entry["copy"] else b"", entry["rights"])
    if wanted.state != tuple(entry["was"]):
        raise rescue.Unfit("data_damaged", "the kept copy of %s was altered" % one_line(entry["name"], 80))
    return wanted


# The rescue directory and the result -------------------------------------------------------------


@contextlib.contextmanager
def _rescue_dir(params: Params) -> t.Iterator[int]:
    make_private(params["rescue_dir"])
    with opened_folder(params["rescue_dir"]) as kept:
        facts = os.fstat(kept)
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
            text = "rescue_dir must be our own directory with mode 0700: %s"
            raise rescue.Unfit("bad_input", text % one_line(params["rescue_dir"], 80))
        yield kept


def _earlier(params: Params) -> t.Optional[Plan]:
    if not os.path.isdir(params["rescue_dir"]):
        return None
    with _rescue_dir(params) as kept:
        return rescue.load_plan(kept)


def _diff(git: Git, plan: Plan, seen: Seen) -> dict[str, str]:
    """Return what would change as text for a person, without secrets."""
    plain = ("--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=b/", "--dst-prefix=a/")
    words = ("-p", "-R", *plain, plan["commit"], *pathspec(plan["path"]))
    try:
        text = redact(git.ask("diff-index", *words)[: 4 * MOST_DIFF])
    except GitError as error:
        text = "%s\n" % error
    shown = "".join(one_line(line, 200) + "\n" for line in text.split("\n"))
    gone = "".join("removed and kept: %s\n" % one_line(name, 160) for name, entry in sorted(seen.changed.items()) if entry == NOTHING)
    return {"prepared": (gone + shown)[:MOST_DIFF]}


def _result(plan: Plan, facts: t.Mapping[str, t.Any], changed: bool, say: list[str], diff: t.Optional[dict[str, str]] = None) -> Result:
    files = [one_line(entry["name"], 200) for entry in plan.get("entries", [])]
    before = {"commit": plan.get("head", facts.get("commit", "")), "drift_sha256": plan.get("drift_sha256", facts.get("drift_sha256", ""))}
    return {
        "changed": changed, "before": before, "after": {"commit": facts.get("commit", before["commit"])}, "patch": plan.get("patch", ""),
        "files": files[:MOST_FILES], "diff": diff or {"prepared": ""}, "say": [one_line(line, 240) for line in say],
    }  # fmt: skip


def _shown(params: Params) -> str:
    return one_line(params["repository"] if params["path"] == "." else "%s/%s" % (params["repository"], params["path"]), 100)


def _refused(code: str, text: str) -> StepError:
    more: dict[str, t.Any] = {"next_command": "{again}"} if code == "approval_stale" else {}
    return StepError("%s: %s" % (code, text), reasons=[reason(code, text, **more)])
