# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Triage reports made by hand, of the shape in docs/triage.schema.json, for what renders them."""

from __future__ import annotations

import copy
import typing as t

DAY = "2026-11-30T"
NOW = f"{DAY}03:00:12Z"
Report = dict[str, t.Any]


def component(name: str, what: str, health: str = "well", state: str = "ok", text: str = "it answers", **more: t.Any) -> Report:
    return {
        "name": name,
        "class": what,
        "kind": "http",
        "host": "app-1",
        "health": health,
        "state": state,
        "text": text,
        "actions": [],
        "since": None,
        "seen_from": "app-1",
        "seen_at": f"{DAY}03:00:10Z",
        "seconds": 0.04,
    } | more


def healthy() -> Report:
    """All is well; one thing is not configured."""
    parts = [
        component("api", "api", text="GET /health answered 200 in 12 ms", kind="somabrain"),
        component("redis", "working_memory", text="a value was written and read in 1 ms", kind="redis"),
        component("postgresql", "database", text="accepts connections, read-write", kind="postgresql"),
        component("balancer", "balancer", text="2 of 2 servers are up", kind="balancer"),
        component("disk", "host", text="/var has 61 % free", kind="disk"),
        component("memory", "host", text="5.2 GiB available of 8.0 GiB", kind="memory"),
    ]
    return {
        "schema": 1,
        "at": NOW,
        "seconds": 4.2,
        "inventory": "inventories/prod",
        "verdict": "well",
        "headline": "nothing is wrong",
        "impact": [],
        "onset": {"at": None, "earliest": None, "latest": None, "source": "", "text": ""},
        "alert": None,
        "severity": {"level": "", "name": "", "reasons": [], "unknown": [], "override": None, "judged": ""},
        "clock": None,
        "components": parts,
        "findings": [],
        "types": [],
        "patterns": [],
        "changes": [],
        "at_work": [],
        "before": [],
        "next": [],
        "unseen": [{"what": "Kafka", "host": "", "why": "no broker is in the inventory"}],
        "hosts": {
            "app-1": {
                "disks": [{"mount": "/var", "size_bytes": 100_000_000_000, "free_bytes": 61_000_000_000, "inodes_free_percent": 93}],
                "memory": {"total_bytes": 8_589_934_592, "available_bytes": 5_583_457_484},
                "load": {"1": 0.31, "5": 0.4, "15": 0.38, "processors": 4},
                "processes": [
                    {
                        "pid": 812,
                        "user": "somabrain",
                        "command": "/opt/somabrain/bin/python -m somabrain --port 9696",
                        "cpu_percent": 11.5,
                        "memory_bytes": 412_000_000,
                        "seconds": 86_500,
                    },
                    {
                        "pid": 640,
                        "user": "postgres",
                        "command": "postgres: checkpointer",
                        "cpu_percent": 0.4,
                        "memory_bytes": 96_000_000,
                        "seconds": 864_000,
                    },
                ],
                "clock": {"offset_seconds": 0.002, "synchronised": True},
            }
        },
        "logs": {
            "app-1": {
                "api": {
                    "lines": ["02:59:58 INFO recall 200 14 ms", "03:00:04 INFO remember 200 9 ms"],
                    "source": "journald, unit somabrain",
                    "from": 1796007000,
                    "cut": False,
                    "error": "",
                }
            }
        },
        "metrics": {
            "app-1": {
                "api": {
                    "url": "http://127.0.0.1:9696/metrics",
                    "at": 1796007610,
                    "error": "",
                    "up": True,
                    "requests": 48210,
                    "errors": 3,
                    "error_rate": 0.00006,
                    "latency_seconds": {"p50": 0.011, "p95": 0.042, "p99": 0.09, "mean": 0.015},
                    "memory_bytes": 412_000_000,
                }
            }
        },
        "series": {"recall latency p95, ms": [[1796007000 + 60 * turn, 40 + (turn * 7) % 11] for turn in range(11)]},
        "baseline": {"api": {"recall p95": {"now": 0.042, "median": 0.04, "spread": 0.006, "text": "42 ms now, 40 ms while well"}}},
    }


def redis_down() -> Report:
    """Redis is down, and the API answers without working memory because of it."""
    report = healthy()
    at = {"at": f"{DAY}02:41:07Z", "earliest": f"{DAY}02:40:52Z", "latest": f"{DAY}02:41:07Z", "source": "redis.log on app-1", "text": ""}
    report["components"][0].update(
        health="sick", state="degraded", text="GET /health answered 200, and says that working memory is missing"
    )
    report["components"][1].update(
        health="sick",
        state="down",
        text="connection refused on 127.0.0.1:6379; supervisor says FATAL, exit code 137",
        since={"at": f"{DAY}02:41:07Z", "source": "supervisor", "text": ""},
        actions=["start", "restart"],
    )
    command = "ansible-playbook -i inventories/prod playbooks/recover-redis.yml --limit app-1"
    wont = "flush, delete or replace data, or restart the API"
    report |= {
        "verdict": "sick",
        "headline": "Redis is down on app-1, so the API answers without working memory",
        "impact": ["remember and recall of recent memories fail for every tenant", "long-term memory, login and /health still answer"],
        "onset": at,
        "alert": {"at": f"{DAY}02:43:10Z", "earliest": None, "latest": None, "source": "triage_alert_at", "text": ""},
        "severity": {
            "level": "P1",
            "name": "High",
            "judged": "P1",
            "override": None,
            "reasons": [{"rule": "major-function", "text": "working memory is unavailable, and the API still answers"}],
            "unknown": ["the error rate: /metrics of app-1 did not answer within 2 s"],
        },
        "clock": {
            "respond_within_seconds": 3600,
            "from": f"{DAY}02:43:10Z",
            "from_source": "the alert",
            "due_at": f"{DAY}03:43:10Z",
            "left_seconds": 2578,
            "text": "",
        },
        "findings": [
            {
                "component": "redis",
                "class": "working_memory",
                "host": "app-1",
                "state": "down",
                "health": "sick",
                "text": "connection refused on 127.0.0.1:6379; supervisor says FATAL, exit code 137",
                "symptoms": [
                    {
                        "component": "api",
                        "host": "app-1",
                        "state": "degraded",
                        "text": "GET /health answered 200, and says that working memory is missing",
                    }
                ],
                "remedy": {
                    "playbook": "recover_redis",
                    "command": command,
                    "text": "start Redis again, load its data, and prove it with a write and a read",
                    "wont": wont,
                },
                "none": "",
            }
        ],
        "types": [
            {"id": "working-memory", "name": "Working Memory Unavailable", "verdict": "confirmed", "evidence": ["redis on app-1 is down"]},
            {"id": "outage", "name": "Complete Outage", "verdict": "denied", "evidence": ["the API answers 200"]},
            {"id": "audit", "name": "Audit Trail Failures", "verdict": "unknown", "evidence": ["no audit table was looked at"]},
        ],
        "patterns": [
            {
                "id": "memory-timeout",
                "name": "Memory timeout",
                "verdict": "denied",
                "evidence": ["Redis refuses, it does not hang"],
                "command": "",
            }
        ],
        "changes": [
            {
                "at": f"{DAY}02:40:31Z",
                "kind": "package",
                "host": "app-1",
                "what": "redis-server",
                "text": "5:7.0.15-1 to 5:7.0.15-1+deb12u1",
                "source": "dpkg.log",
            },
            {
                "at": f"{DAY}01:12:00Z",
                "kind": "release",
                "host": "app-1",
                "what": "somabrain",
                "text": "2.4.1 to 2.4.2",
                "source": "ledger",
            },
        ],
        "at_work": [],
        "before": [
            {
                "component": "redis",
                "host": "app-1",
                "count": 2,
                "days": 7,
                "last_at": "2026-11-27T02:10:44Z",
                "outcome": "recovered",
                "helped": "recover_redis, in 8 s",
                "text": "",
            }
        ],
        "next": [{"command": command, "text": "Start Redis again, load its data, and prove it with a write and a read", "wont": wont}],
        "unseen": [*report["unseen"], {"what": "/metrics", "host": "app-1", "why": "no answer within 2 s"}],
    }
    report["logs"]["app-1"]["redis"] = {
        "lines": ["412:M 02:40:52.114 # Out Of Memory allocating 81920 bytes!", "412:M 02:41:07.020 # Redis Server killed"],
        "source": "/var/log/redis/redis.log",
        "from": 1796006400,
        "cut": True,
        "error": "",
    }
    report["metrics"]["app-1"]["api"].update(
        error="no answer within 2 s", up=None, requests=None, errors=None, error_rate=None, latency_seconds=None
    )
    return report


def overridden() -> Report:
    """The same, where a person set another severity, which is overdue, somebody is at work and an approval waits."""
    report = redis_down()
    report["severity"] |= {"level": "P0", "name": "Critical", "override": {"level": "P0", "reason": "the board is watching the demo"}}
    report["clock"] |= {"respond_within_seconds": 900, "due_at": f"{DAY}02:58:10Z", "left_seconds": -122}
    report["at_work"] = [
        {
            "kind": "lease",
            "host": "app-1",
            "component": "redis",
            "text": "recover_redis by ada, run 7f3a",
            "since": f"{DAY}02:58:30Z",
            "until": f"{DAY}03:08:30Z",
        },
        {
            "kind": "approval",
            "host": "app-1",
            "component": "redis",
            "text": "plan rescue-1 waits for an approval",
            "since": f"{DAY}02:59:00Z",
            "until": None,
        },
    ]
    return report


def all_unknown() -> Report:
    """The only host cannot be reached: nothing is known, and no severity is made up."""
    report = healthy()
    for one in report["components"]:
        one.update(health="unknown", state="", text="app-1 could not be reached", seen_from="", seen_at=None, seconds=None)
    report |= {
        "verdict": "unknown",
        "headline": "it is not known whether anything is wrong: app-1 could not be reached",
        "impact": ["not known"],
        "severity": {"level": "", "name": "", "reasons": [], "unknown": ["nothing could be looked at"], "override": None, "judged": ""},
        "next": [
            {
                "command": "ansible -i inventories/prod app-1 -m ansible.builtin.ping",
                "text": "Check that app-1 is up and that you can log in",
                "wont": "change anything",
            }
        ],
        "unseen": [{"what": "everything", "host": "app-1", "why": "unreachable: ssh: connect to host app-1 port 22: Connection timed out"}],
        "hosts": {},
        "logs": {},
        "metrics": {},
        "series": {},
        "baseline": {},
    }
    return report


def many(count: int = 100) -> Report:
    """Every one of *count* hosts has a Redis that is down and an API without memory."""
    report, one = redis_down(), redis_down()
    for key in ("components", "findings", "changes", "before", "next", "unseen"):
        report[key] = []
    hosts = [f"app-{turn:03}" for turn in range(1, count + 1)]
    for host in hosts:
        for key in ("components", "findings", "changes", "before", "next", "unseen"):
            report[key] += [_moved(item, host) for item in one[key]]
    for key in ("hosts", "logs", "metrics"):
        report[key] = {host: copy.deepcopy(one[key]["app-1"]) for host in hosts}
    report["headline"] = f"Redis is down on {count} of {count} hosts, so the API answers without working memory"
    return report


def _moved(item: t.Any, host: str) -> t.Any:
    """Return a copy of an item that is about another host."""
    if isinstance(item, dict):
        return {key: _moved(value, host) for key, value in item.items()}
    if isinstance(item, list):
        return [_moved(value, host) for value in item]
    return item.replace("app-1", host) if isinstance(item, str) else item


def with_text(report: t.Any, text: str, keep: frozenset[str] = frozenset(["verdict", "health", "schema"])) -> t.Any:
    """Return a copy of a report in which every free text, key of a mapping and command is *text*."""
    if isinstance(report, dict):
        return {key: value if key in keep else with_text(value, text, keep) for key, value in report.items()}
    if isinstance(report, list):
        return [with_text(value, text, keep) for value in report]
    return text if isinstance(report, str) else report


ALL: dict[str, t.Callable[[], Report]] = {
    "healthy": healthy,
    "redis down": redis_down,
    "overridden": overridden,
    "all unknown": all_unknown,
    "many": many,
}
