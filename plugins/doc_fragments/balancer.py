# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that names a pool of a load balancer (BALANCER_SPEC in _traffic.py)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  target:
    description: The pool, and where its balancer is asked.
    type: dict
    required: true
    suboptions:
      balancer:
        description: The load balancer.
        type: str
        choices: [haproxy, nginx]
        required: true
      pool:
        description: The pool of servers. Of HAProxy, the name of a backend; of nginx, that of an upstream.
        type: str
        required: true
      haproxy_address:
        description: Of HAProxy, the path of the socket of its runtime API (C(level admin)), or HOST:PORT.
        type: str
        default: /run/haproxy/admin.sock
      haproxy_maintenance_map:
        description: Of HAProxy, the map file that its configuration asks for pools in maintenance; see the role traffic_scaling.
        type: path
        default: /etc/haproxy/maintenance.map
      haproxy_state_dir:
        description: Of HAProxy, where what was set is kept, so that it can be set again after a reload.
        type: path
        default: /var/lib/somabrain/incident_response/traffic
      nginx_command:
        description: Of nginx, the program with the words that name its configuration.
        type: list
        elements: str
        default: [nginx]
      nginx_pid_file:
        description: Of nginx, the file with the pid of its master.
        type: path
        default: /run/nginx.pid
      nginx_error_log:
        description: Of nginx, its log of errors, in which a reload that failed is told.
        type: path
        default: /var/log/nginx/error.log
      nginx_upstream_file:
        description: Of nginx, the included file with the pool, which is written whole.
        type: path
        default: /etc/nginx/somabrain/upstream.conf
      nginx_maintenance_file:
        description: Of nginx, the included file with the switch for maintenance, which is written whole.
        type: path
        default: /etc/nginx/somabrain/maintenance.conf
      nginx_health_path:
        description: Of nginx, the path that servers are asked for their health, since it has no checks of its own; empty for none.
        type: str
        default: /health
"""
