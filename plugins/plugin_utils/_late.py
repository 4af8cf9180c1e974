# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rooms that filters use, imported when they are needed, and once for a whole run where that is possible.

To find one filter Ansible loads every file of plugins/filter, and does so in the process of each task. So these files import nothing by
themselves; and the on-call view imports what the roles of a play will use before Ansible forks.
"""

from __future__ import annotations

import importlib
import os
import typing as t

ROOT = __name__.rpartition(".plugin_utils.")[0]
FOLDER = os.path.dirname(os.path.dirname(__file__))


class Late:
    """A module of module_utils that is imported when one of its names is first used."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.load(), name)

    def load(self) -> t.Any:
        """Import the module and return it."""
        return importlib.import_module(f"{ROOT}.module_utils.{self._place}")


def filters_of(role: str) -> list[str]:
    """Return the files of plugins/filter whose filters the variables of *role* use."""
    path = os.path.join(os.path.dirname(FOLDER), "roles", role, "vars", "main.yml")
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        text = file.read()
    names = [name[:-3] for name in sorted(os.listdir(os.path.join(FOLDER, "filter"))) if name.endswith(".py")]
    return [name for name in names if f"incident_response.{name}_" in text]


def prepare(roles: t.Iterable[str]) -> None:
    """Import what the filters of *roles* use, for this process and those that it forks."""
    for name in sorted({name for role in roles for name in filters_of(role)}):
        for value in vars(importlib.import_module(f"{ROOT}.filter.{name}")).values():
            if isinstance(value, Late):
                value.load()
