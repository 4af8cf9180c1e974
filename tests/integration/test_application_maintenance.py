# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application is told of maintenance over real HTTP: only a 2xx counts, and a secret goes nowhere else."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import application_maintenance as step


@contextlib.contextmanager
def application(status: int, heard: list[tuple[str, t.Any]], page: str = "") -> t.Iterator[str]:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((str(self.headers["Authorization"]), body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(page)))
            if page:
                self.send_header("Content-Type", "text/html; charset=utf-8")
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: t.Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/admin/maintenance"
        server.shutdown()


def told(url: str, token_file: str = "", check: bool = False) -> dict[str, t.Any]:
    given = {name: rule.get("default") for name, rule in step.ARGUMENT_SPEC.items()}
    return step.run(dict(given, url=url, enabled=True, token_file=token_file), check)


@pytest.mark.parametrize(
    ("status", "answered", "words"),
    [
        (200, True, "own maintenance is on"),
        (204, True, "own maintenance is on"),
        (404, False, "has no maintenance of its own (404)"),
        (405, False, "has no maintenance of its own (405)"),
        (401, False, "was not informed (status 401)"),
        (302, False, "was not informed (status 302)"),
        (500, False, "was not informed (status 500)"),
    ],
)
def test_only_a_2xx_is_believed_and_nothing_is_followed(tmp_path: Path, status: int, answered: bool, words: str) -> None:
    (tmp_path / "token").write_text("sesame\n")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "token").chmod(0o600)
    heard: list[tuple[str, t.Any]] = []
    with application(status, heard) as url:
        result = told(url, str(tmp_path / "token"))
    assert (result["answered"], result["changed"], result["status"]) == (answered, answered, status)
    assert words in result["say"][0]
    assert heard == [("Bearer sesame", {"enabled": True})]


def test_a_page_for_people_is_no_answer_though_its_status_is_200() -> None:
    heard: list[tuple[str, t.Any]] = []
    with application(200, heard, "<!doctype html><title>SomaBrain</title>") as url:
        result = told(url)
    assert (result["answered"], result["status"]) == (False, 200)
    assert "was not informed (got 200 and an HTML page" in result["say"][0]


def test_one_that_is_away_or_a_token_that_cannot_be_read_is_told_and_never_fails(tmp_path: Path) -> None:
    heard: list[tuple[str, t.Any]] = []
    with application(200, heard) as url:
        assert "was not informed" in told(url, str(tmp_path / "none"))["say"][0]
        assert "would tell" in told(url, check=True)["say"][0]
    assert heard == []
    assert "was not informed" in told(url)["say"][0]
