# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that name a service (SERVICE_SPEC in ``_service/manager/ask.py``)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  manager:
    description: The service manager that runs the service, one of the managers in C(roles/service_manager/README.md).
    type: str
    required: true
  name:
    description:
      - Name of one service. Under V(systemd) a unit; a bare name means a C(.service).
      - Under V(supervisor) V(program) or V(group:program).
      - Under V(compose) a service of O(project).
      - Under V(kubernetes) a Deployment or StatefulSet of O(namespace).
      - Patterns such as V(group:*) are refused.
    type: str
    required: true
  scope:
    description: Under V(systemd), whether the unit belongs to the system or to the user of the task.
    type: str
    choices: [system, user]
    default: system
  supervisor_url:
    description: Under V(supervisor), where supervisord listens, V(unix:///path) or V(http://127.0.0.1:port); other hosts are refused.
    type: str
    default: unix:///var/run/supervisor.sock
  supervisor_username:
    description: User name of supervisord's interface, if it needs one.
    type: str
  supervisor_password:
    description: Password of supervisord's interface, if it needs one.
    type: str
  project:
    description: The name of the Compose project; required under V(compose). Containers of other projects stay untouched.
    type: str
  replica:
    description: Under V(compose), the number of one container of a service that has several. Without it, such a service is refused.
    type: int
  docker_socket:
    description: Under V(compose), the unix socket of the Docker Engine.
    type: str
    default: unix:///var/run/docker.sock
  namespace:
    description: The namespace; required under V(kubernetes).
    type: str
  workload_kind:
    description: Under V(kubernetes), the kind of the object.
    type: str
    choices: [Deployment, StatefulSet]
    default: Deployment
  context:
    description: The context of the kubeconfig; required under V(kubernetes). The current context is never used.
    type: str
  kubeconfig:
    description: Under V(kubernetes), the kubeconfig on the controller; by default what E(KUBECONFIG) names, or C(~/.kube/config).
    type: path
  holds_dir:
    description: Under V(compose), the directory on the target where V(hold) saves the restart policy that V(release) restores.
    type: str
    default: /var/lib/somabrain/incident_response/holds
"""
