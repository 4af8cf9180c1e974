# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/reasons.md from the catalogue of refusals, module_utils/_spine/catalogue.py; needs no installation."""

from __future__ import annotations

import importlib.util
import re
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = "plugins/module_utils/_spine/catalogue.py"
PAGE = ROOT / "docs/reasons.md"

HEAD = """\
# Why a run is refused

<!-- Made by scripts/reasons from plugins/module_utils/_spine/catalogue.py: edit that file, not this one. -->

A run that may not act says why with a code that stays the same between releases: on screen, in the outcome file (`reasons[].code`), in
the statistics that AWX passes on (`remediation.<host>/<component>.reasons`) and in the journal. Branch on the code, never on the text.
Beside it are `text` (what was found), `unblock` (what must change) and `next_command` (what to type next, with this inventory and limit).

| code | it means | what unblocks it | next command |
|---|---|---|---|
"""

MIDDLE = """
`again` is the command of this run; every other name is a playbook, run with this run's inventory and limited to this host.

## More exact wordings

A role that knows more about a refusal names one of these cases beside the code. Words in braces are filled in by the role.

| code | case | what unblocks it | next command | text |
|---|---|---|---|---|
"""

TAIL = """
A gate in the middle of a run may refuse as well (an approval for a second act, a kill switch, a lost lease): the run also ends `refused`,
and `acts` lists what was done before. To add a refusal, add it to `plugins/module_utils/_spine/catalogue.py` and run `scripts/reasons`; a
test fails when this page is stale.
"""
COMMANDS = {"history": "show-history", "verify": "verify-health", "graph": "ansible-inventory --graph"}


def catalogue() -> t.Any:
    """Return the catalogue's module, loaded by its path."""
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / CATALOGUE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(text: str) -> str:
    """Return a next command as the page shows it: the name of the playbook in place of its placeholder."""
    shown = re.sub(r"\{(\w+)\}", lambda match: COMMANDS.get(match[1], "TOKEN" if match[1] == "token" else match[1].replace("_", "-")), text)
    return f"`{shown}`" if shown else ""


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def page(reasons: t.Mapping[str, t.Any]) -> str:
    """Return the whole page."""
    general = [row(f"`{code}`", one.means, one.unblock, command(one.command)) for code, one in reasons.items()]
    exact = [
        row(f"`{code}`", f"`{name}`", case.unblock, command(case.command), case.text)
        for code, one in reasons.items()
        for name, case in one.cases.items()
    ]
    return HEAD + "".join(general) + MIDDLE + "".join(exact) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(catalogue().REASONS))
