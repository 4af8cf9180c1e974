# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_compare``: what a restored database has and the live one lacks, by counts and hashes. Only reads live."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.programs import find_binaries
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC, SqlError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import target as engine
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import compare, is_counted, left
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.written import load_now
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_restore import side_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    CONNECT_SPEC,
    folder={"type": "path", "required": True},
    tables={"type": "list", "elements": "str", "default": []},
    bin_dir={"type": "path", "default": ""},
    timeout={"type": "float", "default": 600.0},
)


def run(params: Params, check: bool) -> Result:
    """Return {changed, tables, missing, extra, differing, exact, live_at, say, table}. Raises StepError."""
    end = time.monotonic() + params["timeout"]
    if engine.manifest_of(params["folder"]).get("state") not in ("restored", "promoted"):
        raise refused("state_not_handled", "%s holds no complete restore" % one_line(params["folder"], 80))
    try:
        with engine.held(params["folder"]), side_of(params, params["folder"], find_binaries(params["bin_dir"]), {}, end) as side:
            now = load_now(params, left(end))
            tables, _differences = compare(side.where(params["database"]), params, params["tables"], end)
    except (engine.Refused, SideFailed) as error:
        raise refused("state_not_handled", str(error)) from None
    except (SqlError, OSError) as error:
        raise StepError("cannot compare: %s" % one_line(error, 160)) from None
    return dict(_result(tables), live_at=now)


def _result(tables: t.Sequence[t.Mapping[str, t.Any]]) -> Result:
    sums = {key: sum(int(one[key] or 0) for one in tables) for key in ("missing", "extra", "changed")}
    say = "compared %s: %d rows are missing in live, %d are only in live, %d have changed" % (
        counted(len(tables), "tables"), sums["missing"], sums["extra"], sums["changed"],
    )  # fmt: skip
    return {
        "changed": False, "tables": list(tables), "missing": sums["missing"], "extra": sums["extra"], "differing": sums["changed"],
        "exact": all(is_counted(one) for one in tables), "say": [say], "table": engine.table_lines(tables),
    }  # fmt: skip
