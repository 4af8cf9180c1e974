# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Sentinels say of the master that a Redis belongs to, and what follows for that Redis.

Sentinels decide which Redis is the master: nothing is started here while they fail over, or once they made another Redis the master.
A majority of all named Sentinels must answer and agree; otherwise nothing is known.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import State
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
    ask_all,
    log_in,
    password_of,
)

Raw = t.Mapping[str, t.Any]

# What one Sentinel says of one master is a page of text.
MAX_BYTES = 64 * 1024
FIELDS = ("ip", "port", "runid", "flags", "num-slaves", "num-other-sentinels", "quorum", "config-epoch")
IN_FAILOVER = "failover_in_progress"
DOWN = frozenset(["s_down", "o_down"])
OURS, MOVED, FAILING_OVER, UNTOLD = "ours", "moved", "failing_over", "untold"


class Opinion(t.NamedTuple):
    """What the Sentinels together say: ours, moved, failing_over or untold; who is master to them; one sentence."""

    word: str
    master: str
    text: str


def load_sentinels(options: Raw, deadline: float) -> list[dict[str, t.Any]]:
    """Ask all Sentinels at once, *deadline* seconds in total; return {sentinel, error, master} of each, in their order. Never raises."""
    asked = list(options.get("sentinels") or [])
    answers = ask_all(asked, lambda one: _asked(one, str(options.get("sentinel_master") or "mymaster"), deadline), deadline)
    late = {"error": "timeout", "master": {}}
    return [found or dict(late, sentinel=str(address_of(_filled(one)))) for one, found in zip(asked, answers)]


def _filled(one: Raw) -> dict[str, t.Any]:
    return {"host": one.get("host") or "127.0.0.1", "port": one.get("port") or 26379, "password_file": one.get("password_file") or ""}


def _asked(one: Raw, name: str, deadline: float) -> dict[str, t.Any]:
    options = _filled(one)
    seen: dict[str, t.Any] = {"sentinel": str(address_of(options)), "error": "", "master": {}}
    try:
        with Connection(address_of(options), deadline, MAX_BYTES) as sentinel:
            reply = log_in(sentinel, str(one.get("username") or ""), password_of(options)) or sentinel.ask("SENTINEL", "MASTER", name)
    except RespError as error:
        return dict(seen, error=error.kind)
    except StepError as error:
        return dict(seen, error=one_line(error, 120))
    if isinstance(reply, ErrorReply) or not isinstance(reply, list):
        return dict(seen, error=one_line(reply, 80) if isinstance(reply, str) else "garbage")
    words = [one_line(word, 100) if isinstance(word, (str, bytes)) else "" for word in reply]
    told = dict(zip(words[::2], words[1::2]))
    return dict(seen, master={field: told.get(field, "") for field in FIELDS})


def is_local(address: str) -> t.Optional[bool]:
    """Return whether *address* belongs to this machine; None if it is not numeric."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                # Only our own addresses can be bound; nothing is sent.
                probe.bind((address, 0))
            return True
        except OSError:
            return False
    return None


def addresses_of(host: str, deadline: float) -> list[str]:
    """Return *host* and its numeric addresses, as far as they resolve within *deadline* seconds."""
    found = [host]

    def look_up() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(str(one[4][0]) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))

    # A name lookup cannot be interrupted, so it runs in a thread that may outlive us.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(max(0.0, deadline))
    return list(found)


def load_sentinel_view(options: Raw, deadline: float, here: bool) -> dict[str, t.Any]:
    """Return {asked, answers, own}: what all Sentinels say, and which of the addresses they name belong to the machine of this Redis."""
    end = time.monotonic() + deadline
    answers = load_sentinels(options, deadline)
    named = {str(one["master"].get("ip")) for one in answers if one["master"]}
    own = set(addresses_of(str(options.get("host") or ""), end - time.monotonic())) if named else set()
    return {"asked": len(answers), "answers": answers, "own": sorted(ip for ip in named if ip in own or (here and is_local(ip)))}


def judge_sentinels(view: Raw, run_id: str, port: t.Optional[int], known_as: str = "") -> Opinion:
    """Return what the Sentinels of *view* say of the Redis with *run_id* ("" while it is down) that listens at *port*. Pure."""
    masters = [one["master"] for one in view["answers"] if one["master"].get("ip")]
    needed = view["asked"] // 2 + 1
    if len(masters) < needed:
        text = "%d of %d Sentinels answer, %d are needed: %s" % (len(masters), view["asked"], needed, _errors(view["answers"]))
        return Opinion(UNTOLD, "", one_line(text, 300))
    where = collections.Counter(_address(one) for one in masters)
    master, votes = where.most_common(1)[0]
    if votes < needed:
        return Opinion(UNTOLD, "", one_line("the Sentinels do not agree on the master: %s" % ", ".join(sorted(where)), 300))
    agreed = [one for one in masters if _address(one) == master]
    if any(IN_FAILOVER in _flags(one) for one in agreed):
        return Opinion(FAILING_OVER, master, "Sentinel is failing over from %s right now" % master)
    if not _is_ours(agreed, view["own"], run_id, port, known_as):
        return Opinion(MOVED, master, "Sentinel says the master is %s, and that is not this Redis" % master)
    if sum(_has_given_up(one) for one in agreed) >= needed:
        return Opinion(FAILING_OVER, master, "Sentinel has given up on %s and is about to fail over" % master)
    return Opinion(OURS, master, "%d of %d Sentinels agree that it is the master" % (len(agreed), view["asked"]))


def _errors(answers: t.Iterable[Raw]) -> str:
    """Return why each Sentinel that names no master does not."""
    return "; ".join("%s: %s" % (one["sentinel"], one["error"] or "names no master") for one in answers if not one["master"].get("ip"))


def _flags(master: Raw) -> set[str]:
    return set(master["flags"].split(","))


def _has_given_up(master: Raw) -> bool:
    """Return whether a Sentinel holds this master for down and has a replica to put in its place."""
    return bool(DOWN & _flags(master)) and master["num-slaves"] not in ("", "0")


def _address(master: Raw) -> str:
    return "%s:%s" % (master["ip"], master["port"])


def _is_ours(agreed: t.Sequence[Raw], own: t.Collection[str], run_id: str, port: t.Optional[int], known_as: str) -> bool:
    """Return whether *agreed* means this Redis: by run id, or by address if it is down or was just restarted."""
    if run_id and any(one["runid"] == run_id for one in agreed):
        return True
    if known_as:
        return _address(agreed[0]) == known_as
    return bool(port) and agreed[0]["port"] == str(port) and agreed[0]["ip"] in own


def facts_of_sentinels(view: Raw, opinion: Opinion) -> dict[str, t.Any]:
    """Return {verdict, master, text, answers: [{sentinel, error, master, flags}]}: what a probe shows of it."""
    answers = [
        {
            "sentinel": one["sentinel"],
            "error": one["error"],
            "master": _address(one["master"]) if one["master"].get("ip") else "",
            "flags": one["master"].get("flags", ""),
        }
        for one in view["answers"]
    ]
    return {"verdict": opinion.word, "master": opinion.master, "text": opinion.text, "answers": answers}


def ruling(opinion: Opinion, follows: bool) -> t.Optional[tuple[str, State, tuple[str, ...]]]:
    """Return the state, health and acts that the Sentinels impose on a Redis, None if they change nothing. Pure.

    *follows*: Redis is, or would start as, a replica; then another master is as it should be.
    """
    if opinion.word == OURS or (follows and opinion.word == MOVED):
        return None
    if opinion.word == MOVED:
        return "failed_over", State.SICK, ()
    if opinion.word == FAILING_OVER:
        return "failing_over", State.UNKNOWN, ("wait",)
    return "", State.UNKNOWN, ()
