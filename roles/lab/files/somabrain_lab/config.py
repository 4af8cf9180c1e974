# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the stand-in services: one JSON file, and secrets in files of their own."""

from __future__ import annotations

import importlib
import json
import os
import pwd
import typing as t
from pathlib import Path

# Modules that the standard library loads on first use, too late for a user that cannot read its folder.
LOADED_LATE = ("encodings.idna", "traceback", "linecache", "_strptime")

Settings = t.Dict[str, t.Any]


def read(path: str) -> Settings:
    """Return the settings of the stand-in services."""
    return t.cast(Settings, json.loads(Path(path).read_text(encoding="utf-8")))


def secret(settings: Settings, name: str) -> str:
    """Return a secret of the lab, or "" for none; one that was read before is kept."""
    if name in settings.get("secrets", {}):
        return str(settings["secrets"][name])
    path = Path(settings["lab_dir"]) / "secrets" / name
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def read_secrets(settings: Settings) -> None:
    """Read the secrets while this process may: they belong to who starts the lab."""
    settings["secrets"] = {name: secret(settings, name) for name in ("api_token", "postgres_password", "redis_password")}


def drop_privileges(settings: Settings) -> None:
    """Switch to the lab's user when started by root.

    Done here and not by supervisor, because that user may not be allowed to read the interpreter's folder.
    """
    if os.geteuid() != 0 or not settings.get("user"):
        return
    for late in LOADED_LATE:
        importlib.import_module(late)
    account = pwd.getpwnam(settings["user"])
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if not os.getcwd().startswith(settings["lab_dir"] + "/"):
        # The working directory of a process shows which release it runs.
        os.chdir(settings["lab_dir"])
