# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of Ansible that a person can paste: one of our modules on a host, or one of our playbooks. Pure functions.

How to call Ansible is known on the controller alone (checkout or installed collection, inventory, how to log in), so these commands
begin with a word in braces, ``{ansible}`` or the name of a playbook; plugin_utils/_spine.commands fills them in.
"""

from __future__ import annotations

import json
import shlex
import typing as t

MODULES = "somabrain.incident_response."


def module_on(module: str, options: t.Mapping[str, t.Any]) -> str:
    """Return the command line that runs *module* (one of ours where its name has no dot) with *options* on the run's host."""
    name = module if "." in module else MODULES + module
    return "{ansible} " + _line(["-m", name, *(["-a", json.dumps(options)] if options else [])])


def playbook_for(name: str, extra: str = "") -> str:
    """Return the command line that runs our playbook *name* on the run's host, with *extra* as ``-e`` where it is not empty."""
    return "{%s}%s" % (name, " " + _line(["-e", extra]) if extra else "")


def _line(words: t.Sequence[t.Any]) -> str:
    return " ".join(shlex.quote(str(word)) for word in words)
