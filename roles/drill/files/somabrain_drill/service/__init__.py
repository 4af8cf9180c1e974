# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the API itself, and of what it depends on."""

from . import scene, steps, target, writers

__all__ = ["scene", "steps", "target", "writers"]
