# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all side instances share: a private directory, a wait with an end, and that nothing of them is left."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import Side, SideFailed, has_ended


class Sleeper(Side):
    """A server that is ready once it has made a file."""

    PREFIX, PAUSES = "sleeper-", (0.01, 0.05, 2.0)

    def __init__(self, script: str, seconds: float = 20.0) -> None:
        super().__init__(time.monotonic() + seconds)
        self.script, self.kept, self.private = script, False, ""

    def _started(self) -> subprocess.Popen[bytes]:
        self.private = self._private
        return subprocess.Popen(["sh", "-c", self.script], cwd=self._private, preexec_fn=self._in_the_child(self.become))

    def become(self) -> None:
        if "nobody at all" in self.script:
            raise PermissionError

    def _ready(self) -> bool:
        return os.path.exists(os.path.join(self._private, "ready"))

    def _failure(self) -> SideFailed:
        return SideFailed("refused", "it exited")

    def _late(self) -> str:
        return "it was late"

    def _shut_down(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        assert has_ended(process, 5)

    def _keep(self) -> None:
        self.kept = os.path.isdir(self._private)


def gone(side: Sleeper) -> bool:
    return bool(side.private) and not os.path.exists(side.private) and (not side.pid or not os.path.exists(f"/proc/{side.pid}"))


def test_it_runs_in_a_private_directory_and_leaves_nothing() -> None:
    with Sleeper("touch ready; exec sleep 30") as side:
        facts = os.stat(side.private)
        assert (facts.st_mode & 0o077, os.stat(os.path.join(side.private, "ready")).st_mode & 0o077) == (0, 0)
        assert side.seconds > 0
        assert os.path.exists(f"/proc/{side.pid}")
        assert not has_ended(side._process, 0.01)  # type: ignore[arg-type]
    assert (side.kept, gone(side)) == (True, True)


@pytest.mark.parametrize(
    ("script", "seconds", "code", "text"),
    [
        ("exit 3", 20.0, "refused", "it exited"),
        ("exec sleep 30", 0.2, "timeout", "it was late"),
        ("nobody at all", 20.0, "io", "the side instance cannot be started"),
    ],
    ids=["it exits", "it is never ready", "it cannot be started"],
)
def test_one_that_does_not_serve_is_a_failure_and_leaves_nothing(script: str, seconds: float, code: str, text: str) -> None:
    side = Sleeper(script, seconds)
    with pytest.raises(SideFailed, match=text) as failure:
        side.__enter__()
    assert (failure.value.code, gone(side)) == (code, True)
