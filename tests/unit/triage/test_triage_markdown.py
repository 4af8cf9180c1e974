# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A triage as Markdown: what another reader of Markdown makes of it, whatever the report holds."""

from __future__ import annotations

import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from triage import reports

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.markdown import as_markdown, fenced, literal

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = {"paragraph", "inline", "bullet_list", "list_item", "strong", "text", "code_inline", "fence", "softbreak"}
HOSTILE = (
    "[pay](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "<!-- -->",
    "`code` and ``more``",
    "```",
    "`",
    "| a | b |",
    "@channel",
    "#1 and GH-1",
    "see http://evil.example/",
    "www.evil.example",
    "evil.example",
    ":tada:",
    "**bold** _soft_ ~~gone~~",
    "# title",
    "- item",
    "1. item",
    "---",
    "> quote",
    "\\*",
    "&lt;b&gt;",
    "[ref]: http://evil.example",
    "$x$",
    "a\n\n# forged",
    "\x1b[31mred",
    "\u202eturned",
    "    code",
    "a_b_c __init__",
    " `a` ",
)


def tokens(text: str) -> t.Iterator[Token]:
    for token in READER.parse(text):
        yield token
        yield from token.children or []


def kinds(text: str) -> set[str]:
    return {re.sub(r"_(open|close)\Z", "", token.type) for token in tokens(text)}


def test_the_message_is_short_in_the_order_of_the_screen_and_has_the_command_in_a_block() -> None:
    text = as_markdown(reports.redis_down())
    lines = text.splitlines()
    assert lines[0] == "**SICK, P1 High**: Redis is down on app-1, so the API answers without working memory"
    titles = re.findall(r"^(?:- )?\*\*([^*]+)\*\*", text, re.MULTILINE)
    assert titles == [
        "SICK, P1 High",
        "For whom",
        "Since",
        "Alert",
        "Why P1",
        "Type",
        "Not well",
        "Changed",
        "On it",
        "Before",
        "Next",
        "Not seen",
        "Looked",
        "Clock",
    ]
    at = lines.index("ansible-playbook -i inventories/prod playbooks/recover-redis.yml --limit app-1")
    assert lines[at - 1] == lines[at + 1] == "```"
    assert "It will not: flush, delete or replace data, or restart the API." in text
    assert len(lines) < 50


def test_a_plain_sentence_is_no_code() -> None:
    for text in ("Redis is down on app-1, so the API answers", "2 times in 7 days, last 2026-11-27 02:10:44 UTC", "recover_redis (61 %)"):
        assert literal(text) == text


def test_a_hundred_hosts_are_no_flood() -> None:
    text = as_markdown(reports.many(100))
    assert len(text) < 8000
    assert "and 90 more: see the JSON report" in text


@pytest.mark.parametrize("name", ["redis down", "overridden", "all unknown", "healthy"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text_in_every_place(name: str, hostile: str) -> None:
    text = as_markdown(reports.with_text(reports.ALL[name](), hostile))
    assert kinds(text) <= OURS
    outside = " ".join(token.content for token in tokens(text) if token.type == "text")
    assert not re.search(r"[@<>\[\]|`$\\#~*]|://|www\.|[a-z]\.[a-z]{2}|:tada:|GH-1|\x1b|\u202e", outside)
    shown = [token.content.strip() for token in tokens(text) if token.type in ("text", "code_inline", "fence")]
    assert any(one_line(hostile, 200).strip() in one for one in shown)


@given(st.text(max_size=60))
def test_any_text_is_shown_as_it_is(hostile: str) -> None:
    wanted = one_line(hostile, 400).strip()
    text = "- **Since**: " + literal(wanted)
    assert kinds(text) <= OURS
    content = "".join(token.content for token in tokens(text) if token.type in ("text", "code_inline"))
    assert content.replace("Since", "", 1).lstrip(": ").strip() in (wanted.lstrip(": "), wanted, wanted.replace("\\u", "\\u"))


@given(st.text(alphabet="`a ~\n", max_size=30))
def test_a_command_cannot_leave_its_block(text: str) -> None:
    command = one_line(text, 400)
    found = READER.parse("\n".join([*fenced(command), "after"]))
    assert found[0].type == "fence"
    assert found[0].content == command + "\n"
    assert [token.content for token in found if token.type == "inline"] == ["after"]
