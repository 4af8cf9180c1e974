# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence: what is copied away, hashed, redacted and capped before anything changes."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import re
import selectors
import signal
import stat
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import file_name, one_line, redact

SUBOPTIONS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["file", "command"], "required": True},
    "path": {"type": "path"},
    "argv": {"type": "list", "elements": "str"},
    "max_bytes": {"type": "int", "default": 262144},
    "timeout": {"type": "float", "default": 5.0},
    "required": {"type": "bool", "default": False},
}
# Truncation may leave the end of a key without its header.
_HEADLESS_KEY = re.compile(rb"\A(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z ]*PRIVATE KEY-----")


def load_item(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return {name, content: bytes | None, error: str, required} of one piece of evidence; never more than its max_bytes.

    What a command that failed printed is kept, with its exit code as ``error``.
    """
    found: dict[str, t.Any] = {"name": item["name"], "content": None, "error": "", "required": bool(item.get("required"))}
    try:
        content, is_cut, code = (*_tail_of(item), 0) if item["kind"] == "file" else _answer_of(item)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return dict(found, error=one_line(error, 300))
    content = _from_a_whole_word(content) if is_cut else content
    if code:
        found["error"] = "%s ended with exit code %d" % (one_line(os.path.basename(item["argv"][0]), 40), code)
    # Redaction may lengthen a line, so the cap is kept again.
    return dict(found, content=redact(content.decode("utf-8", "replace")).encode()[-item["max_bytes"] :])


def _tail_of(item: t.Mapping[str, t.Any]) -> tuple[bytes, bool]:
    if not item.get("path"):
        raise ValueError("evidence of kind file needs a path")
    # Without blocking, because opening a pipe would wait for its writer.
    with open(os.open(item["path"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("%s is not a regular file" % item["path"])
        file.seek(max(0, status.st_size - item["max_bytes"]))
        return file.read(item["max_bytes"]), status.st_size > item["max_bytes"]


def _answer_of(item: t.Mapping[str, t.Any]) -> tuple[bytes, bool, int]:
    """Return the end of what a command says, whether it said more, and its exit code; its whole process group is gone after its timeout."""
    if not item.get("argv"):
        raise ValueError("evidence of kind command needs an argv")
    with subprocess.Popen(  # noqa: S603
        list(item["argv"]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as child:
        end = time.monotonic() + item["timeout"]
        try:
            return (*_read_end(t.cast(t.IO[bytes], child.stdout), item["max_bytes"], end), child.wait(max(0.1, end - time.monotonic())))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise OSError("%s did not finish within %s s" % (item["argv"][0], item["timeout"])) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _read_end(pipe: t.IO[bytes], size: int, deadline: float) -> tuple[bytes, bool]:
    """Read to the end of *pipe*, keeping no more than the last *size* bytes. Raises TimeoutError."""
    kept, is_cut = b"", False
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())) and time.monotonic() < deadline:
            chunk = os.read(pipe.fileno(), 65536)
            if not chunk:
                return kept, is_cut
            is_cut = is_cut or len(kept) + len(chunk) > size
            kept = (kept + chunk)[-size:] if size else b""
    raise TimeoutError


def _from_a_whole_word(content: bytes) -> bytes:
    """Drop the cut-off first line (first word, if there is only one line): it may hold a secret without its name."""
    _part, newline, rest = content.partition(b"\n")
    if not newline:
        _part, newline, rest = content.partition(b" ")
    return _HEADLESS_KEY.sub(b"", rest)


def capture(items: t.Sequence[t.Mapping[str, t.Any]], total: int) -> list[dict[str, t.Any]]:
    """Load all items as far as *total* bytes allow; those beyond carry an error."""
    captured, room = [], total
    for item in items:
        loaded = load_item(item)
        if loaded["content"] is not None and len(loaded["content"]) > room:
            loaded = dict(loaded, content=None, error="over the total size limit of evidence (remediation_evidence_max_bytes)")
        room -= len(loaded["content"] or b"")
        captured.append(loaded)
    return captured


def store(directory: str, captured: t.Sequence[t.Mapping[str, t.Any]], make_room: t.Callable[[], bool] = lambda: False) -> dict[str, t.Any]:
    """Write the evidence durably: {ok, dir, files: {name: {sha256, bytes}}, missing: {name: error}, doubtful, error}. Never raises OSError.

    doubtful is {name: error} of what a command that failed printed.

    make_room is asked once per file when the disk is full; True means that there is more room now.
    """
    files: dict[str, t.Any] = {}
    missing = {item["name"]: item["error"] for item in captured if item["content"] is None}
    doubtful = {item["name"]: item["error"] for item in captured if item["content"] is not None and item["error"]}
    failed = [item["name"] for item in captured if item["content"] is None and item["required"]]
    found: dict[str, t.Any] = {"ok": False, "dir": directory, "files": files, "missing": missing, "doubtful": doubtful, "error": ""}
    try:
        for each in (os.path.dirname(directory), directory):
            os.makedirs(each, mode=0o700, exist_ok=True)
        for item in captured:
            if item["content"] is not None:
                name = _file_name(item["name"], directory)
                _write_or_make_room(os.path.join(directory, name), item["content"], make_room)
                files[name] = {"sha256": hashlib.sha256(item["content"]).hexdigest(), "bytes": len(item["content"])}
    except OSError as error:
        return dict(found, error=str(error))
    return dict(found, ok=not failed, error="required but not captured: %s" % ", ".join(failed) if failed else "")


def _write_or_make_room(path: str, content: bytes, make_room: t.Callable[[], bool]) -> None:
    try:
        write_durably(path, content)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not make_room():
            raise
        write_durably(path, content)


def _file_name(name: str, directory: str) -> str:
    """Return a name that is safe as a file's and not taken: nothing that was kept is overwritten."""
    plain = file_name(name)
    taken = set(os.listdir(directory))
    return next(one for one in (plain, *("%s.%d" % (plain, n) for n in range(2, len(taken) + 3))) if one not in taken)


def write_durably(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace *path* atomically and survive a crash right after; never what is no regular file, such as a device. Raises OSError."""
    directory = os.path.dirname(path) or "."
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError("%s exists and is not a regular file" % path)
    # A name that cannot be guessed, because others may write to the directory.
    handle, half = tempfile.mkstemp(dir=directory, prefix="." + os.path.basename(path)[:100])
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(half)
        raise
    sync_directory(directory)


def sync_directory(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def packed(captured: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return evidence in a form that JSON carries from a target to its keeper."""
    return [dict(item, content=None if item["content"] is None else base64.b64encode(item["content"]).decode()) for item in captured]


def unpacked(carried: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return what `packed` was given."""
    return [dict(item, content=None if item["content"] is None else base64.b64decode(item["content"])) for item in carried]
