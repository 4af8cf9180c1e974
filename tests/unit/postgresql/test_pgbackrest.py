# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgBackRest 2.45 says, read and judged: stanzas, backups, the choice of one, its verify that ends with 0."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import pgbackrest
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import Ran


def told(code: int, *labels: str, error: bool = False, held: bool = False, repo: t.Optional[list[dict[str, t.Any]]] = None) -> str:
    backups = [
        {
            "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000002"},
            "database": {"id": 1, "repo-key": 1},
            "error": error,
            "info": {"size": 1000, "repository": {"size": 300, "delta": 300}},
            "label": label,
            "timestamp": {"start": 100 * (number + 1) - 10, "stop": 100 * (number + 1)},
            "type": "full",
        }
        for number, label in enumerate(labels)
    ]
    one = {
        "name": "main",
        "backup": backups,
        "db": [{"id": 1, "repo-key": 1, "system-id": 7712048195422943031, "version": "15"}],
        "repo": repo or [{"key": 1, "status": {"code": code, "message": "as it is"}}],
        "status": {"code": code, "message": "as it is", "lock": {"backup": {"held": held}}},
    }
    return json.dumps([one])


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (told(0, "a"), "ok"),
        (told(1), "no_stanza"),
        (told(2), "no_backup"),
        (told(3), "no_stanza"),
        (told(99), "repository_unusable"),
        (told(4, "a", repo=[{"status": {"code": 99}}, {"status": {"code": 0}}]), "ok"),
        (told(4, repo=[{"status": {"code": 99}}, {"status": {"code": 2}}]), "repository_unusable"),
        ("[]", "no_stanza"),
        ("", "no_stanza"),
        ("nonsense", "repository_unusable"),
        ('["main"]', "repository_unusable"),
    ],
)
def test_the_state_of_a_stanza(text: str, state: str) -> None:
    assert pgbackrest.read_info(text, "main")["state"] == state


def test_a_backup_is_told_with_the_system_it_is_of() -> None:
    info = pgbackrest.read_info(told(0, "20261125-100548F", held=True), "main")
    [backup] = info["backups"]
    assert info["locked"]
    assert backup["system_identifier"] == "7712048195422943031"
    assert (backup["archive_id"], backup["bytes"], backup["repository_bytes"]) == ("15-1", 1000, 300)
    assert pgbackrest.read_info(told(0, "x"), "other")["state"] == "no_stanza"


@pytest.mark.parametrize(
    ("target", "label", "chosen", "state"),
    [
        (0, "", "c", ""),
        (1000, "", "c", ""),
        (300, "", "b", ""),
        (300.9, "", "b", ""),
        (301, "", "c", ""),
        (250, "", "b", ""),
        (101, "", "a", ""),
        (100.5, "", None, "before_first_backup"),
        (50, "", None, "before_first_backup"),
        (250, "a", "a", ""),
        (250, "c", None, "before_first_backup"),
        (250, "d", None, "label_missing"),
    ],
)
def test_the_newest_backup_that_was_complete_before_the_target_is_chosen(target: float, label: str, chosen: t.Any, state: str) -> None:
    backups = pgbackrest.read_info(told(0, "a", "b", "c"), "main")["backups"]
    found, why, _text = pgbackrest.choose_backup(backups, target, label)
    assert (found and found["label"], why) == (chosen, state)


def test_a_backup_with_an_error_is_none() -> None:
    backups = pgbackrest.read_info(told(0, "a", error=True), "main")["backups"]
    assert pgbackrest.choose_backup(backups, 0.0)[1] == "no_backup"
    assert pgbackrest.choose_backup([], 0.0)[1] == "no_backup"


GOOD = """stanza: demo
status: ok
  archiveId: 15-1, total WAL checked: 2, total valid WAL: 2
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261125-100548F, status: valid, total files checked: 972, total valid files: 972
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
"""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (GOOD, 0),
        (GOOD.replace("missing: 0, checksum invalid: 0", "missing: 3, checksum invalid: 0", 1), 1),
        (GOOD.replace("status: valid", "status: invalid"), 1),
        (GOOD.replace("status: ok", "status: error"), 1),
        (GOOD + "2026-11-25 10:07:07.607 P01  ERROR: [028]: invalid checksum\n", 1),
        ("", 1),
        ("ERROR: [055]: unable to open\n", 2),
    ],
)
def test_verify_is_read_and_not_believed(text: str, wrong: int) -> None:
    assert len(pgbackrest.judge_verify(0, text)) == wrong


@pytest.mark.parametrize(
    ("ran", "text"),
    [
        (Ran(0, "{}", ""), ""),
        (Ran(55, "", "ERROR: [055]: unable to open missing file\n"), "[055]: unable to open missing file"),
        (Ran(0, "", "ERROR: [028]: bad\n"), "[028]: bad"),
        (Ran(-15, "", "", True), "pgBackRest did not finish in time"),
        (Ran(3, "", ""), "pgBackRest failed with exit code 3"),
        (Ran(1, "", "ERROR: [1]: key password=hunter22 \x1b[2J\n"), "[1]: key password=[redacted] \\x1b[2J"),
    ],
)
def test_an_error_is_one_line_without_secrets(ran: Ran, text: str) -> None:
    assert pgbackrest.error_of(ran) == text


@pytest.mark.parametrize("stanza", ["", "a b", "--config=/x", "../x", "x;y", "x" * 200, "x\n"])
def test_a_strange_stanza_is_not_asked_for(stanza: str) -> None:
    assert pgbackrest.load_info({"stanza": stanza, "pgbackrest": "/bin/false", "os_user": ""}, 1.0)["state"] == "no_stanza"


@pytest.mark.parametrize(
    ("text", "path", "local"),
    [
        ("[global]\nrepo1-path=/srv/repo\n", "/srv/repo", True),
        ("[global]\nrepo1-path=/srv/repo\n[main]\nrepo1-path=/own\n", "/own", True),
        ("[global]\nrepo1-host=backup1\n", pgbackrest.REPO_PATH, False),
        ("[global]\nrepo1-type=s3\n", pgbackrest.REPO_PATH, False),
        ("[other]\nx=1\n", pgbackrest.REPO_PATH, True),
    ],
)
def test_where_the_repository_is_says_its_configuration(tmp_path: Path, text: str, path: str, local: bool) -> None:
    file = tmp_path / "c"
    file.write_text(text)
    assert pgbackrest.repository_of({"stanza": "main", "pgbackrest_config": str(file)}) == {"path": path, "local": local}
    assert pgbackrest.repository_of({"stanza": "main", "pgbackrest_config": str(tmp_path / "none")})["local"] is None
