# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start commands: which of them delete what Redis would load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.start import data_names, deletion_in, emptying_in

DUMP, AOF = ["dump.rdb"], ["appendonlydir", "appendonly.aof"]

DELETES = [
    "rm -f /data/dump.rdb && redis-server",
    "rm -f /data/dump.rdb; redis-server /etc/redis.conf",
    "sh -c 'rm -f /data/dump.rdb && exec redis-server'",
    'sh -c "rm -f /data/dump.rdb; redis-server --save 60 1"',
    # systemctl show prints the words without their quotes.
    "/bin/sh -c rm -f /data/dump.rdb; redis-server /etc/redis/redis.conf",
    "/bin/bash -ec 'cd /data && rm -f dump.rdb && redis-server'",
    "docker run -v /srv/redis:/data redis:7.2 sh -c 'rm -f /data/dump.rdb && redis-server'",
    "/usr/bin/rm -rf /data/*",
    "rm -rf /data",
    "rm -rf /data/",
    "rm -f /data/*.rdb",
    "rm -f ${REDIS_DATA}/dump.rdb; redis-server",
    "rm -f $DATA_DIR/*.rdb; redis-server",
    "unlink /data/dump.rdb",
    "> /data/dump.rdb; redis-server",
    ": >/data/dump.rdb && redis-server",
    "truncate -s 0 /data/dump.rdb",
    "find /data -name '*.rdb' -delete",
    "find /data -delete; redis-server",
    "find /data -type f -exec rm {} +",
    "mv /data/dump.rdb /data/dump.old",
    "cp /seed/dump.rdb /data/dump.rdb && redis-server",
    "dd if=/dev/zero of=/data/dump.rdb count=1",
    "test -f /data/dump.rdb && rm /data/dump.rdb\nredis-server",
    "sudo -u redis rm -f dump.rdb",
    "#!/bin/sh\nset -e\n# start afresh\nrm -f \\\n  /data/dump.rdb\nexec redis-server",
    "sh -c 'rm -f /data/dump.rdb; redis-server",
]
KEEPS = [
    "",
    "redis-server /etc/redis/redis.conf",
    "/usr/bin/redis-server /etc/redis/redis.conf --supervised systemd --daemonize no",
    "rm -f /data/redis.pid; redis-server",
    "rm -f /run/redis/redis.sock && redis-server --dir /data --dbfilename dump.rdb",
    "rm -f /data/temp-*.rdb; redis-server",
    "rm -f /tmp/dump.rdb; redis-server",
    "rm -rf /var/tmp/*; redis-server",
    "rm -rf /var/log/redis/*; redis-server",
    "redis-server >> /data/redis.log",
    "redis-server > /data/redis.log 2>&1",
    "cp /etc/redis/redis.conf /data/redis.conf; redis-server",
    "find /var/log/redis -name '*.log' -delete; redis-server",
    "find /data -name '*.tmp' -delete; redis-server",
    "find /data -name '*.rdb' -print",
    "chown redis /data/dump.rdb; redis-server",
    "redis-check-rdb /data/dump.rdb && redis-server",
    "rmmod x; redis-server /data/dump.rdb",
]


@pytest.mark.parametrize("command", DELETES)
def test_a_command_that_deletes_the_dump_is_told_with_its_part(command: str) -> None:
    assert deletion_in(command, "/data", DUMP)


@pytest.mark.parametrize("command", KEEPS)
def test_a_command_that_keeps_the_dump_is_left_in_peace(command: str) -> None:
    assert deletion_in(command, "/data", DUMP) == ""


@pytest.mark.parametrize(
    ("command", "names", "found"),
    [
        ("rm -f /data/dump.rdb; redis-server --appendonly yes", AOF, False),
        ("rm -rf /data/appendonlydir; redis-server", AOF, True),
        ("rm -rf /data/appendonlydir; redis-server", DUMP, False),
        ("rm -rf /data/appendonlydir/*; redis-server", AOF, True),
        ("rm -f /data/appendonly.aof; redis-server", AOF, True),
        ("rm -f /data/*.aof", AOF, True),
        ("rm -f /data/*.aof", DUMP, False),
        ("rm -rf /data/*", AOF, True),
    ],
)
def test_only_what_would_be_loaded_counts(command: str, names: list[str], found: bool) -> None:
    assert bool(deletion_in(command, "/data", names)) is found


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("rm -rf /var/lib/redis", True),
        ("rm -rf /var/lib/redis/6379/*", True),
        ("rm -rf /var/lib/redis/other/*", False),
        ("rm -rf /var", True),
        ("rm -rf /srv/cache/*", False),
    ],
)
def test_folders_count_where_the_data_lie_in_them(command: str, found: bool) -> None:
    assert bool(deletion_in(command, "/var/lib/redis/6379", DUMP)) is found


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"appendonly": "yes"}, AOF),
        ({"appendonly": "no", "dbfilename": "x.rdb"}, ["x.rdb"]),
        ({}, DUMP + AOF),
    ],
)
def test_what_a_start_loads_is_told_by_the_settings(settings: dict[str, str], names: list[str]) -> None:
    assert data_names(settings) == names


@given(st.text(max_size=200))
def test_no_text_makes_it_fall_over(text: str) -> None:
    assert len(deletion_in(text, "/data", DUMP)) <= 120


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("sh -c 'redis-server /c & sleep 1; redis-cli -p 1 FLUSHALL; wait'", True),
        ("redis-server /c & /usr/bin/valkey-cli -n 2 flushdb async", True),
        ("redis-server /c --rename-command flushall hidden", False),
        ("redis-cli ping; redis-server /c", False),
    ],
)
def test_a_start_command_that_empties_redis_once_it_runs_is_seen(command: str, found: bool) -> None:
    assert bool(emptying_in(command)) is found


def test_a_copy_that_deletes_what_it_does_not_have_deletes_the_data() -> None:
    assert deletion_in("rsync -a --delete /empty/ /data/; redis-server /c", "/data", ["dump.rdb"])
    assert not deletion_in("rsync -a /empty/ /data/; redis-server /c", "/data", ["dump.rdb"])
    assert not deletion_in("rsync -a --delete /data/ /backup/; redis-server /c", "/data", ["dump.rdb"])
