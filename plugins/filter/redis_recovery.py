# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role redis_recovery: module_utils/_redis/recovery.py for YAML, which decides nothing itself."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import facts, loss, recovery
else:
    facts = Late("_redis.facts")
    loss = Late("_redis.loss")
    recovery = Late("_redis.recovery")

Given = t.Mapping[str, t.Any]


def so_far(kept: Given, run: Given, state_before: str, empty_below_share: t.Any, accepted: t.Any) -> dict[str, t.Any]:
    return recovery.so_far(plain(kept), plain(run), str(state_before), float(empty_below_share), int(accepted), time.time())


def turns(actions: t.Sequence[str], sentinels: t.Sequence[Given], persistence: Given) -> list[dict[str, t.Any]]:
    return recovery.turns(plain(actions), bool(sentinels), plain(persistence))


def kill_loss(persistence: Given) -> str:
    return recovery.kill_loss(plain(persistence))


def chosen(offer: Given, decided: Given, most_seconds: t.Any) -> dict[str, t.Any]:
    return recovery.chosen(plain(offer), plain(decided), float(most_seconds))


def reload_plan(seen: Given, actions: t.Sequence[str], done: Given) -> dict[str, t.Any]:
    return recovery.reload_plan(plain(seen), plain(actions), plain(done))


def cause(seen: Given) -> str:
    known = plain(seen)
    return facts.cause_of(known.get("disk") or {}, (known.get("log") or {}).get("lines") or {})


def outcome(done: Given, probe: Given, before: Given, target: Given) -> dict[str, t.Any]:
    acts, now = plain(done), plain(probe)
    return {
        "loss": loss.loss_of(acts, plain(before), now.get("facts") or {}),
        "harmless": loss.harmless(acts),
        "left": recovery.left_of(acts, recovery.Target(**plain(target))),
        "undo": recovery.undo_of(acts, plain(before), recovery.Target(**plain(target))),
        "verified": recovery.verified(now),
    }


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "redis_recovery_so_far": so_far,
            "redis_recovery_turns": turns,
            "redis_recovery_kill_loss": kill_loss,
            "redis_recovery_chosen": chosen,
            "redis_recovery_reload_plan": reload_plan,
            "redis_recovery_cause": cause,
            "redis_recovery_outcome": outcome,
        }
