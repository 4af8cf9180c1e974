# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Engine requests over its unix socket: one total deadline each, a bounded answer, standard library only."""

from __future__ import annotations

import json
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http

SOCKET = "unix:///var/run/docker.sock"
ANSWER_BYTES = 4 * 1024 * 1024
DONE = (200, 201, 204, 304)


class Unreachable(Exception):
    """No Docker Engine answers, it denies access, or something else answers."""


class Docker:
    """One engine. Every call has its own deadline in seconds; a call that only reads raises Unreachable, an act StepError."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url or SOCKET)
        if parts.scheme != "unix" or parts.netloc or not parts.path.startswith("/"):
            raise StepError("docker_socket must be unix:///path, not %s" % one_line(url, 80))
        self.path = parts.path

    def ask(self, method: str, path: str, deadline: float, body: t.Any = None, limit: int = ANSWER_BYTES) -> http.Answer:
        """Send one request and return the answer, whatever its status; raises Unreachable if none came."""
        sent = None if body is None else json.dumps(body).encode()
        answer = http.ask_at(self.path, "http://docker" + path, deadline, method=method, body=sent, max_bytes=limit)
        if answer.error:
            raise Unreachable("%s: %s" % (self.path, answer.detail or answer.error))
        return answer

    def read(self, path: str, deadline: float) -> t.Any:
        """Return the JSON at *path*, None for 404."""
        answer = self.ask("GET", path, deadline)
        if answer.status == 404:
            return None
        try:
            if answer.status == 200 and not answer.truncated:
                return json.loads(answer.body)
        except ValueError:
            pass
        raise Unreachable("%s: got no Docker Engine answer (status %d: %s)" % (self.path, answer.status, reason_of(answer)))

    def containers(self, labels: t.Iterable[str], deadline: float) -> list[dict[str, t.Any]]:
        """Return all containers, running or not, that have all of *labels* (``name`` or ``name=value``)."""
        filters = urllib.parse.quote(json.dumps({"label": sorted(labels)}), safe="")
        listed = self.read("/containers/json?all=true&filters=" + filters, deadline)
        if not isinstance(listed, list) or not all(isinstance(one, dict) and isinstance(one.get("Labels"), dict) for one in listed):
            raise Unreachable("%s: got no list of containers" % self.path)
        return listed

    def act(self, path: str, deadline: float, body: t.Any = None) -> None:
        """Send an act; raises StepError with the engine's reason if it refuses."""
        try:
            answer = self.ask("POST", path, max(deadline, 0.05), body)
        except Unreachable as error:
            why = one_line(error, 120)
            raise StepError("Docker did not confirm the act (%s); look at the service first" % why) from None
        if answer.status not in DONE:
            raise StepError("Docker refused: %s" % reason_of(answer), status=answer.status)


def reason_of(answer: http.Answer) -> str:
    """Return the engine's own reason, fit for a terminal."""
    try:
        return one_line(json.loads(answer.body)["message"], 140)
    except (ValueError, KeyError, TypeError):
        return one_line(answer.body[:200], 80) or "no reason given"


def demultiplexed(data: bytes) -> bytes:
    """Return the text of a log in frames with a header of 8 bytes (stream, three zeros, length); a cut frame counts."""
    pieces, at = [], 0
    while at + 8 <= len(data) and data[at] in (0, 1, 2) and data[at + 1 : at + 4] == b"\0\0\0":
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        pieces.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(pieces)
