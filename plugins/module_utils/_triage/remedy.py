# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which playbook recovers a state, what it will do and what it will not do; or why none does. One table, and the few rules beside it.

A state that a remedy refuses has the wording of its refusal in ``_spine/catalogue.py``. Commands have the placeholders that
``_spine/reasons.fill`` fills, for the ``hosts`` beside them. Plain data in and out, never raises.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.judge import BY_ITS_RELEASE
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.derived import REPAIRS, repair_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.traits import trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.restart import next_of as handed_over
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.restart import rollback_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import fill, wording
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import Fields, fields, listed, word

Given = t.Mapping[str, t.Any]


class Row(t.NamedTuple):
    """A playbook with what it does in this state; or the refusal (code, case, values) that says what a person has to do instead."""

    playbook: str = ""
    does: str = ""
    code: str = ""
    case: str = ""
    values: t.Mapping[str, str] = {}


# Playbook: what it does where the row says nothing else, and what it never does.
PLAYBOOKS: t.Mapping[str, t.Tuple[str, str]] = {
    "recover_redis": (
        "recovers this Redis by the acts that its state allows, and proves it",
        "it never flushes or evicts keys, never promotes a replica, and asks for approval before anything may be lost",
    ),
    "recover_database": (
        "recovers this PostgreSQL by the acts that its state allows, and proves it",
        "it never interrupts a replay of WAL, never deletes WAL, and never promotes a standby",
    ),
    "unblock_database": (
        "ends the session at the root of the lock waits: it cancels, then terminates, at most three",
        "it never ends sessions of superusers, replication, backups or migrations, nor prepared transactions, and restarts nothing",
    ),
    "restore_database": (
        "restores a backup beside the live database and compares the two",
        "it never writes over the live data directory; rows or files are put in place only with your approval",
    ),
    "verify_backups": ("restores the newest backup on the side and proves that it works", "it changes nothing in the live database"),
    "clear_redis_corruption": (
        "confirms which keys fail a named check, keeps a copy, and removes those alone",
        "it never empties a database, and removes nothing without your approval",
    ),
    "restart_service": (
        "restarts this service within limits, by its own manager, and proves it",
        "it never touches a store or a neighbour, and asks for approval where memories may be lost",
    ),
    "rollback": (
        "goes back to the last release that passed verification, and proves it",
        "it never rolls back a database, and never goes to a release that did not pass verification",
    ),
    "restore_traffic": (
        "gives the servers of the pool their share again, step by step, each step measured",
        "it never admits clients to a server that is down, and steps back by itself",
    ),
    "scale_traffic": ("sets again what a reload of the load balancer lost", "it never takes the last server that answers out of the pool"),
    "disable_maintenance": ("ends the maintenance of the pool", "it admits no clients while no server is up, or a cache is cold"),
    "reconcile": (
        "ends what a dead run left behind: holds, drains, maintenance",
        "it ends nothing that a living run or a person holds, and no protection of data",
    ),
    "recover_all": (
        "recovers the stores first, then the services above them, in one run",
        "it restarts nothing whose dependency is still down, and asks for approval before anything may be lost",
    ),
    "check_access": ("only looks: it names which address, credential, tool or path is wrong", "it changes nothing"),
    "show_history": ("only shows what earlier runs did", "it changes nothing"),
    "record_release": ("records the running release as verified, if it is well", "it changes nothing but the ledger"),
}  # fmt: skip
WAITS = "waits, and proves it once it is up; it restarts nothing meanwhile"
SEES = "only looks: it names what keeps this from being seen or used"

_REDIS = Row("recover_redis")
_DATABASE = Row("recover_database")
_RESTART = Row("restart_service")
_UNSEEN = Row("check_access", SEES, "health_unknown")
_RESTORE = Row(code="data_damaged", case="restore")
_NONE = Row(code="state_not_handled")
_WELL = Row()


def _no(code: str, case: str = "", **values: str) -> Row:
    return Row(code=code, case=case, values=values)


def _look(code: str, case: str = "", **values: str) -> Row:
    return Row("check_access", SEES, code, case, values)


REDIS: t.Mapping[str, Row] = {
    "up": Row("recover_redis", "does what the findings name: a rewrite of its file, a directory, a replica; without a restart"),
    "auth": _look("credentials_refused", "variables", variables="redis_recovery_username and redis_recovery_password_file"),
    "loading": Row("recover_redis", WAITS), "failing_over": Row("recover_redis", WAITS),
    "busy_script": Row("recover_redis", "ends the script that keeps it busy, unless that has written"),
    "misconf_rdb": Row("recover_redis", "keeps a copy of its keys first, then removes the cause and saves"),
    "misconf_aof": Row("recover_redis", "keeps a copy of its keys first, then removes the cause and saves"),
    "oom": Row("recover_redis", "raises maxmemory within the limit that you set; else it names the largest keys"),
    "readonly_replica": _no("not_this_component", "replica"),
    "hung": Row("recover_redis", "lets it continue (SIGCONT); only if that does not help, restarts it once"),
    "down_clean": Row("recover_redis", "starts it once all its files are proven good"),
    "down_crash_loop": Row("recover_redis", "removes the cause that its log names, then starts it once"),
    "down_bad_file": Row("recover_redis", "holds it, keeps a copy, and builds the best candidates from what can be read"),
    "up_but_empty": Row("recover_redis", "keeps it from saving and from emptying its replicas, then finds its data"),
    "up_but_wrong": _no("data_missing", "wrong_answers"),
    "failed_over": _no("not_this_component", "failed_over"),
    "down_start_fails": _no("state_not_handled", "start_would_fail"),
    "port_taken": _no("port_taken"), "no_mount": _no("data_missing", "not_mounted"),
    "doubtful_dir": _no("state_not_handled", "doubtful_dir"), "doubtful_settings": _no("state_not_handled", "doubtful_settings"),
    "down_would_evict": _no("state_not_handled", "would_evict"), "owned_elsewhere": _no("owned_elsewhere", "container"),
    "start_empties": _no("state_not_handled", "start_empties"), "replicas_unseen": _no("state_not_handled", "replicas_unseen"),
    "would_follow": _no("state_not_handled", "would_follow"),
    "": _UNSEEN,
}  # fmt: skip
POSTGRESQL: t.Mapping[str, Row] = {
    "accepting": _DATABASE, "standby": _no("state_not_handled"),
    "rejecting": Row("recover_database", WAITS), "crash_recovery": Row("recover_database", WAITS),
    "recovery_stuck": _no("state_not_handled", "recovery_stuck"),
    "hung": Row("recover_database", "lets it continue (SIGCONT); only if that does not help, restarts it once"),
    "lock_file_gone": Row("recover_database", "restarts it: without its lock file it would stop within a minute"),
    "auth": _look(
        "credentials_refused", "variables",
        variables="database_recovery_user, database_recovery_password_file and database_recovery_os_user",
    ),
    "no_database": _no("state_not_handled", "no_database"), "read_only": _no("state_not_handled", "read_only"),
    "too_many_connections": _no("state_not_handled", "too_many_connections"),
    "blocked": Row("unblock_database"),
    "archiver_failing": _no("state_not_handled", "archiver_failing"), "wal_filling": _no("no_room", "wal_filling"),
    "wraparound": _no("state_not_handled", "wraparound"), "prepared": _no("state_not_handled", "prepared"),
    "audit_gap": _no("data_missing", "audit_gap"), "standby_lagging": _no("not_this_component", "standby_lagging"),
    "wrong_role": _no("wrong_identity", "role"),
    "up_corrupt": Row("recover_database", "finds out what is damaged; an index is rebuilt, for anything else it names the restore"),
    "down_clean": Row("recover_database", "starts it"),
    "down_crashed": Row("recover_database", "starts it, and waits while it replays its WAL"),
    "down_orphans": Row("recover_database", "ends the backends that outlived their server (SIGTERM), then starts it"),
    "pid_stale": Row("recover_database", "moves the lock file aside, which is proven to be stale, then starts it"),
    "pid_in_doubt": _no("state_not_handled", "pid_in_doubt"),
    "down_disk_full": Row("recover_database", "makes room with the files that you named for that, then starts it"),
    "down_permission": Row("recover_database", "sets owner and mode of its data directory, then starts it"),
    "down_bad_config": Row("recover_database", "puts back the last proven configuration, if there is one, then starts it"),
    "down_no_wal": _RESTORE, "down_bad_control": _RESTORE, "down_panic": _RESTORE,
    "down_data_missing": _no("data_missing", "restore"), "down_restoring": _no("state_not_handled", "down_restoring"),
    "down_start_fails": Row("recover_database", "starts it once more, since the reason may be gone; else it names that"),
    "owned_elsewhere": _no("owned_elsewhere", "database"), "port_taken": _no("port_taken"), "misnamed": _no("bad_input", "other_cluster"),
    "down_not_ours": _no("state_not_handled", "data_dir_unsafe"), "tablespace_missing": _no("data_missing", "not_mounted"),
    "logins_wait": _no("state_not_handled", "logins_wait"),
    # Beside STATES: what a light look, or a limit on its speed, says.
    "slow": _no("state_not_handled", "slow_database"), "slow_query": _no("state_not_handled", "slow_database"), "refusing": _UNSEEN,
    "wrong_answer": Row("recover_database", "finds out what is damaged; an index is rebuilt, for anything else it names the restore"),
    "down": _DATABASE, "closed": _DATABASE, "unreachable": _UNSEEN, "tls": _UNSEEN, "garbage": _no("wrong_identity"),
    "": _UNSEEN,
}  # fmt: skip
_SLOW = _no("state_not_handled", "slow_service")
APPLICATION: t.Mapping[str, Row] = {
    "up": _WELL,
    "crashed": Row("restart_service", "starts it"), "stopped": Row("restart_service", "starts it"),
    "start_limit": Row("restart_service", "lifts its start limit once, then starts it"),
    "paused": Row("restart_service", "lets it continue, as the same process"),
    "suspended": Row("restart_service", "lets it continue (SIGCONT); only if that does not help, restarts it"),
    "starting": Row("restart_service", WAITS), "stopping": Row("restart_service", WAITS),
    **dict.fromkeys(
        ("hung", "unresponsive", "not_listening", "erroring", "degraded", "unhealthy", "not_remembering", "leaking", "stuck_stopping",
         "pods_not_ready", "not_restarted", "wrong_body"), _RESTART,
    ),
    "unknown_service": _no("no_such_service"), "several": _no("no_such_service", "several"),
    "left_over": _no("no_such_service", "left_over"), "stateful": _no("stateful_service"),
    "not_its_port": _no("wrong_identity", "port"), "owner_unseen": _look("wrong_identity", "port"),
    "dependency_down": _no("dependency_down"), "dependency_slow": _no("dependency_down", "slow"), "dependency_unknown": _UNSEEN,
    "exit_loop": _no("exit_loop"), "oom": _no("out_of_memory"), "bad_config": _no("config_broken", "mended"),
    "port_taken": _no("port_taken"), "rollout_stuck": _no("state_not_handled", "rollout_stuck"),
    "not_startable": _no("state_not_handled", "not_startable"), "scaled_to_nothing": _no("state_not_handled", "scaled_to_nothing"),
    "no_room": _no("no_room", "quota"), "proxy_fails": _no("state_not_handled", "proxy_fails"),
    "redirect": _no("state_not_handled", "redirect"), "slow": _SLOW, "unsteady": _SLOW,
    "auth": _look("credentials_refused", "variables", variables="service_restart_token_file"),
    "bad_input": _no("bad_input"), "no_ltm": _no("dependency_down"),
    **dict.fromkeys(("manager_unreachable", "round_trip_unknown", "rate_limited", "unknown", "tls", "garbage", "unreachable", "down",
                     "other_service", "too_large", "endless", "closed", ""), _UNSEEN),
}  # fmt: skip
HTTP: t.Mapping[str, Row] = {
    "up": _WELL, **dict.fromkeys(("down", "hung", "closed", "error", "degraded", "endless"), _RESTART),
    "slow": _SLOW, "redirect": _no("state_not_handled", "redirect"), "bad_input": _no("bad_input"), "other_service": _no("wrong_identity"),
    "auth": _look("credentials_refused"), **dict.fromkeys(("unreachable", "rate_limited", "too_large", "tls", "garbage", ""), _UNSEEN),
}  # fmt: skip
BALANCER: t.Mapping[str, Row] = {
    **dict.fromkeys(("open", "ready", "set", "restored", "maintenance"), _WELL),
    "maintenance_left": Row("reconcile", "ends the maintenance that a dead run left, once the service behind it is well"),
    "no_server_up": _no("no_server_up"), "clients_kept_out": _no("clients_kept_out"), "reverted": Row("scale_traffic"),
    "short": Row("restore_traffic"), "other": Row("scale_traffic"), "held": Row("restore_traffic"), "regressed": _no("regressed"),
    "switch_missing": _no("switch_missing"), "unknown_pool": _no("unknown_pool"), "unknown_server": _no("unknown_server"),
    "bad_input": _no("bad_input"), "balancer_refused": _no("balancer_refused"), "aborted": _no("aborted"),
    "reason_missing": _no("bad_input", "reason_missing"), "weight_out_of_range": _no("weight_out_of_range"),
    "last_server": _no("last_server"), "steps_not_rising": _no("steps_not_rising"), "address_fixed": _no("address_fixed"),
    "no_place_for_the_rest": _no("no_place_for_the_rest"), "server_down": _no("server_down"), "map_unwritable": _no("map_unwritable"),
    "changed_by_another": _no("changed_by_another"), "not_by_weight": _no("not_by_weight"), "cold_cache": _no("cold_cache", "step_by_step"),
    "unreachable": _UNSEEN, "": _UNSEEN,
}  # fmt: skip
REPLICAS: t.Mapping[str, Row] = {
    "scaled": _WELL,
    **dict.fromkeys(("scale_out", "scale_in", "slots", "starting"), Row("scale_traffic", "sets the number that is wanted")),
    **{code: _no(code) for code in (
        "replicas_out_of_range", "bad_input", "autoscaled", "beyond_quota", "budget_guards", "rollout_stuck", "not_alike", "no_slot",
        "no_network", "slot_down", "balancer_refused", "unknown_pool", "unknown_server", "address_fixed", "last_server",
    )},
    "unreachable": _UNSEEN, "unknown": _UNSEEN, "": _UNSEEN,
}  # fmt: skip
SERVICE: t.Mapping[str, Row] = {
    "running": Row("restart_service", "lets it continue (SIGCONT); only if that does not help, restarts it"),
    **dict.fromkeys(("stopped", "failed", "paused", "unhealthy"), _RESTART), "backoff": _no("exit_loop"),
    **dict.fromkeys(("starting", "stopping"), Row("restart_service", WAITS)), "unknown": _UNSEEN, "": _UNSEEN,
}  # fmt: skip
RELEASE: t.Mapping[str, Row] = {
    "known": _WELL,
    "unknown": _no("health_unknown", "release"),
    "other": Row("rollback"),
    "altered": _no("release_altered"),
    "not_selected": Row("rollback"),
    "": _UNSEEN,
}
CONFIGURATION: t.Mapping[str, Row] = {
    "clean": _WELL, "other_commit": Row("rollback", "puts the configuration back to the commit that passed verification"),
    "drifted": Row("rollback", "keeps the uncommitted changes as a patch, then puts back the configuration that passed verification"),
    **dict.fromkeys(("detached", "unfinished", "missing"), _no("configuration_unfit")), "unknown": _UNSEEN, "": _UNSEEN,
}  # fmt: skip
MIGRATIONS: t.Mapping[str, Row] = {
    "known": _WELL,
    "same": _WELL,
    "other_heads": _no("irreversible_migration"),
    "unknown": _UNSEEN,
    "": _UNSEEN,
}
ROUND_TRIP: t.Mapping[str, Row] = {
    **dict.fromkeys(("not_recalled", "not_acknowledged", "hung", "error", "closed"), _RESTART),
    "no_ltm": _no("dependency_down"), "slow": _SLOW, "redirect": _no("state_not_handled", "redirect"), "bad_input": _no("bad_input"),
    "auth": _look("credentials_refused"), "other_service": _no("wrong_identity"),
    **dict.fromkeys(("down", "unreachable", "rate_limited", "tls", "garbage", "endless", ""), _UNSEEN), "up": _WELL,
}  # fmt: skip
TCP: t.Mapping[str, Row] = {
    "open": _WELL,
    **dict.fromkeys(("down", "hung", "closed", "silent", "unexpected"), _NONE),
    **dict.fromkeys(("unreachable", "tls", "garbage", ""), _UNSEEN),
}
EXPECTED = _look("unreachable")
# Kind of check: its states. What a machine lacks has no remedy but a person.
TABLE: t.Mapping[str, t.Mapping[str, Row]] = {
    "redis": REDIS, "postgresql": POSTGRESQL, "application": APPLICATION, "http": HTTP, "balancer": BALANCER, "replicas": REPLICAS,
    "slots": REPLICAS, "service": SERVICE, "release": RELEASE, "configuration": CONFIGURATION, "migrations": MIGRATIONS,
    "round_trip": ROUND_TRIP, "tcp": TCP,
    "disk": {"full": _no("no_room"), "": _NONE}, "memory": {"": _no("out_of_memory")}, "clock": {"": _NONE}, "cpu": {"": _NONE},
    "host": {"reached": _WELL, "unreachable": EXPECTED, "look_failed": _UNSEEN}, "expected": {"not_seen": EXPECTED},
    "data_reconciliation": {"": _NONE}, "postgresql_restore": {"": Row("verify_backups")},
    "dependency": {"down": _no("dependency_down"), "": _WELL},
}  # fmt: skip
# What a person does where no code of a refusal speaks of it.
BY_HAND: t.Mapping[str, str] = {
    "disk": "free space or inodes there, or mount it for writing: no playbook deletes files that you did not name",
    "memory": "find what uses the memory (the processes are listed), or give the host more: no playbook ends a process for that",
    "clock": "set the clock of that host (chrony, timesyncd): times of its log and of its runs are wrong by as much",
    "cpu": "see what uses the processor (the processes are listed): no playbook ends a process for that",
    "data_reconciliation": "look at what the text counts (outbox, ids of two stores, audit rows): no playbook writes into the data",
    "tcp": "look at what listens there: no playbook of this collection acts on a bare port",
    "long_term_memory": "start it with its own manager; recover-all starts what recover_all_services names before the API",
    "endpoint": "the service itself is well: look at what this path needs and at its log; a restart does not mend one path",
    "http": "restart it with its own manager: no playbook of this collection is set up for it",
    "kind": "no playbook of this collection knows this kind of check",
}
OWN_PLAYBOOK: t.Mapping[str, str] = {"working_memory": "recover_redis", "database": "recover_database", "api": "restart_service"}
# Next commands of the catalogue that only look.
LOOKS = ("{history}", "{verify}", "{graph}", "{again}", "{check_access}")


def remedy_of(component: Given, symptoms: t.Sequence[Given] = ()) -> Fields:
    """Return {remedy: {playbook, command, text, wont, hosts}, none}: what recovers a component that is not well, or why nothing does.

    ``none`` says what a person has to do where no playbook acts; a playbook that only looks may be named beside it.
    """
    made = _by_rule(component, symptoms) if component.get("health") != "well" else _none("")
    if made is not None:
        return made
    return _of_row(row_of(component), component)


def row_of(component: Given) -> Row:
    """Return the row of the table for a component; one that says so for what the table does not know."""
    kind, state = str(component.get("kind")), str(component.get("state") or "")
    states = TABLE.get(kind)
    if states is None:
        return Row(code="by_hand", case="kind")
    row = states.get(state, states.get("", _NONE))
    # A kind that says what it looks at has a table of its own; for any other its class counts.
    if row.playbook != "restart_service" and row.code != "exit_loop" or str(trait(component, "CLASS") or "") not in ("", "endpoint"):
        return row
    return _by_its_class(component, row)


def _by_its_class(component: Given, row: Row) -> Row:
    """Return the row for what a bare look at a service or an address found: a store has a remedy of its own."""
    group = str(component.get("class"))
    own = OWN_PLAYBOOK.get(group, "restart_service" if fields(component.get("facts")).get("unit") else "")
    if own:
        return row if own == "restart_service" else Row(own)
    return Row(code="by_hand", case=group if group in BY_HAND else "http")


def _by_rule(component: Given, symptoms: t.Sequence[Given]) -> t.Optional[Fields]:
    """Return what depends on more than the state, None where the state decides."""
    facts, state = fields(component.get("facts")), str(component.get("state") or "")
    if facts.get("identity_mismatch"):
        return _of_row(_look("wrong_identity", "other_since" if facts.get("other_since") else ""), component)
    if facts.get("in_recover_all") and row_of(component).code == "by_hand":
        return _named("{recover_all}", component, "starts it, since recover_all_services names it, and recovers what is below and above it")
    if component.get("class") == "host" and listed(facts.get("paths")):
        return _of_its_store(symptoms)
    if "hand_over" in facts and state in HANDED_OVER:
        command = handed_over(fields(facts.get("hand_over")))
        return _named(command, component) if command else _by_class(component)
    return _off_limits(facts) if state == "blocked" else _back(component, facts, state)


# States in which the look itself names the remedy of something else.
HANDED_OVER = ("dependency_down", "dependency_slow", "stateful", "down")


def _of_its_store(symptoms: t.Sequence[Given]) -> t.Optional[Fields]:
    """Return the remedy of the store that a full disk keeps down: it makes room with what was named for that."""
    stores = [one for one in symptoms if row_of(one).playbook in ("recover_redis", "recover_database")]
    return _of_row(row_of(stores[0]), stores[0]) if stores else None


def _by_class(component: Given) -> t.Optional[Fields]:
    """Return what a person does for a dependency that no playbook is set up for."""
    return _none(BY_HAND["long_term_memory"]) if component.get("class") == "long_term_memory" else None


def _back(component: Given, facts: Fields, state: str) -> t.Optional[Fields]:
    """Return the rollback where the release never passed verification and another one did, None where a rollback is no answer."""
    release = fields(facts.get("release"))
    unproven = bool(release.get("now")) and not release.get("verified") and bool(release.get("other"))
    command = rollback_of(release)
    if not command or not (unproven and state in BY_ITS_RELEASE or state == "exit_loop"):
        return None
    made = _named(command, component)
    if unproven:
        made["remedy"]["text"] = "goes back to the last release that passed verification: the present one never did"
    return made


def _off_limits(facts: Fields) -> t.Optional[Fields]:
    """Return why no run ends the sessions at the root of the waits, None where one may be ended or nothing says."""
    roots = listed(fields(facts.get("locks")).get("roots"))
    acts = [one.get("action") for one in roots]
    if not roots or any(act is None or act not in ("none", "") for act in acts):
        return None
    said = word(roots[0].get("why"), 200)
    return _none(wording("blocker_off_limits").unblock + ("; " + said if said else ""))


def _of_row(row: Row, component: Given) -> Fields:
    if row.code == "by_hand":
        return _none(BY_HAND[row.case])
    kind = str(component.get("kind"))
    said = wording(row.code, row.case) if row.code else None
    unblock = fill(said.unblock, row.values) if said else ""
    if kind in BY_HAND and not row.playbook:
        unblock = BY_HAND[kind]
    own = OWN_PLAYBOOK.get(str(component.get("class")), "")
    if own and unblock.endswith("then run again"):
        unblock = "%s %s" % (unblock[: -len("again")].rstrip(), own.replace("_", "-"))
    if row.playbook:
        return dict(_named("{%s}" % row.playbook, component, row.does), none=unblock)
    if said and said.command and said.command not in LOOKS:
        made = _named(said.command, component)
        made["remedy"]["text"] = made["remedy"]["text"] or unblock
        return made
    return _none(unblock or wording("state_not_handled").unblock)


def _none(text: str) -> Fields:
    return {"remedy": {"playbook": "", "command": "", "text": "", "wont": "", "hosts": ""}, "none": text}


def _named(command: str, component: Given, does: str = "") -> Fields:
    """Return a playbook by its command, as the catalogue writes it: {playbook} and what follows."""
    playbook = command.partition("}")[0].lstrip("{")
    text, wont = PLAYBOOKS.get(playbook, ("", ""))
    host = word(component.get("host"), 200)
    more = _own_name(playbook, command, component)
    made = {"playbook": playbook, "command": command + more, "text": does or text, "wont": wont, "hosts": host}
    return {"remedy": made, "none": ""}


def _own_name(playbook: str, command: str, component: Given) -> str:
    """Return the variable that names a service other than the one that the playbook acts on by default."""
    unit = word(fields(component.get("facts")).get("unit"), 120)
    if playbook != "restart_service" or trait(component, "CLASS") or not unit or "service_restart_name" in command:
        return ""
    return handed_over({"playbook": "restart-service.yml", "service": unit}).partition("}")[2]


def next_of(findings: t.Sequence[Given], groups: Given) -> list[Fields]:
    """Return the commands to run, in order, each once: {playbook, command, text, wont, hosts}.

    Stores that are sick together with what is above them belong into one run of recover-all. What only looks comes last.
    """
    together, hosts = _together(findings, groups)
    found: list[Fields] = []
    if together:
        text, wont = PLAYBOOKS["recover_all"]
        found.append({"playbook": "recover_all", "command": "{recover_all}", "text": text, "wont": wont, "hosts": ",".join(hosts)})
    for finding in findings:
        one = fields(finding.get("remedy"))
        if one.get("playbook") and not (together and one["playbook"] in IN_RECOVER_ALL and finding.get("host") in hosts):
            found.append(one)
    once = list({(one["command"], one["hosts"]): one for one in found}.values())
    return sorted(once, key=lambda one: one["playbook"] in ("check_access", "show_history"))


IN_RECOVER_ALL = tuple(playbook for _group, playbook in REPAIRS.values()) + ("recover_all",)


def _together(findings: t.Sequence[Given], groups: Given) -> t.Tuple[bool, list[str]]:
    """Return whether several of what was found are recovered by recover-all in one run, and on which hosts."""
    sick: dict[str, list[str]] = {}
    for finding in findings:
        # A process that is gone does not come back with the store below it.
        ended = [one for one in listed(finding.get("symptoms")) if one.get("runs") is False]
        for one in [finding, *ended]:
            if one.get("health") == "sick" and _is_recovered(one, finding):
                sick.setdefault(str(one.get("host")), []).append(str(one.get("kind")))
    known = {str(name): [str(host) for host in hosts] for name, hosts in fields(groups).items() if isinstance(hosts, (list, tuple))}
    playbook, hosts = repair_of(sick, known)
    return playbook == "recover_all", hosts


def _is_recovered(one: Given, finding: Given) -> bool:
    kind = str(one.get("kind"))
    own = fields(finding.get("remedy")).get("playbook") in IN_RECOVER_ALL
    return kind in REPAIRS and (own if one is finding else fields(finding.get("remedy")).get("playbook") in IN_RECOVER_ALL)
