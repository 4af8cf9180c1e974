# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restart looks at, notes while it acts, and loses: the judgement behind the filters of service_restart. Plain data in and out."""

from __future__ import annotations

import shlex
import typing as t

Facts = t.Mapping[str, t.Any]
# What the acts of one run note for its later tasks.
BLANK: Facts = {"approved": "", "emptied": "", "old": {}, "baseline": {}, "stubborn": False, "lost": False}
# What the API says of its long-term memory; after a restart approved without that memory, it proves nothing of the API.
MEMORY_GATES = ["memory_ok", "components.memory.ok", "memory_degraded", "memory_circuit_open"]
# Options of the check that come from the role's variables unchanged.
PASSED = (
    "name", "kind", "manager", "service", "supervisor_url", "scope", "url", "profile", "gates", "token_file", "ca_file", "tenant",
    "max_latency_ms", "dependencies", "behind_proxy", "stateful", "stateless", "answer_timeout", "start_seconds", "loop_restarts",
    "budget_seconds", "memory_limit", "memory_horizon", "min_growth_bytes", "known", "log_file", "mended",
)  # fmt: skip
# What the ledger calls a release that passed verification, before its id.
RECORDED = "release:"
# How many memory samples of earlier runs the ledger keeps.
SAMPLES = 20
# Why it loses nothing.
WITNESSES = {
    "well": "what was acknowledged is in the long-term memory, which was up all the time that the old process ran",
    "kept": "the process goes on with all that it has in memory",
    "none": "this service keeps nothing in its memory, says service_restart_working_memory",
}
# What a restart may have lost where nothing speaks for a loss, and nothing rules it out: what was seen, and what was not.
UNWATCHED = "the long-term memory was up when this run looked"
UNSEEN = "whether it was up all the time that the old process ran cannot be seen from here, and what was acknowledged without it is lost"
# Why a restart may lose memories, by what was seen of the long-term memory.
AT_RISK = {
    "sick": "the long-term memory was down when this run looked",
    "unknown": "this run could not tell whether the long-term memory was up",
    "renewed": "the long-term memory was started after the old process, and nothing says whether it was away while that ran",
}


def note_of(note: Facts, run_id: str, blank: t.Optional[Facts] = None) -> dict[str, t.Any]:
    """Return what the acts of the run *run_id* noted, over *blank*; a note of another run is not believed."""
    is_ours = bool(run_id) and note.get("run_id") == run_id
    return {**(BLANK if blank is None else blank), **(note if is_ours else {}), "run_id": run_id}


def place_of(named: Facts) -> dict[str, t.Any]:
    """Return the options that name a service to its manager, without the empty ones."""
    # A template of an older ansible-core makes text of the number.
    return {key: value for key, value in dict(named, replica=int(named.get("replica") or 0)).items() if value}


def excused_of(note: Facts) -> list[str]:
    """Return the gates that do not count after a restart that was approved without the long-term memory."""
    return list(MEMORY_GATES) if note["approved"] and note["emptied"] != "renewed" else []


def check_of(given: Facts, note: Facts, more: Facts) -> dict[str, t.Any]:
    """Return the check of kind ``application`` that the role's variables mean; *more* are options that win."""
    excused = excused_of(note)
    check = {key: given[key] for key in PASSED}
    check.update(
        timeout=_seconds(given),
        ignore_gates=list(given["ignore_gates"]) + excused,
        round_trip=_round_trip(given, not excused),
        long_term_memory={} if excused else _long_term_memory(given),
        # Sampling takes time; only the first look has it.
        memory_seconds=float(given["memory_seconds"]) if given["stage"] == "assess" else 0,
        # Before anything is done, silence is doubted once.
        ask_again=2 * float(given["answer_timeout"]) if given["stage"] == "assess" else 0,
        old_identity=note["old"],
    )
    check["memory_was_down"] = given["stage"] == "verify" and given["memory_before"] == "sick" and not excused
    if given["bad_config"]:
        check["bad_config"] = given["bad_config"]
    verified = _verified_in(given.get("ledger") or {})
    if verified:
        check["releases"] = {**given["releases"], "verified": verified}
    return {**check, **more}


def _verified_in(ledger: Facts) -> list[str]:
    """Return the ids of the releases that passed verification, the newest first."""
    found = [body for kind, body in ledger.items() if kind.startswith(RECORDED) and body.get("release")]
    return [str(body["release"]) for body in sorted(found, key=lambda one: -float(one.get("at") or 0))]


def _seconds(given: Facts) -> float:
    answer, trip, samples = (float(given[key]) for key in ("answer_timeout", "round_trip_timeout", "memory_seconds"))
    return 4 * answer + trip + 2 * samples + 2


def _round_trip(given: Facts, require_ltm: bool) -> dict[str, t.Any]:
    if not (given["round_trip"] and given["url"]):
        return {}
    return {"profile": given["round_trip"], "tenant": given["tenant"], "require_ltm": require_ltm and given["require_ltm"]}


def _long_term_memory(given: Facts) -> dict[str, t.Any]:
    if not (given["ltm_url"] and given["working_memory"]):
        return {}
    return {"name": "long_term_memory", "kind": "http", "url": given["ltm_url"], "gates": given["ltm_gates"]}


def stake_of(probe: Facts, act: str, working_memory: bool) -> str:
    """Return what an act takes from the process: "none" where it keeps no working memory, "kept" where it goes on, else how it was backed.

    The last is the state of the long-term memory behind the working memory.
    """
    if not working_memory:
        return "none"
    if act == "start" and (probe.get("identity") or {}).get("pid"):
        return "kept"
    facts = probe.get("facts") or {}
    word = str(facts.get("long_term_memory") or "unknown")
    return "unwatched" if word == "well" and not facts.get("memory_watched") else word


def process_of(identity: Facts) -> dict[str, t.Any]:
    """Return what names the one process that was seen, {} where none ran."""
    return {key: identity.get(key) for key in ("pid", "start_time_ticks")} if identity.get("pid") else {}


def verified_of(probe: Facts, known: Facts) -> dict[str, t.Any]:
    """Return what the ledger keeps of a proven look: later runs count restarts and compare memory from there."""
    facts = probe.get("facts")
    if facts is None or probe.get("health") != "well":
        return {}
    samples = list(known.get("samples") or []) + ([facts["last_sample"]] if facts.get("last_sample") else [])
    kept = {name: facts.get(name) for name in ("restarts", "oom_kills")}
    return {"application": {**kept, "samples": samples[-SAMPLES:], "answered": facts.get("answered") or known.get("answered") or {}}}


def risk_of(memory: str) -> str:
    """Return what a new process may lose, by what was seen of the long-term memory; "" where it has everything."""
    if memory in ("", "unwatched", *WITNESSES):
        return ""
    text = "a new process starts with an empty working memory (up to 64 memories a tenant), and %s: how many memories are lost is unknown"
    return text % _why(memory)


def _why(memory: str) -> str:
    return AT_RISK.get(memory, AT_RISK["unknown"])


def loss_of(emptied: str, approved: str) -> dict[str, t.Any]:
    """Return the loss of the act that emptied the working memory, by what ``stake_of`` said then; {} for no such act."""
    if not emptied:
        return {}
    if emptied in WITNESSES:
        # The cache behind it is cold all the same, which later runs have to hear.
        text = "the working memory began empty" if emptied == "well" else ""
        return {"count": 0, "exact": True, "unit": "memories", "text": text, "witness": WITNESSES[emptied]}
    if emptied == "unwatched":
        text = "the working memory began empty, and " + UNSEEN
        return {"unit": "memories", "suspected": False, "witness": UNWATCHED, "text": text}
    text = "the working memory began empty, and %s: how many memories were lost is unknown"
    return {"unit": "memories", "approved": bool(approved), "text": text % _why(emptied)}


def plan_loss_of(stake: str) -> dict[str, t.Any]:
    """Return the loss that a plan states before its act, by what ``stake_of`` says; "" where no process is replaced."""
    if not stake:
        return {"count": 0, "exact": True, "unit": "memories", "witness": "no process is replaced"}
    loss = loss_of(stake, "")
    return {key: loss[key] for key in ("count", "exact", "unit", "witness") if key in loss}


def rollback_of(release: Facts) -> str:
    """Return the command that goes back to another release, by what a look knows of the present one; "" where none passed verification.

    One that passed verification itself is left only for a release that is named.
    """
    if not release.get("other"):
        return ""
    if not release.get("verified"):
        return "{rollback}"
    return "{rollback} -e rollback_release=%s" % str(release["other"]).rpartition(":")[2][:12]


def next_of(hand_over: Facts) -> str:
    """Return the next command with the playbook's placeholder, "" where no remedy fits better: {playbook, service} of a look."""
    playbook = str(hand_over.get("playbook") or "").partition(".")[0].replace("-", "_")
    if not playbook:
        return ""
    named = " -e " + shlex.quote("service_restart_name=%s" % hand_over.get("service")) if playbook == "restart_service" else ""
    return "{%s}%s" % (playbook, named)
