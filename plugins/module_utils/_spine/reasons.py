# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a run is refused: stable codes, what would unblock each, and the next command.

The codes are an interface: AWX workflows and scripts branch on them. docs/reasons.md lists them.
"""

from __future__ import annotations

import re
import typing as t

# code: (what would unblock it, what to add to the same command or a whole other command)
REASONS: dict[str, tuple[str, str]] = {
    "lease_held": ("wait until that run has ended; only when you know that it is dead add -e remediation_takeover=true", "{history}"),
    "dead_run_acting": ("an act of a dead run may still be going on; it is over after the time shown", "{again}"),
    "budget_spent": ("a person decides: the same act was tried before; see what came of it, or raise remediation_budget", "{history}"),
    "frozen": ("the freeze has to end, or a person overrides it with a reason", "{again} -e 'remediation_freeze_override=\"WHY\"'"),
    "kill_switch": ("remove the kill switch file when the danger is over; nothing overrides it", "{again}"),
    "health_unknown": ("make the probe able to see: an act is never started on a guess", "{check_access}"),
    "evidence_missing": ("give the evidence room and rights, or give a reason", "{again} -e 'remediation_without_evidence=\"WHY\"'"),
    "wrong_identity": ("this is not the instance that is pinned in the inventory; correct the address or the pin", "{check_access}"),
    "no_host_matched": ("name hosts that are in the inventory group the playbook works on", "{graph}"),
    "approval_needed": ("a person reads the plan and approves exactly it", "{again} -e remediation_approval={token}"),
    "approval_stale": ("it expired, was used, or the state has changed; read the new plan", "{again} -e remediation_approval={token}"),
    "approval_other_target": ("the approval was given for another target or plan", "{again} -e remediation_approval={token}"),
    "core_too_old": ("use ansible-core 2.18 or newer: older ones let text from logs run as templates", "pip install 'ansible-core>=2.18'"),
    "template_in_input": ("give plain text without {{{{, {{% or {{# in that variable", "{again}"),
    "bad_input": ("correct the variable that is named", "{again}"),
    "keeper_ephemeral": ("set remediation_keeper to a host that outlives this run", "{again} -e remediation_keeper=HOST"),
    "ledger_unusable": ("give the keeper a private directory with room", "{check_access}"),
    "fenced": ("another run took over; look at what it did", "{history}"),
    "unreachable": ("make the host reachable again; what it holds is written down there", "{check_access}"),
    "not_this_component": ("another component is sick; see the findings and run its own remedy", "{verify}"),
    "state_not_handled": ("this state has no safe automatic act; see the findings", "{history}"),
    "credentials_refused": ("correct the credentials; a restart cures no password", "{check_access}"),
    "blocker_off_limits": ("whoever a session at the root belongs to ends it; the findings name each and why it is left alone", "{again}"),
    "data_damaged": ("nothing was started, since a start changes files; name a backup or a replica to take the data from", "{history}"),
    "config_broken": ("correct the line that is named; the service was not started on it", "{again}"),
    "data_missing": ("nothing was changed, since a save would overwrite the good file; copy the data directory away first", "{history}"),
    "backup_missing": ("name a stanza, a label or a time that a backup leads to; pgbackrest_info shows what there is", "{check_access}"),
    "wal_gap": ("choose a target before the gap, or find the segment that is named (pg_wal, a standby, another copy)", "{history}"),
    "no_such_service": ("name a service that its manager knows; where it has projects or scopes, the right one", "{check_access}"),
    "stateful_service": ("it holds data, so it has a remedy of its own; nothing was restarted", "{verify}"),
    "dependency_down": ("recover what it stands on first; a restart changes nothing there", "{verify}"),
    "exit_loop": ("go back to a release that worked, or mend what its log names; another start ends the same way", "{history}"),
    "out_of_memory": ("raise its memory limit, or find what grew; a restart would be killed again", "{history}"),
    "database_rollback": ("a database is restored to a time by a playbook and an approval of its own", "{history}"),
    "no_verified_release": ("record a release while it is well, with record-release.yml after each deployment", "{history}"),
    "never_verified": ("name a release that passed verification; its record is made by record-release.yml", "{history}"),
    "not_asked": ("name the release, or what goes back: it is well as it is", "{again} -e rollback_release=ID"),
    "same_release": ("look for the cause elsewhere, or name another release", "{again} -e rollback_release=ID"),
    "release_missing": ("bring it to the target, by its id or digest, or name another one", "{again} -e rollback_release=ID"),
    "release_altered": ("bring the release to the target anew, or name another one", "{again} -e rollback_release=ID"),
    "release_not_pinned": ("mend what keeps the release from being selected; the text names it", "{again}"),
    "tag_moved": ("name the release by its id: the name means another one by now", "{again} -e rollback_release=ID"),
    "irreversible_migration": (
        "mend it forward, or restore the database, which loses what came since",
        "{history}",
    ),
    "restore_pending": ("let what works on the database end first", "{history}"),
    "configuration_unfit": ("put the working copy in order: on a branch, nothing half done", "{again}"),
    "unknown_pool": ("name a pool that the balancer has; the text lists them", "{again} -e traffic_scaling_pool=NAME"),
    "unknown_server": ("name servers that the pool has; the text lists them", "{again}"),
    "weight_out_of_range": ("give a weight that the balancer takes; the text names the range", "{again}"),
    "last_server": ("let another server take requests first; without one every client gets an error", "{again}"),
    "no_server_up": ("recover the service behind the balancer first; there is nothing that could take requests", "{verify}"),
    "steps_not_rising": (
        "give shares between 1 and 100, each larger than the one before",
        "{again} -e '{\"traffic_scaling_steps\": [10, 25, 50, 100]}'",
    ),
    "no_place_for_the_rest": ("name spare servers, or a server that answers 503, for what is not let in yet", "{again}"),
    "switch_missing": ("put the lines for maintenance into the configuration of the balancer; the role's README has them", "{again}"),
    "cold_cache": (
        "let clients in step by step, with restore-traffic.yml, or say why not",
        "{again} -e 'traffic_scaling_skip_warm_up=\"WHY\"'",
    ),
    "balancer_refused": ("see what the balancer says; nothing was left half done unless the text says so", "{again}"),
    "autoscaled": ("change the limits of the autoscaler instead: it would take another number back", "{again}"),
    "beyond_quota": ("ask for fewer, or have the quota raised; the text tells what is used", "{again} -e traffic_scaling_replicas=N"),
    "budget_guards": (
        "leave more of them, or change the disruption budget first; the text names it",
        "{again} -e traffic_scaling_replicas=N",
    ),
    "not_alike": (
        "recreate the service or pin its release first, so that all are of one kind, or bring the image here; the text tells what differs",
        "{again}",
    ),
    "no_slot": (
        "give the pool more slots (server-template) and load the balancer anew, or ask for fewer; the text tells what is free",
        "{again} -e traffic_scaling_replicas=N",
    ),
    "no_network": ("name the network by which the balancer reaches the containers", "{again} -e traffic_scaling_slots_network=NAME"),
    "slot_down": (
        "see from the balancer's machine whether network and port are right, what its check asks, and that its fall is 2 or more",
        "{verify}",
    ),
    "address_fixed": ("take a balancer that gives addresses at run time (HAProxy), or write the server into its configuration", "{again}"),
    "rollout_stuck": ("finish, resume or take back its rollout first; rollback.yml goes back to a release that worked", "{verify}"),
    "replicas_out_of_range": (
        "give a number within the limits, or change those; the text names them",
        "{again} -e traffic_scaling_replicas=N",
    ),
    "regressed": ("find what the new share breaks before trying again; it was taken back", "{verify}"),
    "aborted": ("somebody stopped it; when the reason is gone let it go on", "{again} -e traffic_scaling_control=go_on"),
    "not_well": ("only what is well from all sides is recorded", "{verify}"),
    "no_room": ("make room, or name files that may go", "{again}"),
    "storm_brake": ("too many hosts are sick at once: look for the common cause first", "{verify}"),
}
GREEN = ("nothing_to_do", "recovered", "rehearsed")


def reason(code: str, text: str, **more: t.Any) -> dict[str, t.Any]:
    """Return a reason as data: code, text, unblock, next_command (still with its placeholders), and *more*.

    `unblock` and `next_command` in *more* replace the general ones. Raises KeyError for an unknown code.
    """
    unblock, command = REASONS[code]
    return dict({"code": code, "text": text, "unblock": unblock.format(), "next_command": command}, **more)


def with_commands(reasons: t.Iterable[t.Mapping[str, t.Any]], commands: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """Fill the placeholders of the next commands: again, history, check_access, verify, graph, token."""
    filled = []
    for one in reasons:
        command = str(one.get("next_command") or "")
        for name, value in commands.items():
            command = command.replace("{%s}" % name, value)
        filled.append(dict(one, next_command=_said_last(command)))
    return filled


def _said_last(command: str) -> str:
    """Return the command without a plain ``-e NAME=VALUE`` that a later one takes the place of."""
    name = command.rpartition(" -e ")[2].partition("=")[0].strip("'")
    return re.sub(r" -e %s=\S+(?= )" % re.escape(name), "", command) if name.isidentifier() else command
