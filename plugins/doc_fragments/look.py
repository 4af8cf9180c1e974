# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that every looking module shares."""

from __future__ import annotations


class ModuleDocFragment:
    # Where a look runs; the names and defaults are those of module_utils/_health/options.py.
    PLACE = r"""
options:
  look_from:
    description:
      - Where to look from. With V(auto) that is the target for loopback addresses, socket paths and the machine itself,
        else the controller.
      - A refused connection seen from the controller proves nothing and is V(unknown); seen on the target it is V(sick).
    type: str
    choices: [auto, controller, target]
    default: auto
  stands_on:
    description: Where the look really runs. Set by the action plugin, which overwrites any value given here.
    type: str
    choices: [controller, target]
    default: target
"""
    # How long to look. ansible-test reads only plain strings, so a module names both parts.
    DOCUMENTATION = r"""
options:
  passes:
    description: Number of consecutive well looks after which the health counts as proven.
    type: int
    default: 1
  window:
    description: Minimum time from the first to the last of these looks, in seconds; it starts over when another process answers.
    type: float
    default: 0.0
  timeout:
    description: Seconds to wait for that proof; V(0) looks once, or O(passes) times while all is well.
    type: float
    default: 0.0
  wait_timeout:
    description: Longest wait in seconds, instead of O(timeout), while only time is needed, for example by a Redis that is loading.
    type: float
    default: 0.0
  interval:
    description: Seconds between two looks.
    type: float
    default: 0.2
  probe_timeout:
    description: Total deadline of one look, in seconds, for anything without a deadline of its own.
    type: float
    default: 3.0
  stage:
    description: The stage of a remediation that this look belongs to; the on-call view shows it.
    type: str
    choices: [open, assess, guard, act, verify, undo, close]
    default: assess
"""
