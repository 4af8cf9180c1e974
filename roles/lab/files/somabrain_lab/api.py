# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in SomaBrain API: the routes of one profile, and faults to practise with.

``<lab_dir>/api_faults.json`` is read at each request: one rule or a list of
``{"paths": [...], "delay_seconds": n, "hang": true, "status": n, "body": ..., "pid": n}``; every key is optional.
With ``pid`` only that process, or the worker of that master, has the fault, so that a restart cures it; with ``young`` only in so many
seconds after it began to serve; with ``grow_mib`` each request leaves so much memory behind. What a process does at its start is in
``practice.py``.
"""

from __future__ import annotations

import contextlib
import sys
import time
import typing as t
from pathlib import Path

import psycopg

from . import config, httpd, practice
from .service import Service
from .v1 import V1
from .v2 import V2

HANG_SECONDS = 3600.0


def faults_for(files: t.Iterable[Path], path: str) -> dict[str, t.Any]:
    """Return the first rule that names *path* or no path at all; {} for none."""
    for rule in (rule for file in files for rule in practice.rules_of(file)):
        if isinstance(rule, dict) and path in rule.get("paths", [path]) and practice.holds(rule):
            return rule
    return {}


def with_faults(application: httpd.Application, files: t.Sequence[Path]) -> httpd.Application:
    """Return the application as the files of faults want it to be."""

    def faulty(request: httpd.Request) -> httpd.Reply:
        rule = faults_for(files, request.path)
        practice.leak(rule)
        time.sleep(HANG_SECONDS if rule.get("hang") else float(rule.get("delay_seconds") or 0))
        if "status" in rule or "body" in rule:
            return httpd.Reply(rule.get("body", {"detail": "practised fault"}), int(rule.get("status") or 200))
        return application(request)

    return faulty


def main() -> None:
    settings = config.read(sys.argv[1])
    # What psycopg loads late it loads here, while this process may still read the interpreter's folder.
    with contextlib.suppress(psycopg.Error):
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=2")
    config.read_secrets(settings)
    config.drop_privileges(settings)
    # The real one loads its models first.
    time.sleep(max(0.0, float(settings.get("api_start_seconds") or 0) - practice.age()))
    files, port = practice.files_of(Path(settings["lab_dir"])), int(settings["ports"]["api"])
    practice.begin()
    if settings["profile"] == "v2":
        httpd.serve_by_worker(port, lambda: with_faults(V2(Service(settings)), files))
    else:
        httpd.serve(port, with_faults(V1(Service(settings)), files))


if __name__ == "__main__":
    main()
