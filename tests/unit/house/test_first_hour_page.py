# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of docs/first-hour.md, taken word for word, says of each host what the page means."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/first-hour.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"`inventory/([\w/]+\.yml)`[^\n]*\n\n```yaml\n(.*?)```", re.DOTALL)
CHILD = re.compile(r"```yaml\n(    somabrain_api:\n.*?)```", re.DOTALL)


@pytest.fixture
def variables(tmp_path: Path) -> t.Callable[[str], dict[str, t.Any]]:
    """Write the files of the page, with its group for Compose in hosts.yml, and return what is known of a host."""
    files: dict[str, str] = {}
    for name, text in BLOCK.findall(PAGE):
        files[name] = files.get(name, "") + text
    found = CHILD.search(PAGE)
    assert found
    alone = re.compile(r"^    somabrain_api: .*\n", re.MULTILINE)
    assert alone.search(files["hosts.yml"])
    files["hosts.yml"] = alone.sub(lambda _line: found[1], files["hosts.yml"])
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(tmp_path)])
    return lambda host: dict(VariableManager(loader=loader, inventory=manager).get_vars(host=manager.get_host(host)))


def test_each_host_has_the_service_that_the_page_means(variables: t.Callable[[str], dict[str, t.Any]]) -> None:
    assert variables("shop-a.example.com")["service_restart_service"] == "shop"
    of_compose = variables("shop-c.example.com")
    assert variables("shop-b.example.com")["rollback_current"] == "/srv/shop/current"
    named = [of_compose[f"service_restart_{word}"] for word in ("manager", "service", "profile")]
    assert named == ["compose", "api", "none"]


def test_every_variable_of_the_page_is_an_input() -> None:
    specs = [yaml.safe_load(path.read_text())["argument_specs"]["main"] for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")]
    inputs = {name for spec in specs for name in spec.get("options") or {}}
    given = {name for file, text in BLOCK.findall(PAGE) if file != "hosts.yml" for name in yaml.safe_load(text)}
    assert len(given) > 15
    assert sorted(given - inputs) == []
