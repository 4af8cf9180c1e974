# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role redis_clearing: module_utils/_redis/clearing.py for YAML, which decides nothing itself."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import clearing, recovery
else:
    clearing = Late("_redis.clearing")
    recovery = Late("_redis.recovery")

Given = t.Mapping[str, t.Any]


def kept_file(run: Given, rescue_dir: str) -> str:
    return clearing.kept_file(str(rescue_dir), str(plain(run).get("run_id") or ""))


def outcome(cleared: Given, back: Given, run: Given, probe: Given, keys_before: t.Any, rescue_dir: str, reach: Given) -> dict[str, t.Any]:
    opened, now, folder = plain(run), plain(probe), str(rescue_dir)
    kept = kept_file(opened, folder)
    count = clearing.removed(plain(cleared), plain(back), kept)
    return {
        "loss": clearing.loss_of(count, kept, plain(keys_before), (now.get("facts") or {}).get("keys")),
        "harmless": clearing.harmless(plain(cleared), count, kept),
        "undo": clearing.undo_of(count, kept, opened.get("resumed") or {}, folder, plain(reach)),
        "verified": recovery.verified(now),
    }


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"redis_clearing_kept_file": kept_file, "redis_clearing_outcome": outcome}
