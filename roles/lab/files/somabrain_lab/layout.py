# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's directory: its folders, configuration files and secrets."""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shlex
import shutil
import stat
import sys
import typing as t
from pathlib import Path

from . import trust
from .errors import LabError

MARKER = ".somabrain-lab"
# Folders of the user that runs the services.
PRIVATE = ("redis", "postgres", "ltm", "run", "backups")
# Folders that only who starts the lab can write, with their modes: supervisor and the API begin as root and read what lies there.
OWN = {"secrets": 0o700, "logs": 0o755, "etc": 0o755, "pycache": 0o755}
# What a service reads or writes itself in one of those.
SHARED = ("etc/redis.conf", "logs/redis.log")
DATABASE = {"v1": ("somabrain", "soma"), "v2": ("somabrain", "somabrain")}

Settings = t.Dict[str, t.Any]

REDIS = """bind 127.0.0.1
port {port}
dir {lab}/redis
pidfile {lab}/run/redis.pid
logfile {lab}/logs/redis.log
daemonize no
appendonly {appendonly}
appendfsync everysec
save 3600 1 300 100 60 10000
maxmemory {maxmemory}
maxmemory-policy noeviction
maxclients 1000
{password}"""

SUPERVISOR = """[unix_http_server]
file={lab}/supervisor.sock
chmod=0700

[supervisord]
logfile={lab}/logs/supervisord.log
pidfile={lab}/supervisord.pid
directory={lab}
logfile_maxbytes=5MB
logfile_backups=1
{as_root}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{lab}/supervisor.sock
"""

PROGRAM = """
[program:{name}]
command={command}
directory={directory}
autostart=true
autorestart={autorestart}
startsecs={startsecs}
stopsignal={stopsignal}
stopwaitsecs=60
redirect_stderr=true
stdout_logfile={lab}/logs/{name}.out
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
{user}
"""


class Layout:
    """Paths and rendered files of one lab."""

    def __init__(self, settings: Settings) -> None:
        self.settings = {**settings, "postgres_bin": settings["postgres_bin"] or newest_postgres()}
        self.dir = Path(settings["lab_dir"])
        # Only root can and must run the services as another user.
        self.user = str(settings.get("user") or "") if os.geteuid() == 0 else ""

    @property
    def ids(self) -> tuple[int, int]:
        """Return uid and gid of the user that owns the data; raises LabError for an unknown user."""
        if not self.user:
            return os.geteuid(), os.getegid()
        try:
            account = pwd.getpwnam(self.user)
        except KeyError:
            raise LabError(f"no user {self.user!r} to run the services as: set lab_user to an existing user, not root") from None
        if account.pw_uid == 0:
            raise LabError("PostgreSQL refuses to run as root: set lab_user to another user")
        return account.pw_uid, account.pw_gid

    def check(self) -> None:
        """Raise LabError unless the directory is a lab or may become one."""
        if not self.dir.is_absolute() or len(self.dir.parts) < 3 or self.dir.is_symlink() or ".." in self.dir.parts:
            raise LabError(f"lab_dir must be an absolute path two levels deep or more, and not a symlink: {self.dir}")
        why = trust.why_not(self.dir)
        if why:
            raise LabError(f"{why}, so others could change what the lab runs: set lab_dir to a folder that is yours alone")
        if len(str(self.dir)) > 80:
            raise LabError(f"lab_dir is too long for a unix socket in it (80 characters at most): {self.dir}")
        if self.dir.exists() and not self.is_ours() and any(one.name != "remediation" for one in self.dir.iterdir()):
            raise LabError(f"{self.dir} exists and is not a lab (no {MARKER} of yours in it): set lab_dir to another folder")

    def check_programs(self) -> None:
        """Raise LabError unless Redis and PostgreSQL are installed."""
        wanted = {"lab_redis_server": self.settings["redis_server"], "lab_postgres_bin": self.settings["postgres_bin"] + "/initdb"}
        for name, program in wanted.items():
            if not os.access(program, os.X_OK):
                raise LabError(f"no program {program!r}: run scripts/setup, or set {name}")

    def is_ours(self) -> bool:
        """Return whether the directory contains the lab's own marker."""
        marker = self.dir / MARKER
        regular = marker.is_file() and not marker.is_symlink() and not self.dir.is_symlink()
        return regular and marker.stat().st_uid == os.geteuid() and not trust.why_not(self.dir)

    def make(self) -> bool:
        """Create missing folders and secrets; return whether any was missing."""
        changed = not self.is_ours()
        self.dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in PRIVATE:
            folder = self.dir / name
            if not folder.exists():
                folder.mkdir(mode=0o700)
                os.chown(folder, *self.ids)
        for name, mode in OWN.items():
            self._own(self.dir / name, mode)
        if not (self.dir / "logs/redis.log").exists():
            self.write("logs/redis.log", "")
        (self.dir / MARKER).write_text("Made by somabrain.incident_response.lab; lab_remove_data removes this folder.\n", encoding="utf-8")
        for name in ("api_token", "postgres_password"):
            if not (self.dir / "secrets" / name).exists():
                self.write(f"secrets/{name}", secrets.token_hex(24) + "\n", 0o600)
        changed |= self._password()
        self._reachable()
        return changed

    def _own(self, folder: Path, mode: int) -> None:
        """Make a folder that only who starts the lab can write; an older lab gave it to the user of the services."""
        folder.mkdir(mode=mode, exist_ok=True)
        os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
        if folder.is_symlink():
            raise LabError(f"{folder} is a symlink: remove it, then start the lab again")
        folder.chmod(mode)
        for path in folder.iterdir():
            if str(path.relative_to(self.dir)) not in SHARED and (path.is_symlink() or path.lstat().st_uid != os.geteuid()):
                take_over(path)

    def _password(self) -> bool:
        """Keep the password of Redis, if any, in a file; return whether that changed."""
        file, secret = self.dir / "secrets" / "redis_password", self.settings["redis_password"]
        if secret:
            return self.write("secrets/redis_password", secret + "\n", 0o600)
        file.unlink(missing_ok=True)
        return False

    def _reachable(self) -> None:
        """Raise LabError if the lab's user cannot enter the directory."""
        for folder in self.dir.parents if self.user else ():
            if not folder.stat().st_mode & 0o001:
                raise LabError(f"user {self.user} cannot enter {folder}: set lab_dir (SOMABRAIN_LAB_DIR) to one that all may enter")

    def write(self, name: str, text: str, mode: int = 0o644) -> bool:
        """Write one file of the lab, owned by its user, if it differs; return whether it did."""
        path = self.dir / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        fresh = path.with_name(path.name + ".new")
        own = name.partition("/")[0] not in PRIVATE
        # Created with its mode, so that others can never read a secret.
        with trust.open_new(fresh, mode) as file:
            file.write(text)
            if not own:
                os.fchown(file.fileno(), *self.ids)
            elif name in SHARED:
                # What Redis reads belongs to who starts the lab; what it writes is its own.
                os.fchown(file.fileno(), *((-1, self.ids[1]) if name.startswith("etc/") else self.ids))
        fresh.replace(path)
        return True

    def files(self, ports: t.Mapping[str, int]) -> dict[str, tuple[str, int]]:
        """Return the configuration files: name to text and mode."""
        return {
            "etc/redis.conf": (self._redis(ports), 0o640),
            "etc/standin.json": (self._standin(ports), 0o644),
            "etc/supervisord.conf": (self._supervisor(ports), 0o644),
        }

    def _redis(self, ports: t.Mapping[str, int]) -> str:
        secret = self.settings["redis_password"]
        password = f"requirepass {json.dumps(secret)}\n" if secret else ""
        appendonly = "yes" if self.settings["redis_keeps"] == "aof" else "no"
        return REDIS.format(
            appendonly=appendonly, port=ports["redis"], lab=self.dir, maxmemory=self.settings["redis_maxmemory"], password=password
        )

    def _standin(self, ports: t.Mapping[str, int]) -> str:
        told = {name: self.settings[name] for name in ("profile", "audit_table", "audit_time_column", "metrics_gate", "api_start_seconds")}
        database, owner = DATABASE[self.settings["profile"]]
        place = {"lab_dir": str(self.dir), "ports": dict(ports), "wanted": self.settings["ports"]}
        names = {"user": self.user, "database": database, "database_user": owner}
        return json.dumps({**told, **place, **names}, indent=2) + "\n"

    def _supervisor(self, ports: t.Mapping[str, int]) -> str:
        as_root = "user=root" if self.user else ""
        return SUPERVISOR.format(lab=escaped(self.dir), as_root=as_root) + "".join(self._program(*row) for row in self._programs(ports))

    def _programs(self, ports: t.Mapping[str, int]) -> list[tuple[str, list[str], dict[str, t.Any]]]:
        postgres = [self.settings["postgres_bin"] + "/postgres", "-D", f"{self.dir}/postgres", "-p", str(ports["postgres"])]
        # Redis and Postgres stay down when they die, as with Debian's own units.
        redis = {"autorestart": "false", "startsecs": self.settings["redis_start_seconds"], "user": self.user}
        return [
            ("redis", self._redis_command(), redis),
            # INT is the fast shutdown; TERM would wait for every client to leave.
            ("postgres", postgres, {"autorestart": "false", "startsecs": 0, "stopsignal": "INT", "user": self.user}),
            ("ltm", self._python("ltm"), {}),
            ("api", self._python("practice"), {"home": self.dir / "current"}),
        ]

    def _redis_command(self) -> list[str]:
        command = [self.settings["redis_server"], f"{self.dir}/etc/redis.conf"]
        if self.settings["redis_keeps"] != "nothing":
            return command
        # As the first generation's Compose file starts it: the shell stays, and every start begins without data.
        return ["/bin/sh", "-c", f"rm -f {shlex.quote(f'{self.dir}/redis/dump.rdb')} && {shlex.join(command)}"]

    def _python(self, service: str) -> list[str]:
        cache = f"pycache_prefix={self.dir}/pycache"
        return [sys.executable, "-X", cache, "-m", f"somabrain_lab.{service}", f"{self.dir}/etc/standin.json"]

    def _program(self, name: str, command: list[str], special: dict[str, t.Any]) -> str:
        usual = {"autorestart": "true", "startsecs": 1, "stopsignal": "TERM", "user": ""}
        values = {**usual, **special}
        values["user"] = f"user={values['user']}" if values["user"] else ""
        home = values.pop("home", Path(__file__).parent.parent if "-m" in command else self.dir)
        return PROGRAM.format(name=name, lab=escaped(self.dir), command=escaped(shlex.join(command)), directory=escaped(home), **values)

    def remove(self) -> bool:
        """Remove the directory and all data in it; raises LabError without the lab's marker."""
        if not self.dir.exists():
            return False
        if not self.is_ours():
            raise LabError(f"{self.dir} does not contain the lab's marker {MARKER}: nothing was removed")
        shutil.rmtree(self.dir)
        return True


def take_over(path: Path) -> None:
    """Make a file ours that an older lab gave to the user of the services; anything but a plain file is removed."""
    facts = path.lstat()
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
        os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
    elif stat.S_ISDIR(facts.st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def escaped(text: t.Any) -> str:
    """Return *text* escaped for supervisor's configuration, where % begins an expansion."""
    return str(text).replace("%", "%%")


def newest_postgres() -> str:
    """Return the directory of the newest PostgreSQL programs, as distributions place it; "" if none is installed."""
    found = {path.parent for place in ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin") for path in Path("/").glob(place[1:] + "/initdb")}
    on_path = shutil.which("initdb")
    newest = max(found, key=lambda folder: [int(number) for number in re.findall(r"\d+", str(folder))], default=None)
    return str(newest or (Path(on_path).parent if on_path else ""))
