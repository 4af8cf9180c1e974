# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed on a machine lately: packages, units, configuration files, containers, releases, a reboot. Loaders; they never raise."""

from __future__ import annotations

import calendar
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import Docker, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import program
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import changed_at, tail_of

Change = t.Dict[str, t.Any]
Seen = t.Tuple[t.List[Change], t.List[t.Dict[str, str]]]
# Folders of what a manager runs, and how deep a drop-in lies in them.
UNITS = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/etc/supervisor", "/etc/supervisord.d", "/etc/init.d")
DEPTH, MOST_FILES, MOST = 3, 4000, 100
DPKG, PACMAN, APK = ("/var/log/dpkg.log.1", "/var/log/dpkg.log"), "/var/log/pacman.log", "/lib/apk/db/installed"
RPM_FOLDERS = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
_DPKG = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (install|upgrade|remove|purge) (\S+) (\S+) (\S+)")
_PACMAN = re.compile(r"\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([+-]\d{4})\] \[ALPM\] (installed|upgraded|downgraded|removed) (\S+) \(([^)]*)\)")
_WORDS = {"install": "installed", "upgrade": "upgraded", "remove": "removed", "purge": "removed with its configuration"}


def load_changes(places: t.Mapping[str, t.Any], since: float, deadline: float) -> Seen:
    """Return (changes after *since*, what could not be seen): each change is {at, kind, what, text, source}, epoch seconds."""
    end = time.monotonic() + deadline
    changes: list[Change] = []
    unseen: list[dict[str, str]] = []
    packages, problem = load_packages(since, max(0.1, end - time.monotonic()))
    changes += packages
    unseen += [{"what": "changes of packages", "why": problem}] if problem else []
    changes += _units(since)
    changes += [one for file in places.get("files") or () for one in _file(str(file["path"]), str(file["name"]), since)]
    changes += [one for link in places.get("releases") or () for one in _release(str(link["path"]), str(link["name"]), since)]
    for project in places.get("projects") or ():
        found, problem = _containers(project, since, max(0.1, end - time.monotonic()))
        changes += found
        unseen += [{"what": "containers of the project %s" % one_line(project["project"], 60), "why": problem}] if problem else []
    return sorted(changes, key=lambda one: -float(one["at"]))[:MOST], unseen


def load_packages(since: float, deadline: float) -> tuple[list[Change], str]:
    """Return (packages that changed after *since*, why they cannot be seen)."""
    if any(os.path.exists(path) for path in DPKG):
        texts = [_text(path) for path in DPKG if changed_at(path) >= since]
        return [one for text in texts for one in dpkg_changes(text, since)], ""
    if any(os.path.isdir(path) for path in RPM_FOLDERS):
        ran = program.run(["rpm", "-qa", "--qf", "%{INSTALLTIME} %{NAME} %{VERSION}-%{RELEASE}\n"], min(deadline, 5.0))
        return (rpm_changes(ran.out, since), "") if ran.ok else ([], one_line(ran.err or "rpm did not answer", 120))
    if os.path.exists(PACMAN):
        return pacman_changes(_text(PACMAN), since), ""
    if os.path.exists(APK):
        at = changed_at(APK)
        return ([_change(at, "package", "apk", "the list of installed packages changed", APK)] if at >= since else []), ""
    return [], "no package database of dpkg, rpm, pacman or apk was found"


def _text(path: str) -> str:
    return tail_of(path).decode("utf-8", "replace")


def dpkg_changes(text: str, since: float) -> list[Change]:
    """Return the packages in dpkg's log that changed after *since*; the log has the machine's local time. Pure."""
    found = []
    for at, word, package, old, new in _DPKG.findall(text):
        seconds = _local(at)
        if seconds is not None and seconds >= since:
            version = "%s to %s" % (old, new) if word == "upgrade" else new if word == "install" else old
            found.append(_change(seconds, "package", package, "package %s %s (%s)" % (package, _WORDS[word], version), "dpkg.log"))
    return found


def _local(at: str) -> t.Optional[float]:
    try:
        return time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def rpm_changes(text: str, since: float) -> list[Change]:
    """Return the packages that rpm installed after *since*, by lines of epoch seconds, name and version. Pure."""
    rows = [line.split(None, 2) for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 3 and row[0].isdigit() and int(row[0]) >= since]
    return [_change(int(at), "package", name, "package %s installed (%s)" % (name, version), "rpm") for at, name, version in rows]


def pacman_changes(text: str, since: float) -> list[Change]:
    """Return the packages in pacman's log that changed after *since*. Pure."""
    found = []
    for at, zone, word, package, version in _PACMAN.findall(text):
        seconds = _zoned(at, zone)
        if seconds is not None and seconds >= since:
            found.append(_change(seconds, "package", package, "package %s %s (%s)" % (package, word, version), "pacman.log"))
    return found


def _zoned(at: str, zone: str) -> t.Optional[float]:
    try:
        ahead = int(zone[:3]) * 3600 + int(zone[0] + zone[3:]) * 60
        return float(calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%S")) - ahead)
    except (ValueError, OverflowError):
        return None


def _units(since: float) -> list[Change]:
    found = []
    for folder in UNITS:
        for path in _below(folder):
            at = changed_at(path) or _link_at(path)
            if at >= since:
                what = os.path.relpath(path, folder)
                found.append(_change(at, "unit", what, "%s was written or put there" % path, folder))
    return found


def _below(folder: str) -> list[str]:
    """Return the files below *folder*, down to drop-ins, no more than a bound."""
    found: list[str] = []
    for place, names, files in os.walk(folder):
        if place[len(folder) :].count(os.sep) >= DEPTH:
            names[:] = []
        found += [os.path.join(place, name) for name in files]
        if len(found) > MOST_FILES:
            break
    return found[:MOST_FILES]


def _link_at(path: str) -> float:
    try:
        return os.lstat(path).st_ctime
    except (OSError, ValueError):
        return 0.0


def _file(path: str, component: str, since: float) -> list[Change]:
    at = changed_at(path)
    text = "%s, a file of %s, was written or put there" % (path, component)
    return [_change(at, "configuration", path, text, path)] if at >= since else []


def _release(link: str, component: str, since: float) -> list[Change]:
    """Return when the link to the release in use last changed, and what it leads to."""
    at = _link_at(link)
    if at < since:
        return []
    try:
        target = os.path.basename(os.readlink(link).rstrip("/"))
    except (OSError, ValueError):
        target = ""
    return [_change(at, "release", component, "%s runs the release %s since then" % (component, target or "in " + link), link)]


def _containers(project: t.Mapping[str, t.Any], since: float, deadline: float) -> tuple[list[Change], str]:
    """Return the containers of a Compose project that were made after *since*, and its files that changed since."""
    try:
        docker = Docker(str(project.get("docker_socket") or ""))
        listed = docker.containers(["com.docker.compose.project=%s" % project["project"]], min(deadline, 5.0))
    except (Unreachable, StepError) as error:
        return [], one_line(error, 120)
    changes, files = [], set()
    for one in listed:
        name = str((one.get("Names") or [one.get("Id") or ""])[0]).lstrip("/")
        made = one.get("Created")
        if isinstance(made, (int, float)) and made >= since:
            text = "container %s was made of the image %s" % (name, one.get("Image"))
            changes.append(_change(made, "release", name, text, "Docker"))
        files |= set(str(one["Labels"].get("com.docker.compose.project.config_files") or "").split(","))
    about = "the project %s" % project["project"]
    return changes + [change for path in sorted(files - {""}) for change in _file(path, about, since)], ""


def _change(at: float, kind: str, what: str, text: str, source: str) -> Change:
    return {"at": float(at), "kind": kind, "what": one_line(what, 120), "text": one_line(text, 200), "source": one_line(source, 120)}
