# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small SomaBrain to practise on: real Redis and PostgreSQL, a stand-in API and its long-term memory.

``python -m somabrain_lab start|stop|plan`` reads its settings as JSON from standard input and prints one JSON object.
"""
