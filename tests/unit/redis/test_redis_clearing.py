# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clearing of Redis removed, and what follows from it: tables, dict in, dict out."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.filter.redis_clearing import FilterModule
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import clearing

KEPT, STALE = "/rescue/R1/removed.jsonl", "/rescue/R0/removed.jsonl"
UNDO = """{ansible} -m somabrain.incident_response.redis_clear -a '{"port": 6390, "state": "put_back", "kept_file": "%s"}'"""


def cleared(count: int, kept: str = KEPT) -> dict[str, t.Any]:
    return {"removed": count, "kept_file": kept}


def back(restored: int, there: int, kept: str = KEPT) -> dict[str, t.Any]:
    return {"restored": restored, "there": there, "kept_file": kept}


@pytest.mark.parametrize(
    ("gone", "returned", "count"),
    [
        (cleared(5), {}, 5),
        (cleared(5), back(5, 0), 0),
        (cleared(5), back(3, 1), 1),
        (cleared(5), back(4, 4), 0),
        # A step that failed halfway gives no counts, and one that check mode left out no file.
        ({"failed": True}, back(5, 0), 0),
        ({"skipped": True}, {}, 0),
        ({}, {}, 0),
        # What an earlier run of the same play left behind.
        (cleared(5, STALE), {}, 0),
        (cleared(5, STALE), back(5, 0, STALE), 0),
        (cleared(5), back(5, 0, STALE), 5),
    ],
)
def test_only_what_this_run_removed_and_did_not_put_back_is_missing(gone: dict[str, t.Any], returned: dict[str, t.Any], count: int) -> None:
    assert clearing.removed(gone, returned, KEPT) == count


def test_a_loss_is_exact_approved_and_says_where_the_values_are() -> None:
    assert clearing.loss_of(0, KEPT, 66, 66) == {}
    loss = clearing.loss_of(5, KEPT, 66, None)
    assert KEPT in loss.pop("text")
    assert "answered each removal" in loss.pop("witness")
    # Clients that write as well make the number that is there say nothing.
    assert [clearing.loss_of(5, KEPT, 66, present)["present_after"] for present in (61, 60, 70)] == [61, None, None]
    assert loss == {"count": 5, "exact": True, "unit": "keys", "approved": True, "known_before": 66, "present_after": None}


@pytest.mark.parametrize(
    ("count", "dead", "undo"),
    [
        (0, {}, "nothing to put back"),
        (0, {"run_id": "R0", "begun": ["confirm"]}, "nothing to put back"),
        (0, {"run_id": "R0"}, "nothing to put back"),
        (0, {"run_id": "R0", "begun": ["confirm", "clear"]}, UNDO % STALE),
        (5, {}, UNDO % KEPT),
        (5, {"run_id": "R0", "begun": ["clear"]}, UNDO % KEPT),
    ],
)
def test_the_undo_names_the_file_of_this_run_or_of_the_one_that_died(count: int, dead: dict[str, t.Any], undo: str) -> None:
    assert clearing.undo_of(count, KEPT, dead, "/rescue", {"port": 6390}) == undo


def test_a_run_that_never_looked_has_an_outcome() -> None:
    found = FilterModule().filters()["redis_clearing_outcome"]({}, {}, {}, {}, None, "", {})
    assert found == {"loss": {}, "harmless": {"confirm": "values were only read"}, "undo": "nothing to put back", "verified": {}}


@pytest.mark.parametrize(
    ("given", "count", "harmless"),
    [
        ({}, 0, False),
        (cleared(0), 0, True),
        (cleared(5), 0, True),
        (cleared(5), 5, False),
        (dict(cleared(0), kept_file="/other"), 0, False),
    ],
)
def test_a_removal_that_did_not_say_how_it_ended_is_not_harmless(given: dict[str, t.Any], count: int, harmless: bool) -> None:
    assert ("clear" in clearing.harmless(given, count, KEPT)) is harmless


def test_a_run_that_removed_keys_has_all_of_its_outcome() -> None:
    probe = {"health": "well", "facts": {"keys": 61, "persistence": {"aof_enabled": True}}}
    found = FilterModule().filters()["redis_clearing_outcome"](
        cleared(5), {}, {"run_id": "R1", "resumed": None}, probe, 66, "/rescue", {"port": 6390}
    )
    assert (found["loss"]["known_before"], found["loss"]["present_after"]) == (66, 61)
    assert found["undo"] == UNDO % KEPT
    assert found["verified"]["redis"]["key_count"] == 61
    assert found["verified"]["redis"]["persistence"] == {"aof_enabled": True}
