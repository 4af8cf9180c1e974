# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peer's look at one host: disks, memory, load and clock, in one command and without a judgement."""

from pyinfra.operations import server

server.shell(name="Look at the host", commands=["df -P; df -Pi; cat /proc/meminfo /proc/loadavg; date +%s"])
