# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which upstream a ``proxy_pass`` reaches whose words contain variables: known, not this one, or not to be followed. Pure."""

from __future__ import annotations

import itertools
import re
import typing as t


class Directive(t.NamedTuple):
    """A name with its arguments, and what is in its braces (None without)."""

    name: str
    words: t.Tuple[str, ...]
    block: t.Optional[t.List[t.Any]]


class Known(t.NamedTuple):
    """What a variable may be, with variables in it; and its default (None: it has none of its own)."""

    texts: t.List[str]
    default: t.Optional[str]


Values = t.Dict[str, Known]
# Stands for text that only a request can give.
ANY = "\0"
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_CAPTURE = re.compile(r"\(\?P?[<']([A-Za-z_][A-Za-z0-9_]*)[>']")
# What nginx itself knows of every request; a path begins with a slash.
_OWN = {"scheme": ["http", "https"], "request_uri": ["/"], "uri": ["/"], "document_uri": ["/"], "is_args": ["?"]}
_TABLES = ("map", "geo", "split_clients")
# Words in such a table that are no values.
_NO_VALUES = {"map": ("hostnames", "volatile", "include"), "geo": ("ranges", "delete", "proxy", "proxy_recursive", "include")}
_MOST, _DEEPEST = 500, 8


def values_of(directives: t.Iterable[Directive]) -> Values:
    """Return what each variable may be, by all *directives* of a configuration, those in blocks included."""
    found: Values = {}
    for one in directives:
        if one.name == "set" and len(one.words) == 2:
            _add(found, one.words[0], [one.words[1]], None)
        elif one.name in _TABLES and one.words and one.block is not None:
            _add_table(found, one)
        elif one.name.endswith("_set") or one.name.startswith("set_") or one.name == "keyval":
            # Other modules set what they find out themselves.
            for word in one.words:
                _add(found, word, [ANY], None)
        for word in (one.name, *one.words):
            for name in _CAPTURE.findall(word):
                _add(found, "$" + name, [ANY], None)
    return found


def _add(found: Values, name: str, texts: t.Sequence[str], default: t.Optional[str]) -> None:
    if name.startswith("$"):
        known = found.get(name[1:], Known([], None))
        found[name[1:]] = Known([*known.texts, *texts], known.default if default is None else default)


def _add_table(found: Values, table: Directive) -> None:
    """Add the values of one map, geo or split_clients; without a default it is empty for what it does not list."""
    skipped = _NO_VALUES.get(table.name, ())
    rows = [one for one in table.block or () if one.words and one.name not in skipped]
    listed = any(one.name == "include" for one in table.block or ())
    default = next((one.words[0] for one in rows if one.name in ("default", "0.0.0.0/0", "::/0")), None)
    own = default if default is not None else (None if listed or table.name == "split_clients" else "")
    _add(found, table.words[-1], [one.words[0] for one in rows] + ([ANY] if listed else [own or ""]), own)


def expanded(text: str, values: Values, depth: int = 0) -> list[str]:
    """Return what *text* may be, with ANY for each part that cannot be known."""
    parts: list[list[str]] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        parts += [[text[at : found.start()]], _of_variable(found[1] or found[2], values, depth)]
        at = found.end()
    parts.append([text[at:]])
    many = 1
    for part in parts:
        many *= len(part)
    return sorted({"".join(one) for one in itertools.product(*parts)}) if many <= _MOST else [ANY]


def _of_variable(name: str, values: Values, depth: int) -> list[str]:
    if name in _OWN:
        return _OWN[name]
    if name not in values or depth >= _DEEPEST:
        return [ANY]
    return sorted({one for text in values[name].texts for one in expanded(text, values, depth + 1)})[:_MOST] or [ANY]


def reaches(target: str, pool: str, values: Values) -> t.Optional[bool]:
    """Return whether requests to *target* reach the upstream *pool*, None if that depends on what cannot be followed.

    nginx compares the names of upstreams without regard to capitals.
    """
    doubt = False
    for text in expanded(target, values):
        place = re.sub(r"^[a-z]+://", "", text.lower())
        known = re.match(r"[^/?#:\0]*", place)
        host = known[0] if known else ""
        if place[len(host) :].startswith(ANY):
            doubt = doubt or pool.lower().startswith(host)
        elif host == pool.lower():
            return True
    return None if doubt else False
