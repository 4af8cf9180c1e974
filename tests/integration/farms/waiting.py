# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what a test has brought about: never a fixed time, since on a busy machine every time is too short."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path


def until(told: t.Callable[[], t.Any], seconds: float = 60.0, what: str | t.Callable[[], str] = "it never came to that") -> t.Any:
    """Wait until *told* returns something true, and return that; fails the test with *what* (or what it says then) after *seconds*."""
    end = time.monotonic() + seconds
    while not (answer := told()):
        assert time.monotonic() < end, what if isinstance(what, str) else what()
        time.sleep(0.02)
    return answer


def ignores_term(status: str) -> bool:
    """Tell from the text of /proc/PID/status whether that process ignores SIGTERM by now."""
    line = next((line for line in status.splitlines() if line.startswith("SigIgn:")), "SigIgn:\t0")
    return bool(int(line.split()[1], 16) & 1 << 14)


def has_ignored(pid: int) -> bool:
    return ignores_term(Path(f"/proc/{pid}/status").read_text())
