# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a configuration Redis would refuse, and with them its start. Pure.

Only what every version refuses: a value that is not judged here may still be wrong.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

_PORT = (0, 65535)
_COUNT = (0, 2**63 - 1)
NUMBERS: t.Mapping[str, t.Tuple[int, int]] = dict(
    {"port": _PORT, "tls-port": _PORT, "cluster-port": _PORT, "replica-announce-port": _PORT, "databases": (1, 2**31 - 1)},
    **dict.fromkeys(
        ["tcp-backlog", "timeout", "tcp-keepalive", "maxclients", "hz", "repl-timeout", "repl-ping-replica-period",
         "repl-ping-slave-period",
         "repl-diskless-sync-delay", "repl-backlog-ttl", "replica-priority", "slave-priority", "auto-aof-rewrite-percentage",
         "lua-time-limit", "busy-reply-threshold", "slowlog-max-len", "min-replicas-to-write",
         "min-replicas-max-lag"], _COUNT,
    ),
)  # fmt: skip
SIZES = frozenset(["maxmemory", "repl-backlog-size", "auto-aof-rewrite-min-size"])
SWITCHES = frozenset(
    ["appendonly", "daemonize", "rdbcompression", "rdbchecksum", "stop-writes-on-bgsave-error", "no-appendfsync-on-rewrite",
     "aof-load-truncated", "aof-use-rdb-preamble", "replica-read-only", "slave-read-only", "replica-serve-stale-data",
     "slave-serve-stale-data", "repl-diskless-sync", "repl-disable-tcp-nodelay", "protected-mode", "activerehashing"]
)  # fmt: skip
_POLICIES = [
    "noeviction",
    *("%s-%s" % (which, how) for which in ("volatile", "allkeys") for how in ("lru", "lfu", "random")),
    "volatile-ttl",
]
CHOICES: t.Mapping[str, t.Sequence[str]] = {
    "appendfsync": ["always", "everysec", "no"], "loglevel": ["debug", "verbose", "notice", "warning", "nothing"],
    "maxmemory-policy": _POLICIES, "supervised": ["upstart", "systemd", "auto", "no"],
}  # fmt: skip
# Of these a later version may know more.
_OPEN = frozenset(["maxmemory-policy"])
_SIZE = re.compile(r"\d{1,20}(b|kb?|mb?|gb?)?\Z", re.I)
# What a shell, a template or systemd puts something else for.
_FILLED_IN = re.compile(r"[$`%]|\{\{")


def wrong_value(name: str, values: t.Sequence[str]) -> str:
    """Return what is wrong with the *values* of the setting *name*, in words, "" where nothing is seen to be."""
    if any(_FILLED_IN.search(value) for value in values):
        return ""
    if name == "save":
        return _wrong_save(" ".join(values).split())
    why = _expected(name, values[0]) if len(values) == 1 else "one value" if _is_judged(name) else ""
    shown = " ".join([name, *(value or '""' for value in values)])
    return "%s, where Redis wants %s" % (one_line(shown, 60), why) if why else ""


def _is_judged(name: str) -> bool:
    return name in NUMBERS or name in SIZES or name in SWITCHES or name in CHOICES


def _expected(name: str, value: str) -> str:
    """Return what Redis wants instead of *value*, "" where it takes that."""
    if name in NUMBERS:
        least, most = NUMBERS[name]
        good = re.fullmatch(r"-?\d{1,19}", value) and least <= int(value) <= most
        return "" if good else "a number" if (least, most) == _COUNT else "a number from %d to %d" % (least, most)
    if name in SIZES:
        return "" if _SIZE.match(value) else "a size such as 512mb"
    if name in SWITCHES:
        return "" if value.lower() in ("yes", "no") else "yes or no"
    if name in CHOICES and value.lower() not in CHOICES[name] and not (name in _OPEN and re.fullmatch(r"[a-z]+-[a-z-]+", value.lower())):
        return "one of %s" % ", ".join(CHOICES[name])
    return ""


def _wrong_save(words: t.Sequence[str]) -> str:
    good = len(words) % 2 == 0 and all(re.fullmatch(r"\d{1,18}", word) for word in words)
    return "" if good else "save %s, where Redis wants pairs of seconds and changes" % one_line(" ".join(words), 60)


def is_unbalanced(line: str) -> bool:
    """Return whether the quotes of a line do not close, or something other than a space follows a closing one."""
    quote, at = "", 0
    while at < len(line):
        sign = line[at]
        if quote and sign == "\\" and (quote == '"' or line[at + 1 : at + 2] == "'"):
            at += 1
        elif quote and sign == quote:
            quote = ""
            if line[at + 1 : at + 2].strip():
                return True
        elif not quote and sign in "\"'":
            quote = sign
        at += 1
    return bool(quote)
