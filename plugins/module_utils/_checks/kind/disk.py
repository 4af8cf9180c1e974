# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``disk``: space, inodes and read-only mounts of the target's file systems.

C(disk): C(paths), C(max_used_share), C(max_inodes_used_share), C(min_free_bytes), C(writable).
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State

HOST_ONLY = True
NO_SERVICE = True
CLASS = "host"
OPTIONS: dict[str, t.Any] = {
    "paths": {"type": "list", "elements": "path", "default": ["/"]},
    "max_used_share": {"type": "float", "default": 0.9},
    "max_inodes_used_share": {"type": "float", "default": 0.9},
    "min_free_bytes": {"type": "int", "default": 0},
    "writable": {"type": "bool", "default": True},
}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return one record for each path. A dead file server makes this hang; the caller abandons it at its deadline."""
    return {"paths": [_load_path(str(path)) for path in options["paths"]]}


def _load_path(path: str) -> dict[str, t.Any]:
    try:
        found = os.statvfs(path)
    except OSError as error:
        return {"path": path, "error": one_line(error.strerror or error, 80)}
    # As df does: space reserved for root counts as used.
    used = found.f_blocks - found.f_bfree
    return {
        "path": path,
        "error": "",
        "free_bytes": found.f_bavail * found.f_frsize,
        "used_share": round(used / (used + found.f_bavail), 4) if used + found.f_bavail else None,
        "inodes_used_share": round(1 - found.f_favail / found.f_files, 4) if found.f_files else None,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
    }


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Sick over a share, under the least free bytes, or read-only where ``writable``; unknown for a path that does not exist."""
    findings = tuple(finding for record in raw["paths"] for finding in _judge_path(record, options))
    full = any(finding.name in ("space", "inodes") and finding.state is State.SICK for finding in findings)
    facts = {"paths": list(raw["paths"])}
    return Health(findings, state="full" if full else "", facts=facts)


def _judge_path(record: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> list[Finding]:
    path = one_line(record["path"], 60)
    if record["error"] or record["used_share"] is None:
        return [Finding("space", State.UNKNOWN, f"{path}: {record['error'] or 'a file system without a size'}")]
    short = record["used_share"] > options["max_used_share"] or record["free_bytes"] < options["min_free_bytes"]
    text = f"{path}: {record['used_share']:.0%} used, {record['free_bytes'] // 2**20} MiB free, {options['max_used_share']:.0%} allowed"
    findings = [Finding("space", State.SICK if short else State.WELL, text, {"path": path})]
    inodes = record["inodes_used_share"]
    if inodes is not None:
        state = State.SICK if inodes > options["max_inodes_used_share"] else State.WELL
        findings.append(Finding("inodes", state, f"{path}: {inodes:.0%} of inodes used, {options['max_inodes_used_share']:.0%} allowed"))
    if record["read_only"] and options["writable"]:
        findings.append(Finding("read_only", State.SICK, f"{path}: mounted read-only"))
    return findings
