# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests of this folder import its helpers and those of lab and drills; the import mode of the project adds no folder by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
sys.path += [str(Path(__file__).parents[2] / "roles" / role / "files") for role in ("drill", "lab")]
