# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one clearing of Redis removed, and what follows from it: the loss and how to undo it.

Pure and total functions over plain data. What an act gave is believed only where it is about this run's own file of removed values.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.command import module_on

Facts = t.Mapping[str, t.Any]
ANSWERED = "Redis answered each removal, and the value of each key was on disk before"


def kept_file(rescue_dir: str, run_id: str) -> str:
    """Return the path of the file that keeps the values that a run removed."""
    return "%s/%s/removed.jsonl" % (rescue_dir, run_id)


def removed(cleared: Facts, back: Facts, kept: str) -> int:
    """Return how many keys this run removed and did not put back; a key that was there again by then is not missing."""
    gone = int(cleared.get("removed") or 0) if cleared.get("kept_file") == kept else 0
    if back.get("kept_file") == kept:
        gone -= int(back.get("restored") or 0) + int(back.get("there") or 0)
    return max(0, gone)


def loss_of(count: int, kept: str, known: t.Any, present: t.Any) -> t.Dict[str, t.Any]:
    """Return the loss of a run that removed *count* keys, {} for none; *known*, *present*: keys before and now, or None."""
    if not count:
        return {}
    text = "removed the keys that were confirmed as corrupt; their values are kept in %s" % kept
    loss = {"count": count, "exact": True, "unit": "keys", "approved": True, "text": text, "witness": ANSWERED}
    # Clients go on writing: a number of keys that they changed as well proves nothing of what was removed here.
    apart = known is None or present is None or known - present != count
    return dict(loss, known_before=known, present_after=None if apart else present)


def harmless(cleared: Facts, count: int, kept: str) -> t.Dict[str, str]:
    """Return the acts that lost nothing, each with why: the removal only where it is known to have removed nothing for good."""
    found = {"confirm": "values were only read"}
    if not count and cleared.get("kept_file") == kept and cleared.get("removed") is not None:
        found["clear"] = "every key that was removed is there again" if cleared["removed"] else "no key was removed"
    return found


def undo_of(count: int, kept: str, dead: Facts, rescue_dir: str, reach: Facts) -> str:
    """Return how to put back what this run removed, or what a run that died may have removed (*dead*: that run, or {})."""
    if not count and "clear" not in (dead.get("begun") or []):
        return "nothing to put back"
    path = kept if count else kept_file(rescue_dir, str(dead.get("run_id") or ""))
    return module_on("redis_clear", dict(reach, state="put_back", kept_file=path))
