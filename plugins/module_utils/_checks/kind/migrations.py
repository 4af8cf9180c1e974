# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``migrations``: which schema a PostgreSQL database has, according to the records of Alembic and Django.

Read-only. With ``wanted`` (the heads of another look) it judges whether the schema is still that one.

C(migrations): which schema a PostgreSQL database has, by the tables of Alembic and Django, read-only. Takes C(host) (empty for the
socket), C(port), C(user), C(database), C(password_file), C(tls), C(os_user) and C(psql); C(tool) (auto, alembic, django), C(schema) of
their tables, and C(wanted) (C(facts.heads) of an earlier look; any other schema is sick).
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC, Query, Row, SqlError, ask

CLASS = "database"
OPTIONS: dict[str, t.Any] = {
    **CONNECT_SPEC,
    "tool": {"type": "str", "choices": ["auto", "alembic", "django"], "default": "auto"},
    "schema": {"type": "str", "default": "public"},
    "wanted": {"type": "dict", "default": {}},
}
# The tables that each tool creates by default.
QUERIES = {
    "alembic": 'SELECT version_num FROM :"schema".alembic_version ORDER BY version_num',
    "django": 'SELECT app, name FROM :"schema".django_migrations ORDER BY id',
}
NO_TABLE = "42P01"
MOST_SHOWN = 5


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return {error, alembic, django}: the rows, None where the table is missing or was not wanted."""
    tools = sorted(QUERIES) if options["tool"] == "auto" else [options["tool"]]
    raw: dict[str, t.Any] = {"error": "", "alembic": None, "django": None}
    try:
        found = ask(options, {tool: Query(QUERIES[tool], {"schema": options["schema"]}) for tool in tools}, deadline)
    except SqlError as error:
        return dict(raw, error=str(error))
    for tool, answer in found.items():
        if not isinstance(answer, SqlError):
            raw[tool] = answer
        elif answer.sqlstate != NO_TABLE:
            raw["error"] = "%s: %s" % (tool, answer)
    return raw


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Known without ``wanted``; with it well for the same schema, sick for another one. A failed query is unknown."""
    if raw["error"]:
        text = "the schema of %s is unknown: %s" % (one_line(options["database"], 60), one_line(raw["error"], 160))
        return Health((Finding("migrations", State.UNKNOWN, text),), "unknown", facts={"tool": "", "heads": {}})
    heads = heads_of(raw)
    facts = {"tool": "both" if len(heads) > 1 else next(iter(heads), "none"), "heads": heads}
    if not options["wanted"]:
        return Health((Finding("migrations", State.WELL, "the schema is at %s" % told(heads)),), "known", facts=facts)
    different = differences(heads, options["wanted"])
    if not different:
        return Health((Finding("migrations", State.WELL, "the schema is the expected one: %s" % told(heads)),), "same", facts=facts)
    text = "the schema is not the expected one: %s" % "; ".join(different)
    return Health((Finding("migrations", State.SICK, text, {"differences": different}),), "other_heads", facts=facts)


def heads_of(raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the heads by tool, without tools that have no table."""
    heads: dict[str, t.Any] = {}
    if raw["alembic"] is not None:
        heads["alembic"] = sorted({str(row["version_num"]) for row in raw["alembic"]})
    if raw["django"] is not None:
        heads["django"] = _django(raw["django"])
    return heads


def _django(rows: t.Sequence[Row]) -> dict[str, t.Any]:
    """The digest ignores the order: a migration reverted and applied again is the same one."""
    applied = sorted({(str(row["app"]), str(row["name"])) for row in rows})
    digest = hashlib.sha256(json.dumps(applied).encode()).hexdigest()
    return {"count": len(applied), "sha256": digest, "last": {str(row["app"]): str(row["name"]) for row in rows}}


def differences(now: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> list[str]:
    """Return a sentence for each tool whose heads differ from the expected ones."""
    found = []
    alembic, then = now.get("alembic"), wanted.get("alembic")
    if (None if alembic is None else set(alembic)) != (None if then is None else {str(one) for one in then}):
        found.append("Alembic is at %s, expected is %s" % (_listed(alembic), _listed(then)))
    django, other = now.get("django"), wanted.get("django")
    if (django or {}).get("sha256") != (other or {}).get("sha256"):
        found.append("Django: %s" % _apart(django, other))
    return found


def _apart(now: t.Optional[t.Mapping[str, t.Any]], wanted: t.Optional[t.Mapping[str, t.Any]]) -> str:
    if not now or not wanted:
        return "no migrations, expected are %s" % wanted["count"] if wanted else "%s migrations, expected none" % (now or {}).get("count")
    last, then = now["last"], wanted.get("last") or {}
    apps = sorted(app for app in {*last, *then} if last.get(app) != then.get(app))
    named = ["%s is at %s, expected is %s" % tuple(_word(one) for one in (app, last.get(app), then.get(app))) for app in apps[:MOST_SHOWN]]
    more = ["and %d more" % (len(apps) - MOST_SHOWN)] if len(apps) > MOST_SHOWN else []
    return ", ".join(named + more) or "%s migrations, expected are %s, with the same last ones" % (now["count"], _word(wanted.get("count")))


def told(heads: t.Mapping[str, t.Any]) -> str:
    """Return the heads in words."""
    parts = ["Alembic %s" % _listed(heads["alembic"])] if "alembic" in heads else []
    if "django" in heads:
        parts.append("Django %d migrations of %d apps" % (heads["django"]["count"], len(heads["django"]["last"])))
    return ", ".join(parts) or "no migrations of Alembic or Django"


def _listed(names: t.Optional[t.Sequence[t.Any]]) -> str:
    if names is None:
        return "nothing (no table)"
    shown = [one_line(name, 60) for name in list(names)[:MOST_SHOWN]]
    more = ["and %d more" % (len(names) - MOST_SHOWN)] if len(names) > MOST_SHOWN else []
    return ", ".join(shown + more) or "its base"


def _word(name: t.Any) -> str:
    return "none" if name is None else one_line(name, 60)
