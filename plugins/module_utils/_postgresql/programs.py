# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the programs of a PostgreSQL server: packages keep those of each version outside PATH."""

from __future__ import annotations

import glob
import os
import re

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import find

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def find_binaries(wanted: str, version: str = "") -> str:
    """Return the directory of the server programs: *wanted*, the usual one of *version*, the newest, the one in PATH; "" for none."""
    if wanted:
        return wanted if _is_there(wanted) else ""
    found = [(_version_of(path), path) for place in _PLACES for path in glob.glob(place) if _is_there(path)]
    chosen = [path for number, path in sorted(found) if version in ("", str(number))]
    return chosen[-1] if chosen else os.path.dirname(find("postgres"))


def _is_there(folder: str) -> bool:
    return os.access(os.path.join(folder, "postgres"), os.X_OK)


def _version_of(folder: str) -> int:
    number = re.search(r"(\d+)/bin\Z", folder)
    return int(number.group(1)) if number else 0
