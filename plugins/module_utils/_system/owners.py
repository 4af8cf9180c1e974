# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else starts, stops and fails over a store: Patroni, repmgr, Pacemaker, an operator and their like. One list, for every store.

Evidence is what such a manager leaves in or beside the data directory, a configuration that names this store, or a running process of it
that does. An installed package is no evidence. Loaders never raise; ``sentence`` is pure.
"""

from __future__ import annotations

import glob
import os
import re
import typing as t
import xml.etree.ElementTree as xml

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import tail_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import pids

Found = t.Dict[str, str]
CONFIG_BYTES = 1 << 20
WORDS_BYTES = 16384
# Stores, as callers name them.
POSTGRESQL, REDIS = "PostgreSQL", "Redis"
CIB = "/var/lib/pacemaker/cib/cib.xml"


class Owner(t.NamedTuple):
    """One manager of stores.

    ``files``: what it leaves, relative to the data directory. ``settings``: (setting of the store, pattern of its value).
    ``marks``: patterns in the main configuration of the store. ``programs``: names of its processes. ``configs``: its own configurations,
    relative to the data directory or absolute, which count where they name this store, as do those that a process of it names; with
    ``alive`` only while one runs. ``names``: how they name a store, "" by its data directory. ``resources``: types in Pacemaker.
    """

    name: str
    command: str
    stores: t.Tuple[str, ...] = (POSTGRESQL,)
    files: t.Tuple[str, ...] = ()
    settings: t.Tuple[t.Tuple[str, str], ...] = ()
    marks: t.Tuple[str, ...] = ()
    programs: t.Tuple[str, ...] = ()
    configs: t.Tuple[str, ...] = ()
    alive: bool = False
    names: str = ""
    resources: t.Tuple[str, ...] = ()


# The operators of Zalando, CrunchyData and Percona run Patroni.
OWNERS: t.Tuple[Owner, ...] = (
    Owner("CloudNativePG", "kubectl cnpg status CLUSTER", settings=(("cnpg.config_sha256", "."),)),
    Owner(
        "Patroni", "patronictl list", files=("patroni.dynamic.json", "patroni.yml", "patroni.yaml", "postgresql.base.conf"),
        marks=(r"overwritten by Patroni",), programs=("patroni",), configs=("/etc/patroni.yml", "/etc/patroni/*.y*ml"),
    ),
    Owner(
        "pg_auto_failover", "pg_autoctl show state", files=("postgresql-auto-failover*.conf",), marks=(r"postgresql-auto-failover",),
        programs=("pg_autoctl",),
    ),
    Owner(
        "repmgr", "repmgr cluster show", settings=(("shared_preload_libraries", r"\brepmgr\b"),), programs=("repmgrd",),
        configs=("/etc/repmgr.conf", "/etc/repmgr/*.conf", "/etc/repmgr/*/*.conf", "/etc/postgresql/*/*/repmgr.conf", "../repmgr.conf"),
    ),
    Owner("Stolon", "stolonctl status", files=("../keeperstate", "../dbstate"), programs=("stolon-keeper",)),
    Owner("EDB Failover Manager", "efm cluster-status CLUSTER", configs=("/etc/edb/efm-*/*.properties",)),
    Owner(
        "Pacemaker", "crm_mon -1r", stores=(POSTGRESQL, REDIS), marks=(r"rep_mode\.conf",),
        resources=("pgsql", "pgsqlms", "redis", "valkey"),
    ),
    Owner(
        "Sentinel", "redis-cli -p 26379 SENTINEL MASTERS", stores=(REDIS,), programs=("redis-sentinel", "valkey-sentinel"), alive=True,
        configs=("/etc/redis/sentinel.conf", "/etc/redis-sentinel.conf", "/etc/redis/redis-sentinel.conf", "/etc/valkey/sentinel.conf"),
        names=r"^\s*sentinel\s+monitor\s+\S+\s+\S+\s+{port}\s",
    ),
)  # fmt: skip


def load_owners(
    store: str, data_dir: str, *, config: str = "", settings: t.Optional[t.Mapping[str, str]] = None, unit: str = "", port: int = 0
) -> t.List[Found]:
    """Return [{owner, evidence, command}], one for each manager that has the *store* in *data_dir*.

    *config* is the text of the store's main configuration, *settings* its effective settings, *unit* its systemd unit.
    """
    found = []
    for owner in OWNERS:
        if data_dir and store in owner.stores:
            evidence = (
                _file(owner, data_dir)
                or _setting(owner, settings or {})
                or _mark(owner, config)
                or _named(owner, data_dir, port)
                or _resource(owner, data_dir, unit)
            )
            found += [{"owner": owner.name, "evidence": one_line(evidence, 200), "command": owner.command}] if evidence else []
    return found


def sentence(found: t.Sequence[t.Mapping[str, str]]) -> str:
    """Return who owns the store, by which evidence and what to type. Pure."""
    who = " and ".join("%s (%s)" % (one["owner"], one["evidence"]) for one in found)
    return "it belongs to %s, which starts, stops and fails it over itself: %s" % (who, found[0]["command"]) if found else ""


def _file(owner: Owner, data_dir: str) -> str:
    """Return the first file that the manager left there."""
    for pattern in owner.files:
        for path in sorted(glob.glob(os.path.join(glob.escape(data_dir), pattern))):
            if os.path.isfile(path):
                return os.path.normpath(path)
    return ""


def _setting(owner: Owner, settings: t.Mapping[str, str]) -> str:
    return next(
        ("%s = %s" % (name, settings[name]) for name, pattern in owner.settings if re.search(pattern, settings.get(name) or "")), ""
    )


def _mark(owner: Owner, config: str) -> str:
    found = next((hit for hit in (re.search(pattern, config) for pattern in owner.marks) if hit), None)
    return "the configuration says %r" % found.group() if found else ""


def _named(owner: Owner, data_dir: str, port: int) -> str:
    """Return the process or the configuration of the manager that names this store."""
    running = _running(owner)
    for pid, words in running:
        for path in ["", *[word for word in words if word.startswith("/") and os.path.isfile(word)]]:
            if _is_named(owner, _text(path) if path else "\n".join(words), data_dir, port):
                return "process %d%s" % (pid, " with " + path if path else "")
    if running or not owner.alive:
        for pattern in owner.configs:
            for path in sorted(glob.glob(os.path.join(glob.escape(data_dir), pattern))):
                if _is_named(owner, _text(path), data_dir, port):
                    return os.path.normpath(path)
    return ""


def _is_named(owner: Owner, text: str, data_dir: str, port: int) -> bool:
    """Return whether *text* names the store, as a whole path and in no comment."""
    told = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    if owner.names:
        return bool(port and re.search(owner.names.format(port=port), told, re.M))
    paths = "|".join(re.escape(path.rstrip("/")) for path in (data_dir, os.path.realpath(data_dir)))
    return bool(re.search(r"(?<![\w/.-])(?:%s)/?(?![\w/.-])" % paths, told))


def _text(path: str) -> str:
    return tail_of(path, CONFIG_BYTES).decode("utf-8", "replace")


def _running(owner: Owner) -> t.List[t.Tuple[int, t.List[str]]]:
    """Return (pid, words) of the manager's processes that see the same files as we do."""
    return (
        [(pid, words) for pid, words in _processes() if _is_program(words, owner.programs) and _same_files(pid)] if owner.programs else []
    )


def _processes() -> t.Iterator[t.Tuple[int, t.List[str]]]:
    for pid in pids():
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                words = file.read(WORDS_BYTES).decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if words[0]:
            yield pid, words


def _is_program(words: t.Sequence[str], programs: t.Sequence[str]) -> bool:
    """Return whether a command line is one of *programs*: itself, as a script, or as a module of Python."""
    heads = [os.path.basename(word.split(" ")[0]) for word in words[:3]]
    return heads[0] in programs or (re.match(r"python[0-9.]*\Z", heads[0]) is not None and bool(set(heads[1:]) & set(programs)))


def _same_files(pid: int) -> bool:
    try:
        return os.readlink("/proc/%d/ns/mnt" % pid) == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return True


def _resource(owner: Owner, data_dir: str, unit: str) -> str:
    """Return the resource of Pacemaker that is this store."""
    if not owner.resources or not os.path.isfile(CIB):
        return ""
    try:
        tree = xml.fromstring(_text(CIB))  # noqa: S314 - a local file of root's
    except xml.ParseError:
        return ""
    return resource_in(tree, owner.resources, {data_dir.rstrip("/"), os.path.realpath(data_dir)}, unit)


def resource_in(tree: t.Any, types: t.Sequence[str], folders: t.AbstractSet[str], unit: str) -> str:
    """Return which resource of a CIB has one of *folders*, or is the systemd *unit*, "" for none. Pure."""
    for one in tree.iter("primitive"):
        kind, values = str(one.get("type")), {str(pair.get("value")).rstrip("/") for pair in one.iter("nvpair")}
        by_unit = one.get("class") == "systemd" and unit and kind == unit.replace(".service", "")
        if by_unit or (kind in types and values & set(folders)):
            return "resource %s, %s:%s" % (one.get("id"), one.get("class"), kind)
    return ""
