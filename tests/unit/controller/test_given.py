# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A misspelt variable is refused with the command that was meant; what is the caller's own is left alone."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.plugin_utils._given import slips

ROLES = Path(__file__).resolve().parents[3] / "roles"


@pytest.mark.parametrize(
    ("given", "better"),
    [
        ({"rollback_relase": "v1"}, ["rollback_release"]),
        ({"service_restart_servise": "api"}, ["service_restart_service"]),
        ({"remediation_aproval": "x"}, ["remediation_approval"]),
        ({"_raw_params": "service_restart_service"}, ["service_restart_service=VALUE"]),
        ({"rollback_release": "v1", "remediation_reason": "x", "restart_service_serial": 2}, []),
        ({"rollback_ticket_of_ours": 7, "ansible_host": "h", "service_restart": 1}, []),
        ({"redis_recovery_password": "SECRET"}, ["redis_recovery_password_file"]),
        ({"redis_recovery_frobnicate": 1}, [""]),
        ({}, []),
    ],
)
def test_a_slip_is_told_with_what_was_meant(given: dict[str, t.Any], better: list[str]) -> None:
    assert [one.better for one in slips(given)] == better


@pytest.mark.parametrize(
    ("own", "better"),
    [
        ({"redis_recovery_password": "SECRET"}, ["redis_recovery_password_file"]),
        ({"redis_recovery_password": "x", "redis_recovery_known_keys": "{{ redis_recovery_password }}"}, []),
        ({"redis_recovery_frobnicate": 1, "rollback_ticket_of_ours": 7, "redis_recovery_host": "h"}, []),
        ({}, []),
    ],
)
def test_a_slip_in_the_inventory_is_told_where_nothing_there_uses_the_name(own: dict[str, t.Any], better: list[str]) -> None:
    found = slips({}, own)
    assert [one.better for one in found] == better
    assert "SECRET" not in str(found)


def test_a_secret_that_no_role_reads_is_refused_with_the_way_from_a_vault_to_its_file() -> None:
    [slip] = slips({"redis_recovery_password": "SECRET"})
    assert "set redis_recovery_password_file" in slip.text
    assert "Ansible Vault" in slip.text


def test_only_the_variables_of_a_command_are_corrected() -> None:
    slip, command = slips({"_raw_params": "lab"})[0], "ansible-playbook x.yml -i inventories/lab -l lab -e lab"
    assert slip.corrected(command) == command + "=VALUE"


@pytest.mark.parametrize("path", sorted(ROLES.glob("*/meta/argument_specs.yml")), ids=lambda path: path.parts[-3])
def test_every_variable_of_a_role_is_known(path: Path) -> None:
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    assert slips({name: "" for spec in specs.values() for name in spec.get("options") or {}}) == []
