# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What state an application is in, and which act that allows. Plain data in, a Health out; the first rule that holds decides."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import processor, released
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import seen as seen_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.seen import Found, Seen
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.sentence import sentence

SICK, UNKNOWN, WELL = State.SICK, State.UNKNOWN, State.WELL
RESTART = ("restart", "force")
OOM_LINE = re.compile(r"MemoryError|Cannot allocate memory|(?i:out of memory)")
# By the HTTP check's word: our state, health, acts. Words that are not listed are unknown and keep their name.
BY_HTTP: t.Mapping[str, tuple[str, State, tuple[str, ...]]] = {
    "hung": ("hung", SICK, RESTART),
    "unreachable": ("hung", SICK, RESTART),
    "down": ("not_listening", SICK, RESTART),
    "closed": ("unresponsive", SICK, RESTART),
    "error": ("erroring", SICK, RESTART),
    "degraded": ("degraded", SICK, RESTART),
    "endless": ("hung", SICK, RESTART),
    "redirect": ("redirect", SICK, ()),
    "slow": ("slow", SICK, ()),
}
# What stays so until somebody acts; a process that was just started may still change it.
LASTING = ("unknown_service", "several", "left_over", "stateful", "not_its_port", "owner_unseen", "auth", "redirect")
# An answer that does not fit the profile.
NOT_UNDERSTOOD = ("other_service", "too_large", "garbage")
REJECTED = "%s answers with status %d, which rejects the request: correct service_restart_url; this says nothing about the service's health"
# States that a bad release may bring about.
BY_ITS_RELEASE = (
    "crashed", "start_limit", "exit_loop", "bad_config", "hung", "unresponsive", "not_listening", "erroring", "degraded", "wrong_body",
    "unhealthy", "not_remembering",
)  # fmt: skip
RENEWED = (
    "its long-term memory began after it: what it acknowledged while that was away may be in its working memory alone,"
    " which a restart empties"
)
BY_ROUND_TRIP = ("not_recalled", "no_ltm", "not_acknowledged", "hung", "error", "closed", "slow")


def judge_application(
    raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], http: t.Optional[Health], round_trip: t.Optional[Health]
) -> Health:
    """Return the Health of an application from its raw look and what was made of its answer and of its memory; None: not asked.

    The README of the role service_restart lists its states.
    """
    seen = Seen(raw, options, http, round_trip)
    found = next(answer for answer in (rule(seen) for rule in RULES) if answer)
    for limit in (_with_room, _unless_barred, _unless_it_keeps_data, _with_what_is_known):
        found = limit(seen, found)
    # The guard reads by its name that it is a mistake of ours.
    findings = [Finding("input" if found.word == "bad_input" else "application", found.health, found.text)]
    # What else its own answer says. Left out when in doubt: it would turn unknown into sick.
    if seen.http and found.by_http and found.health is SICK:
        findings += [one for one in seen.http.findings if one.state is not WELL]
    findings += [Finding("warning", WELL, text) for text in _warnings(seen) if found.word == "up"]
    return Health(tuple(findings), found.word, seen.identity, found.actions, dict(seen.facts(), final=_is_final(seen, found)))


def _is_final(seen: Seen, found: Found) -> bool:
    """Return whether no waiting mends it: our input is wrong, or a service that runs does not take our token."""
    lasts = found.word in LASTING and not seen.is_young
    return seen.is_final or found.word == "bad_input" or lasts or (found.word == "auth" and seen.is_answered)


def _warnings(seen: Seen) -> list[str]:
    """Return what a person has to know of a service that is up."""
    unread = [str(seen.service["unread"])] if seen.service.get("unread") else []
    growth = ["its memory grows: %s" % seen.growth_text()] if seen.leak["steady"] else []
    # What goes by the healthcheck (depends_on, a proxy) takes it for sick.
    doubts = ["it answers, but %s" % seen.service["detail"]] if seen.service.get("state") == "unhealthy" else []
    return unread + growth + doubts + ([RENEWED] if seen.long_term_memory == "renewed" else [])


def _with_room(seen: Seen, found: Found) -> Found:
    """Drop the restart if the cluster could not create the new pods."""
    full = (seen.service.get("workload") or {}).get("full")
    if not full or "restart" not in found.actions:
        return found
    return Found("no_room", SICK, "%s; a rollout creates new pods first, and quota %s is full" % (found.text, ", ".join(full)))


def _unless_barred(seen: Seen, found: Found) -> Found:
    """Drop the acts that stop a service which its manager would not start again: it is left running, sick or not."""
    # What the next start lacks is no matter where it does not run anyway.
    barred = str(seen.service.get("barred") or (seen.service.get("gone") if seen.service.get("pid") else "") or "")
    if not barred or not {"restart", "start"} & set(found.actions):
        return found
    goes_on = _resumes(found)
    return Found(found.word if goes_on else "not_startable", SICK, "%s; %s" % (found.text, barred), goes_on, found.by_http)


def _unless_it_keeps_data(seen: Seen, found: Found) -> Found:
    """Drop the restart of a program that holds data files open for writing: a store, until a person says otherwise."""
    if "restart" not in found.actions or not seen.data_files:
        return found
    text = "%s; it holds data open for writing (%s), so it may be a store; if it keeps no data, add it to service_restart_stateless"
    goes_on = _resumes(found)
    told = text % (found.text, one_line(", ".join(seen.data_files), 160))
    return Found(found.word if goes_on else "stateful", found.health, told, goes_on, found.by_http)


def _resumes(found: Found) -> tuple[str, ...]:
    """Return those of its acts that let a process go on, which ends none and starts none."""
    return tuple(one for one in found.actions if one == "continue" or (one == "start" and found.word == "paused"))


def _with_what_is_known(seen: Seen, found: Found) -> Found:
    """Say what may be why it is sick: its release never passed verification, or its manager goes by an older file than the one there."""
    told = [released.told(seen.release) if found.word in BY_ITS_RELEASE else "", str(seen.service.get("unread") or "")]
    return found if found.health is WELL else found._replace(text="; ".join([found.text, *filter(None, told)]))


def _unreachable(seen: Seen) -> t.Optional[Found]:
    if not seen.service.get("reachable"):
        return Found("manager_unreachable", UNKNOWN, sentence(seen.service))
    if seen.service.get("exists"):
        return None
    if seen.service.get("exists") is None:
        return Found(str(seen.service.get("result") or "several"), UNKNOWN, sentence(seen.service))
    return Found("unknown_service", UNKNOWN, "%s: %s" % (seen.name, seen.unknown_text()))


def _stateful(seen: Seen) -> t.Optional[Found]:
    kind = seen.stateful
    return Found("stateful", UNKNOWN, "%s is a stateful service (%s); this role does not restart it" % (seen.name, kind)) if kind else None


def _without_memory(seen: Seen) -> t.Optional[Found]:
    """It answers, and its long-term memory, known to be down since before the act, still is: all that can be proven is proven."""
    if not seen.lacks_memory:
        return None
    text = "%s runs and answers, but is not proven: it depends on %s" % (seen.name, seen_of.texts_of(seen.memory_service))
    return Found("dependency_down", UNKNOWN, text)


def _below(seen: Seen) -> t.Optional[Found]:
    """Dependencies come first: a restart does not repair them."""
    sick, unclear = ([one for one in seen.dependencies if one["health"] == word] for word in ("sick", "unknown"))
    if seen.is_held_up_by_memory:
        sick = sick + seen.memory_service
    if sick:
        return Found("dependency_down", SICK, "it depends on %s" % seen_of.texts_of(sick))
    if unclear:
        return Found("dependency_unknown", UNKNOWN, "the health of its dependencies is unknown: %s" % seen_of.texts_of(unclear))
    return None


def _in_cluster(seen: Seen) -> t.Optional[Found]:
    """States of a cluster workload only: no new pod comes up, scaled to zero, or only some pods ready."""
    workload = seen.service.get("workload") or {}
    if not workload or seen.service_word not in ("failed", "stopped", "unhealthy"):
        return None
    text = sentence(seen.service)
    if workload["blocked"] and not seen.was_killed_for_memory:
        return Found("rollout_stuck", SICK, "%s; a restart would create the same pods again" % text)
    if seen.service_word == "stopped" and workload["remembered"] is None:
        return Found("scaled_to_nothing", SICK, "%s; no stop of ours noted how many pods it had" % text)
    return Found("pods_not_ready", SICK, text, ("restart",)) if seen.service_word == "unhealthy" else None


def _not_replaced(seen: Seen) -> t.Optional[Found]:
    if seen.old and seen.identity and all(seen.identity.get(key) == value for key, value in seen.old.items()):
        return Found("not_restarted", SICK, "the process from before the restart is still running (pid %s)" % seen.identity.get("pid"))
    return None


def _ended(seen: Seen) -> t.Optional[Found]:
    """It does not run, or exits again and again."""
    ended_once, looping = seen.is_to_be_started_again, _is_looping(seen)
    if seen.service_word not in ("stopped", "failed", "backoff") and not looping:
        return None
    text = seen.ended_text() if ended_once else sentence(seen.service)
    found = _port_taken(seen, text) or _no_cure(seen, text, looping)
    if found:
        return found
    if ended_once:
        # A single exit of a process that had come up is no loop. If it had not come up, this may be the first of many: wait and see.
        return Found("crashed", SICK, text, ("start",)) if seen.had_come_up else Found("starting", UNKNOWN, text, ("wait",))
    text += seen.cause_text() + ("; its long-term memory is down as well" if seen.long_term_memory == "sick" else "")
    if looping:
        return Found("exit_loop", SICK, "%s; it exits right after start%s" % (text, seen.restarts_text()))
    if seen.service.get("start_limit_hit"):
        return Found("start_limit", SICK, text, ("reset_failed", "start"))
    return Found("stopped" if seen.ended_cleanly else "crashed", SICK, text, ("start",))


def _port_taken(seen: Seen, text: str) -> t.Optional[Found]:
    """Return who holds its port: it cannot start until that process is gone."""
    holder = seen.port_holder
    container = holder.get("container") or {}
    if container and all(container[word] == str(seen.options.get(word) or "") for word in ("project", "service")):
        fix = "another container of this service: correct service_restart_url, or service_manager_replica"
        return Found("bad_input", UNKNOWN, "%s; port %s is that of %s, %s" % (text, holder["port"], container["name"], fix))
    return Found("port_taken", SICK, "%s; %s, so it cannot start" % (text, holder["text"])) if holder else None


def _no_cure(seen: Seen, text: str, looping: bool) -> t.Optional[Found]:
    """Return why it ended, if another start would end the same way."""
    if seen.was_killed_for_memory or (seen.line_of(OOM_LINE) and not seen.lines_are_older):
        return Found("oom", SICK, "%s: it needs more memory than its limit (%s)" % (text, seen.limit_text()))
    if (seen.ended_cleanly and not looping) or seen.is_mended or seen.lines_are_older:
        return None
    line = seen.line_of(*seen.bad_config)
    if not line:
        return None
    cause = str(((seen.raw.get("attempt") or {}).get("cause") or {}).get("text") or "")
    # The cause may go on in a second line, which names the file.
    said = cause if line[:100] in cause else one_line(redact(line), 160)
    return Found("bad_config", SICK, "%s; its log says: %s%s" % (text, said, seen.broken_file_text()))


def _is_looping(seen: Seen) -> bool:
    in_backoff = seen.service_word == "backoff" and not seen.is_to_be_started_again
    return in_backoff or (seen.is_looping and _is_between(seen))


def _is_between(seen: Seen) -> bool:
    """Return whether it is between two start attempts of its manager; even one that answers has to stay up for a while first."""
    if seen.service_word in ("running", "starting"):
        return seen.is_young and not seen.answers
    given_up = seen.service.get("start_limit_hit") or seen.service.get("autorestart") in ("false", "no")
    return seen.service_word == "failed" and not given_up


# What the manager's word alone decides: health and acts. A paused container resumes as the same process, so nothing is lost.
BY_MANAGER: t.Mapping[str, tuple[State, tuple[str, ...]]] = {
    "starting": (UNKNOWN, ("wait",)),
    "stopping": (UNKNOWN, ("wait",)),
    "paused": (SICK, ("start", *RESTART)),
    # Nothing but its manager checks it.
    "unhealthy": (SICK, RESTART),
}


def _on_its_way(seen: Seen) -> t.Optional[Found]:
    word = seen.service_word
    if word == "stopping" and seen.known.get("waited") == "stopping" and not seen.service.get("workload"):
        return Found("stuck_stopping", SICK, "%s; it was given time and did not stop" % sentence(seen.service), RESTART)
    if word in BY_MANAGER:
        health, actions = BY_MANAGER[word]
        return Found(word, health, sentence(seen.service), actions)
    if word != "running":
        return Found("unknown", UNKNOWN, sentence(seen.service))
    return _not_up_yet(seen) if seen.is_young else None


def _not_up_yet(seen: Seen) -> t.Optional[Found]:
    """Judge a young process that runs."""
    if seen.may_loop and (seen.answers or seen.is_looping):
        return Found("starting", UNKNOWN, "%s answers, and has to stay up%s" % (seen.name, seen.restarts_text()), ("wait",))
    is_of_ours = seen.http_word in NOT_UNDERSTOOD or seen.is_another_profile or seen.raw.get("speaks_tls") or _is_shut_in(seen)
    if not seen.http or seen.answers or seen.is_suspended or is_of_ours:
        return None
    text = "%s has been running for %.0f s and is not healthy yet" % (seen.name, seen.age or 0)
    return Found("starting", UNKNOWN, ": ".join(one for one in (text, seen.http_text()) if one), ("wait",))


def _is_shut_in(seen: Seen) -> bool:
    is_shut = seen.answering.whose == "nobody" and bool(seen.answering.shut_in)
    return is_shut and not seen.behind_proxy and not seen.service.get("barred")


def _suspended(seen: Seen) -> t.Optional[Found]:
    return Found("suspended", SICK, seen.suspended_text(), ("continue", *RESTART)) if seen.is_suspended else None


def _not_its_own(seen: Seen) -> t.Optional[Found]:
    """Who answers has to be who is meant, before anything that is answered counts."""
    if not seen.http:
        return None
    if seen.behind_proxy:
        return _behind_proxy(seen)
    if seen.raw.get("speaks_tls"):
        return Found("bad_input", UNKNOWN, "%s speaks TLS: write https:// in service_restart_url" % seen.url)
    whose, why = seen.answering.whose, seen.answering.text
    if whose in ("other", "elsewhere") or (whose == "nobody" and seen.status):
        return Found("not_its_port", UNKNOWN, "%s is not %s's own: %s%s" % (seen.url, seen.name, why, _own_ports(seen)), by_http=True)
    if whose == "nobody" and seen.service.get("barred"):
        return None
    if _is_shut_in(seen):
        # It is not made as it was when it was proven there.
        text = "%s, and %s: correct service_restart_url, or the ports in its Compose file; a restart adds none"
        return Found("bad_input", UNKNOWN, text % (why, seen.answering.shut_in))
    if whose == "nobody" and seen.answering.ports and not seen.is_proven_place:
        # Never seen to answer there, and it listens elsewhere: our URL is doubted before the service.
        return Found("bad_input", UNKNOWN, "%s%s; correct service_restart_url" % (why, _own_ports(seen)))
    return Found("owner_unseen", UNKNOWN, "%s answers, but %s" % (seen.url, why)) if whose == "unseen" and seen.answers else None


# What a proxy may say for a service that is well.
OF_A_PROXY = ("down", "unreachable", "hung", "closed", "error", "garbage", "other_service", "endless", "tls", "bad_input")


def _behind_proxy(seen: Seen) -> t.Optional[Found]:
    """Tell the service from its proxy: what the proxy says is not the service's own word."""
    listens = seen.answering.listens
    if seen.answers:
        text = "%s answers, but %s listens nowhere: what answers behind the proxy is something else"
        return Found("not_its_port", UNKNOWN, text % (seen.url, seen.name)) if listens is False else None
    if seen.http_word not in OF_A_PROXY:
        return None
    direct: list[t.Mapping[str, t.Any]] = list(seen.raw.get("direct") or [])
    well = next((one for one in direct if one["health"] == "well"), None)
    if well:
        text = "%s; but %s itself is well at %s, so its proxy, or the URL, is at fault"
        return Found("proxy_fails", SICK, text % (seen.http_text(), seen.name, one_line(well["url"], 100)))
    # Under Kubernetes there is no other way to a pod than its Service.
    if seen.http_word in ("down", "unreachable", "tls") and not direct and listens is not False and not seen.service.get("workload"):
        text = "%s; that is its proxy's word, and whether %s itself is well cannot be seen from here"
        return Found("proxy_fails", UNKNOWN, text % (seen.http_text(), seen.name))
    return None


def _own_ports(seen: Seen) -> str:
    if seen.answering.shut_in:
        return "; %s" % seen.answering.shut_in
    ports = ["%d" % one for one in seen.answering.ports[:5]]
    return "; %s itself listens on %s" % (seen.name, ", ".join(ports)) if ports else ""


def _held_up(seen: Seen) -> t.Optional[Found]:
    """It answers badly, late or not at all, and what it depends on is slow or makes it wait: a new process would wait as long."""
    if not seen.is_slowed:
        return None
    late = "%s answers only after %.1f s" % (seen.url, seen.late_seconds) if seen.late_seconds else seen.http_text()
    return Found("dependency_slow", SICK, "%s, and %s" % (late, seen.slow_text()))


def _starved(seen: Seen) -> t.Optional[Found]:
    return Found("slow", SICK, "%s; %s" % (seen.http_text(), processor.text_of(seen.raw["processor"]))) if seen.is_starved else None


def _unsteady(seen: Seen) -> t.Optional[Found]:
    """It did not answer one request, and answered the next: it is too slow, or one of its processes hangs."""
    again: t.Mapping[str, t.Any] = seen.raw.get("again") or {}
    if not again or not seen.is_answered or _answers_wrongly(seen):
        return None
    allowed = float(seen.options["answer_timeout"])
    if again["before"] == "timeout" and float(again["seconds"]) > allowed:
        text = "%s answered only after %.1f s, and %g s are allowed (service_restart_answer_timeout)"
        return Found("slow", SICK, text % (seen.url, again["seconds"], allowed))
    what = "did not answer one request within %g s" % allowed if again["before"] == "timeout" else "closed one connection without an answer"
    text = "%s %s, and answered the next in %.2f s: one of several processes may be sick, or it was busy for a moment"
    return Found("unsteady", SICK, text % (seen.url, what, again["seconds"]))


def _answers_wrongly(seen: Seen) -> bool:
    """Return whether it answered, and did not keep the test memory: that is surer than one silence."""
    trip = seen.round_trip
    return bool(trip and trip.health is not WELL and trip.state not in (*seen_of.HANGS, "closed", "slow"))


def _by_http(seen: Seen) -> t.Optional[Found]:
    if not seen.http or seen.answers:
        return None
    if seen.http_word == "endless" and not seen.is_proven_place:
        text = "%s; if that is a stream, correct service_restart_url: by this URL it was never well before"
        return Found("bad_input", UNKNOWN, text % seen.http_text())
    if seen.http_word in (*NOT_UNDERSTOOD, "bad_input"):
        return _not_ours(seen)
    if seen.http_word == "error" and 400 <= seen.status < 500 and not seen.is_proven_place:
        return Found("bad_input", UNKNOWN, REJECTED % (seen.url, seen.status))
    word, health, actions = BY_HTTP.get(seen.http_word, (seen.http_word or "unknown", UNKNOWN, ()))
    if seen.http.health is UNKNOWN:
        # From a distance, silence proves nothing.
        health, actions = UNKNOWN, ()
    if word == "slow" and seen.is_leaking:
        return _leaking(seen)
    return Found(word, health, seen.http_text() + _advice(seen, word), actions)


def _advice(seen: Seen, word: str) -> str:
    """Return which variable of ours would tell more about a service that is not well."""
    if word == "tls":
        return "; if an authority of your own signed its certificate, name that in service_restart_ca_file"
    blames = word == "degraded" and "; it blames " in seen.http_text() and not seen.options["dependencies"]
    return "; a restart does not mend a store: name those that it needs in service_restart_dependencies" if blames else ""


def _not_ours(seen: Seen) -> Found:
    """Judge an answer that does not fit our URL and profile: its own fault only where it was well by them before.

    Otherwise they may be wrong, which no restart mends.
    """
    misread, text = seen.http_word == "bad_input", seen.http_text()
    if not misread:
        text = "%s answers with something other than its health format: %s" % (seen.url, text)
    if not seen.is_own_fault:
        return Found("bad_input" if misread else "wrong_body", UNKNOWN, text)
    word = "erroring" if misread else "wrong_body"
    return Found(word, SICK, "%s; by this URL and profile it was well before" % text, RESTART, by_http=True)


def _by_round_trip(seen: Seen) -> t.Optional[Found]:
    trip = seen.round_trip
    if trip is None or trip.health is WELL:
        return None
    text = next((one.text for one in trip.findings if one.state is not WELL), "the test memory could not be written and recalled")
    if trip.state == "slow":
        return Found("slow", SICK, text)
    if trip.health is SICK and trip.state in BY_ROUND_TRIP:
        return _not_by_it(seen, trip.state, text) or Found("not_remembering", SICK, text, RESTART)
    return Found(trip.state if trip.state in ("auth", "bad_input") else "round_trip_unknown", UNKNOWN, text)


def _not_by_it(seen: Seen, word: str, text: str) -> t.Optional[Found]:
    """Return what else explains that a memory did not come back: only the memory service could return it, or all is merely slow."""
    if seen.long_term_memory == "sick":
        return Found("dependency_down", SICK, "%s; its long-term memory is down" % text)
    if word == "no_ltm":
        well = "answers its own check, but " if seen.long_term_memory == "well" else ""
        return Found("dependency_down", SICK, "%s; the long-term memory %sdoes not return what was written" % (text, well))
    if word in (*seen_of.HANGS, "closed") and (seen.slow_below or seen.locked_below):
        return Found("dependency_slow", SICK, "%s, and %s" % (text, seen.slow_text()))
    if word in seen_of.HANGS and seen.is_slow_itself:
        return Found("slow", SICK, "%s, and its health took %.1f s: it is slow, which no restart mends" % (text, seen.answer_seconds))
    return None


def _leaking(seen: Seen) -> t.Optional[Found]:
    return Found("leaking", SICK, "its memory grows steadily: %s" % seen.growth_text(), RESTART) if seen.is_leaking else None


def _well(seen: Seen) -> t.Optional[Found]:
    return Found("up", WELL, "%s%s" % (sentence(seen.service), "" if seen.http else "; it has no health endpoint to check"))


RULES: tuple[t.Callable[[Seen], t.Optional[Found]], ...] = (
    _stateful, _unreachable, _without_memory, _below,
    _not_replaced, _in_cluster, _ended, _on_its_way, _suspended, _not_its_own, _held_up, _starved, _unsteady, _by_http, _by_round_trip,
    _leaking,
    _well,
)  # fmt: skip
