# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the step redis_install on the target."""

from __future__ import annotations

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_install
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction


class ActionModule(StepAction):
    STEP = redis_install
