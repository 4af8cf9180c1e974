#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch a share of the traffic until a sample decides whether it may stay."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_gate_info
short_description: Watch a share of the traffic until a sample decides whether it may stay
version_added: "0.1.0"
description:
  - Counts the requests and answers of the main servers of a pool, by the balancer's counters, the servers' metrics, Prometheus,
    and synthetic requests if there is too little traffic.
  - Fewer requests than O(minimum), or a limit without a figure, is unknown, never good.
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
    description: Changes nothing; configured synthetic requests are sent in check mode, too.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
options:
  main:
    description: Names of the servers to watch.
    type: list
    elements: str
    required: true
  spare:
    description: Names of the servers of a backup pool; their requests are counted apart.
    type: list
    elements: str
    default: []
  overflow:
    description: Names of servers that answer 503; their requests are counted apart.
    type: list
    elements: str
    default: []
  share:
    description: The share in percent, for display.
    type: float
    required: true
  servers:
    description: Weights that were set (see M(somabrain.incident_response.traffic_shift)); a reload of the balancer loses them.
    type: dict
    default: {}
  stands:
    description: How the change left the pool (C(stands) of the change); anything else is somebody else's doing.
    type: dict
    default: {}
  minimum:
    description: Minimum number of requests, synthetic ones included, for a verdict.
    type: int
    default: 50
  sample_window:
    description: Minimum seconds before a share passes. A limit that is exceeded is reported at once.
    type: float
    default: 30.0
  settle:
    description: Seconds before the count starts, for servers that recover from a larger share.
    type: float
    default: 0.0
  gates:
    description: >-
      Limits C(error_rate) (share of the requests), C(p95) and C(recall_p95) (seconds); with O(baseline), at most C(factor) times it plus
      C(room) (a dict of the same names).
    type: dict
    default: {}
  baseline:
    description: Usual figures, C(error_rate), C(p95) and C(recall_p95).
    type: dict
    default: {}
  metrics:
    description: Sources of figures besides the balancer.
    type: dict
    default: {}
    suboptions:
      metrics_scheme:
        description: Scheme of the requests to the servers.
        type: str
        choices: [http, https]
        default: http
      metrics_path:
        description: Path of each server's metrics in the text format of Prometheus; empty for none.
        type: str
        default: ""
      requests_metric:
        description:
          - Counter of requests. Without a label such as C(status), C(code) or C(status_code) its errors are unknown.
          - Without a label such as C(path), C(handler), C(route) or C(uri) its requests may be health checks, and are unknown.
        type: str
        default: somabrain_http_requests_total
      latency_metric:
        description: Histogram of the seconds of a request.
        type: str
        default: somabrain_http_latency_seconds
      recall_metric:
        description: Histogram of the seconds of a recall.
        type: str
        default: somabrain_recall_ltm_latency_seconds
      ignored_paths:
        description: Paths of requests that do not count as traffic; empty where the metrics have no path and count no health checks.
        type: list
        elements: str
        default: [/health, /healthz, /readyz, /metrics]
      prometheus_url:
        description: URL of Prometheus; empty for none.
        type: str
        default: ""
      queries:
        description: C(p95), C(recall_p95), C(error_rate), C(requests), each a query for one number; used if no other source has the figure.
        type: dict
        default: {}
  probes:
    description: Synthetic requests, sent to the main servers in turn, past the balancer, while the traffic is below O(minimum).
    type: dict
    default: {}
    suboptions:
      probe_path:
        description: Path to request; empty for no probes.
        type: str
        default: ""
      probe_body:
        description: Body of a POST request; without a body the request is a GET.
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
        description: Maximum number of probes per second.
        type: float
        default: 10.0
  control_dir:
    description: Directory on the target in which a person creates the files C(traffic.pause) and C(traffic.abort).
    type: path
    default: ""
  carry:
    description: Counts of an earlier slice of the same wait; set by the action plugin.
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
  description: V(well), V(sick), V(unknown), V(reverted) (a reload lost the weights), V(changed) (by somebody else) or V(aborted).
  returned: success
  type: str
  sample: well
why:
  description: The reason in a sentence.
  returned: success
  type: str
sample:
  description:
    - The counts (sent, requests, errors, aborted, more, rejected, good, spare, overflow, probes, failed_probes, p95, recall_p95, seconds).
    - C(more) is how many more requests were open or queued at the end than at the beginning; C(reached) is the share in percent.
  returned: success
  type: dict
rates:
  description: C(error_rate), C(unanswered), C(rejected), C(p95), C(recall_p95) as measured, null without a figure.
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
  description: Number of looks.
  returned: success
  type: int
seconds:
  description: Duration in seconds.
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
