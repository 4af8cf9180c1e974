# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that names a pool of a load balancer (BALANCER_SPEC in ``_traffic/balancer/pools.py``)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  target:
    description: The pool, and how to reach its balancer.
    type: dict
    required: true
    suboptions:
      balancer:
        description: The load balancer; empty for none.
        type: str
        choices: [haproxy, nginx, ""]
        required: true
      pool:
        description: The pool of servers, which is a backend of HAProxy or an upstream of nginx.
        type: str
        required: true
      haproxy_address:
        description: For HAProxy, the path of the socket of its runtime API (C(level admin)), or HOST:PORT.
        type: str
        default: /run/haproxy/admin.sock
      haproxy_maintenance_map:
        description: For HAProxy, the map file with the pools in maintenance; see the role traffic_scaling.
        type: path
        default: /etc/haproxy/maintenance.map
      haproxy_state_dir:
        description: For HAProxy, the directory that keeps what was set, so that it can be set again after a reload.
        type: path
        default: /var/lib/somabrain/incident_response/traffic
      nginx_command:
        description: For nginx, the program with the arguments that name its configuration.
        type: list
        elements: str
        default: [nginx]
      nginx_pid_file:
        description: For nginx, the file with the pid of its master.
        type: path
        default: /run/nginx.pid
      nginx_error_log:
        description: For nginx, its error log, which reports a failed reload.
        type: path
        default: /var/log/nginx/error.log
      nginx_upstream_file:
        description: For nginx, the included file with the pool; it is always written as a whole.
        type: path
        default: /etc/nginx/somabrain/upstream.conf
      nginx_maintenance_file:
        description: For nginx, the included file with the maintenance switch; it is always written as a whole.
        type: path
        default: /etc/nginx/somabrain/maintenance.conf
      nginx_health_path:
        description: For nginx, the path of the health checks, since nginx has none of its own; empty for no checks.
        type: str
        default: /health
"""
