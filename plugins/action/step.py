# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door of every plain module: runs the step that is named as the task's action. meta/runtime.yml routes modules here."""

from __future__ import annotations

import importlib
import typing as t

from ansible.errors import AnsibleActionFail

from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import PACKAGE, StepAction


class ActionModule(StepAction):
    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        name = str(self._task.action).rpartition(".")[2]
        try:
            self.STEP = importlib.import_module(f"{PACKAGE}._steps.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{PACKAGE}._steps.{name}":
                raise
            raise AnsibleActionFail(f"{name} is not a module with a step: name the module that you want to run") from None

    def options(self) -> dict[str, t.Any]:
        """Validate as the module that the task names; Ansible's messages would name the door."""
        self._load_name = str(self._task.action)
        return super().options()
