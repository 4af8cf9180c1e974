# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step: plain options in, plain result out, in whichever process it is wanted.

A step is a module of this package with ``ARGUMENT_SPEC`` and
``run(params, check) -> dict``. It uses only the standard library (Python 3.8+), so the
same source runs inside the controller, piped to a target, or shipped as a module.
"""

from __future__ import annotations

import json
import typing as t

Params = t.Dict[str, t.Any]
Result = t.Dict[str, t.Any]


class StepError(Exception):
    """A step cannot go on. The message is one line: what is wrong, which variable to set, what to run next.

    ``data`` joins the failed result, so that a caller can branch on it.
    """

    def __init__(self, message: str, **data: t.Any) -> None:
        super().__init__(message)
        self.data = data


def plain(value: t.Any) -> t.Any:
    """Return *value* as plain JSON types: no tagged strings, enums, tuples or paths.

    Ansible 2.19 hands plugins tagged strings that sqlite3 and others refuse.
    """
    return json.loads(json.dumps(value, default=str))


def guarded(run: t.Callable[[Params, bool], Result], params: Params, check: bool) -> Result:
    """Run a step and turn its StepError into a failed result with a one-line ``msg``."""
    try:
        return t.cast(Result, plain(run(params, check)))
    except StepError as error:
        return t.cast(Result, plain(dict(error.data, failed=True, changed=False, msg=str(error))))


def main(spec: t.Mapping[str, t.Any], run: t.Callable[[Params, bool], Result]) -> None:
    """Be the module of the same name: options, run, say."""
    # Imported here because a piped step has no Ansible beside it.
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(argument_spec=dict(spec), supports_check_mode=True)
    result = guarded(run, plain(module.params), module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
