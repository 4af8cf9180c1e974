# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of a lab by the release that it runs: which one its link selects."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from ..service import target

of_lab = target.of_lab


@dataclasses.dataclass(frozen=True)
class Target(target.Target):
    """The API of one lab, which runs one of several releases."""

    @property
    def releases(self) -> Path:
        return Path(self.lab_dir) / "releases"

    @property
    def current(self) -> Path:
        return Path(self.lab_dir) / "current"

    def selected(self) -> str:
        """Return the id of the release that the link selects."""
        return os.path.basename(os.readlink(self.current))
