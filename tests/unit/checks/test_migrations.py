# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which schema a database has, as a table: what was read, and whether it is the wanted one."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import migrations as kind
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import State

DJANGO = [
    {"app": "auth", "name": "0001_initial"},
    {"app": "soma", "name": "0001_initial"},
    {"app": "auth", "name": "0002_longer"},
    {"app": "soma", "name": "0002_outbox"},
]


def raw(alembic: t.Sequence[str] | None = None, django: t.Any = None, error: str = "") -> dict[str, t.Any]:
    return {"error": error, "alembic": None if alembic is None else [{"version_num": one} for one in alembic], "django": django}


def judged(seen: dict[str, t.Any], wanted: t.Any = None) -> t.Any:
    return kind.judge(seen, {"database": "soma", "wanted": wanted or {}})


def heads(**seen: t.Any) -> dict[str, t.Any]:
    """Return heads as the ledger keeps them: through JSON."""
    kept: dict[str, t.Any] = json.loads(json.dumps(kind.heads_of(raw(**seen))))
    return kept


@pytest.mark.parametrize(
    ("seen", "tool", "text"),
    [
        (raw(), "none", "no migrations of Alembic or Django"),
        (raw(alembic=["b", "a"]), "alembic", "Alembic a, b"),
        (raw(alembic=[]), "alembic", "Alembic its base"),
        (raw(django=DJANGO), "django", "Django 4 migrations of 2 apps"),
        (raw(alembic=["a"], django=DJANGO), "both", "Alembic a, Django 4 migrations of 2 apps"),
    ],
)
def test_a_schema_that_nothing_is_wanted_of_is_known(seen: dict[str, t.Any], tool: str, text: str) -> None:
    health = judged(seen)
    assert (health.health, health.state, health.facts["tool"]) == (State.WELL, "known", tool)
    assert health.findings[0].text == "the schema is at " + text


def test_what_cannot_be_asked_is_unknown() -> None:
    health = judged(raw(error="no answer in time"), {"alembic": ["a"]})
    assert (health.health, health.state, health.facts["heads"]) == (State.UNKNOWN, "unknown", {})


def test_the_heads_say_how_many_which_and_the_last_of_each_app() -> None:
    found = kind.heads_of(raw(alembic=["b", "a", "b"], django=DJANGO))
    assert found["alembic"] == ["a", "b"]
    assert found["django"]["count"] == 4
    assert found["django"]["last"] == {"auth": "0002_longer", "soma": "0002_outbox"}
    again = kind.heads_of(raw(django=DJANGO[1:] + DJANGO[:1]))["django"]["sha256"]
    assert found["django"]["sha256"] == again
    assert found["django"]["sha256"] != kind.heads_of(raw(django=DJANGO[1:]))["django"]["sha256"]


@pytest.mark.parametrize(
    ("now", "wanted", "difference"),
    [
        ({"alembic": ["b", "a"]}, {"alembic": ["a", "b"]}, ""),
        ({"django": DJANGO}, {"django": DJANGO[::-1]}, ""),
        ({"alembic": ["a"]}, {"alembic": ["b"]}, "Alembic is at a, expected is b"),
        ({"alembic": ["a", "b"]}, {"alembic": ["a"]}, "Alembic is at a, b, expected is a"),
        ({"alembic": []}, {"alembic": ["a"]}, "Alembic is at its base, expected is a"),
        ({}, {"alembic": ["a"]}, "Alembic is at nothing (no table), expected is a"),
        ({"alembic": ["a"], "django": DJANGO}, {"alembic": ["a"]}, "Django: 4 migrations, expected none"),
        ({"alembic": ["a"]}, {"alembic": ["a"], "django": DJANGO}, "Django: no migrations, expected are 4"),
        ({"django": DJANGO}, {"django": DJANGO[:3]}, "Django: soma is at 0002_outbox, expected is 0001_initial"),
        ({"django": DJANGO[1:]}, {"django": DJANGO}, "Django: 3 migrations, expected are 4, with the same last ones"),
        ({"alembic": ["\x1b[31m\n"]}, {"alembic": ["a"]}, "Alembic is at \\x1b[31m\\n, expected is a"),
    ],
)
def test_a_schema_is_the_wanted_one_or_what_differs_is_named(now: t.Any, wanted: t.Any, difference: str) -> None:
    health = judged(raw(**now), heads(**wanted))
    assert (health.health, health.state) == ((State.SICK, "other_heads") if difference else (State.WELL, "same"))
    assert health.findings[0].text.endswith(difference)


def test_a_wanted_that_is_no_heads_is_no_match() -> None:
    assert judged(raw(alembic=["a"]), {"other": 1}).state == "other_heads"
