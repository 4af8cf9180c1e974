# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a start command for what it would do to the data before Redis loads it: delete it, move it away, overwrite it.

Pure functions. If a path is uncertain, the name of a data file is enough: a false alarm asks a person and loses nothing.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact

REMOVERS = frozenset(["rm", "unlink", "shred", "truncate", "rmdir", "srm", "wipe"])
REPLACERS = frozenset(["mv", "cp", "install", "ln", "dd", "tee"])
ELSEWHERE = ("/tmp/", "/var/tmp/", "/dev/")  # noqa: S108 - places where no data lie
CLIENTS = frozenset(["redis-cli", "valkey-cli", "keydb-cli"])
RUNS = frozenset(["-exec", "-execdir", "-ok"])
ENDINGS = (".rdb", ".aof", ".manifest")
MOST_BYTES = 64 * 1024
_ACTS = re.compile(r"\b(%s|find|rsync)\b|>" % "|".join(sorted(REMOVERS | REPLACERS)))
_EMPTIES = re.compile(r"(?i)flush(?:all|db)")
_GLOB = re.compile(r"[*?\[]")
_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\}|\([^)]*\))|`[^`]*`|%\([^)]*\)s|%[a-zA-Z]")


def deletion_in(command: str, data_dir: str, names: t.Sequence[str]) -> str:
    """Return the part of *command* that removes or overwrites one of the data files *names* of *data_dir*, "" for none."""
    if not _ACTS.search(command):
        # Most commands only start Redis; splitting words is slow.
        return ""
    for words in _commands(command[:MOST_BYTES]):
        if _deletes(words, data_dir.rstrip("/"), names):
            return one_line(" ".join(words), 120)
    return ""


def emptying_in(command: str) -> str:
    """Return the part of *command* that empties a Redis once it runs, "" for none."""
    if not _EMPTIES.search(command):
        return ""
    found = (words for words in _commands(command[:MOST_BYTES]) if any(os.path.basename(word) in CLIENTS for word in words))
    return next((one_line(redact(" ".join(words)), 120) for words in found if any(_EMPTIES.fullmatch(word) for word in words)), "")


def data_names(settings: t.Mapping[str, t.Any]) -> list[str]:
    """Return the names, in the data directory, of what a start with *settings* loads; of all kinds if they do not say."""
    aof = [str(settings.get("appenddirname") or "appendonlydir"), str(settings.get("appendfilename") or "appendonly.aof")]
    dump = [str(settings.get("dbfilename") or "dump.rdb")]
    return {"yes": aof, "no": dump}.get(str(settings.get("appendonly") or "").lower(), dump + aof)


def _commands(text: str) -> t.Iterator[list[str]]:
    """Yield the simple commands of a shell text, their words as paths below the directory that the command runs in."""
    for folder, words in commands_of(text):
        yield [_under(folder, word) if index else word for index, word in enumerate(words)]


def commands_of(text: str, depth: int = 0, folder: str = "") -> t.Iterator[tuple[str, list[str]]]:
    """Yield (directory that ``cd`` led to, words) of the simple commands of a shell text, including those in quoted words."""
    for words in _split(text):
        if len(words) > 1 and words[0] == "cd":
            folder = os.path.join(folder, words[1])
        yield folder, words
        # A quoted word may be a command for another shell.
        for word in words:
            if depth < 3 and re.search(r"\s", word):
                yield from commands_of(word, depth + 1, folder)


def _under(folder: str, word: str) -> str:
    return os.path.join(folder, word) if folder and not word.startswith(("/", "-", "$", "<", ">", "~")) else word


def _split(text: str) -> t.Iterator[list[str]]:
    words: list[str] = []
    for token in _tokens(text):
        if token and not token.strip(";&|(){}\n"):
            if words:
                yield words
            words = []
        else:
            words.append(token)
    if words:
        yield words


def _tokens(text: str) -> list[str]:
    """Return words and operators; a line that no shell would accept is split at spaces."""
    found: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            found += [*lexer, "\n"]
        except ValueError:
            found += [*re.findall(r"[;&|<>]+|[^\s;&|<>]+", line.replace("'", " ").replace('"', " ")), "\n"]
    return found


def _deletes(words: list[str], data_dir: str, names: t.Sequence[str]) -> bool:
    return any(_deletes_from(words[index], words[index + 1 :], data_dir, names) for index in range(len(words)))


def _deletes_from(word: str, after: list[str], data_dir: str, names: t.Sequence[str]) -> bool:
    """Return whether *word*, taken as a redirection or a program, deletes or overwrites data that the words *after* it name."""
    if word in (">", ">|", "&>"):
        return _is_data(after[:1], data_dir, names)
    verb, paths = os.path.basename(word), [one for one in after if not one.startswith("-")]
    if verb in REMOVERS:
        return _is_data(paths, data_dir, names) or _holds_data(paths, data_dir)
    if verb in REPLACERS:
        return _is_data([one.partition("of=")[2] or one for one in paths], data_dir, names)
    if verb == "rsync" and any(one.startswith("--del") for one in after):
        return _holds_data(paths[-1:], data_dir)
    return verb == "find" and _finds_data(after, data_dir, names)


def _is_data(paths: t.Iterable[str], data_dir: str, names: t.Sequence[str]) -> bool:
    """Return whether one of *paths* is or may be a data file; its folder may be a variable, or have another name in a container."""
    return any(_is_one(path, data_dir, names) for path in paths)


def _is_one(path: str, data_dir: str, names: t.Sequence[str]) -> bool:
    folder, name = os.path.split(os.path.normpath(_plain(path)))
    if not any(_same(part, wanted) for wanted in names for part in (name, os.path.basename(folder))):
        return False
    # A bare star matches a data file only in a directory that may hold data.
    if _GLOB.match(name) and "." not in name:
        return _may_be(folder, data_dir) or os.path.basename(folder) in names
    return not (folder + "/").startswith(ELSEWHERE) or _may_be(folder, data_dir)


def _same(name: str, wanted: str) -> bool:
    return name == wanted or (bool(_GLOB.search(name)) and fnmatch.fnmatchcase(wanted, name))


def _holds_data(paths: t.Iterable[str], data_dir: str) -> bool:
    """Return whether one of *paths* is the data directory, or one above it."""
    plain = [os.path.normpath(_plain(path)) for path in paths]
    return bool(data_dir) and any(path == data_dir or data_dir.startswith(path.rstrip("/") + "/") for path in plain if path.startswith("/"))


def _finds_data(words: list[str], data_dir: str, names: t.Sequence[str]) -> bool:
    """Return whether the arguments *words* of find delete data files."""
    folder = words[0] if words and not words[0].startswith("-") else "."
    return _find_removes(words) and _find_hits(words, names) and _may_be(os.path.normpath(_plain(folder)), data_dir)


def _find_removes(words: t.Sequence[str]) -> bool:
    return "-delete" in words or (not RUNS.isdisjoint(words) and not REMOVERS.isdisjoint(words))


def _find_hits(words: t.Sequence[str], names: t.Sequence[str]) -> bool:
    """Return whether the names that find looks for, all where it names none, may be of data files."""
    wanted = [after for word, after in zip(words, words[1:]) if word in ("-name", "-iname")]
    return not wanted or any(_same(pattern, name) or pattern.endswith(ENDINGS) for pattern in wanted for name in names)


def _may_be(folder: str, data_dir: str) -> bool:
    """Return whether *folder* is, or may be, the data directory or one above it; a container gives it another name."""
    if not data_dir or not folder.startswith("/"):
        return True
    return (data_dir + "/").startswith(folder.rstrip("/") + "/") or os.path.basename(folder) == "data"


def _plain(path: str) -> str:
    return _VARIABLE.sub("", path) or path
