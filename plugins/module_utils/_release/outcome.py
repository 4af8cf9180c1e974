# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a rollback, what it records and how it is undone: the filters of rollback. Plain data in and out."""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._release.releases import are_pods, by_hand, select_by_hand
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.rollback import PREFIX, records_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import restart

Facts = t.Mapping[str, t.Any]
# What the acts of one run note for its later tasks.
BLANK: Facts = {"approved": "", "emptied": "", "memory": "", "before": "", "plan": {}, "made": "", "switched": False}
# What a plan changes beside the release, or does not know.
ASKED = ("differs", "unknown")
# Reading a release takes time: only so many of the newest are looked at, plus the one that a person names.
MOST_RELEASES = 5
NO_UNDO = "nothing to put back"
# Options of the release check that come from the role's variables unchanged.
PASSED = (
    "manager", "service", "timeout", "supervisor_url", "scope", "releases_dir", "current", "pin_file", "container", "project_src",
    "project_files", "env_files",
)  # fmt: skip


def note_of(note: Facts, run_id: str) -> dict[str, t.Any]:
    """Return what the acts of the run *run_id* noted; a note of another run is not believed."""
    return restart.note_of(note, run_id, BLANK)


def newest_of(last_verified: Facts) -> list[str]:
    """Return the ids of the releases that passed verification last, newest first."""
    records = sorted(records_of(last_verified), key=lambda one: float(one["at"]), reverse=True)
    return [str(one["release"]) for one in records[:MOST_RELEASES]]


def checks_of(given: Facts, plan: Facts, last_verified: Facts, more: Facts) -> list[dict[str, t.Any]]:
    """Return the checks of release, configuration and schema that the role's variables mean; *more* are options that win for the release.

    The checks require the target only once the plan is being carried out; before that they only report.
    """
    wanted = plan if given["stage"] in ("act", "verify") else {}
    checks = [_release(given, wanted, last_verified, more)]
    if given["repository"]:
        commit = (wanted.get("configuration") or {}).get("commit") or ""
        place = {key: given[key] for key in ("repository", "path", "rescue_dir")}
        commits = _commits(last_verified) if given["stage"] == "assess" and given["purpose"] == "roll_back" else []
        checks.append(dict(place, name="configuration", kind="configuration", timeout=20, wanted=commit, commits=commits))
    if given["database"]:
        checks.append({"name": "migrations", "kind": "migrations", "timeout": 10, **given["database"]})
    return checks


def _commits(last_verified: Facts) -> list[str]:
    """Return the commits that were recorded with the releases, the newest first."""
    records = sorted(records_of(last_verified), key=lambda one: float(one["at"]), reverse=True)
    return list(dict.fromkeys(str(one["configuration"]["commit"]) for one in records if (one.get("configuration") or {}).get("commit")))


def _release(given: Facts, wanted: Facts, last_verified: Facts, more: Facts) -> dict[str, t.Any]:
    first = given["stage"] == "assess"
    return {
        "name": "release", "kind": "release", **{key: given[key] for key in PASSED},
        "read_project": first and given["purpose"] == "roll_back", "ids": newest_of(last_verified) if first else [],
        "words": [given["release"]] if given["release"] else [], "wanted": wanted.get("release") or "", **more,
    }  # fmt: skip


def verified_of(record: Facts, application: Facts) -> dict[str, t.Any]:
    """Return what the ledger keeps of a proven look: exactly the release that was seen well, and what is kept of its application."""
    return {PREFIX + str(record["release"]): dict(record), **application} if record.get("release") else {}


def switch_of(plan: Facts, manager: str, deadline: float, stop_timeout: float) -> dict[str, t.Any]:
    """Return {forward, back, seconds}: the release to start, the one from before, and how long its start may take.

    A cluster is given images and has its time for a rollout; elsewhere a release is its id, and its start is over soon after the stop.
    """
    pods = are_pods(manager)
    forward, back = ("image", "image_before") if pods else ("release", "current")
    return {"forward": plan.get(forward), "back": plan.get(back), "seconds": deadline - 10 if pods else stop_timeout + 20}


def made_of(returned: Facts) -> str:
    """Return the commit that a return of the configuration made, "" for none: uncommitted changes alone make none."""
    before, after = ((returned.get(key) or {}).get("commit") or "" for key in ("before", "after"))
    return str(after) if returned.get("changed") and after != before else ""


def memory_of(probe: Facts, working_memory: bool) -> str:
    """Return what the acts of a plan take from the process, as a restart is judged: nothing where only the next start changes."""
    acts = ((probe.get("facts") or {}).get("plan") or {}).get("actions") or []
    return restart.stake_of(probe, "switch", working_memory) if "switch" in acts else "none"


def asks_of(plan: Facts, memory: str, identity: Facts) -> bool:
    """Return whether a plan needs an approval. What a dead process had in memory no approval brings back: the outcome says it."""
    drift = (plan.get("configuration") or {}).get("drift")
    return bool(drift or any(plan.get(key) for key in ASKED) or (restart.risk_of(memory) and identity))


def undo_of(plan: Facts, named: Facts) -> str:
    """Return how a person takes back what this run did: what ran before never passed verification, so no playbook goes there."""
    if not plan.get("release"):
        return NO_UNDO
    made, parts, then = str(named.get("made") or ""), [], ""
    if plan["configuration"] and made:
        parts.append(_revert(made, str(plan["configuration"].get("owner") or ""), str(named["repository"])))
        then = "" if named["switched"] and plan["application"] else "; then run restart-service.yml"
    if plan["application"] and named["switched"]:
        parts.append(by_hand(plan, named))
    elif plan.get("select") and named["switched"]:
        parts.append(select_by_hand(plan, named))
    return "by hand: %s%s" % (" && ".join(parts), then) if parts else NO_UNDO


def _revert(made: str, owner: str, repository: str) -> str:
    """Return the command that reverts a commit as the owner of the working copy, who may have no name in git."""
    who = "git -c user.name=on-call -c user.email=on-call@localhost -C %s revert --no-edit %s" % (shlex.quote(repository), made[:12])
    return "sudo -u %s %s" % (shlex.quote(owner), who) if owner and owner != "root" else who
