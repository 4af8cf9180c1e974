# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests of this folder import its helpers and those of lab and drills, and look for sentences in what a run shows.

The import mode of the project adds no folder by itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
sys.path += [str(Path(__file__).parents[2] / "roles" / role / "files") for role in ("drill", "lab")]

# Where a line is broken depends on how long a run took; only the tests of the view itself ask for a narrow screen.
os.environ["SOMABRAIN_ON_CALL_WIDTH"] = "2000"
os.environ.pop("COLUMNS", None)
