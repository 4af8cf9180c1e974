#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch a share of the traffic until a sample says whether it may stay."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_gate_info
short_description: Watch a share of the traffic until a sample says whether it may stay
version_added: "0.1.0"
description:
  - Counts what main servers of a pool are given and how they answer, by the balancer's counters, the servers' metrics, Prometheus,
    and by synthetic requests where the traffic is too thin.
  - Fewer requests than O(minimum), or a limit for which nothing tells a figure, is unknown, never good.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.balancer
  - somabrain.incident_response.look.place
  - somabrain.incident_response.look
attributes:
  check_mode:
    support: full
    description: Changes nothing; synthetic requests are sent in check mode, too, where they are asked for.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
options:
  main:
    description: Names of the servers that are watched.
    type: list
    elements: str
    required: true
  spare:
    description: Names of the servers of a backup pool; what they are given is counted apart.
    type: list
    elements: str
    default: []
  overflow:
    description: Names of servers that answer 503; what they are given is counted apart.
    type: list
    elements: str
    default: []
  share:
    description: The share in percent, as it is shown.
    type: float
    required: true
  servers:
    description: Weights that were set (see M(somabrain.incident_response.traffic_shift)); others mean that the balancer lost them.
    type: dict
    default: {}
  minimum:
    description: Least requests, synthetic ones included, that say anything.
    type: int
    default: 50
  sample_window:
    description: Least seconds that are looked at before a share passes. What is over a limit is told at once.
    type: float
    default: 30.0
  settle:
    description: Seconds before anything is counted, for servers that get over a larger share.
    type: float
    default: 0.0
  gates:
    description: >-
      Limits C(error_rate) (share of the requests), C(p95) and C(recall_p95) (seconds); with O(baseline) at most C(factor) times it and
      C(room) (a dict of the same names).
    type: dict
    default: {}
  baseline:
    description: What is usual, C(error_rate), C(p95) and C(recall_p95).
    type: dict
    default: {}
  metrics:
    description: Where figures are read besides the balancer.
    type: dict
    default: {}
    suboptions:
      metrics_scheme:
        description: How servers are asked.
        type: str
        choices: [http, https]
        default: http
      metrics_path:
        description: Path of each server's metrics in the text format of Prometheus; empty for none.
        type: str
        default: ""
      requests_metric:
        description: Counter of requests, with the label C(status) or C(code).
        type: str
        default: somabrain_http_requests_total
      latency_metric:
        description: Histogram of seconds.
        type: str
        default: somabrain_http_latency_seconds
      recall_metric:
        description: Histogram of seconds of a recall.
        type: str
        default: somabrain_recall_ltm_latency_seconds
      ignored_paths:
        description: Values of the label C(path) that are no traffic, however much of it there is.
        type: list
        elements: str
        default: [/health, /healthz, /readyz, /metrics]
      prometheus_url:
        description: Prometheus; empty for none.
        type: str
        default: ""
      queries:
        description: C(p95), C(recall_p95), C(error_rate), C(requests), each a query for one number; used where nothing else tells.
        type: dict
        default: {}
  probes:
    description: Synthetic requests, sent to the main servers in turn, past the balancer, as far as the traffic is below O(minimum).
    type: dict
    default: {}
    suboptions:
      probe_path:
        description: Path that is asked; empty for no probes.
        type: str
        default: ""
      probe_body:
        description: Body of a POST; without one it is a GET.
        type: dict
        default: {}
      probe_token_file:
        description: File with a bearer token.
        type: path
        default: ""
      probe_tenant:
        description: Value of the header X-Tenant-ID.
        type: str
        default: ""
      probes_per_second:
        description: Most probes in a second.
        type: float
        default: 10.0
  control_dir:
    description: Directory on the target where the files C(traffic.pause) and C(traffic.abort) of a person are looked for.
    type: path
    default: ""
  carry:
    description: What an earlier slice of the same wait counted; set by the action plugin.
    type: dict
    default: {}
seealso:
  - module: somabrain.incident_response.traffic_shift
"""

EXAMPLES = r"""
- name: Watch a tenth of the traffic
  somabrain.incident_response.traffic_gate_info:
    target: {balancer: haproxy, pool: somabrain}
    main: [api1, api2]
    share: 10
    gates: {error_rate: 0.01}
    timeout: 300
"""

RETURN = r"""
verdict:
  description: V(well), V(sick), V(unknown), V(reverted) (the balancer lost the weights) or V(aborted).
  returned: success
  type: str
  sample: well
why:
  description: The reason in a sentence.
  returned: success
  type: str
sample:
  description: What was counted (requests, errors, spare, overflow, probes, failed_probes, p95, recall_p95, seconds).
  returned: success
  type: dict
rates:
  description: C(error_rate), C(p95), C(recall_p95) as they were measured, null for what nothing tells.
  returned: success
  type: dict
proven:
  description: Whether the wait ended with a verdict.
  returned: success
  type: bool
health:
  description: The verdict again, for the on-call view.
  returned: success
  type: str
state:
  description: The line of the step.
  returned: success
  type: str
looks:
  description: How often it was looked.
  returned: success
  type: int
seconds:
  description: Seconds that it took.
  returned: success
  type: float
stage:
  description: Stage of the run that this result belongs to.
  returned: always
  type: str
  sample: act
say:
  description: Sentences for the person on call.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.traffic_gate_info import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
