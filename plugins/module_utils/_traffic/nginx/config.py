# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse what ``nginx -T`` prints: files, server blocks, what they include and where they pass requests to. Pure."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx import variables
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.variables import Directive

_FILE = re.compile(r"^# configuration file (/.*):$", re.MULTILINE)
# A brace after a dollar, and any closing one but the first, are part of a word.
_TOKEN = re.compile(
    r"\s+|#[^\n]*|(?P<mark>[;{}])"
    r"|\"(?P<double>(?:[^\"\\]|\\.)*)\"|'(?P<single>(?:[^'\\]|\\.)*)'"
    r"|(?P<word>(?:\$\{|\\.|[^\s;{}\"'#\\])(?:\$\{|\\.|[^\s;{\\])*)",
    re.DOTALL,
)
_PASSES = ("proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass")
# Stops includes that include themselves; nginx would have rejected them.
_DEEPEST = 20
# No directive of nginx has this name.
_UNREAD = ""

Files = t.Dict[str, t.List[Directive]]


def parse_dump(text: str) -> Files:
    """Return the directives of each file of the configuration by its path, the main one first; raises ValueError without any."""
    parts = _FILE.split(text)
    if len(parts) < 3:
        raise ValueError("nginx -T names no file")
    return {path: _directives_or_mark(content) for path, content in zip(parts[1::2], parts[2::2])}


def _directives_or_mark(text: str) -> list[Directive]:
    """Return the directives of a file; a block that only a module of nginx can parse (Lua) becomes a mark, not an error."""
    try:
        return parse_directives(text)
    except ValueError:
        return [Directive(_UNREAD, (), None)]


def parse_directives(text: str) -> list[Directive]:
    """Return the directives of one file; raises ValueError if braces, quotes or ends do not match."""
    stack: list[list[Directive]] = [[]]
    words: list[str] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            raise ValueError("a quote is not closed")
        position = found.end()
        mark = found.group("mark")
        if mark:
            _end_words(stack, words, mark)
            words = []
        words += [found.group(kind) for kind in ("double", "single", "word") if found.group(kind) is not None]
    if len(stack) != 1 or words:
        raise ValueError("a block or directive is not closed")
    return stack[0]


def _end_words(stack: list[list[Directive]], words: list[str], mark: str) -> None:
    """Read the *words* before a ``;``, ``{`` or ``}`` as a directive."""
    if mark == "}":
        if words or len(stack) == 1:
            raise ValueError("a brace closes nothing")
        stack.pop()
    elif not words:
        raise ValueError("a %s without a name" % mark)
    else:
        block: t.Optional[list[t.Any]] = [] if mark == "{" else None
        stack[-1].append(Directive(words[0], tuple(words[1:]), block))
        if block is not None:
            stack.append(block)


def included(files: Files, pattern: str) -> list[str]:
    """Return the paths of *files* that ``include PATTERN`` takes in; a relative one begins beside the main file."""
    whole = os.path.join(os.path.dirname(next(iter(files))), pattern)
    glob = "".join(_as_regex(part) for part in re.split(r"([*?]|\[[^\]/]+\])", whole))
    return [path for path in files if re.fullmatch(glob, path)]


def _as_regex(part: str) -> str:
    if part in ("*", "?"):
        return {"*": "[^/]*", "?": "[^/]"}[part]
    return "[%s]" % part[1:-1].replace("\\", "\\\\").replace("!", "^", 1) if re.fullmatch(r"\[.+\]", part) else re.escape(part)


def flat(files: Files, directives: t.Iterable[Directive], depth: int = 0) -> t.Iterator[Directive]:
    """Yield *directives*, after each ``include`` also those of its files; blocks stay closed."""
    for one in directives:
        yield one
        if one.name == "include" and one.words and depth < _DEEPEST:
            for path in included(files, one.words[0]):
                yield from flat(files, files[path], depth + 1)


def deep(files: Files, directives: t.Iterable[Directive], depth: int = 0) -> t.Iterator[Directive]:
    """Yield *directives* and all that is in their blocks."""
    for one in flat(files, directives, depth):
        yield one
        if one.block and depth < _DEEPEST:
            yield from deep(files, one.block, depth + 1)


def servers(files: Files) -> list[Directive]:
    """Return the server blocks of ``http``."""
    main = flat(files, next(iter(files.values())))
    return [one for http in main if http.name == "http" for one in flat(files, http.block or ()) if one.name == "server"]


def error_logs(files: Files) -> list[str]:
    """Return the files into which errors are written, in any block; those of a relative path are left out."""
    named = [one.words[0] for one in deep(files, next(iter(files.values()))) if one.name == "error_log" and one.words]
    return [path for path in named if path.startswith("/") and path != os.devnull]


def passes(files: Files, server: Directive) -> list[str]:
    """Return where a server block passes requests to, in the words of the configuration."""
    return [one.words[0] for one in deep(files, server.block or ()) if one.name in _PASSES and one.words]


def takes_in(files: Files, server: Directive, path: str) -> bool:
    """Return whether a server block itself, in no location of its own, includes the file *path*."""
    return any(one.name == "include" and one.words and path in included(files, one.words[0]) for one in flat(files, server.block or ()))


def switch_missing(files: Files, pool: str, path: str) -> str:
    """Return why the switch at *path* does not close *pool*, "" if each server block that passes requests to it has the switch.

    A block that may pass requests to it, by a variable that cannot be followed, counts as one that does.
    """
    unread = [name for name, directives in files.items() if any(one.name == _UNREAD for one in directives)]
    if unread:
        return "%s does not parse, so its effect is unknown" % one_line(unread[0], 80)
    every = servers(files)
    inside = [server for server in every if takes_in(files, server, path)]
    if not inside:
        return "no server block includes %s" % one_line(path, 80)
    values = variables.values_of(deep(files, next(iter(files.values()))))
    found = [_passed_by(files, server, pool, path, values) for server in every if server not in inside]
    found += [*(_bypassed(files, server, path) for server in inside), _open_to_all(values)]
    if not any(variables.reaches(target, pool, values) is not False for server in every for target in passes(files, server)):
        found.append("no server block passes requests to %s" % pool)
    return next(filter(None, found), "")


def _passed_by(files: Files, server: Directive, pool: str, path: str, values: variables.Values) -> str:
    """Return how a server block without the switch reaches the pool, "" if it does not."""
    reached = {target: variables.reaches(target, pool, values) for target in passes(files, server)}
    if any(reached.values()):
        return "the server block of %s passes requests to %s, but does not include %s" % (_title(server), pool, one_line(path, 80))
    for target, sure in reached.items():
        if sure is None:
            told = (_title(server), one_line(target, 60), pool, one_line(path, 80))
            return "the server block of %s passes requests to %s, which may be %s, but does not include %s" % told
    return ""


def _bypassed(files: Files, server: Directive, path: str) -> str:
    """Return what ends the rewriting of a request before the switch is asked, "" for nothing."""
    handled = {word for one in deep(files, server.block or ()) if one.name == "error_page" for word in one.words}
    for one in flat(files, server.block or ()):
        if one.name == "include" and one.words and path in included(files, one.words[0]):
            return ""
        inner = [one, *deep(files, one.block or ())] if one.name == "if" else [one]
        early = [two.name for two in inner if _ends_rewriting(two, handled)]
        if early:
            return "the server block of %s includes %s only after a '%s': it has to be first" % (
                _title(server), one_line(path, 80), early[0],
            )  # fmt: skip
    return ""


def _ends_rewriting(one: Directive, handled: t.AbstractSet[str]) -> bool:
    """Return whether a directive sends a request on to a location: by its own flag, or by an error page of its status."""
    if one.name == "return":
        return bool(one.words) and one.words[0] in handled
    return one.name == "break" or (one.name == "rewrite" and one.words[2:3] in (("last",), ("break",)))


def _open_to_all(values: variables.Values) -> str:
    """Return which variable of the switch lets everybody through, "" for none."""
    for name in ("somabrain_operator", "somabrain_let_through"):
        if name in values and values[name].default not in ("0", None):
            return "$%s is '%s' by default, so the switch keeps nobody out; its default has to be 0" % (name, values[name].default)
    return ""


def _title(server: Directive) -> str:
    told = [word for name in ("server_name", "listen") for one in server.block or () if one.name == name for word in one.words[:1]]
    return one_line(told[0], 60) if told else "no name"
