# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx (open source) by two included files that the collection owns: changed by a rename, tested, reloaded without losing a request.

nginx has no runtime API and no counters of a server, so requests and errors are None, and sessions are the connections that it holds
open; health is checked here, on the machine of nginx. nginx must run on the machine itself with a master process; changes need permission
to signal it.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import program
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx import config, log
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx import files as nginx_files
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.files import Server, Unreadable
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.links import open_links, to_server, waiting_links
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.process import (
    Away,
    Log,
    Master,
    ask_again,
    loaded_at,
    master_of,
    reload,
    workers_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.put import (
    Loaded,
    forget,
    put,
    put_back,
    read_loaded,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.pool import BalancerState, Change

OPTIONS: dict[str, t.Any] = {
    "nginx_command": {"type": "list", "elements": "str", "default": ["nginx"]},
    "nginx_pid_file": {"type": "path", "default": "/run/nginx.pid"},
    "nginx_error_log": {"type": "path", "default": "/var/log/nginx/error.log"},
    "nginx_upstream_file": {"type": "path", "default": "/etc/nginx/somabrain/upstream.conf"},
    "nginx_maintenance_file": {"type": "path", "default": "/etc/nginx/somabrain/maintenance.conf"},
    "nginx_health_path": {"type": "str", "default": "/health"},
}
MAX_WEIGHT = nginx_files.MAX_WEIGHT
# The longest health check of one server, in seconds.
PATIENCE = 2.0
# Errors of a request that was never sent to the server.
_NOT_ASKED = ("resolve", "forbidden_address", "bad_url")
_VERSIONS: dict[Master, str] = {}


class Seen(t.NamedTuple):
    """A running nginx and its files."""

    master: Master
    files: config.Files
    upstreams: Loaded
    lines: list[nginx_files.Line]
    switch: t.Optional[Loaded]
    maintenance: dict[str, t.Any]


def load(options: t.Mapping[str, t.Any], deadline: float) -> BalancerState:
    """Return the state of the pool within *deadline* seconds; never raises for an nginx that is down or sick."""
    pool, clock = options["pool"], http.Clock(deadline)
    try:
        seen = _see(options, clock)
        version = _version(options, seen.master, clock)
        healths = look_at(nginx_files.servers_of(seen.lines, pool), options["nginx_health_path"], min(PATIENCE, 0.9 * clock.left()))
    except (Away, Unreadable, OSError, ValueError) as error:
        return traffic_pool.blank("nginx", pool, detail="nginx: %s" % one_line(error, 200))
    pools = nginx_files.pools_of(seen.lines)
    working = workers_of(seen.master)
    everyone = [pid for kind in working for pid in kind]
    waiting = waiting_links(everyone)
    links = open_links(everyone) if waiting is None else waiting
    # Only a watch asks for what was logged since it began.
    failed = log.failed_since(options["since"]) if options.get("since") else None
    return dict(
        traffic_pool.blank("nginx", pool), reachable=True, version=version, identity=seen.master.identity(), pools=pools,
        pool=pool if pool in pools else "", maintenance=seen.maintenance, detail=_left_behind(seen),
        servers=[
            dict(server_of(one, *healths[one.name], to_server(links, one.address)), missed=_missed(failed, one.address))
            for one in nginx_files.servers_of(seen.lines, pool)
        ],
        marks=log.marks_of([options["nginx_error_log"], *config.error_logs(seen.files)]),
        missed=None if failed is None else sum(number for name, number in failed.items() if name.lower() == pool.lower()),
        idle=nginx_files.kept_open(seen.lines, pool) * len(working[0]) if waiting is None else 0,
    )  # fmt: skip


def _missed(failed: t.Optional[t.Mapping[str, int]], address: str) -> t.Optional[int]:
    return None if failed is None else log.of_server(failed, address)


def _left_behind(seen: Seen) -> str:
    """Return a sentence if a run died before its reload and left a file changed; the next change of that file cleans up."""
    left = [was.path for was in (seen.upstreams, seen.switch) if was is not None and was.on_disk != was.text]
    return "a run died before nginx loaded %s; nginx still uses the old content" % one_line(left[0], 80) if left else ""


def _see(options: t.Mapping[str, t.Any], clock: http.Clock) -> Seen:
    master = master_of(options["nginx_pid_file"])
    workers, _leaving = workers_of(master)
    if not workers:
        raise Away("its master has no workers")
    files = config.parse_dump(_tested(options, "-T", clock))
    path = _as_included(files, options["nginx_upstream_file"])
    if path not in files:
        raise Unreadable("its configuration does not include %s" % one_line(path, 80))
    moment = loaded_at(workers)
    upstreams = read_loaded(path, moment)
    try:
        lines = nginx_files.parse_upstreams(upstreams.text)
    except Unreadable as error:
        raise Unreadable("%s: %s" % (one_line(path, 80), error)) from None
    switch, maintenance = _see_switch(options, files, moment)
    return Seen(master, files, upstreams, lines, switch, maintenance)


def _as_included(files: config.Files, path: str) -> str:
    """Return the name by which the configuration includes the file *path*, which may be a link or the file behind one."""
    if path in files:
        return path
    real = os.path.realpath(path)
    return next((name for name in files if os.path.realpath(name) == real), path)


def _see_switch(options: t.Mapping[str, t.Any], files: config.Files, moment: float) -> tuple[t.Optional[Loaded], dict[str, t.Any]]:
    """Return the switch file and its setting; a switch that does not close the whole pool is not prepared, which is not an error."""
    path = _as_included(files, options["nginx_maintenance_file"])
    off: dict[str, t.Any] = {"prepared": False, "on": False, "retry_after": None}
    missing = config.switch_missing(files, options["pool"], path)
    if path not in files:
        return None, dict(off, detail=missing)
    switch = read_loaded(path, moment)
    try:
        # A switch that is on stays on for those whom it reaches, and can be turned off.
        found = dict(off, **nginx_files.parse_switch(switch.text, options["pool"]))
        return switch, dict(found, prepared=not missing, detail=missing)
    except Unreadable as error:
        return None, dict(off, detail=missing or "%s: %s" % (one_line(path, 80), error))


def _tested(options: t.Mapping[str, t.Any], how: str, clock: http.Clock) -> str:
    """Let nginx test its configuration, and return its output; raises Away with its error."""
    ran = program.run([*options["nginx_command"], how], clock.left(), cap=16 << 20)
    if ran.timed_out:
        raise Away("nginx %s did not end within the deadline" % how)
    if not ran.ok:
        said = [line for line in ran.err.splitlines() if "[emerg]" in line] or ran.err.splitlines() or ["exit code %d" % ran.rc]
        raise Away("nginx %s failed: %s" % (how, one_line(said[0], 200)))
    return ran.out


def _version(options: t.Mapping[str, t.Any], master: Master, clock: http.Clock) -> str:
    """Return the version of nginx, asked once for each master."""
    if master not in _VERSIONS:
        told = program.run([*options["nginx_command"], "-v"], clock.left()).err
        found = re.search(r"nginx/([0-9][0-9A-Za-z.-]{0,30})", told)
        _VERSIONS[master] = found.group(1) if found else ""
    return _VERSIONS[master]


def look_at(servers: t.Sequence[Server], path: str, deadline: float) -> dict[str, tuple[t.Optional[bool], str]]:
    """Return (up, status) of each server, all checked at once with *path*; (None, "") without a check. A thread that hangs is abandoned."""
    found: dict[str, tuple[t.Optional[bool], str]] = {one.name: (None, "") for one in servers}

    def ask(one: Server) -> None:
        found[one.name] = judge_answer(_ask(one.address, path, deadline))

    threads = [threading.Thread(target=ask, args=(one,), daemon=True) for one in servers if path and one.checked]
    for thread in threads:
        thread.start()
    clock = http.Clock(deadline + 0.1)
    for thread in threads:
        with contextlib.suppress(OSError):
            thread.join(clock.left())
    return dict(found)


def _ask(address: str, path: str, deadline: float) -> http.Answer:
    if address.startswith("unix:"):
        return http.ask_at(address[len("unix:") :], "http://localhost" + path, deadline)
    return http.ask("http://" + address + path, deadline)


def judge_answer(answer: http.Answer) -> tuple[t.Optional[bool], str]:
    """Return (up, status) by the answer of a server: up by 2xx and 3xx; unknown if the request was never sent."""
    if answer.error:
        return (None if answer.error in _NOT_ASKED else False), answer.error
    return 200 <= answer.status < 400, str(answer.status)


def server_of(server: Server, up: t.Optional[bool], status: str, sessions: t.Optional[int] = None) -> dict[str, t.Any]:
    """Return one server in the form common to all balancers."""
    return traffic_pool.server(
        server.name, address=server.address, weight=server.weight, initial=server.initial, admin=server.admin, up=up, status=status,
        backup=server.backup, sessions=sessions,
    )  # fmt: skip


def shift(options: t.Mapping[str, t.Any], change: Change, deadline: float) -> list[str]:
    """Do *change* and wait for new workers; returns warnings. Raises StepError after restoring the files."""
    clock = http.Clock(deadline)
    try:
        seen = _see(options, clock)
        wanted = [(was, text) for was, text in _wanted(options, seen, change) if not text == was.text == was.on_disk]
    except (Away, Unreadable, OSError, ValueError) as error:
        raise _failed("%s; nothing was changed" % one_line(error, 200)) from None
    return _load_anew(options, seen.master, wanted, clock) if wanted else []


def _wanted(options: t.Mapping[str, t.Any], seen: Seen, change: Change) -> list[tuple[Loaded, str]]:
    """Return the files of a change, each with its new text."""
    found = []
    servers, maintenance, pool = change.get("servers") or {}, change.get("maintenance"), options["pool"]
    if servers:
        found.append((seen.upstreams, nginx_files.changed_upstreams(seen.lines, pool, servers)))
    if maintenance is not None:
        if seen.switch is None or (maintenance["on"] and not seen.maintenance["prepared"]):
            raise Unreadable(str(seen.maintenance["detail"]))
        retry_after = maintenance["retry_after"] if maintenance["on"] else 0
        found.append((seen.switch, nginx_files.render_switch(pool, bool(maintenance["on"]), retry_after)))
    return found


def _load_anew(options: t.Mapping[str, t.Any], master: Master, wanted: t.Sequence[tuple[Loaded, str]], clock: http.Clock) -> list[str]:
    """Write, test and reload; on any failure the files are restored."""
    done: list[tuple[Loaded, str]] = []
    told = False
    try:
        for was, text in wanted:
            done.append((was, text))
            put(was, text)
        _tested(options, "-t", clock)
        told = True
        warnings = reload(master, Log(options["nginx_error_log"]), clock)
    except (Away, OSError) as error:
        raise _failed("%s; %s" % (one_line(error, 240), _taken_back(master, done, told))) from None
    for was, _text in wanted:
        forget(was)
    return warnings


def _taken_back(master: Master, done: t.Sequence[tuple[Loaded, str]], told: bool) -> str:
    """Restore the files, and return a sentence on the result."""
    try:
        for was, text in done:
            put_back(was, text)
    except OSError as error:
        return "its files could not be restored: %s" % one_line(error, 120)
    if told:
        ask_again(master)
    return "its files were restored"


def _failed(text: str) -> StepError:
    return StepError("balancer_refused: %s" % text, reasons=[reason("balancer_refused", text)])
