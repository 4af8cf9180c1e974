# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL of our own on a restored directory, reachable only by a private socket.

It listens nowhere, archives nothing, replicates nothing and loads no library, whatever the configuration of the live one says.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError, rows
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import tail_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import MORE_PATHS, become, run
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import Side, SideFailed, has_ended

LOG = "side.log"
LOG_BYTES = 256 * 1024
PORT = 5432
PATIENCE = 20.0
# What a hot standby needs at least as much of as the server whose WAL it reads had; name in pg_controldata: name of the setting.
AT_LEAST = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
SETTINGS = {
    "listen_addresses": "", "unix_socket_permissions": "0700", "port": str(PORT), "archive_mode": "off", "archive_command": "",
    "archive_library": "", "archive_cleanup_command": "", "recovery_end_command": "", "primary_conninfo": "", "primary_slot_name": "",
    "shared_preload_libraries": "", "session_preload_libraries": "", "local_preload_libraries": "", "ssl": "off",
    "logging_collector": "off", "log_destination": "stderr", "lc_messages": "C", "log_statement": "none", "log_timezone": "UTC",
    "log_min_messages": "warning", "log_line_prefix": "", "external_pid_file": "", "cluster_name": "somabrain-side", "huge_pages": "off",
    "hot_standby": "on", "autovacuum": "off", "jit": "off", "max_logical_replication_workers": "0", "restart_after_crash": "off",
    "synchronous_standby_names": "", "bonjour": "off",
}  # fmt: skip
_CONTROL = re.compile(r"^([^:\n]+):\s*(.*)$", re.M)
_STOPPED = re.compile(r"recovery stopping (before|after) (?:commit|abort) of (?:prepared )?transaction (\d+), time ([^\n]+)")
_TROUBLE = re.compile(r"(FATAL|PANIC|ERROR):\s*(.*)")
_NOT_REACHED = "before configured recovery target was reached"
_STATE = """SELECT pg_is_in_recovery() AS in_recovery,
 CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS paused, pg_last_wal_replay_lsn()::text AS lsn,
 pg_last_xact_replay_timestamp()::text AS last_commit, (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline"""


def read_control(text: str) -> dict[str, str]:
    """Return what ``pg_controldata`` says."""
    return {name.strip(): value.strip() for name, value in _CONTROL.findall(text)}


def load_control(bin_dir: str, data_dir: str, user: str, deadline: float = 10.0) -> dict[str, str]:
    """Return what pg_controldata says of *data_dir*, {} where it cannot tell."""
    done = run([os.path.join(bin_dir, "pg_controldata"), "-D", data_dir], deadline, user=user)
    return read_control(done.out) if done.ok else {}


def settings_of(private: str, control: t.Mapping[str, str], least: t.Mapping[str, int]) -> dict[str, str]:
    """Return all settings of a side instance in *private*; *least* are what the live server has of the things in AT_LEAST. Pure."""
    words = dict(SETTINGS, unix_socket_directories=private)
    for name in ("config", "hba", "ident"):
        words[name + "_file"] = os.path.join(private, name + ".conf")
    for told, setting in AT_LEAST.items():
        seen = [int(control[told])] if control.get(told, "").isdigit() else []
        seen += [int(least[setting])] if setting in least else []
        words.update({setting: str(max(seen))} if seen else {})
    words["wal_level"] = control.get("wal_level setting") or "replica"
    words["max_replication_slots"] = "0" if words["wal_level"] == "minimal" else "10"
    return words


class SideInstance(Side):
    """A context manager around one side instance on *data*, which belongs to *os_user*; *end* is a monotonic time. Raises SideFailed.

    With *pauses* it is ready when recovery has paused at its target, else when recovery has ended. *least*: see ``settings_of``.
    """

    PREFIX = "pg-side-"
    # Ends a postmaster and all of its processes without a checkpoint.
    FOLLOWS = signal.SIGQUIT

    def __init__(
        self, bin_dir: str, data: str, os_user: str, end: float, *, user: str = "postgres", pauses: bool = True,
        least: t.Optional[t.Mapping[str, int]] = None, keep_log: str = "",
    ) -> None:  # fmt: skip
        super().__init__(end)
        self.bin_dir, self.data, self.os_user, self.user = bin_dir, data, os_user, user
        self.pauses, self.least, self.keep_log = pauses, dict(least or {}), keep_log
        self.state: dict[str, t.Any] = {}

    def where(self, database: str) -> dict[str, t.Any]:
        """Return how psql reaches *database* of it."""
        return {
            "host": self._private, "port": PORT, "user": self.user, "database": database, "password_file": "", "tls": False,
            "os_user": self.os_user, "psql": os.path.join(self.bin_dir, "psql"),
        }  # fmt: skip

    def promote(self) -> dict[str, t.Any]:
        """End its recovery, so that it could be a live server; return its state. Raises SideFailed, SqlError."""
        rows(self.where("postgres"), "SELECT pg_promote(false)", min(30.0, self.left()), writes=True)
        self.pauses = False
        self._wait()
        return self.state

    def stop_point(self) -> dict[str, str]:
        """Return {where, transaction, time} of the transaction at which recovery stopped, {} where it stopped at none."""
        found = _STOPPED.findall(self.log())
        return dict(zip(("where", "transaction", "time"), found[-1])) if found else {}

    def log(self) -> str:
        """Return the end of its log."""
        return tail_of(os.path.join(self._private, LOG), LOG_BYTES).decode("utf-8", "replace")

    def _started(self) -> subprocess.Popen[bytes]:
        entry = pwd.getpwnam(self.os_user) if os.geteuid() == 0 and self.os_user else None
        for name, text in (("config", ""), ("ident", ""), ("hba", "local replication all reject\nlocal all all trust\n")):
            with open(os.path.join(self._private, name + ".conf"), "w", encoding="ascii") as file:
                file.write(text)
        log = os.open(os.path.join(self._private, LOG), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            if entry:
                for path in [os.path.join(self._private, name) for name in os.listdir(self._private)] + [self._private]:
                    os.chown(path, entry.pw_uid, entry.pw_gid)
            control = load_control(self.bin_dir, self.data, self.os_user)
            words, known = [os.path.join(self.bin_dir, "postgres"), "-D", self.data], self._known()
            for name, value in settings_of(self._private, control, self.least).items():
                if name in known:
                    words += ["-c", "%s=%s" % (name, value)]
            return subprocess.Popen(
                words, cwd=self._private, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={"PATH": os.pathsep.join(MORE_PATHS), "LC_ALL": "C.UTF-8", "HOME": "/"},
                preexec_fn=self._in_the_child(become(self.os_user)),
            )  # fmt: skip
        finally:
            os.close(log)

    def _known(self) -> frozenset[str]:
        """Return the settings that this version of the server knows: an unknown one would end it."""
        done = run([os.path.join(self.bin_dir, "postgres"), "--describe-config"], 10.0, user=self.os_user, cap=8 << 20)
        known = frozenset(line.split("\t")[0] for line in done.out.splitlines() if "\t" in line)
        return known | {"config_file", "hba_file", "ident_file", "lc_messages", "huge_pages"} if known else frozenset()

    def _ready(self) -> bool:
        try:
            self.state = rows(self.where("postgres"), _STATE, min(10.0, self.left()))[0]
        except SqlError:
            return False
        return bool(self.state["paused"]) if self.pauses else not self.state["in_recovery"]

    def _failure(self) -> SideFailed:
        text = self._last_words()
        return SideFailed("target_not_reached" if _NOT_REACHED in text else "refused", text)

    def _late(self) -> str:
        return "the side instance did not reach its target in time: %s" % self._last_words()

    def _last_words(self) -> str:
        found = [line for line in _TROUBLE.findall(self.log()) if "the database system is" not in line[1]]
        lines = [text for _kind, text in found] or self.log().splitlines()[-1:]
        return one_line(redact(lines[-1]), 200) if lines else "it exited without a message"

    def _shut_down(self, process: subprocess.Popen[bytes]) -> None:
        # Fast first, then at once.
        for number in (signal.SIGINT, signal.SIGQUIT):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            if has_ended(process, PATIENCE):
                return

    def _keep(self) -> None:
        if self.keep_log:
            with contextlib.suppress(OSError):
                shutil.copyfile(os.path.join(self._private, LOG), self.keep_log)
