# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the data files of a Redis: those that its settings give, else the usual ones."""

from __future__ import annotations

import typing as t

USUAL = {"appenddirname": "appendonlydir", "appendfilename": "appendonly.aof", "dbfilename": "dump.rdb"}


def name_in(settings: t.Mapping[str, t.Any], key: str) -> str:
    """Return the file or directory name that *key* (one of USUAL) has in *settings*."""
    return str(settings.get(key) or USUAL[key])
