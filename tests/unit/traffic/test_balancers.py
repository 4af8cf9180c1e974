# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load balancer says what it is: its file is whole, and no other file knows it by its name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer.balancers import BALANCERS

ROOT = Path(__file__).resolve().parents[3]
TRAFFIC = ROOT / "plugins/module_utils/_traffic"
# Those that build or break a laboratory.
ROLES_THAT_NAME_THEM = ("lab", "drill")


def named_in(source: str) -> list[str]:
    """Return the balancers that *source* names in a string of its own, or whose room it imports from."""
    nodes = list(ast.walk(ast.parse(source)))
    words = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    rooms = [str(node.module).rpartition("._traffic.")[2].partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)]
    return [word for word in words + rooms if word in BALANCERS]


def sources() -> dict[str, str]:
    own = {TRAFFIC / "balancer/balancers.py"} | {TRAFFIC / "balancer" / f"{name}.py" for name in BALANCERS}
    own |= {path for name in BALANCERS for path in (TRAFFIC / name).glob("*.py")}
    paths = [path for folder in ("plugins", "scripts") for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths if path not in own}


def test_no_other_file_knows_a_balancer_by_its_name() -> None:
    assert len(sources()) > 100
    assert {name: found for name, found in ((name, named_in(source)) for name, source in sources().items()) if found} == {}


@pytest.mark.parametrize(
    "source", ['raw["balancer"] == "nginx"', 'given or "nginx"', 'x = {"nginx": 1}', "from a._traffic.nginx.files import b"]
)
def test_a_name_is_seen(source: str) -> None:
    assert named_in(source) == ["nginx"]


def test_no_role_decides_by_the_name_of_a_balancer() -> None:
    names = re.compile("['\"](%s)['\"]" % "|".join(BALANCERS))
    roles = [role for role in (ROOT / "roles").iterdir() if role.name not in ROLES_THAT_NAME_THEM]
    paths = [path for role in roles for folder in ("tasks", "vars", "handlers") for path in (role / folder).rglob("*.yml")]
    assert [str(path.relative_to(ROOT)) for path in paths if names.search(path.read_text())] == []


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_a_balancer_is_whole_and_its_options_bear_its_name(name: str) -> None:
    balancer = BALANCERS[name]
    assert all(option.startswith(name + "_") for option in balancer.OPTIONS)
    assert isinstance(balancer.MAX_WEIGHT, int)
    assert callable(balancer.load)
    assert callable(balancer.shift)
