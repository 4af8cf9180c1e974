# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of a service that supervisor or systemd runs: directories named by their content, one of them selected by a link.

The process shows what runs: the directory that it works in or was started from. One that works elsewhere runs what the link selects only
if it names the link, or a file there, and began after the link was set. A link that was changed without a restart selects another
release. Further links in the releases directory are names, like image tags.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import identity, tree
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.answering import members_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock

ID = re.compile(r"[0-9a-f]{64}\Z")


def load_release(options: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the facts of ``_release.blank``; *options* has ``releases_dir``, ``current``, ``ids`` and ``words`` beside the service."""
    clock = Clock(deadline)
    base, link = str(options.get("releases_dir") or ""), str(options.get("current") or "")
    if not (base and link):
        why = "set releases_dir to the directory of releases and current to the link that selects one"
        return identity.blank(reachable=False, detail=why, final=True)
    base = os.path.realpath(base)
    selected, why = selected_by(link, base)
    running, doubt = _running(options, base, link, selected, clock) if selected else ("", "")
    named = {word: meant_by(base, word) for word in options.get("words", [])}
    # What is asked for by name comes first: reading takes time, and the deadline holds for all.
    known = {one: look_at(base, one, clock) for one in dict.fromkeys([running, *named.values(), *options.get("ids", [])]) if one}
    return identity.blank(
        reachable=not (why or doubt), detail=why or doubt, final=bool(why), running=running, selected=selected,
        names=names_of(base, running),
        migrations=tree.migrations_of(os.path.join(base, running)) if running else "", known=known, pinned=True, named=named,
    )  # fmt: skip


def selected_by(link: str, base: str) -> tuple[str, str]:
    """Return (the id of the release that the link selects, "") or ("", why there is none)."""
    if not os.path.islink(link):
        return "", "%s is not a link that selects a release" % one_line(link, 80)
    target = os.path.realpath(link)
    name = os.path.basename(target)
    if os.path.dirname(target) != base or not ID.match(name):
        return "", "%s does not select a release of %s" % (one_line(link, 80), one_line(base, 80))
    return name, ""


def _running(options: t.Mapping[str, t.Any], base: str, link: str, selected: str, clock: Clock) -> tuple[str, str]:
    """Return (the id of the release of the process, "") or ("", why it is unknown); without a process, of what a start would run."""
    service = ask.load_service(dict(options, name=options["service"]), max(0.5, clock.left))
    # A unit may run without a main process that systemd knows.
    ours = members_of(service) or [one for one in [int(service.get("pid") or 0)] if one]
    if not ours:
        return selected, ""
    pid = int(service.get("pid") or ours[0])
    found = _in_release(base, pid) or {one for member in ours for one in _in_release(base, member)}
    if len(found) > 1:
        return "", "process %d works with %d releases at once: restart it" % (pid, len(found))
    return (found.pop(), "") if found else _by_link(base, link, selected, ours, pid, float(service.get("started_at") or 0))


def _by_link(base: str, link: str, selected: str, ours: t.Sequence[int], pid: int, started_at: float) -> tuple[str, str]:
    """Return the same of processes that work outside of every release: they run what the link selects if they show that."""
    advice = "set its working directory to %s" % one_line(link, 80)
    if not _may_see(pid):
        return "", "only root or its own user may see what process %d runs: set ansible_become to true" % pid
    if not any(_names(member, (base + "/" + selected, os.path.abspath(link))) for member in ours):
        return "", "nothing shows that process %d runs a release of %s: %s" % (pid, one_line(base, 80), advice)
    if started_at > _changed(link):
        return selected, ""
    return "", "the release of process %d is unknown, since the link was changed after its start: %s" % (pid, advice)


def _may_see(pid: int) -> bool:
    try:
        os.readlink("/proc/%d/cwd" % pid)
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _changed(link: str) -> float:
    """Return when the link was set, which its own time may hide."""
    try:
        facts = os.lstat(link)
    except OSError:
        return float("inf")
    return max(facts.st_mtime, facts.st_ctime)


def _in_release(base: str, pid: int) -> set[str]:
    return {one for one in (_inside(base, "/proc/%d/%s" % (pid, word)) for word in ("cwd", "exe")) if one}


def _names(pid: int, places: t.Sequence[str]) -> bool:
    """Return whether a process names a path below one of *places* in its arguments or variables, or has a file there open."""
    told = b"\0".join(_bytes_of("/proc/%d/%s" % (pid, name)) for name in ("cmdline", "environ"))
    opened = [os.fsencode(link) for link in _open_files(pid)]
    marks = [os.fsencode(place) for place in places]
    return any(re.search(rb"(?:\A|[\0=:,\s'\"])" + re.escape(mark) + rb"(?:[/\0:,\s'\"]|\Z)", told) for mark in marks) or any(
        link.startswith(mark + b"/") for link in opened for mark in marks
    )


def _bytes_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def _open_files(pid: int) -> list[str]:
    folder, found = "/proc/%d/fd" % pid, []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                found.append(os.readlink(os.path.join(folder, name)))
    return found


def _inside(base: str, place: str) -> str:
    try:
        path = os.readlink(place)
    except OSError:
        return ""
    name = path[len(base) + 1 :].partition("/")[0].replace(" (deleted)", "") if path.startswith(base + "/") else ""
    return name if ID.match(name) else ""


def look_at(base: str, release: str, clock: Clock) -> dict[str, t.Any]:
    """Return {there, intact, names, detail} of a release; ``intact`` is None where it could not be read whole in time."""
    folder = os.path.join(base, release)
    if not ID.match(release) or not os.path.isdir(folder) or os.path.islink(folder):
        return {"there": False, "intact": None, "names": [], "detail": "directory %s does not exist" % one_line(folder, 140)}
    try:
        intact = tree.content_id(folder, lambda: not clock.left) == release
        detail = "" if intact else _altered(folder)
    except tree.NotReadable as error:
        intact, detail = None, one_line(error, 160)
    return {"there": True, "intact": intact, "names": names_of(base, release), "detail": detail}


def _altered(folder: str) -> str:
    last = ", ".join(one_line(name, 60) for name in tree.latest(folder))
    return "the content of %s does not match its name; changed last in it: %s" % (one_line(folder, 140), last)


def names_of(base: str, release: str) -> list[str]:
    """Return the names (links beside the releases) that mean a release now."""
    try:
        links = [one.name for one in os.scandir(base) if one.is_symlink() and os.path.basename(os.path.realpath(one.path)) == release]
    except OSError:
        return []
    return sorted(one_line(name, 120) for name in links) if release else []


def meant_by(base: str, word: str) -> str:
    """Return the id that a word means here: an id, its beginning, or a name; "" for nothing."""
    try:
        ids = [one.name for one in os.scandir(base) if ID.match(one.name) and one.is_dir(follow_symlinks=False)]
    except OSError:
        return ""
    found = identity.meant_by(word, ids)
    if found or "/" in word or not os.path.islink(os.path.join(base, word)):
        return found
    name = os.path.basename(os.path.realpath(os.path.join(base, word)))
    return name if name in ids else ""


def by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return the commands that put back the release from before the plan."""
    before = plan["current"] if plan["current"] != plan["release"] else plan["selected"]
    return "%s && %s" % (_link(before, named), ask.restart_command(named))


def select_by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return the command that selects for the next start what was selected before the plan."""
    return _link(plan["selected"], named)


def _link(release: str, named: t.Mapping[str, t.Any]) -> str:
    return shlex.join(["ln", "-sfn", os.path.join(str(named["releases_dir"]), release), str(named["current"])])
