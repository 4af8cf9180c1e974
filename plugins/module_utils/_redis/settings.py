# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next start of a Redis would use: its file with all includes, then the arguments of its start command. The last one wins.

Each setting comes with its origin, so that a person can find it and an act can judge whether to believe it. Read only; never raises.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.process import read_start
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.start import commands_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.values import is_unbalanced, wrong_value

SERVERS = frozenset(["redis-server", "valkey-server", "keydb-server", "redis-stack-server"])
ARGUMENT, WORKDIR = "the start command", "the working directory of the service"
# What decides about data, address and start. Everything else in the file is no concern of ours.
WORDS = frozenset([
    "dir", "dbfilename", "appendonly", "appendfilename", "appenddirname", "appendfsync", "aof-use-rdb-preamble", "port", "unixsocket",
    "logfile", "pidfile", "replicaof", "slaveof", "maxmemory", "requirepass", "masterauth", "loadmodule", "user", "aclfile", "bind",
    "repl-diskless-sync", "repl-diskless-sync-delay", "auto-aof-rewrite-percentage", "loglevel",
    "maxmemory-policy",
])  # fmt: skip
# Never kept, only that there is one.
SECRETS = frozenset(["requirepass", "masterauth", "user"])
DEFAULTS = {"dbfilename": "dump.rdb", "appendonly": "no", "appendfsync": "everysec", "save": "3600 1 300 100 60 10000"}
MOST_BYTES, MOST_FILES, MOST_DEPTH = 1024 * 1024, 100, 16

Origins = t.Dict[str, t.Dict[str, str]]


class Effective(t.NamedTuple):
    """``settings`` by name; of each its origin {where, file}; the ``files`` read; ``problems`` that would end the start; ``known``.

    ``doubts``: what the start command takes settings from and cannot be read before it runs.
    """

    settings: t.Dict[str, t.Any]
    origins: Origins
    files: t.List[str]
    problems: t.List[str]
    known: bool
    doubts: t.Sequence[str] = ()


class _Reader:
    """Applies lines as Redis does, one after the other. ``dir`` takes effect at once, also on the includes below it."""

    def __init__(self, folder: str, root: str) -> None:
        self.folder, self.root = folder, root
        self.settings: t.Dict[str, t.Any] = {}
        self.origins: Origins = {}
        self.saves: t.List[str] = []
        self.files: t.List[str] = []
        self.problems: t.List[str] = []

    def file(self, path: str, asked_by: str = "", depth: int = 0) -> bool:
        """Apply a configuration file; return whether it could be read."""
        seen = self.root + os.path.join(self.folder or "/", path)
        if depth > MOST_DEPTH or len(self.files) >= MOST_FILES:
            self.problems.append("its configuration includes itself")
            return False
        if not self._is_there(seen):
            if asked_by:
                self.problems.append("%s includes %s, which does not exist" % (asked_by, one_line(path, 120)))
            return False
        self.files.append(seen)
        for number, line in enumerate(read_start(seen, MOST_BYTES).decode("utf-8", "replace").splitlines(), 1):
            words, where = _words(line), "%s:%d" % (one_line(path, 120), number)
            self._judge(line.strip(), words, where)
            if words and words[0].lower() == "include" and len(words) == 2:
                self.include(words[1], where, depth)
            elif words:
                self.apply(words[0].lower(), words[1:], where, seen)
        return True

    def _judge(self, line: str, words: t.Sequence[str], where: str) -> None:
        """Note what Redis would refuse in a line, and with it its start."""
        why = "its quotes do not close" if line[:1] != "#" and is_unbalanced(line) else ""
        why = why or (wrong_value(words[0].lower(), words[1:]) if words else "")
        self.problems += ["%s: %s" % (where, why)] if why else []

    def _is_there(self, path: str) -> bool:
        return os.path.isfile(path) and os.access(path, os.R_OK)

    def include(self, pattern: str, asked_by: str, depth: int) -> None:
        """Apply what an ``include`` names. A pattern that matches nothing is no error, a plain name that is missing is."""
        if not re.search(r"[*?\[]", pattern):
            self.file(pattern, asked_by, depth + 1)
            return
        base = self.root + os.path.join(self.folder or "/", pattern)
        for path in sorted(glob.glob(base)):
            self.file(path[len(self.root) :], asked_by, depth + 1)

    def apply(self, name: str, values: t.List[str], where: str, file: str) -> None:
        if name == "save":
            self.saves = self.saves + [" ".join(values)] if values and values[0] else [""]
            self.settings["save"] = " ".join(one for one in self.saves if one)
        elif name in WORDS and values:
            # Redis forgets the master again with "no one" and the like; what decides is that the line is there.
            self.settings[name] = self._value(name, values)
        else:
            return
        self.origins[name] = {"where": where, "file": file}
        if name == "dir" and values:
            self.folder = os.path.normpath(os.path.join(self.folder, values[0])) if self.folder or values[0].startswith("/") else ""
            self.settings["dir"] = self.folder or values[0]

    def _value(self, name: str, values: t.Sequence[str]) -> str:
        if name in SECRETS:
            return "***"
        if name == "loadmodule":
            return (str(self.settings.get("loadmodule") or "") + " " + values[0]).strip()
        return " ".join(values) if name in ("bind", "replicaof", "slaveof") else values[0]


def _words(line: str) -> t.List[str]:
    try:
        return [] if line.lstrip().startswith("#") else shlex.split(line)
    except ValueError:
        return []


def invocation_of(start_text: str) -> t.Optional[t.Tuple[str, t.List[str]]]:
    """Return (directory that a ``cd`` led to, words after the program) of the last command that starts a Redis server, None for none."""
    found, outer = None, None
    for folder, words in commands_of(start_text):
        # A script hands on the words that it was started with.
        outer = words[1:] if outer is None else outer
        at = next((index for index, word in enumerate(words) if os.path.basename(word) in SERVERS and not word.startswith("-")), None)
        if at is not None:
            found = (folder, [one for word in words[at + 1 :] for one in (outer if word in ("$@", "$*") else [word])])
    return found


def program_folder(start_text: str) -> str:
    """Return the directory of the server that a start text starts by its path, "" where it does not say."""
    named = [word for _folder, words in commands_of(start_text) for word in words if os.path.basename(word) in SERVERS]
    return next((os.path.dirname(word) for word in named if word.startswith("/")), "")


def split_invocation(words: t.Sequence[str]) -> t.Tuple[str, t.List[t.Tuple[str, t.List[str]]]]:
    """Return (the configuration file that the arguments name, "" for none; the settings that they set, in their order)."""
    plain = [word for word in words if word not in ("&", ">", ">>", "<", "2")]
    file = plain[0] if plain and not plain[0].startswith("-") else ""
    options: t.List[t.Tuple[str, t.List[str]]] = []
    for word in plain[1:] if file else plain:
        if word.startswith("--") and len(word) > 2:
            options += [_option(line) for line in word[2:].splitlines() if line.strip()]
        elif options and word != "-":
            options[-1][1].append(word)
    return file, options


def _option(text: str) -> t.Tuple[str, t.List[str]]:
    """Return (name, values) of one argument without its dashes; Redis reads it as a line of its configuration."""
    words = _words(text) if re.search(r"\s", text) else []
    if len(words) > 1:
        return words[0].lower(), words[1:]
    name, equals, value = text.strip().partition("=")
    return name.lower(), [value] if equals else []


def _doubts(words: t.Sequence[str]) -> t.List[str]:
    """Return which of the words after the program give Redis settings that only its start shows: its standard input, a variable."""
    found = ["its standard input (-)"] if "-" in words else []
    before = ""
    for word in words[1:]:
        # A variable in the place of a value is only that value.
        if re.match(r"[$`]", word) and not (before.startswith("--") and not re.search(r"[\s=]", before)):
            found.append(one_line(word, 60))
        before = word
    return found


def load_effective(config_file: str, start_text: str, folder: str = "", root: str = "") -> Effective:
    """Return what a start by *start_text* in *folder* would use; *config_file* is read where the command names none that can be read.

    *root* is how we see the root directory of the process, "" for our own. ``known`` is False where nothing says what would run.
    """
    invoked = invocation_of(start_text)
    named, options = split_invocation(invoked[1] if invoked else [])
    folder = os.path.normpath(os.path.join(folder, invoked[0])) if invoked and invoked[0] else folder
    reader = _Reader(folder, root)
    known = _read_files(reader, named, config_file, invoked is not None)
    for name, values in options:
        if name == "include" and values:
            reader.include(values[0], ARGUMENT, 0)
        else:
            # What follows the value may be of the shell.
            why = wrong_value(name, values[:1]) if name != "save" else ""
            reader.problems += ["%s: %s" % (ARGUMENT, why)] if why else []
            reader.apply(name, values, ARGUMENT, "")
    if known:
        _fill(reader, folder)
    return Effective(reader.settings, reader.origins, reader.files, reader.problems, known, _doubts(invoked[1] if invoked else []))


def _read_files(reader: _Reader, named: str, config_file: str, invoked: bool) -> bool:
    """Apply the configuration file of the start command, else *config_file*; return whether it is known what would run."""
    if invoked and not named:
        return True
    if not named or named == "-" or re.search(r"[$%`]", named):
        return bool(config_file) and reader.file(config_file)
    if reader.file(named) or (bool(config_file) and reader.file(config_file)):
        return True
    if os.path.isabs(named):
        reader.problems.append("its start command names %s, which cannot be read" % one_line(named, 120))
    return False


def _fill(reader: _Reader, folder: str) -> None:
    """Add what Redis assumes where nothing is set."""
    for name, value in DEFAULTS.items():
        if name not in reader.settings:
            reader.settings[name] = value
            reader.origins[name] = {"where": "the default of Redis", "file": ""}
    if "dir" not in reader.settings and folder:
        reader.settings["dir"] = folder
        reader.origins["dir"] = {"where": WORKDIR, "file": ""}


def differences(planned: t.Mapping[str, t.Any], running: t.Mapping[str, t.Any], names: t.Sequence[str]) -> t.Dict[str, t.List[str]]:
    """Return {name: [what would start, what is set at run time]} of those *names* that differ. Pure."""
    found = {}
    for name in names:
        if planned.get(name) is None or running.get(name) is None:
            continue
        wanted, there = str(planned[name]).strip(), str(running[name]).strip()
        same = os.path.realpath(wanted) == os.path.realpath(there) if name == "dir" and wanted.startswith("/") else wanted == there
        if not same:
            found[name] = [wanted, there]
    return found
