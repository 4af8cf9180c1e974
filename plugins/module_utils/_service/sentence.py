# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a service in one sentence for a person."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import not_one


def sentence(raw: t.Mapping[str, t.Any]) -> str:
    """Return the state in one sentence for a person."""
    name, manager = raw["name"], raw["manager"]
    if not raw.get("reachable"):
        return "%s: %s" % (name, raw["detail"])
    if not raw.get("exists"):
        return not_one(raw)
    if raw["state"] == "running" and raw.get("process_state") == "T":
        return "%s is suspended (pid %s); SIGCONT resumes it" % (name, raw["pid"])
    if raw.get("workload"):
        word = {"backoff": "in a restart loop"}.get(raw["state"], raw["state"])
        return "%s is %s under %s: %s" % (name, word, manager, raw["detail"])
    if raw["state"] == "paused":
        return "%s is paused under %s (pid %s); a start resumes it" % (name, manager, raw["pid"])
    if raw["state"] == "unhealthy":
        return "%s is running under %s (pid %s), but %s" % (name, manager, raw["pid"], raw["detail"])
    if raw["state"] in ("running", "starting", "stopping"):
        return "%s is %s under %s (pid %s)" % (name, raw["state"], manager, raw["pid"])
    return "%s is %s under %s%s" % (name, {"backoff": "in a restart loop"}.get(raw["state"], raw["state"]), manager, _how(raw))


def _how(raw: t.Mapping[str, t.Any]) -> str:
    known = (
        ("killed for lack of memory", raw.get("oom_killed")),
        ("ended by %s" % raw.get("signal"), raw.get("signal")),
        ("exit code %s" % raw.get("exit_code"), raw.get("exit_code") not in (None, 0)),
        ("start limit reached", raw.get("start_limit_hit")),
        (str(raw.get("detail")), raw["state"] == "unknown"),
    )
    words = [text for text, holds in known if holds]
    return " (%s)" % ", ".join(words) if words else ""
