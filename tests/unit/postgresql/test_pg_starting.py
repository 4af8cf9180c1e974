# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a start would meet: in what the variables contradict a cluster, libraries that are missing, slots, large files."""

from __future__ import annotations

import os
import struct
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import starting

NOBODY: dict[str, t.Any] = {"postmaster": {}, "unseen": False}


def loaded(**given: str) -> dict[str, t.Any]:
    return {"files": ["/c"], "settings": {name: {"value": value, "from": "file", "file": "/c", "line": 7} for name, value in given.items()}}


@pytest.mark.parametrize(
    ("host", "port", "settings", "version", "said"),
    [
        ("", 5432, loaded(), "15", ""),
        ("", 5433, loaded(), "15", "port 5432 (the default)"),
        ("127.0.0.1", 5432, loaded(port="5433"), "15", "port 5433 (/c line 7)"),
        ("db.example.org", 5432, loaded(port="5433"), "15", ""),
        ("", 5433, dict(loaded(), files=[]), "15", ""),
        ("", 5432, loaded(data_directory="/elsewhere"), "15", "/elsewhere (/c line 7)"),
        ("", 5432, dict(loaded(), start_dir="/elsewhere"), "15", "starts the cluster in /elsewhere (the start command)"),
        ("", 5432, dict(loaded(), start_dir="${PGDATA}"), "15", ""),
        ("", 5432, loaded(), "14", "version 15, the programs found are of version 14"),
        ("", 5432, loaded(), "", ""),
    ],
)
def test_a_contradiction_is_named_with_where_it_is(
    tmp_path: Path, host: str, port: int, settings: dict[str, t.Any], version: str, said: str
) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    text = starting.misnamed({"host": host, "port": port}, settings, str(tmp_path), version)
    assert said in text
    assert bool(said) == bool(text)


def test_the_volume_of_a_container_is_not_the_machines_cluster() -> None:
    assert "Compose" in starting.misnamed({"host": "", "port": 5432}, loaded(), "/var/lib/docker/volumes/p_db/_data", "")


HERE = dict(NOBODY, postmaster={"pid": 7})


@pytest.mark.parametrize(
    ("own", "processes", "started", "cluster", "elsewhere"),
    [
        ("/other", NOBODY, None, True, True),
        # The directory of a container, which has its own.
        ("", NOBODY, None, True, False),
        ("same", NOBODY, None, False, False),
        ("same", NOBODY, None, True, True),
        ("same", NOBODY, 99.0, True, True),
        ("same", NOBODY, 11.0, True, False),
        ("same", HERE, 99.0, True, False),
        ("/other", HERE, None, True, False),
        ("/other", HERE, 11.0, True, False),
        ("/other", HERE, 99.0, True, True),
        ("/other", dict(NOBODY, unseen=True), 99.0, True, False),
    ],
)
def test_who_answers_is_who_is_meant(
    tmp_path: Path, own: str, processes: dict[str, t.Any], started: float | None, cluster: bool, elsewhere: bool
) -> None:
    if cluster:
        (tmp_path / "PG_VERSION").touch()
    named = str(tmp_path) if own == "same" else own
    assert bool(starting.answers_elsewhere(str(tmp_path), named, processes, {"started_at": 10.0}, started)) is elsewhere


def test_a_library_that_is_missing_is_named_and_none_where_the_programs_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("plpgsql.so", "there.so"):
        (tmp_path / "lib" / name).write_text("")
    bin_dir = str(tmp_path / "bin")
    missing = starting.missing_library(loaded(shared_preload_libraries='there, "gone"'), bin_dir)
    assert (missing["file"], missing["line"]) == ("/c", 7)
    assert "names gone, which is not installed (/c line 7)" in missing["text"]
    assert starting.missing_library(loaded(shared_preload_libraries="there,$libdir/there"), bin_dir) == {}
    assert starting.missing_library(loaded(), bin_dir) == {}
    assert starting.missing_library(loaded(shared_preload_libraries="gone"), "/nowhere") == {}


@pytest.mark.parametrize(
    ("ssl", "mode", "text"),
    [("off", 0o644, ""), ("on", 0o600, ""), ("on", 0o644, "may be read by others"), ("on", 0o200, "may not be read by its owner")],
)
def test_a_key_with_which_no_start_comes_up_is_named(tmp_path: Path, ssl: str, mode: int, text: str) -> None:
    effective = loaded(ssl=ssl, ssl_key_file="own.key")
    assert ("does not exist" in starting.unusable_key(effective, str(tmp_path)).get("text", "")) is (ssl == "on")
    (tmp_path / "server.crt").touch()
    (tmp_path / "own.key").touch()
    (tmp_path / "own.key").chmod(mode)
    found = starting.unusable_key(effective, str(tmp_path))
    assert found.get("text", "").endswith(text) if text else found == {}


def test_slots_are_told_by_what_they_keep(tmp_path: Path) -> None:
    for name, lsn in (("near", 900), ("far", 100), ("fresh", 0)):
        (tmp_path / "pg_replslot" / name).mkdir(parents=True)
        (tmp_path / "pg_replslot" / name / "state").write_bytes(b"\0" * 96 + struct.pack("=Q", lsn) + b"\0" * 80)
    assert [(one["name"], one["kept_bytes"]) for one in starting.load_slots(str(tmp_path), 1000)] == [
        ("far", 900),
        ("near", 100),
        ("fresh", 0),
    ]


def test_the_largest_files_are_named_the_data_left_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, size in (("data/own", 9 << 20), ("big", 5 << 20), ("bigger", 7 << 20), ("small", 100)):
        (tmp_path / name).write_bytes(b"x" * size)
    found = [one["path"] for one in starting.largest_files(str(tmp_path), str(tmp_path / "data"), seconds=0.01, most=50)]
    ours = [os.path.basename(path) for path in found if path.startswith(str(tmp_path))]
    assert ours == ["bigger", "big"]


def test_a_link_to_wal_that_is_not_there_is_lost_and_a_directory_is_not(tmp_path: Path) -> None:
    data, place = tmp_path / "data", tmp_path / "wal"
    (data / "pg_wal").mkdir(parents=True)
    assert starting.load_lost_wal(str(data)) == ""
    (data / "pg_wal").rmdir()
    (data / "pg_wal").symlink_to(place)
    assert starting.load_lost_wal(str(data)) == str(place)
    place.mkdir()
    assert starting.load_lost_wal(str(data)) == str(place)
    (place / ("0" * 24)).touch()
    assert starting.load_lost_wal(str(data)) == ""


def test_a_tablespace_whose_directory_holds_nothing_is_lost(tmp_path: Path) -> None:
    links = tmp_path / "data" / "pg_tblspc"
    links.mkdir(parents=True)
    for number, name in enumerate(("whole", "empty", "gone"), 16384):
        (links / str(number)).symlink_to(tmp_path / name)
    (tmp_path / "whole" / "PG_15_202209061").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    assert starting.load_lost_tablespaces(str(tmp_path / "data")) == [str(tmp_path / "empty"), str(tmp_path / "gone")]
