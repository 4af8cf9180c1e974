# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/proof.md from the verdicts that scripts/prove keeps: `proof_page.py VERDICTS PAGE PART...`; needs no installation.

PART...: all that there are; those without a verdict are named on the page."""

from __future__ import annotations

import re
import sys
import time
import typing as t
from pathlib import Path

HEAD = """\
# What was proven

<!-- Made by scripts/proof from the verdicts of `make prove`: run that again, do not edit this page. -->

What `make prove` has seen up to {day}, each part with the commit that it ran on (`docs/contributing.md` says what each part proves).
A drill counts as passed if its hypothesis held: no acknowledged write was lost that the run did not declare. A seed varies what is
written and where it is damaged.

{total}

| part | seed | verdict | passed | failed | skipped | seconds | commit |
|---|---|---|---|---|---|---|---|
"""


class Row(t.NamedTuple):
    """One part with the sums of its cases."""

    part: str
    seed: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    tree: str

    @property
    def verdict(self) -> str:
        return "**failed**" if self.failed else "passed" if self.passed else "skipped"


def load_rows(text: str) -> list[Row]:
    """Return one row for each part, in their own order."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        cells = line.split("\t")
        found.setdefault(cells[0], []).append(cells)
    return sorted((row_of(part, cases) for part, cases in found.items()), key=lambda row: (row.part, row.seed))


def row_of(part: str, cases: t.Sequence[t.Sequence[str]]) -> Row:
    seed = re.fullmatch(r"(.+)-seed-(\d+)", part)
    passed, failed, skipped = (sum(int(case[place]) for case in cases) for place in (2, 3, 4))
    seconds = sum(float(case[5]) for case in cases)
    return Row(seed[1] if seed else part, seed[2] if seed else "", passed, failed, skipped, seconds, cases[0][7])


def page_of(rows: t.Sequence[Row], day: str, parts: t.Sequence[str] = ()) -> str:
    """Return the page. Raises ValueError for no row: an empty table proves nothing."""
    if not rows:
        raise ValueError("there are no verdicts: run make prove first")
    sums = {word: sum(getattr(row, word) for row in rows) for word in ("passed", "failed", "skipped")}
    total = (
        f"{sums['passed']} passed, {sums['failed']} failed, {sums['skipped']} skipped in {sum(row.seconds for row in rows) / 3600:.1f} h."
    )
    lines = [
        f"| {row.part} | {row.seed} | {row.verdict} | {row.passed} | {row.failed} | {row.skipped} | {row.seconds:.0f} | {row.tree} |"
        for row in rows
    ]
    return HEAD.format(day=day, total=total) + "\n".join([*lines, *open_parts(rows, parts)]) + "\n"


def open_parts(rows: t.Sequence[Row], parts: t.Sequence[str]) -> list[str]:
    """Return the lines that name the parts without a verdict."""
    seen = {f"{row.part}-seed-{row.seed}" if row.seed else row.part for row in rows}
    missing = [f"`{part}`" for part in parts if part not in seen]
    return ["", f"No verdict yet ({len(missing)} of {len(parts)} parts): {', '.join(missing)}."] if missing else []


def main() -> int:
    verdicts, page, parts = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    try:
        text = verdicts.read_text(encoding="utf-8")
        day = time.strftime("%Y-%m-%d", time.gmtime(verdicts.stat().st_mtime))
        page.write_text(page_of(load_rows(text), day, parts), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"proof: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
