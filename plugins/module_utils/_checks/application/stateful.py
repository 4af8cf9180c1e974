# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services are stateful, by name, image and running program: each has its own remedy and service_restart never restarts one.

The one list of the stores that are known. Any other store is recognised by the files that it holds open: ``_system/data_files.py``.
"""

from __future__ import annotations

import re
import typing as t


class Kind(t.NamedTuple):
    """One kind of store: its names as a pattern, its programs, what an interpreter runs of it, and the playbook that recovers it."""

    names: str
    programs: tuple[str, ...]
    marks: str = ""
    playbook: str = ""


KINDS: t.Mapping[str, Kind] = {
    "redis": Kind(
        r"redis(?:-?(?:stack|cluster|sentinel))?|valkey(?:-?(?:cluster|sentinel))?",
        ("redis-server", "redis-sentinel", "redis-check-rdb", "redis-stack-server", "valkey-server", "valkey-sentinel", "valkey-check-rdb"),
        playbook="recover-redis.yml",
    ),
    "postgresql": Kind(
        r"postgres(?:ql)?(?:-?(?:repmgr|ha|patroni))?|postmaster|spilo|patroni|timescaledb?(?:-ha)?|postgis|pgvector|citus",
        ("postgres", "postmaster", "patroni", "repmgrd", "pg_autoctl"), r"patroni(?:\.__main__)?", "recover-database.yml",
    ),
    "kafka": Kind(r"(?:cp-)?kafka|redpanda", ("redpanda",), r"kafka\.Kafka|kafka\.server\.KafkaRaftServer"),
    "zookeeper": Kind(r"(?:cp-)?zookeeper", (), r"org\.apache\.zookeeper\..*"),
    "broker": Kind(
        r"rabbitmq|nats(?:-streaming)?|jetstream|pulsar|bookkeeper|activemq(?:-artemis)?|mosquitto|emqx|vernemq|nsqd|beanstalkd|rocketmq",
        ("rabbitmq-server", "nats-server", "nats-streaming-server", "mosquitto", "nsqd", "beanstalkd", "emqx"),
        r"org\.apache\.(?:pulsar|bookkeeper|activemq|rocketmq)\..*|rabbit|emqx|vmq_server",
    ),
    "database": Kind(
        r"mysqld?|mariadbd?|percona(?:-server|-xtradb-cluster)?|galera|mongod|mongodb|mongo|ferretdb|cockroach(?:db)?|tidb|tikv|yugabyte(?:db)?"
        r"|mssql|sqlserver|oracle-?(?:xe|db)|db2|firebird|couchdb|couchbase|rethinkdb|arangodb|arangod|dgraph|surrealdb|neo4j|memgraph|janusgraph"
        r"|cassandra|scylla(?:db)?|hbase|aerospike|foundationdb|fdb|tarantool|immudb|edgedb|voltdb|singlestore",
        ("mysqld", "mariadbd", "mongod", "cockroach", "tikv-server", "tidb-server", "pd-server", "yb-tserver", "yb-master", "sqlservr",
         "oracle", "tnslsnr", "db2sysc", "firebird", "couchbase-server", "rethinkdb", "arangod", "dgraph", "surreal", "memgraph", "scylla",
         "asd", "fdbserver", "tarantool", "immudb", "edgedb-server", "memsqld"),
        r"org\.neo4j\..*|org\.apache\.(?:cassandra|hadoop\.hbase)\..*|couch_server|couchdb|org\.janusgraph\..*",
    ),
    "store": Kind(
        r"dragonfly(?:db)?|keydb|kvrocks|garnet|ssdb|ledisdb|memcached|hazelcast|infinispan|etcd|consul|vault|openbao|milvus|qdrant"
        r"|weaviate|chroma(?:db)?|lancedb|vespa|elasticsearch|opensearch|solr|meilisearch|typesense|manticore(?:search)?|sphinxsearch"
        r"|clickhouse(?:-keeper)?|influxdb[23]?|influxd|questdb|victoria-?metrics|vmstorage|prometheus|minio|seaweedfs|ceph"
        r"|hdfs|namenode|datanode|glusterd|longhorn",
        ("dragonfly", "keydb-server", "kvrocks", "garnet-server", "GarnetServer", "ssdb-server", "ledis-server", "memcached", "etcd",
         "consul", "vault", "bao", "milvus", "qdrant", "weaviate", "weaviate-server", "chroma", "vespa", "meilisearch", "searchd",
         "typesense-server", "clickhouse-server", "clickhouse", "clickhouse-keeper", "influxd", "influxdb3", "victoria-metrics",
         "victoria-metrics-prod", "vmstorage", "vmstorage-prod", "prometheus", "minio", "weed", "ceph-osd", "ceph-mon", "glusterd"),
        r"chromadb(?:\.app(?::app)?)?|chroma|chroma_server|GarnetServer\.dll|org\.(?:elasticsearch|opensearch)\..*|com\.hazelcast\..*"
        r"|org\.apache\.(?:solr|ignite|druid|pinot|hadoop\.hdfs)\..*|org\.infinispan\..*|io\.questdb\..*|solr",
    ),
}  # fmt: skip
# What may stand around the word in the name of a unit, program, image or container: sb_redis, postgresql@15-main, redis-server.service.
_AROUND = (
    r"(?:[\w.:-]*[_:.-])?(?:%s)(?:[-_.@]?(?:server|primary|master|replica|standby|node|broker|db|database|store|storage|cluster|single|standalone"
    r"|stack|community|enterprise|oss|data|ce|[\d][\w.-]*|main)|@[\w.-]+)*(?:\.service)?\Z"
)
REMEDIES: t.Mapping[str, str] = {kind: known.playbook for kind, known in KINDS.items()}
# Programs that run the program which their words name: a shell, an init of a container, what changes user, limits or environment.
WRAPPERS = frozenset((
    "sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "tini", "tini-static", "dumb-init", "catatonit", "s6-setuidgid", "gosu",
    "su-exec", "su", "sudo", "runuser", "setpriv", "setuidgid", "chpst", "numactl", "nice", "ionice", "chrt", "taskset", "env", "exec",
    "timeout", "stdbuf", "nohup", "setsid", "prlimit", "chroot", "unshare", "nsenter", "systemd-run", "pidproxy", "command",
))  # fmt: skip
# Interpreters whose program is one word among many, and those that name a module or a script.
ANY_WORD = re.compile(r"(?:java|dotnet|beam|erl)[\w.]*\Z")
SCRIPTED = re.compile(r"(?:python|pypy|node|ruby|perl)[\w.]*\Z|(?:uvicorn|gunicorn|hypercorn)\Z")
PROGRAMS = frozenset(name for known in KINDS.values() for name in known.programs)
_ENTRY = re.compile(r"(?:docker-)?entrypoint[\w.-]*")
# What is given to a wrapper: options, variables, numbers.
_GIVEN = re.compile(r"-|[A-Za-z_]\w*=|\d+\Z")

Process = t.Sequence[t.Any]


def stateful_kind(names: t.Sequence[str], processes: t.Sequence[Process], command: str) -> str:
    """Return the kind of a stateful service, "" for none.

    names: those it goes by; processes: (program, words) of each of its own; command: what starts it, where no process is there to be seen.
    """
    lines = [list(words) for _program, words in processes]
    if not any(program for program, _words in processes):
        lines = [line.split() for line in command.splitlines()]
    started = [one for words in lines for one in _started(words)]
    programs = {str(program) for program, _words in processes} | {_base(words[0]) for words in started}
    return next((kind for kind, known in KINDS.items() if _is_one(known, names, programs, started)), "")


def _is_one(known: Kind, names: t.Sequence[str], programs: t.Collection[str], started: t.Sequence[t.Sequence[str]]) -> bool:
    if any(re.match(_AROUND % known.names, name, re.IGNORECASE) for name in names) or any(one in programs for one in known.programs):
        return True
    return bool(known.marks) and any(_is_marked(words, known.marks) for words in started)


def _started(words: t.Sequence[str]) -> list[list[str]]:
    """Return the commands that the *words* of a process run: what follows its wrappers, each command of a shell's own line."""
    lines = [line.split() for line in re.split(r"\s*(?:&&|\|\||[;|&\n])\s*", " ".join(words))]
    return [rest for rest in map(_after_wrappers, lines) if rest]


def _after_wrappers(words: list[str]) -> list[str]:
    names_user = False
    while len(words) > 1 and (names_user or _is_wrapper(words[0]) or _GIVEN.match(words[0])):
        # These take the name of a user as their first word, or behind an option.
        names_user = _base(words[0]) in ("gosu", "su-exec", "s6-setuidgid", "setuidgid", "su") or words[0] in ("-u", "--user")
        words = words[1:]
    return words


def _is_wrapper(word: str) -> bool:
    return _base(word) in WRAPPERS or bool(_ENTRY.fullmatch(_base(word)))


def _base(word: str) -> str:
    return word.strip("\"'()").rpartition("/")[2]


def _is_marked(words: t.Sequence[str], marks: str) -> bool:
    """Return whether an interpreter runs what *marks* matches: a class, a module, a script, an application of a server for those."""
    program = _base(words[0])
    if ANY_WORD.match(program):
        return any(re.fullmatch(marks, _base(word)) for word in words[1:])
    module = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "-m"]
    script = [word for word in words[1:] if not word.startswith("-")][:1]
    run = [*module, *script, *(word for word in words if ":" in word)] if SCRIPTED.match(program) else []
    return any(re.fullmatch(marks, _base(word)) for word in run)
