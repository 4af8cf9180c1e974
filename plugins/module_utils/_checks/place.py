# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a check belongs, and which manager it means by default: what only the target can see is looked at there. For the controller."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kinds import KINDS
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.traits import is_host_only
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.traits import trait as trait_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import is_loopback
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Failed, parse_url
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait


def belongs_on_target(check: t.Mapping[str, t.Any]) -> bool:
    """Return whether only the target can make *check*: it looks at the machine itself, a socket, or a loopback address."""
    if trait(check.get("manager"), "ANYWHERE"):
        return False
    if is_host_only(check) or check.get("socket") or str(check.get("host") or "").startswith("/"):
        return True
    return _is_own(str(check["url"])) if check.get("url") else is_loopback(check.get("host"))


def _is_own(url: str) -> bool:
    try:
        return is_loopback(parse_url(url).hostname or "unreadable")
    except Failed:
        return False


def with_manager(checks: t.Sequence[t.Any], named: t.Mapping[str, t.Any]) -> list[t.Any]:
    """Return *checks*, in which a check of a manager's service has the options of *named* that it does not name itself.

    *named*: how the services of the host are named to their manager (the variables service_manager_*). Checks that hold others included.
    """
    return [_with_manager(check, named) for check in checks]


def _with_manager(check: t.Any, named: t.Mapping[str, t.Any]) -> t.Any:
    if not isinstance(check, t.Mapping):
        return check
    kind = KINDS.get(str(check.get("kind")))
    own = named if kind and check.get("manager") else {}
    missing = {key: value for key, value in own.items() if kind and key in kind.OPTIONS and check.get(key) in (None, "")}
    held = {key: with_manager(check[key], named) for key in trait_of(check, "BELOW") or () if isinstance(check.get(key), (list, tuple))}
    return {**check, **missing, **held}
