# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the rooms: no cycle among the folders of module_utils, plain names inside them, and unit tests in the same rooms."""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UTILS = ROOT / "plugins/module_utils"
PACKAGE = "ansible_collections.somabrain.incident_response.plugins.module_utils"
# Folders of tests that are not about a room, and the room whose tests stand with the technology that each step is for.
NOT_ROOMS = {"house", "controller"}
WITHOUT_TESTS = {"steps"}

Graph = t.Dict[str, t.Set[str]]


def rooms_named_in(source: str, modules: t.Container[str]) -> set[str]:
    """Return the rooms that *source* imports from, at its top or late, and those that it names in a string for importlib."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(PACKAGE + "."):
            place = str(node.module)[len(PACKAGE) + 1 :]
            found |= {room_of(place if place in modules else f"{place}.{alias.name}".lstrip(".")) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {room_of(alias.name[len(PACKAGE) + 1 :]) for alias in node.names if alias.name.startswith(PACKAGE + ".")}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {room_of(place) for place in re.findall(r"(?<!\w)_\w+(?:\.\w+)+", node.value) if place in modules}
    return found


def room_of(place: str) -> str:
    return place.rpartition(".")[0]


def graph_of(sources: t.Mapping[str, str]) -> Graph:
    """Return which room uses which others, given the sources by dotted name ("_redis.files.scan")."""
    graph: Graph = {}
    for name, source in sources.items():
        graph.setdefault(room_of(name), set()).update(rooms_named_in(source, sources) - {room_of(name)})
    return graph


def cycles_in(graph: Graph) -> list[str]:
    """Return each cycle as "a -> b -> a", one for each edge that closes one."""
    found: list[str] = []
    done: set[str] = set()

    def visit(room: str, way: list[str]) -> None:
        for other in sorted(graph.get(room, ())):
            if other in way:
                found.append(" -> ".join([*way[way.index(other) :], other]))
            elif other not in done:
                visit(other, [*way, other])
        done.add(room)

    for room in sorted(graph):
        if room not in done:
            visit(room, [room])
    return found


def sources() -> dict[str, str]:
    return {".".join(path.relative_to(UTILS).with_suffix("").parts): path.read_text() for path in sorted(UTILS.rglob("*.py"))}


def top_rooms_of(graph: Graph) -> Graph:
    tops: Graph = {}
    for room, others in graph.items():
        top = room.partition(".")[0]
        tops.setdefault(top, set()).update({other.partition(".")[0] for other in others} - {top})
    return tops


def test_no_room_uses_itself_through_others() -> None:
    graph = graph_of(sources())
    assert len(graph) > 15
    assert cycles_in(graph) == []
    assert cycles_in(top_rooms_of(graph)) == []


@pytest.mark.parametrize(
    "source",
    [
        f"from {PACKAGE}._a.one import x",
        f"from {PACKAGE}._a import one as other",
        f"import {PACKAGE}._a.one",
        f"def late():\n    from {PACKAGE}._a.one import x",
        'import importlib\nimportlib.import_module(__name__.rpartition("._b.")[0] + "._a.one")',
        f'import importlib\nimportlib.import_module("{PACKAGE}._a.one")',
    ],
    ids=["of a module", "of a room", "plain", "late", "importlib by parts", "importlib"],
)
def test_a_cycle_is_seen_however_it_is_imported(source: str) -> None:
    files = {"_a.one": f"from {PACKAGE}._b.c import two", "_b.c.two": source}
    assert cycles_in(graph_of(files)) == ["_a -> _b.c -> _a"]


def test_a_way_without_a_cycle_is_none() -> None:
    files = {
        "_a.one": f"from {PACKAGE}._b import two\nfrom {PACKAGE}._c import three",
        "_b.two": f"from {PACKAGE}._c import three",
        "_c.three": "",
    }
    assert cycles_in(graph_of(files)) == []


def test_files_and_rooms_have_plain_names_of_their_own() -> None:
    for path in UTILS.rglob("*"):
        if "__pycache__" in path.parts or (path.is_file() and path.suffix != ".py"):
            continue
        place = path.relative_to(UTILS)
        assert path.name != "__init__.py", f"{place}: Python and Ansible make packages of folders by themselves"
        assert (len(place.parts) == 1) == path.name.startswith("_"), f"{place}: the underscore is on the room alone"
        assert path.is_dir() or len(place.parts) > 1, f"{place}: put it into a room"
        assert path.is_dir() or not path.with_suffix("").is_dir(), f"{place}: a folder of that name is beside it"
        assert path.is_dir() or path.stem not in [part.lstrip("_") for part in place.parts[:-1]], f"{place} is named as its room"


def test_unit_tests_have_the_rooms_of_the_code() -> None:
    rooms = {path.name.lstrip("_") for path in UTILS.iterdir() if any(path.glob("**/*.py"))}
    tested = {path.name for path in (ROOT / "tests/unit").iterdir() if any(path.glob("**/test_*.py"))}
    assert tested - NOT_ROOMS == rooms - WITHOUT_TESTS
