# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of Ansible that a person can paste: one of our modules on a host, or one of our playbooks. Pure functions."""

from __future__ import annotations

import json
import shlex
import typing as t

MODULES = "somabrain.incident_response."


def module_on(host: str, inventories: t.Sequence[str], module: str, options: t.Mapping[str, t.Any]) -> str:
    """Return the command line that runs *module* (one of ours where its name has no dot) with *options* on *host*."""
    name = module if "." in module else MODULES + module
    return _line(["ansible", host, *_named("-i", inventories), "-m", name, *(["-a", json.dumps(options)] if options else [])])


def playbook_for(name: str, inventories: t.Sequence[str], limit: str, extra: str = "") -> str:
    """Return the command line that runs our playbook *name* for the same hosts, with *extra* as ``-e`` where it is not empty."""
    words = ["ansible-playbook", "playbooks/" + name, *_named("-i", inventories), "--limit", limit]
    return _line(words + (["-e", extra] if extra else []))


def _named(option: str, values: t.Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _line(words: t.Sequence[t.Any]) -> str:
    return " ".join(shlex.quote(str(word)) for word in words)
