# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a configuration in git means, as a table: what was seen, and the word and health that follow."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import configuration as kind
from ansible_collections.somabrain.incident_response.plugins.module_utils._git import look, run
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import State

HEAD, WANTED = "a" * 40, "b" * 40
CLEAN: dict[str, t.Any] = {
    "error": "", "detail": "", "commit": HEAD, "branch": "main", "tree": "t1", "wanted": "", "wanted_there": False, "wanted_tree": "",
    "changed": [], "changed_count": 0, "changed_elsewhere": 0, "drift_bytes": 0, "drift_sha256": "", "detached": False, "unfinished": "",
    "locked": False, "overlooked": 0, "filters": [], "submodules": [], "link": "", "returns": {}, "rights": {}, "owner": "",
}  # fmt: skip
SAME = {"wanted": WANTED, "wanted_there": True, "wanted_tree": "t1"}
OTHER = {"wanted": WANTED, "wanted_there": True, "wanted_tree": "t2"}
DRIFT = {"changed": ["etc/a"], "changed_count": 1, "drift_sha256": "d"}
WELL, SICK, UNKNOWN = State.WELL, State.SICK, State.UNKNOWN


@pytest.mark.parametrize(
    ("seen", "clean", "health", "state"),
    [
        ({}, False, WELL, "clean"),
        (SAME, False, WELL, "clean"),
        (DRIFT, False, WELL, "drifted"),
        (DRIFT, True, SICK, "drifted"),
        ({**DRIFT, **SAME}, False, SICK, "drifted"),
        (OTHER, False, SICK, "other_commit"),
        ({**DRIFT, **OTHER}, False, SICK, "other_commit"),
        ({"detached": True}, False, WELL, "detached"),
        ({"detached": True}, True, WELL, "detached"),
        ({"detached": True, **DRIFT}, True, SICK, "detached"),
        ({"detached": True, **OTHER}, False, SICK, "detached"),
        ({"unfinished": "merge"}, False, WELL, "unfinished"),
        ({"unfinished": "merge", **SAME}, False, SICK, "unfinished"),
        ({"unfinished": "rebase", "detached": True}, True, SICK, "unfinished"),
        ({"commit": "", "tree": ""}, False, SICK, "missing"),
        ({"tree": ""}, False, SICK, "missing"),
        ({"tree": "", **OTHER}, False, SICK, "other_commit"),
        ({"wanted": WANTED}, False, SICK, "missing"),
        ({**SAME, "wanted_tree": ""}, False, SICK, "missing"),
        ({"submodules": ["etc/x"], **DRIFT}, False, UNKNOWN, "unknown"),
        ({"overlooked": 1}, False, UNKNOWN, "unknown"),
        ({"filters": ["lfs"], **OTHER}, False, UNKNOWN, "unknown"),
        ({"link": "etc"}, False, UNKNOWN, "unknown"),
        ({"changed_elsewhere": 7, "locked": True}, True, WELL, "clean"),
    ],
)
def test_what_was_seen_gives_one_word_and_one_health(seen: dict[str, t.Any], clean: bool, health: State, state: str) -> None:
    options = {"repository": "/srv/copy", "path": "etc", "clean": clean}
    found = kind.judge({**CLEAN, **seen}, options)
    assert (found.health, found.state) == (health, state)
    assert set(found.facts) - {"final"} == set(kind.FACTS)
    # Waiting mends neither what is not there nor what cannot be looked into.
    assert bool(found.facts.get("final")) == (state in ("missing", "unknown"))


@pytest.mark.parametrize(
    ("error", "health", "state"), [("missing", SICK, "missing"), ("unknown", UNKNOWN, "unknown"), ("bad", UNKNOWN, "unknown")]
)
def test_what_could_not_be_looked_at_says_so(error: str, health: State, state: str) -> None:
    found = kind.judge({"error": error, "detail": "why"}, {"repository": "/srv/copy", "path": "."})
    assert (found.health, found.state, found.findings[0].text) == (health, state, "why")


def test_a_difference_that_is_well_is_a_warning() -> None:
    found = kind.judge({**CLEAN, **DRIFT, "detached": True}, {"repository": "/srv/copy", "path": ".", "clean": False})
    assert [(one.name, one.state) for one in found.findings] == [("warning", WELL), ("warning", WELL)]


@pytest.mark.parametrize(
    ("path", "folder"),
    [(".", ""), ("etc", "etc"), ("./etc/", "etc"), ("a//b/./c", "a/b/c"), ("a b", "a b"), ("-x", "-x"), ("...", "...")],
)
def test_a_folder_has_one_name(path: str, folder: str) -> None:
    assert run.folder_of(path) == folder


@pytest.mark.parametrize(
    "path", ["", "/", "/etc", "..", "a/..", "../b", "a/../b", ".git", "a/.GIT/b", "a\nb", "a\0", "\x1b[31m", "\u202ea"]
)
def test_what_is_no_folder_inside_is_refused(path: str) -> None:
    with pytest.raises(run.GitError, match="relative and without"):
        run.folder_of(path)


def test_the_digest_of_a_drift_knows_no_order_and_no_two_drifts_share_one() -> None:
    one, other = (("100644", "b1"), ("100644", "s1")), (look.NOTHING, ("100755", "s2"))
    assert look.digest_of({}) == ""
    assert look.digest_of({"a": one, "b": other}) == look.digest_of({"b": other, "a": one})
    assert len({look.digest_of(drift) for drift in ({"a": one}, {"b": one}, {"a": other}, {"a": one, "b": other}, {"a\nb": one})}) == 5
