# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the configuration files on disk are those that a running server has loaded: only such a file is proven.

A file with an error, or changed since the last load, is what the next start would meet, not what runs.
"""

from __future__ import annotations

import html
import json
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact

Raw = t.Mapping[str, t.Any]
Fault = t.Dict[str, t.Any]

_FILES = """
WITH f AS MATERIALIZED (SELECT * FROM pg_file_settings WHERE error IS NOT NULL)
SELECT coalesce(jsonb_agg(jsonb_build_object('file', sourcefile, 'line', sourceline, 'name', name, 'text', error, 'pending',
  (SELECT bool_or(s.pending_restart) FROM pg_settings s WHERE lower(s.name) = lower(f.name)))), '[]') AS found FROM f
"""
_RULES = """
SELECT coalesce(jsonb_agg(jsonb_build_object('file', current_setting('%s'), 'line', line_number, 'text', error)), '[]') AS found
FROM %s WHERE error IS NOT NULL
"""
# View -> (the function that it reads, the query). Which of them a server has, and our user may read, is asked first: an error is logged.
_VIEWS = {
    "pg_file_settings": ("pg_show_all_file_settings", _FILES),
    "pg_hba_file_rules": ("pg_hba_file_rules", _RULES % ("hba_file", "pg_hba_file_rules")),
    "pg_ident_file_mappings": ("pg_ident_file_mappings", _RULES % ("ident_file", "pg_ident_file_mappings")),
}
_ONE = """
  CASE WHEN to_regclass('pg_catalog.%(view)s') IS NULL THEN '<found>[]</found>'
    WHEN has_table_privilege(to_regclass('pg_catalog.%(view)s'), 'select')
      AND has_function_privilege(to_regprocedure('pg_catalog.%(function)s()'), 'execute')
    THEN query_to_xml($q$%(query)s$q$, false, true, '')::text END AS %(view)s"""
_SEEN = [_ONE % {"view": view, "function": function, "query": query} for view, (function, query) in _VIEWS.items()]
_TIMES = (
    "extract(epoch FROM pg_conf_load_time())::float8 AS loaded_at,\n  extract(epoch FROM pg_postmaster_start_time())::float8 AS started_at"
)
QUERY = "SELECT %s" % ",".join([_TIMES, *_SEEN])  # noqa: S608 - all of it is written above


def judge_loaded(row: Raw, files: t.Iterable[str]) -> t.Tuple[t.List[str], t.Optional[float], t.List[Fault]]:
    """Return (those of *files* in which the server finds no error, the time up to which they are loaded, the faults of the others). Pure.

    Where our user may not ask for errors, what was changed after the start is not known to be loaded.
    """
    found = [_found(row.get(view)) for view in _VIEWS]
    faults = [fault for one in found for fault in one or []]
    wrong = {fault.get("file") for fault in faults}
    is_seen = all(one is not None for one in found)
    # A value that waits for a restart is no fault, but no start has proven it.
    broken = [_told(fault) for fault in faults if not fault.get("pending")]
    return [file for file in files if file not in wrong], row.get("loaded_at" if is_seen else "started_at"), broken


def _found(text: t.Any) -> t.Optional[t.List[Fault]]:
    """Return what one view shows, None where it could not be read."""
    held = re.search(r"<found>(.*)</found>", str(text or ""), re.S)
    return t.cast(t.List[Fault], json.loads(html.unescape(held.group(1)))) if held else None


def _told(fault: Fault) -> Fault:
    name = "%s: " % one_line(fault["name"], 60) if fault.get("name") else ""
    return {
        "file": one_line(fault.get("file") or "", 120),
        "line": fault.get("line") or 0,
        "text": name + one_line(redact(fault["text"]), 120),
    }
