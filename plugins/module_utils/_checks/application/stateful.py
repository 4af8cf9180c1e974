# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services are stateful, by name and by running program: each has its own remedy and service_restart never restarts one."""

from __future__ import annotations

import re
import typing as t

# kind: (names of a service, programs, words of its command line, the playbook that recovers it)
_KINDS: t.Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...], str]] = {
    "redis": (r"redis|valkey|keydb", ("redis-server", "redis-check-rdb", "valkey-server", "keydb-server"), (), "recover-redis.yml"),
    "postgresql": (r"postgres|postgresql|postmaster", ("postgres", "postmaster"), (), "recover-database.yml"),
    "kafka": (r"kafka|redpanda", ("redpanda",), ("kafka.Kafka",), ""),
    "zookeeper": (r"zookeeper", (), ("org.apache.zookeeper.server.quorum.QuorumPeerMain",), ""),
    "database": (r"mysql|mysqld|mariadb|mariadbd|mongod|mongodb", ("mysqld", "mariadbd", "mongod"), (), ""),
    "store": (r"etcd|milvus|minio|qdrant|elasticsearch|opensearch|rabbitmq", ("etcd", "milvus", "minio", "qdrant", "beam.smp"), (), ""),
}
# What may stand around the word in the name of a unit, program or container: sb_redis, postgresql@15-main, redis-server.service.
_AROUND = r"(?:[\w.:-]*[_:.-])?(?:%s)(?:[-_.@]?(?:server|primary|master|replica|node|broker|db|[\d][\w.-]*|main))*(?:\.service)?\Z"
REMEDIES: t.Mapping[str, str] = {kind: known[3] for kind, known in _KINDS.items()}


def stateful_kind(names: t.Sequence[str], program: str, words: t.Sequence[str], command: str) -> str:
    """Return the kind of a stateful service, "" for none.

    names: those it goes by; program, words: of its process; command: what starts it, where no process is there to be seen.
    """
    started = [word.rpartition("/")[2] for word in command.split()[:3]]
    for kind, (pattern, programs, marks, _playbook) in _KINDS.items():
        named = any(re.match(_AROUND % pattern, name, re.IGNORECASE) for name in names)
        runs = program in programs or any(word in programs for word in (started if not program else []))
        if named or runs or any(mark in words or mark in command.split() for mark in marks):
            return kind
    return ""
