# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/triage-faults.md from what triage named of each fault in drills: `triage_page.py LINES PAGE`; needs no installation.

LINES: JSON lines that `somabrain_drill --triage` has written; the last of a fault counts."""

from __future__ import annotations

import json
import re
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("redis", "postgres", "service", "release", "traffic")
HEAD = """\
# What triage says of each fault

<!-- Made by scripts/triage-faults from drills: run that again, do not edit this page. -->

Each fault of the drills was injected into a lab, triage was asked, and then the remedy ran (`docs/drills.md`). A row is right when triage
named the state that the remedy found, and the remedy that then acted; where the remedy refuses, triage need not name one. {total}

| fault | component: state | severity | next command | seconds | the remedy ended | right |
|---|---|---|---|---|---|---|
"""
PLAYBOOK = re.compile(r"playbooks/([\w-]+)\.yml")
Line = t.Mapping[str, t.Any]


def load_lines(text: str) -> list[Line]:
    """Return the last line of each fault, by name; one that triage was not asked about has no ``states``."""
    found = {one["fault"]: one for one in map(json.loads, filter(None, text.splitlines()))}
    return [found[name] for name in sorted(found)]


def row_of(line: Line) -> str:
    states = ", ".join(f"{name}: {state}" for name, state in line["states"].items()) or "nothing"
    playbooks = dict.fromkeys(PLAYBOOK.findall(" ".join(line["commands"])))
    right = "yes" if not line["wrong"] else "**no**: " + "; ".join(line["wrong"])
    cells = [
        f"`{line['fault']}`", states, line["severity"], ", ".join(f"`{name}`" for name in playbooks) or "-", f"{line['seconds']:.1f}",
        line["outcome"], right,
    ]  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def names_in(folder: Path) -> list[str]:
    """Return the names of all faults of the families that triage is asked about."""
    return sorted(f"{path.parent.name}_{path.stem}" for family in FAMILIES for path in (folder / family).glob("*.yml"))


def page_of(lines: t.Sequence[Line], names: t.Sequence[str] = ()) -> str:
    """Return the page, which ends with the *names* that triage was not asked about; raises SystemExit where nothing was asked."""
    asked = [line for line in lines if line.get("states") is not None]
    if not asked:
        raise SystemExit("triage was asked about no fault: run scripts/triage-faults")
    right = sum(not line["wrong"] for line in asked)
    slowest = max(line["seconds"] for line in asked)
    total = f"{right} of {len(asked)} rows are right; the slowest triage took {slowest:.1f} s, with two labs side by side."
    left = [f"`{name}`" for name in names if name not in {line["fault"] for line in asked}]
    end = f"\nNot asked (several runs of which the first is not one of a person, or not run yet): {', '.join(left)}.\n" if left else ""
    return HEAD.format(total=total) + "".join(row_of(line) + "\n" for line in asked) + end


if __name__ == "__main__":
    found = load_lines(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(page_of(found, names_in(ROOT / "roles/drill/faults")), encoding="utf-8")
