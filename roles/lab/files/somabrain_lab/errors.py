# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that a person sees."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot go on. The message is one line: what is wrong and what to do."""
