# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of a lab that a drill breaks, and how to talk to it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import typing as t
from pathlib import Path

from .. import target

# Who answers nothing, or something that is none.
AWAY: t.Tuple[type[Exception], ...] = (OSError, http.client.HTTPException, ValueError)


@dataclasses.dataclass(frozen=True)
class Target(target.Target):
    """The API of one lab; its data directory is that of its long-term memory."""

    token_file: str = ""
    profile: str = "v1"

    @property
    def faults(self) -> Path:
        """Where the API reads what it shall do wrong."""
        return Path(self.lab_dir) / "api_faults.json"

    @property
    def memory_delay(self) -> Path:
        """Where the long-term memory reads how slow it shall be."""
        return Path(self.lab_dir) / "ltm_delay"

    def link(self, seconds: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def post(self, link: http.client.HTTPConnection, path: str, body: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return the answer to a POST over *link*. Raises one of AWAY, also for any status but 200."""
        headers = {"Authorization": "Bearer " + Path(self.token_file).read_text(encoding="utf-8").strip(), "X-Tenant-ID": "drill"}
        link.request("POST", path, json.dumps(body), {**headers, "Content-Type": "application/json"})
        answer = link.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ValueError(f"{path} answered {answer.status}")
        return dict(json.loads(text))

    def answers(self) -> bool:
        """Return whether its health endpoint answers with a body of its own within two seconds."""
        with contextlib.suppress(*AWAY), contextlib.closing(self.link(2)) as link:
            link.request("GET", "/health")
            answer = link.getresponse()
            return answer.status == 200 and isinstance(json.loads(answer.read()), dict)
        return False


def of_lab(folder: Path, described: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the API of the lab in *folder*; *described* is what its lab.json says."""
    return {
        "port": int(described["ports"]["api"]),
        "data_dir": folder / "ltm",
        "config_file": folder / "etc/standin.json",
        "log_file": folder / "logs/api.out",
        "service": {"manager": "supervisor", "name": "api", "supervisor_url": f"unix://{folder}/supervisor.sock", "scope": "system"},
        "token_file": str(folder / "secrets/api_token"),
        "profile": str(described["profile"]),
    }
