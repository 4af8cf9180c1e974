# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Untrusted text cannot move a cursor or forge a line, and secrets do not survive."""

from __future__ import annotations

import time

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import (
    MARK,
    in_url,
    one_line,
    redact,
    without_url_secrets,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
        ("abc\u202ecba", "abc\\u202ecba"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("line\u2028break", "line\\u2028break"),
        ("\x9bCSI", "\\x9bCSI"),
        (b"\xff\x00", "\\xff\\x00"),
        ("Größe ✓", "Größe ✓"),
        (None, "None"),
    ],
)
def test_hidden_characters_become_visible(text: object, shown: str) -> None:
    assert one_line(text) == shown


def test_a_line_never_exceeds_its_limit_and_says_that_it_was_cut() -> None:
    assert one_line("x" * 1000, 10) == "x" * 9 + "…"
    assert len(one_line("\x1b" * 1000, 10)) == 10
    assert one_line("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3t-value",
        "authorization=s3cr3t-value",
        "sent bearer s3cr3t-value to it",
        "AUTH s3cr3t-value",
        "AUTH default s3cr3t-value",
        "AUTH one-secret\nrequirepass s3cr3t-value",
        '"AUTH" "s3cr3t-value"',
        "password=s3cr3t-value&next=1",
        '{"password": "s3cr3t-value"}',
        "DB_PASSWORD: 's3cr3t-value with spaces'",
        "redis://:s3cr3t-value@host:6379/0",
        "postgres://soma:s3cr3t-value@host/db",
        "https://hooks.slack.com/services/T0/B0/s3cr3t-value",
        "https://chat.example/api/webhooks/1/s3cr3t-value",
        "requirepass s3cr3t-value",
        "api_key = s3cr3t-value",
        "--token s3cr3t-value-0123456789",
        "-----BEGIN RSA PRIVATE KEY-----\ns3cr3t-value\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_does_not_survive(text: str) -> None:
    cleaned = redact(text)
    assert "s3cr3t-value" not in cleaned
    assert MARK in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "missing bearer token", "NOAUTH Authentication required.", "auth failed for user soma", "max_tokens: 5", "http://host/a/b@c",
        "open /etc/redis_password: no such file or directory", "redis_password: cannot be read", "requirepass: not set",
        "/run/secrets/password: [Errno 2] No such file or directory", "api_token: file not found",
    ],
)  # fmt: skip
def test_words_about_secrets_stay_readable(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("word", ["a", "://", "https://", "auth ", "password=", "a.b-", "-----BEGIN PRIVATE KEY-----", "bearer "])
def test_hostile_repetition_does_not_make_redaction_slow(word: str) -> None:
    begun = time.process_time()
    redact(word * (300_000 // len(word)))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "text",
    [
        "cannot read the password: No such file or directory",
        "token: Permission denied",
        "password_file: Is a directory",
        "password: the file does not exist",
        "secret = it has mode 0644, so others can read it: chmod 600 /x",
    ],
)
def test_what_is_said_about_a_secrets_file_is_not_eaten(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    ["password: No", "password: No such", "token: the", "password=Permission", "secret: it's", 'password: "No such file or directory"'],
)
def test_a_secret_that_begins_like_a_message_does_not_survive(text: str) -> None:
    assert MARK in redact(text)


def test_credentials_are_taken_out_of_every_url_of_plain_data_and_nothing_else_is() -> None:
    data = {"a": ["see http://u:s3cret@h:80/x and redis://:s3cret@h", 7, None], "http://u:s3cret@h/": {"b": ("x@y", True)}}
    cleaned = without_url_secrets(data)
    assert "s3cret" not in str(cleaned)
    assert cleaned["a"] == [f"see http://{MARK}@h:80/x and redis://{MARK}@h", 7, None]
    assert cleaned[f"http://{MARK}@h/"] == {"b": ["x@y", True]}
    assert without_url_secrets("mail me at a@b, token T.P.1.MAC") == "mail me at a@b, token T.P.1.MAC"


SECRET_URLS = [
    "http://soma:PW@host/",
    "http://soma:PW@more@host/",
    "http://soma:PW/more@host/x",
    "http://PW@host",
    "http://host/health?token=PW",
    "http://host/health?a=1&access_token=PW&b=2",
    "https://host/x?X-Amz-Signature=PW",
    "https://host/x?sig=PW#y",
    "https://soma:PW@host/?api_key=PW",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_secret_of_a_url_is_found_and_neither_shown_nor_stored_wherever_the_line_is_cut(url: str) -> None:
    assert in_url(url)
    assert "PW" not in redact(url)
    assert "PW" not in str(without_url_secrets({"a": [{"url": url}]}))
    assert all("PW" not in one_line(url, limit) for limit in range(1, 60))


@pytest.mark.parametrize(
    "url",
    [
        "http://host:9696/health?verbose=1",
        "http://host:80/a@b",
        "http://[::1]:80/a@b",
        "http://host/?x=a&page=2",
        "http://host/?tokens_used=1",
        "see http://host: mail a@b",
        "token=of-no-url",
    ],
)
def test_a_url_without_a_secret_stays_as_it_is(url: str) -> None:
    assert not in_url(url)
    assert one_line(url) == without_url_secrets(url) == url
