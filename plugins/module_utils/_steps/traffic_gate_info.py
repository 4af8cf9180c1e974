# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``traffic_gate_info``: watches a share of the traffic until a sample decides whether it may stay.

One call is one slice of the wait; ``carry`` passes the counts so far to the next one. Changes nothing; probes are ordinary requests.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import gates as traffic_gates
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import others
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import counts, pools
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.gates import Verdict

ARGUMENT_SPEC: dict[str, t.Any] = {
    **LOOK_SPEC,
    "target": {"type": "dict", "required": True, "options": pools.BALANCER_SPEC},
    "main": {"type": "list", "elements": "str", "required": True},
    "spare": {"type": "list", "elements": "str", "default": []},
    "overflow": {"type": "list", "elements": "str", "default": []},
    "share": {"type": "float", "required": True},
    # What the step set; any other weight or state means that the balancer lost it.
    "servers": {"type": "dict", "default": {}},
    # How the run left the pool; anything else is somebody else's doing.
    "stands": {"type": "dict", "default": {}},
    "minimum": {"type": "int", "default": 50},
    "sample_window": {"type": "float", "default": 30.0},
    "settle": {"type": "float", "default": 0.0},
    "gates": {"type": "dict", "default": {}},
    "baseline": {"type": "dict", "default": {}},
    "metrics": {"type": "dict", "default": {}, "options": counts.METRICS_SPEC},
    "probes": {"type": "dict", "default": {}, "options": counts.PROBES_SPEC},
    "control_dir": {"type": "path", "default": ""},
    "carry": {"type": "dict", "default": {}},
}
PAUSE, ABORT = "traffic.pause", "traffic.abort"


def run(params: Params, check: bool) -> Result:
    """Return {changed: false, verdict, sample, rates, looks, seconds, proven, carry, stage, say}.

    verdict: well, sick, unknown (so far), reverted (a reload lost the weights), changed (somebody else did), aborted. proven ends the wait.
    """
    wait = _Wait(params)
    while True:
        verdict = wait.look()
        if verdict.health != "unknown" or time.monotonic() >= wait.end:
            return wait.result(verdict)
        time.sleep(max(0.05, params["interval"]))


class _Wait:
    """One slice of the wait at one share."""

    def __init__(self, params: Params) -> None:
        self.params, self.looks = params, 0
        if not params["carry"]:
            # Requests still under way from the share before are not part of this sample.
            time.sleep(params["settle"])
        self.end = time.monotonic() + params["timeout"]
        self.asked = {**params["target"], **params["metrics"], **params["probes"], "main": params["main"]}
        self.begin = params["carry"].get("begin") or counts.load_counts(self.asked, params["probe_timeout"])
        self.sent: list[dict[str, t.Any]] = list(params["carry"].get("probes") or [])
        self.sample: dict[str, t.Any] = {}
        self.limits = traffic_gates.limits_of(params["gates"], params["baseline"]) if params["gates"] else {}

    def look(self) -> Verdict:
        """Take one more snapshot and judge all of it; nothing passes before the window is over."""
        params = self.params
        if self.held(ABORT):
            return Verdict("aborted", "stopped by %s" % self.path(ABORT))
        now = counts.load_counts({**self.asked, "since": self.begin["pool"]["marks"]}, params["probe_timeout"])
        self.looks += 1
        if not now["pool"]["reachable"]:
            return Verdict("unknown", now["why"])
        reloaded = now["pool"]["identity"] != self.begin["pool"]["identity"]
        if not self.begin["pool"]["reachable"] or reloaded or (now["scraped"] and not self.begin["scraped"]):
            # A source that did not answer at first, or was reset, has no start value: count from now on.
            self.begin = now
        self.sample = traffic_gates.sample_of(self.begin, now, params, self.sent)
        verdict = self.changed_under_us(now["pool"]) or self.judged(now)
        self.send_probes(now)
        return verdict

    def changed_under_us(self, pool: t.Mapping[str, t.Any]) -> t.Optional[Verdict]:
        """Return a verdict if the pool is no longer as this step set it."""
        stands = self.params["stands"]
        taken = others.changed(pool, stands)
        if taken:
            return Verdict("changed", others.sentence(taken))
        lost = others.lost(pool, stands, self.params["servers"]) if others.reloaded(pool, stands) else []
        if lost:
            return Verdict("reverted", "a reload of the balancer lost what was set: %s" % ", ".join(lost))
        there = [one for one in pool["servers"] if one["name"] in self.params["main"]]
        up = [one for one in there if one["up"] is not False and one["admin"] != traffic_pool.MAINT]
        return None if up else Verdict("sick", "no server is up any more")

    def share(self, pool: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return the share meant, the least that the servers which are up explain, and why another one may be reached."""
        whys = ["balance %s" % pool["algorithm"]] if pool["algorithm"] not in ("", "roundrobin", "unknown") else []
        whys += [pool["sticky"]] if pool["sticky"] else []
        least = min(traffic_pool.share_of(one, self.params["main"]) for one in (self.begin["pool"], pool))
        why = ": %s keeps it from following the weights" % " and ".join(whys) if whys else ""
        return {"meant": self.params["share"], "least": least, "why": why}

    def judged(self, now: t.Mapping[str, t.Any]) -> Verdict:
        verdict = traffic_gates.judge_sample(self.sample, self.limits, self.params["minimum"], self.share(now["pool"]))
        if verdict.health == "well" and self.sample["seconds"] < self.params["sample_window"]:
            return Verdict("unknown", "well so far")
        if verdict.health == "well" and self.held(PAUSE):
            # Each window is judged by itself, so that a long good time does not hide a bad one now.
            self.begin, self.sent = dict(now), []
            return Verdict("unknown", "paused by %s" % self.path(PAUSE))
        if verdict.health == "unknown" and now["why"]:
            return Verdict("unknown", "%s (%s)" % (verdict.text, now["why"]))
        paused = verdict.health == "unknown" and self.held(PAUSE)
        return Verdict("unknown", "paused by %s; %s" % (self.path(PAUSE), verdict.text)) if paused else verdict

    def held(self, name: str) -> bool:
        return bool(self.params["control_dir"]) and os.path.exists(self.path(name))

    def path(self, name: str) -> str:
        return os.path.join(self.params["control_dir"], name)

    def send_probes(self, now: t.Mapping[str, t.Any]) -> None:
        """Send the requests missing from the minimum, no faster than allowed; real traffic counts first."""
        params, sample = self.params, self.sample
        if not self.asked.get("probe_path") or traffic_gates.sent_of(sample) >= params["minimum"]:
            return
        allowed = int(self.asked["probes_per_second"] * max(sample["seconds"], 0.1)) + 1 - len(self.sent)
        missing = params["minimum"] - traffic_gates.sent_of(sample) - sum(not one.get("void") for one in self.sent)
        self.sent += counts.probe(self.asked, now["pool"], min(allowed, missing), params["probe_timeout"])

    def result(self, verdict: Verdict) -> Result:
        proven = verdict.health != "unknown"
        sample = self.sample or dict(traffic_gates.NOTHING)
        line = traffic_gates.line_of(self.params["share"], sample, verdict, self.limits)
        return {
            "changed": False, "verdict": verdict.health, "why": verdict.text, "sample": sample,
            "rates": traffic_gates.rates_of(sample, self.limits), "looks": self.looks,
            "seconds": sample["seconds"], "proven": proven, "health": verdict.health, "state": line,
            "carry": {} if proven else {"begin": self.begin, "probes": self.sent}, "stage": self.params["stage"], "say": [line],
        }  # fmt: skip
