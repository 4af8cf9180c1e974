# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutation testing of every judgement, and of what keeps a run honest: lease, ledger, guard, approval, outcome, loss.

Cosmic Ray flips one operator, constant or condition at a time; the unit tests that import the module have to notice 90 % of them.
A survivor needs a test, or a sentence in tests/survivors.toml that says why it changes nothing.

Usage: mutants.py TREE STATE [MODULE...]    TREE: the folder above ansible_collections, a copy that may be changed;
                                            STATE: where verdicts are kept; MODULE: _room/name, default all. Runs under Cosmic Ray's Python.
       TEST_PYTHON: the Python that runs the tests; WORKERS: how many modules at once.
Exit code 1 where a module stays below the bar. A verdict holds until the module, its tests or the survivors change.
"""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import typing as t
from pathlib import Path

COLLECTION = Path("ansible_collections/somabrain/incident_response")
UTILS = "plugins/module_utils"
BAR = 0.9
# Mutated whole: all they do is judgement, or writing it down.
WHOLE = ("_spine/approval", "_spine/freeze", "_spine/guard", "_spine/lease", "_spine/ledger", "_spine/loss", "_spine/outcome")
# Of each comparison and each arithmetic operator its nearest neighbours; text formatting, exceptions and names stay as they are.
NEAR = {
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
    *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Delete_Not", "USub_UAdd"),
}
# What only shapes a sentence.
TEXT = ("one_line", "redact", "shorten", "size", "sentence", "count_of")
PLAIN = {
    *("AddNot", "NumberReplacer", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    "ZeroIterationForLoop",
}


class Module(t.NamedTuple):
    """A module to mutate: its name (_room/name), and the tests that import it, relative to the collection."""

    name: str
    tests: tuple[str, ...]


class Verdict(t.NamedTuple):
    """Of *mutants* of a module *noticed* were; each of *survivors* is {operator, line, code, why}, why "" where nobody excused it."""

    name: str
    mutants: int
    noticed: int
    survivors: list[dict[str, t.Any]]

    def holds(self) -> bool:
        return self.noticed >= BAR * self.mutants


def judged(source: str) -> set[str]:
    """Return the functions that a judgement of this source consists of: judge_* and what they call in the same file. Pure."""
    functions = {node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    found: set[str] = set()
    todo = [name for name in functions if name == "judge" or name.startswith("judge_")]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
            used |= {node.attr for node in ast.walk(functions[name]) if isinstance(node, ast.Attribute)}
            todo += [other for other in functions if other in used]
    return found


def wording(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the spans (line, column) of what is only text or signature: how long a message may be is no judgement. Pure."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            spans.append(((node.lineno, node.col_offset), (node.body[0].lineno, node.body[0].col_offset)))
        elif isinstance(node, ast.JoinedStr) or _is_text(node):
            spans.append(((node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0)))
    return spans


def _is_text(node: ast.AST) -> t.TypeGuard[ast.expr]:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in TEXT
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant)


def wanted(operator: str) -> bool:
    """Return whether mutants of this operator of Cosmic Ray are tried. Pure."""
    name = operator.removeprefix("core/")
    return name in PLAIN or ("_" in name and name.split("_", 1)[1] in NEAR)


def modules_of(collection: Path) -> list[Module]:
    """Return every module with a judgement, and those of WHOLE, with their tests."""
    tests = {path: path.read_text() for path in sorted((collection / "tests/unit").rglob("test_*.py"))}
    found = []
    for path in sorted((collection / UTILS).rglob("*.py")):
        name = str(path.relative_to(collection / UTILS).with_suffix(""))
        if name in WHOLE or judged(path.read_text()):
            # What is reached by a table alone is tested with its room.
            mine = [path for path, text in tests.items() if imports(text, name)]
            mine = mine or [path for path in tests if path.parent.name == name.partition("/")[0].lstrip("_")]
            found.append(Module(name, tuple(str(test.relative_to(collection)) for test in mine)))
    return found


def imports(text: str, name: str) -> bool:
    """Return whether a test's source imports the module *name* (_room/name). Pure."""
    room, _slash, last = name.rpartition("/")
    dotted = re.escape(f"module_utils.{room.replace('/', '.')}")
    named = rf"(\([^)]*\b{last}\b|[^(\n]*\b{last}\b)"
    return bool(re.search(rf"from \S*{dotted} import {named}|from \S*{dotted}\.{last} import|import \S*{dotted}\.{last}\b", text))


def key_of(collection: Path, module: Module) -> str:
    """Return what a verdict depends on: the module, its tests, its survivors that are excused, and this file."""
    paths = [f"{UTILS}/{module.name}.py", *module.tests, "scripts/lib/mutants.py"]
    known = json.dumps([one for one in survivors_of(collection) if one["module"] == module.name], sort_keys=True).encode()
    return hashlib.sha256(b"\0".join([known, *((collection / path).read_bytes() for path in paths)])).hexdigest()[:16]


def survivors_of(collection: Path) -> list[dict[str, str]]:
    """Return the survivors that somebody excused: {module, operator, code, why} of each."""
    found: list[dict[str, str]] = tomllib.loads((collection / "tests/survivors.toml").read_text()).get("survivor", [])
    return found


def excused(collection: Path, name: str, operator: str, code: str) -> str:
    """Return why a survivor changes nothing, "" where nobody says so."""
    for one in survivors_of(collection):
        if one["module"] == name and one["code"] == code and one["operator"] in ("any", operator):
            return str(one["why"])
    return ""


def try_module(tree: Path, state: Path, module: Module) -> Verdict:
    """Return the verdict of one module, from *state* where it still holds. Changes the tree while it works."""
    collection = tree / COLLECTION
    kept, key = state / f"{module.name.replace('/', '.')}.json", key_of(collection, module)
    if kept.exists() and (found := json.loads(kept.read_text()))["key"] == key:
        return Verdict(**found["verdict"])
    verdict = mutate(collection, state / f"{module.name.replace('/', '.')}-{key}.sqlite", module)
    kept.write_text(json.dumps({"key": key, "verdict": verdict._asdict()}, indent=1))
    return verdict


def mutate(collection: Path, session: Path, module: Module) -> Verdict:
    """Try every mutant of one module; a session that was broken off goes on."""
    # It is there where make prove runs, not where the types are checked.
    commands, databases = importlib.import_module("cosmic_ray.commands"), importlib.import_module("cosmic_ray.work_db")
    config = importlib.import_module("cosmic_ray.config").ConfigDict
    path = collection / UTILS / f"{module.name}.py"
    source = path.read_text()
    fresh = not session.exists()
    with warm_tests(collection, module) as command, databases.use_db(str(session), databases.WorkDB.Mode.create) as database:
        if fresh:
            commands.init([path], database, {})
            leave_out(database, None if module.name in WHOLE else judged(source), wording(source))
        commands.execute(database, config({"test-command": command, "timeout": 120.0, "distributor": {"name": "local"}}))
        tried = [(item, result) for item, result in database.completed_work_items if result.worker_outcome.value == "normal"]
    session.unlink()
    lines = source.splitlines()
    survivors = []
    for item, result in tried:
        mutation = item.mutations[0]
        if result.test_outcome.value == "survived":
            operator, code = mutation.operator_name.removeprefix("core/"), lines[mutation.start_pos[0] - 1].strip()
            why = excused(collection, module.name, operator, code)
            survivors.append({"operator": operator, "line": mutation.start_pos[0], "code": code, "why": why})
    unexcused = [one for one in survivors if not one["why"]]
    return Verdict(module.name, len(tried), len(tried) - len(unexcused), survivors)


@contextlib.contextmanager
def warm_tests(collection: Path, module: Module) -> t.Iterator[str]:
    """Yield the command that runs the tests of a module, which pass as it is. Raises RuntimeError if they do not."""
    python, script = os.environ.get("TEST_PYTHON", sys.executable), str(collection / "scripts/lib/warm_tests.py")
    words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={collection}"]
    words += [str(collection / test) for test in module.tests]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        command = [python, script, "serve", path, str(collection), *words]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            said = ""
            for line in server.stdout:
                if line == "ready\n":
                    break
                said += line
            else:
                raise RuntimeError(f"the tests of {module.name} fail as they are:\n{said[-4000:]}")
            asked = [python, "-I", "-S", script, "ask", path]
            if subprocess.run(asked, check=False).returncode:
                raise RuntimeError(f"the tests of {module.name} pass, but not in a fork of a process that has loaded what they use")
            # Its standard input is closed behind this, and it ends.
            yield " ".join(asked)


def leave_out(database: t.Any, functions: set[str] | None, spans: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    """Leave out mutants of operators that are not wanted, of code outside *functions* (None: the whole file), and of wording."""
    items = importlib.import_module("cosmic_ray.work_item")
    for item in list(database.pending_work_items):
        mutation = item.mutations[0]
        elsewhere = functions is not None and mutation.definition_name not in functions
        if elsewhere or not wanted(mutation.operator_name) or any(begin <= mutation.start_pos < end for begin, end in spans):
            database.set_result(item.job_id, items.WorkResult(output="left out", worker_outcome=items.WorkerOutcome.SKIPPED))


def work(job: tuple[Path, Path, Module]) -> Verdict:
    """Try one module in a copy of the tree that is this process's own."""
    tree, state, module = job
    mine = tree.with_name(f"{tree.name}-{os.getpid()}")
    if not mine.exists():
        shutil.copytree(tree, mine, symlinks=True)
    # Tests and children import from the copy, and leave no bytecode of a mutant behind.
    os.environ.update(PYTHONPATH=str(mine), PYTHONDONTWRITEBYTECODE="1")
    return try_module(mine, state, module)


def report(verdict: Verdict) -> None:
    """Print how many mutants of a module were noticed, and each that was not."""
    print(f"{verdict.name:<40} {verdict.noticed:>4} of {verdict.mutants:>4}{'' if verdict.holds() else '  BELOW THE BAR'}", flush=True)
    for one in verdict.survivors:
        if not one["why"]:
            print(f"    line {one['line']}: {one['operator']}: {one['code']}", flush=True)


def main(arguments: list[str]) -> int:
    tree, state, names = Path(arguments[0]).resolve(), Path(arguments[1]).resolve(), arguments[2:]
    state.mkdir(parents=True, exist_ok=True)
    jobs = [(tree, state, module) for module in modules_of(tree / COLLECTION) if not names or module.name in names]
    verdicts: list[Verdict] = []
    with concurrent.futures.ProcessPoolExecutor(int(os.environ.get("WORKERS", os.cpu_count() or 1))) as pool:
        for verdict in pool.map(work, jobs):
            verdicts.append(verdict)
            report(verdict)
    noticed, mutants = sum(one.noticed for one in verdicts), sum(one.mutants for one in verdicts)
    print(f"{noticed} of {mutants} mutants were noticed, in {len(verdicts)} modules")
    return 0 if all(one.holds() for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
