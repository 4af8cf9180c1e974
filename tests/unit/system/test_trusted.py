# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private directory is one whose whole path no other user can change."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.trusted import judge_path, load_path, owners

ROOT_DIR = {"path": "/", "kind": "dir", "uid": 0, "mode": 0o755, "group_is_mine": False}


def part(path: str, **more: t.Any) -> dict[str, t.Any]:
    return {**ROOT_DIR, "path": path, **more}


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ([part("/var"), part("/var/lib", mode=0o755), part("/var/lib/x", uid=7, mode=0o700)], ""),
        ([part("/tmp", mode=0o1777), part("/tmp/mine", uid=7, mode=0o700)], ""),
        ([part("/tmp", mode=0o1777), part("/tmp/theirs", uid=8, mode=0o700)], "/tmp/theirs"),
        ([part("/srv", mode=0o777), part("/srv/mine", uid=7)], "/srv has mode 0777"),
        ([part("/srv", mode=0o775), part("/srv/mine", uid=7)], "/srv has mode 0775"),
        ([part("/home/me", uid=7, mode=0o775, group_is_mine=True)], ""),
        ([part("/home/me", uid=7, mode=0o777, group_is_mine=True)], "/home/me"),
        ([part("/s", kind="link", uid=8, mode=0o777)], "/s is a link of user 8"),
        ([part("/s", kind="link", uid=0, mode=0o777), part("/t", uid=7)], ""),
        ([part("/home/other", uid=8), part("/home/other/mine", uid=7)], "/home/other"),
        ([part("/new", kind="missing")], ""),
        ([part("/new", kind="unreadable")], "/new cannot be read"),
        ([part("/l", kind="loop")], "/l is a link"),
        ([], ""),
    ],
)
def test_each_part_belongs_to_us_or_root_and_only_they_can_change_it(parts: list[dict[str, t.Any]], named: str) -> None:
    said = judge_path([ROOT_DIR, *parts], (0, 7))
    assert said.startswith(named)
    assert bool(said) == bool(named)


def test_links_are_followed_one_by_one_and_the_rest_of_a_new_path_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    seen = [(Path(one["path"]).name, one["kind"]) for one in load_path(str(tmp_path / "c/new/er"))]
    for expected in (("c", "link"), ("b", "link"), ("a", "dir")):
        assert expected in seen
    assert seen[-1] == ("new", "missing")


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("l")
    assert load_path(str(tmp_path / "l"))[-1]["kind"] == "loop"


@pytest.mark.parametrize("path", ["/var/lib/somabrain/incident_response", "/root/x" if os.geteuid() == 0 else "/nonexistent", "/usr/lib"])
def test_usual_places_are_fine(path: str) -> None:
    assert judge_path(load_path(path), owners()) == ""


def test_the_place_of_the_tests_is_fine(tmp_path: Path) -> None:
    assert judge_path(load_path(str(tmp_path / "state")), owners()) == ""


def test_whoever_became_root_by_sudo_may_own_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1234")
    assert 1234 in owners()
    monkeypatch.setenv("SUDO_UID", "x")
    assert set(owners()) == {0, os.geteuid()}
