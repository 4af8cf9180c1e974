# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends ansible-playbook by SIGNAL_AT_TASK (a signal number) right before its task number TASK; with SIGNAL_GROUP all of its group."""

from __future__ import annotations

import os
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: signal_at
type: notification
short_description: Ends the controller before one task
description: For tests only.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "signal_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self.seen += 1
        if self.seen == int(os.environ["TASK"]):
            # Process 0 is every process of this group.
            os.kill(0 if os.environ.get("SIGNAL_GROUP") else os.getpid(), int(os.environ["SIGNAL_AT_TASK"]))
