# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a service is rolled back, and to what. Plain data in, a verdict out; the first rule that holds decides.

A target passed verification by the ledger, still exists unchanged, and runs with the present schema of the database.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.identity import REVERSIBLE, image_of, meant_by, short
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.releases import next_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.rollout import way_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.restart import RECORDED

Facts = t.Mapping[str, t.Any]
PREFIX = RECORDED
# States of the application in which another release does not help, or nothing can be proven.
NO_MATTER_OF_A_RELEASE = (
    "manager_unreachable", "several", "left_over", "stateful", "dependency_down", "dependency_slow", "dependency_unknown", "not_its_port",
    "port_taken", "auth", "bad_input", "owner_unseen", "proxy_fails",
)  # fmt: skip
# States that a release which is well has under load.
NO_PROOF = ("slow", "unsteady")

NOT_LOOKED_AT = "the schema of its database was not looked at: name the database in rollback_database"
NO_TABLE = (
    "its schema is unknown: the database of rollback_database has no table of Alembic or Django (another database, or another schema?)"
)
LATE = "%s, which does not prove that its release is bad"
DOWNTIME = "requests fail until it has started again"
SELECT = "release %s is running, but %s would take %s; the verified one has to be selected again"

# How well the application serves requests in each state, to decide about switching back; other states say nothing about a release.
RANKS: t.Mapping[str, int] = {
    "up": 3,
    **dict.fromkeys(("slow", "dependency_slow", "degraded", "erroring", "wrong_body", "not_remembering", "leaking", "unsteady"), 2),
    **dict.fromkeys(("starting", "unhealthy", "pods_not_ready", "rollout_stuck", "no_room", "paused"), 1),
    **dict.fromkeys(("hung", "suspended", "unresponsive", "not_listening", "stuck_stopping"), 1),
    **dict.fromkeys(("stopped", "crashed", "start_limit", "exit_loop", "oom", "bad_config", "scaled_to_nothing", "unknown_service"), 0),
}


# States in which nothing serves, so that a start takes nothing away.
STOPPED = tuple(word for word, rank in RANKS.items() if not rank)


class Verdict(t.NamedTuple):
    """``word`` is the state that the guard reads; ``health`` is well (nothing to do), sick (act, or refuse by the word) or unknown."""

    word: str
    health: str
    text: str
    plan: dict[str, t.Any] = {}
    # What to type next where that is known better than by the code of the refusal.
    next: str = ""


class Seen:
    """What one look and the ledger say, with the names that the rules use."""

    def __init__(self, checks: Facts, verified: Facts, wanted: Facts) -> None:
        self.application, self.release = checks["application"], checks["release"]
        self.configuration, self.migrations = checks.get("configuration"), checks.get("migrations")
        self.records = sorted(records_of(verified), key=lambda one: float(one["at"]), reverse=True)
        self.word, self.what = str(wanted.get("release") or ""), str(wanted.get("what") or "auto")
        self.beside: t.Sequence[Facts] = wanted.get("beside") or []
        self.facts: Facts = self.release["facts"]
        self.running = str(self.facts.get("running") or "")
        self.selected = str(self.facts.get("selected") or "")
        self.has_database = bool(wanted.get("has_database"))
        self.is_asked = bool(self.word) or self.what != "auto"
        self.is_well = self.application["health"] == "well"

    def record_of(self, release: str) -> dict[str, t.Any]:
        return next((one for one in self.records if one["release"] == release), {})

    @property
    def manager(self) -> t.Any:
        return (self.application.get("facts") or {}).get("manager")

    @property
    def offer(self) -> str:
        """The releases that passed verification, newest first, for a person to choose."""
        return "verified releases: %s" % ", ".join(short(str(one["release"])) for one in self.records[:5])

    @property
    def next(self) -> str:
        """What to type to go back to the newest other release that passed verification, "" if there is no other."""
        here = self.facts.get("known") or {}
        others = [str(one["release"]) for one in self.records if one["release"] != self.running]
        there = [
            one for one in others if (here.get(one) or {}).get("there") is not False and (here.get(one) or {}).get("intact") is not False
        ]
        return "{again} -e rollback_release=%s" % short(there[0]) if there else ""

    @property
    def wants_application(self) -> bool:
        return self.what in ("auto", "application", "both")

    def wants_configuration(self, record: Facts) -> bool:
        is_known = bool(self.configuration) and bool(record.get("configuration"))
        return self.what in ("configuration", "both") or (self.what == "auto" and is_known)


def records_of(verified: Facts) -> list[dict[str, t.Any]]:
    """Return the releases that the ledger saw pass verification, each with ``at`` and ``run_id``."""
    return [dict(body) for kind, body in verified.items() if kind.startswith(PREFIX) and body.get("release")]


def judge_rollback(checks: Facts, verified: Facts, wanted: Facts) -> Verdict:
    """Return the verdict; see the role rollback for its words."""
    seen = Seen(checks, verified, wanted)
    refused = _beyond_a_release(seen) or (None if seen.records else _no_record(seen))
    if refused:
        return refused
    target, refused = _target(seen)
    return refused or _weighed(seen, target)


def _refuse(word: str, text: str, health: str = "sick", next: str = "") -> Verdict:
    return Verdict(word, health, text, next=next)


def _beyond_a_release(seen: Seen) -> t.Optional[Verdict]:
    """Return the refusal where no release can help, or where nothing can be seen."""
    state, health = str(seen.application["state"]), str(seen.application["health"])
    if seen.what == "database":
        return _refuse("database", "rolling back a release leaves the database alone; use restore-database.yml, with its own approval")
    # A bad release can remove a container; it cannot make a name unknown.
    if state in NO_MATTER_OF_A_RELEASE:
        return _refuse(state, _text_of(seen.application), health)
    if state == "unknown_service" and not seen.running:
        return _refuse(state, _made_of(seen) or _text_of(seen.application), health)
    refused = _barred(seen)
    if refused:
        return refused
    if health == "unknown" and state != "unknown_service" and not seen.is_asked:
        return _refuse(state, _text_of(seen.application), "unknown")
    if seen.release["health"] == "unknown":
        return _refuse("release_unknown", _text_of(seen.release), "unknown")
    return None


def _made_of(seen: Seen) -> str:
    """Return what a person has to do before a container that is gone is made again: its tag may mean a bad release; "" for nothing."""
    newest = seen.records[0] if seen.records else {}
    reference = _str(newest, "reference")
    if trait(seen.manager, "RELEASED_AS") != "images" or not reference or "@" in reference or reference.startswith("sha256:"):
        return ""
    text = "if its container was removed: release %s passed verification last; docker tag %s %s before Compose makes a new one"
    return text % (short(str(newest["release"])), newest["release"], one_line(reference, 120))


def _barred(seen: Seen) -> t.Optional[Verdict]:
    """Return the refusal of a service that its manager would not start again."""
    facts, text = seen.application.get("facts") or {}, _text_of(seen.application)
    barred = str(facts.get("barred") or "")
    if not barred or trait(facts.get("manager"), "RECREATES") or (seen.is_well and not seen.is_asked):
        return None
    return _refuse("not_startable", barred if barred in text else "%s; %s" % (text, barred))


def _no_record(seen: Seen) -> Verdict:
    text = "the ledger has no verified release of it; release %s is running" % short(seen.running)
    # A release that is not well is not recorded: what can be recorded comes first.
    return _refuse("no_verified_release", text, str(seen.application["health"]), "{record_release}" if seen.is_well else "{verify}")


def _target(seen: Seen) -> tuple[dict[str, t.Any], t.Optional[Verdict]]:
    """Return (the record to go back to, None) or ({}, why there is none)."""
    if seen.word:
        return _named(seen)
    current = seen.record_of(seen.running)
    if current:
        # A verified release is replaced only by a release that a person names.
        return current, None
    others = [one for one in seen.records if one["release"] != seen.running]
    if not others:
        return {}, _refuse("no_other_release", "release %s is running, and no other release ever passed verification" % short(seen.running))
    if seen.is_well and not seen.is_asked:
        text = "it is well with a release that was never recorded as verified (%s)" % short(seen.running)
        return {}, _refuse("not_asked", text, next=seen.next)
    return others[0], None


def _named(seen: Seen) -> tuple[dict[str, t.Any], t.Optional[Verdict]]:
    """Return the record that the given word means, by its meaning at verification and now."""
    then = [one for one in seen.records if seen.word in one.get("names", [])]
    now = str(seen.facts.get("named", {}).get(seen.word) or "")
    by_id = meant_by(seen.word, [str(one["release"]) for one in seen.records])
    if not by_id and then and now and now not in [one["release"] for one in then]:
        text = "%s meant release %s when that was verified and means %s now"
        meant = short(str(then[0]["release"]))
        return {}, _refuse("tag_moved", text % (seen.word, meant, short(now)), next="{again} -e rollback_release=%s" % meant)
    release = by_id or now or (str(then[0]["release"]) if then else "")
    if not release:
        text = "%s matches no release here or in the ledger; %s" % (one_line(seen.word, 80), seen.offer)
        return {}, _refuse("unknown_release", text, next=seen.next)
    record = seen.record_of(release)
    if not record:
        text = "release %s (%s) never passed verification here; %s" % (short(release), one_line(seen.word, 80), seen.offer)
        return {}, _refuse("never_verified", text, next=seen.next)
    return record, None


def _weighed(seen: Seen, record: dict[str, t.Any]) -> Verdict:
    acts = _acts(seen, record)
    # What runs under the name of a verified release has to be that release still.
    refused = _there(seen, seen.running) if record["release"] == seen.running else None
    configuration, unfit = _configuration(seen, record) if refused is None else ({}, None)
    refused = refused or unfit or _nothing_differs(seen, record, bool(configuration), acts) or _impossible(seen, record, acts)
    if refused:
        return refused
    plan = _plan(seen, record, acts, configuration)
    return Verdict("to_roll_back" if "switch" in plan["actions"] else "not_selected", "sick", plan["text"], plan)


def _acts(seen: Seen, record: Facts) -> dict[str, bool]:
    """Return {application: another release is to run, select: the verified one runs, but the next start would not take it}."""
    release = str(record["release"])
    application = seen.wants_application and release != seen.running
    select = seen.wants_application and release == seen.running and seen.selected not in ("", seen.running)
    return {"application": application, "select": select}


def _impossible(seen: Seen, record: Facts, acts: t.Mapping[str, bool]) -> t.Optional[Verdict]:
    refused = None
    if acts["application"]:
        refused = _unproven(seen, record) or _there(seen, str(record["release"]))
        refused = refused or _schema(seen, record) or _selectable(seen) or _no_room(seen, record)
    elif acts["select"]:
        refused = _there(seen, str(record["release"])) or _selectable(seen)
    if refused is None and any(one.get("component") == "postgresql" for one in seen.beside):
        return _refuse("restore_pending", "the database of this host is being restored or repaired; let that finish first")
    return refused


def _unproven(seen: Seen, record: Facts) -> t.Optional[Verdict]:
    """Return the refusal of an application that was late or silent once: a release that is well may be busy, and a host loaded."""
    state = str(seen.application["state"])
    if state not in NO_PROOF or seen.is_asked:
        return None
    return _refuse(state, LATE % _text_of(seen.application), next="{again} -e rollback_release=%s" % short(str(record["release"])))


def _configuration(seen: Seen, record: Facts) -> tuple[dict[str, t.Any], t.Optional[Verdict]]:
    """Return (difference from the verified configuration, None), ({}, None) for none, or ({}, why it cannot go back)."""
    if not seen.wants_configuration(record):
        return {}, None
    if seen.configuration is None:
        return {}, _refuse("no_configuration", "the repository of its configuration is unknown; set rollback_config_repository")
    then, facts, state = record.get("configuration") or {}, seen.configuration["facts"], str(seen.configuration["state"])
    if not then.get("commit"):
        return {}, _refuse("no_configuration", "no configuration was recorded with release %s" % short(str(record["release"])))
    if state in ("missing", "unknown"):
        return {}, _refuse("configuration_" + state, _text_of(seen.configuration))
    if facts.get("tree") == then.get("tree") and not facts.get("changed_count"):
        return {}, None
    if state in ("detached", "unfinished"):
        return {}, _refuse("configuration_" + state, _text_of(seen.configuration))
    # What the act would refuse is refused here, before an attempt counts.
    unfit = str((facts.get("returns") or {}).get(then["commit"]) or "")
    return ({}, _refuse("configuration_unfit", unfit)) if unfit else (_return_of(then, facts), None)


def _return_of(then: Facts, facts: Facts) -> dict[str, t.Any]:
    drift = {key: facts.get(key) for key in ("changed", "changed_count", "drift_sha256")} if facts.get("changed_count") else {}
    kept = {"rights": then.get("rights") or {}, "owner": str(facts.get("owner") or "")}
    return {"commit": then["commit"], "head": facts["commit"], "drift": drift, **kept}


def _nothing_differs(seen: Seen, record: Facts, configured: bool, acts: t.Mapping[str, bool]) -> t.Optional[Verdict]:
    release = short(str(record["release"]))
    if configured or any(acts.values()):
        if seen.is_well and not seen.is_asked and not acts["select"]:
            text = "it is well; only its configuration differs from the one verified with release %s" % release
            return _refuse("not_asked", text, next="{again} -e rollback_what=configuration")
        return None
    if seen.is_well:
        return _as_verified(seen, record)
    text = "%s; but release %s is running exactly as verified: a rollback would change nothing"
    told = text % (_text_of(seen.application), release)
    if seen.application["state"] in ("bad_config", "exit_loop", "oom"):
        # A restart would only send back here.
        return _refuse(str(seen.application["state"]), told)
    # Where a restart did not help either, only a person can say that this release is bad after all.
    older = "; if a restart does not help, name another verified one: %s" % seen.next.replace("{again} ", "") if seen.next else ""
    return _refuse("same_release", told + older)


def _as_verified(seen: Seen, record: Facts) -> Verdict:
    """Say what matches, and of the rest whether it differs or was not looked at."""
    release = short(str(record["release"]))
    if seen.migrations and seen.migrations["health"] == "unknown":
        text = "it is well with release %s, which passed verification, but %s"
        return _refuse("migrations_unknown", text % (release, _text_of(seen.migrations)), "unknown")
    looked = [("release", ""), _configuration_as(seen, record), _schema_as(seen, record)]
    parts, told = [part for part, _text in looked if part], [text for _part, text in looked if text]
    text = "%s %s what passed verification (%s)" % (_listed(parts), "matches" if len(parts) == 1 else "match", release)
    return Verdict("verified", "well", "; ".join([text, *told]))


def _configuration_as(seen: Seen, record: Facts) -> tuple[str, str]:
    """Return (its word if it matches what was verified, the sentence about it otherwise); ("", "") if nothing was looked at."""
    if not seen.configuration:
        return "", ""
    return ("configuration", "") if (record.get("configuration") or {}).get("commit") else ("", "no configuration was recorded with it")


def _schema_as(seen: Seen, record: Facts) -> tuple[str, str]:
    """Return (its word if it matches what was verified, the sentence about it otherwise); ("", "") if nothing was looked at."""
    if seen.migrations is None:
        return "", NOT_LOOKED_AT if seen.has_database else ""
    now, then = seen.migrations["facts"].get("heads"), record.get("migrations")
    if not now:
        return "", NO_TABLE
    if now == then:
        return "schema", ""
    was = told_heads(then) if then is not None else "not recorded"
    return "", "its schema is another one than at its verification (now %s, then %s)" % (told_heads(now), was)


def _listed(parts: t.Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]


def _there(seen: Seen, release: str) -> t.Optional[Verdict]:
    known = (seen.facts.get("known") or {}).get(release) or {}
    if known.get("there") is False:
        text = "release %s no longer exists: %s" % (short(release), known.get("detail"))
        return _refuse("release_missing", text, next=seen.next)
    if known.get("intact") is False:
        return _refuse("release_altered", str(known.get("detail")), next=seen.next)
    if known.get("there") and known.get("intact") is None:
        return _refuse(
            "release_unknown", str(known.get("detail") or "whether release %s is complete is unknown" % short(release)), "unknown"
        )
    return None


def _way(seen: Seen, record: Facts) -> dict[str, t.Any]:
    release = str(record["release"])
    return way_of(seen.facts.get("rollout") or {}, release, image_of(release, _str(record, "reference")))


def _no_room(seen: Seen, record: Facts) -> t.Optional[Verdict]:
    """A rollout that would be stuck is not begun."""
    refused = str(_way(seen, record)["refused"])
    return _refuse("no_room", refused) if refused else None


def _selectable(seen: Seen) -> t.Optional[Verdict]:
    """A container that cannot be recreated, or only with other settings, is not stopped for it."""
    problem = str((seen.facts.get("project") or {}).get("problem") or "")
    return _refuse("not_selectable", problem) if problem else None


def _schema(seen: Seen, record: Facts) -> t.Optional[Verdict]:
    """The older code may not run with a schema that was migrated since."""
    then = record.get("migrations")
    if seen.migrations is None:
        return None
    if seen.migrations["health"] == "unknown":
        return _refuse("migrations_unknown", _text_of(seen.migrations), "unknown")
    now = seen.migrations["facts"].get("heads") or {}
    if not now and then:
        text = "%s, but release %s was verified with %s"
        return _refuse("migrations_unknown", text % (NO_TABLE, short(str(record["release"])), told_heads(then)), "unknown")
    if then is None:
        return _refuse("migrations_unknown", "the schema of release %s was not recorded" % short(str(record["release"])))
    if now == then or seen.facts.get("migrations") == REVERSIBLE:
        return None
    text = "the schema was migrated since (now %s, then %s), and release %s does not declare its migrations reversible"
    return _refuse("irreversible_migration", text % (told_heads(now), told_heads(then), short(seen.running)))


def told_heads(heads: Facts) -> str:
    """Return the heads of a schema as a person reads them."""
    alembic = ", ".join(str(one) for one in heads.get("alembic") or [])
    django = ", ".join("%s %s" % pair for pair in sorted(((heads.get("django") or {}).get("last") or {}).items()))
    return "; ".join(one for one in (alembic, django) if one) or "no migrations"


def _plan(seen: Seen, record: Facts, acts: t.Mapping[str, bool], configuration: dict[str, t.Any]) -> dict[str, t.Any]:
    project = seen.facts.get("project") or {}
    # A process that serves keeps running where only the next start would go wrong.
    switch = acts["application"] or bool(configuration) or not seen.is_well
    way = _way(seen, record) if acts["application"] else {}
    differs = [str(one) for one in _first(project.get("differs"), way.get("differs")) if switch]
    unknown = [why for why in [_why_schema_unknown(seen)] if why and acts["application"]]
    return {
        **_release_of(seen, record, acts), "application": acts["application"] or (acts["select"] and switch), "select": acts["select"],
        "configuration": configuration, "differs": differs, "unknown": unknown,
        "project_src": _str(project, "src"), "compose": _str(project, "command"), "project_hash": _str(project, "hash"),
        "set": _str(way, "set"), "set_before": _str(way, "set_before"),
        "revision_before": _str(seen.facts.get("rollout") or {}, "revision"),
        "verified_at": record["at"], "verified_by": record["run_id"],
        "text": "; ".join(
            _main_effect(seen, record, acts, _str(way, "text")) + _side_effects(differs, project, configuration) + unknown
            + _downtime(seen, switch)
        ),
        "actions": ["configure"] * bool(configuration) + ["switch" if switch else "select"],
    }  # fmt: skip


def _downtime(seen: Seen, switch: bool) -> list[str]:
    """Say that clients notice: one process or container ends before the next one serves, while a cluster replaces its pods one by one."""
    facts = seen.application.get("facts") or {}
    serves = seen.application["state"] not in STOPPED
    return [DOWNTIME] if switch and serves and trait(facts.get("manager"), "RELEASED_AS") != "pods" else []


def _first(*many: t.Optional[t.Sequence[t.Any]]) -> t.Sequence[t.Any]:
    return next((one for one in many if one), ())


def _str(facts: Facts, key: str) -> str:
    return str(facts.get(key) or "")


def _release_of(seen: Seen, record: Facts, acts: t.Mapping[str, bool]) -> dict[str, t.Any]:
    """Return what is to run and what ran, each by its id and by its image."""
    release = str(record["release"]) if acts["application"] else seen.running
    reference = _str(record if acts["application"] else seen.facts, "reference")
    return {
        "release": release, "current": seen.running, "selected": seen.selected, "image": image_of(release, reference),
        "image_before": image_of(seen.running, _str(seen.facts, "reference")),
    }  # fmt: skip


def _main_effect(seen: Seen, record: Facts, acts: t.Mapping[str, bool], way: str) -> list[str]:
    if acts["application"]:
        return [" ".join(["release %s goes back to %s" % (short(seen.running), short(str(record["release"]))), way]).rstrip()]
    return [SELECT % (short(seen.running), next_of(seen.manager), short(seen.selected))] if acts["select"] else []


def _why_schema_unknown(seen: Seen) -> str:
    """Return why it is unknown whether the schema is still the one of the release, "" where it is known or does not matter."""
    if seen.facts.get("migrations") == REVERSIBLE:
        return ""
    if seen.migrations is None:
        return NOT_LOOKED_AT if seen.has_database else ""
    return "" if seen.migrations["facts"].get("heads") else NO_TABLE


def _side_effects(differs: t.Sequence[str], project: Facts, configuration: Facts) -> list[str]:
    """Return what a plan changes beside the release, a sentence each."""
    parts = []
    if differs:
        whose = "the project files now give its container" if project else "that revision gives its pods"
        text = "%s other settings than it has: %s" % (whose, ", ".join(differs))
        changed = [one_line(one, 120) for one in project.get("changed") or []]
        parts.append(text + (" (changed since it was made: %s)" % ", ".join(changed) if changed else ""))
    if configuration:
        parts.append("its configuration goes back to commit %s" % str(configuration["commit"])[:12])
        drift = configuration["drift"]
        if drift:
            parts.append("uncommitted changes to %s are kept as a patch and taken out" % counted(drift["changed_count"], "files"))
    return parts


def has_database(dependencies: t.Iterable[Facts]) -> bool:
    """Return whether a dependency of the application is an SQL database, by its kind, name or port."""
    words = [" ".join(str(one.get(key) or "") for key in ("kind", "name", "port")).lower() for one in dependencies]
    return any(re.search(r"postgres|pgbouncer|psql|\bdatabase\b|\b5432\b|\b6432\b", one) for one in words)


def is_worse(before: str, after: str) -> bool:
    """Return whether an application serves less than before, by its two states. In doubt it does not."""
    return RANKS.get(before, 1) > RANKS.get(after, 3)


def judge_record(checks: Facts) -> Verdict:
    """Return whether the running release can be recorded: it must be well, complete, selected, and described by a commit."""
    application, release, configuration = checks["application"], checks["release"], checks.get("configuration")
    facts = release["facts"]
    looked = {"application": application, "release": release, "schema": checks.get("migrations"), "configuration": configuration}
    bad = next((name for name, one in looked.items() if one and one["health"] != "well"), "")
    if bad:
        return _not_well(bad, looked[bad])
    if facts["selected"] != facts["running"]:
        manager = (application.get("facts") or {}).get("manager")
        text = "release %s is running, but %s would take %s"
        return _refuse("not_selected", text % (short(facts["running"]), next_of(manager), short(str(facts["selected"])) or "none"))
    if configuration and configuration["facts"].get("changed_count"):
        text = "its configuration has uncommitted changes to %s: commit or revert them"
        return _refuse("configuration_drifted", text % counted(configuration["facts"]["changed_count"], "files"))
    if configuration and configuration["state"] != "clean":
        return _refuse("configuration_" + str(configuration["state"]), _text_of(configuration))
    migrations = checks.get("migrations")
    unknown = "" if migrations is None or migrations["facts"].get("heads") else "; " + NO_TABLE
    return Verdict("verified", "well", "release %s is well%s%s" % (short(facts["running"]), _judged_by(application), unknown))


def _not_well(name: str, one: Facts) -> Verdict:
    """Return why a release is not recorded: what is wrong with the thing *name* its own check says."""
    altered = name == "release" and one["state"] == "altered"
    # Only check-access asks which release runs.
    command = "{check_access}" if name == "release" and not altered else ""
    text = "only a well release is recorded, and the %s is %s" % (name, one["health"])
    return _refuse("release_altered" if altered else "not_well", text, str(one["health"]), command)


def _judged_by(application: Facts) -> str:
    """Return how little was asked before a release is called verified, "" where its answer was judged."""
    facts = application.get("facts") or {}
    if not facts.get("status"):
        return ", says its manager alone (service_restart_url is empty)"
    return "" if facts.get("profile") else ", by the status of its answer alone (profile none, without gates)"


def record_of(checks: Facts, manager: str) -> dict[str, t.Any]:
    """Return what the ledger keeps of the running release: id, names, configuration and schema."""
    facts = checks["release"]["facts"]
    kept: dict[str, t.Any] = {key: facts[key] for key in ("names", "reference")}
    kept.update(release=facts["running"], manager=manager)
    if checks.get("configuration"):
        kept["configuration"] = {key: checks["configuration"]["facts"].get(key) for key in ("commit", "tree", "branch", "rights")}
    if checks.get("migrations"):
        kept["migrations"] = checks["migrations"]["facts"].get("heads") or {}
    return kept


def _text_of(check: Facts) -> str:
    texts = [str(one["text"]) for one in check.get("findings") or [] if one.get("state") != "well"] or [
        str(one["text"]) for one in check.get("findings") or []
    ]
    return texts[0] if texts else "no finding"
