# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first screen of a triage: what it says, in which order, on 100 columns and 40 lines, whatever the report holds."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from triage import reports

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import moments, parts, screen
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _on_call

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "docs/triage.schema.json").read_text())
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "a\nSICK  forged line",
    "\u202eetis live",
    "<script>alert(1)</script>",
    "{{ lookup('pipe','id') }}",
    "![x](http://evil.example/x.png)",
    "| a | b |",
    "`rm -rf /`",
    "@channel <!here> [pay](javascript:alert(1))",
    "x" * 5000,
    "wörter ohne ende " * 300,
    "\u2028\x00\ud800",
    "",
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def text_of(report: reports.Report, **more: t.Any) -> str:
    return "\n".join(line for line, _tone in screen.screen_lines(report, **more))


@pytest.mark.parametrize("name", reports.ALL)
def test_the_reports_of_these_tests_have_the_documented_shape(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    checker = jsonschema.FormatChecker()
    jsonschema.Draft202012Validator(SCHEMA, format_checker=checker).validate(json.loads(json.dumps(reports.ALL[name]())))


@pytest.mark.parametrize(
    "change", [{"verdict": "fine"}, {"schema": 2}, {"more": 1}, {"findings": [{"component": "redis"}]}, {"impact": [1]}]
)
def test_the_schema_refuses_what_is_no_report(change: dict[str, t.Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(reports.redis_down() | change, SCHEMA)


def test_every_key_of_the_schema_is_explained() -> None:
    def silent(place: str, one: t.Any) -> t.Iterator[str]:
        for name, inner in one.get("properties", {}).items():
            if not (inner.get("description") or inner.get("enum")):
                yield f"{place}.{name}"
            yield from silent(f"{place}.{name}", inner)
        for inner in [one[key] for key in ("items", "additionalProperties") if isinstance(one.get(key), dict)] + one.get("anyOf", []):
            yield from silent(place, inner)

    assert list(silent("report", SCHEMA)) == []


def test_the_screen_answers_in_the_order_in_which_a_person_asks() -> None:
    text = text_of(reports.overridden())
    wanted = [
        "SICK  P0 Critical  Redis is down on app-1",
        "For whom  remember and recall",
        "Since     02:41:07 UTC, 19 min ago; not before 02:40:52 UTC (redis.log on app-1)",
        "Alert     02:43:10 UTC, 17 min ago (triage_alert_at)",
        "Why P0    set to P0 by hand (the board is watching the demo); the looks say P1",
        "(rule major-function)",
        "not known: the error rate",
        "Type      Working Memory Unavailable",
        "Not well (4 others are well; seen 03:00:10 UTC, each from its own host)",
        "SICK     redis  app-1  down      connection refused",
        "SICK     api    app-1  degraded  because of redis; GET /health",
        "Changed   02:40:31 UTC  app-1  package redis-server",
        "On it     lease on app-1/redis: recover_redis by ada, run 7f3a",
        "approval on app-1/redis: plan rescue-1 waits for an approval",
        "Before    app-1/redis: 2 times in 7 days, last 2026-11-27 02:10:44 UTC, 3 days ago, recovered",
        "Next      Start Redis again",
        "It will not: flush",
        "\nansible-playbook -i inventories/prod playbooks/recover-redis.yml --limit app-1\n",
        "Not seen  Kafka: no broker is in the inventory",
        "Looked    6 components on 1 host, 2026-11-30 03:00:12 UTC, in 4.2 s, inventory inventories/prod",
        "Clock     OVERDUE by 2 min: it was due by 02:58:10 UTC (15 min from 02:43:10 UTC, the alert)",
    ]
    flat = " ".join(text.split())
    places = [text.find(one) if one in text else flat.find(one) for one in wanted]
    assert [one for one, place in zip(wanted, places) if place < 0] == []
    inside = [text.find(one) for one in wanted if one in text]
    assert inside == sorted(inside)


def test_what_is_well_is_said_in_a_few_lines() -> None:
    assert text_of(reports.healthy()).splitlines() == [
        "WELL  nothing is wrong",
        "Changed   no change was seen in the last two hours",
        "On it     no lease, open run or waiting approval was seen",
        "Not seen  Kafka: no broker is in the inventory",
        "Looked    6 components on 1 host, 2026-11-30 03:00:12 UTC, in 4.2 s, inventory inventories/prod",
    ]


def test_a_host_that_cannot_be_reached_is_unknown_once_and_no_severity_is_made_up() -> None:
    text = text_of(reports.all_unknown())
    assert text.startswith("UNKNOWN  it is not known whether anything is wrong: app-1 could not be reached\n")
    assert text.count("UNKNOWN") == 2
    assert "UNKNOWN  6 components  app-1  app-1 could not be reached; api, redis, postgresql, balancer, disk,\n" in text
    assert "(not seen)" in text
    assert "Since     not known" in text
    assert "Severity  nothing could be looked at" in text
    assert "Clock" not in text
    assert " P" not in text.splitlines()[0]


def test_an_empty_report_is_unknown() -> None:
    assert text_of({}).startswith("UNKNOWN  it is not known whether anything is wrong\nSince     not known\n")
    assert "no severity was judged" in text_of({"verdict": "sick"})


def test_a_hundred_hosts_are_one_row_each_kind() -> None:
    text = text_of(reports.many(100))
    assert "  SICK     redis  100 of 100 hosts  down" in text
    assert text.count("SICK ") == 3
    assert "and 98 more: see the JSON report" in text
    assert "JSON report: not written; -e triage_report_file=PATH writes it" in text
    assert "JSON report: /tmp/triage.json" in text_of(reports.many(100), file="/tmp/triage.json")


@pytest.mark.parametrize("name", reports.ALL)
def test_the_answer_fits_on_forty_lines_of_a_hundred_columns(name: str) -> None:
    lines = screen.screen_lines(reports.ALL[name]())
    assert screen.height_of(lines, 100) <= 36
    assert max(len(text) for text, tone in lines if tone != "command") <= 100


def test_long_lists_are_cut_with_a_count_and_the_command_stays_whole() -> None:
    report, command = reports.redis_down(), "ansible-playbook -i inventories/prod " + "-e long=" + "y" * 700
    report["next"][0]["command"] = command
    report["unseen"] = [{"what": f"look {turn}", "host": "", "why": f"reason {turn}"} for turn in range(50)]
    report["changes"] = [dict(report["changes"][0], kind="configuration", what=f"file-{turn}") for turn in range(60)]
    sick = {f"part-{turn}": f"broken {turn} " + "word " * 60 for turn in range(40)}
    report["components"] += [reports.component(name, "service", "sick", text=text) for name, text in sick.items()]
    lines = screen.screen_lines(report)
    assert (command, "command") in lines
    assert screen.height_of(lines, 100) <= 40
    text = "\n".join(line for line, _tone in lines)
    for count in (50, 60, 42):
        shown = [int(line.split()[1]) for line in text.splitlines() if line.strip().endswith("more: see the JSON report")]
        assert any(0 < count - number < 10 for number in shown), (count, shown)


def test_an_update_of_a_machine_is_one_change_and_one_package_is_named() -> None:
    report = reports.redis_down()
    report["changes"] += [
        dict(report["changes"][0], host="app-2", what=f"lib{turn}", text=f"package lib{turn} installed") for turn in range(20)
    ]
    text = text_of(report)
    assert "02:40:31 UTC  app-1  package redis-server 5:7.0.15-1 to 5:7.0.15-1+deb12u1 (dpkg.log)" in text
    assert "02:40:31 UTC  app-2  20 packages: lib0, lib1 and 18 more (dpkg.log)" in text


def test_nothing_is_said_twice() -> None:
    report = reports.redis_down()
    report["severity"]["unknown"] = ["not known: the error rate"]
    report["onset"]["text"] = "02:41:07 says redis.log on app-1"
    report["findings"][0]["symptoms"][0]["text"] = "it depends on redis, which is down"
    report["next"][0]["wont"] = "it never empties a database"
    report["changes"][0].update(
        what="/etc/redis.conf", text="configuration /etc/redis.conf was written", kind="configuration", source="/etc/redis.conf"
    )
    report["types"][0]["evidence"] = [report["headline"]]
    text = text_of(report)
    for line in (
        "Type      Working Memory Unavailable",
        "          not known: the error rate",
        "Since     02:41:07 UTC, 19 min ago; not before 02:40:52 UTC (redis.log on app-1)",
        "  SICK     api    app-1  degraded  it depends on redis, which is down",
        "          It never empties a database",
        "Changed   02:40:31 UTC  app-1  configuration /etc/redis.conf was written",
    ):
        assert line in text.splitlines()


def test_a_look_on_the_host_itself_needs_no_place_and_any_other_has_one() -> None:
    report = reports.redis_down()
    for one in report["components"]:
        one["seen_from"] = "target"
    assert "each from its own host" in text_of(report)
    assert "seen from" not in text_of(report)
    report["components"][0]["seen_from"] = "controller"
    text = text_of(report)
    assert "from its own host if no other place is named" in text
    assert "(seen from controller)" in " ".join(text.split())


def test_what_is_not_well_why_and_what_a_command_never_does_are_cut_last() -> None:
    report, long = reports.redis_down(), "word " * 45 + "end"
    report["severity"]["reasons"][0]["text"] = report["next"][0]["wont"] = report["findings"][0]["text"] = long
    report["changes"] = [dict(report["changes"][0], kind="configuration", what=f"file-{turn}", text=long) for turn in range(60)]
    report["unseen"] = [{"what": f"look {turn}", "host": "", "why": long} for turn in range(50)]
    lines = screen.screen_lines(report)
    assert screen.height_of(lines, 100) <= 36
    flat = " ".join(" ".join(text for text, _tone in lines).split())
    assert flat.count(long.replace("  ", " ")) == 2
    assert "and 58 more" in flat or "and 59 more" in flat


def test_what_is_not_seen_for_one_reason_is_one_line() -> None:
    report = reports.redis_down()
    report["unseen"] = [{"what": what, "host": "", "why": "no check looks at it"} for what in ("the queue", "the monitoring")]
    assert "Not seen  the queue, the monitoring: no check looks at it" in text_of(report)


def test_what_a_severity_lacked_is_named_although_all_is_well() -> None:
    report = reports.healthy()
    report["severity"]["unknown"] = ["the error rate: there are no metrics"]
    assert "          not known: the error rate: there are no metrics" in text_of(report).splitlines()


def test_why_no_remedy_fits_is_said() -> None:
    report = reports.redis_down()
    report["findings"][0].update(
        remedy={"playbook": "", "command": "", "text": "", "wont": ""}, none="the disk is full, and no path may be emptied"
    )
    report["next"] = []
    assert "Next      no remedy for redis on app-1: the disk is full, and no path may be emptied" in text_of(report)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", [name for name in reports.ALL if name != "many"])
def test_hostile_text_forges_no_line_and_moves_no_cursor(name: str, hostile: str) -> None:
    honest, report = reports.ALL[name](), reports.with_text(reports.ALL[name](), hostile)
    lines = screen.screen_lines(report)
    assert lines[0][0].startswith(str(honest["verdict"]).upper())
    assert all(text.isprintable() and "\ud800" not in text for text, _tone in lines)
    assert all(len(text) <= 100 for text, tone in lines if tone != "command")
    assert not any(text.startswith("SICK  forged") for text, _tone in lines)
    for text, _colour in _on_call.screen_of({"screen": lines}, 80):
        assert all(line.isprintable() for line in text.splitlines())


@given(report=st.fixed_dictionaries({}, optional=dict.fromkeys(reports.healthy(), ANY)), width=st.integers(40, 200))
def test_any_report_however_wrong_has_a_screen(report: dict[str, t.Any], width: int) -> None:
    lines = screen.screen_lines(report, width)
    assert all(text.isprintable() for text, _tone in lines)
    assert all(len(text) <= width for text, tone in lines if tone != "command")
    assert lines[0][0].split()[0] in ("SICK", "UNKNOWN", "WELL")
    if report.get("verdict") != "well":
        assert not lines[0][0].startswith("WELL")


@given(st.data())
def test_a_report_with_any_value_in_any_place_has_a_screen(data: st.DataObject) -> None:
    report = reports.overridden()
    key = data.draw(st.sampled_from(sorted(report)))
    if isinstance(report[key], list) and report[key] and isinstance(report[key][0], dict):
        report[key][0][data.draw(st.sampled_from(sorted(report[key][0])))] = data.draw(ANY)
    elif isinstance(report[key], dict) and report[key]:
        report[key][data.draw(st.sampled_from(sorted(report[key])))] = data.draw(ANY)
    lines = screen.screen_lines(report)
    assert all(text.isprintable() for text, _tone in lines)
    assert lines[0][0].startswith("SICK") or key == "verdict"


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01 00:01:00.5z", 60.5),
        ("1970-01-01T00:01:00", None),
        ("2026-13-01T00:00:00Z", None),
        ("now", None),
        (60, None),
        (None, None),
        ("9999-12-31T23:59:59Z", None),
        ("1970-01-01T00:01:00+99:99", None),
    ],
)
def test_only_a_moment_with_a_zone_is_one(at: t.Any, seconds: float | None) -> None:
    assert moments.seconds_of(at) == seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (3600, "1 h"),
        (5400, "90 min"),
        (7200, "2 h"),
        (9000, "2 h 30 min"),
        (259200, "3 days"),
    ],
)
def test_a_span_has_the_units_that_matter(seconds: float, words: str) -> None:
    assert moments.span(seconds) == words


def test_an_onset_may_be_a_range() -> None:
    def when(**onset: t.Any) -> str:
        return parts.when_of(onset, {"at": reports.NOW})

    early, late = f"{reports.DAY}02:40:00Z", f"{reports.DAY}02:45:00Z"
    assert when(earliest=early, latest=late) == "between 02:40:00 UTC and 02:45:00 UTC"
    assert when(latest=late) == "not after 02:45:00 UTC"
    assert when(at=early, earliest=early, latest=late) == "02:40:00 UTC, 20 min ago; not after 02:45:00 UTC"
    assert when(at="2026-11-29T23:00:00Z") == "2026-11-29 23:00:00 UTC, 4 h ago"
    assert when() == ""


def test_the_view_colours_by_health_wraps_what_a_narrow_terminal_cannot_hold_and_breaks_no_command() -> None:
    command = "ansible-playbook " + "x" * 200
    lines = _on_call.screen_of(
        {"screen": [["SICK  it is down " + "word " * 20, "sick"], [command, "command"], ["", ""], "junk", ["a", "faint"]]}, 60
    )
    assert [colour for _text, colour in lines] == [_on_call.RED, "", "", _on_call.DIM]
    assert max(map(len, lines[0][0].splitlines())) <= 60
    assert lines[1][0] == command
    assert _on_call.screen_of({"screen": None}, 60) == _on_call.screen_of({}, 60) == []
