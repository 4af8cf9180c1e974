# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at an application from all sides at once: manager, HTTP, dependencies, processes, log. Judges nothing."""

from __future__ import annotations

import functools
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import pace, process, processor, released
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import speaks_tls
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import answering
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.read import last
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import SOCKET
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.published import load_container_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock

Options = t.Mapping[str, t.Any]
# Seconds in which such a worker ends.
ORPHAN_ENDS = 1.5
# What a manager says of a service that has no process to look at.
NOT_UP = ("stopped", "failed", "backoff")
Raw = t.Dict[str, t.Any]
# Makes checks within so many seconds each, seen from "target" or "controller", and returns their results in order.
Look = t.Callable[[t.Sequence[Options], float, str], t.List[Raw]]


# Asks its health endpoint within so many seconds, or the same at another URL.
Ask = t.Callable[..., t.Optional[Raw]]
# At so many of its own ports a service is asked past its proxy.
MOST_PORTS = 3


def load_application(options: Options, deadline: float, ask_http: Ask, look: Look) -> Raw:
    """Return now, service, http, late, answering, dependencies, long_term_memory, memory_since, release, process, processor, samples,
    log, oom_kills, and what ``_doubts`` found.

    Within *deadline* seconds. Raises StepError for a bad name or a wrong check of a dependency.
    """
    clock, answer = Clock(deadline), min(float(options["answer_timeout"]), deadline)
    # What is young is young when the look begins, however long it takes.
    begun = time.time()
    named = dict(options, name=options["service"])
    raw = _together(
        {
            "service": functools.partial(ask.load_service, named, answer),
            "http": functools.partial(ask_http, answer),
            "dependencies": functools.partial(_look_below, options, options["dependencies"], answer, look),
            "long_term_memory": functools.partial(_look_below, options, [options["long_term_memory"]], answer, look),
        },
        clock,
    )
    pid = int(raw["service"].get("pid") or 0)
    raw.update(now=begun, round_trip=None, samples=[], log=[], oom_kills=process.oom_kills())
    members = answering.members_of(raw["service"])
    looked_at = members[: process.MOST_MEMBERS]
    raw["process"] = process.facts_of(pid or members[0], members) if pid or members else {}
    raw["answering"] = _whose_port(raw["service"], members, options, clock)
    raw["release"] = released.load(options["releases"], raw["service"])
    raw["memory_since"] = process.listening_since(str(options["long_term_memory"].get("url") or ""))
    before = processor.load_times(looked_at) if _is_silent(raw) else {}
    raw.update(_look_longer(raw, options, clock, ask_http, look))
    raw.update(_doubts(options, raw, ask_http, answer, clock))
    raw["processor"] = processor.passed_since(before, looked_at, clock.left)
    status = raw["http"]["answer"].status if raw["http"] else 0
    if status and pid:
        raw["samples"] = _sample(pid, options, clock)
    raw["attempt"], raw["port_holder"] = {}, {}
    if raw["service"].get("exists") and raw["service"].get("state") in NOT_UP:
        raw.update(_why_not_up(named, options, max(0.3, min(answer, clock.left)), raw["service"]))
    elif not 200 <= status < 300 and raw["service"].get("exists"):
        raw["log"] = ask.logs_of(named, options["log_lines"], max(0.3, min(answer, clock.left))).decode("utf-8", "replace").splitlines()
    return raw


def _whose_port(service: Raw, members: t.Sequence[int], options: Options, clock: Clock) -> Raw:
    """Return who is at the place that its URL names, {} where there is no such service."""
    if not service.get("exists"):
        return {}
    told = answering.load(service, members, options["url"], clock.left)
    found = told.get("found") or {}
    if found:
        found["strangers"] = [_with_container(one, told["port"], options) for one in found["strangers"]]
    return told


def _look_longer(raw: Raw, options: Options, clock: Clock, ask_http: Ask, look: Look) -> Raw:
    """Look again, with more time for its answer, where it was silent and something that it depends on was slow.

    Returns late (its answer, None where nothing was looked at again), dependencies and long_term_memory.
    """
    answer = float(options["answer_timeout"])
    silent = _is_silent(raw)
    if not (silent and pace.slow_of([*raw["dependencies"], *raw["long_term_memory"]], answer)):
        return {"late": None, **(look_for_locks(raw, options, look) if silent else {})}
    below = functools.partial(_look_below, options, options["dependencies"], answer, look)
    parts: dict[str, t.Callable[[], t.Any]] = {
        "late": functools.partial(ask_http, min(pace.LATE * answer, max(0.3, clock.left - 1.0))),
        "dependencies": below,
        "long_term_memory": functools.partial(_look_below, options, [options["long_term_memory"]], answer, look),
    }
    return _together(parts, clock)


def _is_silent(raw: Raw) -> bool:
    return bool(raw["http"] and raw["http"]["answer"].error == "timeout" and raw["service"].get("process_state") != "T")


def look_for_locks(raw: Raw, options: Options, look: Look) -> Raw:
    """Return its dependencies, looked at again, where one shows who waits for a lock; {} for none.

    A session of a service that nobody asked before waits only since our own request.
    """
    sees_locks = any("locks" in (one.get("facts") or {}) for one in raw["dependencies"])
    return {"dependencies": _look_below(options, options["dependencies"], float(options["answer_timeout"]), look)} if sees_locks else {}


def _doubts(options: Options, raw: Raw, ask_http: Ask, answer: float, clock: Clock) -> Raw:
    """Return what puts a bad answer in doubt: {http, again, speaks_tls, direct}; a restart is no cure for what these show."""
    found: Raw = {"http": raw["http"], "again": {}, "speaks_tls": False, "direct": []}
    told = raw["http"]["answer"] if raw["http"] else None
    if told is None or raw["service"].get("state") != "running" or 200 <= told.status < 300:
        return found
    if told.error in ("closed", "garbage") or told.status == 400:
        found["speaks_tls"] = options["url"].startswith("http:") and speaks_tls(options["url"], min(1.0, answer))
    if options["behind_proxy"]:
        found["direct"] = _asked_directly(options, raw, ask_http, min(answer, clock.left / 4))
    elif told.error in ("timeout", "closed") and options["ask_again"] and not found["speaks_tls"] and _is_worth_it(raw):
        found.update(_asked_again(raw, ask_http, min(float(options["ask_again"]), clock.left / 2)))
    return found


def _is_worth_it(raw: Raw) -> bool:
    """Return whether nothing that was seen explains the silence."""
    below = [*raw["dependencies"], *raw["long_term_memory"]]
    return raw["late"] is None and raw["service"].get("process_state") != "T" and all(one["health"] == "well" for one in below)


def _asked_again(raw: Raw, ask_http: Ask, seconds: float) -> Raw:
    """Ask once more. An answer takes the place of the silence; ``again`` says what was before it, and how long this one took."""
    again = ask_http(max(0.3, seconds))
    if again is None or again["answer"].error:
        return {}
    return {"http": again, "again": {"before": raw["http"]["answer"].error, "seconds": again["answer"].seconds}}


def _asked_directly(options: Options, raw: Raw, ask_http: Ask, seconds: float) -> list[Raw]:
    """Ask the service itself, past its proxy: at the ports that Docker publishes for it, else at those that it listens on here."""
    path = "/" + options["url"].partition("://")[2].partition("/")[2]
    fronts = [(str(one["address"]), int(one["port"])) for one in raw["service"].get("fronts") or [] if one["by"] == "docker"]
    seen = raw["answering"]
    own = [] if seen.get("inside") else [("", port) for port in seen.get("ports") or []]
    urls = ["http://%s:%d%s" % (_host_of(address), port, path) for address, port in (fronts or own)[:MOST_PORTS]]
    return [{"url": url, "raw": ask_http(max(0.3, seconds), url)} for url in urls if url != options["url"]]


def _host_of(address: str) -> str:
    if address in ("", "0.0.0.0", "::"):  # noqa: S104 - it listens there, and is asked on loopback
        return "127.0.0.1"
    return "[%s]" % address if ":" in address else address


def _why_not_up(named: Options, options: Options, seconds: float, service: Raw) -> Raw:
    """Return {attempt, log, port_holder}: what its last start left behind, and the stranger that holds its port, {} for none."""
    attempt = last(named, [options["log_file"]], seconds, service=service)
    holder = {} if options["behind_proxy"] else answering.stranger(service, options["url"])
    if holder:
        # A worker whose master was killed ends once it has answered our own request.
        time.sleep(ORPHAN_ENDS)
        holder = answering.stranger(service, options["url"])
    if holder:
        holder = _with_container(holder, int(holder["port"]), options)
        holder["text"] = answering.held_text(holder, int(holder["port"]))
    return {"attempt": attempt, "log": [line["text"] for line in attempt["lines"]], "port_holder": holder}


def _with_container(holder: Raw, port: int, options: Options) -> Raw:
    """Return the holder of a port with the container that it holds it for, where it is a program of Docker's."""
    if holder["program"] not in answering.FRONTS["docker"]:
        return holder
    found = load_container_on(port, 0, str(options.get("docker_socket") or "") or SOCKET)
    return dict(holder, container=found, of="container %s" % found["name"]) if found else holder


def _look_below(options: Options, checks: t.Sequence[Options], seconds: float, look: Look) -> list[Raw]:
    """Return the results of the checks of its dependencies, seen from where the application runs."""
    given = [check for check in checks if check]
    if not given:
        return []
    found = look(given, seconds, str(options.get("stands_on") or "target"))
    return [dict(result, at=_where(check)) for result, check in zip(found, given)]


def _where(check: Options) -> str:
    return str(check.get("service") or check.get("url") or "")


def _together(parts: t.Mapping[str, t.Callable[[], t.Any]], clock: Clock) -> Raw:
    """Run *parts* at once. A part that hangs beyond the deadline is an error of the whole look."""
    found: Raw = {}
    errors: list[Exception] = []

    def run(name: str) -> None:
        try:
            found[name] = parts[name]()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.05, clock.left))
    if errors:
        raise errors[0]
    hung = [name for name in parts if name not in found]
    if hung:
        raise StepError("the look at %s did not end within %.1f s" % (hung[0].replace("_", " "), clock.passed))
    return found


def _sample(pid: int, options: Options, clock: Clock) -> list[Raw]:
    """Return {at, rss} of the process with its children, several times over ``memory_seconds``."""
    wanted = max(2, options["memory_samples"]) if options["memory_seconds"] > 0 else 1
    # What is left of the deadline is for a memory that is written and recalled.
    pause = min(float(options["memory_seconds"]), clock.left / 2) / max(1, wanted - 1)
    found = []
    for turn in range(wanted):
        if turn:
            time.sleep(pause)
        rss = process.rss_of(pid)
        if rss:
            found.append({"at": time.time(), "rss": rss})
    return found
