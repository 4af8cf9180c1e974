# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a repository of pgBackRest holds, and chooses a backup: plain data from its JSON, errors by their own number.

``load_*`` never raise for a sick repository; ``read_*`` and ``judge_*`` are pure.
"""

from __future__ import annotations

import configparser
import json
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import Ran, find, run

Where = t.Mapping[str, t.Any]
Backup = t.Dict[str, t.Any]

REPO_SPEC: dict[str, t.Any] = {
    "stanza": {"type": "str", "required": True},
    "pgbackrest": {"type": "path", "default": "pgbackrest"},
    "pgbackrest_config": {"type": "path", "default": ""},
    "repo": {"type": "int", "default": 0},
}
CONFIGS = ("/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf")
REPO_PATH = "/var/lib/pgbackrest"
# What the status codes of pgBackRest mean.
STATES = {0: "ok", 1: "no_stanza", 2: "no_backup", 3: "no_stanza", 99: "repository_unusable"}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,127}\Z")
_COUNTED = re.compile(r"(missing|checksum invalid|size invalid|other): (\d+)")
_ERROR = re.compile(r"^(?:[\d :.-]+P\d+\s+)?ERROR: (.*)$", re.M)


def is_name(stanza: str) -> bool:
    """Return whether *stanza* is a valid name."""
    return bool(_NAME.match(stanza))


def words_of(where: Where, *words: str) -> list[str]:
    """Return the command line of one pgBackRest command; it logs to no file, and only errors."""
    program = str(where["pgbackrest"])
    head = [program if "/" in program else find(program) or program]
    head += ["--config=" + str(where["pgbackrest_config"])] if where.get("pgbackrest_config") else []
    head += ["--repo=%d" % where["repo"]] if where.get("repo") else []
    quiet = ["--log-level-file=off", "--log-level-console=off", "--log-level-stderr=error"]
    return [*head, "--stanza=" + str(where["stanza"]), *quiet, *words]


def command(where: Where, words: t.Sequence[str], deadline: float, cap: int = 64 << 20) -> Ran:
    """Run one command as the user of the database, who also owns its backups."""
    return run(words_of(where, *words), deadline, user=str(where.get("os_user") or ""), cap=cap)


def error_of(done: Ran) -> str:
    """Return what went wrong as one line, "" for nothing."""
    if done.timed_out:
        return "pgBackRest did not finish in time"
    found = _ERROR.findall(done.err) + _ERROR.findall(done.out)
    if done.ok and not found:
        return ""
    return one_line(redact(found[0] if found else done.err.strip() or "pgBackRest failed with exit code %d" % done.rc), 200)


def load_info(where: Where, deadline: float) -> dict[str, t.Any]:
    """Return {error, state, message, locked, backups, databases} of the stanza."""
    if not is_name(str(where["stanza"])):
        return {
            "error": "%s is not a valid stanza name" % one_line(where["stanza"], 40),
            "state": "no_stanza",
            "backups": [],
            "databases": [],
        }
    done = command(where, ["info", "--output=json"], deadline)
    problem = error_of(done)
    if problem:
        return {"error": problem, "state": "repository_unusable", "backups": [], "databases": []}
    return read_info(done.out, str(where["stanza"]))


def read_info(text: str, stanza: str) -> dict[str, t.Any]:
    """Return what ``info --output=json`` says of *stanza*; the oldest backup first."""
    empty: dict[str, t.Any] = {"error": "", "locked": False, "backups": [], "databases": []}
    try:
        found = [one for one in json.loads(text or "[]") if one.get("name") == stanza]
    except (ValueError, AttributeError):
        return dict(empty, error="pgbackrest info did not return JSON", state="repository_unusable")
    if not found:
        return dict(empty, state="no_stanza", message="no stanza has that name")
    one = found[0]
    status = one.get("status") or {}
    return dict(
        empty,
        state=_state_of(one, int(status.get("code", 99))),
        message=one_line(_message_of(one), 160),
        locked=bool(((status.get("lock") or {}).get("backup") or {}).get("held")),
        backups=sorted((_backup(raw, one) for raw in one.get("backup") or []), key=lambda backup: str(backup["label"])),
        databases=[_database(raw) for raw in one.get("db") or []],
    )


def _state_of(one: t.Mapping[str, t.Any], code: int) -> str:
    # 4 is "mixed": several repositories of which at least one is good.
    if code == 4:
        return "ok" if any((repo.get("status") or {}).get("code") == 0 for repo in one.get("repo") or []) else "repository_unusable"
    return STATES.get(code, "repository_unusable")


def _message_of(one: t.Mapping[str, t.Any]) -> str:
    texts = [(repo.get("status") or {}).get("message") for repo in one.get("repo") or []] + [(one.get("status") or {}).get("message")]
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


def _backup(raw: t.Mapping[str, t.Any], stanza: t.Mapping[str, t.Any]) -> Backup:
    archive, times, info, database = (raw.get(key) or {} for key in ("archive", "timestamp", "info", "database"))
    owner: dict[str, t.Any] = next((one for one in stanza.get("db") or [] if one.get("id") == database.get("id")), {})
    return {
        "label": str(raw.get("label")),
        "type": str(raw.get("type")),
        "error": bool(raw.get("error")),
        "start": _count(times, "start"),
        "stop": _count(times, "stop"),
        "wal_start": str(archive.get("start") or ""),
        "wal_stop": str(archive.get("stop") or ""),
        "bytes": _count(info, "size"),
        "repository_bytes": _count(info.get("repository") or {}, "size", "delta"),
        "system_identifier": str(owner.get("system-id") or ""),
        "archive_id": "%s-%s" % (owner.get("version"), database.get("id")),
        "repo": _count(database, "repo-key"),
    }


def _count(raw: t.Mapping[str, t.Any], *names: str) -> int:
    """Return the first number of *names* that is not 0, 0 where there is none."""
    return next((int(raw[name]) for name in names if raw.get(name)), 0)


def _database(raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {"id": raw.get("id"), "system_identifier": str(raw.get("system-id") or ""), "version": str(raw.get("version") or "")}


def load_archive(where: Where, archive_id: str, deadline: float) -> dict[str, t.Any]:
    """Return {error, files}: the content of the archive of one database, name to {type, size, time}."""
    done = command(where, ["repo-ls", "--recurse", "--output=json", "archive/%s/%s" % (where["stanza"], archive_id)], deadline)
    problem = error_of(done)
    try:
        return {"error": problem, "files": {} if problem else json.loads(done.out or "{}")}
    except ValueError:
        return {"error": "pgbackrest repo-ls did not return JSON", "files": {}}


def load_history(where: Where, archive_id: str, timeline: int, deadline: float) -> str:
    """Return the text of a history file in the archive, "" where it is missing."""
    done = command(where, ["repo-get", "archive/%s/%s/%08X.history" % (where["stanza"], archive_id, timeline)], deadline, cap=1 << 20)
    return done.out if not error_of(done) else ""


def choose_backup(backups: t.Sequence[Backup], target: float, label: str = "") -> tuple[t.Optional[Backup], str, str]:
    """Return (backup, state, text): the newest that was complete before *target* (0: the newest of all), or *label*.

    The state is "" where there is one, else ``no_backup``, ``label_missing`` or ``before_first_backup``.
    """
    complete = [one for one in backups if not one["error"] and one["stop"]]
    wanted = [one for one in complete if label in ("", one["label"])]
    if not wanted:
        return (None, *_none_of(complete, label))
    # A backup is consistent from its end on; pgBackRest cuts the fraction of that second.
    early = [one for one in wanted if not target or one["stop"] < int(target)]
    if not early:
        return None, "before_first_backup", _too_early(wanted[0], "the backup" if label else "the first backup")
    return max(early, key=lambda one: int(one["stop"])), "", ""


def _none_of(complete: t.Sequence[Backup], label: str) -> tuple[str, str]:
    if not label:
        return "no_backup", "the stanza has no backup that ended without an error"
    newest = ", ".join(str(one["label"]) for one in complete[-3:]) or "none"
    return "label_missing", "there is no complete backup %s; the newest are: %s" % (one_line(label, 40), newest)


def _too_early(backup: Backup, which: str) -> str:
    ended = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(backup["stop"]))
    return "the target is before the end of %s, %s, which ended at %s" % (which, backup["label"], ended)


def judge_verify(done_rc: int, text: str) -> list[str]:
    """Return what ``verify --output=text --verbose`` found wrong. It exits with 0 in spite of errors, so its text counts."""
    found = [one_line(line, 160) for line in _ERROR.findall(text)]
    for line in text.splitlines():
        bad = ["%s %s" % (count, what) for what, count in _COUNTED.findall(line) if int(count)]
        found += [one_line("%s" % ", ".join(bad), 160)] if bad else []
        if re.search(r"status: (?!ok|valid)\S", line) and "stanza" not in line:
            found.append(one_line(line.strip(), 160))
    if re.search(r"^status: (?!ok)", text, re.M) and not found:
        found.append("the stanza is not ok")
    if not re.search(r"^\s*(stanza|status):", text, re.M):
        found.append("verify printed nothing" if not done_rc else "verify failed with exit code %d" % done_rc)
    return list(dict.fromkeys(found))


def repository_of(where: Where) -> dict[str, t.Any]:
    """Return {path, local} of the repository by its configuration; ``local`` is None where that cannot be read."""
    number = int(where.get("repo") or 1)
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    given = str(where.get("pgbackrest_config") or "")
    try:
        read = parser.read([given] if given else list(CONFIGS), encoding="utf-8")
    except (OSError, configparser.Error, UnicodeError):
        read = []
    if not read:
        return {"path": "", "local": None}
    sections = [section for section in (str(where["stanza"]), "global") if parser.has_section(section)]

    def option(name: str, default: str) -> str:
        return next((parser.get(one, name) for one in sections if parser.has_option(one, name)), default)

    kind, host = option("repo%d-type" % number, "posix"), option("repo%d-host" % number, "")
    return {"path": option("repo%d-path" % number, REPO_PATH), "local": kind in ("posix", "cifs") and not host}
