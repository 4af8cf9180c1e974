# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memories are kept and found as with any other fault of the API."""

from __future__ import annotations

from ..service.writers import Ledger

__all__ = ["Ledger"]
