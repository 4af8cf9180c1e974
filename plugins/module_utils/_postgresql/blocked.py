# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether sessions of PostgreSQL wait too long for a lock, and which of the sessions at the root a run may end.

``load_locks`` reads, ``judge_blocked`` judges; ``locks`` builds the tree of waits.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.facts import mismatches
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.locks import NONE, QUERIES, judge, raw_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC, SqlError, ask

# The options that looking and acting share: how to reach the cluster, and which sessions are off limits.
BLOCKED_SPEC: dict[str, t.Any] = dict(
    CONNECT_SPEC,
    limit_seconds={"type": "float", "default": 30.0},
    off_limits_users={"type": "list", "elements": "str", "default": []},
    off_limits_applications={"type": "list", "elements": "str", "default": []},
)
Root = t.Dict[str, t.Any]


def load_locks(where: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return what ``raw_of`` gives, and the sqlstate of the error; never raises. *deadline* is in seconds, in total."""
    try:
        return dict(raw_of(ask(where, QUERIES, deadline)), sqlstate="")
    except SqlError as error:
        return {"sessions": [], "rights": {}, "error": str(error), "sqlstate": error.sqlstate}


def judge_blocked(raw: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> Health:
    """Judge the waits: free, blocked, blocked_off_limits, queueing, in_circle; auth and "" where we did not see them. Pure."""
    rights = raw.get("rights") or {}
    identity = _identity(rights)
    unseen = _unseen(raw, rights)
    if unseen:
        state = "auth" if str(raw.get("sqlstate") or "")[:2] == "28" else ""
        return Health((Finding("locks", State.UNKNOWN, unseen),), state, identity)
    found = judge(raw, params)
    targets, left = parted(found["roots"], params["limit_seconds"])
    meant = [{name: root[name] for name in ("pid", "backend_start", "query_start")} for root in targets]
    facts = dict(found, limit_seconds=params["limit_seconds"], targets=meant)
    wrong = mismatches(identity, params.get("expected_identity") or {})
    facts.pop("table")
    if wrong:
        text = "this is not the expected cluster: %s differs" % one_line(", ".join(sorted(wrong)), 80)
        return Health((Finding("identity", State.SICK, text),), "", identity, (), dict(facts, identity_mismatch=True))
    state, health, text = _verdict(found, targets, left, params["limit_seconds"])
    return Health((Finding("locks", health, text),), state, identity, ("unblock",) if targets else (), dict(facts, identity_mismatch=False))


def parted(roots: t.Sequence[Root], limit: float) -> tuple[list[Root], list[Root]]:
    """Return the roots that others wait for too long: (those a run may end, those that are off limits).

    One whose transaction is younger than the limit just got its turn in a queue: ending it would not help.
    """
    late = [root for root in roots if root["longest_wait_seconds"] > limit]
    targets = [root for root in late if root["action"] != NONE and root["age_seconds"] > limit]
    return targets, [root for root in late if root["action"] == NONE]


def _identity(rights: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what distinguishes this cluster and server, under the names that a look at all of PostgreSQL uses."""
    if not rights:
        return {}
    role = "standby" if rights.get("standby") else "primary"
    return {"system_identifier": rights.get("system_identifier"), "start_time": rights.get("started"), "role": role}


def _unseen(raw: t.Mapping[str, t.Any], rights: t.Mapping[str, t.Any]) -> str:
    if raw.get("error"):
        return "the locks could not be read: %s" % one_line(raw["error"], 160)
    if not (rights.get("superuser") or rights.get("sees_all")):
        return "role %s cannot see what other sessions do: grant it pg_monitor" % one_line(rights.get("user") or "?", 64)
    return ""


def _verdict(found: t.Mapping[str, t.Any], targets: t.Sequence[Root], left: t.Sequence[Root], limit: float) -> tuple[str, State, str]:
    waits = "%s for a lock, the longest %.0f s" % (counted(found["waiting"], "sessions") + " waiting", found["longest_wait_seconds"])
    if not found["waiting"]:
        return "free", State.WELL, "no session waits for a lock"
    if found["longest_wait_seconds"] <= limit:
        return "free", State.WELL, "%s; the limit is %g s" % (waits, limit)
    if targets:
        return "blocked", State.SICK, "%s, behind %s" % (waits, "; ".join(named(root) for root in targets[:4]))
    if left:
        reasons = "; ".join("%s is off limits: %s" % (named(root), root["why"]) for root in left[:4])
        return "blocked_off_limits", State.SICK, "%s. %s" % (waits, reasons)
    if found["circles"] and not found["roots"]:
        return "in_circle", State.SICK, "%s, for each other in a circle: PostgreSQL resolves that itself after deadlock_timeout" % waits
    return "queueing", State.SICK, "%s, but no single session blocks them that long: they queue behind many short transactions" % waits


def named(root: Root) -> str:
    """Return one root in a few words: who it is, what it runs (without data), what it blocks."""
    if not root["pid"]:
        who = "prepared transaction %s of %s" % (root["gid"], root["user"] or "?")
    else:
        who = "pid %d (%s, %s, %s)" % (root["pid"], root["application"] or "no name", root["user"] or root["backend_type"], root["state"])
    query = " %s" % root["fingerprint"] if root["fingerprint"] else ""
    return "%s%s, which blocks %d for %.0f s" % (who, query, root["blocked_count"], root["longest_wait_seconds"])
