# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A statement is named by its shape: whatever may be data is gone, and the same shape has the same name."""

from __future__ import annotations

import time

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.fingerprint import fingerprint

SHAPES = [
    ("UPDATE t SET x = 'SECRET''s', y = 12.5e-3, z=1e+9 WHERE id = -3", "UPDATE t SET x = ?, y = ?, z=? WHERE id = -?"),
    ("select * from t1 where id in (1, 'SECRET', -3,$4)", "select * from t1 where id in (?)"),
    ("insert into t values (1,'SECRET'), (2,'b') , (3,'c')", "insert into t values (?)"),
    ("select 1 -- SECRET\n+ 2 /* SECRET /* SECRET */ SECRET */ ;", "select ? + ?"),
    (r"select E'a\'SECRET', e'\\', U&'\0053ECRET', B'01', x'5EC', N'SECRET'", "select ?"),
    ("do $$ begin SECRET end $$", "do ?"),
    ("select $a$ SECRET $$ SECRET $a$, $1", "select ?"),
    ('select "Simple", "a SECRET", "x""SECRET" from "T"', 'select "Simple", "?", "?" from "T"'),
    ("SET app.token = SECRET", "SET app.token = ?"),
    ("set local x to 'SECRET', SECRET", "set local x to ?"),
    ("select 0xFF, 1_000, .5, a.b2", "select ?, a.b2"),
    # What was cut in the middle, or may go on as data, ends there.
    ("select a, 'SECRET", "select a, ?"),
    ("select a, $q$ SECRET", "select a, ?"),
    ("select a /* SECRET", "select a"),
    ("select E'SECRET\\", "select ?"),
    ('select "SECRET', 'select "?"'),
    ("select 'a\\', SECRET, 'b'", "select ?"),
    ("", ""),
    ("/* SECRET */", ""),
]


@pytest.mark.parametrize(("statement", "shape"), SHAPES)
def test_what_is_data_is_gone(statement: str, shape: str) -> None:
    found = fingerprint(statement)
    assert found.text == shape
    assert "SECRET" not in found.text
    assert len(found.short) == (12 if shape else 0)


def test_one_shape_has_one_name() -> None:
    names = {
        fingerprint(text).short for text in ("SELECT 1  FROM t", "select 22\nfrom T;", "select 'x' /* y */ from t", "select $1 from t")
    }
    assert len(names) == 1
    assert fingerprint("select 1 from u").short not in names


def test_text_for_a_terminal_is_one_line_without_escapes() -> None:
    text = fingerprint('select \x1b[31m, \u202e, "{{ x }}" from t', 200).text
    assert text.isprintable()
    assert "{{" not in text
    assert len(fingerprint("select " + "a, " * 9000).text) == 160


@pytest.mark.parametrize(
    "text", ["(" * 200000, "/*" * 100000, "'" * 200001, "$a$" * 70000, "?, " * 60000, "(1)," * 50000, " " * 200000, "1" * 200000]
)
def test_any_length_is_read_at_once(text: str) -> None:
    begun = time.monotonic()
    fingerprint(text)
    assert time.monotonic() - begun < 5
