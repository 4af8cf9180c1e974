# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces the get-pip script that ansible-test downloads: ensurepip first, then the wanted version of pip."""

from __future__ import annotations

import subprocess
import sys

NOT_FOR_PIP = {"--no-setuptools", "--no-wheel"}

subprocess.run([sys.executable, "-m", "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL)
words = [word for word in sys.argv[1:] if word not in NOT_FOR_PIP]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *words], check=False).returncode)
