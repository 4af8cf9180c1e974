# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings with which a cluster would start: every file, argument and variable that says one, and where each comes from."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import settings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "postgresql.conf").write_text(
        "port = 5433 # here\n#port = 1\nPort 5434\ninclude 'more.conf'\ninclude_if_exists = 'none.conf'\n"
        "include_dir 'conf.d'\nlog_directory = '/var/log/it''s'\nshared_preload_libraries = 'a, b'\n"
    )
    (tmp_path / "more.conf").write_text("hba_file='/etc/hba.conf'\nwork_mem = 4MB\n")
    (tmp_path / "conf.d/20.conf").write_text("work_mem = 16MB\n")
    (tmp_path / "conf.d/10.conf").write_text("work_mem = 8MB\n")
    (tmp_path / "conf.d/.hidden.conf").write_text("work_mem = 1MB\n")
    (tmp_path / "conf.d/not-read").write_text("work_mem = 2MB\n")
    return tmp_path


def told(data: Path, *words: str, **environment: str) -> dict[str, tuple[t.Any, ...]]:
    found = settings.load_settings(str(data), "", ["postgres", *words], environment)
    return {name: (one["value"], one["from"], Path(one["file"]).name, one["line"]) for name, one in found["settings"].items()}


def test_the_last_one_counts_whichever_file_has_it(data: Path) -> None:
    assert told(data, PGPORT="9999") == {
        "port": ("5434", "file", "postgresql.conf", 3),
        "hba_file": ("/etc/hba.conf", "file", "more.conf", 1),
        "work_mem": ("16MB", "file", "20.conf", 1),
        "log_directory": ("/var/log/it's", "file", "postgresql.conf", 7),
        "shared_preload_libraries": ("a, b", "file", "postgresql.conf", 8),
    }
    (data / "postgresql.auto.conf").write_text("# Do not edit\nport = '5435'\n")
    assert told(data)["port"] == ("5435", "auto", "postgresql.auto.conf", 2)
    assert told(data, "-p", "5436")["port"] == ("5436", "argument", "", 0)


def test_the_environment_counts_least(data: Path) -> None:
    (data / "postgresql.conf").write_text("")
    assert told(data, PGPORT="9999")["port"] == ("9999", "environment", "", 0)
    found = settings.load_settings(str(data))
    assert (settings.value_of(found, "port"), settings.place_of(found, "port")) == ("5432", "the default")


def test_an_include_that_is_missing_is_named_by_its_line(data: Path) -> None:
    (data / "more.conf").unlink()
    [missing] = settings.load_settings(str(data))["missing"]
    assert (missing["file"], missing["line"]) == (str(data / "postgresql.conf"), 4)
    assert str(data / "more.conf") in missing["text"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-D", "/d", "-c", "port=1"], {"-D": "/d", "port": "1"}),
        (["-D/d", "-cport=1", "-k", "/run"], {"-D": "/d", "port": "1", "unix_socket_directories": "/run"}),
        (["--work-mem=1MB", "--port=2", "-F"], {"work_mem": "1MB", "port": "2", "fsync": "off"}),
        (["-p2", "-i", "-N", "7", "-h", "::1"], {"port": "2", "max_connections": "7", "listen_addresses": "::1"}),
        (["-c"], {}),
        (["--single", "postgres"], {}),
    ],
)
def test_the_words_of_a_start_command_are_settings(words: list[str], found: dict[str, str]) -> None:
    assert {name: one["value"] for name, one in settings.in_words(["postgres", *words]).items()} == found


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/usr/lib/postgresql/15/bin/postgres -D /d -c x=1", ["/usr/lib/postgresql/15/bin/postgres", "-D", "/d", "-c", "x=1"]),
        ("/bin/true; /bin/sh -c exec postgres -D /d", ["postgres", "-D", "/d"]),
        ("/usr/bin/pg_ctlcluster 99-none start", ["postgres", "-c", "config_file=/etc/postgresql/99/none/postgresql.conf"]),
        ("/opt/start-it", ["/bin/postgres", "-D", "/d", "-p", "7"]),
        ("/usr/bin/pg_ctl start -D /d -o -p 7", ["postgres", "start", "-D", "/d", "-p", "7"]),
    ],
)  # fmt: skip
def test_the_command_of_the_service_counts_else_the_one_of_the_last_start(tmp_path: Path, command: str, words: list[str]) -> None:
    (tmp_path / "postmaster.opts").write_text('/bin/postgres "-D" "/d" "-p" "7"\n')
    assert settings.start_words(str(tmp_path), command) == words


@pytest.mark.parametrize(("text", "value"), [("'a''b'", "a'b"), (r"'a\'b'", "a'b"), (r"'\101\n'", "A\n"), ("on", "on")])
def test_a_quoted_value_is_read_as_postgresql_reads_it(text: str, value: str) -> None:
    assert settings.plain(text) == value
