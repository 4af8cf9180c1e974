# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a task failed because it could not become another user, from what Ansible or sudo said. Pure."""

from __future__ import annotations

import re
import typing as t

# By the case of the reason bad_input: what ansible-core and sudo, su or doas say.
WORDS: t.Mapping[str, t.Pattern[str]] = {
    "password_missing": re.compile(r"Missing (?:sudo|su|doas|\w+) password|sudo: a (?:terminal|password) is required", re.IGNORECASE),
    "password_wrong": re.compile(r"Incorrect (?:sudo|su|doas|\w+) password|incorrect password attempt|Sorry, try again", re.IGNORECASE),
    "not_allowed": re.compile(r"is not in the sudoers file|is not allowed to (?:execute|run sudo)|may not run sudo", re.IGNORECASE),
}
# How ansible-core calls an answer that is no module's; what was printed is in other keys.
NO_ANSWER = ("Module result deserialization failed", "MODULE FAILURE")


def case_of(text: str) -> str:
    """Return the case of the reason for *text*, "" where it is about something else."""
    return next((case for case, words in WORDS.items() if words.search(text)), "")


def is_shut_out(text: str) -> bool:
    """Return whether *text* says that a user could not become another one."""
    return bool(case_of(text))


def printed(result: t.Mapping[str, t.Any]) -> str:
    """Return the line that a failed module printed in the place of an answer where it says so, "" for every other result."""
    if not result.get("failed") or not str(result.get("msg") or "").startswith(NO_ANSWER):
        return ""
    lines = "%s\n%s" % (result.get("module_stdout") or "", result.get("module_stderr") or "")
    return next((line.strip() for line in lines.splitlines() if is_shut_out(line)), "")
