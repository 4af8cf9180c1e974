# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes when each task began and ended: one JSON line for each, to the file that BENCH_TIMES names."""

from __future__ import annotations

DOCUMENTATION = r"""
name: task_times
type: aggregate
short_description: When each task began and ended
description: For the benchmarks only.
"""

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        self._write("begin", task)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._write("end", result._task)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._write("end", result._task)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._write("end", result._task)

    @staticmethod
    def _write(what: str, task: t.Any) -> None:
        line = {"at": time.monotonic(), "what": what, "name": task.get_name().rpartition(" : ")[2], "action": str(task.action)}
        with open(os.environ["BENCH_TIMES"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
