# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the tables of hypotheses in docs/drills.md from the files in roles/drill/faults; needs no installation."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT / "roles/drill/faults"
PAGE = ROOT / "docs/drills.md"
TABLE = re.compile(r"^\| (\w+) \| hypothesis \|\n(?:\|.*\n)+", re.MULTILINE)


def table(family: str) -> str:
    """Return the table of one family: a row for each fault file, with its hypothesis."""
    rows = [f"| `{family}_{path.stem}` | {hypothesis(path)} |\n" for path in sorted((FAULTS / family).glob("*.yml"))]
    return f"| {family} | hypothesis |\n|---|---|\n" + "".join(rows)


def hypothesis(path: Path) -> str:
    """Return the hypothesis of a fault file, which is one line."""
    found = re.search(r"^hypothesis: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "?"


def page(text: str) -> str:
    """Return *text* of the page with each of its tables made again."""
    return TABLE.sub(lambda found: table(found[1]), text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
