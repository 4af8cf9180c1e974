# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What filters use is imported when it is used, and once for a whole run by the view."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _late

ROOT = Path(__file__).resolve().parents[3]
ROOMS = "ansible_collections.somabrain.incident_response.plugins.module_utils._"
FILTERS = sorted(path.stem for path in (ROOT / "plugins/filter").glob("*.py"))


def imported_by(*lines: str) -> set[str]:
    """Return the rooms that a fresh Python has imported after *lines*; a filter file finds its own package on the path."""
    code = "\n".join([*lines, "import sys", f"print(*(name for name in sys.modules if name.startswith({ROOMS!r})))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name[len(ROOMS) :].partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("name", FILTERS)
def test_to_load_a_filter_file_imports_no_room(name: str) -> None:
    found = imported_by(f"import ansible_collections.somabrain.incident_response.plugins.filter.{name}")
    assert found <= {"base"}


@pytest.mark.parametrize(
    ("role", "expected"),
    [("redis_recovery", ["redis_recovery"]), ("rollback", ["rollback", "service_restart"]), ("drill", []), ("no_role", [])],
)
def test_a_role_is_prepared_by_the_filters_that_its_variables_use(role: str, expected: list[str]) -> None:
    assert _late.filters_of(role) == expected


def test_what_a_role_uses_is_there_once_it_is_prepared() -> None:
    package = "ansible_collections.somabrain.incident_response.plugins.plugin_utils._late"
    assert "redis" in imported_by(f"from {package} import prepare", "prepare(['redis_recovery'])")
