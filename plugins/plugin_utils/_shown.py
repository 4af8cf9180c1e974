# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the on-call view would show, for runs that have Ansible's own view, which shows nothing of a task that went well.

A playbook cannot choose the view of its run: an installed collection is called from directories whose configuration does not name ours.
"""

from __future__ import annotations

import functools
import typing as t

from ansible import constants, context
from ansible.utils.display import Display

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, without_url_secrets

# Views that people read. Others are read by programs, which take the result itself.
BARE = frozenset(["default", "yaml"])
WIDTH = 100


def shown(result: Result, task: t.Any, task_vars: t.Optional[t.Mapping[str, t.Any]]) -> Result:
    """Return *result*, after its sentences, table and outcome were displayed where the view of the run shows none of them."""
    if is_bare() and not task.no_log:
        for text, colour in lines_of(result, str((task_vars or {}).get("inventory_hostname") or "")):
            Display().display(without_url_secrets(text), color=colour or None)
    return result


@functools.cache
def is_bare() -> bool:
    """Return whether this is a playbook with a view of Ansible's own."""
    view = str(constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK")).rpartition(".")[2]
    # `ansible` shows results of its modules as they are.
    return view in BARE and "module_name" not in context.CLIARGS


def lines_of(result: Result, host: str) -> list[tuple[str, str]]:
    """Return the lines, each with its colour, that the on-call view would show of a result."""
    # Imported late: most runs have the on-call view.
    from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _on_call as view

    front = f"{one_line(host, 60)}  {one_line(result.get('stage') or '', view.STAGE_WIDTH):<{view.STAGE_WIDTH}} "
    lines = [(view.wrapped(front, text, WIDTH), colour) for text, colour in view.sentences(result)]
    lines += (
        view.screen_of(result, WIDTH) + [(row, "") for row in view.table_of(result, WIDTH)] + view.left_lines(result.get("left"), WIDTH)
    )
    # A screen has its commands in it.
    lines += view.next_lines(result.get("next_commands")) if not result.get("screen") else []
    if isinstance(result.get("outcome"), dict) and result["outcome"].get("outcome"):
        lines += view.outcome_block(result["outcome"], WIDTH, view.ASCII)
    return lines + (view.summary_lines(result["summary"], WIDTH) if isinstance(result.get("summary"), dict) else [])
