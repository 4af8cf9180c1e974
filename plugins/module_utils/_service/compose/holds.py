# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restart policy of a held container, noted on disk: Docker forgets the old policy and keeps the hold over a boot."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import file_name
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Options

HOLDS = "/var/lib/somabrain/incident_response/holds"


def path_of(options: Options) -> str:
    """Return the path of the note for this service."""
    parts = (file_name(options["project"]), file_name(options["name"]), options.get("replica") or 0)
    return os.path.join(str(options.get("holds_dir") or HOLDS), "compose.%s.%s.%s.json" % parts)


def read(options: Options, container: str) -> dict[str, t.Any]:
    """Return the policy noted for this very container, {} for none: a recreated container has its own policy again."""
    try:
        with open(path_of(options), encoding="utf-8") as file:
            note = json.loads(file.read(4096))
        return dict(note["policy"]) if note["container"] == container else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write(options: Options, container: str, policy: t.Mapping[str, t.Any]) -> None:
    """Write the note before anything is changed; raises StepError if that fails."""
    path = path_of(options)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump({"container": container, "policy": dict(policy)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
    except OSError as error:
        raise StepError("nothing was changed: cannot write %s: %s; set holds_dir or become: true" % (path, error.strerror)) from None


def remove(options: Options) -> None:
    """Delete the note."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path_of(options))
