# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small acts beside a cluster that is down."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import postgresql_admin


def act(action: str, **given: t.Any) -> dict[str, t.Any]:
    spec = postgresql_admin.ARGUMENT_SPEC
    return postgresql_admin.run({**{name: rule.get("default") for name, rule in spec.items()}, "action": action, **given}, False)


def test_each_refused_run_does_not_add_a_copy_of_the_same_data(tmp_path: Path) -> None:
    data, rescue = tmp_path / "data", tmp_path / "rescue"
    (data / "base").mkdir(parents=True)
    (data / "base/1").write_text("rows")
    first = act("copy", data_dir=str(data), rescue_dir=str(rescue), run_id="r1")
    again = act("copy", data_dir=str(data), rescue_dir=str(rescue), run_id="r2")
    assert (first["changed"], again["changed"], again["path"]) == (True, False, first["path"])
    assert again["text"] == first["text"] + ", kept by an earlier run"
    (data / "base/1").write_text("more rows")
    other = act("copy", data_dir=str(data), rescue_dir=str(rescue), run_id="r3")
    assert (other["changed"], other["path"]) == (True, str(rescue / "r3/data"))


def test_modes_are_given_back_and_taken_again(tmp_path: Path) -> None:
    data, rescue = tmp_path / "data", tmp_path / "rescue"
    (data / "base").mkdir(parents=True)
    data.chmod(0o700)
    files = [data / f"base/{number}" for number in range(30)]
    for path in files:
        path.write_text("rows")
        path.chmod(0)
    done = act("fix_access", data_dir=str(data), os_user="", rescue_dir=str(rescue), run_id="r1")
    assert (done["count"], len(done["files"])) == (30, 20)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not act("fix_access", data_dir=str(data), os_user="", rescue_dir=str(rescue), run_id="r1")["changed"]
    assert act("put_access_back", data_dir=str(data), record=done["record"])["count"] == 30
    assert {path.stat().st_mode & 0o777 for path in files} == {0}
