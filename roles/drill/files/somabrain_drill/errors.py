# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends a drill without a verdict on the remedy."""

from __future__ import annotations


class DrillError(Exception):
    """The drill itself cannot be held; its text is one sentence for the person who started it."""


class Skipped(Exception):
    """This machine or target lacks what the fault needs; its text is the reason."""
