# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services under systemd, by ``systemctl`` with argument lists, each call bounded.

Holds, longer start timeouts and patient stops are runtime drop-ins under /run: they end at the
next boot by themselves and at ``release`` before that.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock, Options, ServiceState
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import LOG_BYTES, last_lines

kill = service_state.kill_process

MANAGER = "systemd"
RESETS_FAILED = True
MAKES_FOLDERS = True
PROGRAM = "systemctl"
ROOT_ONLY = True
RELEASED_AS = "directories"
FORGETS_AT_BOOT = True
NAME = re.compile(r"[A-Za-z0-9_.\\@:][A-Za-z0-9_.\\@:-]{0,200}\Z")
PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "MainPID", "NRestarts", "Result", "ExecMainCode", "ExecMainStatus", "Restart", "Type",
    "TimeoutStartUSec", "TimeoutStopUSec", "Job", "StartLimitBurst", "StatusText", "CanStart", "CanStop",
    "ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic", "ExecStartPre", "ExecStart",
    "WorkingDirectory", "User", "Environment", "EnvironmentFiles", "FragmentPath", "DropInPaths", "ControlGroup", "TriggeredBy",
    "NeedDaemonReload", "RootDirectory", "RootImage", "FreezerState",
)  # fmt: skip
UNREAD = "its unit file has changed, and systemd still goes by what it read before: systemctl daemon-reload"
# The most lines of one start that are read.
SAID_LINES = 400
DROP_INS = {"hold": "90-somabrain-hold.conf", "start": "90-somabrain-start-timeout.conf", "stop": "90-somabrain-patient-stop.conf"}
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "month": 2629800.0, "y": 31557600.0}


def _run(options: Options, words: t.Sequence[str], deadline: float, tool: str = "systemctl") -> tuple[int, bytes, str]:
    """Run one command; a missing tool returns 127 and a hanging one 124, as with a shell and timeout(1)."""
    scope = ["--user"] if options.get("scope") == "user" else []
    environment = dict(os.environ, LC_ALL="C", SYSTEMD_COLORS="0", SYSTEMD_PAGER="")
    environment.setdefault("XDG_RUNTIME_DIR", "/run/user/%d" % os.getuid())
    try:
        done = subprocess.run(
            [tool, *scope, "--no-pager", *words], stdin=subprocess.DEVNULL, capture_output=True,
            env=environment, timeout=max(deadline, 0.05), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, b"", "%s did not answer within %.1f s" % (tool, deadline)
    except OSError as error:
        return 127, b"", "%s cannot be run: %s" % (tool, error.strerror)
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").strip()


def _must(options: Options, words: t.Sequence[str], deadline: float) -> None:
    code, dummy, error = _run(options, words, deadline)
    if code:
        raise StepError("systemctl %s failed: %s" % (one_line(" ".join(words), 80), one_line(error or "exit code %d" % code, 160)), rc=code)


def check_name(name: str) -> None:
    """Raise StepError unless *name* can only mean one unit (no pattern, no path, no option, no template without its instance)."""
    if re.search(r"@(\.[a-z]+)?\Z", name):
        one = one_line(name.replace("@", "@NAME", 1), 64)
        raise StepError("%s is a template unit; name one instance: %s" % (one_line(name, 60), one))
    if not NAME.match(name):
        raise StepError("'%s' is not the name of one systemd unit" % one_line(name, 60))


def unit_of(options: Options) -> str:
    """Return the full unit name; a bare name means a service."""
    name = str(options["name"])
    check_name(name)
    return name if re.search(r"\.(service|socket|target|timer|mount|path|scope|slice)\Z", name) else name + ".service"


def load_state(options: Options, deadline: float) -> ServiceState:
    """Ask systemd for everything it knows; if it does not answer, the state is unknown."""
    unit = unit_of(options)
    code, out, error = _run(options, ["show", "--property=" + ",".join(PROPERTIES), "--", unit], deadline)
    text = out.decode("utf-8", "replace")
    shown = dict(line.partition("=")[::2] for line in text.splitlines())
    if code or "LoadState" not in shown:
        return service_state.blank(MANAGER, unit, reachable=False, detail="systemd: " + one_line(error or "no answer", 160))
    ours = [kind for kind in DROP_INS if os.path.exists(drop_in_path(options, unit, kind))]
    variables = variables_of(shown)
    state = dict(parse(unit, shown), held="hold" in ours, drop_ins=ours, start_command=start_command(text, variables))
    state["variables"] = {name: variables[name] for name in ("PGDATA", "PGPORT") if name in variables}
    state["fronts"] = _sockets_of(options, shown, deadline)
    state["gone"] = "" if shown.get("RootDirectory") or shown.get("RootImage") else gone(text)
    state["user"] = state["user"] or (str(os.getuid()) if options.get("scope") == "user" else "root")
    state.update(service_state.process_facts(state["pid"]) if state["pid"] else {})
    return state


def gone(text: str) -> str:
    """Return which program of its start is not there any more, by what ``systemctl show`` printed; "" for none."""
    paths = re.findall(r"^ExecStart=\{ path=(/\S*) ; ", text, re.MULTILINE)
    return next((told for told in (service_state.gone_of(path, "program") for path in paths) if told), "")


def parse(unit: str, shown: t.Mapping[str, str]) -> ServiceState:
    """Turn the properties that ``systemctl show`` printed into a state."""
    exists = shown.get("LoadState") != "not-found"
    result = shown.get("Result", "")
    word = state_word(shown) if exists else "unknown"
    burst, restarts = number(shown.get("StartLimitBurst")), number(shown.get("NRestarts"))
    limit = result == "start-limit-hit" or (word == "failed" and shown.get("Restart") != "no" and burst > 0 and restarts >= burst - 1 > 0)
    return service_state.blank(
        MANAGER, unit, exists=exists, state=word, pid=number(shown.get("MainPID")), restarts=restarts, oom_killed=_oom_killed(shown),
        start_limit_hit=limit, autorestart=shown.get("Restart"),
        start_timeout=seconds_of(shown.get("TimeoutStartUSec", "")), stop_timeout=seconds_of(shown.get("TimeoutStopUSec", "")),
        result=result if shown.get("LoadState") != "masked" else "masked", detail=_detail(shown, exists),
        unread=UNREAD if shown.get("NeedDaemonReload") == "yes" else "",
        control_group=shown.get("ControlGroup", ""), barred=barred(unit, shown) if exists else "", lived=_lived(shown),
        last_began_at=service_state.after_boot(number(shown.get("ExecMainStartTimestampMonotonic"))),
        last_ended_at=service_state.after_boot(number(shown.get("ExecMainExitTimestampMonotonic"))), **ending(shown), **surroundings(shown),
    )  # fmt: skip


def _sockets_of(options: Options, shown: t.Mapping[str, str], deadline: float) -> list[dict[str, t.Any]]:
    """Return the TCP ports at which systemd accepts connections for the unit: those of its socket units."""
    units = [name for name in shown.get("TriggeredBy", "").split() if name.endswith(".socket")]
    if not units:
        return []
    dummy, out, dummy2 = _run(options, ["show", "--property=Listen", "--", *units], deadline)
    return fronts_of(out.decode("utf-8", "replace"))


def fronts_of(text: str) -> list[dict[str, t.Any]]:
    """Return the TCP ports among the lines ``Listen=[::]:8080 (Stream)`` of socket units."""
    found = re.findall(r"^Listen=(?:\[([0-9a-fA-F:.]+)\]|([\d.]+)):(\d+) \(Stream\)$", text, re.MULTILINE)
    return [{"by": "systemd", "address": six or four, "port": int(number), "inside": 0} for six, four, number in found]


def surroundings(shown: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return where and as whom the unit starts, and what has to be mounted for it."""
    folder = shown.get("WorkingDirectory", "").lstrip("!-")
    # What systemd adds by itself (RequiresMountsFor of its working and state directory) says nothing about a disk.
    files = [shown.get("FragmentPath", ""), *shown.get("DropInPaths", "").split()]
    mounts = [path for file in files for path in service_state.values_in(file, "RequiresMountsFor") if "%" not in path]
    # What changed in its own files counts once systemd has read them; ours change nothing that a start would need.
    own = [path for path in files if path and not path.endswith(tuple(DROP_INS.values()))]
    reads = _environment_files(shown) + (own if shown.get("NeedDaemonReload") != "yes" else [])
    return {"directory": folder if folder.startswith("/") else "/", "user": shown.get("User", ""), "mounts": mounts, "reads": reads}


def variables_of(shown: t.Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the unit sets for its commands, those of its files included."""
    variables = dict(word.partition("=")[::2] for word in _shell_words(shown.get("Environment", "")) if "=" in word)
    for path in _environment_files(shown):
        variables.update(service_state.variables_in(path))
    return variables


def _environment_files(shown: t.Mapping[str, str]) -> list[str]:
    return re.findall(r"(/\S+) \(ignore_errors=", shown.get("EnvironmentFiles", ""))


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _lived(shown: t.Mapping[str, str]) -> t.Optional[float]:
    began, ended = (number(shown.get("ExecMain%sTimestampMonotonic" % word)) for word in ("Start", "Exit"))
    return round((ended - began) / 1e6, 2) if 0 < began < ended else None


def barred(unit: str, shown: t.Mapping[str, str]) -> str:
    """Return why systemd would not start the unit again or keep it running, "" if it would."""
    load, name = shown.get("LoadState", "loaded"), one_line(unit, 60)
    if load == "masked":
        return "it is masked: systemctl unmask %s" % name
    if load != "loaded":
        return "systemd cannot load its unit file (%s): systemd-analyze verify %s" % (one_line(load, 20), name)
    if shown.get("FreezerState") in ("frozen", "freezing"):
        return "it is frozen, and goes on with all that it has in memory once it is thawed: systemctl thaw %s" % name
    is_up = shown.get("ActiveState") not in ("inactive", "failed") or shown.get("Result") == "start-limit-hit"
    if "/systemd/transient/" in shown.get("FragmentPath", "") and is_up:
        return "it is a transient unit (systemd-run), which is gone once it has stopped: start it again by the same command"
    if shown.get("Type") == "oneshot":
        return "it is Type=oneshot: it does its work and exits, so there is no process to keep up"
    if "no" in (shown.get("CanStart"), shown.get("CanStop")):
        return "its unit file refuses manual start or stop (RefuseManualStart, RefuseManualStop)"
    return ""


def start_command(shown: str, variables: t.Optional[t.Mapping[str, str]] = None) -> str:
    """Return what ExecStartPre and ExecStart run, as ``systemctl show`` prints them: one after the other, the words without quotes."""
    # A word of a command may have several lines.
    pattern = r"^%s=\{ path=.*? ; argv\[\]=(.*?) ; ignore_errors="
    found = [text for kind in ("ExecStartPre", "ExecStart") for text in re.findall(pattern % kind, shown, re.M | re.S)]
    return service_state.command_text("\n".join(found), variables)


def _oom_killed(shown: t.Mapping[str, str]) -> t.Optional[bool]:
    """Return whether the kernel ended it for lack of memory; None if systemd cannot know (cgroup v1 does not say)."""
    if shown.get("Result") == "oom-kill":
        return True
    told = os.path.exists("/sys/fs/cgroup/cgroup.controllers") or ending(shown)["signal"] != "SIGKILL"
    return False if told else None


def state_word(shown: t.Mapping[str, str]) -> str:
    """Return our word for ActiveState and SubState."""
    active, sub = shown.get("ActiveState", ""), shown.get("SubState", "")
    if active == "activating":
        return "backoff" if sub.startswith("auto-restart") else "starting"
    if active in ("active", "reloading", "refreshing"):
        # Debian's wrapper postgresql.service is active (exited) whatever its clusters do, so that proves nothing.
        return "unknown" if sub == "exited" else "running"
    return {"inactive": "stopped", "failed": "failed", "deactivating": "stopping"}.get(active, "unknown")


def ending(shown: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return how the last main process ended: {exit_code, signal}; CLD_EXITED is 1, CLD_KILLED 2, CLD_DUMPED 3."""
    code, status = number(shown.get("ExecMainCode")), number(shown.get("ExecMainStatus"))
    if code == 1:
        return {"exit_code": status, "signal": ""}
    return {"exit_code": None, "signal": signal_name(status) if code in (2, 3) else ""}


def signal_name(value: int) -> str:
    """Return SIGKILL for 9, and so on."""
    try:
        return signal.Signals(value).name
    except ValueError:
        return "signal %d" % value


def number(text: t.Optional[str]) -> int:
    """Return the leading whole number of *text*, 0 for none."""
    found = re.match(r"\d{1,18}", text or "")
    return int(found.group()) if found else 0


def seconds_of(text: str) -> t.Optional[float]:
    """Return a systemd time span (``1min 30s``) in seconds, infinity as None, as JSON knows no infinity."""
    spans = re.findall(r"([0-9.]+)(us|ms|s|min|h|d|w|month|y)\b", text)
    return sum(float(value) * UNITS[unit] for value, unit in spans) if spans else None


def _detail(shown: t.Mapping[str, str], exists: bool) -> str:
    if not exists:
        return "no unit of that name is installed"
    words = "%s (%s)" % (shown.get("ActiveState"), shown.get("SubState"))
    if shown.get("SubState") == "exited":
        words += ": it has no process; name the unit that does"
    return one_line(words + (" - " + shown["StatusText"] if shown.get("StatusText") else ""), 160)


def drop_in_path(options: Options, unit: str, kind: str) -> str:
    """Return where the runtime drop-in of *kind* (hold, start, stop) lives."""
    base = "/run/systemd/system"
    if options.get("scope") == "user":
        base = os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/run/user/%d" % os.getuid()), "systemd/user")
    return os.path.join(base, unit + ".d", DROP_INS[kind])


def _write_drop_in(options: Options, kind: str, line: str, deadline: float) -> None:
    path = drop_in_path(options, unit_of(options), kind)
    text = "# Made by somabrain.incident_response; `service_control action=release` removes it.\n[Service]\n%s\n" % line
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path + ".new", 0o644)
        os.replace(path + ".new", path)
    except OSError as error:
        raise StepError("cannot write %s: %s; set become: true for this task" % (path, error.strerror)) from None
    _must(options, ["daemon-reload"], deadline)


def _remove_drop_ins(options: Options, kinds: t.Iterable[str], deadline: float) -> bool:
    removed = False
    for kind in kinds:
        path = drop_in_path(options, unit_of(options), kind)
        if os.path.exists(path):
            os.unlink(path)
            removed = True
            if not os.listdir(os.path.dirname(path)):
                os.rmdir(os.path.dirname(path))
    if removed:
        _must(options, ["daemon-reload"], deadline)
    return removed


def start(options: Options, deadline: float) -> None:
    """Queue a start; does not wait."""
    _remove_drop_ins(options, ["stop"], deadline)
    _must(options, ["start", "--no-block", "--", unit_of(options)], deadline)


def stop(options: Options, deadline: float) -> bool:
    """Stop gracefully and return within *deadline* seconds whether it has stopped. Never kills.

    systemd sends SIGKILL after TimeoutStopSec, even after our deadline; a runtime drop-in disables that until the unit has
    stopped, unless the caller may kill anyway (``force``). ExecStop= runs as configured.
    """
    clock = Clock(deadline)
    if not options.get("force") and load_state(options, clock.left)["stop_timeout"] is not None:
        _write_drop_in(options, "stop", "TimeoutStopSec=infinity", clock.left)
    _must(options, ["stop", "--no-block", "--", unit_of(options)], max(clock.left, 0.5))
    stopped = service_state.wait_for(lambda: load_state(options, max(clock.left, 0.5))["state"] in ("stopped", "failed"), clock, 0.05)
    if stopped:
        _remove_drop_ins(options, ["stop"], max(clock.left, 0.9))
    return stopped


def send_signal(options: Options, name: str, deadline: float) -> None:
    """Send a signal (``HUP``, ``CONT``, ...) to the main process of the unit."""
    # Releases before and after 252 all accept the spelling --kill-who.
    _must(options, ["kill", "--kill-who=main", "--signal=SIG" + name, "--", unit_of(options)], deadline)


def reset_failed(options: Options, deadline: float) -> str:
    """Reset failures and the start limit; systemd refuses even a repaired unit until then."""
    _must(options, ["reset-failed", "--", unit_of(options)], deadline)
    return "failures and start limit reset"


def hold(options: Options, deadline: float) -> str:
    """Disable automatic restarts until ``release`` or the next boot; cancels a scheduled restart."""
    clock = Clock(deadline)
    _write_drop_in(options, "hold", "Restart=no", clock.left)
    if load_state(options, clock.left)["state"] == "backoff":
        # Nothing runs between two attempts, so this stops only the timer.
        _must(options, ["stop", "--no-block", "--", unit_of(options)], max(clock.left, 0.5))
    return "systemd will not start it automatically until it is released"


def release(options: Options, deadline: float) -> str:
    """Remove all our drop-ins."""
    removed = _remove_drop_ins(options, DROP_INS, deadline)
    return "its own settings are in force again" if removed else "no drop-in of ours was in force"


def extend_start_timeout(options: Options, seconds: float, deadline: float) -> str:
    """Give the unit *seconds* to become ready; a reload also re-arms the timer of a start in progress."""
    _write_drop_in(options, "start", "TimeoutStartSec=%d" % max(1, round(seconds)), deadline)
    return "it has %d s to become ready" % max(1, round(seconds))


def logs_tail(options: Options, lines: int, deadline: float) -> bytes:
    """Return the unit's last journal lines, b"" if there is no journal."""
    _code, out, _error = _run(
        options, ["--quiet", "--output=short-iso", "--lines=%d" % max(1, lines), "--unit=" + unit_of(options)], deadline, "journalctl"
    )
    return last_lines(out[-LOG_BYTES:], lines)


def last_start(options: Options, deadline: float) -> dict[str, t.Any]:
    """Return {began, invocation, files} of the unit's last start."""
    words = "InvocationID,InactiveExitTimestampMonotonic,ExecMainStartTimestampMonotonic,StandardOutput,StandardError"
    dummy, out, dummy2 = _run(options, ["show", "--property=" + words, "--", unit_of(options)], deadline)
    shown = dict(line.partition("=")[::2] for line in out.decode("utf-8", "replace").splitlines())
    began = number(shown.get("InactiveExitTimestampMonotonic")) or number(shown.get("ExecMainStartTimestampMonotonic"))
    outputs = [shown.get("StandardOutput", ""), shown.get("StandardError", "")]
    return {
        "began": round(time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + began / 1e6, 2) if began else None,
        "invocation": shown.get("InvocationID", ""),
        "files": list(dict.fromkeys(one.partition(":")[2] for one in outputs if one.startswith(("file:", "append:", "truncate:")))),
    }


def said_since(options: Options, start: t.Mapping[str, t.Any], deadline: float) -> list[dict[str, str]]:
    """Return what the journal has of the unit since *start*: by its invocation where that is known, else by time."""
    since, unit = ["--since=@%.3f" % start["began"]] if start.get("began") else [], unit_of(options)
    match = ["--unit=" + unit, *since]
    if start.get("invocation"):
        field = "USER_INVOCATION_ID" if options.get("scope") == "user" else "INVOCATION_ID"
        match = ["_SYSTEMD_INVOCATION_ID=" + start["invocation"], "+", "%s=%s" % (field, start["invocation"])]
    words = ["--quiet", "--output=json", "--output-fields=MESSAGE,_COMM,SYSLOG_IDENTIFIER", "--lines=%d" % SAID_LINES, *match]
    dummy, out, dummy2 = _run(options, words, deadline, "journalctl")
    lines = [found for line in out[-LOG_BYTES:].splitlines() for found in _journal_lines(line)]
    # What systemd wrote of a start whose invocation it had not named yet has no such field.
    return lines or (said_since(options, {"began": start["began"]}, deadline) if start.get("invocation") and since else [])


def _journal_lines(line: bytes) -> list[dict[str, str]]:
    try:
        entry = json.loads(line)
        message = entry.get("MESSAGE") or ""
    except (ValueError, AttributeError):
        return []
    # What is no valid text comes as a list of bytes.
    text = bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message)
    by = "systemd" if entry.get("SYSLOG_IDENTIFIER") == "systemd" else "journal"
    return [{"from": by, "text": one} for one in text.splitlines()]


def evidence_of(options: Options) -> list[dict[str, t.Any]]:
    """Return what a run keeps before it acts: the unit's journal and properties."""
    unit = str(options["name"])
    journal = ["journalctl", "--no-pager", "--output=short-iso", "--lines=5000", "--unit=" + unit]
    return [
        {"name": "service.log", "kind": "command", "argv": journal},
        {"name": "service.txt", "kind": "command", "argv": ["systemctl", "show", "--no-pager", "--", unit]},
    ]


def restart_command(options: Options) -> str:
    """Return the command that restarts the unit."""
    return "systemctl %srestart %s" % ("--user " if options.get("scope") == "user" else "", options["name"])
