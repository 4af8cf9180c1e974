# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_amcheck's report means, and the names under which copies are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.integrity import judge, read
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.mend import keep, keep_config, name_of, restore_config

INDEX = 'btree index "db.public.c_i":\n    ERROR:  item order invariant violated\n'
HEAP = 'heap table "db.public.c", block 5, offset 3, attribute 1:\n    attribute ends at offset 9 beyond total tuple length 4\n'
PAGE = 'heap table "db.public.c":\n    ERROR:  invalid page in block 5 of relation base/5/16385\n'


@pytest.mark.parametrize(
    ("text", "verdict", "names"),
    [
        ("", "none", []),
        (INDEX, "index", ["db.public.c_i"]),
        (HEAP + HEAP, "heap", ["db.public.c"]),
        (PAGE, "heap", ["db.public.c"]),
        (INDEX + HEAP, "heap", ["db.public.c_i", "db.public.c"]),
        ('    a row that says heap table "x":\n', "none", []),
    ],
)
def test_a_report_is_read_to_its_worst(text: str, verdict: str, names: list[str]) -> None:
    found = judge(read(text, "db"))
    assert (found["verdict"], [one["name"] for one in found["damaged"]]) == (verdict, names)


@pytest.mark.parametrize("path", ["/etc/a b", "/a/%2F", "/a%2Fb/c", "/a/b%2Fc", "/ü"])
def test_each_path_has_a_name_of_its_own_without_a_slash(path: str) -> None:
    others = {name_of(other) for other in ("/a/b/c", "/a//b%c", "/x")}
    assert "/" not in name_of(path)
    assert name_of(path) not in others


def test_a_configuration_is_kept_replaced_and_the_broken_one_is_not_lost(tmp_path: Path) -> None:
    file, proven = tmp_path / "postgresql.conf", tmp_path / "proven"
    file.write_text("good\n")
    file.chmod(0o640)
    loaded_at = file.stat().st_ctime
    assert keep_config([str(file), "/nonexistent"], str(proven), loaded_at, False)["kept"] == [str(file)]
    assert keep_config([str(file)], str(proven), loaded_at, False)["changed"] is False
    assert restore_config(str(file), str(proven), "run1", False)["changed"] is False
    file.write_text("broken\n")
    # What the server has not loaded never replaces the last good copy.
    assert keep_config([str(file)], str(proven), loaded_at - 1, False)["kept"] == []
    assert restore_config(str(file), str(proven), "run1", True)["changed"] is True
    assert file.read_text() == "broken\n"
    result = restore_config(str(file), str(proven), "run1", False)
    assert (file.read_text(), Path(result["broken"]).read_text()) == ("good\n", "broken\n")
    assert file.stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_kept_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StepError, match="no copy could be kept"):
        keep([str(tmp_path / "file")], str(tmp_path / "file" / "below"))
