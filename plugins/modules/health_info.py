#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run any number of health checks at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_info
short_description: Run any number of health checks at once and return one verdict
version_added: "0.1.0"
description:
  - Runs checks of several kinds in parallel, each with its own total deadline, and returns V(well), V(sick) or V(unknown).
  - Missing data is never well. What could not be seen is V(unknown), which never starts an act and never passes a verification.
  - Checks of the machine itself, of sockets and of loopback addresses run on the target, all others on the controller,
    in one call; an unreachable target fails the task as usual.
  - It changes nothing, with one opt-in exception, the kind V(round_trip), which writes a canary and deletes it again;
    in check mode such checks are skipped.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
attributes:
  check_mode:
    support: full
    description: Looks as usual, but skips checks that would write a canary.
  diff_mode:
    support: none
    description: Changes nothing, so there is no difference to show.
options:
  checks:
    description:
      - The checks, in the order in which their results are returned. An unknown kind or option fails the task, with its name.
      - Every check takes C(kind) (required), C(name) (unique; made from what it looks at by default), C(timeout) (its total deadline
        in seconds, default O(probe_timeout)), C(look_from) (as O(look_from), for this check alone) and C(needs) (names of checks that must
        be well in the same look, from the same place, before this one runs; else it is unknown).
      - With C(beside) (the playbook that repairs what depends on the subject, such as C(restart_service)), a check is reported and does not
        decide about the health of the look.
      - >-
        C(application): a stateless service that answers HTTP, with everything around it. Takes C(service) and its manager (see
        M(somabrain.incident_response.service_info)), C(url) of its health endpoint, empty for none, with C(profile), C(token_file),
        C(tenant), C(gates), C(ignore_gates), C(max_latency_ms), C(ca_file) and C(validate_certs) as C(http) does; C(round_trip) (options of
        a C(round_trip) without C(url), made only when the endpoint answers); C(dependencies) (checks of its dependencies, made from where
        it runs) and C(long_term_memory) (one check); C(stateful) (further names to refuse), C(behind_proxy) (its port belongs to another
        program), C(answer_timeout), C(start_seconds) (how long it may take to become healthy), C(loop_restarts) and C(budget_seconds),
        C(memory_seconds), C(memory_samples), C(memory_limit) (bytes), C(memory_horizon) (seconds) and C(min_growth_bytes); C(log_file),
        C(mended) (a person says so), C(log_lines) and C(bad_config) (regular expressions); C(known) (C(restarts), C(oom_kills), C(samples),
        C(at) when it was last well), C(old_identity) (the process that must be gone) and C(releases) (C(dir), C(link) and C(verified), the
        ids of the releases that passed verification).
      - >-
        C(balancer): one pool of a load balancer. Takes the options in C(target) of M(somabrain.incident_response.traffic_shift) and C(goal)
        (look; ready: whether it can be changed from here; maintenance_on, maintenance_off, set, restore). With C(usual) a look is sick,
        too, where the main servers take less than usual, although others answer. The further options of a goal are for the role
        traffic_scaling.
      - >-
        C(clock): C(max_skew) (seconds), C(require_synchronised), C(reference) (set by the action plugin).
      - >-
        C(configuration): a directory of a git working copy against what was committed. Takes C(repository), C(path) (the directory in it),
        C(wanted) (full hash of the commit that it must match; without it differences are reported but well), C(clean) (uncommitted changes
        are sick even without C(wanted)) and C(user) (its owner, as whom git runs); C(facts.returns) says why it cannot go back to one of
        C(commits), with what is taken out kept in C(rescue_dir). Nothing that the repository names is run.
      - >-
        C(cpu): C(max_load_per_core), C(max_pressure_share) (0, the default of both, only reports), C(top) (how many processes to name),
        C(sample) (seconds).
      - >-
        C(data_reconciliation): see M(somabrain.incident_response.data_reconciliation_info).
      - >-
        C(disk): C(paths), C(max_used_share), C(max_inodes_used_share), C(min_free_bytes), C(writable).
      - >-
        C(http): C(url), C(method) (GET, HEAD, POST, OPTIONS), C(body) (a dictionary, sent as JSON), C(token_file) or C(token), C(tenant),
        C(profile) (none, v1_health, v1_healthz, v2_health, v2_healthz, v2_readyz, documented, auto; v1 and v2 mean v1_health and v2_health;
        spring, aspnet, django and kubernetes for other products), C(expect_status) (list), C(gates) (list of dictionaries with C(path) and
        C(equals), C(one_of), C(min) or C(max); C(required) and C(when)), C(ignore_gates) (list of paths), C(max_latency_ms), C(max_bytes),
        C(ca_file), C(validate_certs). Redirects are reported, never followed.
      - >-
        C(memory): C(min_available_share), C(max_swap_used_share).
      - >-
        C(migrations): which schema a PostgreSQL database has, by the tables of Alembic and Django, read-only. Takes C(host) (empty for the
        socket), C(port), C(user), C(database), C(password_file), C(tls), C(os_user) and C(psql); C(tool) (auto, alembic, django), C(schema)
        of their tables, and C(wanted) (C(facts.heads) of an earlier look; any other schema is sick).
      - >-
        C(postgresql): C(host) (or a socket directory), C(port), C(user), C(database), C(password_file) or C(password), C(tls), C(login),
        C(query) with C(expect) as the known answer, C(psql), C(max_latency_ms). Without C(login) and C(query) no credential is used. With
        C(deep) it looks as M(somabrain.incident_response.postgresql_health_info) does, with all options of that module, and spends
        C(answer_timeout) seconds on the first answer.
      - >-
        C(postgresql_restore): whether a database may be restored to a time, with the options of
        M(somabrain.incident_response.postgresql_restore); C(last), C(again) and C(done) are for the role database_restore.
      - >-
        C(redis): see M(somabrain.incident_response.redis_health_info).
      - >-
        C(release): which release of a service is running. C(service) and the options that name its manager; C(releases_dir) and C(current)
        (systemd, supervisor), C(pin_file) (compose), C(container) (kubernetes), as M(somabrain.incident_response.release_pin) has them;
        C(ids) (whether they exist), C(words) (what these names resolve to now) and C(wanted) (any other release is sick).
      - >-
        C(replicas): whether a service has as many pods or containers as wanted, and whether it may get them. Takes C(service) and the
        options that name its manager, C(wanted_replicas), C(minimum) and C(maximum); C(facts.plan) has the number and the one before.
      - >-
        C(round_trip): see M(somabrain.incident_response.memory_round_trip).
      - >-
        C(service): see M(somabrain.incident_response.service_info), with the service's name in C(service).
      - >-
        C(slots): as C(replicas), for a service of a Compose project whose containers each have a slot in a pool. Takes C(slots) (names of
        servers, or patterns), C(network), C(port), C(spare), C(overflow) and the options in C(target) of
        M(somabrain.incident_response.traffic_shift); C(facts.plan.slots) has the server changes to make.
      - >-
        C(tcp): C(host), C(port), C(send), C(expect) (regular expression for the banner), C(max_latency_ms).
    type: list
    elements: dict
    required: true
  subject:
    description: Name of the check whose state, identity, actions and facts the result has at its top level; the first check by default.
    type: str
    default: ""
  quiet:
    description: Whether to return no sentences, for a task that only hands the checks to a report.
    type: bool
    default: false
  pack:
    description:
      - Whether to return the checks as one JSON text in RV(packed) and RV(checks) empty, for a task that only hands them to
        M(somabrain.incident_response.health_report). Ansible needs more time for the values of a thousand checks than the looks themselves.
    type: bool
    default: false
  series:
    description: Whether to return the numbers of each look, as long as all are well, in RV(series).
    type: bool
    default: false
  secrets:
    description: Secrets of the checks. The action plugin moves them here from O(checks) so that nothing logs them.
    type: list
    elements: str
    default: []
seealso:
  - module: somabrain.incident_response.memory_round_trip
"""

EXAMPLES = r"""
- name: Look at an API and its dependencies
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
series:
  description: For each check, by metric, its numbers of the consecutive looks that were well.
  type: dict
  returned: with O(series)
packed:
  description: The packed checks, as JSON.
  type: str
  returned: with O(pack)
health:
  description: The worst health of all checks.
  type: str
  returned: always
  sample: well
state:
  description: The finer word of the subject, for example V(up), V(degraded), V(accepting), V(rejecting); empty if its kind has none.
  type: str
  returned: always
identity:
  description: What distinguishes the subject's process from its successor.
  type: dict
  returned: always
actions:
  description: The acts that the subject's state allows, in order of preference.
  type: list
  elements: str
  returned: always
facts:
  description: Other facts about the subject.
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
  description: Whether nothing is sick and everything unknown only needs more time.
  type: bool
  returned: always
in_vain:
  description: Whether the wait ended because nothing will start what is not well, or because what it depends on was down before.
  type: bool
  returned: always
settled:
  description: Whether everything with C(beside) is well or will not become so by waiting.
  type: bool
  returned: always
beside:
  description: What has C(beside) set and is not well, each with C(name), C(health), C(state), C(text) and C(playbook).
  type: list
  elements: dict
  returned: always
passes:
  description: Number of consecutive well looks at the end.
  type: int
  returned: always
looks:
  description: Number of looks.
  type: int
  returned: always
seconds:
  description: Total time in seconds.
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
    identity: {description: What distinguishes the process from its successor., type: dict, returned: always}
    actions: {description: Acts that the state allows., type: list, elements: str, returned: always}
    facts: {description: Other facts., type: dict, returned: always}
    seconds: {description: Duration of this check's last look., type: float, returned: always}
    seen_from: {description: 'Where the check ran, controller or target.', type: str, returned: through the action plugin}
stage:
  description: The given stage.
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
