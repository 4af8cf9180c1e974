# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house rules that no linter knows: words that destroy, swallowed failures, the shape of roles, playbooks and functions."""

from __future__ import annotations

import ast
import re
import statistics
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
LICENCE = "GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)"

# What may never be run, and an innocent neighbour that has to pass.
FORBIDDEN = {
    "pg_resetwal": (r"\bpg_resetwal\b", "argv: [pg_resetwal, -f]", "argv: [pg_controldata]"),
    "zero_damaged_pages": (r"\bzero_damaged_pages\b", "SET zero_damaged_pages = on", "SHOW data_checksums"),
    "removing in pg_wal": (r"(\brm\b|unlink|remove|absent).*pg_wal|pg_wal.*(\brm\b|unlink|remove|absent)", "rm -f pg_wal/x", "du pg_wal"),
    "removing postmaster.pid": (
        r"(\brm\b|unlink|remove|absent).*postmaster\.pid|postmaster\.pid.*(\brm\b|unlink|remove|absent)",
        "rm postmaster.pid",
        "cat postmaster.pid",
    ),
    "FLUSHALL": (r"(?i)\bflush(all|db)\b", "redis-cli FLUSHALL", "redis-cli DBSIZE"),
    "compose down": (r"\bcompose\b.*\bdown\b", "docker compose down", "docker compose up"),
    "removing volumes": (r"\b(compose|docker)\b.*\brm\b.*\s['\"]?(-v\b|--volumes)", "docker rm -v x", "docker run -v x"),
    "prune": (r"\b(docker|system|volume|image|container)\b.*\bprune\b", "docker system prune", "prune_after: 3"),
    "kill -9": (r"\bkill['\"]?[\s,]+['\"]?-(9|KILL|SIGKILL)\b", "argv: [kill, -9, 12]", "argv: [kill, -TERM, 12]"),
    "restore that overwrites": (r"\brestore\b.*--(delta|force)\b|--(delta|force)\b.*\brestore\b", "restore --delta", "restore --set=x"),
}


def sources(*patterns: str) -> list[Path]:
    """Return the project's files that match; drills inject faults, so their words are their business."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file() and not path.is_symlink()]
    kept = [path for path in found if not {"drill", "collections", "__pycache__"} & set(path.relative_to(ROOT).parts)]
    return sorted(kept)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands_of(text: str) -> list[str]:
    """Return the lines without their comments: a comment may name what is never run."""
    return [re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines()]


def tasks_of(path: Path) -> list[dict[str, t.Any]]:
    """Return every mapping below a task file or play that has a name or an action, blocks included."""
    found: list[dict[str, t.Any]] = []
    waiting = [yaml.safe_load(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            found.append(node)
            waiting += [node[key] for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers") if key in node]
    return found


TASK_FILES = sources("roles/*/tasks/**/*.yml", "roles/*/handlers/*.yml")
PLAYBOOKS = sources("playbooks/*.yml")
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
REMEDIES = [role for role in ROLES if (role / "tasks/act.yml").is_file() and role.name != "remediation"]
PYTHON = sources("plugins/**/*.py", "roles/*/files/**/*.py", "extensions/**/*.py")


@pytest.mark.parametrize(("pattern", "bad", "good"), FORBIDDEN.values(), ids=list(FORBIDDEN))
def test_the_rule_catches_the_bad_word_and_leaves_its_neighbour(pattern: str, bad: str, good: str) -> None:
    assert re.search(pattern, bad)
    assert not re.search(pattern, good)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_nothing_that_destroys_is_ever_run(name: str) -> None:
    lines = [
        f"{relative(path)}: {line.strip()}"
        for path in sources("roles/**/*.yml", "roles/**/*.py", "roles/**/*.sh", "roles/**/*.j2", "playbooks/**/*.yml", "plugins/**/*.py")
        for line in commands_of(path.read_text(errors="replace"))
        if re.search(FORBIDDEN[name][0], line)
    ]
    assert lines == []


def swallowed(task: dict[str, t.Any]) -> list[str]:
    """Return what in *task* hides a failure, needs a shell or can be skipped by a tag."""
    found = [key for key in ("ignore_errors",) if task.get(key)]
    found += ["failed_when: false"] if task.get("failed_when") in (False, "false", "False") else []
    found += [key for key in task if key.rpartition(".")[2] == "shell"]
    # The play that judges the input is there whatever tags are asked for, and refuses them.
    return found + [key for key in ("tags",) if task.get(key, ["always"]) != ["always"]]


@pytest.mark.parametrize(
    "task",
    [{"ignore_errors": True}, {"failed_when": False}, {"ansible.builtin.shell": "x"}, {"shell": "x"}, {"tags": ["x"]}],
    ids=lambda task: str(next(iter(task))),
)
def test_the_rule_sees_a_swallowed_failure(task: dict[str, t.Any]) -> None:
    assert swallowed(task)
    assert swallowed({"name": "x", "failed_when": "x.rc > 1"}) == []
    assert swallowed({"name": "x", "tags": ["always"]}) == []


def test_no_task_hides_a_failure_or_needs_a_shell_or_can_be_skipped_by_a_tag() -> None:
    tasks = [(path, task) for path in TASK_FILES + PLAYBOOKS for task in tasks_of(path)]
    found = [f"{relative(path)}: {task.get('name')}: {swallowed(task)}" for path, task in tasks if swallowed(task)]
    assert found == []


def test_every_play_that_judges_the_input_runs_whatever_tags_are_asked_for() -> None:
    judging = [(path, play) for path in PLAYBOOKS for play in tasks_of(path) if play.get("name") == "Refuse what cannot work"]
    assert len(judging) > 15
    assert [relative(path) for path, play in judging if play.get("tags") != ["always"]] == []


def test_no_play_gathers_facts() -> None:
    assert [f"{relative(path)}: {play.get('name')}" for path in PLAYBOOKS for play in tasks_of(path) if play.get("gather_facts")] == []


def test_task_files_fit_on_a_screen() -> None:
    lengths = {relative(path): len(path.read_text().splitlines()) for path in TASK_FILES}
    assert {path: length for path, length in lengths.items() if length > 60} == {}


def prefix_of(path: Path) -> str:
    """Return what a task name starts with: the folders and the name of its file below tasks/, nothing in main.yml."""
    parts = path.relative_to(ROOT).parts[3:-1] + (path.stem,)
    return "" if parts == ("main",) else "".join(f"{part} | " for part in parts)


def test_task_names_are_imperative_and_begin_with_the_name_of_their_file() -> None:
    wrong = []
    for path in TASK_FILES:
        for task in tasks_of(path):
            name = str(task.get("name", ""))
            if not name.startswith(prefix_of(path)) or not name[len(prefix_of(path)) :][:1].isupper():
                wrong.append(f"{relative(path)}: {name!r} wants {prefix_of(path)!r}")
    assert wrong == []


def test_every_playbook_runs_by_path_under_a_name_with_dashes() -> None:
    wrong = []
    for path in PLAYBOOKS:
        link = path.with_name(path.name.replace("_", "-"))
        if link != path and not (link.is_symlink() and link.resolve() == path):
            wrong.append(f"{relative(path)} wants a link {link.name}")
    assert wrong == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_has_its_inputs_described_and_a_page_for_the_person_on_call(role: Path) -> None:
    wanted = ("defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "README.md")
    assert [name for name in wanted if not (role / name).is_file()] == []
    page = (role / "README.md").read_text().lower().replace("-", " ")
    assert [word for word in ("undo", "idempoten", "out of scope", "example") if word not in page] == []


@pytest.mark.parametrize("role", REMEDIES, ids=lambda role: role.name)
def test_a_remedy_is_one_task_that_hands_itself_to_the_spine(role: Path) -> None:
    tasks = yaml.safe_load((role / "tasks/main.yml").read_text())
    assert len(tasks) == 1
    handed = tasks[0].get("ansible.builtin.import_role") or tasks[0]["ansible.builtin.include_role"]
    assert handed["name"] == "somabrain.incident_response.remediation"
    assert [name for name in ("probe", "act", "undo") if not (role / f"tasks/{name}.yml").is_file()] == []
    # Who says nothing of a loss has an unknown one.
    assert {"remediation_loss", "remediation_harmless"} & set(tasks[0]["vars"])


def functions() -> list[tuple[int, str]]:
    """Return length in lines and name of every function."""
    return [
        (int(node.end_lineno or 0) - node.lineno + 1, f"{relative(path)}:{node.lineno} {node.name}")
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def test_functions_are_short() -> None:
    lengths = [length for length, name in functions()]
    assert [name for length, name in functions() if length > 40] == []
    assert statistics.median(lengths) <= 10
    assert sum(length <= 25 for length in lengths) >= 0.9 * len(lengths)


# What makes a function branch; a chain of "and" or "or" counts each of its conditions, a comprehension its loop and its filters.
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert)


def complexity(function: ast.AST) -> int:
    """Return the cyclomatic complexity of *function*, without that of the functions inside it."""
    count, waiting = 1, list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        count += isinstance(node, BRANCHES)
        count += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
        count += 1 + len(node.ifs) if isinstance(node, ast.comprehension) else 0
        waiting += ast.iter_child_nodes(node)
    return count


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("return 1", 1),
        ("return a or b and c", 3),
        ("return [x for x in y if x]", 3),
        ("def g():\n    if a: pass", 1),
        ("while a:\n    b if c else d", 3),
    ],
)
def test_complexity_counts_branches_conditions_and_comprehensions(body: str, wanted: int) -> None:
    text = "def f():\n" + "\n".join(f"    {line}" for line in body.splitlines())
    assert complexity(ast.parse(text).body[0]) == wanted


def test_functions_are_simple() -> None:
    found = [
        f"{complexity(node)} {relative(path)}:{node.lineno} {node.name}"
        for path in [*PYTHON, *sources("scripts/**/*.py", "benchmarks/**/*.py"), *(ROOT / "roles/drill/files").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and complexity(node) > 15
    ]
    assert found == []


def test_every_python_file_opens_with_its_licence_and_its_contract() -> None:
    wrong = []
    for path in PYTHON:
        text = path.read_text()
        head = [line for line in text.splitlines()[:4] if not line.startswith("#!")]
        if len(head) < 3 or LICENCE not in head[1] or "SPDX-License-Identifier: GPL-3.0-or-later" not in head[2]:
            wrong.append(f"{relative(path)}: licence")
        if not ast.get_docstring(ast.parse(text)):
            wrong.append(f"{relative(path)}: docstring")
    assert wrong == []


def test_every_story_that_is_left_out_of_make_test_is_there() -> None:
    names = [line for line in (ROOT / "molecule/long.txt").read_text().splitlines() if not line.startswith("#")]
    assert [name for name in names if not (ROOT / "molecule" / name / "molecule.yml").exists()] == []
