# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a cluster through the Python library ``kubernetes``, which only the controller needs: plain JSON, one total deadline.

The context is always named: the current context of a kubeconfig is whatever was used last.
"""

from __future__ import annotations

import json
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock

ANSWER_BYTES = 8 * 1024 * 1024
INSTALL = "the Python library kubernetes is missing; run `pip install kubernetes` in the environment of Ansible on the controller"


class Unreachable(Exception):
    """The cluster does not answer, or returned no usable answer."""


class Forbidden(Exception):
    """This user is not allowed to see that."""


class Cluster:
    """One cluster by one context of one kubeconfig. Raises StepError for an unusable context, Unreachable for a missing library."""

    def __init__(self, kubeconfig: t.Optional[str], context: str, deadline: float) -> None:
        try:
            # Only the controller has it, and the import takes half a second.
            from kubernetes import config
        except ImportError:
            raise Unreachable(INSTALL) from None
        self.clock = Clock(deadline)
        try:
            made: t.Any = config.new_client_from_config
            self.client: t.Any = made(kubeconfig or None, context=context)
        except (config.ConfigException, OSError) as error:
            raise StepError("context %s cannot be used: %s; set context and kubeconfig" % (context, one_line(error, 120))) from None

    def read(self, path: str, **query: t.Any) -> t.Any:
        """Return the JSON at *path*, None for 404; raises Forbidden, or Unreachable."""
        status, body = self.ask(path, **query)
        if status == 404:
            return None
        if status == 403:
            raise Forbidden(path)
        try:
            if status == 200:
                return json.loads(body)
        except ValueError:
            pass
        raise Unreachable("the API server answers %d: %s" % (status, one_line(body[:200], 100)))

    def items(self, path: str, **query: t.Any) -> list[dict[str, t.Any]]:
        """Return the items of the list at *path*, [] if the server has no such kind."""
        return list((self.read(path, **query) or {}).get("items") or [])

    def ask(self, path: str, **query: t.Any) -> tuple[int, bytes]:
        """Send one GET and return its status and body, bounded; raises Unreachable if nothing comes in time."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        left = self.clock.left
        if left <= 0:
            raise Unreachable("the API server did not answer in time")
        settings = self.client.configuration
        # The library's generated methods change with every release; its connections, certificates and tokens do not.
        headers = {str(one["key"]): str(one["value"]) for one in settings.auth_settings().values() if one.get("in") == "header"}
        url = settings.host + path + ("?" + urllib.parse.urlencode(query) if query else "")
        try:
            answer = self.client.rest_client.pool_manager.request(
                "GET", url, headers={**headers, "Accept": "application/json"}, timeout=Timeout(total=left), retries=False,
                redirect=False, preload_content=False,
            )  # fmt: skip
            with answer:
                return int(answer.status), bytes(answer.read(ANSWER_BYTES))
        except (HTTPError, OSError, ValueError) as error:
            raise Unreachable("the API server does not answer: %s" % one_line(error, 120)) from None
