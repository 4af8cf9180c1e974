# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a step where it belongs: in process, piped to the target's Python, or shipped as a module.

In process costs 15-30 ms, piped 50-90 ms over a warm ssh, shipped 300-450 ms; so the
shipped module is only the fallback for connections that take no standard input.
"""

from __future__ import annotations

import base64
import functools
import importlib
import importlib.util
import json
import marshal
import os
import re
import shlex
import types
import typing as t
import zlib

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, guarded, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _become as login
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._bytecode import code_of
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._shown import shown

PACKAGE = "ansible_collections.somabrain.incident_response.plugins.module_utils"
BEGIN, END = "<<somabrain-step<<", ">>somabrain-step>>"
# What a source imports of this package: a module's names, or several modules, or one.
_IMPORT = re.compile(rf"^from {re.escape(PACKAGE)}((?:\.\w+)*) import (?:\(([^)]*)\)|(.+))", re.MULTILINE)
FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "module_utils")
# Said before anything is done: a step that began is never tried again in another way.
STARTED = "somabrain-step-started"

# Gives the piped step the modules it imports, under the names it imports them by: compiled where the target's Python is of the version
# of the controller's, else from their sources. Imports as little as it can, since a target's Python starts afresh for every step.
BOOT = """
import sys, base64, importlib, json, marshal, zlib
from importlib._bootstrap_external import MAGIC_NUMBER
from importlib.machinery import ModuleSpec
if MAGIC_NUMBER == base64.b64decode("%(magic)s"):
    CODE = marshal.loads(zlib.decompress(base64.b64decode("%(compiled)s")))
else:
    CODE = json.loads(zlib.decompress(base64.b64decode("%(sources)s")))
    CODE = {name: compile(source, name, "exec", dont_inherit=True) for name, source in CODE.items()}
PARENTS = set(".".join(n.split(".")[:i]) for n in CODE for i in range(1, n.count(".") + 1))
class Piped:
    def find_spec(self, name, path=None, target=None):
        if name in CODE or name in PARENTS:
            return ModuleSpec(name, self, is_package=name in PARENTS)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        if module.__name__ in CODE:
            exec(CODE[module.__name__], module.__dict__)
sys.meta_path.insert(0, Piped())
sys.dont_write_bytecode = True
print("%(started)s", flush=True)
step = importlib.import_module("%(step)s")
from %(package)s._base.step import guarded
print("%(begin)s" + json.dumps(guarded(step.run, json.loads(base64.b64decode("%(params)s")), %(check)r)) + "%(end)s")
"""


def sources_of(step: str, given: t.Optional[t.Mapping[str, str]] = None) -> dict[str, str]:
    """Return the sources, by full name, of *step* and of every module of this package that it imports.

    The sources in *given* take the place of the collection's own.
    """
    found: dict[str, str] = {}
    waiting = [step]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = (given or {}).get(name) or _source_of(name)
            waiting += _imported(found[name])
    return found


def _source_of(name: str) -> str:
    with open(str(importlib.import_module(name).__file__), encoding="utf-8") as file:
        return file.read()


def _imported(source: str) -> list[str]:
    # Helpers are imported at the top of a file only; to parse every file would take as long as to run the step.
    names: list[str] = []
    for module, several, one in _IMPORT.findall(source):
        words = [word.split() for word in re.sub(r"#.*", "", several or one).split(",")]
        names += [module] if _is_module(module) else [f"{module}.{word[0]}" for word in words if word]
    return [PACKAGE + name for name in names]


@functools.cache
def _is_module(place: str) -> bool:
    """Return whether *place* (".redis.load") is a file; what is imported of a folder are modules themselves."""
    return os.path.isfile(FOLDER + place.replace(".", os.sep) + ".py")


def part_of(registry: types.ModuleType, names: t.Iterable[str]) -> dict[str, str]:
    """Return the source, by its full name, of a *registry* that knows no other modules than those of *names*, for a step that is piped.

    A registry is a file such as ``_checks/kinds.py`` with one dict of modules, ``KINDS``.
    """
    variable = registry.__name__.rpartition(".")[2].upper()
    chosen = {name: vars(registry)[variable][name].__name__ for name in sorted(set(names)) if name}
    imports = "".join(f"from {place.rpartition('.')[0]} import {place.rpartition('.')[2]} as {name}\n" for name, place in chosen.items())
    pairs = ", ".join(f"{name!r}: {name}" for name in chosen)
    return {registry.__name__: f"{imports}{variable} = {{{pairs}}}\n"}


def piped_script(step: str, params: t.Mapping[str, t.Any], check: bool, given: t.Optional[t.Mapping[str, str]] = None) -> str:
    """Return the source that runs *step* on a bare ``python3 -I -S`` and prints its result between two marks."""
    sources = sources_of(step, given)
    return BOOT % {
        "magic": _text_of(importlib.util.MAGIC_NUMBER),
        "compiled": _packed(marshal.dumps({name: _compiled(name, source, given) for name, source in sources.items()})),
        "sources": _packed(json.dumps(sources).encode()),
        "step": step,
        "package": PACKAGE,
        "params": _text_of(json.dumps(params).encode()),
        "check": check,
        "started": STARTED,
        "begin": BEGIN,
        "end": END,
    }


def _compiled(name: str, source: str, given: t.Optional[t.Mapping[str, str]]) -> types.CodeType:
    own = name not in (given or {})
    return code_of(name) if own else compile(source, name, "exec", dont_inherit=True)


def _packed(data: bytes) -> str:
    # Tighter compression takes longer than sending what it saves.
    return _text_of(zlib.compress(data, 1))


def _text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def result_between_marks(stdout: str) -> t.Optional[Result]:
    """Return the JSON result that a piped step printed, or None when it printed none."""
    head, begin, rest = stdout.partition(BEGIN)
    text, end, tail = rest.rpartition(END)
    if not begin or not end:
        return None
    try:
        return t.cast(Result, json.loads(text))
    except ValueError:
        return None


def broken_off(answer: t.Mapping[str, t.Any]) -> Result:
    """Return the failed result of a step that began and then died without an answer."""
    last = (str(answer.get("stderr") or "").strip().splitlines() or ["no output"])[-1]
    return {"failed": True, "changed": False, "msg": f"the step died (rc {answer.get('rc')}): {one_line(redact(last), 200)}"}


class StepAction(ActionBase):  # type: ignore[misc]
    """Base of the action plugins: validates options by the step's spec and runs the step where it belongs."""

    _supports_check_mode = True
    STEP: types.ModuleType
    # Options that only the action plugin knows; the step and the module never see them.
    CONTROLLER_SPEC: t.Mapping[str, t.Any] = {}

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        params = self.options()
        own = {name: params.pop(name) for name in self.CONTROLLER_SPEC}
        try:
            result = self.execute(self.prepare(params, own, task_vars), own, task_vars)
        except AnsibleConnectionFailure as error:
            # Ansible runs neither rescue nor always for an unreachable host; inside a run they have to.
            if not self.answers_when_lost(task_vars):
                raise
            result = lost_connection(error)
        return shown(self.finish(result, own, task_vars), self._task, task_vars)

    def answers_when_lost(self, task_vars: t.Mapping[str, t.Any]) -> bool:
        """Return whether a lost connection is this task's failure rather than the end of the host's play."""
        return run_id_of(task_vars) != "none" and not (task_vars.get("__remediation_closed") or {}).get("outcome")

    def options(self) -> dict[str, t.Any]:
        """Return the task's options, validated and plain; raises AnsibleActionFail naming the wrong one."""
        _result, params = self.validate_argument_spec({**self.STEP.ARGUMENT_SPEC, **self.CONTROLLER_SPEC})
        return t.cast(t.Dict[str, t.Any], plain(params))

    def prepare(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Add what only the controller knows (a run id, who is running). Default: nothing."""
        return params

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Run the step. Default: on the target of the task, or in this process where the step says so by ON_CONTROLLER."""
        return self.on_controller(params) if getattr(self.STEP, "ON_CONTROLLER", False) else self.on_target(params, task_vars)

    def finish(self, result: Result, own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Last word on the result (statistics, display). Default: as it is."""
        return result

    def on_controller(self, params: dict[str, t.Any]) -> Result:
        """Run the step in this process."""
        return guarded(self.STEP.run, params, self._task.check_mode)

    def on_target(self, params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Run the step on the target the cheapest way its connection allows; where we may not become root there, say what to set."""
        try:
            result = self._sent(params, task_vars)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            if not login.is_shut_out(str(error)):
                raise
            return shut_out(str(error))
        words = login.printed(result)
        return shut_out(words) if login.is_shut_out(words) else result

    def _sent(self, params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        if self._connection.transport == "local" and not self._connection.become:
            return self.on_controller(params)
        become = self._connection.become
        # ansible-core 2.18 knows of `su` alone that it cannot be piped through, and gives become plugins no such attribute.
        if self._connection.has_pipelining and (not become or getattr(become, "pipelining", become.name != "su")):
            result = self._piped(params, task_vars)
            if result is not None:
                return result
        return self._shipped(params, task_vars)

    def sources(self, params: t.Mapping[str, t.Any]) -> dict[str, str]:
        """Return sources that are piped in the place of the collection's own, since *params* needs no more. Default: its managers alone."""
        # Imported late: most tasks pipe nothing, and each has a process of its own that would import all managers.
        from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import managers

        return part_of(managers, managers.named_in(params))

    def _piped(self, params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> t.Optional[Result]:
        script = piped_script(self.STEP.__name__, params, self._task.check_mode, self.sources(params))
        # An inventory may give it as a template, which task_vars hold as it was written.
        python = str(self._templar.template(_variable(self._task, task_vars, "ansible_python_interpreter")) or "/usr/bin/python3")
        if python.startswith("auto"):
            python = "/usr/bin/python3"
        words = [python, "-I", "-S", "-c", "import sys;exec(sys.stdin.read())", "somabrain-run=" + run_id_of(task_vars)]
        answer = self._low_level_execute_command(shlex.join(words), in_data=script.encode())
        stdout = answer.get("stdout", "")
        result = result_between_marks(stdout)
        return broken_off(answer) if result is None and STARTED in stdout else result

    def _shipped(self, params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        name = "somabrain.incident_response." + self.STEP.__name__.rpartition(".")[2]
        # An option that was not given is not handed over: as None it would be held against its choices.
        given = {option: value for option, value in params.items() if value is not None}
        return t.cast(Result, self._execute_module(module_name=name, module_args=given, task_vars=task_vars))


def lost_connection(error: Exception) -> Result:
    """Return the failed result of a step whose host cannot be reached."""
    text = one_line(redact(str(error)), 300)
    reasons = [reason("unreachable", text)]
    return {"failed": True, "changed": False, "lost_connection": True, "reasons": reasons, "msg": f"unreachable: {text}"}


def shut_out(error: str) -> Result:
    """Return the failed result of a step that could not become the user that it has to run as."""
    one = reason("bad_input", one_line(redact(error), 200), case=login.case_of(error))
    return {"failed": True, "changed": False, "reasons": [one], "msg": f"{one['text'].rstrip('.')}; {one['unblock']}"}


def run_id_of(task_vars: t.Mapping[str, t.Any]) -> str:
    """Return the id of the remediation that this task belongs to, "none" outside of one."""
    opened = task_vars.get("__remediation_opened") or {}
    return str((opened.get("run") or {}).get("run_id") or "none")


def _variable(task: t.Any, task_vars: t.Mapping[str, t.Any], name: str) -> t.Any:
    """Return a connection variable of the host that this task really runs on."""
    if task.delegate_to:
        return (task_vars.get("ansible_delegated_vars") or {}).get(task.delegate_to, {}).get(name)
    return task_vars.get(name)
