#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run any number of health checks at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_info
short_description: Run any number of health checks at once and give one honest verdict
version_added: "0.1.0"
description:
  - Runs checks of several kinds side by side, each with its own total deadline, and says V(well), V(sick) or V(unknown).
  - No data is never well. What could not be seen is V(unknown), which never starts an act and never passes a verification.
  - Checks of the machine itself, of sockets and of loopback addresses run on the target, all others on the controller,
    in one call; an unreachable target fails the task as usual.
  - It changes nothing, with one exception that has to be asked for, the kind V(round_trip), which writes a canary and takes it away again;
    in check mode such checks are left out.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
attributes:
  check_mode:
    support: full
    description: It looks as always, and leaves out checks that would write a canary.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
options:
  checks:
    description:
      - The checks, in the order in which their results are returned. An unknown kind or option is refused by name.
      - Every check takes C(kind) (required), C(name) (unique; made from what it looks at where absent), C(timeout) (its total deadline
        in seconds, default O(probe_timeout)), C(look_from) (as O(look_from), for this check alone) and C(needs) (names of checks that have
        to be well in the same look, from the same place, before this one is made; else it is unknown).
      - >-
        C(http): C(url), C(method) (GET, HEAD, POST, OPTIONS), C(body) (a dictionary, sent as JSON), C(token_file) or C(token), C(tenant),
        C(profile) (none, v1_health, v1_healthz, v2_health, v2_healthz, v2_readyz, documented, auto), C(expect_status) (list),
        C(gates) (list of dictionaries with C(path) and C(equals), C(one_of), C(min) or C(max); C(required) and C(when)), C(ignore_gates)
        (list of paths), C(max_latency_ms), C(max_bytes), C(ca_file), C(validate_certs). Redirects are reported, never followed.
      - >-
        C(tcp): C(host), C(port), C(send), C(expect) (regular expression for the banner), C(max_latency_ms).
      - >-
        C(redis): see M(somabrain.incident_response.redis_health_info). C(service): see M(somabrain.incident_response.service_info),
        with the service's name in C(service).
      - >-
        C(postgresql): C(host) (or a socket directory), C(port), C(user), C(database), C(password_file) or C(password), C(tls), C(login),
        C(query) with C(expect) as the known answer, C(psql), C(max_latency_ms). Without C(login) and C(query) no credential is used.
      - >-
        C(postgresql_restore): may a database be restored to a time, with the options of M(somabrain.incident_response.postgresql_restore);
        C(last), C(again) and C(done) are for the role database_restore. C(data_reconciliation): see
        M(somabrain.incident_response.data_reconciliation_info).
        With C(deep) it looks as M(somabrain.incident_response.postgresql_health_info) does, with all options of that module, and has
        C(answer_timeout) seconds of its C(timeout) for the knock.
      - >-
        C(disk): C(paths), C(max_used_share), C(max_inodes_used_share), C(min_free_bytes), C(writable).
        C(memory): C(min_available_share), C(max_swap_used_share).
        C(cpu): C(max_load_per_core), C(max_pressure_share), C(top) (how many processes to name), C(sample) (seconds).
        C(clock): C(max_skew) (seconds), C(require_synchronised), C(reference) (set by the action plugin).
      - >-
        C(configuration): a folder of a git working copy against what was committed. Takes C(repository), C(path) (the folder inside it),
        C(wanted) (all digits of the commit that it has to equal; without it what differs is told and stays well), C(clean) (uncommitted
        changes are sick without it, too) and C(user) (its owner, whom git runs as). Nothing that the repository names is run.
      - >-
        C(migrations): which schema a PostgreSQL database has, by the tables of Alembic and Django, read-only. Takes C(host) (empty for the
        socket), C(port), C(user), C(database), C(password_file), C(tls), C(os_user) and C(psql); C(tool) (auto, alembic, django),
        C(schema) that their tables are in, and C(wanted) (C(facts.heads) of another look; another schema is sick).
      - >-
        C(release): which release of a service runs. C(service) and the options that name its manager; C(releases_dir) and C(current)
        (systemd, supervisor), C(pin_file) (compose), C(container) (kubernetes), as M(somabrain.incident_response.release_pin) has them;
        C(ids) (whether they are there), C(words) (what these names mean now) and C(wanted) (another release is sick).
      - >-
        C(replicas): whether a service has as many pods or containers as are wanted, and whether it may get them. Takes C(service) and the
        options that name its manager, C(wanted_replicas), C(minimum) and C(maximum); C(facts.plan) has the number and the one before.
      - >-
        C(slots): as C(replicas), for a service of a Compose project whose containers each have a slot in a pool. Takes C(slots) (names of
        servers, or patterns), C(network), C(port), C(spare), C(overflow) and the options in C(target) of
        M(somabrain.incident_response.traffic_shift); C(facts.plan.slots) has what is to be set on servers.
      - >-
        C(round_trip): see M(somabrain.incident_response.memory_round_trip).
      - >-
        C(application): a stateless service that answers HTTP, from all sides. Takes C(service) and the options that name its manager (see
        M(somabrain.incident_response.service_info)), C(url) of its health endpoint, empty for none, with C(profile), C(token_file),
        C(tenant), C(gates), C(ignore_gates), C(max_latency_ms), C(ca_file) and C(validate_certs) as C(http) does;
        C(round_trip) (options of a C(round_trip) without C(url), made only where the endpoint answers);
        C(dependencies) (checks of what it stands on, seen from where it runs) and C(long_term_memory) (one check);
        C(stateful) (further names that are refused), C(behind_proxy) (its port belongs to another program),
        C(answer_timeout), C(start_seconds) (how long it may take to become healthy), C(loop_restarts) and C(budget_seconds),
        C(memory_seconds), C(memory_samples), C(memory_limit) (bytes), C(memory_horizon) (seconds) and C(min_growth_bytes);
        C(log_lines) and C(bad_config) (regular expressions); C(known) (C(restarts), C(oom_kills), C(samples), C(at) when it was last
        well) and C(old_identity) (the process that has to be gone).
    type: list
    elements: dict
    required: true
  subject:
    description: Name of the check whose state, identity, actions and facts the result shows at its top; default is the first.
    type: str
    default: ""
  pack:
    description:
      - Whether to return the checks as one JSON text in RV(packed) and RV(checks) empty, for a task that only hands them to
        M(somabrain.incident_response.health_report). Ansible takes more time over the values of a thousand checks than the looks take.
    type: bool
    default: false
  secrets:
    description: Secrets of the checks. Filled by the action plugin, which moves them out of O(checks) so that nothing logs them.
    type: list
    elements: str
    default: []
seealso:
  - module: somabrain.incident_response.memory_round_trip
"""

EXAMPLES = r"""
- name: Look at an API and what it stands on
  somabrain.incident_response.health_info:
    checks:
      - {name: api, kind: http, url: "http://127.0.0.1:9696/health", profile: v1_health, max_latency_ms: 500}
      - {name: database, kind: postgresql, host: 127.0.0.1, port: 15432}
      - {name: machine disks, kind: disk, paths: [/, /var/lib/redis]}

- name: Wait up to a minute for three passes over five seconds
  somabrain.incident_response.health_info:
    checks:
      - {name: api, kind: http, url: "http://127.0.0.1:9696/health", profile: auto}
    passes: 3
    window: 5
    timeout: 60
    stage: verify
  register: looked
  failed_when: not looked.proven
"""

RETURN = r"""
packed:
  description: The checks as JSON, where they were packed.
  type: str
  returned: with O(pack)
health:
  description: The worst health of all checks.
  type: str
  returned: always
  sample: well
state:
  description: The finer word of the subject, for example V(up), V(degraded), V(accepting), V(rejecting); empty where its kind has none.
  type: str
  returned: always
identity:
  description: What tells the subject's process from its successor.
  type: dict
  returned: always
actions:
  description: The acts that the subject's state allows, in order of preference.
  type: list
  elements: str
  returned: always
facts:
  description: What else was seen of the subject.
  type: dict
  returned: always
subject:
  description: Name of the check that the keys above belong to.
  type: str
  returned: always
proven:
  description: Whether enough consecutive looks over the window were well.
  type: bool
  returned: always
on_its_way:
  description: Whether nothing is sick, and what is unknown only has to be waited for.
  type: bool
  returned: always
passes:
  description: How many looks in a row were well at the end.
  type: int
  returned: always
looks:
  description: How many looks were taken.
  type: int
  returned: always
seconds:
  description: How long all of it took.
  type: float
  returned: always
checks:
  description: The last result of each check, in order.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: Name of the check., type: str, returned: always}
    kind: {description: Its kind., type: str, returned: always}
    health: {description: Its health., type: str, returned: always}
    state: {description: The finer word of what it looked at., type: str, returned: always}
    findings: {description: 'What was observed, each with name, state, text and data.', type: list, elements: dict, returned: always}
    identity: {description: What tells the process from its successor., type: dict, returned: always}
    actions: {description: Acts that the state allows., type: list, elements: str, returned: always}
    facts: {description: What else was seen., type: dict, returned: always}
    seconds: {description: How long the last look of this check took., type: float, returned: always}
    seen_from: {description: 'Where it was seen from, controller or target.', type: str, returned: through the action plugin}
stage:
  description: The stage that was asked for.
  type: str
  returned: always
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.health_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
