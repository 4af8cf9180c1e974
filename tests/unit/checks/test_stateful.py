# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services are stores, by name, image, program and what an interpreter or a wrapper runs; and which only look like one."""

from __future__ import annotations

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.stateful import KINDS, stateful_kind

STORES = (
    "redis redis-server.service sb_redis somabrain_standalone_redis redis@6379.service redis-stack redis-stack-server redis-sentinel"
    " redis-master-0 redis-cluster valkey valkey-server@default.service keydb dragonfly dragonflydb my-dragonfly kvrocks garnet"
    " memcached memcached-1 postgres postgresql@15-main postgresql-repmgr postgresql-ha spilo-15 patroni timescaledb timescaledb-ha"
    " postgis pgvector myapp-postgresql-0 mysql mysqld mariadb mariadb@main percona-server mongod mongodb-primary mongo cockroachdb"
    " couchdb neo4j neo4j-community cassandra cassandra-node1 scylla scylladb clickhouse clickhouse-server influxdb influxdb2 influxd"
    " victoria-metrics questdb nats nats-server jetstream rabbitmq rabbitmq-server kafka cp-kafka kafka-broker-1 redpanda zookeeper"
    " pulsar mosquitto etcd consul consul-server vault elasticsearch opensearch-node1 solr meilisearch typesense milvus"
    " milvus-standalone qdrant weaviate chroma chromadb minio minio1 prometheus"
)
NONE = (
    "somabrain api redis_exporter redis-commander kafka-ui kafka-exporter outbox_publisher postgrest postgres-exporter pgbouncer"
    " pgadmin mysql-router mongo-express vault-api consul-template nats-gateway etcd-backup minio-console chromatic elastic-apm"
    " redistributor cassandra-reaper catalog-api orders-db-migrate influx-proxy milvus-attu rabbit-consumer"
)


@pytest.mark.parametrize("name", STORES.split())
def test_a_store_is_known_by_its_name_or_its_image(name: str) -> None:
    assert stateful_kind([name], [], "") != ""
    assert stateful_kind(["data", "data.service", name], [["python3.11", ["python3"]]], "") != ""


@pytest.mark.parametrize("name", NONE.split())
def test_what_only_goes_with_a_store_is_none(name: str) -> None:
    assert stateful_kind([name], [["python3.11", ["python3", "-m", "app"]]], "") == ""


RUNS: dict[str, tuple[str, str, str]] = {
    "its program": ("dragonfly", "/usr/bin/dragonfly --port 6379", "store"),
    "its program under a relative": ("keydb-server", "keydb-server *:6379", "store"),
    "a shell around it": ("dash", "sh -c rm -f dump.rdb && redis-server --save 60 1", "redis"),
    "a shell that stays": ("bash", "/bin/bash -c /usr/bin/memcached -m 64; echo done", "store"),
    "an init of a container": ("tini", "/usr/bin/tini -- /entrypoint.sh qdrant", "store"),
    "a change of user": ("gosu", "gosu redis valkey-server /etc/valkey.conf", "redis"),
    "su": ("su", "su postgres -c postgres", "postgresql"),
    "runuser": ("runuser", "runuser -u postgres -- postgres -D /data", "postgresql"),
    "limits": ("numactl", "numactl --interleave=all mongod --config /etc/mongod.conf", "database"),
    "an environment": ("env", "/usr/bin/env A=b nice -n 5 influxd", "store"),
    "a module of Python": ("python3.11", "python3 -m chroma run --path /data", "store"),
    "a script of Python": ("python3.11", "/usr/bin/python3 /usr/local/bin/chroma run --path /data", "store"),
    "a script of Python that owns a store": ("python3.11", "/usr/bin/python3 /usr/bin/patroni /etc/patroni.yml", "postgresql"),
    "an application of a server for Python": ("python3.11", "python /usr/bin/uvicorn --workers 1 chromadb.app:app", "store"),
    "a class of Java": ("java", "java -cp x kafka.Kafka server.properties", "kafka"),
    "Cassandra": ("java", "java -Xmx1g org.apache.cassandra.service.CassandraDaemon", "database"),
    "Neo4j": ("java", "java -cp lib/* org.neo4j.server.CommunityEntryPoint", "database"),
    "Elasticsearch": ("java", "java -m org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch", "store"),
    "ZooKeeper": ("java", "java org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg", "zookeeper"),
    "RabbitMQ": ("beam.smp", "/usr/lib/erlang/bin/beam.smp -W w -- -noshell -s rabbit boot", "broker"),
    "Garnet": ("dotnet", "dotnet /app/GarnetServer.dll --port 6379", "store"),
    "an API of Erlang's machine": ("beam.smp", "/app/erts/bin/beam.smp -- -root /app -progname erl -s shop", ""),
    "an API with a store as an argument": ("python3.11", "python -m api --redis redis-server --vector chroma", ""),
    "an API that waits for a store": ("dash", "sh -c wait-for redis-server 6379 && exec python -m api", ""),
    "an API of Java": ("java", "java -jar /srv/orders.jar --spring.kafka=kafka:9092", ""),
    "an API of Node": ("node", "node server.js memcached", ""),
}  # fmt: skip


@pytest.mark.parametrize(("program", "line", "kind"), RUNS.values(), ids=list(RUNS))
def test_a_store_is_known_by_what_runs(program: str, line: str, kind: str) -> None:
    assert stateful_kind(["app"], [[program, line.split()]], "") == kind


def test_a_store_below_a_wrapper_is_known_by_that_process_of_its_own() -> None:
    assert stateful_kind(["app"], [["dash", ["sh", "/srv/run"]], ["kvrocks", ["kvrocks", "-c", "x"]]], "") == "store"


def test_a_store_that_does_not_run_is_known_by_its_start_command() -> None:
    assert stateful_kind(["cache"], [], "/usr/bin/redis-server /etc/redis.conf") == "redis"
    assert stateful_kind(["cache"], [], "/bin/mkdir -p /run/x\n/usr/bin/numactl --interleave=all mongod") == "database"
    # What runs is known better than what was meant to run.
    assert stateful_kind(["api"], [["python3.11", ["python3"]]], "redis-server") == ""


def test_each_kind_has_its_playbook_where_there_is_one() -> None:
    assert {kind: known.playbook for kind, known in KINDS.items() if known.playbook} == {
        "redis": "recover-redis.yml", "postgresql": "recover-database.yml",
    }  # fmt: skip
