# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings with which a cluster starts, each with where it comes from: configuration files with all that they include, the file of
ALTER SYSTEM, the words of the start command, the environment. Also of a cluster that is down; a running one is asked for its own.

Loaders only: they return plain data and never raise. A value is the text as PostgreSQL would take it.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import tail_of

Setting = t.Dict[str, t.Any]
Settings = t.Dict[str, Setting]

AUTO = "postgresql.auto.conf"
CONFIG = "postgresql.conf"
# As in PostgreSQL.
DEEPEST = 10
FILE_BYTES = 4 << 20
DEFAULTS = {
    "port": "5432", "logging_collector": "off", "log_destination": "stderr", "log_directory": "log", "archive_mode": "off",
    "log_filename": "postgresql-%Y-%m-%d_%H%M%S.log", "syslog_ident": "postgres",
}  # fmt: skip
# The letters of postgres's own options.
LETTERS = {"p": "port", "k": "unix_socket_directories", "h": "listen_addresses", "N": "max_connections", "B": "shared_buffers", "D": "-D"}
_LINE = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)?)\s*(?:=\s*|\s)(?P<value>'(?:[^'\\\n]|\\.|'')*'|[^\s'#]+)\s*(?:#.*)?\Z"
)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_INCLUDES = ("include", "include_if_exists", "include_dir")


def load_settings(
    data_dir: str, config_file: str = "", words: t.Sequence[str] = (), environment: t.Optional[t.Mapping[str, str]] = None
) -> t.Dict[str, t.Any]:
    """Return {settings: {name: {value, from, file, line}}, files, missing, config_file, start_dir}.

    ``from`` is file, auto (ALTER SYSTEM), argument or environment; *words* are those of the start command. ``missing`` are files that an
    include names in vain: [{file, line, text}]. ``start_dir``: the data directory that *words* name, "" for none.
    """
    given = in_words(words)
    main = given.get("config_file", {}).get("value") or config_file or find_config(given.get("-D", {}).get("value") or data_dir)
    found: t.Dict[str, t.Any] = {"settings": {}, "files": [], "missing": [], "config_file": main}
    found["start_dir"] = given.get("-D", {}).get("value") or ""
    port = (environment or {}).get("PGPORT")
    if port:
        found["settings"]["port"] = {"value": port, "from": "environment", "file": "", "line": 0}
    _read(main, "file", 0, found)
    folder = found["settings"].get("data_directory", {}).get("value") or data_dir
    _read(os.path.join(folder, AUTO), "auto", 0, found)
    found["settings"].update({name: one for name, one in given.items() if not name.startswith("-")})
    return found


def find_config(data_dir: str) -> str:
    """Return the configuration file of the cluster in *data_dir*: the one in it, else the one in /etc that names it."""
    own = os.path.join(data_dir, CONFIG)
    if os.path.exists(own) or not data_dir:
        return own if data_dir else ""
    real = os.path.realpath(data_dir)
    for path in sorted(glob.glob("/etc/postgresql/*/*/" + CONFIG)):
        named = load_file(path).get("data_directory", {}).get("value")
        if named and os.path.realpath(str(named)) == real:
            return path
    return own


def load_file(path: str) -> Settings:
    """Return the settings of one configuration file and all that it includes."""
    found: t.Dict[str, t.Any] = {"settings": {}, "files": [], "missing": []}
    _read(path, "file", 0, found)
    return t.cast(Settings, found["settings"])


def value_of(loaded: t.Mapping[str, t.Any], name: str) -> str:
    """Return the value of a setting as it would be at a start, the usual default where none is set, "" for no default."""
    return str(loaded.get("settings", {}).get(name, {}).get("value", DEFAULTS.get(name, "")))


def place_of(loaded: t.Mapping[str, t.Any], name: str) -> str:
    """Return where a setting comes from, in words."""
    one = loaded.get("settings", {}).get(name)
    if not one:
        return "the default"
    if one["from"] in ("file", "auto"):
        return "%s line %d" % (one["file"], one["line"])
    return {"argument": "the start command", "environment": "the environment"}[one["from"]]


def log_patterns(data_dir: str, loaded: t.Mapping[str, t.Any]) -> t.List[str]:
    """Return the patterns of the files that the logging collector writes, [] where it is off, and of syslog where that is a destination."""
    wanted = [one.strip() for one in value_of(loaded, "log_destination").split(",")]
    found = ["/var/log/syslog", "/var/log/messages"] if "syslog" in wanted else []
    if value_of(loaded, "logging_collector").lower() not in ("on", "true", "yes", "1"):
        return found
    path = os.path.join(data_dir, value_of(loaded, "log_directory"), re.sub("%[a-zA-Z]", "*", value_of(loaded, "log_filename")))
    stem = path[: -len(".log")] if path.endswith(".log") else path
    ends = {"stderr": path, "csvlog": stem + ".csv", "jsonlog": stem + ".json"}
    # Until the collector runs, and where it cannot, stderr is all that there is.
    return [*found, *(ends[one] for one in wanted if one in ends)]


def _read(path: str, source: str, depth: int, found: t.Dict[str, t.Any]) -> None:
    if not path or depth > DEEPEST or not os.path.isfile(path):
        return
    found["files"].append(path)
    for number, line in enumerate(tail_of(path, FILE_BYTES).decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.match(line)
        if not match:
            continue
        name, value = match.group("name").lower(), plain(match.group("value"))
        if name in _INCLUDES and source == "file":
            _include(name, os.path.join(os.path.dirname(path), value), {"file": path, "line": number}, depth, found)
        else:
            found["settings"][name] = {"value": value, "from": source, "file": path, "line": number}


def _include(name: str, target: str, place: Setting, depth: int, found: t.Dict[str, t.Any]) -> None:
    if name == "include_dir":
        names = sorted(glob.glob(os.path.join(glob.escape(target), "*.conf"))) if os.path.isdir(target) else []
        for path in names:
            _read(path, "file", depth + 1, found)
    elif os.path.isfile(target):
        _read(target, "file", depth + 1, found)
    if name != "include_if_exists" and not os.path.exists(target):
        found["missing"].append(dict(place, text="it includes %s, which does not exist" % target))


def plain(text: str) -> str:
    """Return the value that a word of a configuration file stands for."""
    if not text.startswith("'"):
        return text
    inner = re.sub(r"''", "'", text[1:-1])
    return re.sub(r"\\([0-7]{1,3}|.)", lambda match: _unescaped(match.group(1)), inner)


def _unescaped(mark: str) -> str:
    return chr(int(mark, 8)) if mark[0] in "01234567" else _ESCAPES.get(mark, mark)


def in_words(words: t.Sequence[str]) -> Settings:
    """Return the settings in the words of a start command; those after the program. Pure. The directory of -D has the name "-D"."""
    found: Settings = {}
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        short = re.match(r"-([cpkhNBD])(.*)\Z", word, re.S)
        text = ""
        if word.startswith("--"):
            text = word[2:]
        elif short:
            text = short.group(2) or (rest.pop(0) if rest else "")
            text = text if short.group(1) == "c" else "%s=%s" % (LETTERS[short.group(1)], text)
        elif word in ("-F", "-i"):
            text = "fsync=off" if word == "-F" else "listen_addresses=*"
        name, equals, value = text.partition("=")
        if equals:
            found[name if name == "-D" else name.replace("-", "_").lower()] = {"value": value, "from": "argument", "file": "", "line": 0}
    return found


def words_of(pid: int) -> t.List[str]:
    """Return the words with which a running postmaster was started, [] where they cannot be seen."""
    return _list_of("/proc/%d/cmdline" % pid)


def environment_of(pid: int) -> t.Dict[str, str]:
    """Return the PG... variables of a running postmaster's environment, {} where they cannot be seen."""
    pairs = [word.partition("=") for word in _list_of("/proc/%d/environ" % pid)]
    return {name: value for name, _equals, value in pairs if name.startswith("PG") and name != "PGPASSWORD"}


def _list_of(path: str) -> t.List[str]:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 17).decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return []


def start_words(data_dir: str, command: str) -> t.List[str]:
    """Return the words with which a cluster that is down will be started: by its service's *command*, else as it was the last time.

    Debian's wrapper starts it with the configuration file of that cluster, and the options in its pg_ctl.conf.
    """
    for part in command.split(";"):
        words = part.split()
        heads = [os.path.basename(word) for word in words]
        at = next((index for index, head in enumerate(heads) if head in ("postgres", "postmaster")), None)
        if at is not None:
            return words[at:]
        if "pg_ctl" in heads:
            return ["postgres", *(word for word in words[heads.index("pg_ctl") + 1 :] if word != "-o")]
        if "pg_ctlcluster" in heads:
            return _of_debian(words[heads.index("pg_ctlcluster") + 1 :])
    try:
        return shlex.split(tail_of(os.path.join(data_dir, "postmaster.opts"), 1 << 16).decode("utf-8", "replace"))
    except ValueError:
        return []


def _of_debian(words: t.Sequence[str]) -> t.List[str]:
    named = [part for word in words if not word.startswith("-") for part in word.split("-", 1)]
    if len(named) < 2:
        return []
    folder = "/etc/postgresql/%s/%s" % (named[0], named[1])
    found = ["postgres", "-c", "config_file=" + os.path.join(folder, CONFIG)]
    options = load_file(os.path.join(folder, "pg_ctl.conf")).get("pg_ctl_options", {}).get("value", "")
    try:
        inner = [word for option in re.findall(r"-o\s*(.+)", str(options)) for word in shlex.split(shlex.split(option)[0])]
    except (ValueError, IndexError):
        inner = []
    return found + inner
