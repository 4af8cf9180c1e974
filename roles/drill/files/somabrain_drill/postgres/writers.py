# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a drill writes rows to PostgreSQL, and finds them again."""

from __future__ import annotations

import contextlib
import time
import typing as t
from pathlib import Path

import psycopg

from .. import writers
from ..writers import PAUSE, filled
from .target import Link, Target

# The table is drill_rows, in the database of the application.
CREATE = "CREATE TABLE IF NOT EXISTS drill_rows (id text PRIMARY KEY, value text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
WRITE = "INSERT INTO drill_rows (id, value) VALUES (%s, %s)"
DIGEST = "SELECT count(*), md5(string_agg(id || '=' || value, ',' ORDER BY id)) FROM drill_rows"


class Ledger(writers.Ledger):
    """Rows of one cluster whose COMMIT was acknowledged."""

    away = (psycopg.Error, OSError)

    def __init__(self, path: Path, target: Target, prefix: str) -> None:
        super().__init__(path, prefix)
        self.target = target

    def send(self, wanted: dict[str, t.Optional[str]]) -> None:
        with contextlib.closing(self.target.connect(self.target.client, 30)) as link, link.transaction(), link.cursor() as cursor:
            cursor.executemany(WRITE, [(key, value) for key, value in wanted.items() if value is not None])
            cursor.execute("DELETE FROM drill_rows WHERE id = ANY(%s)", ([key for key, value in wanted.items() if value is None],))
        for key, value in wanted.items():
            self.acknowledge(key, value)

    def find(self, keys: list[str], seconds: float) -> list[t.Optional[str]]:
        with contextlib.closing(self.target.connect(seconds=seconds)) as link:
            found = dict(link.execute("SELECT id, value FROM drill_rows WHERE id = ANY(%s)", (keys,)).fetchall())
        return [found.get(key) for key in keys]

    def converse(self, go: t.Callable[[], bool]) -> None:
        with contextlib.closing(self.target.connect(self.target.client, 2)) as link:
            while go():
                self._one(link)
                time.sleep(PAUSE)

    def _one(self, link: Link) -> None:
        key = self.key()
        self.unsure.add(key)
        try:
            link.execute(WRITE, (key, filled(key, 10)))
        except psycopg.Error as error:
            # What the server itself refused is not there; a session that broke leaves it open.
            if error.sqlstate and not error.sqlstate.startswith(("08", "57P")):
                self.unsure.discard(key)
                time.sleep(0.05)
            raise
        self.acknowledge(key, filled(key, 10))
