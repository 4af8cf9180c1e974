# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people read uses the words of docs/glossary.md: none of those that its last table rules out."""

from __future__ import annotations

import io
import re
import tokenize
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/glossary.md"
PLACES = ("plugins", "roles", "playbooks", "docs", "inventories", "scripts", "molecule", "meta", "benchmarks")
ENDINGS = {".py", ".yml", ".md", ".sh", ""}


def unwanted() -> dict[str, str]:
    """Return pattern: better words, from the table of the page."""
    table = PAGE.read_text().partition("## Words we do not use")[2]
    rows = re.findall(r"^\| `(.+)` \| (.+) \|$", table, re.MULTILINE)
    return {pattern.replace("\\|", "|"): better for pattern, better in rows}


UNWANTED = unwanted()
ANY = re.compile("|".join(UNWANTED), re.IGNORECASE)


def prose_of_python(text: str) -> t.Iterator[tuple[int, str]]:
    """Yield comments, docstrings and every literal that is a sentence: names and keys of data have no space."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        sentence = token.type == tokenize.STRING and " " in token.string
        if token.type == tokenize.COMMENT or sentence:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, re.sub(r"\{[^{}]*\}|`[^`]*`", " ", line)


def prose_of_text(text: str) -> t.Iterator[tuple[int, str]]:
    """Yield the lines without code spans and without names: `x`, x.told, told:, __told."""
    for number, line in enumerate(text.splitlines(), 1):
        yield number, re.sub(r"`[^`]*`|\b\w+[._]\w[\w.]*|^\s*\w+:(?=\s)", " ", line)


def prose_of(path: Path) -> t.Iterator[tuple[int, str]]:
    return prose_of_python(path.read_text()) if path.suffix == ".py" else prose_of_text(path.read_text())


def pages() -> list[Path]:
    found = [path for place in PLACES for path in (ROOT / place).rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [path for path in found if path.suffix in ENDINGS and not {"collections", "__pycache__"} & set(path.relative_to(ROOT).parts)]
    return sorted([ROOT / "README.md", *(path for path in kept if path != PAGE)])


@pytest.mark.parametrize(
    ("line", "bad"), [("the index is built anew", True), ("what Redis told us", True), ("the index is rebuilt", False), ("tells: x", False)]
)
def test_the_table_of_the_glossary_is_what_is_looked_for(line: str, bad: bool) -> None:
    assert len(UNWANTED) > 10
    assert bool(ANY.search(line)) is bad


def test_only_prose_is_read() -> None:
    assert [found[1] for found in prose_of_python("told = {'told': 1}  # was told\n")] == ["# was told"]
    assert not any(ANY.search(found[1]) for found in prose_of_text("told: 1\n- `told` x.told __told\n"))


def test_no_page_message_or_comment_uses_a_word_that_the_glossary_rules_out() -> None:
    wrong = []
    for path in pages():
        for number, line in prose_of(path):
            found = ANY.search(line)
            if found:
                wrong.append(f"{path.relative_to(ROOT)}:{number}: '{found[0]}' in: {line.strip()[:100]}")
    assert wrong == []
