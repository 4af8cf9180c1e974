# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small repairs around a PostgreSQL cluster that is down. Anything moved or replaced is copied first and can be put back.

Every act checks its target again; where that has changed, the act stops (StepError).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.process import LOCK_FILE, load_lock, load_processes
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock, is_gone, send_to, wait_for
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import make_private
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.copies import sync_folder

# A larger file is not a configuration.
CONFIG_BYTES = 4 << 20


def digest_of(path: str) -> str:
    """Return the sha256 of a file, "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(CONFIG_BYTES + 1)).hexdigest()
    except OSError:
        return ""


def end_orphans(data_dir: str, seconds: float, check: bool) -> Result:
    """Send SIGTERM, never more, to the backends that outlived their postmaster, and wait for their end."""
    seen = load_processes(data_dir)
    if seen["postmaster"]:
        raise StepError("a postmaster is running again (pid %d), so its backends are not orphans" % seen["postmaster"]["pid"])
    orphans = seen["orphans"]
    what = counted(len(orphans), "backends")
    if check or not orphans:
        return {"changed": bool(orphans), "ended": [], "say": ["would end %s with SIGTERM" % what if orphans else "no backend is left"]}
    for one in orphans:
        # A process that a signal has stopped handles SIGTERM only after SIGCONT.
        send_to(one, signal.SIGTERM)
        send_to(one, signal.SIGCONT)
    clock = Clock(seconds)
    if not wait_for(lambda: all(is_gone(one) for one in orphans), clock):
        left = [str(one["pid"]) for one in orphans if not is_gone(one)]
        raise StepError("backends %s did not end within %.0f s; no run kills them: find out what blocks them" % (", ".join(left), seconds))
    return {"changed": True, "ended": [one["pid"] for one in orphans], "say": ["ended %s with SIGTERM in %.1f s" % (what, clock.passed)]}


def move_pid_aside(data_dir: str, rescue: str, run_id: str, check: bool) -> Result:
    """Copy, then rename a lock file that names an unrelated process; do nothing where PostgreSQL's own start can handle it."""
    lock = load_lock(data_dir, load_processes(data_dir))
    path, aside = os.path.join(data_dir, LOCK_FILE), os.path.join(data_dir, "%s.aside-%s" % (LOCK_FILE, run_id))
    if lock["verdict"] in ("none", "dead"):
        return {"changed": False, "aside": "", "say": ["the lock file no longer names a running process: a start handles that itself"]}
    if lock["verdict"] not in ("stranger", "zombie", "nobodys"):
        raise StepError("nothing proves any longer whose process %s, named in the lock file, is: the file stays in place" % lock.get("pid"))
    say = "the lock file, which names %s, %s to %s" % (
        "process %d" % lock["pid"] if lock["pid"] else "no process",
        "would be moved" if check else "was moved",
        one_line(aside, 120),
    )
    if not check:
        kept = keep([path], os.path.join(rescue, run_id))
        os.rename(path, aside)
        sync_folder(data_dir)
        say += " (sha256 %s, copy in %s)" % (kept[0]["sha256"][:16], one_line(kept[0]["copy"], 120))
    return {"changed": True, "aside": aside, "say": [say]}


def put_pid_back(data_dir: str, run_id: str, check: bool) -> Result:
    """Put the lock file back unless a new one exists."""
    path, aside = os.path.join(data_dir, LOCK_FILE), os.path.join(data_dir, "%s.aside-%s" % (LOCK_FILE, run_id))
    if not os.path.exists(aside) or os.path.exists(path):
        return {"changed": False, "say": ["no lock file to put back"]}
    if not check:
        os.rename(aside, path)
    return {"changed": True, "say": ["put the lock file back"]}


def keep(paths: t.Sequence[str], folder: str) -> list[dict[str, t.Any]]:
    """Copy files to *folder* with mode, owner and times; return [{path, copy, sha256}].

    Missing files are skipped. Raises StepError where no copy can be kept.
    """
    kept = []
    try:
        make_private(folder)
        for path in paths:
            if not os.path.isfile(path):
                continue
            copy = os.path.join(folder, name_of(path))
            fresh = copy + ".new"
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writer, open(path, "rb") as reader:
                shutil.copyfileobj(reader, writer)
                writer.flush()
                os.fsync(writer.fileno())
            _dress(path, fresh)
            if digest_of(fresh) != digest_of(path):
                raise StepError("%s changed while it was copied" % one_line(path, 100))
            os.replace(fresh, copy)
            kept.append({"path": path, "copy": copy, "sha256": digest_of(copy)})
        sync_folder(folder)
    except OSError as error:
        raise StepError("no copy could be kept in %s: %s" % (one_line(folder, 100), error.strerror)) from None
    return kept


def _dress(like: str, path: str, times: bool = True) -> None:
    """Give *path* the mode and owner of *like*, and its *times* unless its content is another."""
    facts = os.stat(like)
    os.chmod(path, facts.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.chown(path, facts.st_uid, facts.st_gid)
    if times:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def name_of(path: str) -> str:
    """Return the name of the copy of *path*: the path itself, encoded as one file name."""
    return path.strip("/").replace("%", "%25").replace("/", "%2F")


def keep_config(files: t.Sequence[str], folder: str, loaded_at: float, check: bool) -> Result:
    """Keep copies of the configuration that the server loaded at *loaded_at*; write only those that differ from the last copies.

    A file that was changed since is not what runs, so it is not proven.
    """
    readable = [
        path for path in files if os.path.isfile(path) and os.path.getsize(path) <= CONFIG_BYTES and os.path.getctime(path) <= loaded_at
    ]
    changed = [path for path in readable if digest_of(os.path.join(folder, name_of(path))) != digest_of(path)]
    if changed and not check:
        keep(changed, folder)
    return {"changed": bool(changed), "kept": changed, "say": []}


def restore_config(file: str, folder: str, run_id: str, check: bool) -> Result:
    """Replace *file* with its last verified copy and keep the broken one beside it; change nothing where there is no other copy."""
    copy, broken = os.path.join(folder, name_of(file)), "%s.broken-%s" % (file, run_id)
    if not digest_of(copy) or digest_of(copy) == digest_of(file):
        return {"changed": False, "file": file, "broken": "", "say": ["no proven copy of %s differs from it" % one_line(file, 120)]}
    age = (time.time() - os.path.getctime(copy)) / 3600
    what = (one_line(file, 100), age, "would be put back" if check else "was put back", one_line(broken, 120))
    say = "%s, as proven %.1f hours ago, %s; the broken file is kept as %s" % what
    if not check:
        there = os.path.exists(file)
        fresh = file + ".new-%s" % run_id
        shutil.copyfile(copy, fresh)
        _dress(file if there else copy, fresh, times=False)
        if there:
            os.rename(file, broken)
        os.rename(fresh, file)
        sync_folder(os.path.dirname(file))
    return {"changed": True, "file": file, "broken": broken, "say": [say]}


def put_config_back(file: str, run_id: str, check: bool) -> Result:
    """Put back the configuration that a run replaced."""
    broken = "%s.broken-%s" % (file, run_id)
    if not os.path.exists(broken):
        return {"changed": False, "say": ["no replaced configuration to put back"]}
    if not check:
        os.replace(broken, file)
    return {"changed": True, "say": ["put %s back as it was found" % one_line(file, 120)]}
