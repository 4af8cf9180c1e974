# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``tcp``: a port accepts a connection and sends the expected banner in time.

C(tcp): C(host), C(port), C(send), C(expect) (regular expression for the banner), C(max_latency_ms).
"""

from __future__ import annotations

import re
import socket
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.reach import judge_latency, judge_unreached
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Failed, connect

OPTIONS: dict[str, t.Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "send": {"type": "str", "default": ""},
    "expect": {"type": "str", "default": ""},
    "max_latency_ms": {"type": "float", "default": 0},
}
MAX_BANNER = 4096


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Connect within *deadline* seconds; read a banner of at most 4096 bytes only where one is expected."""
    begun = time.monotonic()
    raw: dict[str, t.Any] = {"error": "", "detail": "", "banner": ""}
    try:
        with connect(options["host"], options["port"], deadline) as sock:
            raw["seconds"] = time.monotonic() - begun
            if options["expect"]:
                sock.settimeout(max(0.01, begun + deadline - time.monotonic()))
                sock.sendall(options["send"].encode())
                raw["banner"] = _banner(sock, options["expect"], begun + deadline)
    except Failed as failed:
        raw.update(error=failed.error, detail=failed.detail)
    except OSError as error:
        raw.update(error="closed", detail=one_line(error, 80))
    return raw


def _banner(sock: socket.socket, expect: str, end: float) -> str:
    data = b""
    while len(data) < MAX_BANNER and not re.search(expect, data.decode("latin-1")):
        left = end - time.monotonic()
        if left <= 0:
            break
        sock.settimeout(left)
        try:
            more = sock.recv(MAX_BANNER - len(data))
        except socket.timeout:
            break
        if not more:
            break
        data += more
    return data.decode("latin-1")


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """``open`` is well; ``unexpected`` and ``silent`` (a wrong banner, no banner) are sick."""
    what = one_line(f"{options['host']}:{options['port']}", 80)
    if raw["error"]:
        return judge_unreached(raw["error"], raw["detail"], options, what)
    opened = Finding("connection", State.WELL, f"{what} accepts connections")
    if not options["expect"] or re.search(options["expect"], raw["banner"]):
        return Health((opened, *judge_latency(raw["seconds"], options)), state="open")
    shown = one_line(raw["banner"], 60)
    text = f"{what} answers '{shown}', not the expected banner" if shown else f"{what} accepts connections but sends nothing"
    return Health((Finding("banner", State.SICK, text),), state="unexpected" if shown else "silent")
