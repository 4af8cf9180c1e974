# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Redis steps that act share: a logged-in connection, and error replies as StepErrors of one line."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    Word,
    address_of,
    log_in,
    password_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import parse_info


@contextlib.contextmanager
def connected(params: Params, deadline: float) -> t.Iterator[Connection]:
    """Yield a logged-in connection that lives *deadline* seconds. Raises StepError, also for connection errors in the body."""
    where = address_of(params)
    try:
        with Connection(where, deadline) as redis:
            refused = log_in(redis, params["username"], password_of(params))
            if refused:
                why = one_line(str(refused), 80)
                raise StepError("Redis at %s rejected our credentials: %s; set password_file" % (where, why), state="auth")
            yield redis
    except RespError as error:
        raise StepError("Redis at %s: %s; look with redis_health_info" % (where, one_line(error, 100)), error=error.kind) from None


def tell(redis: Connection, *words: Word) -> t.Any:
    """Send one command; return its reply. Raises StepError with the server's own words for an error reply."""
    reply = redis.ask(*words)
    if isinstance(reply, ErrorReply):
        raise StepError("Redis refuses %s: %s" % (str(words[0]), one_line(reply, 140)), code=reply.code)
    return reply


def info_of(redis: Connection, section: str) -> dict[str, str]:
    """Return one section of INFO. Raises StepError."""
    return parse_info(str(tell(redis, "INFO", section)))


def setting_of(redis: Connection, name: str) -> str:
    """Return one setting, "" if we may not use CONFIG."""
    reply = redis.ask("CONFIG", "GET", name)
    return str(reply[1]) if isinstance(reply, list) and len(reply) == 2 else ""


def make_private(path: str) -> None:
    """Make the directory (0700), or check that the existing one is ours and private. Raises StepError."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StepError("cannot make the rescue directory %s: %s" % (one_line(path, 80), error.strerror)) from None
    check_private(path)


def check_private(path: str) -> None:
    """Raise StepError unless *path* is our own private directory."""
    facts = os.lstat(path)
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise StepError("the rescue directory %s must be a directory that we own, with mode 0700" % one_line(path, 80))
