# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the on-call view writes."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _on_call as view

REFUSED = {
    "outcome": "refused",
    "green": False,
    "host": "db1",
    "component": "redis",
    "seconds": 0.4,
    "before": {
        "health": "sick",
        "state": "down_clean",
        "findings": [{"state": "sick", "text": "connection refused"}, {"state": "well", "text": "fine"}],
    },
    "reasons": [
        {
            "code": "lease_held",
            "text": "held by anna since 14:02",
            "unblock": "wait until that run has ended",
            "next_command": "ansible-playbook playbooks/recover-redis.yml -i inventories/production -l db1 -e remediation_takeover=true "
            + "-e x="
            + "y" * 90,
        }
    ],
    "evidence": {"dir": "/var/lib/somabrain/evidence/r1"},
}
RECOVERED = {
    "outcome": "recovered",
    "green": True,
    "target": "lab/redis",
    "host": "lab",
    "seconds": 1.23,
    "before": {"health": "sick", "state": "down_clean"},
    "acts": [{"kind": "act", "action": "start"}],
    "after": {"health": "well", "state": "up", "passes": 3, "proven": True, "identity": {"pid": 77}},
    "undo": "nothing to put back",
    "file": "/var/lib/o.json",
}


def text_of(outcome: t.Mapping[str, t.Any], width: int = 100, frame: view.Frame = view.UNICODE) -> str:
    return "\n".join(text for text, dummy in view.outcome_block(outcome, width, frame))


def test_a_recovery_is_told_whole_and_green() -> None:
    block = view.outcome_block(RECOVERED, 100, view.UNICODE)
    assert block[0] == ("┌ lab/redis  RECOVERED in 1.2 s", view.GREEN)
    text = text_of(RECOVERED)
    for line in (
        "Found   sick down_clean",
        "Done    start",
        "Proven  well up, 3 looks in a row, process 77",
        "Kept    /var/lib/o.json",
        "Undo    nothing",
    ):
        assert f"│ {line}" in text


def test_a_refusal_names_code_and_what_unblocks_it_and_the_command_is_whole_on_its_own_line() -> None:
    lines = text_of(REFUSED, width=60).splitlines()
    assert any("lease_held: held by anna" in line for line in lines)
    assert any(line.startswith("│ Unblock wait until") for line in lines)
    assert lines[-1] == REFUSED["reasons"][0]["next_command"]  # type: ignore[index]
    assert lines[-2] == "└ Next:"


def test_what_is_left_stands_with_the_command_that_ends_it_whole_on_its_own_line() -> None:
    command = "ansible h -i inventory -m somabrain.incident_response.service_control -a '" + "x" * 120 + "'"
    lines = text_of({"outcome": "refused", "left": [{"what": "hold", "text": "it is held\x1b[2J", "command": command}]}).splitlines()
    at = next(number for number, line in enumerate(lines) if "Left" in line)
    assert lines[at + 1 : at + 3] == ["# it is held\\x1b[2J", command]


def test_what_is_unproven_names_the_command_to_go_on_with() -> None:
    assert text_of({**RECOVERED, "outcome": "unproven", "next_command": "ansible-playbook x"}).endswith("└ Next:\nansible-playbook x")


@pytest.mark.parametrize("more", [{}, {"reasons": [{"code": "x", "text": "y", "next_command": "ansible-playbook x"}]}])
def test_an_undo_that_does_not_fit_is_whole_on_its_own_line(more: dict[str, t.Any]) -> None:
    undo = "ansible-playbook playbooks/scale-traffic.yml -e " + "x" * 600
    lines = text_of({**RECOVERED, "undo": undo, **more}).splitlines()
    assert lines[-1] == undo
    assert lines[-2] == ("Undo:" if more else "└ Undo:")
    assert ("└ Next:" in lines) == bool(more)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_nothing_but_a_command_is_wider_than_the_terminal(width: int) -> None:
    lines = text_of(REFUSED, width).splitlines()
    assert max(len(line) for line in lines[:-1]) <= width


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"escalation": {"page": "SRE secondary", "tried": [{"action": "start"}, {"action": "start"}]}},
            "Page    SRE secondary (attempts so far: 2)",
        ),
        ({"loss": {"count": 2, "exact": True, "unit": "keys", "approved": True}}, "Lost    2 keys\n"),
        ({"loss": {"count": 2, "exact": False, "unit": "keys", "text": "the tail"}}, "Lost    about 2 keys: the tail, not approved"),
        ({"loss": {"count": None, "known_before": 5, "approved": True}}, "Lost    an unknown amount\n"),
        (
            {"loss": {"count": 9, "known_before": 50, "present_after": 41, "unit": "keys", "approved": True}},
            "Lost    about 9 keys (50 known before, 41 there now)",
        ),
        # As many keys as before: what was lost are values.
        ({"loss": {"count": 1, "known_before": 42, "present_after": 42, "unit": "keys", "approved": True}}, "Lost    about 1 key\n"),
        ({"approved_plan": "cut"}, "Plan    cut"),
        ({"failure": {"task": "act | Start", "msg": "it did not start"}}, "Failed  it did not start (task: act | Start)"),
        ({"loss": {"text": "3 keys", "approved": True}}, "Lost    3 keys"),
        ({"acts": [{"kind": "act", "action": "save"}, {"kind": "undo", "action": "save"}]}, "Done    save, put back save"),
        ({"outcome": "failed", "green": False}, "Tried   start"),
        ({"check_mode": True, "verdict": {"actions": ["start"]}}, "Done    nothing (rehearsal); would: start"),
        (
            {"before": {"checks": [{"findings": [{"state": "unknown", "text": "left out"}, {"state": "sick", "text": "dead"}]}]}},
            "Found   dead",
        ),
        (
            {
                "before": {
                    "checks": [
                        {
                            "findings": [
                                {"name": "x", "state": "unknown", "text": "mute"},
                                {"name": "needs", "state": "unknown", "text": "y"},
                            ]
                        }
                    ]
                }
            },
            "Found   mute\n",
        ),
        ({"fenced": True}, "Fenced  another run"),
        (
            {
                "outcome": "unproven",
                "green": False,
                "after": {"health": "unknown", "state": "held", "findings": [{"state": "unknown", "text": "0 of 50 requests"}]},
            },
            "Proven  unknown held: 0 of 50 requests\n",
        ),
        ({"not_written": "disk full"}, "Ledger  disk full"),
    ],
)
def test_each_part_of_an_outcome_has_its_line(more: dict[str, t.Any], line: str) -> None:
    assert f"\n│ {line}" in text_of({**RECOVERED, **more})


PLANS: list[dict[str, t.Any]] = [
    {
        "name": "salvage",
        "text": "load the salvaged file with 9998 keys, last write 12:00:03",
        "loss": {"count": 2, "unit": "keys", "exact": True},
        "expires": 1_800_000_000,
        "next_command": "ansible-playbook playbooks/recover-redis.yml -i inventories/lab -e remediation_approval=" + "a" * 80,
    },
    {"name": "cut", "text": "cut at the first bad byte", "loss": {"count": None, "unit": "keys"}, "next_command": "ansible-playbook x"},
]


def test_each_plan_stands_above_its_command_and_the_first_is_recommended() -> None:
    reasons = [{"code": "approval_needed", "text": "choose", "plans": PLANS, "next_command": PLANS[0]["next_command"]}]
    lines = text_of({"outcome": "refused", "target": "lab/redis", "reasons": reasons}).splitlines()
    start = lines.index("└ Next:")
    assert " ".join(line[2:] for line in lines[start + 1 : start + 3]) == (
        "salvage (recommended): load the salvaged file with 9998 keys, last write 12:00:03; loses 2 keys; valid until 08:00:00 UTC"
    )
    assert lines[start + 3 :] == [
        PLANS[0]["next_command"],
        "# cut: cut at the first bad byte; loses an unknown number of keys",
        "ansible-playbook x",
    ]
    assert max(map(len, lines[: start + 3])) <= 100


@pytest.mark.parametrize(
    "plans", ["x", [None], [{}], [{"name": 3, "loss": 4, "expires": "x", "next_command": None}], [{"loss": {"count": "x"}}]]
)
def test_crooked_plans_are_still_shown(plans: t.Any) -> None:
    assert text_of({"outcome": "refused", "reasons": [{"code": "approval_needed", "plans": plans}]}).startswith("┌ ?/?  ")


def test_a_table_is_shown_as_it_is_but_fit_for_a_terminal() -> None:
    assert view.table_of({"table": ["name   keys", "cut    \x1b[2J5000" + "x" * 200]}, 100) == [
        "name   keys",
        ("cut    \\x1b[2J5000" + "x" * 200)[:99] + "…",
    ]
    assert view.table_of({"table": "x"}, 100) == view.table_of({"table": None}, 100) == view.table_of({}, 100) == []
    assert view.table_of({"table": [str(row) for row in range(99)]}, 100)[-1] == f"(and {99 - view.ROWS} more)"


def test_a_refusal_is_told_once() -> None:
    reasons = [{"code": "no_room", "text": "the disk is full"}]
    failure = {"task": "x", "msg": "no_room: the disk is full", "reasons": reasons}
    text = text_of({"outcome": "refused", "target": "lab/redis", "reasons": reasons, "failure": failure, "undo": "nothing to put back"})
    assert text.count("the disk is full") == 1
    assert "Undo" not in text


def test_without_utf8_it_is_drawn_in_ascii() -> None:
    assert text_of(RECOVERED, frame=view.ASCII).isascii()


@pytest.mark.parametrize(
    ("outcome", "colour"),
    [
        ({"outcome": "recovered"}, view.GREEN),
        ({"outcome": "nothing_to_do"}, view.GREEN),
        ({"outcome": "rehearsed"}, view.GREEN),
        ({"outcome": "refused"}, view.YELLOW),
        ({"outcome": "unproven"}, view.YELLOW),
        ({"outcome": "recovered_with_loss"}, view.YELLOW),
        ({"outcome": "recovered_with_loss", "green": True}, view.GREEN),
        ({"outcome": "failed"}, view.RED),
        ({"outcome": "undone"}, view.RED),
        ({"outcome": "recovered", "green": False}, view.RED),
    ],
)
def test_each_outcome_has_its_colour(outcome: dict[str, t.Any], colour: str) -> None:
    assert view.outcome_block(outcome, 100, view.UNICODE)[0][1] == colour


@pytest.mark.parametrize(
    "outcome",
    [
        {
            "outcome": "failed",
            "before": "x",
            "after": [],
            "acts": None,
            "reasons": "no",
            "evidence": 3,
            "escalation": [],
            "failure": "boom",
            "loss": 1,
        },
        {"outcome": "failed", "acts": ["start"], "reasons": [None, 3, {}], "before": {"findings": None, "checks": [{"findings": "x"}]}},
        {"outcome": None},
        {},
    ],
)
def test_a_crooked_outcome_is_still_shown(outcome: dict[str, t.Any]) -> None:
    assert text_of(outcome).startswith("┌ ?/?  ")


def test_a_variable_of_a_wrong_type_is_told_without_classes_of_python_and_with_what_to_do() -> None:
    error = "argument 'x' is of type str and we were unable to convert to float: <class 'a.b'> cannot be converted to a float"
    assert view.message_of({"argument_errors": [error], "msg": "Validation of arguments failed:"}) == (
        "argument 'x' is of type str, not float; correct it and run the same command again"
    )


HOSTILE = ["\x1b[31mred\x1b[0m", "a\rb", "a\nFAKE LINE", "\u202egnp.exe", "x" * 1_000_000, "\x9b2J", "\x00", "\u2028new"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_reaches_no_terminal_raw(text: str) -> None:
    outcome = {
        "outcome": text,
        "target": text,
        "undo": text,
        "before": {"health": "sick", "state": text},
        "reasons": [{"code": text, "next_command": text}],
    }
    shown = (
        text_of(outcome)
        + view.sentences({"say": [text]})[0][0]
        + view.message_of({"msg": text})
        + view.prefix("12:00:00", 1.0, text, text, 14)
    )
    shown += "".join(str(value) for part in view.safe_diff({"before": text, "after": "x\n" + text}) for value in part.values())
    assert all(character == "\n" or character.isprintable() for character in shown)
    assert "\nFAKE" not in text_of(outcome)
    assert len(shown) < 20_000


def test_a_long_result_says_at_most_a_dozen_sentences() -> None:
    lines = view.sentences({"say": [f"s{number}" for number in range(500)]})
    assert len(lines) == view.SENTENCES + 1
    assert lines[-1][0] == "(and 488 more)"


def test_a_list_that_is_the_answer_is_not_cut() -> None:
    assert len(view.sentences({"say": [f"s{number}" for number in range(500)], "whole": True})) == 500
    assert len(view.table_of({"table": [f"s{number}" for number in range(500)], "whole": True}, 100)) == 500


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"say": ["a", "b"], "health": "well"}, [("a", view.GREEN), ("b", view.GREEN)]),
        ({"say": ["a"], "health": "sick"}, [("a", view.RED)]),
        ({"say": "a", "health": "unknown"}, [("a", view.YELLOW)]),
        ({"msg": "kept quiet"}, []),
        ({"msg": "a debug", "_ansible_verbose_always": True}, [("a debug", "")]),
        ({"say": None}, []),
        ({"say": {"a": 1}}, []),
    ],
)
def test_what_a_result_says(result: dict[str, t.Any], expected: list[view.Line]) -> None:
    assert view.sentences(result) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"msg": "one\n\ntwo\nthree\nfour"}, "one / two / three"),
        ({"stderr": "boom"}, "boom"),
        ({"censored": "hidden", "msg": "secret"}, "failed; output hidden (no_log)"),
        ({}, "failed without a message"),
    ],
)
def test_why_a_task_failed(result: dict[str, t.Any], expected: str) -> None:
    assert view.message_of(result) == expected


SUMMARY = {"ok": 1, "changed": 0, "failures": 0, "unreachable": 0}


def test_an_uncounted_loss_is_said_to_be_unknown() -> None:
    loss = {"count": None, "exact": False, "suspected": True, "text": "Redis keeps its data in snapshots", "approved": False}
    assert "\n│ Lost    an unknown amount: Redis keeps its data in snapshots, not approved" in text_of({**RECOVERED, "loss": loss})


@pytest.mark.parametrize(
    ("outcomes", "summaries", "hosts", "told"),
    [
        ([dict(REFUSED, host="a", green=False)], {"b": SUMMARY}, ["a", "b"], "not reached, since the run ended before: b"),
        ([dict(REFUSED, host="a", green=False)], {"b": {**SUMMARY, "unreachable": 1}}, ["a", "b"], ""),
        ([dict(RECOVERED, host="a", green=True)], {}, ["a", "b"], ""),
        ([{"outcome": "refused", "host": "", "green": False}], {}, ["a", "b"], ""),
        (
            [dict(REFUSED, host="a", green=False)],
            {},
            list("abcdefghi"),
            "not reached, since the run ended before: b, c, d, e, f, g and 2 more",
        ),
    ],
)
def test_a_host_that_the_run_did_not_reach_is_named(
    outcomes: list[dict[str, t.Any]], summaries: dict[str, t.Any], hosts: list[str], told: str
) -> None:
    assert view.not_reached(outcomes, summaries, hosts) == told


@pytest.mark.parametrize(
    ("outcomes", "summaries", "expected"),
    [
        ([RECOVERED], {"lab": SUMMARY}, "1 host: 1 recovered"),
        ([RECOVERED, dict(RECOVERED, host="b"), REFUSED], {}, "3 hosts: 2 recovered, 1 refused"),
        ([RECOVERED], {"c": {**SUMMARY, "unreachable": 1}, "localhost": SUMMARY}, "2 hosts: 1 recovered, 1 unreachable"),
        ([RECOVERED], {"c": {**SUMMARY, "failures": 1}}, "2 hosts: 1 recovered, 1 failed without an outcome"),
        ([{"outcome": "refused", "host": ""}], {"lab": {**SUMMARY, "failures": 1}}, "no host was touched: 1 refused"),
        ([{"outcome": "nothing_to_do", "host": "a"}], {}, "1 host: 1 nothing to do"),
    ],
)
def test_the_recap_counts_hosts_by_their_outcome(outcomes: list[dict[str, t.Any]], summaries: dict[str, t.Any], expected: str) -> None:
    assert view.recap(outcomes, summaries) == expected


@pytest.mark.parametrize(
    ("summaries", "check", "expected"),
    [
        ({"a": {**SUMMARY, "changed": 4}}, False, "done in 3.2 s, 4 changed"),
        ({"a": {**SUMMARY, "changed": 4}}, True, "rehearsed in 3.2 s: 4 would change, nothing was changed"),
        (
            {"a": {**SUMMARY, "failures": 1}, "b": {**SUMMARY, "unreachable": 1}},
            False,
            "not done: 1 host failed, 1 unreachable, after 3.2 s",
        ),
        ({}, False, "nothing done in 3.2 s: no task ran on any host"),
    ],
)
def test_a_run_without_outcomes_still_ends_with_one_line(summaries: dict[str, t.Any], check: bool, expected: str) -> None:
    assert view.ending(summaries, 3.2, check)[0] == expected


@pytest.mark.parametrize(("columns", "width"), [(0, 40), (39, 40), (80, 80), (100, 100), (250, 100)])
def test_the_width_is_the_terminals_and_at_most_what_is_allowed(columns: int, width: int) -> None:
    assert view.width_of(columns, 100) == width
    assert view.width_of(250, 1000) == 250


def test_a_run_over_several_components_that_ended_before_its_table_has_one_that_is_not_green() -> None:
    whole = view.cut_short([{"target": "lab/postgresql", "outcome": "nothing_to_do", "green": True}])
    assert (whole["outcome"], whole["green"]) == ("failed", False)
    first, last = (text for text, _colour in view.summary_lines(whole, 140))
    assert first.split() == ["lab/postgresql", "NOTHING", "TO", "DO"]
    assert "MISSING" in last


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ((), ()),
        (("shop-a", "shop-b"), ("shop-a", "shop-b")),
        (("shop-a.example.com", "shop-b.example.com"), ("shop-a", "shop-b")),
        (("a.one.example.com", "a.two.example.com"), ("a.one", "a.two")),
        (("prod-eu-west-1-api-01", "prod-eu-west-1-api-02"), ("prod-e…-api-01", "prod-e…-api-02")),
        (("prod-api-01-of-the-shop", "prod-api-02-of-the-shop"), ("prod-api-01-of-the-shop", "prod-api-02-of-the-shop")),
        (("only-one-host.example.com",), ("only-one-host",)),
        (("192.168.100.101", "192.168.200.101"), ("192.16…100.101", "192.16…200.101")),
    ],
)
def test_no_two_hosts_have_the_same_label(names: tuple[str, ...], labels: tuple[str, ...]) -> None:
    assert tuple(view.host_labels(names).values()) == labels


def test_commands_that_follow_from_a_result_are_whole_lines_under_a_title() -> None:
    command = "ansible-playbook somabrain.incident_response.recover_redis -i inventory " + "-l " + "a" * 200
    assert view.next_lines([command]) == [("Next:", ""), (command, "")]
    assert view.next_lines([]) == view.next_lines(None) == []
