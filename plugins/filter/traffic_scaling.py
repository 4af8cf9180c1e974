# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role traffic_scaling: thin, module_utils/_traffic/remedy.py decides."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import remedy
else:
    remedy = Late("_traffic.remedy")

Given = t.Mapping[str, t.Any]


def looks(asked: Given, run: Given, way: Given, stage: str) -> list[dict[str, t.Any]]:
    return remedy.looks(plain(asked), plain(run), plain(way), str(stage), time.time())


def owed(asked: Given, way: Given) -> dict[str, t.Any]:
    return remedy.owed(plain(asked), plain(way))


def seconds(asked: Given) -> dict[str, float]:
    return remedy.seconds(plain(asked))


def due(body: Given) -> dict[str, t.Any]:
    return remedy.due(plain(body))


def way(remembered: Given, run_id: str) -> dict[str, t.Any]:
    return remedy.way_of(plain(remembered), str(run_id), time.time())


def walked(so_far: Given, step: Given, watched: Given) -> dict[str, t.Any]:
    return remedy.walked(plain(so_far), plain(step), plain(watched))


def taken(so_far: Given, failure: Given) -> str:
    return remedy.taken_by_others(plain(so_far), plain(failure))


def loss(so_far: Given) -> dict[str, t.Any]:
    return remedy.loss_of(plain(so_far))


def undo(asked: Given, so_far: Given) -> str:
    return remedy.undo_of(plain(asked), plain(so_far))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        names = (looks, owed, seconds, due, way, walked, taken, loss, undo)
        return {f"traffic_scaling_{one.__name__}": one for one in names}
