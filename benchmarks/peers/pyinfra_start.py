# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peer without Ansible: start Redis and ping it, nothing else."""

from pyinfra import host
from pyinfra.operations import server

server.shell(
    name="Start Redis and ping it",
    commands=[host.data.start, f"until redis-cli -p {host.data.port} ping | grep -q PONG; do sleep 0.05; done"],
)
