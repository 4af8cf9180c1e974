# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses are never asked, and which URLs are not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
    ],
)
def test_link_local_and_metadata_addresses_are_refused_in_every_notation(host: str) -> None:
    assert http.ask(f"http://{host}/latest/meta-data", 1).error == "forbidden_address"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "192.168.1.1", "fd12:3456::1", "8.8.8.8"])
def test_ordinary_addresses_are_not_refused(address: str) -> None:
    assert not http.is_forbidden(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@host/",
        "http://host/a b",
        "http://host/\r\nX-Injected: 1",
        "http://host:99999/",
        "http://[::1",
        "http://h\u00f6st/",
        "http://host/" + "x" * 5000,
    ],
)
def test_a_url_that_is_not_plain_http_is_not_asked(url: str) -> None:
    answer = http.ask(url, 1)
    assert answer.error == "bad_url"
    assert "secret" not in answer.detail


@pytest.mark.parametrize(
    ("location", "origin"),
    [
        ("http://evil.example:81/steal?token=abc", "http://evil.example:81"),
        ("https://user:pw@evil.example/", "https://evil.example"),
        ("/login", "relative"),
        ("//evil.example/x", "http://evil.example"),
        ("http://a\u202eb/", "http://a\\u202eb"),
        ("http://[", "unreadable"),
    ],
)
def test_of_a_redirect_only_the_origin_is_told(location: str, origin: str) -> None:
    assert http.origin_of(location) == origin


def test_a_secret_file_is_one_word(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc123\n")
    file.chmod(0o600)
    assert http.read_secret(str(file)) == ("abc123", "")
    file.chmod(0o644)
    assert http.read_secret(str(file)) == ("", "it has mode 0644, so others can read it: chmod 600 %s" % file)


@pytest.mark.parametrize(("content", "problem"), [(b"", "one single word"), (b"two words", "one single word"), (b"\xff\xfe", "ASCII")])
def test_a_file_without_one_word_is_no_secret(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    secret, told = http.read_secret(str(file))
    assert secret == ""
    assert problem in told


def test_a_secret_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert http.read_secret(str(tmp_path / "none"))[1] == "the file does not exist"
