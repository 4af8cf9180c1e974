# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates: what a field of a JSON answer must be. One shape wherever a role judges an API, SomaBrain's or any other.

A gate is ``{path, equals | one_of | min | max, required, when}``: ``path`` is dotted, ``*`` stands for every key
of a dictionary, ``when`` names a field that must be true for the gate to count. Pure judgement, no input or output.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

# The options of a check that judges an answer by gates.
OPTIONS: dict[str, t.Any] = {
    "gates": {"type": "list", "elements": "dict", "default": []},
    "ignore_gates": {"type": "list", "elements": "str", "default": []},
}
KEYS = ("path", "equals", "one_of", "min", "max", "required", "when")
CRITERIA = ("equals", "one_of", "min", "max")


def problems_of(gates: t.Sequence[t.Any]) -> list[str]:
    """Return a sentence for each of *gates* that cannot be judged: a gate that never counts would make an answer well."""
    return [f"gates[{index}] {problem}" for index, gate in enumerate(gates) for problem in [_problem_of(gate)] if problem]


def _problem_of(gate: t.Any) -> str:
    if not isinstance(gate, t.Mapping):
        return "is not a dictionary: write it as {path: status, equals: green}"
    unknown = [one_line(key, 40) for key in gate if key not in KEYS]
    if unknown:
        return f"has the unknown key '{unknown[0]}': choose from {', '.join(KEYS)}"
    if not isinstance(gate.get("path"), str) or not gate["path"].strip("."):
        return "names no path, such as status or components.db.status"
    return _problem_of_criterion(gate)


def _problem_of_criterion(gate: t.Mapping[str, t.Any]) -> str:
    given = [key for key in CRITERIA if key in gate and (gate[key] is not None or key == "equals")]
    if not given:
        return "says nothing of the value: add equals, one_of, min or max"
    if len(given) > 1 and set(given) != {"min", "max"}:
        return f"has {' and '.join(given)}: use one of them"
    return next((f"needs {wanted} as {key}" for key, wanted in _wrong_of(gate, given)), "")


def _wrong_of(gate: t.Mapping[str, t.Any], given: t.Sequence[str]) -> t.Iterator[tuple[str, str]]:
    if "one_of" in given and not (isinstance(gate["one_of"], (list, tuple)) and gate["one_of"]):
        yield "one_of", "a list of values"
    for key in ("min", "max"):
        if key in given and (isinstance(gate[key], bool) or not isinstance(gate[key], (int, float))):
            yield key, "a number"
    for key, kind, wanted in (("required", bool, "true or false"), ("when", str, "the path of a field")):
        if not isinstance(gate.get(key, kind()), kind):
            yield key, wanted
