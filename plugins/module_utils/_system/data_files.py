# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which data files processes hold open for writing: the sign of a store that no list knows.

Data is a file below one of ``FOLDERS``, or on a volume mounted for the program. Logs, locks and temporary files are none, and neither is
an SQLite file: what is committed there survives any end of the process that wrote it, and many an API has one as a cache.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t

FOLDERS = ("/var/lib/", "/var/opt/", "/srv/", "/data/")
# Mount points that an installation has for itself, and file systems that keep nothing.
OF_A_SYSTEM = (
    "/", "/boot", "/etc", "/home", "/nix", "/opt", "/root", "/snap", "/usr", "/usr/local", "/var", "/var/cache", "/var/log", "/var/spool",
)  # fmt: skip
FLEETING = ("/tmp", "/var/tmp", "/run", "/var/run", "/dev", "/proc", "/sys")  # noqa: S108 - compared with, never written to
KEEPS_NOTHING = (
    "tmpfs", "ramfs", "devtmpfs", "devpts", "proc", "sysfs", "cgroup", "cgroup2", "mqueue", "overlay", "hugetlbfs", "bpf", "debugfs",
    "tracefs", "securityfs", "autofs", "squashfs", "fuse.lxcfs",
)  # fmt: skip
_NO_DATA = re.compile(
    r"/(?:logs?|tmp|temp|run|locks?|\.?cache|__pycache__)/|\.(?:log|out|err|pid|lock|sock|tmp|part|swp)(?:[.-]\d[\d.-]*)?\Z"
    r"|(?:^|[/._-])(?:access|error|debug|audit)?[._-]?logs?(?:[._-][^/]*)?\Z|/(?:counter|summary|histogram|gauge[a-z_]*)_\d+\.db\Z",
    re.IGNORECASE,
)  # fmt: skip
SQLITE = b"SQLite format 3\x00"
MOST_FILES, MOST_NAMED = 4000, 3


def data_files(pids: t.Sequence[int]) -> list[str]:
    """Return some of the data files that *pids* hold open for writing, as they name them; [] also where none may be looked at."""
    found: list[str] = []
    for pid in pids:
        mounts = mounts_of(pid)
        found += [path for path, link in written_by(pid) if path not in found and is_data(path, mounts) and not _is_sqlite(path, link)]
        if len(found) >= MOST_NAMED:
            break
    return found[:MOST_NAMED]


def is_data(path: str, mounts: t.Mapping[str, str]) -> bool:
    """Return whether a file that is written to is data, by its *path* and by what is mounted: {mount point: file system}."""
    if _NO_DATA.search(path) or any(path.startswith(one + "/") for one in FLEETING):
        return False
    point = max((one for one in mounts if path.startswith(one.rstrip("/") + "/")), key=len, default="/")
    if mounts.get(point) in KEEPS_NOTHING and point not in ("/", *OF_A_SYSTEM):
        return False
    return path.startswith(FOLDERS) or (point not in OF_A_SYSTEM and mounts.get(point) not in KEEPS_NOTHING)


def written_by(pid: int) -> list[tuple[str, str]]:
    """Return (path, link of /proc by which it can be read) of each regular file that a process may write to, [] where it is not seen.

    What it writes as its output is not among them.
    """
    folder, found = "/proc/%d/fd" % pid, []
    for name in _names(folder)[:MOST_FILES]:
        link = "%s/%s" % (folder, name)
        path = _target(link)
        if name not in ("1", "2") and path.startswith("/") and not path.endswith(" (deleted)") and _is_written(pid, name, link):
            found.append((path, link))
    return found + _mapped(pid)


def _is_written(pid: int, name: str, link: str) -> bool:
    flags = re.search(r"^flags:\s*([0-7]+)", _read("/proc/%d/fdinfo/%s" % (pid, name)), re.MULTILINE)
    try:
        return bool(flags and int(flags[1], 8) & os.O_ACCMODE and stat.S_ISREG(os.stat(link).st_mode))
    except OSError:
        return False


def _mapped(pid: int) -> list[tuple[str, str]]:
    """Return the files that a process writes to through its memory alone."""
    lines = re.findall(r"^([0-9a-f]+-[0-9a-f]+) .w.s \S+ \S+ [1-9]\d* +(/.*[^)])$", _read("/proc/%d/maps" % pid), re.MULTILINE)
    return [(path, "/proc/%d/map_files/%s" % (pid, at)) for at, path in lines if not path.startswith(FLEETING)]


def mounts_of(pid: int) -> dict[str, str]:
    """Return {mount point: file system} as a process sees them."""
    found = re.findall(r"^\d+ \d+ \S+ \S+ (\S+) .*? - (\S+) ", _read("/proc/%d/mountinfo" % pid), re.MULTILINE)
    return {point.replace("\\040", " "): kind for point, kind in found}


def _is_sqlite(path: str, link: str) -> bool:
    # Its journal and its shared memory lie beside it, under its name.
    if re.search(r"[^/]-(?:wal|shm|journal)\Z", path):
        return True
    try:
        with open(link, "rb") as file:
            return file.read(16) == SQLITE
    except OSError:
        return False


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 22).decode("utf-8", "replace")
    except OSError:
        return ""
