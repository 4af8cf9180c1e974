# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold drills: `python -m somabrain_drill [NAME...]` on labs of their own, or `--on-target` as JSON on standard input says.

Exit code 0 when every hypothesis held, 1 when one did not, 3 when no drill could be held; the reason is then printed in one sentence.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
import typing as t
from pathlib import Path

from . import lanes, record
from .drill import Result
from .errors import DrillError
from .families import Place
from .faults import Fault, load_all
from .runs import ROOT
from .table import footer, header, row, sentences

FAULTS = ROOT / "roles/drill/faults"
TOLD = 3


def place_of(given: dict[str, t.Any]) -> Place:
    """Return the place that the role describes; raises DrillError for a host that is not marked or not on this machine."""
    if given.pop("marked", False) is not True:
        raise DrillError(f"host {given.get('host')} is not marked for drills: set drill_target to true for a host whose data may be lost")
    if given.pop("connection") != "local":
        raise DrillError(f"host {given.get('host')} is another machine: run the drill there, with ansible_connection local")
    return Place(given["host"], tuple(str(source) for source in given["inventories"]), given["lab_dir"], given["parts"])


def kept(record_dir: str) -> Path:
    """Return where the runs of failed drills are kept, beside the record, private as that is."""
    folder = Path(record_dir) / "failed-drills"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(record_dir).chmod(0o700)
    return folder


def of_role() -> int:
    """Run the drills that the role asks for, and print the results as JSON."""
    given = json.load(sys.stdin)
    record_dir = given.pop("record_dir")
    faults = load_all(FAULTS, given.pop("faults"), given.pop("seed"))
    results = lanes.on_target(place_of(given), faults, lambda result: record.write(record_dir, result), kept(record_dir))
    failed = [result.fault for result in results if result.verdict == "FAILED"]
    print(json.dumps({"say": sentences(results), "failed": failed, "results": [dataclasses.asdict(result) for result in results]}))
    return 1 if failed else 0


def of_person(faults: list[Fault], lane_count: int, record_dir: str, triage_file: str = "") -> int:
    """Hold *faults* on labs of their own, telling each as it ends; what triage named of each goes to *triage_file* as JSON lines."""
    begun, seeds = time.monotonic(), sorted({fault.seed for fault in faults} - {0})
    print("\n".join([*(f"seed {seed}" for seed in seeds), *header()]), flush=True)

    def tell(result: Result) -> None:
        print("\n".join(row(result)), flush=True)
        record.write(record_dir, result)
        if triage_file and result.triage:
            record.triage(triage_file, result)

    results = lanes.in_lanes(faults, lane_count, tell, kept(record_dir))
    where = f"recorded in {record_dir}; playbooks/show-history.yml -e remediation_state_dir={record_dir}"
    print("\n".join([*footer(results, time.monotonic() - begun), where]))
    return 1 if any(result.verdict == "FAILED" for result in results) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="somabrain_drill", description="Break a store on purpose, recover it, judge.")
    parser.add_argument("names", nargs="*", help="faults; none: all")
    parser.add_argument("--on-target", action="store_true", help="read the target from standard input")
    parser.add_argument("--lanes", type=int, default=min(2, os.cpu_count() or 1), help="labs side by side")
    parser.add_argument("--record-dir", default=str(ROOT / ".cache/drills"), help="folder of the ledger that keeps what was proven")
    parser.add_argument("--faults", type=Path, default=FAULTS, help="folder of the fault files")
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("SEED") or 0), help="vary writers and damage, the same way each time"
    )
    parser.add_argument("--triage", default="", metavar="FILE", help="ask triage first, judge it by what the run finds, add a line to FILE")
    given = parser.parse_args()
    # An end by TERM puts the target back as an end by ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if given.on_target:
            return of_role()
        faults = [dataclasses.replace(fault, triage=bool(given.triage)) for fault in load_all(given.faults, given.names, given.seed)]
        return of_person(faults, given.lanes, given.record_dir, given.triage)
    except DrillError as error:
        print(json.dumps({"error": str(error)}) if given.on_target else str(error), file=sys.stdout if given.on_target else sys.stderr)
        return TOLD


if __name__ == "__main__":
    sys.exit(main())
