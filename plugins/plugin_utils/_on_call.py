# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the on-call view prints, as pure functions: results in, lines for one screen out.

All text of results is untrusted and goes through ``one_line``. A line is (text, colour), colour "" for none.
"""

from __future__ import annotations

import os
import re
import textwrap
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.approval import clock, told
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.loss import is_lossy
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import GREEN as GREEN_OUTCOMES

Line = t.Tuple[str, str]
Plain = t.Mapping[str, t.Any]

GREEN, RED, YELLOW, DIM = "green", "red", "yellow", "dark gray"
HEALTH_COLOUR = {"well": GREEN, "sick": RED, "unknown": YELLOW}
OUTCOME_COLOUR = {"refused": YELLOW, "unproven": YELLOW, "abandoned": YELLOW, "recovered_with_loss": YELLOW}
MIN_WIDTH, HOST_WIDTH, STAGE_WIDTH, LABEL_WIDTH = 40, 14, 7, 8
# A sentence is cut at this length and a result at this many of them: one screen is the promise. Where the list is the answer, it is whole.
SENTENCE, SENTENCES, COMMAND = 480, 12, 4000
PLANS, ROWS, WHOLE = 12, 40, 1000


class Frame(t.NamedTuple):
    """The strokes of the outcome block."""

    top: str
    side: str
    end: str


UNICODE, ASCII = Frame("┌", "│", "└"), Frame("+", "|", "+")


def width_of(columns: int, allowed: int) -> int:
    """Return the usable width of a terminal with *columns* columns where *allowed* are the most to use."""
    return max(MIN_WIDTH, min(allowed, columns))


def wrapped(first: str, text: str, width: int, further: str = "") -> str:
    """Return *text* behind *first*; its further lines begin with *further* and are aligned with the first."""
    lines = textwrap.wrap(text, max(20, width - len(first)), break_on_hyphens=False) or [""]
    return first + f"\n{further:<{len(first)}}".join(lines)


def host_labels(names: t.Sequence[str]) -> dict[str, str]:
    """Return a short label for each host: without the domain that all have, then cut in the middle, but never two of them alike."""
    if max(map(len, names), default=0) <= HOST_WIDTH:
        return {name: name for name in names}
    domain = os.path.commonprefix([name[::-1] for name in names])[::-1]
    # The end of an address is no domain.
    shared = len(domain) - domain.index(".") if "." in domain and re.search("[a-z]", domain) else 0
    short = {name: name[: len(name) - shared] or name for name in names}
    for width in (HOST_WIDTH, 2 * HOST_WIDTH, 3 * HOST_WIDTH):
        labels = {name: _middle_cut(one, width) for name, one in short.items()}
        if len(set(labels.values())) == len(labels):
            break
    return labels


def _middle_cut(name: str, width: int) -> str:
    """Cut the middle: hosts of one group differ at the end."""
    return name if len(name) <= width else f"{name[: width // 2 - 1]}…{name[width // 2 - width :]}"


def prefix(clock: str, seconds: float, host: str, stage: str, hosts_width: int) -> str:
    """Return the columns before a sentence: time of day, seconds since the start, host, stage."""
    return f"{clock} {f'+{seconds:.1f}s':>8}  {one_line(host, hosts_width):<{hosts_width}}  {one_line(stage, STAGE_WIDTH):<{STAGE_WIDTH}} "


def sentences(result: Plain) -> list[Line]:
    """Return what a result has to say, coloured by the health it carries."""
    said = result.get("say")
    if isinstance(result.get("summary"), dict):
        return []
    if not said and result.get("_ansible_verbose_always") and isinstance(result.get("msg"), (str, list)):
        said = result["msg"]
    said = [said] if isinstance(said, str) else list(said) if isinstance(said, (list, tuple)) else []
    colour = HEALTH_COLOUR.get(str(result.get("health")), "")
    most = WHOLE if result.get("whole") else SENTENCES
    lines = [(one_line(text, SENTENCE), colour) for text in said[:most]]
    return lines + ([(f"(and {len(said) - most} more)", DIM)] if len(said) > most else [])


def message_of(result: Plain) -> str:
    """Return why a task failed, on one line, from the first lines of its message."""
    if "censored" in result:
        return "failed; output hidden (no_log)"
    if result.get("argument_errors") and isinstance(result["argument_errors"], (list, tuple)):
        # Ansible's own check of a role's variables; a Python class name helps no one on call.
        told = re.sub(r": <class .*?> cannot be converted to an? \w+", "", "; ".join(map(str, result["argument_errors"])))
        return one_line(told.replace(" and we were unable to convert to", ", not"), 360) + "; correct it and run the same command again"
    text = result.get("msg") or result.get("stderr") or result.get("module_stderr") or "failed without a message"
    lines = [line.strip() for line in str(text)[:4000].splitlines() if line.strip()]
    return one_line(" / ".join(lines[:3]), SENTENCE)


def outcome_block(outcome: Plain, width: int, frame: Frame) -> list[Line]:
    """Return the block that shows how one remediation ended: found, done, proven, kept, undo, next."""
    undo = one_line(outcome.get("undo") or "", COMMAND) if outcome.get("acts") else ""
    fits = len(f"{frame.side} {'Undo':<{LABEL_WIDTH}}{undo}") <= width
    facts = _facts(outcome) + ([("Undo", undo)] if undo and fits else [])
    # Commands to copy get their own lines, unframed and unwrapped.
    left = left_lines(outcome.get("left"), width)
    parts = [("Left, and what ends it:", left), ("Next:", _next(outcome, width)), ("Undo:", [(undo, "")] if undo and not fits else [])]
    first, *others = [(title, part) for title, part in parts if part] or [("", [])]
    return [
        _headline(outcome, width, frame),
        *[(wrapped(f"{frame.side} {label:<{LABEL_WIDTH}}", one_line(text, SENTENCE), width, frame.side), "") for label, text in facts],
        (f"{frame.end} {first[0]}".rstrip(), ""),
        *first[1],
        *[line for title, part in others for line in [(title, ""), *part]],
    ]


def summary_lines(summary: Plain, width: int) -> list[Line]:
    """Return one line for each component of a run over several, with its outcome and why, then the commands that follow, unwrapped."""
    rows = _dicts(summary.get("components"))
    wide = max((len(str(row.get("target"))) for row in rows), default=0)
    lines: list[Line] = []
    for row in rows:
        word = str(row.get("outcome"))
        colour = GREEN if row.get("green") else OUTCOME_COLOUR.get(word, RED)
        front = f"{one_line(row.get('target'), 60):<{min(wide, 60)}}  {word.replace('_', ' ').upper():<19}  "
        lines.append((wrapped(front, one_line(row.get("text") or "", SENTENCE), width).rstrip(), colour))
    return lines + next_lines(list(dict.fromkeys(str(one) for row in rows for one in row.get("next_commands") or [])))


def cut_short(outcomes: t.Sequence[Plain]) -> dict[str, t.Any]:
    """Return the table of a run over several components that ended before it made one: what it did not look at is not well."""
    shown = [{"target": target_of(one), "outcome": one.get("outcome"), "green": one.get("green")} for one in outcomes]
    text = "the playbook ended before its table, so nobody looked at what is not listed here"
    return {"outcome": "failed", "green": False, "components": [*shown, {"target": "all others", "outcome": "missing", "text": text}]}


def _headline(outcome: Plain, width: int, frame: Frame) -> Line:
    """Return the first line of the block: target, outcome, seconds."""
    word = str(outcome.get("outcome") or "unproven")
    colour = GREEN if outcome.get("green", word in GREEN_OUTCOMES) else OUTCOME_COLOUR.get(word, RED)
    seconds = outcome.get("seconds")
    took = f" in {float(seconds):.1f} s" if isinstance(seconds, (int, float)) else ""
    return one_line(f"{frame.top} {target_of(outcome)}  {word.replace('_', ' ').upper()}{took}", width), colour


def _next(outcome: Plain, width: int) -> list[Line]:
    """Return the next commands, each on its own line, below the plan it belongs to."""
    lines: list[Line] = []
    plans = [plan for one in _dicts(outcome.get("reasons")) for plan in _dicts(one.get("plans"))][:PLANS]
    for turn, plan in enumerate(plans):
        text = one_line(_plan(plan, turn == 0 and len(plans) > 1), SENTENCE)
        lines += [(wrapped("# ", text, width, "#"), DIM), (one_line(plan.get("next_command") or "", COMMAND), "")]
    return lines + [(one_line(command, COMMAND), "") for command in next_commands(outcome)]


def next_lines(further: t.Any) -> list[Line]:
    """Return the commands that follow from a result without an outcome, each on a line of its own."""
    told = [str(one) for one in further] if isinstance(further, (list, tuple)) else []
    return ([("Next:", "")] if told else []) + [(one_line(command, COMMAND), "") for command in told]


def left_lines(left: t.Any, width: int) -> list[Line]:
    """Return what is still held, paused or stopped, each with the command that ends it on a line of its own."""
    lines: list[Line] = []
    for one in _dicts(left)[:PLANS]:
        lines.append((wrapped("# ", one_line(one.get("text") or one.get("what") or "", SENTENCE), width, "#"), YELLOW))
        lines += [(one_line(one["command"], COMMAND), "")] if one.get("command") else []
    return lines


def _plan(plan: Plain, recommended: bool) -> str:
    """Say what a plan does, what it loses and how long its token is good for."""
    expires = plan.get("expires")
    until = f"; valid until {clock(expires)}" if isinstance(expires, (int, float)) else ""
    return told(dict(plan, name=f"{plan.get('name') or 'plan'}{' (recommended)' if recommended else ''}")) + until


def table_of(result: Plain, width: int) -> list[str]:
    """Return the lines of a result's table, each cut to *width* columns."""
    table = result.get("table")
    rows = list(table) if isinstance(table, (list, tuple)) else []
    most = WHOLE if result.get("whole") else ROWS
    return [one_line(row, width) for row in rows[:most]] + ([f"(and {len(rows) - most} more)"] if len(rows) > most else [])


def screen_of(result: Plain, width: int) -> list[Line]:
    """Return the lines of a result that is a screen of its own: pairs of text and tone, which is a health, faint, command or ""."""
    lines: list[Line] = []
    screen = result.get("screen")
    for text, tone in (
        [one for one in screen if isinstance(one, (list, tuple)) and len(one) == 2] if isinstance(screen, (list, tuple)) else []
    ):
        colour = DIM if tone == "faint" else HEALTH_COLOUR.get(str(tone), "")
        # A command is copied: the terminal itself breaks it, and copies it whole.
        lines.append((one_line(text, COMMAND) if tone == "command" else _narrowed(one_line(text, SENTENCE), width), colour))
    return lines


def _narrowed(text: str, width: int) -> str:
    """Return a line that was laid out for a wider terminal, broken behind the label that it begins with."""
    indent = " " * min(10, width // 4)
    return text if len(text) <= width else "\n".join(textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False))


def target_of(outcome: Plain) -> str:
    """Return host/component."""
    return str(outcome.get("target") or f"{outcome.get('host') or '?'}/{outcome.get('component') or '?'}")


def _facts(outcome: Plain) -> list[tuple[str, str]]:
    green = outcome.get("green", outcome.get("outcome") in GREEN_OUTCOMES)
    facts = [
        ("Found", _found(outcome.get("before"))),
        *[("Refused" if outcome.get("outcome") == "refused" else "Because", _reason(one)) for one in _dicts(outcome.get("reasons"))[:4]],
        # An act that did not succeed was only tried.
        ("Done" if green or outcome.get("check_mode") else "Tried", _done(outcome)),
        ("Failed", _failure(outcome)),
        ("Plan", str(outcome.get("approved_plan") or "")),
        ("Lost", _lost(outcome.get("loss"))),
        ("Proven", _proven(outcome)),
        *[("Beside", f"{one.get('name')} is {one.get('health')}: {one.get('text')}") for one in _dicts(outcome.get("beside"))[:4]],
        ("Kept", _kept(outcome)),
        ("Ledger", str(outcome.get("not_written") or "")),
        ("Fenced", "another run took over this target during the run" if outcome.get("fenced") else ""),
        ("Page", _page(outcome.get("escalation"))),
        *[("Unblock", str(one.get("unblock") or "")) for one in _dicts(outcome.get("reasons"))[:4]],
    ]
    return [(label, text) for label, text in facts if text]


def _dicts(value: t.Any) -> list[Plain]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, (list, tuple)) else []


def _lost(loss: t.Any) -> str:
    """Say what was lost, and what was known before and is there now."""
    if not isinstance(loss, dict) or not loss or not is_lossy(loss):
        return ""
    if not loss.get("suspected", True):
        return f"nothing known; {loss.get('text')}"
    words = ": ".join(str(part) for part in (_amount(loss), loss.get("text")) if part)
    before, now = loss.get("known_before"), loss.get("present_after")
    # Keys that were written since, or lost values of keys that are there, make the two numbers say nothing.
    fewer = f" ({before} known before, {now} there now)" if before is not None and now is not None and now < before else ""
    return words + fewer + ("" if loss.get("approved") else ", not approved")


def _amount(loss: Plain) -> str:
    """Say how much was lost; "" where the text says all that is known."""
    if loss.get("count"):
        return f"{'' if loss.get('exact') else 'about '}{counted(loss['count'], loss.get('unit') or 'items')}"
    return "an unknown amount" if not loss.get("exact", True) or not loss.get("text") else ""


def _reason(one: Plain) -> str:
    return f"{one.get('code') or 'no code'}: {one.get('text') or ''}"


def _found(before: t.Any) -> str:
    """Say what was seen before: the state, and the worst findings."""
    if not isinstance(before, dict) or not before:
        return ""
    findings = _dicts(before.get("findings"))
    for check in _dicts(before.get("checks")):
        findings += _dicts(check.get("findings"))
    # A check skipped because something else is sick adds nothing.
    findings = [one for one in findings if one.get("name") != "needs"] or findings
    worst = "sick" if any(one.get("state") == "sick" for one in findings) else "unknown"
    bad = list(dict.fromkeys(str(one.get("text")) for one in findings if one.get("state") == worst))
    state = " ".join(str(before[key]) for key in ("health", "state") if before.get(key))
    return ": ".join(part for part in (state, "; ".join(bad[:3])) if part)


def _done(outcome: Plain) -> str:
    words = []
    for act in outcome.get("acts") or []:
        name = str(act.get("action") if isinstance(act, dict) else act)
        words.append(f"put back {name}" if isinstance(act, dict) and act.get("kind") == "undo" else name)
    if outcome.get("check_mode"):
        would = _dicts([outcome.get("verdict")])
        actions = would[0].get("actions") if would else []
        return "nothing (rehearsal)" + (f"; would: {', '.join(map(str, actions))}" if actions else "")
    return ", ".join(words)


def _failure(outcome: Plain) -> str:
    failure = outcome.get("failure")
    # Do not repeat what the reasons already say.
    told = [_reason(one) for one in _dicts(outcome.get("reasons"))]
    if not isinstance(failure, dict) or not failure.get("msg") or (told and failure.get("reasons")) or failure["msg"] in told:
        return ""
    return f"{failure['msg']} (task: {failure.get('task') or 'unknown'})"


def _proven(outcome: Plain) -> str:
    after, proof = outcome.get("after"), outcome.get("proof")
    words = [str(one) for one in proof] if isinstance(proof, (list, tuple)) else []
    if isinstance(after, dict) and after.get("health"):
        state = " ".join(str(after[key]) for key in ("health", "state") if after.get(key))
        proven = "" if after.get("proven", True) else ", not proven"
        times = f", {after['passes']} looks in a row" if after.get("passes") else ""
        why = _found(after).partition(": ")[2] if after["health"] != "well" else ""
        words.insert(0, f"{state}{times}{proven}{_process(after.get('identity'))}{f': {why}' if why else ''}")
    return "; ".join(words)


def _process(identity: t.Any) -> str:
    pid = identity.get("pid") or identity.get("process_id") if isinstance(identity, dict) else None
    return f", process {pid}" if pid else ""


def _kept(outcome: Plain) -> str:
    evidence = outcome.get("evidence")
    places = [evidence.get("dir") if isinstance(evidence, dict) else None, outcome.get("controller_file") or outcome.get("file")]
    return "  ".join(str(place) for place in places if place)


def _page(escalation: t.Any) -> str:
    if not isinstance(escalation, dict) or not escalation.get("page"):
        return ""
    tried = escalation.get("tried")
    count = len(tried) if isinstance(tried, list) else tried
    return f"{escalation['page']} (attempts so far: {count})"


def next_commands(outcome: Plain) -> list[str]:
    """Return the next commands of the outcome and its reasons, each once; commands of plans are shown with their plans."""
    reasons = [outcome, *(one for one in _dicts(outcome.get("reasons")) if not _dicts(one.get("plans"))), *_dicts(outcome.get("beside"))]
    return list(dict.fromkeys(str(one["next_command"]) for one in reasons if one.get("next_command")))


def recap(outcomes: t.Sequence[Plain], summaries: t.Mapping[str, t.Mapping[str, int]]) -> str:
    """Return the last line of a run with outcomes: how many hosts ended how.

    summaries: per host {unreachable, failures, ...}; a host without an outcome counts only when it failed or was unreachable.
    """
    words = [str(outcome.get("outcome")) for outcome in outcomes]
    hosts = {str(outcome.get("host") or target_of(outcome).partition("/")[0]) for outcome in outcomes}
    for host, summary in summaries.items():
        if host not in hosts and (summary.get("unreachable") or summary.get("failures")):
            words.append("unreachable" if summary.get("unreachable") else "failed without an outcome")
            hosts.add(host)
    if "" in (outcome.get("host", "?") for outcome in outcomes):
        # Refused before any host was touched: Ansible's own marks of the hosts mean nothing then.
        words, hosts = [str(outcome.get("outcome")) for outcome in outcomes], set()
    counts = ", ".join(f"{words.count(word)} {word.replace('_', ' ')}" for word in dict.fromkeys(words))
    return f"{_count(len(hosts), 'host') if hosts else 'no host was touched'}: {counts}"


def not_reached(outcomes: t.Sequence[Plain], summaries: t.Mapping[str, t.Mapping[str, int]], hosts: t.Sequence[str]) -> str:
    """Return which of *hosts*, those of the play where the run ended, have no outcome because another one ended it; "" for none."""
    if not any(outcome.get("host") for outcome in outcomes) or all(outcome.get("green", True) for outcome in outcomes):
        return ""
    told = {str(outcome.get("host")) for outcome in outcomes}
    told |= {host for host, one in summaries.items() if one.get("unreachable") or one.get("failures")}
    missing = [host for host in hosts if host not in told]
    more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
    return f"not reached, since the run ended before: {', '.join(missing[:6])}{more}" if missing else ""


def ending(summaries: t.Mapping[str, t.Mapping[str, int]], seconds: float, check: bool) -> Line:
    """Return the last line of a run without outcomes."""
    totals = {key: sum(one.get(key, 0) for one in summaries.values()) for key in ("changed", "failures", "unreachable")}
    if not summaries:
        return (f"nothing done in {seconds:.1f} s: no task ran on any host", YELLOW)
    if totals["failures"] or totals["unreachable"]:
        failed = sum(1 for one in summaries.values() if one.get("failures"))
        parts = [
            f"{_count(failed, 'host')} failed" if failed else "",
            f"{totals['unreachable']} unreachable" if totals["unreachable"] else "",
        ]
        return (f"not done: {', '.join(part for part in parts if part)}, after {seconds:.1f} s", RED)
    if check:
        return (f"rehearsed in {seconds:.1f} s: {totals['changed']} would change, nothing was changed", GREEN)
    return (f"done in {seconds:.1f} s, {totals['changed']} changed", GREEN)


def screened(verdict: str, seconds: float) -> Line:
    """Return the last line of a run that only looked, and whose screen said what it saw."""
    return f"looked for {seconds:.1f} s, changed nothing: {one_line(verdict, 20)}", HEALTH_COLOUR.get(verdict, YELLOW)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def safe_diff(diff: t.Any) -> list[dict[str, t.Any]]:
    """Return the parts of a diff with every line fit for a terminal."""
    return [{key: _safe_lines(value) for key, value in one.items()} for one in ([diff] if isinstance(diff, dict) else _dicts(diff))]


def _safe_lines(value: t.Any) -> t.Any:
    if not isinstance(value, str):
        return value
    return "".join(one_line(line, 1000) + "\n" for line in value[:200_000].splitlines()[:2000]) if "\n" in value else one_line(value, 1000)
