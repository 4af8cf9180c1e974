# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs any number of health checks at once, each with its own total deadline.

A kind of check is one file ``_checks/kind/<kind>.py`` (``OPTIONS``, ``load``, ``judge``) and a line in ``_checks/kinds.py``.
"""

from __future__ import annotations

import collections
import functools
import json
import math
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.secret import problems_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import traits
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kinds import KINDS
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, Proof, State, worst

Check = t.Dict[str, t.Any]
Result = t.Mapping[str, t.Any]

COMMON: dict[str, t.Any] = {
    "name": {"type": "str"},
    "kind": {"type": "str", "required": True},
    "timeout": {"type": "float"},
    "look_from": {"type": "str", "choices": ["auto", "controller", "target"], "default": "auto"},
    # Names of checks that must be well in the same look before this one runs.
    "needs": {"type": "list", "elements": "str", "default": []},
    # The playbook that repairs what depends on the subject: it is looked at and reported, and does not decide. "": it decides.
    "beside": {"type": "str", "default": ""},
}
WORKERS = 256
MAX_CHECKS = 10000
# Longest timeout of one check, in seconds.
LONGEST = 3600
# How long a probe may run beyond its deadline (to close, to judge) before it is abandoned.
GRACE = 0.25


def validated(checks: t.Sequence[t.Any], probe_timeout: float) -> list[Check]:
    """Return *checks* with defaults and a unique name each; raises StepError that names the wrong check and option."""
    if not checks:
        raise StepError("checks is empty: name at least one check, for example {kind: tcp, host: db1, port: 5432}")
    if len(checks) > MAX_CHECKS:
        raise StepError(f"checks has {len(checks)} entries, at most {MAX_CHECKS} are allowed: split them over several tasks")
    seen: set[str] = set()
    return [_validated_one(check, index, probe_timeout, seen) for index, check in enumerate(checks)]


def _validated_one(check: t.Any, index: int, probe_timeout: float, seen: set[str]) -> Check:
    where = f"checks[{index}]"
    if not isinstance(check, dict):
        raise StepError(f"{where} is not a dictionary: write it as {{kind: http, url: ...}}")
    kind = one_line(check.get("kind"), 40)
    if kind not in KINDS:
        raise StepError(f"{where}.kind is '{kind}': choose one of {', '.join(sorted(KINDS))}")
    spec = _spec_of(kind)
    ready = {option: rule.get("default") for option, rule in spec.items()}
    for option in [*check, *_required(kind)]:
        if option not in spec:
            raise StepError(f"{where} ({kind}) has the unknown option '{one_line(option, 60)}': choose from {', '.join(sorted(spec))}")
        ready[option] = _value(check.get(option), spec[option], f"{where}.{option}")
    ready["timeout"] = probe_timeout if ready["timeout"] is None else ready["timeout"]
    if not 0 < ready["timeout"] <= LONGEST:
        raise StepError(f"{where}.timeout must be more than 0 and at most {LONGEST} seconds")
    ready["name"] = _unique(ready, where, seen)
    return ready


@functools.lru_cache(maxsize=None)
def _spec_of(kind: str) -> dict[str, t.Any]:
    return dict(KINDS[kind].OPTIONS, **COMMON)


@functools.lru_cache(maxsize=None)
def _required(kind: str) -> tuple[str, ...]:
    return tuple(option for option, rule in _spec_of(kind).items() if rule.get("required"))


def require_needs(checks: t.Sequence[Check]) -> None:
    """Raise StepError where a check needs a name that no check of the whole look has; a part of a look cannot know."""
    names = {check["name"] for check in checks}
    for check in checks:
        for needed in check["needs"]:
            if needed not in names:
                raise StepError(f"{check['name']} needs '{one_line(needed, 60)}', but no check has that name: correct its needs")


def _unique(check: Check, where: str, seen: set[str]) -> str:
    given = check["name"]
    name = base = one_line(given or address_of(check), 120)
    if given and name in seen:
        raise StepError(f"{where}.name '{name}' is used twice: give every check a name of its own")
    number = 1
    while name in seen:
        number += 1
        name = f"{base} #{number}"
    seen.add(name)
    return name


def address_of(check: t.Mapping[str, t.Any]) -> str:
    """Return a readable name for an unnamed *check*: its kind and what it looks at."""
    if check.get("url"):
        return f"{check['kind']} {str(check['url']).partition('?')[0]}"
    where = check.get("socket") or check.get("host") or check.get("service") or ""
    where = f"{where}:{check['port']}" if check.get("port") and not check.get("socket") else str(where)
    return f"{check['kind']} {where}".strip()


def _value(value: t.Any, rule: t.Mapping[str, t.Any], where: str) -> t.Any:
    if value is None:
        if rule.get("required"):
            raise StepError(f"{where} is missing: it is required")
        return rule.get("default")
    kind = rule.get("type", "str")
    try:
        ready = _CONVERT[kind](value)
    except (TypeError, ValueError, OverflowError):
        raise StepError(f"{where} is not of type {kind}") from None
    if rule.get("choices") and any(one not in rule["choices"] for one in (ready if kind == "list" else [ready])):
        raise StepError(f"{where} is '{one_line(ready, 40)}': choose one of {', '.join(map(str, rule['choices']))}")
    if kind == "list" and rule.get("elements"):
        return [_value(one, dict(rule, type=rule["elements"], elements=None), f"{where}[{i}]") for i, one in enumerate(ready)]
    return ready


def _to_text(value: t.Any) -> str:
    if isinstance(value, (dict, list)):
        raise TypeError
    return str(value)


def _to_bool(value: t.Any) -> bool:
    words = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
    return value if isinstance(value, bool) else words[str(value).strip().lower()] if str(value).strip().lower() in words else _wrong()


def _wrong() -> t.Any:
    raise ValueError


def _to_int(value: t.Any) -> int:
    return _wrong() if isinstance(value, bool) or (isinstance(value, float) and value != int(value)) else int(value)


def _to_float(value: t.Any) -> float:
    number = _wrong() if isinstance(value, bool) else float(value)
    return number if math.isfinite(number) else _wrong()


def _to_list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else _wrong() if isinstance(value, dict) else [value]


def _to_dict(value: t.Any) -> dict[t.Any, t.Any]:
    return value if isinstance(value, dict) else _wrong()


_CONVERT: dict[str, t.Callable[[t.Any], t.Any]] = {
    "str": _to_text, "path": _to_text, "bool": _to_bool, "int": _to_int, "float": _to_float,
    "list": _to_list, "dict": _to_dict, "raw": lambda value: value,
}  # fmt: skip


class _Slot:
    """One running check: its worker writes ``started`` and ``result``, then sets ``done``."""

    __slots__ = ("check", "started", "result", "done")

    def __init__(self, check: Check) -> None:
        self.check = check
        self.started: float | None = None
        self.result: dict[str, t.Any] = {}
        self.done = threading.Event()


def run_checks(checks: t.Sequence[Check], stands_on: str) -> list[dict[str, t.Any]]:
    """Run validated *checks* at once, then those that need others, and return the results in order.

    A probe that hangs beyond any deadline (a dead file server, a resolver) is abandoned and unknown.
    """
    names = {check["name"] for check in checks}
    # A check that runs elsewhere cannot be waited for here.
    needs = {check["name"]: [name for name in check["needs"] if name in names] for check in checks}
    found = _by_name(_at_once([check for check in checks if not needs[check["name"]]], stands_on))
    missing = {name: [one for one in needed if not _is_well(found.get(one))] for name, needed in needs.items()}
    ready = [check for check in checks if needs[check["name"]] and not missing[check["name"]]]
    found.update(_by_name(_at_once(ready, stands_on)))
    return [found.get(check["name"]) or _left_out(check, missing[check["name"]]) for check in checks]


def _by_name(results: t.Iterable[dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    return {result["name"]: result for result in results}


def _is_well(result: t.Optional[t.Mapping[str, t.Any]]) -> bool:
    return result is not None and bool(result["health"] == "well")


def _left_out(check: Check, missing: t.Sequence[str]) -> dict[str, t.Any]:
    text = "skipped because %s is not well" % ", ".join(missing)
    return _result(check, Health((Finding("needs", State.UNKNOWN, text),), facts={"left_out": True}), 0.0)


def _at_once(checks: t.Sequence[Check], stands_on: str) -> list[dict[str, t.Any]]:
    slots = [_Slot(dict(check, stands_on=stands_on)) for check in checks]
    fits = [_fits_together(slot.check) for slot in slots]
    together = [slot for slot, fit in zip(slots, fits) if fit]
    waiting = collections.deque(slot for slot, fit in zip(slots, fits) if not fit)
    for _turn in range(min(len(waiting), WORKERS)):
        _start_worker(waiting)
    for kind in {slot.check["kind"] for slot in together}:
        _look_together(kind, [slot for slot in together if slot.check["kind"] == kind])
    return [_await(slot, waiting) for slot in slots]


def _fits_together(check: Check) -> bool:
    fits = traits.trait(check, "fits_together")
    return bool(fits and fits(check)) and _unusable(check) is None


def _look_together(kind: str, slots: t.Sequence[_Slot]) -> None:
    """Make the checks of one *kind* in this thread; each has a deadline of its own, and none can wait beyond it."""
    for slot, raw in zip(slots, KINDS[kind].load_together([slot.check for slot in slots])):
        slot.result = _looked(slot.check, functools.partial(dict, raw), raw["answer"].seconds)
        slot.done.set()


def _start_worker(waiting: collections.deque[_Slot]) -> None:
    def work() -> None:
        while True:
            try:
                slot = waiting.popleft()
            except IndexError:
                return
            slot.started = time.monotonic()
            slot.result = look_once(slot.check)
            slot.done.set()

    # A daemon: neither Ansible's worker nor a piped step waits at exit for an abandoned probe.
    threading.Thread(target=work, daemon=True).start()


def _await(slot: _Slot, waiting: collections.deque[_Slot]) -> dict[str, t.Any]:
    limit = slot.check["timeout"] + GRACE
    while not slot.done.is_set():
        left = limit if slot.started is None else slot.started + limit - time.monotonic()
        if slot.started is not None and left <= 0:
            _start_worker(waiting)
            hung = Finding("deadline", State.UNKNOWN, f"the probe itself hung and was abandoned after {slot.check['timeout']:g} s")
            return _result(slot.check, Health((hung,)), limit)
        # While the check still queues behind hung ones, poll whether it has started.
        slot.done.wait(left if slot.started is not None else 0.02)
    return slot.result


def look_once(check: Check) -> dict[str, t.Any]:
    """Look once, judge, and return the result of one check. A fault of our own is unknown, never a traceback."""
    kind = KINDS[check["kind"]]
    unusable = _unusable(check)
    if unusable:
        return _result(check, unusable, 0.0)
    given = (check, check["timeout"], look_below) if traits.holds_checks(check) else (check, check["timeout"])
    return _looked(check, lambda: kind.load(*given), None)


def look_below(checks: t.Sequence[t.Any], seconds: float, stands_on: str) -> list[dict[str, t.Any]]:
    """Make the checks that another check holds; raises StepError for one that writes, or holds checks itself.

    Each result has the ``playbook`` that repairs what it looks at, and the ``service`` to name to it, "" where there is none.
    """
    for check in checks:
        if not traits.only_looks(check):
            raise StepError(f"a dependency cannot be of kind {one_line(check['kind'], 40)}: choose a kind that only looks")
    found = run_checks(validated(checks, seconds), stands_on)
    return [dict(result, **_repair_of(check)) for result, check in zip(found, checks)]


def _repair_of(check: t.Mapping[str, t.Any]) -> dict[str, str]:
    playbook, service = str(traits.trait(check, "PLAYBOOK") or ""), check.get("service")
    return {"playbook": playbook, "service": service if playbook and isinstance(service, str) else ""}


def _looked(check: Check, load: t.Callable[[], t.Any], seconds: float | None) -> dict[str, t.Any]:
    begun = time.monotonic()
    try:
        health: Health = KINDS[check["kind"]].judge(load(), check)
    except Exception as error:  # one broken check must not fail the other 999
        kind = "" if isinstance(error, StepError) else f"{type(error).__name__}: "
        text = f"the check failed to run: {kind}{redact(str(error))}"
        health = Health((Finding("check", State.UNKNOWN, one_line(text, 200)),))
    return _result(check, health, time.monotonic() - begun if seconds is None else seconds)


def _unusable(check: Check) -> t.Optional[Health]:
    """Return the Health of a check whose options cannot be used: a mistake of ours, which waiting does not mend."""
    wrong = traits.trait(check, "problems")
    found = [("secret", text) for text in problems_in(check)] + [("input", text) for text in (wrong(check) if wrong else [])]
    if not found:
        return None
    return Health(tuple(Finding(name, State.UNKNOWN, text) for name, text in found), state="bad_input", facts={"final": True})


def _result(check: Check, health: Health, seconds: float) -> dict[str, t.Any]:
    beside = {"beside": check["beside"]} if check.get("beside") else {}
    return dict(health.as_dict(), name=check["name"], kind=check["kind"], seconds=round(seconds, 4), **beside)


def _own(results: t.Sequence[Result]) -> list[Result]:
    """Return the results that decide: all but those of what is only looked at beside."""
    return [result for result in results if not result.get("beside")]


def health_of(results: t.Sequence[Result]) -> State:
    """Return the worst health of *results*; none at all is unknown, and what is only beside others is never in their way."""
    own = _own(results)
    return worst(State(result["health"]) for result in own) if own or not results else State.WELL


def is_settled(results: t.Sequence[Result]) -> bool:
    """Return whether what is beside is well, or will not become so by waiting: nothing listens there, or nothing starts it."""
    waiting = [result for result in results if result.get("beside") and result["health"] != "well"]
    return all(result["state"] == "down" or result["facts"].get("final") for result in waiting)


def on_its_way(results: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Return whether nothing is sick and everything unknown only needs more time, by its own word."""
    unknown = [result for result in _own(results) if result["health"] == "unknown" and not result["facts"].get("left_out")]
    waiting = bool(unknown) and all(result["state"] and result["actions"] == ["wait"] for result in unknown)
    return waiting and health_of(results) is not State.SICK


def is_final(results: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Return whether something is not well and, by its own word, will stay so until somebody acts."""
    return any(result["health"] != "well" and result["facts"].get("final") for result in _own(results))


def identities_of(results: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return one comparable value that changes when any of the processes is replaced."""
    return json.dumps([result["identity"] for result in _own(results)], sort_keys=True, default=str)


def combine(results: t.Sequence[dict[str, t.Any]], subject: str, proof: Proof, stage: str) -> dict[str, t.Any]:
    """Return the result of ``health_info`` for *results*; raises StepError when *subject* names none of them."""
    names = [result["name"] for result in results]
    if subject and subject not in names:
        raise StepError(f"subject '{one_line(subject, 60)}' is not the name of a check: choose one of {', '.join(names[:20])}")
    main = results[names.index(subject) if subject else 0]
    return {
        "changed": False,
        "health": health_of(results).value,
        "state": main["state"],
        "identity": main["identity"],
        "actions": main["actions"],
        "facts": main["facts"],
        "subject": main["name"],
        "proven": proof.proven,
        "on_its_way": on_its_way(results),
        "in_vain": proof.in_vain,
        "settled": is_settled(results),
        "passes": proof.passes,
        "looks": proof.looks,
        "seconds": proof.seconds,
        "checks": list(results),
        "beside": _beside(results),
        "stage": stage,
        "say": say(results, proof),
    }


def _beside(results: t.Sequence[Result]) -> list[dict[str, t.Any]]:
    """Return {name, health, state, text, playbook} of what depends on the subject and is not well."""
    return [
        {"name": one["name"], "health": one["health"], "state": one["state"], "text": why(one), "playbook": one["beside"]}
        for one in results if one.get("beside") and one["health"] != "well" and not one["facts"].get("left_out")
    ]  # fmt: skip


def packed(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return *result* with its checks as one JSON text: Ansible copies, cleans and tags every single value of a result."""
    return dict(result, checks=[], packed=json.dumps(result["checks"]))


def checks_of(result: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return the checks of a result of ``health_info``, packed or not; none where it has none."""
    checks = json.loads(result["packed"]) if result.get("packed") else result.get("checks")
    return checks if isinstance(checks, list) else []


def say(results: t.Sequence[t.Mapping[str, t.Any]], proof: Proof, most: int = 8) -> list[str]:
    """Return at most *most* + 2 lines for the person on call: the count, then each check that is not well and why."""
    # A check that was skipped because of another one adds nothing to what that one says.
    bad = [result for result in _own(results) if result["health"] != "well" and not result["facts"].get("left_out")]
    beside = ["beside it, %s is %s: %s" % (one["name"], one["health"], one["text"]) for one in _beside(results)]
    results = _own(results)
    plural = "s" if len(results) != 1 else ""
    if not bad:
        streak = f", {proof.passes} times in a row" if proof.passes > 1 else ""
        doubt = "" if proof.proven else ", but not steadily enough to count as proven"
        return [f"well: {len(results)} check{plural} pass{'' if plural else 'es'}{streak}{doubt}", *beside, *_warnings(results)]
    lines = [f"{health_of(results).value}: {len(bad)} of {len(results)} check{plural} not well"] if len(results) > 3 else []
    lines += [f"{result['name']} is {result['health']}: {why(result)}" for result in bad[:most]]
    return lines + ([f"and {len(bad) - most} more"] if len(bad) > most else []) + beside


def _warnings(results: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return what a person should know about things that are well."""
    return [finding["text"] for result in results for finding in result["findings"] if finding["name"] in ("warning", "secret")][:4]


def why(result: t.Mapping[str, t.Any]) -> str:
    """Return the text of the first finding that makes *result* what it is."""
    texts = [finding["text"] for finding in result["findings"] if finding["state"] == result["health"]]
    return one_line(texts[0] if texts else "the check found nothing to judge", 200)
