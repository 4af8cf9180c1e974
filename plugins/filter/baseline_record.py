# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role baseline_record: module_utils/_triage/baseline.py for YAML, which decides nothing itself."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import baseline
else:
    baseline = Late("_triage.baseline")


def probe(looked: t.Any) -> dict[str, t.Any]:
    return baseline.probe_of(plain(looked))


def kept(looked: t.Any) -> dict[str, t.Any]:
    return baseline.kept_of(plain(looked))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"baseline_record_probe": probe, "baseline_record_kept": kept}
