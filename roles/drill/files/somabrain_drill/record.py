# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of drills in a ledger: when a fault was last proven, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import time

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger

from .drill import Result
from .errors import DrillError
from .runs import ROOT


def version() -> str:
    """Return the version of the collection that was drilled, "?" where it is unknown."""
    for line in (ROOT / "galaxy.yml").read_text(encoding="utf-8").splitlines() if (ROOT / "galaxy.yml").exists() else ():
        if line.startswith("version:"):
            return line.partition(":")[2].strip().strip("\"'")
    return "?"


def write(state_dir: str, result: Result) -> None:
    """Add one drill to the chain of the ledger in *state_dir*; a skipped one proves nothing and is not written. Raises DrillError."""
    if result.verdict == "skipped":
        return
    body = {**dataclasses.asdict(result), "why": [one_line(why, 300) for why in result.why], "version": version()}
    try:
        with open_ledger(state_dir, False) as ledger, ledger.transaction():
            ledger.append(f"drill-{result.fault}", "drill", body, time.time())
    except StepError as error:
        raise DrillError(f"the drill could not be recorded: {error}") from None


def triage(file: str, result: Result) -> None:
    """Add to *file* what triage named of one fault, as one JSON line."""
    named = dataclasses.asdict(result.triage) if result.triage else {}
    line = {"fault": result.fault, "outcome": result.outcome, "verdict": result.verdict, **named}
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")
