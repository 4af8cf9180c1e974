# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles every Python file of the given folders with the Python that runs this; exit code 1 names those that fail."""

from __future__ import annotations

import sys
from pathlib import Path

failed = 0
for folder in sys.argv[1:]:
    for path in sorted(Path(folder).rglob("*.py")):
        try:
            compile(path.read_text(), str(path), "exec")
        except SyntaxError as error:
            failed += 1
            print(f"{path}: {error}")
sys.exit(1 if failed else 0)
