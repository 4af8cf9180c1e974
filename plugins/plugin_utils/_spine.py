# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the controller knows of a run: who started it, how to start it again, and which input is raw text."""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import re
import shlex
import sys
import time
import typing as t

import yaml
from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.module_utils.common.validation import check_type_list
from ansible.parsing.splitter import split_args
from ansible.release import __version__ as core_version

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import file_name, one_line, redact, without_url_secrets
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import fill, reason, with_commands
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import MARK, options_of, template_in

CORE_FLOOR = (2, 18)
# Given for one run only; the next run must be given them again.
ONCE = frozenset(["remediation_approval", "remediation_takeover"])
# What reasons call a playbook: its name, and these short ones.
SHORT = {"history": "show_history", "verify": "verify_health"}
# Options of ansible-playbook and ansible alike that the next command needs as well.
SWITCHES = {"ask_pass": "--ask-pass", "become": "--become", "become_ask_pass": "--ask-become-pass"}
VALUES = {
    "remote_user": "--user", "private_key_file": "--private-key", "connection_password_file": "--connection-password-file",
    "become_password_file": "--become-password-file", "ssh_common_args": "--ssh-common-args", "ssh_extra_args": "--ssh-extra-args",
}  # fmt: skip
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "playbooks")
FILES = sorted(os.listdir(FOLDER)) if os.path.isdir(FOLDER) else []
PLAYBOOKS = {**{name[:-4]: name[:-4] for name in FILES if re.match(r"[a-z_]+\.yml\Z", name)}, **SHORT}
# playbook: the variable that names its hosts, and the group without it.
TRAFFIC = ("traffic_scaling_hosts", "somabrain_balancer")
WORKS_ON: t.Mapping[str, tuple[str, str]] = {
    "recover_redis": ("recover_redis_hosts", "redis"),
    "clear_redis_corruption": ("clear_redis_hosts", "redis"),
    "recover_database": ("recover_database_hosts", "postgresql"),
    "restore_database": ("restore_database_hosts", "postgresql"),
    "unblock_database": ("unblock_database_hosts", "postgresql"),
    "verify_backups": ("verify_backups_hosts", "postgresql"),
    "restart_service": ("restart_service_hosts", "somabrain_api"),
    "record_release": ("record_release_hosts", "somabrain_api"),
    "rollback": ("rollback_hosts", "somabrain_api"),
    **{f"{verb}_traffic": TRAFFIC for verb in ("restore", "scale")},
    **{f"{verb}_maintenance": TRAFFIC for verb in ("enable", "disable")},
}
Vars = t.Mapping[str, t.Any]


def raw_text(task_vars: Vars, name: str) -> str:
    """Return a free-text variable as it was typed, "" when it is not set."""
    return str(task_vars.get(name) or "")


def input_reasons(task_vars: Vars, typed: t.Optional[Vars] = None, options: t.Optional[Vars] = None) -> list[dict[str, t.Any]]:
    """Return the reasons against starting at all: ansible-core below the floor, template markers in free text.

    Free text is what the spine's options declare so, what remediation_free_text names, and among what was *typed* on the command line
    what *options* declare so.
    """
    reasons = []
    if tuple(int(part) for part in core_version.split(".")[:2]) < CORE_FLOOR:
        reasons.append(reason("core_too_old", f"this is ansible-core {core_version}; 2.18 or newer is required"))
    more = task_vars.get("remediation_free_text") or []
    named = {str(name): {"description": MARK} for name in (more if isinstance(more, (list, tuple)) else [])}
    spine = {**options_of("remediation"), **named}
    others = {name: option for name, option in (options or {}).items() if name not in spine}
    for name, text in template_in(task_vars, spine) + template_in(typed or {}, others):
        reasons.append(reason("template_in_input", f"{name} contains template markers: {one_line(text, 60)}"))
    return reasons


def operator(task_vars: Vars) -> str:
    """Return who is acting: remediation_operator, AWX's user, or the user of the controller."""
    for name in ("remediation_operator", "awx_user_name", "tower_user_name"):
        if raw_text(task_vars, name):
            return one_line(raw_text(task_vars, name), 60)
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user without a passwd entry.
        return f"uid {os.getuid()}"


def resolved(task_vars: Vars, templar: t.Any) -> dict[str, t.Any]:
    """Return the variables with the outcome file's path worked out, "" where it cannot be; `open` refuses that by name."""
    try:
        path = templar.template(task_vars.get("remediation_outcome_file") or "")
    except AnsibleError:
        path = ""
    return dict(task_vars, remediation_outcome_file=path)


def kill_switch(task_vars: Vars, templar: t.Any) -> str:
    """Return the text of the first kill switch file on the controller, "" when there is none."""
    try:
        paths = check_type_list(templar.template(task_vars.get("remediation_kill_switch_files") or []))
    except (AnsibleError, TypeError):
        return "remediation_kill_switch_files cannot be templated"
    for path in paths:
        try:
            os.lstat(str(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            # A file that cannot be read counts as set.
            return f"{path} on the controller, which cannot be read"
        return f"{path} on the controller"
    return ""


def commands(task_vars: Vars, host: str) -> dict[str, str]:
    """Return the next commands that reasons name, with this run's playbook, inventory and limit; to run it again also its variables."""
    args = [str(name) for name in context.CLIARGS.get("args") or ()]
    playbook = args[0] if args else "PLAYBOOK"
    inventory = [str(source) for source in context.CLIARGS.get("inventory") or ()]
    where = [word for source in inventory for word in ("-i", relative(source))]
    limit = context.CLIARGS.get("subset")
    way = login_words(context.CLIARGS)
    again = ["ansible-playbook", playbook, *where, *way, *(["-l", str(limit)] if limit else []), *given_variables()]
    named = where or ([] if _has_inventory() else ["-i", "INVENTORY"])
    filled = {"ansible": shlex.join(["ansible", host or "HOST", *named, *_from_here(playbook), *way])}
    filled.update(again=shlex.join(again), graph=shlex.join(["ansible-inventory", *named, *_vault_words(context.CLIARGS), "--graph"]))
    for name, other in PLAYBOOKS.items():
        filled[name] = shlex.join(["ansible-playbook", _beside(playbook, other), *where, *way, *_limit(other, host, task_vars)])
    return filled


def _limit(playbook: str, host: str, task_vars: Vars) -> list[str]:
    """Return the words that limit *playbook* to *host*; none where it works on a group without *host*: a store on another machine."""
    variable, group = WORKS_ON.get(playbook, ("", ""))
    members = [] if task_vars.get(variable) else (task_vars.get("groups") or {}).get(group) or []
    return ["-l", host] if host and not (members and set(host.split(",")).isdisjoint(members)) else []


def _from_here(playbook: str) -> list[str]:
    """Return the words by which `ansible` uses the collection and the variables that lie beside a playbook which was called by its path.

    Without them a collection that is installed would do the undo of a run of this checkout.
    """
    return ["--playbook-dir", os.path.dirname(playbook) or "."] if os.path.isfile(playbook) else []


def login_words(given: Vars) -> list[str]:
    """Return the words of the command line that say how to log in, become root and open a vault: no secrets, but where they are."""
    words = [option for name, option in SWITCHES.items() if given.get(name)]
    words += [word for name, option in VALUES.items() if given.get(name) for word in (option, str(given[name]))]
    return words + _vault_words(given)


def _vault_words(given: Vars) -> list[str]:
    asked = ["--ask-vault-pass"] if given.get("ask_vault_pass") else []
    files = [word for one in given.get("vault_password_files") or () for word in ("--vault-password-file", str(one))]
    return asked + files + [word for one in given.get("vault_ids") or () for word in ("--vault-id", str(one))]


def _has_inventory() -> bool:
    """Return whether Ansible's configuration names an inventory that is there."""
    return any("," in str(one) or os.path.exists(str(one)) for one in constants.DEFAULT_HOST_LIST or [])


def given_variables(is_kept: t.Callable[[str], bool] = lambda name: True) -> list[str]:
    """Return the ``-e`` words of this run that the next one needs as well: without those said once, and without secrets.

    is_kept: whether a variable of that name is needed; a file of variables is kept whole.
    """
    kept = [_kept_variables(str(text), lambda name: name not in ONCE and is_kept(name)) for text in context.CLIARGS.get("extra_vars") or ()]
    return [word for text in kept if text for word in ("-e", redact(text))]


def _kept_variables(text: str, is_kept: t.Callable[[str], bool]) -> str:
    """Return of one argument of ``-e`` (a file, JSON or YAML, or pairs) the variables to keep, "" where nothing is left."""
    if text.startswith("@"):
        return text
    if text.startswith(("{", "[")):
        with contextlib.suppress(yaml.YAMLError):
            loaded = yaml.safe_load(text)
            left = {name: value for name, value in loaded.items() if is_kept(str(name))} if isinstance(loaded, dict) else loaded
            return text if left == loaded else json.dumps(left) if left else ""
        return ""
    with contextlib.suppress(AnsibleError):
        return " ".join(pair for pair in split_args(text) if is_kept(pair.partition("=")[0].strip()))
    return ""


def relative(path: str) -> str:
    # Ansible makes inventory paths absolute; the shorter spelling is the one a person can read and copy.
    # One that was typed whole stays so: it also works where a person pastes it into another window.
    if "," in path or not path.startswith("/") or any(path in word for word in sys.argv):
        return path
    shorter = os.path.relpath(path)
    return path if shorter.startswith("..") else shorter


def _beside(playbook: str, other: str) -> str:
    path = os.path.join(os.path.dirname(playbook), other.replace("_", "-") + ".yml")
    return path if os.path.exists(path) else f"somabrain.incident_response.{other}"


def filled_in(one: dict[str, t.Any], words: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return a reason with its next command, and those of the plans that it offers."""
    done = with_commands([one], words)[0]
    return dict(done, plans=with_commands(one["plans"], words)) if one.get("plans") else done


def with_left(holder: dict[str, t.Any], filled: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Fill in the commands that end what is left, where *holder* lists any, and return it."""
    if holder.get("left"):
        holder["left"] = [dict(one, command=fill(str(one.get("command") or ""), filled)) for one in holder["left"]]
    return holder


def refused(reasons: list[dict[str, t.Any]], task_vars: Vars, host: str) -> Result:
    """Return the failed result of a step that refuses by itself."""
    filled = with_commands(reasons, commands(task_vars, host))
    return {"failed": True, "changed": False, "reasons": filled, "stage": "guard", "msg": f"{filled[0]['code']}: {filled[0]['text']}"}


def refused_run(
    reasons: list[dict[str, t.Any]], task_vars: Vars, *, component: str = "", target: str = "", hosts: t.Sequence[str] = ()
) -> Result:
    """Return the failed result of a refusal before any run was opened, its outcome written for each of *hosts*, or once."""
    result = refused(reasons, task_vars, "")
    outcome = {
        "schema": 1, "outcome": "refused", "green": False, "target": target or component, "host": "", "component": component,
        "reasons": result["reasons"], "seconds": 0.0, "closed_at": time.time(), "acts": [],
        "check_mode": bool(task_vars.get("ansible_check_mode")),
    }  # fmt: skip
    try:
        outcome["controller_file"] = write_outcome_file(outcome, task_vars)
        for host in hosts:
            write_outcome_file(dict(outcome, host=host, target=f"{host}/{component}"), dict(task_vars, ansible_play_hosts_all=list(hosts)))
    except OSError as error:
        more = with_commands([not_written(error)], commands(task_vars, ""))
        outcome["reasons"] = result["reasons"] = [*result["reasons"], *(one for one in more if one["text"] not in str(result["reasons"]))]
    return dict(result, outcome=outcome)


def not_written(error: OSError) -> dict[str, t.Any]:
    """Return the reason when the outcome file on the controller cannot be written: a full disk has a code of its own."""
    text = "remediation_outcome_file cannot be written: %s" % one_line(error, 200)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return reason("no_room", text, case="outcome_file")
    return reason("bad_input", text, case="outcome_file")


def file_for(wanted: str, host: str, task_vars: Vars) -> str:
    """Return the file on the controller for one host: with more than one in the play each gets its own, NAME-HOST.SUFFIX."""
    stem, suffix = os.path.splitext(os.path.abspath(os.path.expanduser(wanted)))
    several = len(task_vars.get("ansible_play_hosts_all") or []) > 1 and host
    return f"{stem}-{file_name(host)}{suffix}" if several else stem + suffix


def write_outcome_file(outcome: t.Mapping[str, t.Any], task_vars: Vars) -> str:
    """Write the outcome to remediation_outcome_file on the controller; return its path, "" when none is wanted. Raises OSError."""
    wanted = str(task_vars.get("remediation_outcome_file") or "")
    if not wanted:
        return ""
    if task_vars.get("__remediation_part"):
        # A part of a playbook over several components does not stand for all of it.
        stem, suffix = os.path.splitext(wanted)
        wanted = f"{stem}-{file_name(outcome.get('component') or 'component')}{suffix}"
    path = file_for(wanted, str(outcome.get("host") or ""), task_vars)
    write_durably(path, json.dumps(without_url_secrets(outcome), indent=1, sort_keys=True, default=str).encode())
    return path


class SpineAction(StepAction):
    """Base of the spine's action plugins: adds overrides and kill switch, fills in the next commands."""

    def prepare(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        for name in ("freeze_override", "without_evidence", "approval"):
            if name in self.STEP.ARGUMENT_SPEC:
                params[name] = raw_text(task_vars, f"remediation_{name}")
        if "killed" in self.STEP.ARGUMENT_SPEC:
            params["killed"] = kill_switch(task_vars, self._templar)
        return params

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        return super().run(tmp, resolved(task_vars or {}, self._templar))

    def answers_when_lost(self, task_vars: Vars) -> bool:
        """A lost keeper is a failure of the run, which must still reach its close."""
        return True

    def finish(self, result: Result, own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        holders = [result, result.get("verdict"), result.get("run"), result.get("outcome")]
        filled = commands(task_vars, str(task_vars.get("inventory_hostname") or ""))
        for holder in holders:
            if isinstance(holder, dict) and holder.get("reasons"):
                given = [dict(filled, token=str(one.get("token") or "TOKEN")) for one in holder["reasons"]]
                holder["reasons"] = [filled_in(one, words) for one, words in zip(holder["reasons"], given)]
            if isinstance(holder, dict):
                with_left(holder, filled)
        return result
