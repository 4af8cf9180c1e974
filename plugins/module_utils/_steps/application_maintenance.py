# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``application_maintenance``: switches an application's maintenance mode, if it has an endpoint for that. Believes no 404."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http

ARGUMENT_SPEC: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "enabled": {"type": "bool", "required": True},
    "token_file": {"type": "path", "default": ""},
    "timeout": {"type": "float", "default": 5.0},
    "ca_file": {"type": "path", "default": ""},
    "validate_certs": {"type": "bool", "default": True},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}
# SomaBrain as it is shipped has no such endpoint.
NONE_SUCH = (404, 405, 501)
PAGES = ("text/html", "application/xhtml+xml")


def run(params: Params, check: bool) -> Result:
    """Return {changed, answered, status, stage, say}. It never fails: the load balancer is what keeps clients out."""
    word = "on" if params["enabled"] else "off"
    if check:
        return {
            "changed": False,
            "answered": False,
            "status": 0,
            "stage": params["stage"],
            "say": ["would tell the application: %s" % word],
        }
    token, problem = http.read_secret(params["token_file"]) if params["token_file"] else ("", "")
    answer = http.Answer(error="token", detail=problem) if problem else _ask(params, token)
    answered = not answer.error and 200 <= answer.status < 300 and not _is_page(answer)
    return {
        "changed": answered, "answered": answered, "status": answer.status, "stage": params["stage"],
        "say": ["the application's own maintenance is %s" % word if answered else _doubt(answer)],
    }  # fmt: skip


def _ask(params: Params, token: str) -> http.Answer:
    headers = {"Content-Type": "application/json", **({"Authorization": "Bearer %s" % token} if token else {})}
    body = json.dumps({"enabled": params["enabled"]}).encode()
    trust = {"ca_file": params["ca_file"], "validate_certs": params["validate_certs"]}
    return http.ask(params["url"], params["timeout"], method="POST", headers=headers, body=body, **trust)


def _is_page(answer: http.Answer) -> bool:
    """Return whether it is an HTML page: a server that answers every request with one has no such endpoint."""
    return answer.content_type.partition(";")[0].strip().lower() in PAGES or answer.body.lstrip()[:1] == b"<"


def _doubt(answer: http.Answer) -> str:
    if not answer.error and _is_page(answer) and 200 <= answer.status < 300:
        return "the application was not informed (got %d and an HTML page): only the load balancer keeps clients out" % answer.status
    if answer.status in NONE_SUCH:
        return "the application has no maintenance of its own (%d): the load balancer alone keeps clients out" % answer.status
    why = one_line(answer.detail or answer.error, 100) if answer.error else "status %d" % answer.status
    return "the application was not informed (%s): only the load balancer keeps clients out" % why
