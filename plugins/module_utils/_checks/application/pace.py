# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When what an application depends on is slow, or makes its sessions wait for a lock, which explains that the application is late."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted

Result = t.Mapping[str, t.Any]
# What takes this share of the time for an answer is slow: the first generation asks its memory twice for one health answer.
SLOW_SHARE = 1 / 3
# A long-term memory that takes this share explains that the second generation, which is quicker to give it up, says it lacks memory.
IMPATIENT_SHARE = 1 / 6
# So many times as long a service that depends on something slow is given for its answer.
LATE = 2


def slow_of(results: t.Iterable[Result], answer: float, share: float = SLOW_SHARE) -> list[Result]:
    """Return those of *results* that are well, and took so much of *answer* seconds that what depends on them may be late."""
    return [one for one in results if one["health"] == "well" and float(one.get("seconds") or 0) >= share * answer]


def locked_of(results: t.Iterable[Result], answer: float) -> list[Result]:
    """Return those of *results* that are well, and in which a session waits for a lock for as long."""
    return [one for one in results if one["health"] == "well" and _waited(one) >= SLOW_SHARE * answer]


def text_of(one: Result) -> str:
    """Return what is slow about *one*."""
    roots = _locks(one).get("roots") or []
    if not roots:
        return "%s took %.1f s to answer" % (one["name"], float(one.get("seconds") or 0))
    who = "prepared transaction %s" % roots[0]["gid"] if roots[0]["gid"] else "session %s of %s" % (roots[0]["pid"], roots[0]["user"])
    return "in %s, %s makes %s wait for a lock, the longest for %.0f s" % (
        one["name"], who, counted(int(roots[0]["blocked_count"]), "sessions"), _waited(one),
    )  # fmt: skip


def _locks(one: Result) -> t.Mapping[str, t.Any]:
    return (one.get("facts") or {}).get("locks") or {}


def _waited(one: Result) -> float:
    return float(_locks(one).get("longest_wait_seconds") or 0)
