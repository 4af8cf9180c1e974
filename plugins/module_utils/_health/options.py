# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all looking steps share: their options, and where a look should run from.

``timeout`` is the patience of the whole wait; ``probe_timeout`` is the total deadline of one look.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Patience

STAGES = ("open", "assess", "guard", "act", "verify", "undo", "close")

LOOK_SPEC: dict[str, t.Any] = {
    "look_from": {"type": "str", "choices": ["auto", "controller", "target"], "default": "auto"},
    "stands_on": {"type": "str", "choices": ["controller", "target"], "default": "target"},
    "passes": {"type": "int", "default": 1, "no_log": False},
    "window": {"type": "float", "default": 0.0},
    "timeout": {"type": "float", "default": 0.0},
    "wait_timeout": {"type": "float", "default": 0.0},
    "interval": {"type": "float", "default": 0.2},
    "probe_timeout": {"type": "float", "default": 3.0},
    "stage": {"type": "str", "choices": list(STAGES), "default": "assess"},
}


def patience_of(params: t.Mapping[str, t.Any]) -> Patience:
    """Return the patience (seconds) that the look options ask for."""
    return Patience(
        passes=max(1, int(params["passes"])),
        window=max(0.0, float(params["window"])),
        timeout=max(0.0, float(params["timeout"])),
        interval=max(0.02, float(params["interval"])),
        wait_timeout=max(0.0, float(params["wait_timeout"])),
    )


def is_loopback(host: object) -> bool:
    """Return whether *host* (a name, an address, or nothing at all) can only mean the asking machine itself. Resolves nothing."""
    name = str(host or "").strip().strip("[]").rstrip(".").lower()
    if name in ("", "localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback") or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
