# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The on-call view under a real ansible-playbook, fed by an action plugin that returns what it is given.

SOMABRAIN_ANSIBLE_PLAYBOOK names another ansible-playbook than the one beside this Python.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from farms.warmly import run_ansible

import ansible_collections.somabrain.incident_response as collection

PLAYBOOK = os.environ.get("SOMABRAIN_ANSIBLE_PLAYBOOK") or os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
ROOT = next(iter(collection.__path__)).split("/ansible_collections/")[0]
FAKE = """
from ansible.plugins.action import ActionBase
import json
class ActionModule(ActionBase):
    _supports_check_mode = True
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        return json.loads(json.dumps(dict(self._task.args)))
"""
RECOVERED = {
    "outcome": "recovered", "green": True, "host": "lab", "target": "lab/redis", "component": "redis", "seconds": 1.2,
    "before": {"health": "sick", "state": "down_clean"}, "acts": [{"kind": "act", "action": "start"}], "file": "/o.json",
}  # fmt: skip
COMMAND = "ansible-playbook playbooks/recover-redis.yml -i inventories/production -l lab -e remediation_takeover=true -e why='a b'"
REFUSED = {
    "outcome": "refused", "green": False, "host": "lab", "target": "lab/redis", "seconds": 0.1,
    "reasons": [{"code": "lease_held", "text": "held by anna", "unblock": "wait", "next_command": COMMAND}],
}  # fmt: skip


def play(tmp_path: Path, tasks: list[dict[str, t.Any]], *args: str, hosts: str = "lab", env: dict[str, str] | None = None) -> list[str]:
    (tmp_path / "action_plugins").mkdir(exist_ok=True)
    (tmp_path / "action_plugins" / "fake.py").write_text(FAKE)
    (tmp_path / "fix-it.yml").write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))
    (tmp_path / "inv").write_text("lab ansible_connection=local\ngone ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1\n")
    given = {
        **os.environ,
        "ANSIBLE_STDOUT_CALLBACK": "somabrain.incident_response.on_call",
        "ANSIBLE_COLLECTIONS_PATH": ROOT,
        "COLUMNS": "100",
    }
    given.update(ANSIBLE_CONFIG=str(tmp_path / "none.cfg"), ANSIBLE_LOCALHOST_WARNING="0", LC_ALL="C.UTF-8", **(env or {}))
    return [PLAYBOOK, "-i", str(tmp_path / "inv"), str(tmp_path / "fix-it.yml"), *args], given  # type: ignore[return-value]


def shown(tmp_path: Path, tasks: list[dict[str, t.Any]], *args: str, **more: t.Any) -> str:
    command, env = play(tmp_path, tasks, *args, **more)
    done = run_ansible(command, env=env, cwd=tmp_path, timeout=120)  # type: ignore[arg-type]
    assert "Traceback" not in done.stdout + done.stderr
    assert "[WARNING]: Failure using method" not in done.stderr, done.stderr
    return str(done.stdout)


def fake(name: str = "act | Do it", **result: t.Any) -> dict[str, t.Any]:
    return {"name": name, "fake": result}


def test_sentences_come_with_time_host_and_stage_and_nothing_else_is_shown(tmp_path: Path) -> None:
    text = shown(
        tmp_path,
        [
            fake(say=["redis is down"], stage="assess", health="sick"),
            fake(changed=True, msg="a quiet result"),
            {"name": "x", "fake": {}, "when": False},
        ],
    )
    assert re.search(r"^\d\d:\d\d:\d\d +\+\d+\.\ds  lab +assess  redis is down$", text, re.MULTILINE)
    assert "quiet result" not in text
    assert not re.search(r"TASK|PLAY|ok:|skipping|\x1b", text)
    assert re.search(r"^done in \d+\.\d s, 1 changed$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100


def test_loops_and_included_tasks_speak_too(tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text(json.dumps([fake(say=["from {{ item }}"], stage="act")]))
    text = shown(tmp_path, [{"include_tasks": "more.yml", "loop": ["a", "b"]}, {**fake(say=["item {{ item }}"]), "loop": [1, 2]}])
    for words in ("from a", "from b", "item 1", "item 2"):
        assert text.count(words) == 1


def test_a_run_ends_with_its_outcome_and_the_count_of_hosts(tmp_path: Path) -> None:
    lines = shown(tmp_path, [fake(outcome=RECOVERED, stage="close")]).splitlines()
    assert "┌ lab/redis  RECOVERED in 1.2 s" in lines
    assert "│ Found   sick down_clean" in lines
    assert lines[-1] == "1 host: 1 recovered"


def test_a_screen_is_shown_as_it_is_and_says_how_the_run_ends(tmp_path: Path) -> None:
    screen = [["SICK  P1 High  redis is down", "sick"], ["", ""], [COMMAND, "command"], ["Clock     1 min left", ""]]
    looked = fake("main | Report", screen=screen, verdict="sick", next_commands=[COMMAND], stage="assess")
    red = {"name": "main | Turn red", "ansible.builtin.assert": {"that": False, "quiet": True}}
    text = shown(tmp_path, [looked, red])
    assert "\n".join(line for line, _tone in screen) in text
    assert text.count(COMMAND) == 1
    assert "FAILED" not in text
    assert re.search(r"\nlooked for [\d.]+ s, changed nothing: sick\n\Z", text)
    assert "changed nothing: well" in shown(tmp_path, [fake(screen=[["WELL  nothing is wrong", "well"]], verdict="well")])


def test_a_refusal_is_told_once_with_its_command_whole(tmp_path: Path) -> None:
    text = shown(
        tmp_path, [fake(outcome=REFUSED, stage="close"), {"name": "close | Turn red", "ansible.builtin.fail": {"msg": "outcome: refused"}}]
    )
    assert COMMAND in text.splitlines()
    assert "outcome: refused" not in text
    assert text.splitlines()[-1] == "1 host: 1 refused"


def test_a_failure_is_one_line_and_a_rescued_one_is_a_finding(tmp_path: Path) -> None:
    rescued = {
        "block": [{"name": "inner", "block": [fake(name="first", failed=True, msg="did not stop", stage="act")]}],
        "rescue": [fake(say=["put back"])],
    }
    text = shown(tmp_path, [rescued, fake(name="second", failed=True, msg="it broke\nbadly")])
    assert re.search(r"lab +act +did not stop$", text, re.MULTILINE)
    assert re.search(r"lab +FAILED +it broke / badly \(task: second\)$", text, re.MULTILINE)
    assert text.count("did not stop") == text.count("it broke") == 1
    assert "not done: 1 host failed" in text


def test_a_failure_inside_a_rescue_is_no_finding(tmp_path: Path) -> None:
    text = shown(tmp_path, [{"block": [fake(failed=True, msg="one")], "rescue": [fake(name="again", failed=True, msg="two")]}])
    assert re.search(r"FAILED +two", text)
    assert not re.search(r"FAILED +one", text)


def test_an_undefined_variable_is_named(tmp_path: Path) -> None:
    text = shown(tmp_path, [{"name": "Use it", "fake": {"say": ["{{ no_such_variable }}"]}}])
    assert re.search(r"FAILED .*no_such_variable", re.sub(r"\s+", " ", text))


def test_an_unreachable_host_is_told_what_to_check(tmp_path: Path) -> None:
    text = shown(tmp_path, [{"name": "Reach", "ansible.builtin.raw": "true"}, fake(say=["here"])], hosts="all")
    assert re.search(r"gone +LOST +unreachable: ", text)
    assert re.search(r"^ansible gone -i \S+ --playbook-dir \S+ -m ansible.builtin.ping$", text, re.M)
    assert "not done: 1 unreachable" in text


def test_what_is_no_log_is_never_shown(tmp_path: Path) -> None:
    canary = "CANARY-5f1c"
    tasks = [
        {**fake(say=[canary], outcome={"outcome": canary}, msg=canary), "no_log": True},
        {**fake(failed=True, msg=canary), "no_log": True},
    ]
    text = shown(tmp_path, tasks)
    assert canary not in text
    assert "hidden (no_log)" in text


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2Jgone\rFAKE\n18:00:00 +1s lab verify all is well \u202e" + "x" * 100_000
    tasks = [
        fake(say=[hostile], stage=hostile),
        fake(outcome={**REFUSED, "target": hostile}),
        {**fake(failed=True, msg=hostile), "ignore_errors": True},
    ]
    text = shown(tmp_path, [*tasks, fake(changed=True, diff={"before": hostile, "after": "y"})], "--diff")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\r" not in text
    assert not re.search(r"^(FAKE|18:00:00 \+1s)", text, re.MULTILINE)
    assert len(text) < 20_000


def test_a_rehearsal_says_so_first_and_last(tmp_path: Path) -> None:
    lines = shown(tmp_path, [fake(changed=True)], "--check").splitlines()
    assert lines[1] == "REHEARSAL: nothing will be changed"
    assert lines[-1].endswith("1 would change, nothing was changed")


def test_a_diff_is_shown_when_asked_for(tmp_path: Path) -> None:
    task = fake(changed=True, diff={"before": {"state": "stopped"}, "after": {"state": "running"}})
    assert '+    "state": "running"' in shown(tmp_path, [task], "--diff")
    assert "running" not in shown(tmp_path, [task])


def test_with_v_it_is_the_default_view_and_the_outcome_stands_at_its_end(tmp_path: Path) -> None:
    text = shown(tmp_path, [fake(say=["a"], outcome=RECOVERED)], "-v")
    assert "TASK [act | Do it]" in text
    before, _recap, after = text.partition("PLAY RECAP")
    assert "RECOVERED" not in before
    assert "┌ lab/redis  RECOVERED in 1.2 s" in after


def test_no_host_matched_is_said(tmp_path: Path) -> None:
    text = shown(tmp_path, [fake()], hosts="nobody")
    assert "no host matched nobody" in text
    assert "nothing done in" in text


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"ANSIBLE_NOCOLOR": "1"}, False)])
def test_colour_only_on_a_terminal_that_wants_it(tmp_path: Path, extra: dict[str, str], coloured: bool) -> None:
    env = {"TERM": "xterm", **extra}
    command, given = play(tmp_path, [fake(say=["fine"], health="well")], env=env)
    leader, follower = pty.openpty()
    child = subprocess.Popen(command, stdout=follower, stderr=follower, stdin=subprocess.DEVNULL, env=given, cwd=tmp_path)  # type: ignore[call-overload]
    os.close(follower)
    text = b""
    try:
        while piece := os.read(leader, 65536):
            text += piece
    except OSError:
        pass
    finally:
        os.close(leader)
    assert child.wait(30) == 0
    assert (b"\x1b[0;32m" in text) is coloured
    assert b"fine" in text


def test_forced_colour_and_plain_ascii(tmp_path: Path) -> None:
    assert "\x1b[0;32m" in shown(tmp_path, [fake(say=["fine"], health="well")], env={"ANSIBLE_FORCE_COLOR": "1"})
    assert "+ lab/redis  RECOVERED" in shown(tmp_path, [fake(outcome=RECOVERED)], env={"SOMABRAIN_ON_CALL_ASCII": "1"})
    latin = shown(tmp_path, [fake(outcome=RECOVERED, say=["caf\u00e9"])], env={"PYTHONIOENCODING": "ascii"})
    assert "+ lab/redis  RECOVERED" in latin
