# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the data directory of a Redis is one that may be touched: who names it, whose files it holds, what should be mounted there.

A Redis that an attacker has reached names any directory as its own. What only the running server says is evidence, never a target.
``load_place`` reads, ``judge_place`` and ``judge_mount`` are pure.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.own import why_not
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.trusted import load_path

Facts = t.Mapping[str, t.Any]

# Never the data directory of a Redis: these, and for some everything below.
EXACTLY = frozenset(["/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp", "/dev/shm"])  # noqa: S108
BELOW = (
    "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr", "/run/systemd", "/var/log", "/var/mail",
    "/var/spool", "/var/cache", "/var/backups",
)  # fmt: skip
UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
# Where the distributions put it.
USUAL = ("/var/lib/redis", "/var/lib/valkey")
_OURS = re.compile(r"(?:.*\.(?:rdb|aof|manifest|conf|log|pid|sock)|appendonlydir|temp-.*|before-.*|lost\+found)\Z")
MOST_ENTRIES = 1000


def is_system(path: str) -> bool:
    """Return whether *path* is a directory of the system, or of somebody's keys."""
    plain = os.path.normpath(path)
    inside = any(plain == one or plain.startswith(one + "/") for one in BELOW)
    return plain in EXACTLY or inside or "/.ssh" in plain or (plain.startswith("/dev/") and not plain.startswith("/dev/shm/"))  # noqa: S108


def uid_of(user: t.Any) -> t.Optional[int]:
    """Return the number of a user (a name or a number), None if it is not known."""
    if str(user or "").isdigit():
        return int(user)
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return pwd.getpwnam(str(user)).pw_uid if user else None
    return None


def runs_as(process: Facts, service: Facts) -> t.Optional[int]:
    """Return the user that Redis runs as, or would after its next start; None if it is not known."""
    if process.get("uid") is not None:
        return int(process["uid"])
    return uid_of(service.get("user"))


def is_roots(path: str) -> bool:
    """Return whether only root, or we ourselves, may change a file."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return False
    return facts.st_uid in (0, os.geteuid()) and not facts.st_mode & 0o022


def load_place(named: str, planned: Facts, origin: Facts, running: t.Any, uid: t.Optional[int]) -> t.Dict[str, t.Any]:
    """Return {named, planned, where, sure, running, real, system, foreign, entries, mount, link, ungiven}.

    That is who says where the data is, and what is there. *named*: by the inventory; *planned*: the settings of the next start, *origin*
    where its ``dir`` is from; *running*: what Redis says.
    """
    planned_dir, said = _text(planned, "dir"), _text(origin, "where")
    path = named or planned_dir or str(running or "")
    entries = _entries(path)
    inside = None if entries is None else len([one for one in entries if one[0] != "lost+found"])
    return {
        "path": path, "named": named, "planned": planned_dir, "where": said, "sure": bool(named) or _is_sure(path, origin),
        "running": str(running or ""), "uid": uid, "system": path.startswith("/") and is_system(os.path.realpath(path)),
        "foreign": _foreign(entries, uid), "entries": inside, "mount": mount_of(path),
        "link": _strange_link(path), "ungiven": why_not(path, uid) if inside is not None else "",
        "missing_mount": missing_mount(path, _read("/etc/fstab"), _mount_units(path), _mounted()) if path else "",
    }  # fmt: skip


def _text(facts: Facts, name: str) -> str:
    return str(facts.get(name) or "")


def _is_sure(path: str, origin: Facts) -> bool:
    """Return whether only root, or the manager of the service, could have named *path*."""
    file = _text(origin, "file")
    return _is_usual(path) or (bool(origin) and (not file or is_roots(file)))


def _is_usual(path: str) -> bool:
    return path in USUAL and not os.path.islink(path)


def _entries(path: str) -> t.Optional[t.List[t.Tuple[str, int]]]:
    """Return (name, owner) of what is in a directory, None where it cannot be read."""
    try:
        with os.scandir(path) as found:
            return [(one.name, one.stat(follow_symlinks=False).st_uid) for one, _turn in zip(found, range(MOST_ENTRIES))]
    except (OSError, ValueError):
        return None


def _foreign(entries: t.Optional[t.Sequence[t.Tuple[str, int]]], uid: t.Optional[int]) -> t.List[str]:
    if uid is None:
        return []
    # Root may have put a dump there, or a configuration; of a third user nothing belongs there.
    known = {uid, 0, os.geteuid()}
    strange = [name for name, owner in sorted(entries or []) if owner != uid and (owner not in known or not _OURS.match(name))]
    return [one_line(name, 40) for name in strange][:4]


def _strange_link(path: str) -> str:
    """Return the first link in *path* that belongs to another user than root and us, "" for none."""
    parts = load_path(path) if path.startswith("/") else []
    return next((str(one["path"]) for one in parts if one["kind"] == "link" and one["uid"] not in (0, os.geteuid())), "")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1024 * 1024)
    except (OSError, ValueError):
        return ""


def _mounted() -> t.List[str]:
    """Return the mount points of this machine."""
    lines = [line.split() for line in _read("/proc/self/mountinfo").splitlines()]
    return [re.sub(r"\\(\d{3})", lambda one: chr(int(one[1], 8)), words[4]) for words in lines if len(words) > 4]


def mount_of(path: str) -> str:
    """Return the mount point that *path* is on, "" if that cannot be seen."""
    real = os.path.realpath(path) if path.startswith("/") else ""
    above = [one for one in _mounted() if real == one or real.startswith(one.rstrip("/") + "/")]
    return max(above, key=len, default="")


def missing_mount(path: str, fstab: str, units: t.List[str], mounted: t.Sequence[str]) -> str:
    """Return the mount point at or above *path* that fstab or a mount unit names and that is not mounted, "" for none. Pure."""
    lines = [line.split() for line in fstab.splitlines() if not line.lstrip().startswith("#")]
    wanted = [words[1].rstrip("/") or "/" for words in lines if len(words) > 3 and words[1].startswith("/")]
    above = [one for one in wanted + units if (os.path.normpath(path) + "/").startswith(one.rstrip("/") + "/")]
    return next((one for one in above if one not in mounted), "")


def _mount_units(path: str) -> t.List[str]:
    """Return the directories at or above *path* for which systemd has a mount unit."""
    found, here = [], os.path.normpath(path)
    while len(here) > 1:
        name = here.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"
        if any(os.path.exists(os.path.join(folder, name)) for folder in UNIT_FOLDERS):
            found.append(here)
        here = os.path.dirname(here)
    return found


def unreadable(path: str, uid: t.Optional[int], names: t.Iterable[str]) -> t.List[str]:
    """Return a sentence for each of the files *names* below *path* that user *uid* may not read; none where that is not known."""
    if uid in (None, 0):
        return []
    found = []
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            facts = os.lstat(os.path.join(path, name))
            if not may(facts, uid, 4):
                who = name_of(facts.st_uid)
                text = "%s belongs to %s (mode %04o), and Redis runs as %s, which may not read it"
                found.append(text % (one_line(name, 80), who, stat.S_IMODE(facts.st_mode), name_of(uid)))
    return found


def may(facts: os.stat_result, uid: int, right: int) -> bool:
    """Return whether *uid* has *right* (4 to read, 2 to write, 1 to enter) by owner, group or others; ACLs are not read."""
    if uid == facts.st_uid:
        return bool(facts.st_mode >> 6 & right)
    groups: t.List[int] = []
    with contextlib.suppress(KeyError, OSError):
        user = pwd.getpwuid(uid)
        groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return bool(facts.st_mode >> (3 if facts.st_gid in groups else 0) & right)


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# Judgement ---------------------------------------------------------------------------------------


def judge_place(place: Facts, gives: bool = False) -> str:
    """Return why nothing in the data directory may be changed, "" if it may. *gives*: its owner and mode are to be changed.

    Those are changed only if it is ``sure`` as well.
    """
    path = one_line(place.get("path") or "", 100)
    if not path:
        return ""
    moved = moved_text(place)
    if moved:
        return moved
    if place.get("system"):
        return "its data directory would be %s, a directory of the system (%s)" % (path, _says(place))
    if place.get("foreign"):
        return "its data directory %s holds files of others: %s" % (path, ", ".join(place["foreign"]))
    if place.get("link"):
        return "the way to its data directory %s leads over a link that root did not make: %s" % (path, one_line(place["link"], 100))
    if not place.get("named") and not place.get("planned"):
        return "only the running server names its data directory %s" % path
    return str(place.get("ungiven") or "") if gives else ""


def changed_text(place: Facts) -> str:
    """Return how what the server says and what its next start would use contradict each other, "" if they do not."""
    planned, running = (str(place.get(key) or "") for key in ("planned", "running"))
    if not running or not planned or _same(running, planned):
        return ""
    text = "it saves into %s, but %s says %s: one of them was changed since it started"
    return text % (one_line(running, 100), _says(place), one_line(planned, 100))


def moved_text(place: Facts) -> str:
    """Return how what the server says, what its next start would use, and the inventory contradict each other, "" if they do not."""
    named, planned, running = (str(place.get(key) or "") for key in ("named", "planned", "running"))
    said, changed = _says(place), changed_text(place)
    if changed:
        return changed
    if running and named and not planned and not _same(running, named):
        return "it saves into %s, but redis_recovery_data_dir says %s" % (one_line(running, 100), one_line(named, 100))
    if named and planned and not _same(named, planned):
        text = "a start would load its data from %s (%s), but redis_recovery_data_dir says %s"
        return text % (one_line(planned, 100), said, one_line(named, 100))
    return ""


def _same(one: str, other: str) -> bool:
    """Return whether two paths are the same; a relative one cannot be compared."""
    if not (one.startswith("/") and other.startswith("/")):
        return True
    return os.path.realpath(one) == os.path.realpath(other)


def _says(place: Facts) -> str:
    return one_line(place.get("where") or ("redis_recovery_data_dir" if place.get("named") else "the running server"), 100)


def judge_mount(place: Facts, mounts: t.Sequence[str], known_mount: str) -> str:
    """Return what should be mounted at the data directory and is not, "" for nothing; *mounts*: what its unit requires."""
    path, on = str(place.get("path") or ""), str(place.get("mount") or "")
    if not path:
        return ""
    if place.get("missing_mount"):
        text = "%s is not mounted, although fstab or a mount unit names it: %s is not the disk with the data"
        return text % (place["missing_mount"], path)
    wanted = [one for one in mounts if one != "/" and (path + "/").startswith(one.rstrip("/") + "/")]
    if wanted and on == "/" and not place.get("entries"):
        return "its unit requires a mount for %s, and none is there: %s is not the disk with the data" % (one_line(wanted[0], 80), path)
    if known_mount and on and known_mount != on and len(known_mount) > len(on):
        return "when it was last well its data was on %s, which is not mounted now" % one_line(known_mount, 80)
    return ""
