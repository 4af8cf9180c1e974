# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgement of a restore: targets, every reason against one, plans and what they lose, differences of streams, renames."""

from __future__ import annotations

import os
import random
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import compare, swap
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import target as restore_target
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.judge import CODES, judge_restore, obstacle
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.load import parse_target, time_text
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.side import SETTINGS, settings_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS

NOW = 1795601200.0
ID = "7712048195422943031"


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("2026-11-25T10:05:48Z", 1795601148.0),
        ("2026-11-25 10:05:48Z", 1795601148.0),
        ("2026-11-25T11:05:48+01:00", 1795601148.0),
        ("2026-11-25T05:05:48-0500", 1795601148.0),
        ("2026-11-25t10:05:48.25z", 1795601148.25),
        ("2026-11-25T10:05:48.123456789Z", 1795601148.123456),
    ],
)
def test_a_target_is_one_moment_whatever_its_zone(text: str, epoch: float) -> None:
    moment, wrong = parse_target(text)
    assert (round(moment, 6), wrong) == (epoch, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-11-25T10:05:48", "no time zone"),
        ("2026-11-25 10:05:48", "no time zone"),
        ("", "not a time"),
        ("yesterday", "not a time"),
        ("2026-11-25", "not a time"),
        ("2026-13-25T10:05:48Z", "not a valid time"),
        ("2026-11-25T10:05:48Z'; DROP TABLE t; --", "not a time"),
        ("2026-11-25T10:05:48Z\n", ""),
        ("2026-11-25T10:05:48 Z --delta", "not a time"),
    ],
)
def test_what_is_no_moment_is_told(text: str, why: str) -> None:
    wrong = parse_target(text)[1]
    assert (why in wrong) if why else not wrong


def test_a_moment_is_told_in_utc() -> None:
    assert time_text(1795601148.25) == "2026-11-25 10:05:48.25+00"
    assert time_text(1795601148) == "2026-11-25 10:05:48+00"


def world(**more: t.Any) -> dict[str, t.Any]:
    backup = {"label": "20261125-100000F", "type": "full", "start": 1, "stop": 2, "bytes": 100, "error": False}
    backup.update(system_identifier=ID, archive_id="15-1")
    wal = {"error": "", "whole": True, "missing": [], "lost": 0, "checked": 3, "last": "000000010000000000000004", "timeline": 1}
    wal["last_at"] = NOW - 50
    live = {"error": "", "system_identifier": ID, "in_recovery": False, "answers": [], "timeline": 1, "databases": ["postgres", "soma"]}
    raw = {
        "now": NOW, "target": NOW - 100, "target_error": "", "live": live, "data_dir": "/data", "places": ["/side", "/data"],
        "bin_dir": "/bin",
        "control": {}, "standby": False, "interrupted": {}, "info": {"error": "", "state": "ok", "backups": [backup]}, "backup": backup,
        "chosen": ["", ""], "wal": wal, "database": "soma",
        "space": {"side_free": 1000, "side_needed": 120, "repository_free": None, "repository_needed": 50},
    }  # fmt: skip
    return {**raw, **more}


OPTIONS: dict[str, t.Any] = {"side_dir": "/side", "stanza": "main", "system_identifier": "", "done": {}, "last": {}, "again": False}


def changed(key: str, **more: t.Any) -> dict[str, t.Any]:
    return world(**{key: {**world()[key], **more}})


DOWN = {"error": "no socket", "sqlstate": "08001", "answers": []}
REFUSED: list[tuple[str, dict[str, t.Any], dict[str, t.Any]]] = [
    ("target_unusable", world(target_error="has no zone"), {}),
    ("target_unusable", world(target=NOW + 5), {}),
    ("shut_out", world(live=dict(DOWN, sqlstate="28P01"), data_dir=""), {}),
    ("shut_out", dict(changed("wal", last_at=NOW - 150), live=dict(DOWN, sqlstate="42501")), {}),
    ("shut_out", changed("live", may_switch=False), {}),
    ("shut_out", changed("live", may_promote=False), {"mode": "swap"}),
    ("shut_out", changed("live", lacks={"public.t": "SELECT"}), {}),
    ("shut_out", changed("live", lacks={"public.t": "USAGE"}), {"tables": ["t"]}),
    ("shut_out", changed("live", lacks={"public.t": "INSERT"}), {"tables": ["public.t"]}),
    ("shut_out", changed("live", lacks={"public.t": "SELECT"}), {"tables": ["public.t"], "mode": "swap"}),
    *[("live_unclear", world(live=dict(DOWN, sqlstate=state)), {}) for state in ("", "3D000", "57P03", "57014", "53300")],
    ("no_data_dir", world(data_dir="", places=["/side", ""]), {}),
    ("no_data_dir", world(places=["/data", "/data"]), {}),
    ("no_data_dir", world(places=["/data/side", "/data"]), {}),
    ("no_data_dir", world(places=["/", "/data"]), {}),
    ("no_server_programs", world(bin_dir=""), {}),
    ("standby", world(standby=True), {}),
    ("repository_unusable", world(info={"error": "no", "state": "repository_unusable", "backups": []}), {}),
    ("no_stanza", world(info={"error": "", "state": "no_stanza", "backups": []}), {}),
    ("no_backup", world(info={"error": "", "state": "no_backup", "backups": []}), {}),
    ("label_missing", world(chosen=["label_missing", "x"], backup=None), {}),
    ("before_first_backup", world(chosen=["before_first_backup", "x"], backup=None), {}),
    ("other_system", changed("backup", system_identifier="2"), {}),
    ("wrong_identity", world(), {"system_identifier": "2"}),
    ("other_system", world(live=DOWN, control={}), {}),
    ("repository_unusable", changed("wal", error="did not end in time", whole=None), {}),
    ("wal_gap", changed("wal", error="does not descend", whole=False), {}),
    ("wal_gap", changed("wal", whole=False, missing=["000000010000000000000003"], lost=1, last_at=NOW - 150), {}),
    ("wal_gap", changed("wal", whole=False, missing=["000000010000000000000002"], lost=9, last="", last_at=0.0), {}),
    ("wal_gap", dict(changed("wal", last_at=NOW - 150), live=DOWN, control={"Database system identifier": ID}), {}),
    ("no_room", changed("space", side_free=119), {}),
    ("no_room", changed("space", repository_free=49), {}),
]


@pytest.mark.parametrize(("state", "raw", "more"), REFUSED, ids=[f"{number}-{one[0]}" for number, one in enumerate(REFUSED)])
def test_each_thing_that_forbids_a_restore_is_refused_by_its_name(state: str, raw: dict[str, t.Any], more: dict[str, t.Any]) -> None:
    health = judge_restore(raw, dict(OPTIONS, **more))
    assert (health.state, health.actions, health.health.value) == (state, (), "sick")
    assert CODES[state] in REASONS
    assert health.facts["identity_mismatch"] == (state == "wrong_identity")


@pytest.mark.parametrize(
    "raw",
    [
        world(),
        changed("wal", whole=False, missing=["000000010000000000000009"], lost=1, last_at=NOW - 50),
        world(live=DOWN, control={"Database system identifier": ID}),
        changed("space", side_free=None),
    ],
    ids=["all well", "a gap after the target", "live down", "room not known"],
)
def test_what_leads_to_the_target_is_offered(raw: dict[str, t.Any]) -> None:
    assert obstacle(raw, OPTIONS) == ("", "")
    assert judge_restore(raw, OPTIONS).actions == ("restore_beside", "cut_over")


@pytest.mark.parametrize(
    ("lacks", "more"),
    [
        ({"public.t": "INSERT"}, {}),
        ({"public.t": "INSERT"}, {"tables": ["t"], "mode": "swap"}),
        ({"public.u": "SELECT", "own.t": "USAGE"}, {"tables": ["t"]}),
    ],
)
def test_a_right_that_is_not_needed_is_not_asked_for(lacks: dict[str, str], more: dict[str, t.Any]) -> None:
    assert obstacle(changed("live", lacks=lacks, may_promote=more.get("mode") == "swap"), dict(OPTIONS, **more)) == ("", "")


def test_the_same_restore_is_not_done_twice_unless_asked_for() -> None:
    last = {"target": time_text(NOW - 100), "stanza": "main"}
    assert judge_restore(world(), dict(OPTIONS, last=last)).health.value == "well"
    assert judge_restore(world(), dict(OPTIONS, last=last, again=True)).actions
    assert judge_restore(world(), dict(OPTIONS, last=dict(last, stanza="other"))).actions
    assert judge_restore(world(target=NOW - 99), dict(OPTIONS, last=last)).actions


def test_a_swap_that_was_begun_comes_before_all_else() -> None:
    health = judge_restore(world(interrupted={"folder": "/side/x", "state": "staged", "run_id": "r"}, live=DOWN), OPTIONS)
    assert (health.state, health.actions) == ("swap_interrupted", ("finish_swap",))
    assert judge_restore(world(interrupted={"folder": "/side/x", "state": "unreadable", "text": "x"}), OPTIONS).actions == ()


ANSWER = {"name": "rows", "right": True, "text": ""}


@pytest.mark.parametrize(
    ("live", "done", "health"),
    [
        ({}, {"mode": "insert_missing"}, "well"),
        ({"answers": [ANSWER]}, {"mode": "insert_missing"}, "well"),
        ({"answers": [dict(ANSWER, right=False)]}, {"mode": "insert_missing"}, "sick"),
        ({"answers": [dict(ANSWER, right=None)]}, {"mode": "insert_missing"}, "unknown"),
        ({"in_recovery": True}, {"mode": "swap"}, "sick"),
        ({"error": "starting", "sqlstate": "57P03"}, {"mode": "swap"}, "unknown"),
        ({"error": "refused", "sqlstate": "08001"}, {"mode": "swap"}, "sick"),
        ({}, {"mode": "swap", "wants_backup": True, "since": 5.0}, "unknown"),
        ({}, {"mode": "swap", "wants_backup": True, "since": 1.0}, "well"),
    ],
)
def test_what_was_done_is_proven_by_live_itself(live: dict[str, t.Any], done: dict[str, t.Any], health: str) -> None:
    assert judge_restore(changed("live", **live), dict(OPTIONS, done=done)).health.value == health


def rows(table: str, **more: t.Any) -> dict[str, t.Any]:
    return {"table": table, "restored": 10, "live": 6, "missing": 5, "extra": 1, "changed": 2, "exact": True, "note": "", **more}


def plans(compared: list[dict[str, t.Any]], swappable: str = "", raw: t.Any = None, **more: t.Any) -> dict[str, dict[str, t.Any]]:
    params = {"stanza": "main", "mode": "", "tables": ["t"], "tolerance": 0.0, **more}
    return {one["name"]: one for one in restore_target.plans_of(raw or world(), compared, params, swappable)}


def test_each_plan_tells_what_it_loses() -> None:
    offered = plans([rows("public.t"), rows("public.u", extra=0, changed=0)], tables=["t", "u"])
    assert offered["insert_missing"]["loss"] == {"count": 0, "unit": "rows", "exact": True}
    assert offered["insert_missing"]["counts"] == {"public.t": 5, "public.u": 5}
    assert "deleted on purpose since then come back too" in offered["insert_missing"]["text"]
    assert "on purpose" not in plans([rows("public.t", missing=0)])["insert_missing"]["text"]
    assert offered["swap"]["loss"] == {"count": 3, "unit": "rows", "exact": True}
    assert "1.7 minutes" in offered["swap"]["text"]
    assert "3 of public.t" in offered["swap"]["text"]


@pytest.mark.parametrize(
    ("tables", "more", "names"),
    [
        ([rows("public.t")], {"mode": "swap"}, ["swap"]),
        ([rows("public.t")], {"mode": "insert_missing"}, ["insert_missing"]),
        ([rows("public.t")], {"swappable": "other filesystem"}, ["insert_missing"]),
        ([rows("public.t")], {"tables": []}, ["swap"]),
        ([rows("public.t", exact=False)], {}, ["swap"]),
        ([rows("public.t")], {"mode": "swap", "swappable": "other filesystem"}, []),
    ],
)
def test_only_what_is_possible_is_offered(tables: list[dict[str, t.Any]], more: dict[str, t.Any], names: list[str]) -> None:
    assert sorted(plans(tables, **more)) == names


def test_a_loss_that_is_not_counted_whole_is_not_exact() -> None:
    no_key = plans([rows("public.t"), rows("public.u", exact=False, changed=None)])["swap"]
    assert (no_key["loss"]["count"], no_key["loss"]["exact"], no_key["counts"]) == (None, False, {})
    assert "what else is lost of public.u is not known" in no_key["text"]
    down = plans([], raw=world(live=DOWN))["swap"]
    assert (down["loss"]["count"], down["counts"]) == (None, {})
    other = plans([rows("public.t")], raw=changed("live", databases=["postgres", "soma", "billing"]))["swap"]
    assert not other["loss"]["exact"]
    assert "billing" in other["text"]
    assert other["loss"]["count"] is None
    for beside in (dict(world(), beside_tables=True), changed("live", large_objects=3)):
        raw = dict(beside, live=dict(beside["live"], databases=["postgres", "soma"]))
        assert plans([rows("public.t")], raw=raw)["swap"]["loss"] == {"count": None, "unit": "rows", "exact": False}


def test_a_swap_loses_rows_of_tables_that_nobody_named_too() -> None:
    made_since = rows("public.new", restored=0, live=40, missing=0, extra=40, changed=0, exact=False)
    dropped = rows("public.old", live=0, missing=None, extra=0, changed=0, exact=False)
    offered = plans([rows("public.t"), rows("public.u", extra=7), made_since, dropped])
    assert offered["swap"]["loss"] == {"count": 3 + 9 + 40, "unit": "rows", "exact": True}
    assert offered["insert_missing"]["counts"] == {"public.t": 5}
    assert offered["insert_missing"]["binds"]["tables"] == ["public.t"]
    assert "insert_missing" not in plans([rows("public.u")])


def stream(rows_of: t.Mapping[str, str]) -> list[bytes]:
    return [f"{key}\t{row}\n".encode() for key, row in sorted(rows_of.items())]


def test_differences_of_two_streams_are_those_of_two_sets() -> None:
    chance = random.Random(7)  # noqa: S311
    for _turn in range(200):
        first = {f"{chance.randrange(40):032x}": str(chance.randrange(3)) for _one in range(chance.randrange(30))}
        second = {f"{chance.randrange(40):032x}": str(chance.randrange(3)) for _one in range(chance.randrange(30))}
        found = compare.merge(stream(first), stream(second))
        assert found.keys == {key: row for key, row in first.items() if key not in second}
        assert (found.first, found.second, found.missing) == (len(first), len(second), len(found.keys))
        assert found.extra == len(set(second) - set(first))
        assert found.changed == sum(first[key] != second[key] for key in set(first) & set(second))


def test_a_stream_that_is_not_sorted_is_not_believed() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        compare.merge([b"b\t1\n", b"a\t1\n"], [])


def table(name: str, *parents: str) -> compare.Table:
    return compare.Table("public", name, ("id",), ("id",), tuple("public." + one for one in parents))


def test_parents_come_first_and_a_circle_does_not_end_it() -> None:
    order = [one.name for one in compare.parents_first([table("a", "b"), table("b", "c"), table("c"), table("d", "a", "x")])]
    assert order == ["c", "b", "a", "d"]
    assert len(compare.parents_first([table("a", "b"), table("b", "a")])) == 2


def test_a_name_without_a_schema_is_of_public() -> None:
    tables = {one.full_name: one for one in (table("a"), table("b"))}
    assert compare.choose_tables(tables, ["a", "public.a", "other.a", 'x"; DROP'])[1] == ["other.a", 'public.x"; DROP']
    assert len(compare.choose_tables(tables, [])[0]) == 2


def test_a_side_instance_listens_nowhere_and_archives_nothing() -> None:
    words = settings_of("/private", {"max_connections setting": "300", "wal_level setting": "logical"}, {"max_connections": 400})
    assert words["max_connections"] == "400"
    assert {name: words[name] for name in ("listen_addresses", "archive_mode", "shared_preload_libraries", "primary_conninfo")} == {
        "listen_addresses": "", "archive_mode": "off", "shared_preload_libraries": "", "primary_conninfo": "",
    }  # fmt: skip
    assert words["unix_socket_directories"] == "/private"
    assert SETTINGS["unix_socket_permissions"] == "0700"


def test_a_restore_goes_into_a_directory_of_its_own_and_over_nothing() -> None:
    raw = dict(world(), backup=dict(world()["backup"], wal_start="000000010000000000000002"))
    words = restore_target.restore_words({}, raw, "/side/restore-x")
    assert not {"--delta", "--force"} & set(words)
    assert {"--archive-mode=off", "--type=time", "--target-action=pause", "--pg1-path=/side/restore-x/data"} <= set(words)
    assert "--tablespace-map-all=/side/restore-x/tablespaces" in words
    assert "--target-timeline=current" in words
    later = dict(raw, wal=dict(raw["wal"], timeline=3))
    assert "--target-timeline=3" in restore_target.restore_words({}, later, "/side/x")


class Places:
    """A live and a restored directory with two tablespaces, and the moves that swap them."""

    def __init__(self, top: Path) -> None:
        self.top, self.live, self.side = top, top / "lib/live", top / "lib/side/data"
        for path, word in ((self.live, "old"), (self.side, "new")):
            (path / "pg_tblspc").mkdir(parents=True)
            (path / "word").write_text(word)
        spaces = {}
        for oid in ("1", "2"):
            for path, word, name in ((self.live, "old", top / f"ts{oid}"), (self.side, "new", top / f"lib/side/ts{oid}")):
                name.mkdir()
                (name / "word").write_text(word)
                (path / "pg_tblspc" / oid).symlink_to(name)
            spaces[oid] = {"live": str(top / f"ts{oid}"), "side": str(top / f"lib/side/ts{oid}")}
        self.moves = swap.plan_moves(str(self.live), str(self.side), spaces, "r1")

    def state(self) -> list[t.Any]:
        """Return what a server that starts would find: the word of the data and of each tablespace; None for no data at all."""
        found: list[t.Any] = []
        for path in (self.live / "word", self.live / "pg_tblspc/1/word", self.live / "pg_tblspc/2/word"):
            found.append(path.read_text() if path.exists() else None)
        return found


OLD, NEW = ["old"] * 3, ["new"] * 3


def test_directories_and_tablespaces_are_swapped_and_swapped_back(tmp_path: Path) -> None:
    places = Places(tmp_path)
    swap.judge_places(places.moves)
    assert swap.forward(places.moves) == len(places.moves)
    assert places.state() == NEW
    assert os.readlink(places.live / "pg_tblspc/1") == str(tmp_path / "ts1")
    assert swap.forward(places.moves) == 0
    assert swap.backward(places.moves) == len(places.moves)
    assert places.state() == OLD
    assert swap.backward(places.moves) == 0
    assert swap.forward(places.moves)
    assert places.state() == NEW


class Killed(Exception):
    """The process ended here."""


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_swap_that_was_killed_at_any_point_is_ended_in_either_direction(
    tmp_path: Path, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, seen = 0, set()
    while True:
        number += 1
        places = Places(tmp_path / f"{direction}{number}")
        if direction == "backward":
            swap.forward(places.moves)
        calls, real = 0, {name: getattr(os, name) for name in ("rename", "symlink")}

        def counting(name: str, real: t.Any = real, number: int = number) -> t.Any:
            def call(*words: t.Any, **more: t.Any) -> None:
                nonlocal calls
                calls += 1
                if calls == number:
                    raise Killed
                real[name](*words, **more)

            return call

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, counting(name))
            try:
                getattr(swap, direction)(places.moves)
                break
            except Killed:
                pass
        seen.add(str(places.state()))
        # Half of it is never startable: the data directory is there with its own tablespaces, or it is not there.
        assert places.state() in (OLD, NEW) or places.state()[0] is None or direction == "backward", places.state()
        ending = "forward" if number % 2 else "backward"
        getattr(swap, ending)(places.moves)
        assert places.state() == (NEW if ending == "forward" else OLD)
    assert number > len(places.moves)
    assert len(seen) == 2


def test_what_a_stranger_put_in_the_way_stops_a_swap(tmp_path: Path) -> None:
    places = Places(tmp_path)
    os.rename(places.live, str(places.live) + ".before-r1")
    places.live.mkdir()
    with pytest.raises(swap.Unfit, match="exist$"):
        swap.forward(places.moves)


def test_a_link_that_leads_out_is_found(tmp_path: Path) -> None:
    data = tmp_path / "side/data"
    (data / "pg_tblspc").mkdir(parents=True)
    (tmp_path / "side/ts").mkdir()
    (data / "pg_tblspc/1").symlink_to(tmp_path / "side/ts")
    assert swap.links_outside(str(data), str(tmp_path / "side")) == []
    (data / "pg_wal").symlink_to(tmp_path)
    assert len(swap.links_outside(str(data), str(tmp_path / "side"))) == 1


def test_the_settings_of_the_restore_do_not_outlive_it(tmp_path: Path) -> None:
    live, side = tmp_path / "live", tmp_path / "side"
    side.mkdir()
    text = "work_mem = '5MB'\narchive_mode = 'off'\nrestore_command = 'x'\nrecovery_target_time = 'y'\n"
    (side / "postgresql.auto.conf").write_text(text)
    assert swap.keep_configuration(str(live), str(side)) == ["postgresql.auto.conf"]
    assert (side / "postgresql.auto.conf").read_text().split() == ["work_mem", "=", "'5MB'"]
    live.mkdir()
    (live / "pg_hba.conf").write_text("now\n")
    (side / "pg_hba.conf").write_text("then\n")
    swap.keep_configuration(str(live), str(side))
    assert (side / "pg_hba.conf").read_text() == "now\n"
