# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which settings a new container of a service would differ from the present one, by what Compose reads and what Docker has.

Each setting is compared as both sides mean it: what the file leaves out is what the image or Docker gives. Values of environment
variables, labels, commands and options may be secrets, so of these only the names are given.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

Told = t.Mapping[str, t.Any]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\Z", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
MOUNTED = "volume"
JOINED = "network"


class Wanted(t.NamedTuple):
    """``service`` is what Compose reads for it, ``model`` all of the project, ``image`` the Config of the present image."""

    service: Told
    model: Told
    image: Told


class Change(t.NamedTuple):
    """``what`` is the kind of setting, ``text`` the sentence about it."""

    what: str
    text: str


def changes(wanted: Wanted, seen: Told) -> list[Change]:
    """Return every setting in which a container made from *wanted* would differ from the one that was *seen*, beside its image."""
    has, host = seen["Config"], seen["HostConfig"]
    found = [Change("environment", one) for one in environment(has.get("Env") or [], wanted)]
    found += _maps(MOUNTED, mounts_wanted(wanted), mounts_of(seen, wanted.image))
    found += _maps("port", _ports_wanted(wanted.service), _ports_of(host))
    found += _maps(JOINED, networks_wanted(wanted), networks_of(seen))
    found += [
        Change(name, "%s: %s instead of %s" % (name, _shown(then), _shown(now)))
        for name, then, now in _plain(wanted.service, has, host, wanted.image)
        if then != now
    ]
    found += [Change(name, name) for name, then, now in _secret(wanted, has, host) if then != now]
    return found


def names_changed(found: t.Sequence[Change]) -> list[Change]:
    """Return what may differ although the settings of the service are the same: names of volumes and networks stand beside it."""
    moved = [one for one in found if one.what == MOUNTED and not re.search(r": none instead of | instead of none\Z", one.text)]
    return moved + [one for one in found if one.what == JOINED]


def _shown(value: t.Any) -> str:
    text = ", ".join(str(one) for one in sorted(value, key=str)) if isinstance(value, (set, frozenset, list, tuple)) else str(value)
    return one_line(text, 80) or "none"


def _maps(word: str, then: t.Mapping[str, str], now: t.Mapping[str, str]) -> list[Change]:
    """Tell what comes, goes or is another one, by name; *then* is what a new container would have."""
    return [
        Change(word, "%s %s: %s instead of %s" % (word, one_line(name, 80), _shown(then.get(name, "")), _shown(now.get(name, ""))))
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


# Environment -------------------------------------------------------------------------------------


def environment(has: t.Sequence[str], wanted: Wanted) -> list[str]:
    """Return the names of environment variables that would come (+), go (-) or change (~)."""
    now, base = _variables(has), _variables(wanted.image.get("Env") or [])
    then = {str(name): _text(value) for name, value in (wanted.service.get("environment") or {}).items() if value is not None}
    marks = {name: "~" if name in now else "+" for name in then if _text(now.get(name, "\0")) != then[name]}
    marks.update({name: "-" for name, value in now.items() if name not in then and base.get(name) != value})
    return [one_line(marks[name] + name, 60) for name in sorted(marks)]


def _variables(listed: t.Sequence[str]) -> dict[str, str]:
    return dict(one.partition("=")[::2] for one in listed)


def _text(value: t.Any) -> str:
    """Compose prints a dollar sign twice, so that its output could be read again."""
    return str(value).replace("$$", "$")


# Mounts, ports, networks -------------------------------------------------------------------------


def mounts_wanted(wanted: Wanted) -> dict[str, str]:
    """Return what would be mounted, by its place in the container."""
    found = {}
    for one in wanted.service.get("volumes") or []:
        kind = _first(one.get("type"), "volume")
        if kind in ("volume", "bind"):
            found[_folder(one.get("target"))] = _mount(kind, _source(wanted.model, kind, one), bool(one.get("read_only")))
    for word, folder in (("secrets", "/run/secrets"), ("configs", "/")):
        for one in wanted.service.get(word) or []:
            file = str(((wanted.model.get(word) or {}).get(one.get("source")) or {}).get("file") or "")
            # What has no file of its own is copied into the container.
            if file:
                found[_folder(os.path.join(folder, _first(one.get("target"), one.get("source"))))] = _mount("bind", _folder(file), True)
    return found


def _source(model: Told, kind: str, one: Told) -> str:
    source = _text(_first(one.get("source")))
    return _folder(source) if kind == "bind" else _named(model, "volumes", source) if source else ""


def _first(*values: t.Any) -> t.Any:
    """Return the first of *values* that says something, "" for none."""
    return next((one for one in values if one), "")


def _mount(kind: str, source: str, read_only: bool) -> str:
    name = source or "one of its own"
    return "%s %s%s" % (kind, name, " (read only)" if read_only else "")


def _named(model: Told, what: str, key: str) -> str:
    return str(((model.get(what) or {}).get(key) or {}).get("name") or key)


def mounts_of(seen: Told, image: Told) -> dict[str, str]:
    """Return what is mounted; volumes that the image alone asks for are no setting."""
    found = {}
    for one in seen.get("Mounts") or []:
        kind, place = str(one.get("Type")), os.path.normpath(str(one.get("Destination")))
        own = kind == "volume" and re.match(r"[0-9a-f]{64}\Z", str(one.get("Name") or ""))
        if kind not in ("volume", "bind") or (own and place in {os.path.normpath(name) for name in image.get("Volumes") or {}}):
            continue
        source = "" if own else str(one.get("Name") or "") if kind == "volume" else os.path.normpath(str(one.get("Source")))
        found[place] = _mount(kind, source, not one.get("RW", True))
    return found


def _ports_wanted(service: Told) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for one in service.get("ports") or []:
        name = "%s/%s" % (one.get("target"), one.get("protocol") or "tcp")
        found.setdefault(name, []).append(_published(one.get("host_ip"), one.get("published")))
    return {name: ", ".join(sorted(set(many))) for name, many in found.items()}


def _ports_of(host: Told) -> dict[str, str]:
    bound = host.get("PortBindings") or {}
    return {
        str(name): ", ".join(sorted({_published(one.get("HostIp"), one.get("HostPort")) for one in many}))
        for name, many in bound.items()
        if many
    }


def _published(address: t.Any, port: t.Any) -> str:
    address, port = str(address or ""), str(port or "")
    port = "any port" if port in ("", "0") else port
    return port if address in ("", "0.0.0.0", "::") else "%s:%s" % (address, port)


def networks_wanted(wanted: Wanted) -> dict[str, str]:
    """Return the networks that it would join, with the address that it asks for."""
    mode = str(wanted.service.get("network_mode") or "")
    if mode:
        return {mode.partition(":")[0].replace("service", "container"): "joined"}
    given = wanted.service.get("networks") or {"default": None}
    return {_named(wanted.model, "networks", str(key)): _joined((one or {}).get("ipv4_address")) for key, one in given.items()}


def _joined(address: t.Any) -> str:
    return "joined" + (" as %s" % address if address else "")


def networks_of(seen: Told) -> dict[str, str]:
    """Return the networks that it is in; without one of its own the mode is its name."""
    mode = str(seen["HostConfig"].get("NetworkMode") or "").partition(":")[0]
    if mode in ("host", "none", "container"):
        return {mode: "joined"}
    told = (seen.get("NetworkSettings") or {}).get("Networks") or {}
    return {str(name): _joined(((one or {}).get("IPAMConfig") or {}).get("IPv4Address")) for name, one in told.items()}


# Single settings ---------------------------------------------------------------------------------


def _plain(service: Told, has: Told, host: Told, image: Told) -> t.Iterator[tuple[str, t.Any, t.Any]]:
    """Yield (name, what a new container would have, what this one has) of settings whose values may be shown."""
    yield from _of_image(service, has, image)
    yield from _limits(service, host)
    yield "restart", *_restarts(service, host.get("RestartPolicy") or {})
    given = service.get("ulimits") or {}
    # Others are those of the engine.
    yield "ulimits", _ulimits(given), {_ulimit(one) for one in host.get("Ulimits") or [] if one.get("Name") in given}
    yield "devices", _devices(service.get("devices")), {_device(one) for one in host.get("Devices") or []}
    yield "tmpfs", _tmpfs(service), {_folder(name) for name in host.get("Tmpfs") or {}} | _tmpfs_mounts(host)
    yield "extra_hosts", _hosts(service.get("extra_hosts")), _hosts(host.get("ExtraHosts"))
    yield "stop_grace_period", _seconds(service.get("stop_grace_period")), has.get("StopTimeout")
    for name, key, meant in _SAME:
        yield name, meant(service.get(name)), meant(host.get(key))


def _of_image(service: Told, has: Told, image: Told) -> t.Iterator[tuple[str, t.Any, t.Any]]:
    """What the file leaves out is what the image says."""
    yield "user", str(_first(service.get("user"), image.get("User"))), str(_first(has.get("User")))
    yield "working_dir", _folder(_first(service.get("working_dir"), image.get("WorkingDir"))), _folder(has.get("WorkingDir"))
    yield "stop_signal", str(_first(service.get("stop_signal"), image.get("StopSignal"))), str(_first(has.get("StopSignal")))


def _limits(service: Told, host: Told) -> t.Iterator[tuple[str, t.Any, t.Any]]:
    resources = (service.get("deploy") or {}).get("resources") or {}
    most, held = resources.get("limits") or {}, resources.get("reservations") or {}
    yield "memory limit", _bytes(_first(service.get("mem_limit"), most.get("memory"))), _bytes(host.get("Memory"))
    kept = _first(service.get("mem_reservation"), held.get("memory"))
    yield "memory reservation", _bytes(kept), _bytes(host.get("MemoryReservation"))
    yield "cpus", _number(_first(service.get("cpus"), most.get("cpus"))), _number(host.get("NanoCpus")) / 1e9
    yield "pids limit", _count(_first(service.get("pids_limit"), most.get("pids"))), _count(host.get("PidsLimit"))
    if service.get("shm_size"):
        yield "shm_size", _bytes(service["shm_size"]), _bytes(host.get("ShmSize"))


def _secret(wanted: Wanted, has: Told, host: Told) -> t.Iterator[tuple[str, t.Any, t.Any]]:
    """Yield (name, what a new container would have, what this one has) of settings whose values may be secret."""
    service, image = wanted.service, wanted.image
    entry = service.get("entrypoint")
    yield "entrypoint", _list(entry) if entry is not None else _list(image.get("Entrypoint")), _list(has.get("Entrypoint"))
    command = service.get("command")
    # An entrypoint of its own leaves out the command of the image.
    inherited = [] if entry is not None else _list(image.get("Cmd"))
    yield "command", _list(command) if command is not None else inherited, _list(has.get("Cmd"))
    yield "healthcheck", _check_wanted(service.get("healthcheck"), image), _check_of(has.get("Healthcheck"))
    marked = image.get("Labels") or {}
    yield "labels", _labels(service.get("labels"), marked), _labels(has.get("Labels"), marked)
    # Docker adds this to a privileged container.
    own = {"label:disable"} if host.get("Privileged") else set()
    yield "security_opt", _options(service.get("security_opt")) - own, _options(host.get("SecurityOpt")) - own
    yield "sysctls", _sysctls(service.get("sysctls")), _sysctls(host.get("Sysctls"))
    logging = service.get("logging") or {}
    if logging:
        kept = host.get("LogConfig") or {}
        options = {key: _text(value) for key, value in (logging.get("options") or {}).items()}
        yield "logging", (logging.get("driver") or kept.get("Type"), options), (kept.get("Type"), kept.get("Config") or {})


def _folder(path: t.Any) -> str:
    return os.path.normpath(str(path)) if path else ""


def _number(value: t.Any) -> float:
    try:
        return round(float(value or 0), 6)
    except (TypeError, ValueError):
        return 0.0


def _count(value: t.Any) -> float:
    return max(0.0, _number(value))


def _bytes(value: t.Any) -> int:
    found = _SIZE.match(str(value or 0).strip())
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()]) if found else 0


def _seconds(value: t.Any) -> t.Optional[float]:
    """Return a duration in seconds, None for none: ``1m30s``, or a number of nanoseconds as Docker has it."""
    if value in (None, "", 0):
        return None
    if isinstance(value, (int, float)):
        return float(value) / 1e9
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(str(value))), 9)


def _restarts(service: Told, policy: Told) -> tuple[str, str]:
    now = str(policy.get("Name") or "no")
    most = int(policy.get("MaximumRetryCount") or 0)
    now += ":%d" % most if now == "on-failure" and most else ""
    # Compose makes a policy of its own of this; the hash of the settings shows a change.
    of_deploy = (service.get("deploy") or {}).get("restart_policy")
    return (now if of_deploy else str(service.get("restart") or "no")), now


def _capabilities(names: t.Any) -> set[str]:
    return {re.sub(r"\ACAP_", "", str(name).upper()) for name in names or []}


def _words(many: t.Any) -> set[str]:
    return {str(one) for one in ([many] if isinstance(many, str) else many or [])}


def _ulimits(given: t.Mapping[str, t.Any]) -> set[str]:
    both = {name: one if isinstance(one, dict) else {"soft": one, "hard": one} for name, one in given.items()}
    return {"%s %s:%s" % (name, one.get("soft"), one.get("hard")) for name, one in both.items()}


def _ulimit(one: Told) -> str:
    return "%s %s:%s" % (one.get("Name"), one.get("Soft"), one.get("Hard"))


def _devices(given: t.Any) -> set[str]:
    found = set()
    for one in given or []:
        parts = [one.get("source"), one.get("target")] if isinstance(one, dict) else str(one).split(":")
        found.add("%s:%s" % (parts[0], parts[1] if len(parts) > 1 and parts[1] else parts[0]))
    return found


def _device(one: Told) -> str:
    return "%s:%s" % (one.get("PathOnHost"), one.get("PathInContainer"))


def _tmpfs(service: Told) -> set[str]:
    listed = {os.path.normpath(name.partition(":")[0]) for name in _words(service.get("tmpfs"))}
    return listed | {os.path.normpath(str(one.get("target"))) for one in service.get("volumes") or [] if one.get("type") == "tmpfs"}


def _tmpfs_mounts(host: Told) -> set[str]:
    return {os.path.normpath(str(one.get("Target"))) for one in host.get("Mounts") or [] if one.get("Type") == "tmpfs"}


def _hosts(given: t.Any) -> set[str]:
    if isinstance(given, dict):
        listed = ["%s:%s" % (name, one) for name, many in given.items() for one in ([many] if isinstance(many, str) else many or [])]
    else:
        listed = [re.sub(r"=", ":", str(one), count=1) if "=" in str(one) else str(one) for one in given or []]
    return set(listed)


def _list(given: t.Any) -> list[str]:
    return [_text(one) for one in ([given] if isinstance(given, str) else given or [])]


def _options(given: t.Any) -> set[str]:
    # Compose writes label:disable, Docker may have label=disable.
    return {str(one).replace("=", ":", 1) for one in given or []}


def _sysctls(given: t.Any) -> set[str]:
    pairs = given.items() if isinstance(given, dict) else [str(one).partition("=")[::2] for one in given or []]
    return {"%s=%s" % pair for pair in pairs}


def _labels(given: t.Any, inherited: Told) -> set[str]:
    pairs = given.items() if isinstance(given, dict) else [str(one).partition("=")[::2] for one in given or []]
    return {
        "%s=%s" % (name, _text(value))
        for name, value in pairs
        if not str(name).startswith("com.docker.compose.") and inherited.get(name) != value
    }


def _check_wanted(given: t.Any, image: Told) -> dict[str, t.Any]:
    """Return the healthcheck that a container would get: what the file leaves out is the image's."""
    base = _check_of(image.get("Healthcheck"))
    if not given:
        return base
    test = _list(given.get("test"))
    if given.get("disable") or test[:1] == ["NONE"]:
        return {"test": ["NONE"]}
    times = {name: _seconds(given.get(name)) for name in ("interval", "timeout", "start_period", "start_interval")}
    own = {"test": test, "retries": int(_number(given.get("retries"))), **times}
    return {**base, **{name: value for name, value in own.items() if value}}


def _check_of(told: t.Any) -> dict[str, t.Any]:
    if not told or not told.get("Test"):
        return {}
    if told["Test"][:1] == ["NONE"]:
        return {"test": ["NONE"]}
    keys = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod", "start_interval": "StartInterval"}
    found: dict[str, t.Any] = {name: _seconds(told.get(key)) for name, key in keys.items()}
    found.update(test=_list(told["Test"]), retries=int(_number(told.get("Retries"))))
    return {name: value for name, value in found.items() if value}


def _name(value: t.Any) -> str:
    return str(value or "")


# Settings that the file and Docker have in one form: (name in the file, name in Docker's HostConfig, what a value means).
_SAME: tuple[tuple[str, str, t.Callable[[t.Any], t.Any]], ...] = (
    ("cpu_shares", "CpuShares", _number), ("cpu_quota", "CpuQuota", _number), ("cpuset", "CpusetCpus", _name),
    ("privileged", "Privileged", bool), ("read_only", "ReadonlyRootfs", bool), ("init", "Init", bool),
    ("cap_add", "CapAdd", _capabilities), ("cap_drop", "CapDrop", _capabilities), ("dns", "Dns", _words),
    ("dns_search", "DnsSearch", _words),
    ("group_add", "GroupAdd", _words), ("pid", "PidMode", _name), ("userns_mode", "UsernsMode", _name), ("uts", "UTSMode", _name),
)  # fmt: skip
