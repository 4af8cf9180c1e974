# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence: what is copied away, hashed, redacted and capped before anything changes."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._text import redact

SUBOPTIONS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["file", "command"], "required": True},
    "path": {"type": "path"},
    "argv": {"type": "list", "elements": "str"},
    "max_bytes": {"type": "int", "default": 262144},
    "timeout": {"type": "float", "default": 5.0},
    "required": {"type": "bool", "default": False},
}


def load_item(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return {name, content: bytes | None, error: str} of one piece of evidence; never more than its max_bytes."""
    try:
        content = _tail_of(item) if item["kind"] == "file" else _answer_of(item)
    except (OSError, subprocess.SubprocessError) as error:
        return {"name": item["name"], "content": None, "error": str(error), "required": bool(item.get("required"))}
    return {"name": item["name"], "content": redact(content.decode("utf-8", "replace")).encode(), "error": "", "required": bool(item.get("required"))}


def _tail_of(item: t.Mapping[str, t.Any]) -> bytes:
    with open(item["path"], "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - item["max_bytes"]))
        return file.read(item["max_bytes"])


def _answer_of(item: t.Mapping[str, t.Any]) -> bytes:
    done = subprocess.run(  # noqa: S603
        list(item["argv"]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=item["timeout"], check=False
    )
    return done.stdout[-item["max_bytes"] :]


def capture(items: t.Sequence[t.Mapping[str, t.Any]], total: int) -> list[dict[str, t.Any]]:
    """Load all items as far as *total* bytes allow; those beyond carry the error "over the total cap"."""
    captured, room = [], total
    for item in items:
        loaded = load_item(item)
        if loaded["content"] is not None and len(loaded["content"]) > room:
            loaded = dict(loaded, content=None, error="over the total cap of evidence (remediation_evidence_max_bytes)")
        room -= len(loaded["content"] or b"")
        captured.append(loaded)
    return captured


def store(directory: str, captured: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Write the evidence durably: {ok, dir, files: {name: {sha256, bytes}}, missing: {name: error}, error}. Never raises OSError."""
    files: dict[str, t.Any] = {}
    missing = {item["name"]: item["error"] for item in captured if item["content"] is None}
    failed = [item["name"] for item in captured if item["content"] is None and item["required"]]
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for item in captured:
            if item["content"] is not None:
                write_durably(os.path.join(directory, os.path.basename(item["name"])), item["content"])
                files[item["name"]] = {"sha256": hashlib.sha256(item["content"]).hexdigest(), "bytes": len(item["content"])}
    except OSError as error:
        return {"ok": False, "dir": directory, "files": files, "missing": missing, "error": str(error)}
    error = "required but not captured: %s" % ", ".join(failed) if failed else ""
    return {"ok": not failed, "dir": directory, "files": files, "missing": missing, "error": error}


def write_durably(path: str, content: bytes) -> None:
    """Replace *path* (0600) atomically and survive a crash right after. Raises OSError."""
    half = path + ".half"
    with open(os.open(half, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


def packed(captured: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return evidence in a form that JSON carries from a target to its keeper."""
    return [dict(item, content=None if item["content"] is None else base64.b64encode(item["content"]).decode()) for item in captured]


def unpacked(carried: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return what `packed` was given."""
    return [dict(item, content=None if item["content"] is None else base64.b64decode(item["content"])) for item in carried]
