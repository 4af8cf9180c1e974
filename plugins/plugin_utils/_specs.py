# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles declare about their variables (meta/argument_specs.yml), and what is wrong with values that were given to them.

Ansible validates a variable and leaves it as it was: ``-e x=false`` stays text, which counts as true. So text is only accepted for
what is converted wherever it is used; the rest is refused by name. An option whose description has the sentence MARK is free text.
"""

from __future__ import annotations

import functools
import math
import os
import re
import typing as t

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import in_url, one_line, redact

ROLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "roles")
MARK = "Free text, never templated."
TEMPLATE = ("{{", "{%", "{#")
# Ansible's filter `bool` and its validation agree on these words alone.
BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")
_TEMPLATED_CREDENTIALS = re.compile(r"://[^\s/@]*\{\{[^@]*\}\}[^\s/@]*@")
SECRET = re.compile(r"password|token|secret|approval")
Options = t.Mapping[str, t.Any]
Vars = t.Mapping[str, t.Any]


@functools.cache
def options_of(role: str) -> dict[str, t.Any]:
    """Return the options of a role's main entry point, by the role's directory or by the name of one of ours; {} where it declares none."""
    path = os.path.join(role if os.path.isabs(role) else os.path.join(ROLES, role), "meta", "argument_specs.yml")
    try:
        with open(path, encoding="utf-8") as file:
            loaded = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        return dict(loaded["argument_specs"]["main"].get("options") or {})
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return {}


@functools.cache
def all_options() -> dict[str, t.Any]:
    """Return the options of all roles of this collection; the names say of which."""
    names = sorted(name for name in os.listdir(ROLES) if os.path.isdir(os.path.join(ROLES, name)))
    return {name: option for role in names for name, option in options_of(role).items()}


def is_free_text(option: Options) -> bool:
    """Return whether an option is declared as free text."""
    told = option.get("description") or ""
    return MARK in (" ".join(map(str, told)) if isinstance(told, (list, tuple)) else str(told))


def free_texts(options: Options) -> list[str]:
    """Return the names of the options that are free text themselves."""
    return [name for name, option in options.items() if is_free_text(option)]


def texts_in(value: t.Any, option: Options) -> t.Iterator[str]:
    """Yield the free texts in the value of an option, those of its suboptions included."""
    if is_free_text(option):
        yield str(value)
    for one in value if isinstance(value, (list, tuple)) else [value]:
        for key, inner in (option.get("options") or {}).items() if isinstance(one, t.Mapping) else ():
            if one.get(key) is not None:
                yield from texts_in(one[key], inner)


def has_template(value: t.Any) -> bool:
    """Return whether any text in *value* has a template marker."""
    if isinstance(value, t.Mapping):
        return any(has_template(one) for pair in value.items() for one in pair)
    if isinstance(value, (list, tuple)):
        return any(map(has_template, value))
    return isinstance(value, str) and any(mark in value for mark in TEMPLATE)


def template_in(given: Vars, options: Options) -> list[tuple[str, str]]:
    """Return (name, text) of each free text among *given* that has template markers."""
    texts = [(name, text) for name, option in options.items() if given.get(name) is not None for text in texts_in(given[name], option)]
    return [(name, text) for name, text in texts if has_template(text)]


def wrong_values(given: Vars, options: Options) -> list[tuple[str, str]]:
    """Return (name, what is wrong) of each variable among *given* whose value is not what its option declares.

    A value with a template is not judged here: what it gives is known only where it is used.
    """
    judged = [(name, _judge(name, given[name], option)) for name, option in options.items() if name in given]
    return [(name, text) for name, text in judged if text]


def _judge(name: str, value: t.Any, option: Options) -> str:
    kind = option.get("type") or "str"
    if not is_free_text(option) and _has_credentials(value):
        return "%s has credentials in a URL, which would be shown and stored; write it without them%s" % (name, _instead_of(name))
    if has_template(value) or is_free_text(option) or (value is None and kind != "bool"):
        return ""
    shape = _judge_shape(value, kind)
    if shape:
        return "%s is %s; %s" % (name, _shown(name, value), shape.replace("NAME", name))
    return _judge_as_ansible(name, plain(value), option)


def _judge_shape(value: t.Any, kind: str) -> str:
    """Return how a value has to be written that is of another shape than its type, "" where the shape is right."""
    if kind == "bool":
        return "" if str(value).lower() in BOOLEANS else "write true or false"
    if isinstance(value, bool) and kind not in ("raw", "list", "dict"):
        return "a boolean does not fit there; put text in quotes"
    if kind in ("str", "path") and isinstance(value, (t.Mapping, list, tuple)):
        return "write plain text"
    if kind in ("list", "dict") and not isinstance(value, (t.Mapping if kind == "dict" else (list, tuple))):
        return "write a %s, with -e as JSON: -e '{\"NAME\": %s}'" % (("mapping", "{...}") if kind == "dict" else ("list", "[...]"))
    if kind in ("int", "float"):
        return _judge_number(value, kind)
    return ""


def _judge_number(value: t.Any, kind: str) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "write a number"
    if not math.isfinite(number):
        return "write a finite number"
    return "write a whole number" if kind == "int" and number != int(number) else ""


def _judge_as_ansible(name: str, value: t.Any, option: Options) -> str:
    errors = ArgumentSpecValidator({name: dict(option)}).validate({name: value}).error_messages
    return "%s: %s" % (name, one_line(redact(str(errors[0])), 300)) if errors else ""


def _has_credentials(value: t.Any) -> bool:
    if isinstance(value, t.Mapping):
        return any(map(_has_credentials, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_credentials, value))
    return isinstance(value, str) and (in_url(value) or _TEMPLATED_CREDENTIALS.search(value) is not None)


def _instead_of(name: str) -> str:
    """Return which variables of the same role take a file with the credentials instead, or a user and a password."""
    roles = sorted((role for role in os.listdir(ROLES) if name.startswith(role + "_")), key=len)
    ends = ("_token_file", "_password_file", "_username", "_password")
    others = [other for role in roles[-1:] for other in options_of(role) if other.endswith(ends)]
    return " and use %s" % ", ".join(others) if others else ""


def _shown(name: str, value: t.Any) -> str:
    return "not what it should be" if SECRET.search(name) else one_line(redact(repr(plain(value))), 60)
