# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``access_check``: can we work on this host, and does the keeper's state directory hold its reserve?

The one thing it changes is the state directory (0700) and the reserve file in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import pwd
import shutil
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import program

ARGUMENT_SPEC: dict[str, t.Any] = {
    "tools": {"type": "list", "elements": "str", "default": []},
    "expect_root": {"type": "bool", "default": False},
    "root_for": {"type": "list", "elements": "str", "default": []},
    "rooms": {"type": "list", "elements": "dict", "default": []},
    "reserves": {"type": "list", "elements": "dict", "default": []},
    "secret_files": {"type": "list", "elements": "path", "default": [], "no_log": False},
    "state_dir": {"type": "path", "default": ""},
    "reserve_bytes": {"type": "int", "default": 16777216},
    "stage": {"type": "str", "choices": ["assess", "verify"], "default": "assess"},
}
RESERVE = "reserve"
PLUGIN_SECONDS = 5.0
# Directories of daemons' tools that are often not on an ordinary user's PATH.
_MORE_PATHS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
Item = t.Dict[str, t.Any]


def run(params: Params, check: bool) -> Result:
    """Return ``items``: a list of ``{name, ok, text, fix}``. In check mode nothing is created; what is missing is reported.

    Raises StepError for a reserve of an impossible size.
    """
    if not 0 <= params["reserve_bytes"] <= 2**40:
        raise StepError("reserve_bytes must be between 0 and 1 TiB: set access_check_reserve_bytes")
    items, changed = [], False
    if not params["state_dir"] and not params["expect_root"]:
        items.append(item("python", True, f"reached as uid {os.geteuid()}, Python {platform.python_version()}"))
    if params["expect_root"]:
        items.append(item("become", os.geteuid() == 0, "root access works", f"became uid {os.geteuid()}, not root: check the sudo rules"))
    items += _rights(params["root_for"])
    items += [_tool(str(name)) for name in params["tools"]]
    items += [_room(one) for one in params["rooms"]]
    items += [_given_up(str(one["path"]), str(one["variable"])) for one in params["reserves"]]
    items += [_secret_file(str(path)) for path in params["secret_files"]]
    if params["state_dir"]:
        more, changed = _state(str(params["state_dir"]), params["reserve_bytes"], check)
        items += more
    return {"changed": changed, "items": items, "stage": params["stage"]}


def item(name: str, ok: bool, text: str, fix: str = "") -> Item:
    """Return one line of the report; *fix* says what is wrong and what to do; it is shown when not *ok*."""
    # Wide enough for paths: the end is the command that mends it.
    return {"name": one_line(name, 240), "ok": ok, "text": one_line(text if ok or not fix else fix, 440)}


def _tool(name: str) -> Item:
    """One tool, or several of which one is enough, written ``supervisorctl|systemctl``; or a tool with its plugin, ``docker compose``."""
    if " " in name:
        return _plugin(name)
    search = os.environ.get("PATH", "") + ":" + _MORE_PATHS
    found = next((path for path in (shutil.which(one, path=search) for one in name.split("|")) if path), "")
    wanted = name.replace("|", " or ")
    return item(f"tool {wanted}", bool(found), f"is {found}", f"{wanted} is missing: install it, or add its directory to the PATH")


def _plugin(name: str) -> Item:
    """A tool whose plugin has to answer with its version; it may lie in the home of the user that remedies run as."""
    done = program.run([*name.split(), "version"], PLUGIN_SECONDS, env=os.environ)
    told = one_line(next((line for line in (done.err + done.out).splitlines() if line.strip()), "no answer"), 120)
    fix = f"{name} does not answer ({told}): install this plugin for the user that remedies run as (Debian: docker-compose-plugin)"
    return item(f"tool {name}", done.ok, one_line(done.out, 80) or "answers", fix)


def _rights(root_for: t.Sequence[str]) -> list[Item]:
    if not root_for:
        return []
    user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "root"
    fix = f"remedies run as {user}, but {'; '.join(root_for)}: set ansible_become to true"
    return [item("rights", os.geteuid() == 0, "remedies run as root", fix)]


def _room(one: t.Mapping[str, t.Any]) -> Item:
    """A directory for copies: there or to be made, with twice the room of the data that it has to hold."""
    path, variable = str(one["path"]), str(one["variable"])
    name, there = f"room in {path}", path
    while not os.path.isdir(there):
        if os.path.lexists(there):
            return item(name, False, "", f"{there} is not a directory: correct {variable}")
        there = os.path.dirname(there)
    try:
        room = os.statvfs(there)
    except OSError as error:
        return item(name, False, "", f"cannot be read ({error.strerror}): correct {variable}")
    free, needed = room.f_bavail * room.f_frsize, 2 * _size_of(str(one.get("beside") or ""))
    fix = f"{_mib(free)} are free, {_mib(needed)} are needed for copies: free space, or point {variable} to another disk"
    return item(name, free >= needed and not room.f_flag & os.ST_RDONLY, f"{_mib(free)} are free, {_mib(needed)} are needed", fix)


def _mib(size: int) -> str:
    return f"{size // 2**20} MiB"


def _size_of(folder: str) -> int:
    """Return the bytes that the files below *folder* take, at most those of the first 100,000."""
    total = count = 0
    for place, _folders, names in os.walk(folder) if folder else ():
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            count += 1
        if count > 100_000:
            break
    return total


def _given_up(path: str, variable: str) -> Item:
    """A file that may be deleted on a full disk helps only if it is there and takes up space."""
    name = f"{variable} {path}"
    make = f"fallocate -l 1G {path}"
    try:
        found = os.lstat(path)
    except OSError as error:
        return item(name, False, "", f"is not there ({error.strerror}), so a full disk could not be helped: {make}")
    if not stat.S_ISREG(found.st_mode):
        return item(name, False, "", f"is not a regular file: correct {variable}")
    held = found.st_blocks * 512
    return item(name, held > 0, f"gives {_mib(held)} to a full disk", f"takes up no space, so deleting it frees none: {make}")


def _secret_file(path: str) -> Item:
    try:
        found = os.stat(path)
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        return item(f"secret file {path}", False, "", f"cannot be read ({error.strerror}): put the secret there, mode 0600")
    mode = stat.S_IMODE(found.st_mode)
    fix = f"has mode {mode:04o}, others can read it: chmod 0600 {path}"
    return item(f"secret file {path}", not mode & 0o077, f"is private, mode {mode:04o}", fix)


def _state(path: str, reserve_bytes: int, check: bool) -> tuple[list[Item], bool]:
    made = False
    name = f"state directory {path}"
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        if check:
            return [item(name, False, "", "does not exist: run this playbook without check mode to create it")], True
        try:
            # Several hosts may share one keeper and create this at the same moment.
            os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as error:
            return [item(name, False, "", f"cannot be created ({error.strerror}): set remediation_state_dir, or become root")], False
        found, made = os.lstat(path), True
    except OSError as error:
        return [item(name, False, "", f"cannot be read ({error.strerror}): set remediation_state_dir, or become root")], False
    problem = _state_problem(path, found)
    if problem:
        return [item(name, False, "", problem)], made
    reserve, reserved = _reserve(os.path.join(path, RESERVE), reserve_bytes, check)
    return [item(name, True, "is private and writable"), _ledger(path), reserve], made or reserved


def _ledger(path: str) -> Item:
    try:
        # Opened as in check mode: this look must not change anything.
        with open_ledger(path, True) as ledger:
            ledger.leases()
    except StepError as error:
        return item("ledger", False, "", one_line(error, 300))
    return item("ledger", True, "can be read")


def _state_problem(path: str, found: os.stat_result) -> str:
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory: remove it, or set remediation_state_dir"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"has mode {stat.S_IMODE(found.st_mode):04o}: chmod 0700 {path}"
    if found.st_uid != os.geteuid():
        return f"belongs to uid {found.st_uid}, this run is uid {os.geteuid()}: use the same user for every run"
    if not os.access(path, os.W_OK | os.X_OK):
        return "is not writable: check whether its file system is mounted read-only"
    return ""


def _reserve(path: str, wanted: int, check: bool) -> tuple[Item, bool]:
    name = f"reserve {path}"
    try:
        found = os.lstat(path)
        allocated = found.st_blocks * 512 if stat.S_ISREG(found.st_mode) else -1
    except OSError:
        allocated = 0
    if allocated < 0:
        return item(name, False, "", "is not a regular file: remove it"), False
    if allocated >= wanted:
        return item(name, True, f"keeps {allocated // 2**20} MiB for a full disk"), False
    if check:
        return item(name, False, "", "is missing or too small: run this playbook without check mode to create it"), True
    return _allocate(path, wanted, name)


def _allocate(path: str, wanted: int, name: str) -> tuple[Item, bool]:
    existed = os.path.exists(path)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(handle, 0, wanted)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not existed and os.path.exists(path):
            os.unlink(path)
        hint = "free space first" if error.errno == errno.ENOSPC else "check its file system"
        return item(name, False, "", f"cannot be allocated ({error.strerror}): {hint}"), False
    return item(name, True, f"created: keeps {wanted // 2**20} MiB for a full disk"), True
