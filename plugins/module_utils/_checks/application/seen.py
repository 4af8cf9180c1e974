# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions that the rules of ``judge.py`` ask of a raw look at an application."""

from __future__ import annotations

import functools
import math
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import pace, processor, released
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.memory import (
    growth_of,
    minutes_left,
    of_same_process,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.stateful import REMEDIES, stateful_kind
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import answering
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.sentence import sentence
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import identity_of

FACTS = (
    "restarts", "exit_code", "signal", "oom_killed", "start_limit_hit", "autorestart", "started_at", "last_ended_at", "manager", "barred",
)  # fmt: skip
MIB = 1024 * 1024
# Processes that a manager starts together may begin so many seconds apart.
SAME_START = 10.0
# An HTTP check's words for a service that accepts connections at most.
HANGS = ("hung", "unreachable")
# Signals that ask a process to end.
ASKED = (None, "", "SIGTERM", "SIGINT")


class Found(t.NamedTuple):
    """What a rule says; ``by_http`` adds the findings of its HTTP answer."""

    word: str
    health: State
    text: str
    actions: tuple[str, ...] = ()
    by_http: bool = False


class Seen:
    """A raw look with its options; every property is judged once."""

    def __init__(
        self, raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], http: t.Optional[Health], round_trip: t.Optional[Health]
    ) -> None:
        self.raw, self.options, self.http, self.round_trip = raw, options, http, round_trip
        self.service: t.Mapping[str, t.Any] = raw["service"]
        self.name = one_line(options["service"], 60)
        self.url = one_line(str(options["url"]).partition("?")[0], 100)
        self.dependencies: list[t.Mapping[str, t.Any]] = list(raw["dependencies"] or [])
        self.memory_service: list[t.Mapping[str, t.Any]] = list(raw["long_term_memory"] or [])
        self.old: t.Mapping[str, t.Any] = options["old_identity"]
        self.known: t.Mapping[str, t.Any] = options["known"]
        self.behind_proxy = bool(options["behind_proxy"])
        self.bad_config: list[str] = list(options["bad_config"])

    @property
    def service_word(self) -> str:
        word = str(self.service.get("state"))
        # Its answers decide, not the container's healthcheck, which may begin half a minute late.
        if not trait(self.service.get("manager"), "OWN_CHECKS") or not self.raw["http"]:
            return word
        return "running" if word == "unhealthy" or (word == "starting" and self.is_answered) else word

    @functools.cached_property
    def release(self) -> dict[str, t.Any]:
        """{now, verified, other} of its release, {} where the ledger knows none."""
        return released.judge(self.options["releases"], str(self.raw.get("release") or ""))

    @property
    def identity(self) -> dict[str, t.Any]:
        """The process, and how often its manager has restarted it: when either changes, the stability window starts over."""
        one = identity_of(dict(self.service))
        return dict(one, restarts=self.service.get("restarts")) if one else {}

    @property
    def http_word(self) -> str:
        return self.http.state if self.http else ""

    @property
    def is_own_fault(self) -> bool:
        """Whether an answer of another kind is its own change: from its own port, and well by this very URL and profile before."""
        return self.answering.whose == "own" and self.is_proven_place and not self.is_another_profile

    @property
    def is_proven_place(self) -> bool:
        """Whether this very service was well by this URL and profile before, so that they are right."""
        return bool(self.known.get("answered") == self.answered)

    @property
    def is_another_profile(self) -> bool:
        """Whether it gave the answer of a profile that we know, and that is not the one that was named."""
        return bool(self.http and self.http_word == "bad_input" and self.http.facts.get("profile"))

    @property
    def answered(self) -> dict[str, str]:
        """Whose answer it was, and what it was judged by."""
        return {"service": self.name, "url": self.url, "profile": str(self.options["profile"])}

    @property
    def is_answered(self) -> bool:
        """Whether a health endpoint is named and well."""
        return bool(self.http and self.http.health is State.WELL)

    @property
    def answers(self) -> bool:
        """Whether its own health endpoint is well; without one, whether the process runs."""
        return self.is_answered if self.http else self.service_word == "running"

    def http_text(self) -> str:
        findings = self.http.findings if self.http else ()
        return next((one.text for one in findings if one.state is not State.WELL), "%s is not well" % self.url)

    @property
    def long_term_memory(self) -> str:
        """well, sick or unknown (also if not named); ``renewed`` if it began after the process, which then ran without it.

        Where no process runs, the one that ran last counts: whatever it had, it has lost.
        """
        word = str(self.memory_service[0]["health"]) if self.memory_service else "unknown"
        since, started = self.raw["memory_since"], self.service.get("started_at") or self.service.get("last_began_at")
        if word == "well" and not started and not self.service.get("pid"):
            return "unknown"
        return "renewed" if word == "well" and since and started and since > float(started) + SAME_START else word

    @functools.cached_property
    def answering(self) -> answering.Answering:
        """Whose the answer at its URL is."""
        return answering.judge(self.raw.get("answering") or {})

    @property
    def status(self) -> int:
        """The status of its answer, 0 for none."""
        return int((self.http.facts if self.http else {}).get("status") or 0)

    @functools.cached_property
    def stateful(self) -> str:
        if self.name in self.options["stateful"]:
            return "named so by service_restart_stateful"
        process = self.raw["process"]
        # A person's word excuses a name, not what the program or its image is known to be.
        called = [] if self.name in self.options["stateless"] else [self.name, str(self.service.get("name") or "")]
        runs = process.get("processes") or [[process.get("program") or "", process.get("words") or []]]
        return stateful_kind([*called, self.image], runs, str(self.service.get("start_command") or ""))

    @property
    def data_files(self) -> list[str]:
        """Data files that it holds open for writing: a store that no list knows, unless a person says otherwise."""
        return [] if self.name in self.options["stateless"] else list(self.raw["process"].get("data_files") or [])

    @property
    def image(self) -> str:
        """The name of its image without registry, folders, tag and digest; "" for none."""
        whole = str((self.service.get("image") or {}).get("name") or "")
        return whole.partition("@")[0].rpartition("/")[2].partition(":")[0]

    @property
    def is_suspended(self) -> bool:
        return self.service_word == "running" and (self.service.get("process_state") == "T" or bool(self.suspended_workers))

    @property
    def suspended_workers(self) -> list[int]:
        """Which of its processes are suspended below one that runs, where it is silent: a master whose worker hangs answers nothing."""
        is_silent = self.http_word in HANGS and self.service.get("process_state") != "T"
        return list(self.raw["process"].get("suspended") or []) if is_silent else []

    def suspended_text(self) -> str:
        if not self.suspended_workers:
            return sentence(self.service)
        pids = ", ".join(map(str, self.suspended_workers))
        return "%s does not answer, and of its processes %s is suspended; SIGCONT resumes it" % (self.name, pids)

    @property
    def age(self) -> t.Optional[float]:
        """Seconds since the process started, None if unknown."""
        started = self.service.get("started_at")
        return None if started is None else max(0.0, float(self.raw["now"]) - float(started))

    @property
    def is_young(self) -> bool:
        return self.age is not None and self.age < float(self.options["start_seconds"])

    @property
    def ended_cleanly(self) -> bool:
        return self.service_word == "stopped" and self.service.get("signal") in ASKED and self.service.get("exit_code") in (None, 0)

    @property
    def restarts_by_itself(self) -> int:
        """How often its manager restarted it within the budget's time; a count over a longer time is spread evenly."""
        restarts, window = self.service.get("restarts"), float(self.options["budget_seconds"])
        if not restarts or (self.service_word == "running" and self.age is not None and self.age > window):
            return 0
        before = self.known.get("restarts")
        grown = int(restarts) - int(before) if before is not None and int(restarts) >= int(before) else int(restarts)
        since = float(self.raw["now"]) - float(self.known["at"]) if self.known.get("at") else window
        # The restart that made the present process is within the time.
        return min(grown, max(1, math.floor(grown * window / since))) if grown and since > window else grown

    @property
    def had_come_up(self) -> bool:
        """Whether its last process lived longer than a start takes."""
        return float(self.service.get("lived") or 0) >= float(self.options["start_seconds"])

    @property
    def is_to_be_started_again(self) -> bool:
        """Whether its manager waits to start it again and has not done so too often; needs to know how long the last process lived."""
        told = self.service_word == "backoff" and self.service.get("lived") is not None
        # If it did not even come up, the second attempt is one too many.
        return told and self.restarts_by_itself < (int(self.options["loop_restarts"]) if self.had_come_up else 1)

    def ended_text(self) -> str:
        by = str(self.service.get("signal") or "exit code %s" % self.service.get("exit_code"))
        return "%s ended (%s) after %.0f s, and %s is about to start it again" % (
            self.name, by, self.service.get("lived") or 0, self.service.get("manager"),
        )  # fmt: skip

    @property
    def is_looping(self) -> bool:
        """Whether it was restarted too often since an earlier look; without one, the times of its restarts are unknown."""
        return bool(self.known.get("at")) and self.restarts_by_itself >= int(self.options["loop_restarts"])

    @property
    def may_loop(self) -> bool:
        """Whether a process that was just started may be one of a loop, by the restarts of its manager whenever those were."""
        # A manager that restarts nothing by itself was asked to.
        by_itself = self.restarts_by_itself if self.service.get("autorestart") not in ("false", "no") else 0
        often = by_itself >= int(self.options["loop_restarts"]) or str(self.known.get("loops")).lower() == "true"
        return self.is_looping or (self.is_young and often)

    def restarts_text(self) -> str:
        count = self.restarts_by_itself
        if not count:
            return ""
        # Without an earlier look the times of its restarts are unknown.
        span = " within %.0f s" % self.options["budget_seconds"] if self.known.get("at") else ", at an unknown time"
        return ", %d restarts by its manager%s" % (count, span)

    @property
    def was_killed_for_memory(self) -> bool:
        if self.service.get("oom_killed") is not None:
            return bool(self.service["oom_killed"])
        # The manager cannot know. The kernel has killed a process since, and this one ended by that signal.
        before, now = self.known.get("oom_kills"), self.raw["oom_kills"]
        return self.service.get("signal") == "SIGKILL" and before is not None and now is not None and int(now) > int(before)

    @property
    def port_holder(self) -> t.Mapping[str, t.Any]:
        """The stranger that holds its port while it does not run, {} for none; a cluster has ports of its own."""
        return {} if self.service.get("workload") else self.raw.get("port_holder") or {}

    @property
    def is_mended(self) -> bool:
        """Whether a file that its last start read, or named, has changed since, or a person says that the reason is mended."""
        return bool(self.options["mended"] or (self.raw.get("attempt") or {}).get("paths_changed"))

    @property
    def lines_are_older(self) -> bool:
        """Whether nothing says when its last lines were written, and it ended from outside: they are no reason to leave it down."""
        return (self.raw.get("attempt") or {}).get("bound") == "tail" and self.service.get("signal") == "SIGKILL"

    def cause_text(self) -> str:
        """Return why its last start failed and what has changed since, "" where it was asked to end or nothing says why."""
        attempt = self.raw.get("attempt") or {}
        cause = attempt.get("cause")
        if self.ended_cleanly or not cause:
            return ""
        older = ", which may be of an earlier start" if attempt["bound"] == "tail" else ""
        # The sentence before it already says how it ended, by which signal or code.
        shown = bool(self.service.get("signal") or self.service.get("exit_code"))
        ended = cause["text"].partition("; ")[2] if shown else cause["text"]
        said = ended if cause["code"] == "ended" else "its log says%s: %s" % (older, cause["text"])
        said += self.broken_file_text()
        changed = attempt["paths_changed"]
        return "; %s%s" % (said, "; changed since: %s" % ", ".join(changed[:3]) if changed else "")

    def broken_file_text(self) -> str:
        """Return which file its last start could not parse, "" where that is not known."""
        path = ((self.raw.get("attempt") or {}).get("cause") or {}).get("file")
        return "; %s is not valid JSON" % one_line(path, 120) if path else ""

    @property
    def is_final(self) -> bool:
        """Whether nothing starts it any more: its manager has given up, so waiting for it is in vain."""
        ended = self.service_word in ("stopped", "failed") and not self.service.get("workload")
        return ended or self.lacks_memory or (self.http_word == "bad_input" and not self.is_own_fault and not self.is_young)

    @property
    def is_held_up_by_memory(self) -> bool:
        """Whether its long-term memory explains its own answer: any fault of it explains a bad answer, one that hangs explains silence."""
        if self.long_term_memory != "sick" or self.service_word != "running" or self.is_suspended:
            return False
        hangs = str(self.memory_service[0].get("state") or "") in HANGS
        return self.http_word in ("degraded", "slow") or self.status >= 500 or (hangs and self.http_word in (*HANGS, "closed"))

    @functools.cached_property
    def slow_below(self) -> list[t.Mapping[str, t.Any]]:
        """What it depends on that is well, but so slow that it may hold it up."""
        answer = float(self.options["answer_timeout"])
        share = pace.IMPATIENT_SHARE if self.http_word == "degraded" else pace.SLOW_SHARE
        return pace.slow_of(self.dependencies, answer) + pace.slow_of(self.memory_service, answer, share)

    @functools.cached_property
    def locked_below(self) -> list[t.Mapping[str, t.Any]]:
        """Which of its dependencies makes a session wait for a lock."""
        return pace.locked_of(self.dependencies, float(self.options["answer_timeout"]))

    def slow_text(self) -> str:
        return "what it depends on is slow: " + ", ".join(map(pace.text_of, self.locked_below or self.slow_below))

    @property
    def is_slowed(self) -> bool:
        """Whether it is silent or its answer bad, and what it depends on is slow, or in a database sessions wait for a lock.

        The second generation gives each part of its health a deadline.
        """
        if self.service_word != "running" or self.is_suspended:
            return False
        is_silent = self.http_word in (*HANGS, "closed")
        is_bad = self.http_word in ("degraded", "slow") or self.status >= 500
        return bool((self.slow_below and (is_silent or is_bad)) or (self.locked_below and is_silent))

    @property
    def answer_seconds(self) -> float:
        return float((self.http.facts if self.http else {}).get("ms") or 0) / 1000

    @property
    def is_slow_itself(self) -> bool:
        return self.answer_seconds >= pace.SLOW_SHARE * float(self.options["answer_timeout"])

    @property
    def is_starved(self) -> bool:
        """Whether it was silent, and hardly got a processor meanwhile."""
        return self.http_word in HANGS and processor.is_starved(self.raw.get("processor") or {})

    @property
    def late_seconds(self) -> float:
        """How long it took to answer when it was given more time, 0 where it was not asked again or stayed silent."""
        late = self.raw.get("late")
        return float(late["answer"].seconds) if late and late["answer"].status else 0.0

    @property
    def lacks_memory(self) -> bool:
        """Whether it answers without the long-term memory that was down before this run acted and still is."""
        is_down = bool(self.options["memory_was_down"]) and self.long_term_memory == "sick"
        return is_down and self.service_word == "running" and (self.is_answered or self.http_word == "degraded")

    def line_of(self, *patterns: t.Union[str, t.Pattern[str]]) -> str:
        """Return the last line of its log that matches, "" for none."""
        for line in reversed(self.raw["log"]):
            if any(re.search(pattern, line[:2000]) for pattern in patterns):
                return str(line).strip()
        return ""

    @functools.cached_property
    def leak(self) -> dict[str, t.Any]:
        """Growth over earlier runs, or within this look; a young process is only warming up."""
        least, now = float(self.options["min_growth_bytes"]), list(self.raw["samples"])
        earlier = of_same_process(self.known.get("samples") or [], self.identity)
        ways = [growth_of([*earlier, *now[-1:]], least), growth_of(now, least)]
        if self.is_young:
            return dict(ways[0], steady=False)
        return next((way for way in ways if way["steady"]), ways[0])

    @property
    def rss(self) -> int:
        return int(self.raw["samples"][-1]["rss"]) if self.raw["samples"] else 0

    @property
    def limit(self) -> t.Optional[int]:
        process = self.raw["process"]
        left = process.get("machine_available")
        limits = [self.options["memory_limit"], process.get("memory_limit"), self.rss + left if left and self.rss else None]
        return min((int(one) for one in limits if one), default=None)

    @property
    def is_leaking(self) -> bool:
        left = minutes_left(self.rss, self.limit, self.leak["per_minute"])
        return bool(self.leak["steady"]) and left is not None and left * 60 <= float(self.options["memory_horizon"])

    def growth_text(self) -> str:
        left = minutes_left(self.rss, self.limit, self.leak["per_minute"])
        soon = "" if left is None else ", at its limit of %d MiB in %.0f min" % ((self.limit or 0) // MIB, left)
        rate = self.leak["per_minute"] / MIB
        return "%.1f MiB a minute over %d samples, %d MiB now%s" % (rate, self.leak["samples"], self.rss // MIB, soon)

    def limit_text(self) -> str:
        given = self.options["memory_limit"] or self.raw["process"].get("memory_limit")
        return "its limit is %d MiB" % (int(given) // MIB) if given else "its manager sets the limit: MemoryMax, memory or ulimit"

    def unknown_text(self) -> str:
        return "%s has no such service%s" % (
            self.service.get("manager"), "; " + one_line(self.service["detail"], 160) if self.service.get("detail") else "",
        )  # fmt: skip

    @property
    def _not_well(self) -> list[t.Mapping[str, t.Any]]:
        """Return its dependencies that are sick, or else those that are unknown."""
        sick = [one for one in self.dependencies if one["health"] == "sick"]
        return sick or [one for one in self.dependencies if one["health"] != "well"]

    @property
    def is_unlocked_first(self) -> bool:
        """Whether locks in its database are all that is wrong with what it depends on."""
        down = self._not_well
        return all(one.get("state") == "blocked" for one in down) if down else bool(self.locked_below)

    def hand_over(self) -> dict[str, str]:
        """Return {kind, playbook, service} of the remedy that fits instead; empty words for none."""
        if self.stateful:
            # The remedies of stores act on the machine's own service, never on a container.
            own = trait(self.service.get("manager"), "RELEASED_AS") == "directories"
            return {"kind": self.stateful, "playbook": REMEDIES.get(self.stateful, "") if own else "", "service": self.name}
        down = self._not_well
        if self.is_unlocked_first:
            return {"kind": "locks", "playbook": "unblock-database.yml", "service": ""}
        if not down:
            return {"kind": "", "playbook": "", "service": ""}
        if len({str(one["playbook"]) for one in down if one["playbook"]}) > 1:
            return {"kind": "several", "playbook": "recover-all.yml", "service": ""}
        return {"kind": str(down[0]["kind"]), "playbook": down[0]["playbook"], "service": down[0]["service"]}

    def facts(self) -> dict[str, t.Any]:
        """Return further facts for people and for the run."""
        count = self.restarts_by_itself
        return {
            **{key: self.service.get(key) for key in FACTS},
            **(dict(self.http.facts) if self.http else {}),
            "age": self.age,
            "cause": (self.raw.get("attempt") or {}).get("cause"),
            "memory": {**self.leak, "rss": self.rss, "limit": self.limit},
            "last_sample": {**self.raw["samples"][-1], **identity_of(dict(self.service))} if self.raw["samples"] else {},
            "oom_kills": self.raw["oom_kills"],
            "long_term_memory": self.long_term_memory,
            "memory_watched": self.raw["memory_since"] is not None,
            "dependencies": {str(one["name"]): str(one["health"]) for one in self.dependencies + self.memory_service},
            "hand_over": self.hand_over(),
            "release": self.release,
            "may_loop": self.may_loop,
            "answered": self.answered if self.is_answered else {},
            "round_trip": dict(self.round_trip.facts) if self.round_trip else {},
            # Restarts by its manager count like our attempts.
            "attempted_elsewhere": {"restart": count, "start": count},
        }


def texts_of(results: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return name and reason of each result that is not well."""
    texts = []
    for one in results:
        told = [str(finding["text"]) for finding in one["findings"] if finding["state"] == one["health"]]
        texts.append("%s, which is %s: %s" % (one["name"], one["health"], one_line(told[0] if told else "no finding", 160)))
    return "; ".join(texts)
