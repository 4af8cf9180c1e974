# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a host, a component or a run becomes the name of a file in one directory, whatever it says."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import file_name
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import holds
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import file_for, write_outcome_file


@given(st.text())
def test_any_name_stays_in_its_directory(name: str) -> None:
    made = file_name(name)
    assert os.path.normpath(os.path.join("/d", made)) == "/d/" + made
    assert made
    assert not made.startswith((".", "-"))
    assert len(made) <= 100
    assert made.isascii()


@pytest.mark.parametrize("name", ["web-1.example.org", "10.0.0.7", "a_b", "20261130T130000Z-abcdef"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert file_name(name) == name


@pytest.mark.parametrize(("one", "other"), [("a/b", "a_b"), ("a/b", "a:b"), ("..", "."), ("x" * 200, "x" * 201), ("", "_")])
def test_different_names_have_different_files(one: str, other: str) -> None:
    assert file_name(one) != file_name(other)


@pytest.mark.parametrize("host", ["../../tmp/x", "/etc/x", "..", "a/b"])
def test_the_outcome_file_of_a_host_of_many_stays_beside_the_one_that_was_asked_for(tmp_path: Path, host: str) -> None:
    wanted: dict[str, t.Any] = {"remediation_outcome_file": str(tmp_path / "out.json"), "ansible_play_hosts_all": [host, "other"]}
    written = Path(write_outcome_file({"host": host}, wanted))
    assert (written.parent, written.name[:4], written.suffix) == (tmp_path, "out-", ".json")
    assert [path.name for path in tmp_path.iterdir()] == [written.name]
    assert file_for(wanted["remediation_outcome_file"], "web-1", wanted) == str(tmp_path / "out-web-1.json")


def test_the_note_of_a_held_container_stays_in_its_directory() -> None:
    assert os.path.dirname(holds.path_of({"project": "../x", "name": "/y", "replica": 1, "holds_dir": "/h"})) == "/h"
    assert holds.path_of({"project": "p", "name": "api", "holds_dir": "/h"}) == "/h/compose.p.api.0.json"
