# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's own cache of compiled modules, for the Python of this collection on the controller.

Ansible's loader recompiles a collection's source in every process, which takes longer than most steps take to run. After
``install``, what is imported comes from ``__pycache__`` beside the source, as for any other Python package.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
import typing as t
from importlib.machinery import ModuleSpec, SourceFileLoader

# Only leaves of these packages; the packages themselves and everything of others stay Ansible's.
ROOT = __name__.rpartition(".plugin_utils.")[0]
PACKAGES = (f"{ROOT}.module_utils.", f"{ROOT}.plugin_utils.")


class Cached:
    """A finder that gives modules of this collection the loader that every other Python source has."""

    @staticmethod
    def find_spec(name: str, path: t.Optional[t.Sequence[str]] = None, target: object = None) -> t.Optional[ModuleSpec]:
        package, leaf = name.rpartition(".")[::2]
        if not (package + ".").startswith(PACKAGES) or not path:
            return None
        source = os.path.join(path[0], leaf + ".py")
        if not os.path.isfile(source):
            return None
        return importlib.util.spec_from_file_location(name, source, loader=SourceFileLoader(name, source))


def code_of(name: str) -> types.CodeType:
    """Return the compiled code of a module of this collection, from the cache where that is up to date."""
    source = str(importlib.import_module(name).__file__)
    return t.cast(types.CodeType, SourceFileLoader(name, source).get_code(name))


def install() -> None:
    """Let what this process and its children import from now on come from the cache."""
    if Cached not in sys.meta_path:
        sys.meta_path.insert(0, Cached)
