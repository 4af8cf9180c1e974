# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the list of kinds in the documentation of health_info from the docstring of each kind; needs no installation.

The paragraph that begins with C(name) is for ansible-doc, which reads only plain text.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKS = ROOT / "plugins/module_utils/_checks"
PAGE = ROOT / "plugins/modules/health_info.py"
NAMED = re.compile(r'^    "(\w+)": (\w+),$', re.MULTILINE)
LIST = re.compile(r"(?:      - >-\n        C\(\w+\): .*\n(?:        .*\n)+|      - >-\n        C\(\w+\): .*\n)+")


def kinds() -> dict[str, Path]:
    """Return the file of each kind, by its name."""
    return {name: CHECKS / f"kind/{module}.py" for name, module in NAMED.findall((CHECKS / "kinds.py").read_text(encoding="utf-8"))}


def described(name: str, path: Path) -> str:
    """Return what a kind takes, by its docstring; "" where it does not say."""
    paragraphs = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")
    return next((" ".join(one.split()) for one in paragraphs if one.startswith(f"C({name}): ")), "")


def bullet(text: str) -> str:
    """Return one item of the list, as YAML."""
    return "      - >-\n" + textwrap.indent(textwrap.fill(text, 132, break_long_words=False, break_on_hyphens=False), " " * 8) + "\n"


def page(text: str) -> str:
    """Return *text* of the module with its list of kinds made again."""
    made = "".join(bullet(described(name, path)) for name, path in kinds().items())
    return LIST.sub(lambda _found: made, text, count=1)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
