# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own PostgreSQL cluster: created once, by the lab's user, with the tables of the profile."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import typing as t
from pathlib import Path

import psycopg
from psycopg import sql

from .errors import LabError
from .layout import DATABASE, Layout

SUPERUSER = "postgres"
OUTBOX = """CREATE TABLE IF NOT EXISTS outbox_events (
    id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), topic text NOT NULL, payload jsonb NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')), retries int NOT NULL DEFAULT 0,
    dedupe_key text UNIQUE, tenant_id text, last_error text)"""
AUDIT = """CREATE TABLE IF NOT EXISTS {table} (
    id bigserial PRIMARY KEY, {column} timestamptz NOT NULL DEFAULT now(), event_id text, tenant_id text, action text, details jsonb)"""
TABLES = {
    "v1": (
        OUTBOX,
        "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('0009_outbox_tenant') ON CONFLICT DO NOTHING",
        "CREATE TABLE IF NOT EXISTS feedback_events"
        " (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), session_id text, reward real, payload jsonb)",
        "CREATE TABLE IF NOT EXISTS token_usage"
        " (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), tenant_id text, tokens int)",
        "CREATE TABLE IF NOT EXISTS constitution_versions (version text PRIMARY KEY,"
        " created_at timestamptz NOT NULL DEFAULT now(), document jsonb, is_active boolean NOT NULL DEFAULT false)",
        "CREATE TABLE IF NOT EXISTS constitution_signatures"
        " (id bigserial PRIMARY KEY, version text REFERENCES constitution_versions, signer_id text, signature text)",
        "INSERT INTO constitution_versions SELECT encode(sha512('lab'), 'hex'), now(), '{\"rules\": {\"practice\": true}}', true"
        " WHERE NOT EXISTS (SELECT 1 FROM constitution_versions)",
    ),
    "v2": (OUTBOX,),
}


def create(layout: Layout) -> bool:
    """Create the cluster if there is none; return whether it was created. Raises LabError."""
    data = layout.dir / "postgres"
    if (data / "PG_VERSION").exists():
        return False
    initdb = [layout.settings["postgres_bin"] + "/initdb", "-D", str(data), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C.UTF-8"]
    # Nothing is lost if the machine dies now: an unfinished cluster has no data yet.
    initdb += ["--no-sync", "--auth-local=peer", "--auth-host=scram-sha-256", "--no-instructions"]
    initdb += ["--data-checksums"] if layout.settings["postgres_checksums"] else []
    done = subprocess.run(initdb, capture_output=True, text=True, cwd=layout.dir, timeout=120, check=False, **as_user(layout))
    if done.returncode != 0:
        raise LabError(f"initdb failed: {done.stderr.strip()[-300:]}; remove {data} and start the lab again")
    layout.write("postgres/postgresql.auto.conf", "# Kept by ALTER SYSTEM.\n", 0o600)
    with os.fdopen(os.open(data / "postgresql.conf", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW), "a", encoding="utf-8") as file:
        file.write("\ninclude_if_exists = 'lab.conf'\n")
    return True


def configuration(layout: Layout, more: t.Sequence[str] = ()) -> dict[str, tuple[str, int]]:
    """Return the cluster's own files, *more* lines in the first: name to text and mode."""
    uid, _gid = layout.ids
    lines = [
        "listen_addresses = '127.0.0.1'",
        f"unix_socket_directories = '{layout.dir}/run'",
        "shared_buffers = 32MB",
        "log_line_prefix = '%m [%p] %u@%d '",
        "log_timezone = 'UTC'",
        "timezone = 'UTC'",
        *more,
    ]
    # Anyone who can enter the folder of the private socket is superuser: its owner and root.
    access = ["local all all trust", "host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"]
    return {
        "postgres/lab.conf": ("\n".join(lines) + "\n", 0o600),
        "postgres/pg_hba.conf": ("\n".join(access) + "\n", 0o600),
    }


def as_user(layout: Layout) -> dict[str, t.Any]:
    """Return the arguments with which subprocess becomes the lab's user."""
    if not layout.user:
        return {}
    uid, gid = layout.ids
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(layout.dir)}
    return {"user": uid, "group": gid, "extra_groups": [], "env": environment}


def connect(layout: Layout, port: int, database: str) -> psycopg.Connection[t.Any]:
    return psycopg.connect(host=f"{layout.dir}/run", port=port, user=SUPERUSER, dbname=database, autocommit=True, connect_timeout=3)


def accepts(layout: Layout, port: int) -> bool:
    """Return whether the server accepts connections."""
    try:
        connect(layout, port, "postgres").close()
    except psycopg.Error:
        return False
    return True


def fill(layout: Layout, port: int) -> bool:
    """Create missing role, database and tables of the profile; return whether anything was new."""
    profile = layout.settings["profile"]
    table, column = layout.settings["audit_table"], layout.settings["audit_time_column"]
    statements = [*TABLES[profile], AUDIT]
    stamp = hashlib.sha256(json.dumps([profile, table, column, statements, "amcheck"]).encode()).hexdigest() + "\n"
    # Kept inside the cluster, so that a recreated cluster is filled again.
    file = layout.dir / "postgres" / "somabrain-lab.stamp"
    if file.exists() and file.read_text(encoding="utf-8") == stamp:
        return False
    database, owner = DATABASE[profile]
    make_database(layout, port, database, owner)
    with connect(layout, port, database) as link, link.transaction():
        # Lets pg_amcheck say which table is damaged.
        if link.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'").fetchone():
            link.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        hand_over(link, owner)
        link.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
        for statement in TABLES[profile]:
            link.execute(statement)
        link.execute(sql.SQL(AUDIT).format(table=sql.Identifier(table), column=sql.Identifier(column)))
    return layout.write(str(file.relative_to(layout.dir)), stamp, 0o600)


def make_database(layout: Layout, port: int, database: str, owner: str) -> None:
    """Create the role (with the lab's password) and the database of one profile if they are missing."""
    password = Path(layout.dir, "secrets", "postgres_password").read_text(encoding="utf-8").strip()
    with connect(layout, port, "postgres") as link:
        if not link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (owner,)).fetchone():
            link.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(owner), sql.Literal(password)))
        if not link.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone():
            link.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(owner)))


def hand_over(link: psycopg.Connection[t.Any], owner: str) -> None:
    """Give *owner* what the other profile's role owned, for a lab that changed its profile."""
    for role in sorted({name for _database, name in DATABASE.values()} - {owner}):
        if link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            link.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(role), sql.Identifier(owner)))
