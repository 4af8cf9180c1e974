# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the report of a triage is put together: from whatever hosts returned to a verdict, a sentence and commands."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import triage_report
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import report as triage
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._rules import load_rules

NOW = 1796100000.0
HOSTILE = "\x1b[31m{{ 7*7 }} $(id) <script>alert(1)</script> \u202eabc password=hunter2"


def check(name: str, kind: str, health: str = "well", state: str = "up", text: str = "it is fine", **more: t.Any) -> dict[str, t.Any]:
    finding = {"name": name, "state": health, "text": text}
    return {
        "name": name, "kind": kind, "health": health, "state": state, "identity": {}, "actions": [], "findings": [finding], "facts": {},
        "seconds": 0.1, "seen_from": "target", **more,
    }  # fmt: skip


REDIS = check("redis", "redis")
DOWN = check("redis", "redis", "sick", "down_clean", "it is down")
DISK = check("disk", "disk")
MACHINE = {"processes": [], "changes": [], "logs": {}, "metrics": {}, "unseen": [], "at": NOW, "clock": {"now": NOW}, "asked": []}
LEDGER: dict[str, t.Any] = {"runs": [], "leases": [], "owed": [], "drills": []}


def run(**given: t.Any) -> dict[str, t.Any]:
    options = {name: rule.get("default") for name, rule in triage_report.ARGUMENT_SPEC.items()}
    known = {
        "groups": {"redis": ["a"], "all": ["a"]},
        "commands": lambda hosts: {"recover_redis": f"ansible-playbook playbooks/recover-redis.yml -l {hosts}"},
        "rules": load_rules,
    }
    return triage_report.run({**options, "known": known, **given}, bool(given.get("check")))


def looked(*checks: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"machines": {"a": MACHINE}, "checks": {"a": {"checks": list(checks), "health": "well"}}, "ledgers": {"a": LEDGER}}


def test_all_well_is_nothing_is_wrong() -> None:
    result = run(**looked(REDIS, DISK))
    assert (result["verdict"], result["next_commands"], result["changed"]) == ("well", [], False)
    assert result["headline"].startswith("nothing is wrong: ")
    assert result["report"]["severity"]["level"] == ""
    assert result["report"]["clock"] is None


def test_a_cause_has_its_command_for_its_host_and_a_severity() -> None:
    result = run(**looked(DOWN, DISK))
    report = result["report"]
    assert (result["verdict"], report["findings"][0]["component"], report["findings"][0]["state"]) == ("sick", "redis", "down_clean")
    assert result["headline"] == "redis on a is down_clean: it is down"
    assert result["next_commands"] == ["ansible-playbook playbooks/recover-redis.yml -l a"]
    assert report["findings"][0]["remedy"]["command"] == result["next_commands"][0]
    assert report["severity"]["level"] in ("P0", "P1")
    assert report["clock"]["left_seconds"] > 0
    assert [result["next_commands"][0], "command"] in result["screen"]


def test_checks_that_pass_are_no_proof_against_a_high_error_rate() -> None:
    metrics = {
        "url": "http://a/metrics",
        "error": "",
        "up": True,
        "requests": 100.0,
        "errors": 60.0,
        "error_rate": 0.6,
        "over_seconds": 2.0,
    }
    given = looked(REDIS, DISK)
    given["machines"] = {"a": dict(MACHINE, metrics={"api": metrics})}
    result = run(**given)
    assert (result["verdict"], result["report"]["severity"]["level"]) == ("sick", "P0")
    assert result["headline"].startswith("half of all requests or more fail: ")
    assert result["headline"].endswith("; each check by itself passes")
    assert not any("nothing is wrong" in text for text, _tone in result["screen"])


def test_a_machine_alone_proves_no_service() -> None:
    result = run(**looked(DISK))
    assert (result["verdict"], result["headline"]) == ("unknown", triage.NOTHING_LOOKED_AT)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"machines": {"a": {"unreachable": True, "msg": "no route"}}}, "no route"),
        (
            {"failed": {"a": {"unreachable": True, "msg": "no route"}}, "machines": {"a": {"skipped": True}}},
            "a cannot be reached: no route",
        ),
        ({"machines": {"a": {"failed": True, "msg": "no python"}}}, "no python"),
        ({"failed": {"a": {"msg": "timed out after 30 s"}}, "machines": {"a": MACHINE}}, "timed out after 30 s"),
        ({"machines": {"a": MACHINE}, "checks": {"a": {"failed": True, "msg": "the look died"}}}, "the look died"),
        ({"machines": {"a": MACHINE}, "checks": {"a": {"skipped": True}}}, "a"),
        ({"machines": {"a": "nonsense"}, "checks": {"a": None}, "ledgers": {"a": 7}}, "a"),
        ({"machines": {"a": {"failed": True, "msg": HOSTILE}}}, "\\x1b[31m{{ 7*7 }} $(id)"),
    ],
)
def test_a_host_that_could_not_be_looked_at_is_unknown_and_named(given: dict[str, t.Any], text: str) -> None:
    result = run(**given)
    unknown = [one for one in result["report"]["components"] if one["host"] == "a" and one["health"] != "well"]
    assert result["verdict"] == "unknown"
    assert unknown
    assert text in json.dumps(unknown).replace("\\\\", "\\")
    assert "hunter2" not in json.dumps(result)
    assert "\x1b" not in json.dumps(result, ensure_ascii=False)


def test_one_lost_host_hides_nothing_of_another() -> None:
    given = looked(DOWN, DISK)
    given["machines"]["b"] = {"unreachable": True, "msg": "no route"}
    result = run(**given)
    assert result["verdict"] == "sick"
    assert {(one["component"], one["host"]) for one in result["report"]["findings"]} >= {("redis", "a"), ("b", "b")}


def test_what_a_person_decides_is_recorded_as_an_override() -> None:
    severity = run(**looked(DOWN, DISK), severity="P3", severity_reason="planned work")["report"]["severity"]
    assert (severity["level"], severity["override"]) == ("P3", {"level": "P3", "reason": "planned work"})
    assert severity["judged"] in ("P0", "P1")


def test_numbers_are_held_against_what_is_usual() -> None:
    given = looked(dict(REDIS, facts={"keys": 1}), DISK)
    kept = {"numbers": {"redis": {"keys": {"median": 1000, "low": 990, "high": 1010}}}, "at": NOW}
    report = run(**given, verified={"a": {"verified": {"baseline": {"baseline": kept}}}})["report"]
    assert report["baseline"]["redis"]["keys"]["unusual"] == "less"


def test_files_are_written_as_a_whole_and_not_in_a_rehearsal(tmp_path: Path) -> None:
    files = {"report_file": str(tmp_path / "t.json"), "markdown_file": str(tmp_path / "t.md")}
    assert run(**looked(DOWN), **files, check=True)["changed"] is False
    assert list(tmp_path.iterdir()) == []
    assert run(**looked(DOWN), **files)["changed"] is True
    report = json.loads((tmp_path / "t.json").read_text())
    jsonschema.validate(report, json.loads((Path(__file__).resolve().parents[3] / "docs/triage.schema.json").read_text()))
    assert (report["schema"], report["verdict"], report["hosts"]["a"]["processes"]) == (1, "sick", [])
    assert "recover-redis" in (tmp_path / "t.md").read_text()
    assert (tmp_path / "t.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"severity": "P1"}, "triage_severity_reason"),
        ({"severity_reason": "because"}, "triage_severity"),
        ({"alert_at": "2026-12-01T03:00:00"}, "triage_alert_at is 2026-12-01T03:00:00: write a time with its zone"),
        ({"alert_at": "yesterday"}, "triage_alert_at"),
        ({"alert_at": "2999-01-01T00:00:00Z"}, "in the future"),
        ({"page_file": "/nowhere/at/all/x.html"}, "triage_page_file: there is no directory /nowhere/at/all"),
        ({"report_file": "/dev/null"}, "triage_report_file: /dev/null is there and is no regular file"),
        ({"rules_file": "/nowhere/rules.yml"}, "/nowhere/rules.yml"),
    ],
)
def test_a_wrong_input_is_named_before_anything_is_looked_at(given: dict[str, t.Any], words: str) -> None:
    with pytest.raises(StepError, match=words.replace(".", r"\.")):
        run(only_input=True, **given)


def test_input_that_fits_says_nothing() -> None:
    assert run(only_input=True, severity="P2", severity_reason="x", alert_at="2026-01-01T00:00:00+02:00")["say"] == []
