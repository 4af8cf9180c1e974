# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which database the known answers of a backup are looked for."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.backup_proof import database_of

KNOWN = [{"name": "rows", "query": "SELECT 1", "expect": "1"}]


@pytest.mark.parametrize(("database", "known", "asked"), [("soma", KNOWN, "soma"), ("soma", [], "soma"), ("", [], "postgres")])
def test_the_named_database_is_asked(database: str, known: list[dict[str, t.Any]], asked: str) -> None:
    assert database_of({"database": database, "known_answers": known}) == asked


def test_known_answers_without_a_database_are_refused_by_the_variable() -> None:
    with pytest.raises(StepError, match="backup_verification_database"):
        database_of({"database": "", "known_answers": KNOWN})
