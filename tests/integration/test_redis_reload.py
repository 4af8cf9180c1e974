# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a kept copy go into a living Redis of real redis-servers, and what it has already stays."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from farms.redis import SERVER, SUPERVISORD, Farm, Redis, farmed

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.transfer import copy_keys
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_copy, redis_reload

pytestmark = pytest.mark.skipif(SERVER is None or SUPERVISORD is None, reason="redis-server or supervisord is not installed")
SETTINGS = {
    "dump": ('appendonly no\nsave ""\n', {"appendonly": "no"}),
    "append-only": ('appendonly yes\nsave ""\n', {"appendonly": "yes", "appenddirname": "appendonlydir"}),
}


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-farm-") as made:
        yield made


def make(farm: Farm, settings: str = SETTINGS["append-only"][0]) -> Redis:
    return farm.make(f"redis{len(farm.redis)}", settings)


def filled(step: t.Any, **given: t.Any) -> dict[str, t.Any]:
    return {name: given.get(name, rule.get("default")) for name, rule in step.ARGUMENT_SPEC.items()}


def kept(redis: Redis) -> str:
    """Stop *redis* after a save and return a copy of its data directory."""
    redis.ask("SAVE")
    redis.kill()
    dest = redis.farm.folder / "work" / redis.name / "kept"
    return str(redis_copy.run(filled(redis_copy, data_dir=str(redis.data), dest=str(dest)), False)["path"])


def reload(redis: Redis, copies: list[str], check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    params = filled(redis_reload, **{"host": "127.0.0.1", "port": redis.port, "copies": copies, "timeout": 30.0, **given})
    return redis_reload.run(params, check)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("how", SETTINGS)
def test_all_kept_keys_are_there_again_and_newer_ones_stay(farm: Farm, how: str) -> None:
    text, settings = SETTINGS[how]
    old, live = make(farm, text).start(), make(farm).start()
    keys = old.write(500)
    old.ask("HSET", "hash", "field", "value")
    old.ask("SET", "lives", "x", "EX", 1000)
    old.ask("SET", "ends", "x", "PX", 150)
    live.ask("SET", keys[3], "newer")
    copy = kept(old)
    before = content(Path(copy).parent)
    done = reload(live, [copy], settings=settings)
    assert done["changed"] is True
    assert (done["there"], done["failed"]) == (1, 0)
    assert done["copied"] >= 501
    assert done["copied"] + done["there"] + done["gone"] == done["keys"]
    assert live.has(keys)
    assert live.ask("GET", keys[3]) == "newer"
    assert live.ask("HGET", "hash", "field") == "value"
    assert 900 < live.ask("TTL", "lives") <= 1000
    assert live.ask("EXISTS", "ends") == 0 or live.ask("PTTL", "ends") <= 150
    assert content(Path(copy).parent) == before, "the kept copy changed, or something was left beside it"
    again = reload(live, [copy], settings=settings)
    assert (again["changed"], again["copied"]) == (False, 0)


def test_a_newer_copy_wins_over_an_older_one(farm: Farm) -> None:
    live = make(farm).start()
    copies = []
    for name in ("newer", "older"):
        redis = make(farm, SETTINGS["dump"][0]).start()
        redis.ask("SET", "both", name)
        redis.ask("SET", f"only in {name}", "x")
        copies.append(kept(redis))
    reload(live, copies, settings={"appendonly": "no"})
    assert live.ask("GET", "both") == "newer"
    assert live.ask("DBSIZE") == 3


def test_all_databases_are_loaded(farm: Farm) -> None:
    old, live = make(farm, SETTINGS["dump"][0]).start(), make(farm).start()
    copied = "EVAL", "for i=0,15 do redis.call('SELECT', i); redis.call('SET', 'k', i) end return 1", "0"
    old.ask(*copied)
    reload(live, [kept(old)], settings={"appendonly": "no"})
    assert live.ask("EVAL", "local n = 0; for i=0,15 do redis.call('SELECT', i); n = n + redis.call('EXISTS', 'k') end return n", "0") == 16


def test_check_mode_writes_nothing(farm: Farm) -> None:
    old, live = make(farm, SETTINGS["dump"][0]).start(), make(farm).start()
    old.write(5)
    copy = kept(old)
    assert reload(live, [copy], check=True)["changed"] is True
    assert live.ask("DBSIZE") == 0
    told = redis_copy.run(filled(redis_copy, data_dir=str(old.data), dest=str(farm.folder / "no")), True)
    assert told["changed"] is True
    assert not (farm.folder / "no").exists()


def code_of(error: pytest.ExceptionInfo[StepError]) -> str:
    return str(error.value.data["code"])


def test_a_copy_that_changed_is_refused_and_nothing_is_loaded(farm: Farm) -> None:
    old, live = make(farm, SETTINGS["dump"][0]).start(), make(farm).start()
    old.write(5)
    copy = Path(kept(old))
    (copy / "dump.rdb").write_bytes((copy / "dump.rdb").read_bytes() + b"x")
    with pytest.raises(StepError, match="has changed") as refused:
        reload(live, [str(copy)], settings={"appendonly": "no"})
    assert code_of(refused) == "data_missing"
    assert live.ask("DBSIZE") == 0


def test_a_redis_without_room_keeps_the_copy_and_says_so(farm: Farm) -> None:
    old, live = make(farm, SETTINGS["dump"][0]).start(), make(farm).start()
    keys = old.write(200, size=1000)
    copy = kept(old)
    live.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StepError, match="200 refused") as refused:
        reload(live, [copy], settings={"appendonly": "no"})
    assert refused.value.data["failed"] == 200
    live.ask("CONFIG", "SET", "maxmemory", "0")
    assert reload(live, [copy], settings={"appendonly": "no"})["copied"] == 200
    assert live.has(keys)


def test_a_redis_that_is_down_is_waited_for_and_then_told(farm: Farm) -> None:
    old, live = make(farm, SETTINGS["dump"][0]).start(), make(farm)
    old.write(5)
    copy = kept(old)
    with pytest.raises(StepError, match="does not answer"):
        reload(live, [copy], settings={"appendonly": "no"}, timeout=0.5)
    live.start(wait=False)
    assert reload(live, [copy], settings={"appendonly": "no"})["copied"] == 5


def test_a_broken_off_reload_is_ended_by_the_next(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    old, live = make(farm, SETTINGS["dump"][0]).start(), make(farm).start()
    keys = old.write(2000)
    copy = kept(old)
    monkeypatch.setattr(redis_reload, "copy_keys", too_late)
    with pytest.raises(StepError, match="in time"):
        reload(live, [copy], settings={"appendonly": "no"})
    monkeypatch.undo()
    done = reload(live, [copy], settings={"appendonly": "no"})
    assert done["copied"] + done["there"] == 2000
    assert live.has(keys)


def too_late(source: t.Any, target: t.Any, end: float) -> t.Any:
    """Copy keys with a time that is over before it begins."""
    return copy_keys(source, target, 0.0)
