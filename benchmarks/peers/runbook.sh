#!/bin/sh
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The runbook's own lines: ping it or restart it, then look every 5 seconds. Arguments: port, then the restart command.
port=$1
shift
redis-cli -p "$port" ping || "$@"
until [ "$(redis-cli -p "$port" ping)" = PONG ]; do sleep 5; done
