# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The on-call view: what was found, done and proven, on one screen. With -v it is Ansible's own view."""

from __future__ import annotations

DOCUMENTATION = r"""
name: on_call
type: stdout
short_description: One screen for the person on call
version_added: "0.1.0"
description:
  - Shows what each step of a remediation reports, with time, host and stage, and at the end the outcome and what to do next.
  - Quiet otherwise, with no banners, no C(ok) lines and no skips. A failure is one clear line; a rescued failure is shown as a finding.
  - With C(-v) or more it is Ansible's default view (hence its options), followed by the outcomes.
  - Uses at most 100 columns, unless O(width) allows more.
  - Uses colour only on a terminal; E(NO_COLOR), E(ANSIBLE_NOCOLOR) and E(ANSIBLE_FORCE_COLOR) are honoured.
  - Never shows a whole result, nor any part of a result under C(no_log). Text from outside is escaped before it reaches the terminal.
author:
  - SomaBrain incident response contributors (@somabrain)
options:
  ascii:
    description: Draw with plain ASCII even on a UTF-8 terminal.
    type: bool
    default: false
    env:
      - name: SOMABRAIN_ON_CALL_ASCII
    ini:
      - section: callback_on_call
        key: ascii
  width:
    description:
      - Maximum number of columns; a narrower terminal, or E(COLUMNS), reduces it further.
      - A higher value suits output that is stored and searched, because sentences are not wrapped.
    type: int
    default: 100
    version_added: "0.1.0"
    env:
      - name: SOMABRAIN_ON_CALL_WIDTH
    ini:
      - section: callback_on_call
        key: width
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
"""

import os
import shutil
import sys
import time
import typing as t

from ansible import context
from ansible.playbook.block import Block
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.command import module_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, without_url_secrets
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import fill
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _on_call as view
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._bytecode import install
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import prepare
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import commands


def data_of(result: t.Any) -> dict[str, t.Any]:
    """Return a result's data; ansible-core 2.18 knows it by its private name only."""
    return t.cast(t.Dict[str, t.Any], result.result if hasattr(result, "result") else result._result)


def task_of(result: t.Any) -> t.Any:
    """Return the task of a result."""
    return result.task if hasattr(result, "task") else result._task


def host_of(result: t.Any) -> str:
    """Return the name of the host that a result is about."""
    return str((result.host if hasattr(result, "host") else result._host).get_name())


def is_rescued(task: t.Any) -> bool:
    """Return whether a failure of *task* leads into a rescue: it is in the block part of a block that has one."""
    node, parent = task, getattr(task, "_parent", None)
    while parent is not None:
        if isinstance(parent, Block) and parent.rescue and any(getattr(one, "_uuid", None) == node._uuid for one in parent.block):
            return True
        node, parent = parent, getattr(parent, "_parent", None)
    return False


class CallbackModule(Default):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "somabrain.incident_response.on_call"

    def __init__(self) -> None:
        super().__init__()
        # Workers are forked from this process, so their steps come from the cache too.
        install()
        self._begun = time.monotonic()
        self._outcomes: dict[str, dict[str, t.Any]] = {}
        self._summary: dict[str, t.Any] = {}
        self._several = False
        self._next: list[str] = []
        self._hosts_width = 4
        self._labels: dict[str, str] = {}
        self._headed = False
        self._unmatched = False
        self._screened = ""

    @property
    def loud(self) -> bool:
        """Whether the user asked for Ansible's own view."""
        return bool(self._display.verbosity > 0)

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        self._begun = time.monotonic()
        if self.loud:
            super().v2_playbook_on_start(playbook)
            return
        name = os.path.splitext(os.path.basename(str(playbook._file_name)))[0]
        where = [str(one) for one in context.CLIARGS.get("inventory") or ()]
        limit = [f"limit {context.CLIARGS['subset']}"] if context.CLIARGS.get("subset") else []
        self._write(one_line("  ".join([name, *map(_short, where), *limit]), self._width()))
        if context.CLIARGS.get("check"):
            self._write("REHEARSAL: nothing will be changed", view.YELLOW)

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        # Before the first task: each has a process of its own.
        prepare(role.get_name().rpartition(".")[2] for role in play.get_roles())
        if self.loud:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        if not self._headed:
            self._headed = True
            self._show_hosts(play)

    def _show_hosts(self, play: t.Any) -> None:
        """Name the hosts of the inventory and limit, and make their column wide enough."""
        inventory = getattr(play.get_variable_manager(), "_inventory", None)
        names = [str(host) for host in inventory.get_hosts()] if inventory else []
        self._labels = view.host_labels(names)
        self._hosts_width = max([4, *map(len, self._labels.values())])
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        if names:
            self._write(view.wrapped("hosts: ", one_line(shown, view.SENTENCE), self._width()))

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        if self.loud:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        if self.loud:
            super().v2_playbook_on_handler_task_start(task)

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        if self.loud:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_notify(self, handler: t.Any, host: t.Any) -> None:
        if self.loud:
            super().v2_playbook_on_notify(handler, host)

    def v2_runner_retry(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_retry(result)

    def v2_runner_on_async_poll(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_on_async_poll(result)

    def v2_runner_on_async_ok(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_on_async_ok(result)

    def v2_runner_on_async_failed(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_on_async_failed(result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_skipped(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_on_ok(result)
            self._remember(data_of(result))
        else:
            self._say(result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_item_on_ok(result)
        else:
            self._say(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        if self.loud:
            super().v2_runner_on_failed(result, ignore_errors=ignore_errors)
            self._remember(data_of(result))
        elif not (task_of(result).loop and "results" in data_of(result)):
            # The items of the loop were already shown.
            self._fail(result, ignore_errors)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_item_on_failed(result)
        else:
            self._fail(result, bool(task_of(result).ignore_errors))

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        if self.loud:
            super().v2_runner_on_unreachable(result)
            return
        text = f"unreachable: {view.message_of(data_of(result))}"
        ignored = bool(task_of(result).ignore_unreachable)
        self._line(result, "" if ignored else "LOST", one_line(text, view.SENTENCE), view.YELLOW if ignored else view.RED)
        if not ignored:
            self._line(result, "", "Check that the host is up and that you can log in:", "")
            ping = fill(module_on("ansible.builtin.ping", {}), commands({}, host_of(result)))
            self._write(one_line(ping, view.COMMAND))

    def v2_playbook_on_no_hosts_matched(self) -> None:
        if self.loud:
            super().v2_playbook_on_no_hosts_matched()
            return
        pattern = ", ".join(map(str, self._play.hosts)) if self._play and isinstance(self._play.hosts, list) else ""
        self._write(f"no host matched {one_line(pattern, 80)}".rstrip(), view.YELLOW)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        if self.loud:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_on_file_diff(self, result: t.Any) -> None:
        if self.loud:
            super().v2_on_file_diff(result)
            return
        data = data_of(result)
        for one in data.get("results") or [data]:
            if isinstance(one, dict) and one.get("diff") and one.get("changed"):
                shown = self._get_diff(view.safe_diff(one["diff"])).strip("\n")
                # A rehearsal cannot foresee some changes; their diff is empty.
                if shown:
                    self._line(result, "diff", one_line(task_of(result).get_name(), 120), "")
                    self._write(shown)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        if self.loud:
            super().v2_playbook_on_stats(stats)
            self._show_outcomes()
            return
        summaries = {str(host): dict(stats.summarize(host)) for host in stats.processed}
        seconds = time.monotonic() - self._begun
        self._show_outcomes()
        if self._outcomes:
            self._write("")
            outcomes = list(self._outcomes.values())
            self._write(view.recap(outcomes, summaries))
            missing = "" if self._summary else view.not_reached(outcomes, summaries, self._waiting())
            if missing:
                self._write(view.wrapped("", one_line(missing, view.SENTENCE), self._width()), view.RED)
        else:
            for text, colour in view.next_lines(self._next):
                self._write(text, colour)
            check = bool(context.CLIARGS.get("check"))
            self._write(*(view.screened(self._screened, seconds) if self._screened else view.ending(summaries, seconds, check)))

    def _waiting(self) -> list[str]:
        """Return the hosts of the play where the run ended, those of its later batches too."""
        inventory = getattr(self._play.get_variable_manager(), "_inventory", None)
        if not inventory or not self._play.serial:
            return []
        return [str(host) for host in inventory.get_hosts(self._play.hosts, ignore_restrictions=True)]

    def _show_outcomes(self) -> None:
        if self._several and not self._summary:
            self._summary = view.cut_short(list(self._outcomes.values()))
        # A summary has a line for each; what is green needs no block beside it.
        shown = [one for one in self._outcomes.values() if not (self._summary and one.get("green"))]
        for outcome in shown:
            self._write("")
            for text, colour in view.outcome_block(outcome, self._width(), self._frame()):
                self._write(text, colour)

        if self._summary:
            self._write("")
            for text, colour in view.summary_lines(self._summary, self._width()):
                self._write(text, colour)

    def _remember(self, data: t.Mapping[str, t.Any]) -> None:
        # A screen has its commands in it, and says how the run ends.
        self._screened = str(data.get("verdict") or "") if data.get("screen") else self._screened
        self._next += [str(one) for one in data.get("next_commands") or []] if not data.get("screen") else []
        outcome = data.get("outcome")
        self._several = self._several or data.get("several") is True
        if isinstance(data.get("summary"), dict):
            self._summary = data["summary"]
        if isinstance(outcome, dict) and outcome.get("outcome"):
            self._outcomes[view.target_of(outcome)] = outcome

    def _say(self, result: t.Any) -> None:
        data = data_of(result)
        for text, colour in view.sentences(data):
            self._line(result, str(data.get("stage") or ""), text, colour)
        for text, colour in view.screen_of(data, self._width()):
            self._write(text, colour)
        for row in view.table_of(data, self._width()):
            self._write(row)
        for text, colour in view.left_lines(data.get("left"), self._width()):
            self._write(text, colour)
        self._remember(data)

    def _fail(self, result: t.Any, ignored: bool) -> None:
        """Show a failure once: as a finding if the run continues, and not at all if it only turns a shown outcome red."""
        self._say(result)
        data, task = data_of(result), task_of(result)
        if self._told(host_of(result)) or isinstance(data.get("outcome"), dict) or isinstance(data.get("summary"), dict):
            return
        rescued = ignored or is_rescued(task)
        stage = str(data.get("stage") or "") if rescued else "FAILED"
        text = view.message_of(data)
        if not rescued:
            text += f" (task: {one_line(task.get_name(), 100)})"
        self._line(result, stage, text, view.YELLOW if rescued else view.RED)

    def _told(self, host: str) -> bool:
        """Return whether what is not green was shown for *host*, or as a screen for all: that says everything, with the next command."""
        return self._screened not in ("", "well") or any(
            str(one.get("host") or "") == host and not one.get("green") for one in self._outcomes.values()
        )

    def _line(self, result: t.Any, stage: str, text: str, colour: str) -> None:
        front = view.prefix(
            time.strftime("%H:%M:%S"),
            time.monotonic() - self._begun,
            self._labels.get(host_of(result), host_of(result)),
            stage,
            self._hosts_width,
        )
        self._write(view.wrapped(front, text, self._width()), colour)

    def _write(self, text: str, colour: str = "") -> None:
        # Whatever a step forgot: no one reads a password on this screen.
        text = without_url_secrets(text)
        if not self._utf8():
            text = text.encode("ascii", "backslashreplace").decode("ascii")
        self._display.display(text, color=colour or None)

    def _frame(self) -> view.Frame:
        return view.UNICODE if self._utf8() and not self.get_option("ascii") else view.ASCII

    @staticmethod
    def _utf8() -> bool:
        return (sys.stdout.encoding or "ascii").lower().replace("-", "").startswith("utf")

    def _width(self) -> int:
        allowed = int(self.get_option("width"))
        return view.width_of(shutil.get_terminal_size((allowed, 24)).columns, allowed)


def _short(path: str) -> str:
    return os.path.relpath(path) if os.path.isabs(path) and not path.endswith(",") and path.startswith(os.getcwd()) else path
