# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services under supervisor, through its XML-RPC interface over a unix socket or loopback HTTP (supervisorctl costs 740 ms a call).

supervisor's own stop sends SIGKILL after ``stopwaitsecs``, so a graceful stop here is the stop signal
and our own wait; only the caller kills.
"""

from __future__ import annotations

import base64
import configparser
import glob
import os
import re
import signal
import socket
import typing as t
import urllib.parse
import xmlrpc.client

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock, Options, ServiceState
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import last_lines, tail_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.written import time_of


def kill(options: Options, identity: t.Mapping[str, t.Any], deadline: float) -> bool:
    """Send SIGKILL to the program's process and to all that it started."""
    family = service_state.family_of(int(identity["pid"]))
    killed = service_state.kill_process(options, identity, deadline)
    return any([killed] + [service_state.send_to(one, signal.SIGKILL) for one in family])


MANAGER = "supervisor"
# After an exit supervisor starts a program again within so many seconds, one second more after each start that failed.
RESPAWN = 15.0
RELEASED_AS = "directories"
# A name that could mean several programs (group:*) does not name a service.
NAME = re.compile(r"[^\s:*/\x00-\x1f]{1,128}(:[^\s:*/\x00-\x1f]{1,128})?\Z")
WORDS = {0: "stopped", 10: "starting", 20: "running", 30: "backoff", 40: "stopping", 100: "stopped", 200: "failed"}
BAD_NAME, ALREADY_STARTED, NOT_RUNNING = 10, 60, 70  # faults of its interface
SILENT = "supervisor: %s; correct service_manager_supervisor_url, or start supervisord"
UNREAD = "its section has another command than supervisord goes by: supervisorctl reread, then supervisorctl update %s"
SPAWNED = re.compile("Exited too quickly|Bad exit code")
REPLY_BYTES = 4 * 1024 * 1024
MAIN_LOG_BYTES = 64 * 1024


class Unreachable(Exception):
    """supervisord does not answer, or something else answers."""


class Supervisor:
    """One supervisord. Every call has its own deadline in seconds; raises Unreachable, or xmlrpc.client.Fault."""

    def __init__(self, options: Options) -> None:
        self.url = str(options.get("supervisor_url") or "unix:///var/run/supervisor.sock")
        secret = "%s:%s" % (options.get("supervisor_username") or "", options.get("supervisor_password") or "")
        self.authorization = base64.b64encode(secret.encode()).decode() if secret != ":" else ""

    def call(self, method: str, *args: t.Any, deadline: float = 3.0) -> t.Any:
        body = xmlrpc.client.dumps(args, "supervisor." + method if "." not in method else method).encode()
        try:
            return xmlrpc.client.loads(self._post(body, Clock(deadline)))[0][0]
        except (OSError, UnicodeError) as error:
            raise Unreachable("%s: %s" % (self.url, one_line(error, 100))) from None
        except (xmlrpc.client.Fault, StepError):
            raise
        except Exception as error:  # noqa: BLE001 - the XML parser raises many kinds for a broken answer
            raise Unreachable("%s: got no supervisord answer (%s)" % (self.url, type(error).__name__)) from None

    def many(self, calls: t.Sequence[t.Tuple[str, t.Sequence[t.Any]]], deadline: float) -> list[t.Any]:
        """Make *calls* in one request; the answer to a failed one is a xmlrpc.client.Fault."""
        wanted = [{"methodName": "supervisor." + method, "params": list(args)} for method, args in calls]
        answers = self.call("system.multicall", wanted, deadline=deadline)
        return [
            xmlrpc.client.Fault(one["faultCode"], one["faultString"]) if isinstance(one, dict) and "faultCode" in one else one
            for one in answers
        ]

    def _post(self, body: bytes, clock: Clock) -> bytes:
        head = "POST /RPC2 HTTP/1.0\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n" % len(body)
        if self.authorization:
            head += "Authorization: Basic %s\r\n" % self.authorization
        with self._connect(clock) as connection:
            connection.sendall(head.encode() + b"\r\n" + body)
            status, dummy, answer = _read_all(connection, clock).partition(b"\r\n\r\n")
        line = status.split(b"\r\n")[0]
        if b" 200 " not in line + b" ":
            raise Unreachable("%s answers %s" % (self.url, one_line(line, 60) or "nothing"))
        return answer

    def _connect(self, clock: Clock) -> socket.socket:
        parts = urllib.parse.urlsplit(self.url)
        family, address = self._address(parts)
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(clock.left, 0.01))
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _address(self, parts: urllib.parse.SplitResult) -> tuple[int, t.Any]:
        if parts.scheme == "unix" and parts.path.startswith("/"):
            return socket.AF_UNIX, parts.path
        if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"):
            host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
            return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, parts.port or 9001)
        raise StepError("supervisor_url must be unix:///path or http://127.0.0.1:port, not %s" % one_line(self.url, 80))


def _read_all(connection: socket.socket, clock: Clock) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while size <= REPLY_BYTES:
        connection.settimeout(max(clock.left, 0.01))
        if not clock.left:
            raise socket.timeout("timed out")
        piece = connection.recv(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    raise OSError("answer longer than %d bytes" % REPLY_BYTES)


def check_name(name: str) -> None:
    """Raise StepError unless *name* can only mean one program."""
    if not NAME.match(name):
        raise StepError("'%s' is not the name of one supervisor program (name or group:name)" % one_line(name, 60))


def load_state(options: Options, deadline: float) -> ServiceState:
    """Ask supervisord for everything it knows; if it does not answer, the state is unknown."""
    check_name(options["name"])
    server = Supervisor(options)
    calls: list[tuple[str, t.Sequence[t.Any]]] = [
        ("getProcessInfo", [options["name"]]), ("getAllConfigInfo", []), ("getPID", []), ("readLog", [-MAIN_LOG_BYTES, 0]),
    ]  # fmt: skip
    try:
        info, configs, daemon, log = server.many(calls, deadline)
    except (Unreachable, xmlrpc.client.Fault, ValueError) as error:
        return service_state.blank(MANAGER, options["name"], reachable=False, detail=SILENT % one_line(error, 160))
    if isinstance(info, xmlrpc.client.Fault):
        found = info.faultCode != BAD_NAME
        detail = info.faultString if found else _who_is_there(configs)
        return service_state.blank(MANAGER, options["name"], exists=found, detail=one_line(detail, 160))
    config = _config_of(configs, info)
    autorestart = _autorestart(daemon, info) if isinstance(daemon, int) else None
    state = _state(options["name"], info, config, autorestart, log if isinstance(log, str) else None)
    return dict(state, **(_surroundings(daemon, info, config) if isinstance(daemon, int) else {}))


def _state(
    name: str, info: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any], autorestart: t.Optional[str], log: t.Optional[str]
) -> ServiceState:
    facts = log_facts(log, str(info["name"])) if log is not None else {}
    state = service_state.blank(
        MANAGER, name, exists=True, state=WORDS.get(info["state"], "unknown"), pid=info["pid"], autorestart=autorestart,
        held=autorestart == "false" or info["state"] in (0, 100, 200),
        start_limit_hit=info["state"] == 200, stop_timeout=config.get("stopwaitsecs"), result=str(info["statename"]).lower(),
        detail=one_line(info.get("description") or info.get("spawnerr") or "", 160), restarts=facts.get("restarts"),
        last_began_at=float(info.get("start") or 0) or None, last_ended_at=float(info.get("stop") or 0) or None,
        start_command=service_state.command_text(config.get("command")),
    )  # fmt: skip
    state.update(service_state.process_facts(info["pid"]) if info["pid"] else _ending(info, facts))
    if info["state"] == 100 and info["exitstatus"] not in (config.get("exitcodes") or [0]):
        state["state"] = "failed"
    return state


def _user(config: t.Mapping[str, t.Any]) -> str:
    uid = config.get("uid")
    return str(uid) if isinstance(uid, int) else ""


def _surroundings(daemon: int, info: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return where, as whom and by which command supervisord starts the program; the rest is as for supervisord itself."""
    folder, user = str(config.get("directory") or ""), _user(config)
    own = _owner_of(daemon)
    parser = _configured(daemon)
    variables: dict[str, str] = {}
    for section in ("supervisord", "program:%s" % info["group"], "program:%s" % info["name"]):
        if parser is not None and parser.has_section(section):
            found = re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|[^,]*)", parser.get(section, "environment", fallback="") or "")
            variables.update({name: value.strip().strip("\"'") for name, value in found})
    command = service_state.command_text(config.get("command"), variables)
    words = str(config.get("command") or "").split()
    gone = service_state.gone_of(words[0].strip("'\""), "program") if words and words[0].strip("'\"").startswith("/") else ""
    if folder.startswith("/") and not gone:
        gone = service_state.gone_of(folder, "directory")
    return {
        "gone": gone, "unread": unread_of(parser, info, config), "directory": folder if folder.startswith("/") else own["folder"],
        "user": user or own["user"], "start_command": command,
    }  # fmt: skip


def unread_of(parser: t.Optional[configparser.RawConfigParser], info: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any]) -> str:
    """Return that the file has another command than supervisord goes by, "" where it has the same or that is not known."""
    for section in ("program:%s" % info["name"], "program:%s" % info["group"]):
        if parser is not None and parser.has_section(section):
            written = re.split(r"\s[;#]", str(parser.get(section, "command", fallback="") or ""))[0]
            same = written.split() == str(config.get("command") or "").split()
            return "" if same or "%" in written or not written else UNREAD % one_line(info["group"], 60)
    return ""


def _owner_of(daemon: int) -> dict[str, str]:
    try:
        return {"folder": os.readlink("/proc/%d/cwd" % daemon), "user": str(os.stat("/proc/%d" % daemon).st_uid)}
    except OSError:
        return {"folder": "", "user": ""}


def _ending(info: t.Mapping[str, t.Any], facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return how the last process ended. supervisor reports -1 for a signal and 0 for a crash at start; its log is more exact."""
    if not info["stop"]:
        return {}
    code: t.Optional[int] = facts.get("exit_code", info["exitstatus"] if info["state"] in (0, 100) else None)
    return {"exit_code": None if facts.get("signal") or code == -1 else code, "signal": facts.get("signal", "")}


def log_facts(log: str, process: str) -> dict[str, t.Any]:
    """Return ``restarts``, ``exit_code`` and ``signal`` from the tail of supervisord's log.

    Restarts are the spawns that supervisor made by itself, right after an exit, since the last stop on request; a lower bound.
    A start that a person asked for is none.
    """
    name = re.escape(process)
    facts: dict[str, t.Any] = {"restarts": _own_restarts(log, name)}
    ends = re.findall(r"^[^\n]*? (?:exited|stopped): %s \((?:exit status (\d+)|terminated by (\w+))" % name, log, re.MULTILINE)
    if ends:
        code, killer = ends[-1]
        facts.update({"signal": killer} if killer else {"exit_code": int(code)})
    return facts


def _own_restarts(log: str, name: str) -> int:
    """Return how often supervisor spawned the program (*name* is escaped) by itself."""
    count = 0
    ended: t.Optional[float] = None
    for found in re.finditer(
        r"^(\S+ \S+) \w+ (?:(spawned): '%s' with pid \d+$|(exited|stopped|gave up): %s\b)" % (name, name), log, re.MULTILINE
    ):
        at, spawned, word = time_of(found.group(1)), found.group(2), found.group(3)
        if spawned and at is not None and ended is not None and at - ended <= RESPAWN:
            count += 1
        ended = at if word == "exited" else None
        if word == "stopped":
            count = 0
    return count


def _who_is_there(configs: t.Any) -> str:
    """Return a sentence with the names of all programs, as group:name if the group has another name."""
    told = [(str(one["group"]), str(one["name"])) for one in (configs if isinstance(configs, list) else [])]
    names = sorted(name if group == name else "%s:%s" % (group, name) for group, name in told)
    return "it has %s" % (", ".join(names) or "no programs")


def _config_of(configs: t.Any, info: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    for config in configs if isinstance(configs, list) else []:
        if config["name"] == info["name"] and config["group"] == info["group"]:
            return t.cast(t.Mapping[str, t.Any], config)
    return {}


def _autorestart(daemon: int, info: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """Return true, false or unexpected from supervisord's configuration file (its interface does not say); None if unreadable."""
    parser = _configured(daemon)
    for section in ("program:%s" % info["name"], "program:%s" % info["group"]):
        if parser is not None and parser.has_section(section):
            word = str(parser.get(section, "autorestart", fallback="unexpected")).partition(";")[0].strip().lower()
            return {"true": "true", "yes": "true", "on": "true", "1": "true", "unexpected": "unexpected"}.get(word, "false")
    return None


def _configured(daemon: int) -> t.Optional[configparser.RawConfigParser]:
    """Return what supervisord's configuration file says, None where it cannot be found."""
    try:
        words = _command_line(daemon).decode("utf-8", "replace").split("\0")
        home = os.readlink("/proc/%d/cwd" % daemon)
    except OSError:
        return None
    path = config_path(words)
    return parsed(os.path.join(home, path)) if path else None


def config_path(words: t.Sequence[str]) -> str:
    """Return the configuration file that the command line *words* of supervisord names, its default otherwise."""
    for at, word in enumerate(words):
        if word in ("-c", "--configuration") and at + 1 < len(words):
            return words[at + 1]
        if word.startswith("--configuration="):
            return word.partition("=")[2]
        if word.startswith("-c") and len(word) > 2:
            return word[2:]
    return next((path for path in ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf") if os.path.exists(path)), "")


def parsed(path: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, inline_comment_prefixes=(" ;", "\t;"))
    try:
        parser.read(path)
        patterns = str(parser.get("include", "files", fallback="") or "").replace("%(here)s", os.path.dirname(path)).split()
        parser.read([name for pattern in patterns for name in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern)))])
    except (configparser.Error, UnicodeError):
        pass
    return parser


def start(options: Options, deadline: float) -> None:
    """Start the program; does not wait. A running program is left alone."""
    try:
        Supervisor(options).call("startProcess", options["name"], False, deadline=deadline)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != ALREADY_STARTED:
            raise _refused("start", options, fault) from None
    except Unreachable as error:
        raise _silent(error) from None


def stop(options: Options, deadline: float) -> bool:
    """Stop gracefully and return within *deadline* seconds whether it has stopped. Never kills.

    With autorestart, supervisor spawns a successor when the old process has ended; that one has not served
    a request yet, so it gets supervisor's own stop.
    """
    clock = Clock(deadline)
    server = Supervisor(options)
    try:
        config = _config_of(
            server.call("getAllConfigInfo", deadline=clock.left), server.call("getProcessInfo", options["name"], deadline=clock.left)
        )
        return _ask_to_end(server, options, int(config.get("stopsignal") or 15), clock)
    except xmlrpc.client.Fault as fault:
        raise _refused("stop", options, fault) from None
    except Unreachable as error:
        raise _silent(error) from None


def _ask_to_end(server: Supervisor, options: Options, number: int, clock: Clock) -> bool:
    info = server.call("getProcessInfo", options["name"], deadline=clock.left)
    if info["state"] == 30:
        # Nothing runs between two attempts, so supervisor's own stop can kill nothing.
        _stop_by_supervisor(server, options, clock)
    pid = info["pid"]
    identity = {"pid": pid, "start_time_ticks": service_state.process_facts(pid).get("start_time_ticks")} if pid else {}
    family = service_state.family_of(pid) if pid else []
    if pid and info["state"] != 40 and service_state.wait_for(lambda: _has_begun(server, pid, clock), clock):
        _quietly(NOT_RUNNING, server.call, "signalProcess", options["name"], str(number), deadline=clock.left)
    if not service_state.wait_for(lambda: service_state.is_gone(identity), clock):
        return False
    if not _family_ends(pid, family, number, clock):
        return False
    return service_state.wait_for(lambda: _settled(server, options, clock), clock)


def _family_ends(pid: int, family: list[dict[str, t.Any]], number: int, clock: Clock) -> bool:
    """Ask what a wrapper left behind to end as well, and return whether all of it is gone: it would go on without its manager."""
    family = family + [one for one in service_state.family_of(pid) if one not in family] if pid else family
    for one in family:
        if not service_state.is_gone(one):
            service_state.send_to(one, number)
    return service_state.wait_for(lambda: all(service_state.is_gone(one) for one in family), clock)


def _settled(server: Supervisor, options: Options, clock: Clock) -> bool:
    """Return whether the program has ended for good. The old process is gone, so a live one is its successor, which is stopped."""
    info = server.call("getProcessInfo", options["name"], deadline=max(clock.left, 0.5))
    if info["state"] == 100:
        # With autorestart, supervisor spawns again before it answers this, so the second answer is final.
        info = server.call("getProcessInfo", options["name"], deadline=max(clock.left, 0.5))
    alive = info["state"] in (10, 20) and service_state.process_facts(info["pid"]).get("process_state", "Z") != "Z"
    if info["state"] == 30 or (alive and _has_begun(server, info["pid"], clock)):
        _stop_by_supervisor(server, options, clock)
    return info["state"] in (0, 100, 200)


def _has_begun(server: Supervisor, pid: int, clock: Clock) -> bool:
    """Return whether a process is past its exec. Before that it has supervisord's handlers, which swallow signals."""
    return _command_line(pid) != _command_line(server.call("getPID", deadline=max(clock.left, 0.5)))


def _command_line(pid: int) -> bytes:
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read(65536)
    except OSError:
        return b""


def _stop_by_supervisor(server: Supervisor, options: Options, clock: Clock) -> None:
    _quietly(NOT_RUNNING, server.call, "stopProcess", options["name"], False, deadline=max(clock.left, 0.5))


def _quietly(code: int, call: t.Callable[..., t.Any], *args: t.Any, **named: t.Any) -> None:
    """Call; the fault *code* counts as success."""
    try:
        call(*args, **named)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != code:
            raise


def send_signal(options: Options, name: str, deadline: float) -> None:
    """Send a signal (``HUP``, ``CONT``, ...) to the program's process."""
    try:
        Supervisor(options).call("signalProcess", options["name"], name, deadline=deadline)
    except xmlrpc.client.Fault as fault:
        raise _refused("signal", options, fault) from None
    except Unreachable as error:
        raise _silent(error) from None


def reset_failed(options: Options, deadline: float) -> str:
    """Do nothing: supervisor starts a FATAL program on request and has no counter to reset."""
    return "supervisor has no start limit to reset"


def hold(options: Options, deadline: float) -> str:
    """Keep supervisor from starting the program automatically, as far as it can.

    A stopped or FATAL program stays so; one in BACKOFF is taken out of its loop. ``autorestart`` itself cannot
    be changed at run time, so a *running* program with autorestart cannot be held: StepError.
    """
    state = load_state(options, deadline)
    if state["state"] == "backoff":
        _stop_by_supervisor(Supervisor(options), options, Clock(deadline))
        return "taken out of its restart loop"
    if state["state"] in ("stopped", "failed") or state["autorestart"] == "false":
        return "supervisor will not start it automatically"
    raise StepError(
        "supervisor cannot hold %s while it runs: autorestart is %s, fixed at run time; set autorestart=false in its configuration"
        % (one_line(options["name"], 60), state["autorestart"] or "unknown"),
        held=False,
    )


def release(options: Options, deadline: float) -> str:
    """Do nothing: a start is all that supervisor needs."""
    return "nothing to put back under supervisor: a start re-enables its restarts"


def extend_start_timeout(options: Options, seconds: float, deadline: float) -> str:
    """supervisor never stops a program for starting slowly."""
    return "supervisor has no start timeout"


def logs_tail(options: Options, lines: int, deadline: float) -> bytes:
    """Return the last lines that the program wrote, standard error after standard output; b"" for none."""
    try:
        info = Supervisor(options).call("getProcessInfo", options["name"], deadline=deadline)
    except (Unreachable, xmlrpc.client.Fault):
        return b""
    paths = dict.fromkeys(str(info[key]) for key in ("stdout_logfile", "stderr_logfile") if info[key])
    return b"".join(last_lines(tail_of(path), lines) for path in paths)


def last_start(options: Options, deadline: float) -> dict[str, t.Any]:
    """Return {began, invocation, files} of the program's last start."""
    try:
        info = Supervisor(options).call("getProcessInfo", options["name"], deadline=deadline)
    except (Unreachable, xmlrpc.client.Fault):
        return {}
    files = [str(info[key]) for key in ("stdout_logfile", "stderr_logfile") if info.get(key)]
    return {"began": float(info["start"]) or None, "files": list(dict.fromkeys(files))}


def said_since(options: Options, start: t.Mapping[str, t.Any], deadline: float) -> list[dict[str, str]]:
    """Return why supervisor could not start the program, which it alone knows; what the program wrote is in its files."""
    try:
        info = Supervisor(options).call("getProcessInfo", options["name"], deadline=deadline)
    except (Unreachable, xmlrpc.client.Fault):
        return []
    # It adds one of those sentences when the process had begun: how it ended, which is no word of the program.
    said = str(info.get("spawnerr") or "")
    is_late = info["start"] and start.get("began") and info["start"] + 1 < float(start["began"])
    return [{"from": "supervisor", "text": line} for line in said.splitlines()] if not is_late and not SPAWNED.search(said) else []


def _refused(act: str, options: Options, fault: xmlrpc.client.Fault) -> StepError:
    return StepError(
        "supervisor refused to %s %s: %s; read its log with service_info log_lines=20"
        % (act, one_line(options["name"], 60), one_line(fault.faultString, 100)),
        fault=fault.faultCode,
    )


def _silent(error: Unreachable) -> StepError:
    return StepError("supervisord does not answer (%s); set supervisor_url, or start supervisord" % one_line(error, 140), reachable=False)


def restart_command(options: Options) -> str:
    """Return the command that restarts the program."""
    return "supervisorctl -s %s restart %s" % (options["supervisor_url"], options["name"])
