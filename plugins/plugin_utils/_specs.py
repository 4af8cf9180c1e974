# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles declare about their variables (meta/argument_specs.yml), and what is wrong with values that were given to them.

Ansible validates a variable and leaves it as it was: ``-e x=false`` stays text, which counts as true. So text is only accepted for
what is converted wherever it is used; the rest is refused by name. An option whose description has the sentence MARK is free text.
"""

from __future__ import annotations

import difflib
import functools
import math
import os
import re
import typing as t

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import in_url, one_line, redact
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _nested

ROLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "roles")
MARK = "Free text, never templated."
TEMPLATE = ("{{", "{%", "{#")
# Ansible's filter `bool` and its validation agree on these words alone.
BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")
_TEMPLATED_CREDENTIALS = re.compile(r"://[^\s/@]*\{\{[^@]*\}\}[^\s/@]*@")
# Variables of playbooks that are of no role.
PLAYBOOKS: dict[str, t.Any] = {
    "recover_all_services": {"type": "list", "elements": "dict"},
    **{
        name: {"type": "str"}
        for name in ("recover_all_hosts", "recover_redis_hosts", "recover_database_hosts", "restart_service_hosts", "triage_hosts")
    },
}
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


def known_options() -> dict[str, t.Any]:
    """Return the options of all roles, and those of playbooks that are of no role."""
    return {**all_options(), **PLAYBOOKS}


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
    if is_free_text(option) or (value is None and kind != "bool") or _is_template(value):
        return ""
    shape = _judge_shape(value, kind) or ("" if kind == "bool" else _nested.out_of_range([name], value))
    if shape:
        return "%s is %s; %s" % (name, _shown(name, value), shape.replace("NAME", name))
    return next(_inside([name], value, option), "") or ("" if has_template(value) else _judge_as_ansible(name, plain(value), option))


def _is_template(value: t.Any) -> bool:
    return isinstance(value, str) and has_template(value)


def _inside(path: list[str], value: t.Any, option: Options) -> t.Iterator[str]:
    """Yield what is wrong inside of a mapping, or of the mappings of a list."""
    if not isinstance(value, (list, tuple)):
        if isinstance(value, t.Mapping) and (value or option.get("options")):
            yield from _inside_mapping(path, value, _keys_at(path, option))
        return
    for number, one in enumerate(value):
        here = [*path[:-1], "%s[%d]" % (path[-1], number)]
        if len(path) == 1 and _nested.CHECKS.match(path[0]):
            yield from _inside_check(here, one)
        elif isinstance(one, t.Mapping):
            yield from _inside_mapping(here, one, _keys_at(path, option))
            yield from _answerless(here, one) if path[-1].endswith("_answers") else ()
        elif option.get("elements") == "dict" and not _is_template(one):
            yield "%s is %s; write a mapping" % (".".join(here), _shown(path[-1], one))


def _keys_at(path: list[str], option: Options) -> t.Optional[Options]:
    return option.get("options") if len(path) > 1 else _nested.keys_of(path[0], option)


def _inside_check(path: list[str], check: t.Any) -> t.Iterator[str]:
    if _is_template(check) or (isinstance(check, t.Mapping) and _is_template(check.get("kind"))):
        return
    if not isinstance(check, t.Mapping):
        yield "%s is %s; write a mapping such as {kind: tcp, host: ..., port: ...}" % (path[0], _shown(path[0], check))
        return
    keys = _nested.check_keys(check)
    if keys is None:
        yield "%s.kind is %s; choose one of %s" % (path[0], one_line(repr(check.get("kind")), 40), ", ".join(_nested.kinds()))
        return
    yield from _inside_mapping(path, check, keys)


def _inside_mapping(path: list[str], value: t.Mapping[str, t.Any], keys: t.Optional[Options]) -> t.Iterator[str]:
    if not keys:
        return
    where = ".".join(path)
    for key in value:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, 1, 0.7)
            told = "did you mean %s?" % near[0] if near else "it may have %s" % ", ".join(sorted(keys))
            yield "%s has no key %s; %s" % (where, one_line(key, 60), told)
    for key, rule in keys.items():
        if value.get(key) is None:
            yield from ["%s.%s is missing" % (where, key)] if rule.get("required") else ()
        elif not _is_template(value[key]):
            yield from _inside_value([*path, key], value[key], rule)


def _inside_value(path: list[str], value: t.Any, rule: Options) -> t.Iterator[str]:
    kind = rule.get("type") or "str"
    wrong = "" if has_template(value) else _judge_shape(value, kind) or _nested.out_of_range(path, value)
    if not wrong and kind == "str" and isinstance(value, float):
        wrong = "put text in quotes, exactly as it has to be"
    if not wrong and rule.get("choices") and kind == "str" and value not in rule["choices"]:
        wrong = "choose one of %s" % ", ".join(map(str, rule["choices"]))
    if wrong:
        yield "%s is %s; %s" % (".".join(path), _shown(path[-1], value), wrong.replace("NAME", path[0]))
    elif rule.get("options"):
        yield from _inside(path, value, rule)


def _answerless(path: list[str], answer: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Yield that a known answer has no answer: it would differ from any."""
    if answer.get("expect") is None and not answer.get("sha256"):
        yield "%s has neither expect nor sha256, so its answer is not known" % ".".join(path)


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
