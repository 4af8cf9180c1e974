# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal: its code, what that means, what unblocks it and the next command stand here once. Data only.

What was found (a name, a number, a path) is worded once, by the code that found it; a case has a text only where no look supplies one.

Codes are an interface: AWX workflows and scripts branch on them, so they never change; the sentences may.
A case is a more exact wording of its code, which roles name as {code: ..., case: ...}; {words} in braces are filled in
from the role's `values`. Commands are those of plugin_utils/_spine.commands. `scripts/reasons` makes docs/reasons.md from this.
"""

from __future__ import annotations

import typing as t


class Case(t.NamedTuple):
    """A more exact wording of a code; what is "" falls back to the general wording of the code."""

    unblock: str = ""
    command: str = ""
    # What is wrong, where the findings of the look do not say it.
    text: str = ""


class Reason(t.NamedTuple):
    """What one code means, what unblocks it, and what to type next."""

    means: str
    unblock: str
    command: str
    cases: t.Mapping[str, Case] = {}


REASONS: dict[str, Reason] = {
    "lease_held": Reason(
        "another run holds the lease on this component of this host and is not provably dead; the text names the run, its owner and when"
        " the lease expires",
        "wait for that run to end; add -e remediation_takeover=true only if you know that it is dead",
        "{history}",
        {
            # By the act that holds it.
            "restore": Case(
                "wait for that restoration to end, or let it step back with traffic_scaling_control=abort (pause: it stays at its step);"
                " add -e remediation_takeover=true only if you know that it is dead",
                "{restore_traffic} -e traffic_scaling_control=abort",
            ),
        },
    ),
    "dead_run_acting": Reason(
        "the previous run died, and its last act may still be running",
        "run again after the time shown; a run waits up to remediation_takeover_wait by itself",
        "{again}",
    ),
    "budget_spent": Reason(
        "the same act was already tried as often as remediation_budget allows, and did not help",
        "read what was tried and decide; to try again anyway, raise remediation_budget",
        "{history}",
    ),
    "flapping": Reason(
        "it recovers and is soon sick again: the same act recovered it as often as remediation_budget allows (recoveries) within its time",
        "find out what makes it sick again (its log, its memory, what it depends on); to recover it once more anyway, raise recoveries in"
        " remediation_budget",
        "{history}",
    ),
    "frozen": Reason(
        "a freeze window is open or the freeze file exists",
        "wait for the freeze to end, or override it with a reason",
        "{again} -e 'remediation_freeze_override=\"WHY\"'",
    ),
    "kill_switch": Reason(
        "a kill switch file exists on the controller or the keeper",
        "remove the kill switch file once the danger is over; nothing overrides it",
        "{again}",
    ),
    "health_unknown": Reason(
        "the probe could not determine the state, and this collection never acts on a guess",
        "fix what keeps the probe from seeing the service (network, address, credentials, tools)",
        "{check_access}",
        {
            "release": Case(
                "make what runs a release with the module release_add, select it by the link rollback_current and restart the service on it"
                " (docs/first-hour.md, step 6); in a project or cluster, fix what the text names"
            ),
            "live_database": Case(
                "correct database_restore_database and the address, or wait until the server has started; stop a server that hangs first"
            ),
        },
    ),
    "evidence_missing": Reason(
        "evidence that must be saved before acting could not be saved",
        "give the keeper disk space and permissions, or give a reason to go ahead without evidence",
        "{again} -e 'remediation_without_evidence=\"WHY\"'",
    ),
    "wrong_identity": Reason(
        "the instance that answers is not the one the inventory pins",
        "correct the address or the pinned identity in the inventory",
        "{check_access}",
        {
            "port": Case("correct service_restart_service or service_restart_url; behind a proxy, set service_restart_behind_proxy"),
            "other_since": Case(
                "find out who made this cluster, and where the one before is (an absent mount?); if it is meant to be another one, pin it:"
                " database_recovery_expected_identity"
            ),
            "role": Case("correct database_recovery_expected_role, or find out who promoted or demoted this server; we never promote one"),
            "live_database": Case("correct the address, or database_restore_system_identifier"),
            "stanza": Case(
                "correct database_restore_stanza; if the live database cannot report its own system identifier, set"
                " database_restore_system_identifier to that of the backup"
            ),
        },
    ),
    "owned_elsewhere": Reason(
        "another manager (Patroni, repmgr, pg_auto_failover, Pacemaker, Stolon, an operator) starts, stops and fails over this store; the"
        " text names it, its evidence and its command",
        "work with that manager; nothing was started or stopped beside it",
        "{history}",
        {
            "container": Case(
                "this collection recovers stores that run under systemd or supervisor. Recover this one with its project: keep a copy of"
                " its volume, start its container (docker start NAME, or docker compose up -d SERVICE in its folder), then verify-health;"
                " leave its host out of the group redis"
            ),
            "database": Case(
                "work with that manager; nothing was started or stopped beside it. Only if it no longer runs this cluster and its files are"
                " left over, name it in database_recovery_former_owners"
            ),
        },
    ),
    "no_host_matched": Reason(
        "inventory, group and limit leave no host",
        "name a host that is in the inventory group this playbook works on",
        "{graph}",
        {
            "no_inventory": Case("name an inventory with -i: inventories/lab is one to practise with, inventories/example one to copy"),
        },
    ),
    "approval_needed": Reason(
        "every remaining option may lose data; `plans` lists each with name, text, loss, token, expiry and command",
        "read the plans, choose one, and approve exactly that one with its token",
        "{again} -e remediation_approval={token}",
    ),
    "approval_stale": Reason(
        "the approval expired, was already used, or the plan, state or counts have changed since",
        "read the new plans and approve one of them",
        "{again} -e remediation_approval={token}",
    ),
    "approval_other_target": Reason(
        "the token belongs to another target, plan or keeper, or was altered",
        "use the token of the plan shown here",
        "{again} -e remediation_approval={token}",
    ),
    "core_too_old": Reason(
        "ansible-core is older than 2.18, where text from logs could run as a template",
        "install ansible-core 2.18 or newer",
        "pip install 'ansible-core>=2.18'",
    ),
    "template_in_input": Reason(
        "a free-text variable contains {{, {% or {#",
        "use plain text without {{, {% or {# in that variable",
        "{again}",
    ),
    "bad_input": Reason(
        "a variable has the wrong type or an impossible value; the text names it",
        "correct the variable named in the text",
        "{again}",
        {
            "target_time": Case("set database_restore_target to a past time with a time zone, for example 2026-11-25T10:05:00Z"),
            "data_dir": Case("set database_restore_data_dir, and a database_restore_side_dir outside it"),
            "bin_dir": Case("set database_restore_bin_dir to the programs of that version, such as /usr/lib/postgresql/15/bin"),
            "state_dir": Case("make every part of that path private as the text says, or set remediation_state_dir to a private directory"),
            "secret_file": Case(
                "put the secret there on the machine that looks, readable by no one else (chmod 600), or correct that variable"
            ),
            "outcome_file": Case("set remediation_outcome_file to a place on the controller that this user can write"),
            "password_missing": Case("add --ask-become-pass or --become-password-file FILE, or set ansible_become_password from a vault"),
            "password_wrong": Case("correct what --ask-become-pass, --become-password-file or ansible_become_password gives"),
            "not_allowed": Case("set ansible_user to a user who may become root by sudo there, or give this one that right"),
            "other_cluster": Case(
                "correct database_recovery_port, _host, _data_dir, _config_file or _bin_dir: they do not describe one cluster. The"
                " database of a Compose project is not the machine's own: these variables cannot name it"
            ),
            "tags": Case("run it without --tags and --skip-tags; choose hosts with --limit", "{again}"),
            "reason_missing": Case("say why in remediation_reason", "{again} -e 'remediation_reason=\"WHY\"'"),
            "check_not_chosen": Case(text="redis_clearing_name must name one of redis_clearing_checks: {names}"),
            "no_plain_files": Case(text="{variable} may only name regular files that hold no data of {store}"),
        },
    ),
    "requirement_missing": Reason(
        "a collection that the acts of this remedy use is not installed on the controller, or is too old",
        "run the command in the text, then the same playbook again; check-access asks for it beforehand",
        "{again}",
    ),
    "keeper_ephemeral": Reason(
        "the ledger would be inside an execution environment, which is thrown away after the run",
        "set remediation_keeper to a host that outlives this run",
        "{again} -e remediation_keeper=HOST",
    ),
    "ledger_unusable": Reason(
        "the keeper's ledger or its directory cannot be read or written, or the ledger is damaged or gone",
        "give the keeper a private directory with free space",
        "{check_access}",
        {
            "full": Case(
                "free space on the disk of {state_dir}, or set remediation_state_dir to a directory on another disk; check-access reserves"
                " space for the next time"
            ),
            "foreign": Case(
                "work as the user that {state_dir} belongs to: set ansible_become to true where that is root; or correct its owner and mode"
                " (0700)"
            ),
            "damaged": Case(
                "put back a good copy of {state_dir}/ledger.sqlite; without one, look in its outcomes/ for `left`, end what is still held,"
                " and move {state_dir} away while no run is active: a new one starts without attempts, verified states and holds"
            ),
        },
    ),
    "fenced": Reason(
        "another run took over the lease, or the controller of this run is gone",
        "look at what the other run did",
        "{history}",
    ),
    "unreachable": Reason(
        "the connection to the target or the keeper was lost",
        "make the host reachable again; its ledger records what was begun there",
        "{check_access}",
    ),
    "not_this_component": Reason(
        "this component is well, but another one we looked at is sick",
        "see the findings and run the remedy of the sick component",
        "{verify}",
        {
            "failed_over": Case(
                "nothing was started, because it would serve old data. If Redis runs, Sentinel makes it a replica by itself; if it is down,"
                " point it at the new master (replicaof in its configuration), then run again"
            ),
            "replica": Case("recover the master first; we never promote a replica"),
            "clear_on_master": Case("this is a replica; clear the keys on its master"),
            "recover_redis_first": Case("run recover-redis first; keys are only checked on a healthy Redis", "{recover_redis}"),
            "standby_lagging": Case("recover its primary or the connection to it first; we never promote a standby"),
            "restore_on_primary": Case("run this on the primary of this standby"),
        },
    ),
    "state_not_handled": Reason(
        "it is sick in a way that no automatic act fixes safely",
        "read the findings; this state needs a person",
        "{history}",
        {
            # Redis
            "clear_failing_many": Case(
                "so many failing keys point to a wrong check or to something that still writes them; look at both before you raise"
                " redis_clearing_max_failing"
            ),
            "script_has_written": Case(
                "wait for the script, or find its client (CLIENT LIST); what it wrote is incomplete until it ends",
                text="the script that keeps Redis busy has already written; only a shutdown without saving would end it, and that loses"
                " what it wrote",
            ),
            "data_dir_not_ours": Case(
                "set {variable} to true, or correct owner and mode yourself", text="{found}, and {variable} is false"
            ),
            "start_would_fail": Case("correct what the text names, then run again; nothing was started, because that would fail"),
            "start_failed": Case("correct what the text names, then run again; it was started once and ended"),
            "doubtful_dir": Case(
                "find out where the data of this Redis belongs; then correct its configuration, or set redis_recovery_data_dir to that"
                " directory. Nothing was changed there, because no one we trust names it"
            ),
            "doubtful_settings": Case(
                "write the settings that the text names into the configuration file or the start command, then run again; nothing was"
                " started, because other settings may make Redis load other data"
            ),
            "start_empties": Case(
                "take what the text names out of its start command, then run again. Nothing was started, because its keys would be gone"
            ),
            "would_follow": Case(
                "if it is to be a master again, take the line that the text names out of its configuration; if it is to follow, set"
                " redis_recovery_expected_role=replica; then run again. Nothing was started, because its own data would be replaced"
            ),
            "replicas_unseen": Case(
                "set redis_recovery_replicas to the replicas of this Redis, then run again: what they hold is compared with its dump before"
                " anything starts. One that is down too is not waited for. Nothing was started"
            ),
            "would_evict": Case(
                "raise maxmemory in its configuration or set maxmemory-policy to noeviction, then run again; if those keys may go, start it"
                " yourself. Nothing was started"
            ),
            "dir_not_proven": Case(
                "if that is its directory, set redis_recovery_data_dir to it, or correct owner and mode yourself; a file that the user of"
                " Redis may change names no directory to give to that user",
                text="{found}",
            ),
            "cause_unknown": Case(text="the reason why Redis cannot write is unknown or cannot be fixed from here: {found}"),
            # PostgreSQL
            "data_dir_unsafe": Case(
                "set owner and mode yourself. A run does so only in database_recovery_data_dir as the inventory names it, reached by no"
                " link of another user, and never for a file with a second name or behind a link in it"
            ),
            "no_database": Case("correct database_recovery_database, or restore that database", "{restore_database}"),
            "read_only": Case(
                "somebody made it read-only: find out why first (a migration, a full disk, a switch-over); then ALTER SYSTEM,"
                " ALTER DATABASE or ALTER ROLE ... RESET default_transaction_read_only, SELECT pg_reload_conf(); clients have to reconnect"
            ),
            "recovery_stuck": Case("we do not interrupt recovery; the log and the disk show what PostgreSQL is waiting for"),
            "too_many_connections": Case(
                "see who holds the connections (facts.connections, facts.sessions) and end or pool those clients; a restart would"
                " disconnect everyone"
            ),
            "blocked": Case("end the session at the root of the wait chain", "{unblock_database}"),
            "logins_wait": Case(
                "find what the logins wait for: the session with the open transaction (ps shows each with its title; SIGTERM ends one), or"
                " the service that pg_hba.conf asks; a restart would end every session"
            ),
            "archiver_failing": Case("repair archive_command or its repository; until then WAL accumulates and fills the disk"),
            "wraparound": Case(
                "let VACUUM FREEZE run in the database named, and end what holds back its horizon (prepared transactions, old"
                " transactions, slots)"
            ),
            "prepared": Case("its owner must end it (COMMIT PREPARED or ROLLBACK PREPARED); we never do that"),
            "slow_database": Case("look at facts.top_queries and facts.sessions"),
            "pid_in_doubt": Case("find out whose process the lock file names; the file stays where it is until it is proven stale"),
            "down_restoring": Case("finish or abandon the restore in progress there (recovery.signal)"),
            "not_started": Case(text="PostgreSQL is not started: {found}"),
            "swap_unreadable": Case("read swap.json, and finish or reverse its renames by hand"),
            "nothing_to_cut_over": Case(
                "name tables with primary keys in database_restore_tables, or a database_restore_side_dir on the filesystem of the data",
                text="the restored data cannot be swapped in, because they are on another filesystem, and their rows cannot be compared"
                " one by one",
            ),
            "queueing": Case(
                "no single session blocks the others; see which statements take the same lock, and how many clients there are"
            ),
            "in_circle": Case(
                "run again after the server's deadlock_timeout; if it persists, look at the sessions at the root of the wait chain"
            ),
            "more_roots": Case(
                "so many at once usually have one cause; look for it (what do their statements have in common?), then run again",
                text="other sessions block too, and one run ends no more than {most}",
            ),
            # Services
            "rollout_stuck": Case(
                "fix what is named (image, configuration, quota), or go back to a release that worked; the pods that serve requests were"
                " left alone",
                "{rollback}",
            ),
            "not_startable": Case("fix what keeps the manager from starting it (the text names it); nothing was stopped"),
            "scaled_to_nothing": Case(
                "it is scaled to zero pods; scale it up by hand, or with service_manager and service_manager_replicas"
            ),
            "proxy_fails": Case(
                "look at the proxy: whether it runs, and where it sends requests for this URL; a restart of the service would not mend that"
            ),
            "late_release": Case("run again; if it stays so, name the release to go back to, as the next command does"),
            "redirect": Case("correct service_restart_url; redirects are not followed"),
            "slow_service": Case(
                "look at its dependencies, its load and its host; a restart does not fix load, and a memory leak would be reported"
            ),
        },
    ),
    "credentials_refused": Reason(
        "the service answers but rejects our credentials",
        "correct the credentials; a restart does not fix a password",
        "{check_access}",
        {
            "variables": Case("correct {variables}; a restart does not fix a password"),
            "restore": Case(
                "correct database_restore_user and database_restore_password_file; that login must be a superuser, or (only to put rows"
                " back) have pg_monitor, EXECUTE on pg_switch_wal(), SELECT and INSERT on database_restore_tables, and SELECT and UPDATE"
                " on their sequences"
            ),
        },
    ),
    "blocker_off_limits": Reason(
        "sessions wait for a lock held by one we never end (a superuser's, replication, a backup, a migration, autovacuum, a prepared"
        " transaction); the text names each",
        "the owner of each blocking session must end it; the findings name them and why we leave them alone",
        "{again}",
        {
            "left": Case(text="other sessions wait behind sessions that we never end"),
        },
    ),
    "data_damaged": Reason(
        "data files failed a named check, or are not regular files with a single owner, and no good copy is known",
        "name a backup or a replica to take the data from; nothing was started, because a start changes files",
        "{history}",
        {
            "restore": Case(
                "restore a backup beside the live database, or switch to a standby; nothing here was started or changed",
                "{restore_database}",
            ),
            "no_rescue_dir": Case(
                "restore a backup beside the live database, or switch to a standby; nothing here was started or changed. With"
                " database_recovery_rescue_dir set, a run keeps a cold copy first",
                "{restore_database}",
            ),
        },
    ),
    "config_broken": Reason(
        "the configuration of the service has an error, and no proven copy exists to restore; the text names file and line",
        "correct the line named in the text; the service was not started with it",
        "{again}",
        {
            "as_verified": Case(
                "correct what the text names: the release is the verified one, so what it reads from elsewhere has changed; then run"
                " restart-service",
                "{restart_service}",
            ),
            "mended": Case(
                "correct what the text names, then run again, with -e service_restart_mended=true if no file that its log or its start"
                " command names has changed; if a new release brought it, run rollback instead",
                "{again}",
            ),
            "no_copy": Case("correct that line", text="{file} line {line}: {found}; no proven copy of the file exists to put back"),
        },
    ),
    "data_missing": Reason(
        "the service is up with far less data than it had; saving would overwrite the good file",
        "copy the data directory away first; nothing was changed, because saving would overwrite the good file",
        "{history}",
        {
            "wrong_answers": Case("known answers are contradicted; nothing was changed; compare with a backup before you do anything else"),
            "not_mounted": Case("mount the disk with the data, then run again; a start now would serve an empty directory", "{again}"),
            "audit_gap": Case("the database works, but nothing writes its audit rows; look at the writer"),
            "restore": Case(
                "restore a backup beside the live database, or switch to a standby; nothing here was started or changed",
                "{restore_database}",
            ),
        },
    ),
    "backup_missing": Reason(
        "no backup covers the target: no stanza, no complete backup, an unknown label, or a time before the end of the first backup",
        "name a stanza, label or time that a backup covers; pgbackrest_info shows what exists",
        "{check_access}",
        {
            "repository": Case("make the repository readable for the database's user; pgbackrest info shows the error"),
            "stanza": Case("correct database_restore_stanza; pgbackrest info lists the stanzas"),
            "no_backup": Case("look for a copy elsewhere"),
            "label": Case("correct database_restore_label"),
            "too_early": Case("choose a target after the end of the first backup"),
        },
    ),
    "wal_gap": Reason(
        "the archive lacks a WAL segment between the backup and the target, by our own count; the text names the segment",
        "choose a target before the gap, or find the named segment (pg_wal, a standby, another copy)",
        "{history}",
    ),
    "no_such_service": Reason(
        "the service manager has no service of that name, or has none in that project or scope",
        "name a service that its manager knows (service_restart_service), with its project or scope (service_manager_project, _scope)",
        "{check_access}",
        {
            "several": Case("choose one container by number with service_manager_replica; a run restarts only one"),
            "left_over": Case("end the interrupted recreate with the command in the text, then run again; nothing was touched", "{again}"),
        },
    ),
    "stateful_service": Reason(
        "the named service holds data (a Redis, a PostgreSQL, a broker), judged by its name or by the program that runs",
        "use the remedy made for that store; nothing was restarted. A store in a container has none here: keep a copy of its volume, then"
        " restart it with its own project",
        "{verify}",
    ),
    "dependency_down": Reason(
        "a dependency of this service, or the memory service behind it, is sick; the text says which and why",
        "recover the dependency first; restarting this service would not help",
        "{verify}",
        {
            "slow": Case(
                "find out why what the text names is slow (its load, its disk, the network); if the service is hung all the same, set"
                " service_restart_answer_timeout to more than three times what that takes, for one run"
            )
        },
    ),
    "port_taken": Reason(
        "another process holds the port that the service needs, so it cannot start; nothing was done",
        "find out why the process or container named in the text runs, and stop it; then run again",
        "{again}",
    ),
    "exit_loop": Reason(
        "the service exits right after each start",
        "go back to a release that worked, or fix what its log names; another start would end the same way",
        "{history}",
        {
            "roll_back": Case(command="{rollback}"),
            "as_verified": Case(
                "fix what its log names; its release is the verified one, so a rollback changes nothing, and another start would end the"
                " same way"
            ),
        },
    ),
    "out_of_memory": Reason(
        "the service was killed for lack of memory, or reports so itself",
        "raise its memory limit or find what grew; after a restart it would be killed again",
        "{history}",
    ),
    "database_rollback": Reason(
        "a rollback was asked to include the database",
        "restore the database with its own playbook and approval",
        "{history}",
        {
            "roll_back": Case(command="{restore_database}"),
        },
    ),
    "no_verified_release": Reason(
        "the ledger holds no verified release other than the running one",
        "record a release while it is well: run record-release.yml after each deployment",
        "{history}",
        {
            "none": Case(
                "while it is well: run record-release.yml, now and after each deployment; while it is not: deploy a release that works, in"
                " the way you always do, then record that"
            ),
        },
    ),
    "never_verified": Reason(
        "the named release never passed verification here",
        "name a release that passed verification; record-release.yml records one",
        "{history}",
    ),
    "not_asked": Reason(
        "the application is well, and you named nothing to roll back",
        "name the release, or what to roll back; the application is well as it is",
        "{history}",
    ),
    "same_release": Reason(
        "the running release is the one that passed verification, and the service is sick anyway",
        "look for another cause, or name another release",
        "{history}",
        {
            "restart": Case(command="{restart_service}"),
        },
    ),
    "release_missing": Reason(
        "the release is not on the target, or the given name matches none",
        "copy the release to the target, by its id or digest, or name another one; nothing was stopped",
        "{history}",
    ),
    "release_altered": Reason(
        "the contents of a release directory do not match its name",
        "copy the release to the target again, or name another one; if the service itself writes there (logs), let it work elsewhere",
        "{history}",
    ),
    "release_not_pinned": Reason(
        "the release could not be selected: the link is not a link, the pin file belongs to someone else or is not writable, or Compose"
        " cannot recreate the container",
        "fix what keeps the release from being selected; the text names it",
        "{again}",
        {
            "several": Case("scale it to one container first (scale-traffic.yml); otherwise all of them would be recreated at once"),
        },
    ),
    "tag_moved": Reason(
        "the name now points to another release than when it passed verification",
        "name the release by its id",
        "{history}",
    ),
    "irreversible_migration": Reason(
        "the schema was migrated since that release, and the running release does not declare its migrations reversible",
        "fix forward, or restore the database, which loses everything written since",
        "{history}",
    ),
    "restore_pending": Reason(
        "another run is working on the database of this host, or left something there to finish",
        "let that run on the database finish first, or run reconcile",
        "{history}",
    ),
    "configuration_unfit": Reason(
        "the working copy of the configuration is detached, in the middle of an operation, missing, or has uncommitted changes",
        "clean up the working copy: on a branch, with nothing half done and nothing uncommitted",
        "{again}",
    ),
    "unknown_pool": Reason(
        "the load balancer has no pool of that name",
        "name a pool that the load balancer has; the text lists them",
        "{again} -e traffic_scaling_pool=NAME",
    ),
    "unknown_server": Reason(
        "the pool has no server of that name",
        "name servers that the pool has; the text lists them",
        "{again}",
    ),
    "weight_out_of_range": Reason(
        "the load balancer does not accept that weight or state",
        "give a weight within the range named in the text",
        "{again}",
    ),
    "server_down": Reason(
        "a server is set as wanted, but it does not pass the load balancer's health check, so it gets no requests",
        "recover what runs at the address that the text names, or give the server another address; the text quotes the check",
        "{verify}",
    ),
    "not_by_weight": Reason(
        "the load balancer does not share requests by weight in this pool, so no part of the clients can be admitted",
        "use `balance roundrobin` in this pool and reload the load balancer, or admit all clients at once with steps [100]",
        "{again} -e '{\"traffic_scaling_steps\": [100]}'",
    ),
    "map_unwritable": Reason(
        "the file of pools in maintenance cannot be written, so the next reload of the load balancer would bring maintenance back",
        "make the file that the text names writable for this run (owner, mode, `chattr -i`, a mount that is read-only)",
        "{again}",
    ),
    "changed_by_another": Reason(
        "somebody else changed the pool while this run was at work; what they set was left alone, and so is everything else as it is now",
        "find out who changed it and why (the text says what); continue once they agree",
        "{again}",
    ),
    "last_server": Reason(
        "this would leave the pool without a server that takes requests: every client would get an error at once",
        "let another server take requests first",
        "{again}",
    ),
    "no_server_up": Reason(
        "no server of the pool is up, so no traffic can be admitted",
        "recover the service behind the load balancer first",
        "{verify}",
    ),
    "clients_kept_out": Reason(
        "no server of the pool takes requests (each is drained, taken out, down, or has weight 0), so every client would get an error",
        "restore the traffic, which gives servers their weights step by step; a person ends what a person set (scale-traffic.yml)",
        "{restore_traffic}",
    ),
    "steps_not_rising": Reason(
        "the shares of a restoration decrease, or are not between 1 and 100",
        "give shares between 1 and 100, each larger than the one before",
        "{again} -e '{\"traffic_scaling_steps\": [10, 25, 50, 100]}'",
    ),
    "no_place_for_the_rest": Reason(
        "a partial share cannot be admitted: nothing can answer the remaining traffic (no spare server is up, and no server answers 503)",
        "name spare servers, or a server that answers 503, for the traffic not yet admitted",
        "{again}",
    ),
    "switch_missing": Reason(
        "the load balancer's configuration has no maintenance switch",
        "add the maintenance lines to the load balancer's configuration; the role's README has them",
        "{again}",
    ),
    "cold_cache": Reason(
        "a cache was lost recently, and all clients at once would overload what is behind it",
        "admit clients step by step with restore-traffic.yml, or give a reason in traffic_scaling_skip_warm_up",
        "{again} -e 'traffic_scaling_skip_warm_up=\"WHY\"'",
        {
            "step_by_step": Case(command="{restore_traffic}"),
        },
    ),
    "balancer_refused": Reason(
        "the load balancer rejected the change (the text quotes it), or its socket does not allow changes (level below admin), which is"
        " found before the run acts",
        "read the load balancer's answer; nothing is left half done unless the text says so",
        "{again}",
    ),
    "autoscaled": Reason(
        "an autoscaler sets the number of pods and would reverse any other number",
        "change the limits of the autoscaler instead (minReplicas, maxReplicas)",
        "{again}",
    ),
    "beyond_quota": Reason(
        "a ResourceQuota has no room for the additional pods; the text says what is used and what they need",
        "ask for fewer pods, or have the quota raised",
        "{again} -e traffic_scaling_replicas=N",
    ),
    "budget_guards": Reason(
        "this would remove more serving pods than a PodDisruptionBudget allows; the text names the budget",
        "keep more pods, or change the disruption budget first",
        "{again} -e traffic_scaling_replicas=N",
    ),
    "not_alike": Reason(
        "a new container of a Compose service would differ in image or configuration from the running ones, or its image is not on the"
        " host; nothing was created",
        "recreate the service or pin its release first, so that all containers are alike, or copy the image to the host; the text says what"
        " differs",
        "{again}",
    ),
    "no_slot": Reason(
        "the pool has fewer free slots than containers that need one, or a server named as a slot cannot be one",
        "give the pool more slots (server-template) and reload the load balancer, or ask for fewer; the text says what is free",
        "{again} -e traffic_scaling_replicas=N",
    ),
    "no_network": Reason(
        "the network through which the load balancer reaches a container is not set, or the container is not attached to it",
        "name the network through which the load balancer reaches the containers",
        "{again} -e traffic_scaling_slots_network=NAME",
    ),
    "slot_down": Reason(
        "Docker calls a container ready, but the load balancer's check of its slot fails",
        "from the load balancer's machine, check network and port, what its health check requests, and that `fall` is at least 2",
        "{verify}",
    ),
    "address_fixed": Reason(
        "the load balancer cannot change server addresses at run time (nginx)",
        "use a load balancer that sets addresses at run time (HAProxy), or write the server into its configuration",
        "{again}",
    ),
    "rollout_stuck": Reason(
        "a rollout is paused or never completes, so additional pods would not come up either",
        "finish, resume or undo its rollout first; rollback.yml goes back to a release that worked",
        "{verify}",
    ),
    "replicas_out_of_range": Reason(
        "the number of replicas is outside the limits, or a volume, fixed container name or published port does not allow that many; the"
        " text says which",
        "give a number within the limits, or change the limits; the text names them",
        "{again} -e traffic_scaling_replicas=N",
    ),
    "regressed": Reason(
        "a share of the traffic exceeded a limit, or no server was up any more; the step was rolled back (`undone`)",
        "find what the new share breaks before you try again; the step was rolled back",
        "{verify}",
    ),
    "aborted": Reason(
        "a person stopped it (`traffic_scaling_control=abort`, or the file `traffic.abort`); the step was rolled back (`undone`)",
        "let it continue once the reason for stopping is gone",
        "{again} -e traffic_scaling_control=go_on",
    ),
    "not_well": Reason(
        "what is to be recorded is not well, or the next start would not use it",
        "fix what the text names; only what is well in every respect is recorded",
        "{verify}",
    ),
    "no_room": Reason(
        "the disk lacks space for a copy that must come first, or a cluster quota has no room for new pods",
        "free space (or raise the quota), or name files that may be deleted",
        "{again}",
        {
            "keep_before_start": Case(
                "set redis_recovery_rescue_dir to a directory with room for two copies of the data",
                text="redis_recovery_rescue_dir names no directory for the copy that comes before a start that deletes the data",
            ),
            "keep_before_save": Case(
                "set redis_recovery_rescue_dir to a directory on another filesystem",
                text="Redis cannot save, and redis_recovery_rescue_dir names no directory for the rescue copy that comes first",
            ),
            "keep_before_repair": Case(
                "set redis_recovery_rescue_dir to a directory with room for two copies of the data",
                text="the data of Redis are damaged or missing, and redis_recovery_rescue_dir names no directory for the copies that come"
                " before any repair",
            ),
            "keep_before_clearing": Case(
                "set redis_clearing_rescue_dir (or redis_recovery_rescue_dir) to a directory on another filesystem",
                text="redis_clearing_rescue_dir names no directory for the rescue copy that comes first",
            ),
            "keep_lock_file": Case(
                "set database_recovery_rescue_dir",
                text="the lock file names a process that is not PostgreSQL, and database_recovery_rescue_dir names no directory for the"
                " copy that comes first",
            ),
            "outcome_file": Case("free space on that disk of the controller, or set remediation_outcome_file to a place on another one"),
            "restore": Case("free space at the place named; the side directory, database_restore_side_dir, may be on a larger filesystem"),
            "wal_filling": Case("give that disk space; repair the archiver or drop the slot named, and never delete anything in pg_wal"),
            "quota": Case("raise the quota named, or remove pods by hand; nothing was changed"),
            "nothing_to_give_up": Case(
                "free space by hand, or name files that exist in {variable}", text="{found}; none of the files in {variable} exists"
            ),
            "no_files_given_up": Case(text="{found}; {variable} names no file that may be deleted"),
        },
    ),
    "storm_brake": Reason(
        "so many hosts are sick at once that a common cause is likely",
        "look for the common cause first: verify-health shows all hosts; if there is none, run this for one host at a time with -l",
        "{verify}",
    ),
}
