# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step that may not become root says which option or variable to set, whatever way it was sent."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _runner

NO_JSON = "Module result deserialization failed: No start of json char found"


def sent(answer: t.Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    def _sent(params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> t.Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    action = object.__new__(_runner.StepAction)
    monkeypatch.setattr(action, "_sent", _sent)
    return action.on_target({}, {})


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (AnsibleError("Missing sudo password"), "Missing sudo password; add --ask-become-pass"),
        (AnsibleError("Incorrect sudo password"), "Incorrect sudo password; correct what --ask-become-pass"),
        (
            {"failed": True, "msg": NO_JSON, "module_stdout": "\r\nguest is not in the sudoers file.\r\n", "module_stderr": "closed.\r\n"},
            "guest is not in the sudoers file; set ansible_user to a user who may become root",
        ),
        (
            {"failed": True, "msg": "MODULE FAILURE", "module_stdout": "", "module_stderr": "sudo: a password is required\n"},
            "sudo: a password is required; add --ask-become-pass",
        ),
    ],
)
def test_who_may_not_become_root_is_told_what_to_set(answer: t.Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = sent(answer, monkeypatch)
    assert (result["failed"], [one["code"] for one in result["reasons"]]) == (True, ["bad_input"])
    assert result["msg"].startswith(says)


@pytest.mark.parametrize(
    "answer",
    [
        {"failed": False, "msg": "sudo: a password is required"},
        {"failed": True, "msg": "the step: guest is not in the sudoers file"},
        {"failed": True, "msg": NO_JSON, "module_stdout": "Killed", "module_stderr": ""},
        {"changed": False, "health": "well"},
    ],
)
def test_every_other_answer_is_left_as_it_is(answer: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent(dict(answer), monkeypatch) == answer


@pytest.mark.parametrize("error", [AnsibleConnectionFailure("Missing sudo password"), AnsibleError("no such option")])
def test_every_other_error_is_raised(error: AnsibleError, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)):
        sent(error, monkeypatch)
