# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a running server are proven: those that it loaded without an error."""

from __future__ import annotations

import html
import json
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.loaded import judge_loaded

MAIN, HBA = "/data/postgresql.conf", "/data/pg_hba.conf"
TIMES = {"loaded_at": 20.0, "started_at": 10.0}
FAULT = {"file": MAIN, "line": 3, "name": "work_mem", "text": "setting could not be applied", "pending": False}
RULE = {"file": HBA, "line": 9, "text": 'invalid authentication method "nosuchmethod"'}


def seen(files: t.Sequence[t.Any] = (), rules: t.Sequence[t.Any] = ()) -> dict[str, t.Any]:
    shown = {"pg_file_settings": files, "pg_hba_file_rules": rules, "pg_ident_file_mappings": []}
    return {**TIMES, **{view: f"<row>\n <found>{html.escape(json.dumps(list(one)))}</found>\n</row>" for view, one in shown.items()}}


@pytest.mark.parametrize(
    ("row", "proven", "until", "broken"),
    [
        (seen(), [MAIN, HBA], 20.0, []),
        (seen([FAULT]), [HBA], 20.0, ["work_mem: setting could not be applied"]),
        (seen([dict(FAULT, pending=True)]), [HBA], 20.0, []),
        (seen(rules=[RULE]), [MAIN], 20.0, ['invalid authentication method "nosuchmethod"']),
        (dict(seen(), pg_hba_file_rules=None), [MAIN, HBA], 10.0, []),
        ({}, [MAIN, HBA], None, []),
    ],
)
def test_a_file_with_an_error_or_that_nobody_may_ask_about_is_not_taken_for_loaded(
    row: dict[str, t.Any], proven: list[str], until: float | None, broken: list[str]
) -> None:
    found = judge_loaded(row, [MAIN, HBA])
    assert (found[0], found[1], [one["text"] for one in found[2]]) == (proven, until, broken)
