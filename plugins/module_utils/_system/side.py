# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A side instance: a server of our own on a copy of data. It has a private directory and never outlives the process that started it.

What it serves, when it is ready and how it stops is up to the subclass.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

try:
    import ctypes
except ImportError:  # a Python built without it
    ctypes = None  # type: ignore[assignment]

PR_SET_PDEATHSIG = 1
Prepare = t.Callable[[], None]
Self = t.TypeVar("Self", bound="Side")


class SideFailed(Exception):
    """The side instance does not serve its data; one line. ``code``: no_server, no_room, target_not_reached, timeout, refused or io."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Side:
    """A context manager around one side instance, which must be ready before *end* (monotonic). Raises SideFailed."""

    # Of the private directory's name.
    PREFIX = "side-"
    # Seconds between two looks whether it is ready: the first, the longest, and the factor from one to the next.
    PAUSES = (0.05, 0.5, 1.3)
    # What ends it when we end.
    FOLLOWS = signal.SIGKILL

    def __init__(self, end: float) -> None:
        self.end = end
        self.seconds = 0.0
        self._private = ""
        self._process: t.Optional[subprocess.Popen[bytes]] = None

    def __enter__(self: Self) -> Self:
        begun = time.monotonic()
        try:
            self._private = tempfile.mkdtemp(prefix=self.PREFIX)
            self._process = self._started()
            self._wait()
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            self.stop()
            why = one_line(getattr(error, "strerror", None) or error, 120)
            raise SideFailed("io", "the side instance cannot be started: %s" % why) from None
        except BaseException:
            self.stop()
            raise
        self.seconds = round(time.monotonic() - begun, 3)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, 0 where it was never started."""
        return self._process.pid if self._process else 0

    def left(self) -> float:
        """Return the seconds until *end*, a little where it is over."""
        return max(0.1, self.end - time.monotonic())

    def stop(self) -> None:
        """End it and remove its private directory."""
        if self._process is not None and self._process.poll() is None:
            self._shut_down(self._process)
        if self._private:
            self._keep()
            shutil.rmtree(self._private, ignore_errors=True)

    def _started(self) -> subprocess.Popen[bytes]:
        """Start the server in its private directory."""
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError

    def _failure(self) -> SideFailed:
        """Say why it exited before it was ready."""
        raise NotImplementedError

    def _late(self) -> str:
        """Say that it was not ready in time."""
        raise NotImplementedError

    def _shut_down(self, process: subprocess.Popen[bytes]) -> None:
        raise NotImplementedError

    def _keep(self) -> None:
        """Keep what is wanted of the private directory."""

    def _wait(self) -> None:
        pause, longest, factor = self.PAUSES
        while True:
            if self._process is None or self._process.poll() is not None:
                raise self._failure()
            if time.monotonic() > self.end:
                raise SideFailed("timeout", self._late())
            if self._ready():
                return
            time.sleep(pause)
            pause = min(longest, pause * factor)

    def _in_the_child(self, become: t.Optional[Prepare]) -> Prepare:
        """Return what the child runs before the server: *become* changes its user."""
        libc, parent, number = _libc(), os.getpid(), self.FOLLOWS

        def prepare() -> None:
            os.umask(0o077)
            if become:
                become()
            # After the change of user, which resets it.
            if libc is not None and libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) == 0 and os.getppid() != parent:
                os._exit(1)

        return prepare


def has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether *process* ends within so many *seconds*."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


def _libc() -> t.Any:
    with contextlib.suppress(OSError, AttributeError):
        found = ctypes.CDLL(None, use_errno=True)
        return found if found.prctl else None
    return None
