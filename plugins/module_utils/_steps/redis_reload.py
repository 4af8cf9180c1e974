# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_reload``: load the keys of a kept copy into the running Redis, which keeps every key that it already has.

A side instance loads a copy of the copy, so that the original stays unchanged. Running it twice changes nothing more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import connected
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.transfer import (
    Moved,
    copy_functions,
    copy_keys,
    summed,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REACH
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.prints import sizes_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import SideInstance, find_server
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.copies import CopyRefused, copy_tree, verify_copy
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    REACH,
    copies={"type": "list", "elements": "path", "required": True},
    settings={"type": "dict", "default": {}},
    redis_server={"type": "str", "default": ""},
    timeout={"type": "float", "default": 1800.0},
    stage={"type": "str", "choices": ["act", "undo"], "default": "act"},
)
POLL = 0.05
# Memory that data take, as a multiple of their files, which are usually compressed.
MEMORY_FACTOR = 3


def run(params: Params, check: bool) -> Result:
    """Return {changed, keys, copied, there, gone, seconds, stage, say}. Raises StepError if keys are missing afterwards.

    *copies* are sorted newest first: an older copy never replaces a key of a newer one.
    """
    begun = time.monotonic()
    if check:
        return {"changed": True, "stage": params["stage"], "say": ["would load the keys of %s into Redis" % _shown(params["copies"])]}
    done = [_reloaded(copy, params, begun + params["timeout"]) for copy in params["copies"]]
    keys, moved = sum(count for count, _moved in done), summed([moved for _count, moved in done])
    facts: Result = {"keys": keys, "copied": moved.copied, "there": moved.there, "gone": moved.gone, "failed": moved.failed}
    text = "loaded %d of %d kept keys; %d were already there, %d had expired" % (moved.copied, keys, moved.there, moved.gone)
    if moved.failed or moved.copied + moved.there + moved.gone < keys:
        why = "%d refused (%s)" % (moved.failed, moved.refused or "no reason given")
        raise _failed("state_not_handled", "%s, %s: run again" % (text, why), **facts)
    return dict(facts, changed=moved.copied > 0, seconds=round(time.monotonic() - begun, 3), stage=params["stage"], say=[text])


def _reloaded(copy: str, params: Params, end: float) -> tuple[int, Moved]:
    """Return how many keys *copy* holds and what happened to them. Raises StepError."""
    try:
        wrong = verify_copy(copy, end)
        if wrong:
            raise _failed("data_missing", "the kept copy %s has changed: %s" % (one_line(copy, 80), wrong[0]))
        wait_for_answer(params, end)
        return _by_side_instance(copy, params, end)
    except CopyRefused as error:
        raise _failed(error.code, error.text) from None
    except SideFailed as error:
        raise _failed("no_room" if error.code == "no_room" else "data_damaged", str(error)) from None
    except OutOfTime:
        raise _failed("state_not_handled", "not all keys were loaded in time; run again") from None
    except RespError as error:
        raise _failed("state_not_handled", "lost the connection while loading keys: %s; run again" % one_line(error, 100)) from None


def _by_side_instance(copy: str, params: Params, end: float) -> tuple[int, Moved]:
    folder = tempfile.mkdtemp(prefix="reload-", dir=os.path.dirname(copy))
    try:
        made = copy_tree(copy, os.path.join(folder, "data"), end)
        with _side_instance(made, params, end) as side, side.connect() as source, connected(params, end - time.monotonic()) as target:
            count = sum(keys for keys, _expires in sizes_of(source).values())
            moved = copy_keys(source, target, end)
            copy_functions(source, target)
            left = sum(keys for keys, _expires in sizes_of(source).values())
        # The scan does not see a key that expired after the count.
        unseen = count - moved.copied - moved.there - moved.gone - moved.failed
        return count, moved._replace(gone=moved.gone + max(0, min(unseen, count - left)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _side_instance(made: t.Mapping[str, t.Any], params: Params, end: float) -> SideInstance:
    facts, settings = os.stat(made["path"]), side_settings(params["settings"])
    owner, expects = (facts.st_uid, facts.st_gid), made["bytes"] * MEMORY_FACTOR
    return SideInstance(find_server(params["redis_server"]), made["path"], end, owner, settings, expects=expects)


def side_settings(settings: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the settings with which a side instance loads the files that *settings* name."""
    names = ("appendonly", "appendfilename", "appenddirname", "dbfilename")
    return {name: str(settings[name]) for name in names if settings.get(name)}


def wait_for_answer(params: Params, end: float) -> None:
    """Return once Redis answers PING with PONG. Raises StepError, also if it does not in time."""
    last = "no answer"
    while time.monotonic() < end:
        try:
            with connected(params, min(5.0, end - time.monotonic())) as redis:
                last = _ping(redis)
                if last == "PONG":
                    return
        except StepError as error:
            if error.data.get("state") == "auth":
                raise
            last = str(error)
        time.sleep(POLL)
    raise _failed("state_not_handled", "Redis does not answer, so no keys were loaded: %s; run again" % one_line(last, 120))


def _ping(redis: Connection) -> str:
    return str(redis.ask("PING"))


def _shown(copies: t.Iterable[str]) -> str:
    return one_line(", ".join(copies), 160)


def _failed(code: str, text: str, **facts: t.Any) -> StepError:
    # Not a refusal: Redis is running, but without these keys.
    return StepError("%s: %s" % (code, text), code=code, **facts)
