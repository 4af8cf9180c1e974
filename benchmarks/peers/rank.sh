#!/bin/sh
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The runbook's ranking of errors, in the order of bytes; the first lines of it. Arguments: the log, how many lines.
LC_ALL=C
export LC_ALL
grep -aE "(ERROR|FATAL|Exception)" "$1" | sort | uniq -c | sort -nr | head -n "$2"
