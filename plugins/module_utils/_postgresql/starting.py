# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a start of a cluster would meet, seen before it: who holds its port or socket, libraries that are missing, what fills the disk.

Loaders only: they return plain data and never raise.
"""

from __future__ import annotations

import glob
import os
import re
import struct
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.settings import place_of, value_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import process_facts
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import tail_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.port import program_of, stranger_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import run

Raw = t.Dict[str, t.Any]
Loaded = t.Mapping[str, t.Any]

# Every server has this library.
ALWAYS_THERE = "plpgsql.so"
# Where the position is in the state file of a replication slot.
SLOT_NAME, SLOT_LSN = 16, 96
LARGE = 1 << 20
# The lock file gets its time a little before the server is up.
SAME_START = 30.0
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "gfs2", "ocfs2", "ceph", "glusterfs", "lustre", "9p", "virtiofs", "fuse.glusterfs", "fuse.sshfs")


def load_port_holder(effective: Loaded, own: t.Sequence[int]) -> Raw:
    """Return {pid, program, user, port, socket} of the process that holds the port or the socket that a start needs, {} for none."""
    port = int(value_of(effective, "port")) if value_of(effective, "port").isdigit() else 0
    if not port:
        return {}
    addresses = value_of(effective, "listen_addresses") if "listen_addresses" in effective["settings"] else "localhost"
    for address in [one.strip() for one in addresses.split(",") if one.strip()]:
        holder = stranger_on(port, {"*": "", "localhost": "127.0.0.1"}.get(address, address), own)
        if holder:
            return dict(holder, port=port, socket="")
    for folder in value_of(effective, "unix_socket_directories").split(","):
        holder = _socket_holder(os.path.join(folder.strip(), ".s.PGSQL.%d" % port)) if folder.strip() else {}
        if holder:
            return dict(holder, port=port)
    return {}


def _socket_holder(path: str) -> Raw:
    """Return the living process that the lock file of a socket names."""
    text = tail_of(path + ".lock", 4096).decode("utf-8", "replace").split("\n")
    pid = int(text[0]) if text and re.fullmatch(r"\d{1,9}", text[0].strip()) else 0
    facts = process_facts(pid) if pid else {}
    if not facts or facts["process_state"] == "Z" or program_of(pid) not in ("postgres", "postmaster"):
        return {}
    return {"pid": pid, "program": program_of(pid), "user": "", "address": "", "socket": one_line(path, 120)}


def missing_library(effective: Loaded, bin_dir: str) -> Raw:
    """Return {file, line, text, from} of the first library to preload that is not there, {} for none or where it cannot be known."""
    named = [one.strip().strip('"') for one in value_of(effective, "shared_preload_libraries").split(",")]
    own = _library_folders(bin_dir)
    searched = value_of(effective, "dynamic_library_path") or "$libdir"
    folders = [path.replace("$libdir", folder) for folder in own for path in searched.split(":")]
    absent = [name for name in named if name and own and not _is_installed(name, own, folders)]
    if not absent:
        return {}
    one = effective["settings"]["shared_preload_libraries"]
    text = "shared_preload_libraries names %s, which is not installed (%s)"
    where = place_of(effective, "shared_preload_libraries")
    return {"file": one["file"], "line": one["line"], "text": text % (one_line(absent[0], 60), where), "from": one["from"]}


def unusable_key(effective: Loaded, data_dir: str) -> Raw:
    """Return {file, line, text, from} of a certificate or key with which no start comes up, {} for none. A running server has its own."""
    if value_of(effective, "ssl").lower() not in ("on", "true", "yes", "1"):
        return {}
    for name, usual in (("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")):
        path = os.path.join(data_dir, value_of(effective, name) or usual)
        why = _why_unusable(path, data_dir, name == "ssl_key_file")
        if why:
            one = effective["settings"].get(name) or effective["settings"]["ssl"]
            text = "%s: %s %s" % (name, one_line(path, 80), why)
            return {"file": one["file"], "line": one["line"], "text": text, "from": one["from"]}
    return {}


def _why_unusable(path: str, data_dir: str, is_key: bool) -> str:
    try:
        facts, own = os.stat(path), os.stat(data_dir).st_uid
    except FileNotFoundError:
        return "does not exist"
    except OSError:
        return ""
    # As PostgreSQL judges a key: its own, closed to all others, or root's, which its group may read.
    open_to = {own: 0o077, 0: 0o037}.get(facts.st_uid)
    if not is_key or open_to is None:
        return "belongs to another user" if is_key else ""
    if facts.st_mode & open_to:
        return "may be read by others"
    return "may not be read by its owner" if facts.st_uid == own and not facts.st_mode & 0o400 else ""


def _library_folders(bin_dir: str) -> list[str]:
    folders = [os.path.normpath(os.path.join(bin_dir, part)) for part in ("../lib", "../lib/postgresql")] if bin_dir else []
    return [folder for folder in folders if os.path.exists(os.path.join(folder, ALWAYS_THERE))]


def _is_installed(name: str, own: t.Sequence[str], folders: t.Sequence[str]) -> bool:
    places = [name.replace("$libdir", folder) for folder in own] if "/" in name else [os.path.join(folder, name) for folder in folders]
    return any(os.path.exists(place + end) for place in places for end in ("", ".so"))


def load_slots(data_dir: str, last_lsn: int) -> list[Raw]:
    """Return [{name, kept_bytes}] of the replication slots of a cluster that is down, the largest first."""
    found = []
    folder = os.path.join(data_dir, "pg_replslot")
    for name in _names(folder):
        state = tail_of(os.path.join(folder, name, "state"), 4096)
        if len(state) >= SLOT_LSN + 8:
            lsn = struct.unpack_from("=Q", state, SLOT_LSN)[0]
            found.append({"name": one_line(name, 64), "kept_bytes": max(0, last_lsn - lsn) if lsn else 0})
    return sorted(found, key=lambda one: -int(one["kept_bytes"]))


def last_lsn_of(wal_folder: str, segment_bytes: int) -> int:
    """Return the position right after the newest segment, 0 for none."""
    names = [name for name in _names(wal_folder) if re.fullmatch("[0-9A-F]{24}", name)]
    if not names or not segment_bytes:
        return 0
    per = (1 << 32) // segment_bytes
    return max((int(name[8:16], 16) * per + int(name[16:], 16) + 1) * segment_bytes for name in names)


def largest_files(path: str, without: str, seconds: float = 1.0, most: int = 5) -> list[Raw]:
    """Return [{path, bytes}] of the largest files on the file system of *path*, those below *without* left out."""
    end = time.monotonic() + seconds
    try:
        device, top = os.stat(path).st_dev, os.path.realpath(path)
        while top != "/" and os.stat(os.path.dirname(top)).st_dev == device:
            top = os.path.dirname(top)
    except OSError:
        return []
    found: dict[str, int] = {}
    # A large file system is not seen to its end in that time: what usually grows comes first.
    for root in (os.path.dirname(without), "/var/log", "/var/tmp", "/tmp", top):  # noqa: S108 - looked into, not used
        if _is_on(root, device, without):
            _walk(root, device, without, end, found)
    largest = sorted(((size, name) for name, size in found.items()), reverse=True)[:most]
    return [{"path": one_line(name, 160), "bytes": size} for size, name in largest]


def _walk(root: str, device: int, without: str, end: float, found: dict[str, int]) -> None:
    """Add the files below *root* that are large enough to matter, until the time is over."""
    for folder, folders, files in os.walk(root, onerror=lambda error: None):
        folders[:] = [name for name in folders if _is_on(os.path.join(folder, name), device, without)]
        sizes = {os.path.join(folder, name): _bytes_of(os.path.join(folder, name)) for name in files}
        found.update({path: size for path, size in sizes.items() if size >= LARGE})
        if time.monotonic() > end:
            return


def _is_on(path: str, device: int, without: str) -> bool:
    try:
        return path != without and os.lstat(path).st_dev == device
    except OSError:
        return False


def _bytes_of(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def is_nobodys(data_dir: str, at_work: t.Sequence[int]) -> bool:
    """Return whether nothing can have this data directory open: no process works in it, none is attached to its shared memory.

    *at_work* are the processes whose working directory it is. On a file system that another machine may mount nothing is proven.
    """
    if at_work or os.geteuid() != 0 or _type_of(data_dir) in (*NETWORK, ""):
        return False
    key = os.stat(data_dir).st_ino & 0xFFFFFFFF
    for line in tail_of("/proc/sysvipc/shm", 1 << 20).decode().splitlines()[1:]:
        fields = line.split()
        # PostgreSQL takes the next key where one is taken.
        if len(fields) > 6 and 0 <= (int(fields[0]) & 0xFFFFFFFF) - key < 16 and int(fields[6]) > 0:
            return False
    return True


def _type_of(path: str) -> str:
    """Return the type of the file system of *path*, "" for unknown."""
    try:
        device = os.stat(path).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    number = "%d:%d" % (os.major(device), os.minor(device))
    return next((line.partition(" - ")[2].split()[0] for line in reversed(lines) if line.split()[2] == number), "")


def load_unmounted(data_dir: str) -> Raw:
    """Return {point, said} of the mount that the data directory needs and that is absent, {} for none."""
    mounted = {line.split()[4] for line in tail_of("/proc/self/mountinfo", 1 << 22).decode("utf-8", "replace").splitlines() if line}
    for said, point in _wanted_mounts():
        folder = data_dir.rstrip("/")
        if point not in ("/", "none", "swap") and (folder == point or folder.startswith(point + "/")) and point not in mounted:
            return {"point": one_line(point, 120), "said": said}
    return {}


def load_lost_tablespaces(data_dir: str) -> list[str]:
    """Return the directories of tablespaces in which there is nothing of PostgreSQL: gone, or not mounted."""
    folder = os.path.join(data_dir, "pg_tblspc")
    places = [os.path.realpath(os.path.join(folder, name)) for name in sorted(_names(folder)) if name.isdigit()]
    return [one_line(place, 120) for place in places if not _may_hold_data(place)]


def load_lost_wal(data_dir: str) -> str:
    """Return the directory of the WAL where it lies elsewhere and holds none: gone, or not mounted. "" otherwise."""
    link = os.path.join(data_dir, "pg_wal")
    place = os.path.realpath(link)
    holds = any(re.fullmatch("[0-9A-F]{24}", name) for name in _names(place))
    return one_line(place, 120) if os.path.islink(link) and not holds else ""


def _may_hold_data(place: str) -> bool:
    try:
        return any(name.startswith("PG_") for name in os.listdir(place))
    except PermissionError:
        return True
    except OSError:
        return False


def _wanted_mounts() -> t.Iterator[t.Tuple[str, str]]:
    for line in tail_of("/etc/fstab", 1 << 20).decode("utf-8", "replace").splitlines():
        fields = line.split()
        if len(fields) > 3 and not line.lstrip().startswith("#") and "noauto" not in fields[3].split(","):
            yield "/etc/fstab", fields[1].rstrip("/") or "/"
    for path in sorted(glob.glob("/etc/systemd/system/*.mount")):
        found = re.search(r"^Where=(.+)$", tail_of(path, 1 << 16).decode("utf-8", "replace"), re.M)
        if found:
            yield path, found.group(1).strip().rstrip("/")


def version_of(bin_dir: str, seconds: float) -> str:
    """Return the major version of the server's programs, "" where it cannot be known."""
    done = run([os.path.join(bin_dir, "postgres"), "--version"], max(0.5, min(3.0, seconds))) if bin_dir else None
    found = re.search(r"\) (\d+)", done.out) if done and done.ok else None
    return found.group(1) if found else ""


def misnamed(options: Loaded, effective: Loaded, data_dir: str, version: str) -> str:
    """Return in what *options* contradict the cluster in *data_dir*, "" for nothing that is known."""
    if re.search("/(?:docker|containers/storage)/volumes/", os.path.realpath(data_dir)):
        return "its data directory %s is a volume of a container, which its own manager (Compose) starts" % one_line(data_dir, 80)
    port, host = value_of(effective, "port"), str(options["host"])
    is_here = host in ("", "localhost", "127.0.0.1", "::1") or host.startswith("/")
    if is_here and effective["files"] and port.isdigit() and int(port) != int(options["port"]):
        text = "the cluster in %s has port %s (%s), not %s: correct the port, or name the cluster that is meant"
        return text % (one_line(data_dir, 80), port, place_of(effective, "port"), options["port"])
    other = value_of(effective, "data_directory")
    if other and os.path.realpath(other) != os.path.realpath(data_dir):
        text = "its configuration names the data directory %s (%s), not %s: correct data_dir or config_file"
        return text % (one_line(other, 80), place_of(effective, "data_directory"), one_line(data_dir, 80))
    started = "" if other else _started_elsewhere(str(effective.get("start_dir") or ""), data_dir)
    if started:
        return started
    own = tail_of(os.path.join(data_dir, "PG_VERSION"), 16).decode("utf-8", "replace").strip()
    if version and own and own != version:
        text = "its data are of version %s, the programs found are of version %s: correct bin_dir, or install that version"
        return text % (one_line(own, 10), version)
    return ""


def _started_elsewhere(started: str, data_dir: str) -> str:
    if not os.path.isabs(started) or _is_same(started, data_dir):
        return ""
    text = "its service starts the cluster in %s (the start command), not the one in %s: correct data_dir or the service"
    return text % (one_line(started, 80), one_line(data_dir, 80))


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def answers_elsewhere(data_dir: str, own: str, processes: Loaded, lock: Loaded, started_at: t.Optional[float]) -> str:
    """Return that the server which answers is not the cluster in *data_dir*, "" where it is or cannot be known.

    *own* is the directory that the server itself names; in a container that may be the same one by another path. *started_at* is when it
    says that it started: so does the lock file of the cluster.
    """
    begun, here = lock.get("started_at"), bool(processes["postmaster"])
    if not own or processes["unseen"] or (begun and started_at and abs(begun - started_at) <= SAME_START):
        return ""
    is_same = os.path.realpath(own) == os.path.realpath(data_dir)
    if here and (is_same or not (begun and started_at)):
        return ""
    if is_same and not os.path.isfile(os.path.join(data_dir, "PG_VERSION")):
        return ""
    text = "its data directory is %s, and %s: correct the address or data_dir (it may be that of a container)"
    works = "the server in %s is another one" if here else "no server works in %s here"
    return text % (one_line(own, 80), works % one_line(data_dir, 80))
