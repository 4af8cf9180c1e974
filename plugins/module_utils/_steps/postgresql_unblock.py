# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_unblock``: ends a few sessions at the root of long waits; cancels before it terminates.

The statement that sends a signal checks again: same process, same start of session and statement, still a client that is not a superuser,
and still blocking others. So it never hits a session that took over the pid or that has moved on since.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.blocked import (
    BLOCKED_SPEC,
    Root,
    load_locks,
    named,
    parted,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.locks import CANCEL, TERMINATE, judge
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import Query, Row, SqlError, ask

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    BLOCKED_SPEC,
    sessions={
        "type": "list",
        "elements": "dict",
        "options": {
            "pid": {"type": "int", "required": True},
            "backend_start": {"type": "str", "required": True},
            "query_start": {"type": "str", "required": True},
        },
    },
    run_id={"type": "str", "default": ""},
    most={"type": "int", "default": 3},
    grace={"type": "float", "default": 5.0},
    timeout={"type": "float", "default": 60.0},
    stage={"type": "str", "choices": ["act"], "default": "act"},
)
SAME = ("pid", "backend_start", "query_start")
POLL = 0.1
# One look or one signal may not take longer than this, in seconds.
ASK = 10.0
# The result of each act.
ENDED = {CANCEL: "cancelled", TERMINATE: "terminated"}
WORDS = {
    "cancelled": "cancelled the statement of %s: its client sees SQLSTATE 57014",
    "terminated": "terminated %s: its client sees SQLSTATE 57P01, its uncommitted work is rolled back",
    "moved_on": "%s moved on by itself, so it was left alone",
    "still_blocking": "%s still blocks others: this run does nothing more to it",
    "left": "%s was left alone: one run ends no more sessions than this",
    "would_cancel": "would cancel the statement of %s, and terminate it if it still blocks others after %g s",
    "would_terminate": "would terminate %s: its uncommitted work would be rolled back",
}

# The states in which each act makes sense. After a cancel its transaction may have failed and hold locks all the same.
_STATES = {
    CANCEL: "state IN ('active', 'fastpath function call')",
    TERMINATE: "state LIKE 'idle in transaction%'",
    "second": "state IN ('active', 'fastpath function call') OR state LIKE 'idle in transaction%'",
}
_SENT = """
WITH same AS MATERIALIZED (
  SELECT a.pid FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
  WHERE a.pid = :'pid'::int AND a.backend_start = :'backend_start'::timestamptz AND a.query_start = :'query_start'::timestamptz
    AND a.backend_type = 'client backend' AND NOT r.rolsuper AND NOT r.rolreplication AND a.pid <> pg_backend_pid() AND (%s)
), blocking AS MATERIALIZED (
  SELECT pid FROM same WHERE EXISTS (SELECT FROM pg_locks AS w WHERE NOT w.granted AND same.pid = ANY (pg_blocking_pids(w.pid)))
    AND NOT EXISTS (SELECT FROM pg_locks AS own WHERE own.pid = same.pid AND NOT own.granted)
)
SELECT %s(pid) AS sent FROM blocking
"""
_SIGNALS = {
    CANCEL: _SENT % (_STATES[CANCEL], "pg_cancel_backend"),
    TERMINATE: _SENT % (_STATES[TERMINATE], "pg_terminate_backend"),
    "second": _SENT % (_STATES["second"], "pg_terminate_backend"),
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, sessions, off_limits, before, after, run_id, seconds, stage, say, diff}. Raises StepError."""
    begun = time.monotonic()
    end = begun + params["timeout"]
    before = _roots(params, end)
    targets, off_limits = parted(before, params["limit_seconds"])
    gone, targets = _as_approved(targets, params["sessions"])
    most = max(0, params["most"])
    chosen, more = targets[:most], targets[most:]
    done = [dict(root, done="would_" + root["action"]) for root in chosen] if check else _ended(chosen, params, end)
    results = gone + done + [dict(root, done="left") for root in more]
    # In check mode, who would be left.
    after = [root for root in before if root not in chosen] if check else _roots(params, end, results)
    roots = {"before": [named(root) for root in before], "after": [named(root) for root in after]}
    return {
        **roots,
        "changed": any(one["done"] not in ("moved_on", "left", "refused") for one in results),
        "sessions": results,
        "off_limits": off_limits if check else parted(after, params["limit_seconds"])[1],
        "diff": {when: "".join("%s\n" % line for line in lines) for when, lines in roots.items()},
        "seconds": round(time.monotonic() - begun, 3),
        "run_id": params["run_id"],
        "stage": params["stage"],
        "say": [_sentence(one, params) for one in results] + _nothing(results),
    }


def _roots(params: Params, end: float, results: t.Sequence[Root] = ()) -> list[Root]:
    """Return who is at the root of waits now. Raises StepError where that cannot be seen, with the results so far in *results*."""
    raw = load_locks(params, _left(end))
    if raw["error"]:
        text = "; ".join([_sentence(one, params) for one in results] + ["the locks cannot be read: %s" % raw["error"]])
        raise StepError(one_line(text, 600), sqlstate=raw["sqlstate"], sessions=list(results), run_id=params["run_id"])
    return list(judge(raw, params)["roots"])


def _left(end: float) -> float:
    return max(0.5, min(ASK, end - time.monotonic()))


def _key(one: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    return tuple(str(one[name]) for name in SAME)


def _as_approved(targets: list[Root], sessions: t.Optional[t.Sequence[t.Mapping[str, t.Any]]]) -> tuple[list[Root], list[Root]]:
    """Return (those of *sessions* that are no longer targets, the targets among them); all targets where no sessions are given."""
    if sessions is None:
        return [], targets
    wanted, found = {_key(one) for one in sessions}, {_key(root) for root in targets}
    gone = [_unknown(one) for one in sessions if _key(one) not in found]
    return gone, [root for root in targets if _key(root) in wanted]


def _unknown(one: t.Mapping[str, t.Any]) -> Root:
    """Return the result for a session that is no longer a target: only its identity is certain."""
    return dict({name: one[name] for name in SAME}, done="moved_on")


def _ended(chosen: t.Sequence[Root], params: Params, end: float) -> list[Root]:
    """Signal each, wait until none blocks others or *grace* is over, then terminate those that still do; wait once more."""
    done = _signalled(chosen, [root["action"] for root in chosen], params, end)
    stuck = _waited([one for one in done if one["done"] in ENDED.values()], params, end)
    second = [root for root in stuck if root["done"] == "cancelled"]
    again = {_key(one): one for one in _signalled(second, ["second"] * len(second), params, end)}
    done = [_after_second(one, again.get(_key(one))) for one in done]
    last = {_key(one) for one in _waited([one for one in done if _key(one) in {_key(root) for root in stuck}], params, end)}
    return [dict(one, done="still_blocking") if _key(one) in last else one for one in done]


def _after_second(one: Root, second: t.Optional[Root]) -> Root:
    """Return the final result of a session: one that moved on before its termination stays cancelled."""
    return one if second is None or second["done"] == "moved_on" else dict(second, cancelled_first=True)


def _signalled(roots: t.Sequence[Root], acts: t.Sequence[str], params: Params, end: float) -> list[Root]:
    """Send each its signal; `done` has the result: cancelled, terminated, moved_on or refused (with the server's message)."""
    if not roots:
        return []
    pairs = list(zip(roots, acts))
    queries = {"s%d" % index: Query(_SIGNALS[act], {name: root[name] for name in SAME}) for index, (root, act) in enumerate(pairs)}
    try:
        answers = ask(params, queries, _left(end))
    except SqlError as error:
        raise StepError("could not reach the server to end any session: %s" % one_line(str(error), 200), sqlstate=error.sqlstate) from error
    return [_came_of(root, act, answers["s%d" % index]) for index, (root, act) in enumerate(pairs)]


def _came_of(root: Root, act: str, answer: t.Union[t.List[Row], SqlError]) -> Root:
    if isinstance(answer, SqlError):
        return dict(root, done="refused", error=one_line(str(answer), 160))
    sent = bool(answer and answer[0]["sent"])
    return dict(root, done=ENDED.get(act, ENDED[TERMINATE]) if sent else "moved_on")


def _waited(roots: t.Sequence[Root], params: Params, end: float) -> list[Root]:
    """Wait up to *grace* seconds; return those of *roots* that still block others, as far as we can see."""
    until = min(end, time.monotonic() + params["grace"])
    stuck = list(roots)
    while stuck:
        raw = load_locks(params, _left(end))
        if not raw["error"]:
            blocking = {_key(root) for root in judge(raw, params)["roots"]}
            stuck = [root for root in stuck if _key(root) in blocking]
        if not stuck or time.monotonic() >= until:
            break
        time.sleep(POLL)
    return stuck


def _sentence(one: Root, params: Params) -> str:
    who = named(one) if "state" in one else "pid %d" % one["pid"]
    if one["done"] == "refused":
        return one_line("the server refused to end %s: %s" % (who, one["error"]), 300)
    words = WORDS[one["done"]]
    text = words % ((who, params["grace"]) if one["done"] == "would_cancel" else who)
    return one_line(text + ("; a cancel before it did not help" if one.get("cancelled_first") else ""), 300)


def _nothing(results: t.Sequence[Root]) -> list[str]:
    return [] if results else ["no session that a run may end blocks others that long"]
