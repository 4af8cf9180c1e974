# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the keys of a pattern from where Redis can be seen."""

from __future__ import annotations

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_integrity
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction


class ActionModule(LookAction):
    STEP = redis_integrity
