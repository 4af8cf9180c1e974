# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``configuration``: a folder of a git working copy against its commit, and against a wanted commit.

Read-only. Without ``wanted`` and ``clean`` differences are reported and stay well: someone may be working there.

C(configuration): a directory of a git working copy against what was committed. Takes C(repository), C(path) (the directory in it),
C(wanted) (full hash of the commit that it must match; without it differences are reported but well), C(clean) (uncommitted changes are
sick even without C(wanted)) and C(user) (its owner, as whom git runs); C(facts.returns) says why it cannot go back to one of C(commits),
with what is taken out kept in C(rescue_dir). Nothing that the repository names is run.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.fit import load_returns
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.look import load_facts
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State

HOST_ONLY = True
NO_SERVICE = True
CLASS = "service"
OPTIONS: dict[str, t.Any] = {
    "repository": {"type": "path", "required": True},
    "path": {"type": "str", "default": "."},
    "wanted": {"type": "str", "default": ""},
    "user": {"type": "str", "default": ""},
    "clean": {"type": "bool", "default": False},
    # Commits that somebody may want to go back to, and where a return would keep what it takes out.
    "commits": {"type": "list", "elements": "str", "default": []},
    "rescue_dir": {"type": "str", "default": ""},
}
FACTS = (
    "commit", "branch", "tree", "wanted", "wanted_there", "wanted_tree", "changed", "changed_count", "changed_elsewhere", "drift_bytes",
    "drift_sha256", "detached", "unfinished", "locked", "submodules", "returns", "rights", "owner",
)  # fmt: skip
Raw = t.Mapping[str, t.Any]


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return {error, detail, ...the facts of ``_git.look.load_seen``, and of ``_git.fit.load_returns``}."""
    end = time.monotonic() + deadline
    facts = load_facts(options["repository"], options["path"], options["wanted"], options["user"], deadline)
    return facts if facts["error"] else dict(facts, **load_returns(options, max(0.5, end - time.monotonic())))


def judge(raw: Raw, options: t.Mapping[str, t.Any]) -> Health:
    """Clean is well. Differences are sick only if a commit or ``clean`` is wanted; what git cannot say for certain is unknown."""
    if raw["error"]:
        missing = raw["error"] == "missing"
        finding = Finding("configuration", State.SICK if missing else State.UNKNOWN, raw["detail"])
        return Health((finding,), "missing" if missing else "unknown", facts={"final": True} if missing else {})
    facts = {key: raw[key] for key in FACTS}
    lacks, hidden = _missing(raw, options), _hidden(raw)
    if lacks:
        return Health((Finding("configuration", State.SICK, lacks),), "missing", facts=dict(facts, final=True))
    if hidden:
        return Health((Finding("configuration", State.UNKNOWN, hidden),), "unknown", facts=dict(facts, final=True))
    found = _differences(raw)
    state = found[0][0] if found else "clean"
    if not found:
        text = "%s matches its commit (%s)" % (_shown(options), raw["commit"][:12])
        return Health((Finding("configuration", State.WELL, text),), state, facts=facts)
    strict = bool(raw["wanted"]) or options["clean"]
    findings = [Finding(*_named(word, strict), "%s: %s" % (_shown(options), text)) for word, text in found]
    return Health(tuple(findings), state, facts=facts)


def _named(word: str, strict: bool) -> tuple[str, State]:
    """A working copy without a branch still holds the right configuration."""
    return ("configuration", State.SICK) if strict and word != "detached" else ("warning", State.WELL)


def _missing(raw: Raw, options: t.Mapping[str, t.Any]) -> str:
    if not raw["commit"]:
        return "%s has no commit yet" % one_line(options["repository"], 80)
    if raw["wanted"] and not raw["wanted_there"]:
        return "%s has no commit %s" % (one_line(options["repository"], 80), raw["wanted"][:12])
    if raw["wanted"] and not raw["wanted_tree"]:
        return "commit %s has no folder %s" % (raw["wanted"][:12], one_line(options["path"], 80))
    if not raw["wanted"] and not raw["tree"]:
        return "the commit of %s has no folder %s" % (one_line(options["repository"], 80), one_line(options["path"], 80))
    return ""


def _hidden(raw: Raw) -> str:
    """Return why git's answer is incomplete, "" if it is complete."""
    if raw["submodules"]:
        return "it contains another repository, which we do not look into: %s" % raw["submodules"][0]
    if raw["overlooked"]:
        return "git is configured to ignore changes of %s (assume-unchanged, skip-worktree)" % counted(raw["overlooked"], "files")
    if raw["filters"]:
        return "its files go through the filter %s, a program that we do not run" % one_line(raw["filters"][0], 60)
    if raw["link"]:
        return "%s is a symbolic link in the working copy" % raw["link"]
    return ""


def _differences(raw: Raw) -> list[tuple[str, str]]:
    """Return (word, text) of all differences, the most obstructive first."""
    found = []
    if raw["unfinished"]:
        found.append(("unfinished", "a %s was begun there and not finished" % raw["unfinished"]))
    if raw["detached"]:
        found.append(("detached", "no branch is checked out there, only commit %s" % raw["commit"][:12]))
    if raw["wanted"] and raw["tree"] != raw["wanted_tree"]:
        found.append(("other_commit", "it does not match commit %s, but %s" % (raw["wanted"][:12], raw["commit"][:12])))
    if raw["changed_count"]:
        more = ", ..." if raw["changed_count"] > 3 else ""
        names = ", ".join(one_line(name, 60) for name in raw["changed"][:3])
        found.append(("drifted", "uncommitted changes to %s: %s%s" % (counted(raw["changed_count"], "files"), names, more)))
    return found


def _shown(options: t.Mapping[str, t.Any]) -> str:
    folder = "" if options["path"] in ("", ".") else "/" + options["path"]
    return one_line(options["repository"] + folder, 100)
