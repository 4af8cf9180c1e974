# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics are read as the parsers of prometheus_client read them, whatever their labels, times and exemplars are."""

from __future__ import annotations

import math
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import exposition

NAME = st.from_regex(r"[a-z_:][a-z0-9_:]{0,8}", fullmatch=True)
LABEL = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True).filter(lambda name: not name.startswith("__"))
VALUE = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\\"\n{},=# '), max_size=12)
NUMBER = st.floats(allow_nan=False) | st.integers(-(10**12), 10**12)
TIME = st.none() | st.integers(0, 2 * 10**12)
SAMPLE = st.tuples(NAME, st.dictionaries(LABEL, VALUE, max_size=4), NUMBER, TIME, st.booleans())
SPACE = st.sampled_from([" ", "  ", "\t"])


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def line_of(sample: t.Any, space: str, comma: str) -> str:
    name, labels, value, at, braces = sample
    inside = ",".join('%s="%s"' % (key, escaped(text)) for key, text in labels.items())
    told = "{%s%s}" % (inside, comma if inside else "") if inside or braces else ""
    return "%s%s%s%s" % (name, told, space, value) + ("" if at is None else "%s%d" % (space, at))


def shape_of(samples: t.Iterable[t.Any]) -> list[tuple[t.Any, ...]]:
    return sorted((one[0], sorted(one[1].items()), one[2], -1 if one[3] is None else round(float(one[3]), 3)) for one in samples)


@settings(max_examples=300, deadline=None)
@given(st.lists(SAMPLE, max_size=6), SPACE, st.sampled_from(["", ","]))
def test_the_text_format_is_read_as_its_own_parser_reads_it(samples: list[t.Any], space: str, comma: str) -> None:
    oracle = pytest.importorskip("prometheus_client.parser")
    text = "".join(line_of(one, space, comma) + "\n" for one in samples)
    expected = [one for family in oracle.text_string_to_metric_families(text) for one in family.samples]
    found, unread = exposition.parse(text)
    assert unread == []
    assert shape_of(found) == shape_of(expected)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(VALUE, st.integers(0, 10**9), st.booleans(), st.booleans()), min_size=1, max_size=5))
def test_an_exemplar_is_not_the_value(rows: list[tuple[str, int, bool, bool]]) -> None:
    oracle = pytest.importorskip("prometheus_client.openmetrics.parser")
    lines = ["# TYPE requests counter"]
    for number, (text, value, timed, exemplar) in enumerate(rows):
        line = 'requests_total{n="%d",path="%s"} %d' % (number, escaped(text), value) + (" 1700000000.25" if timed else "")
        lines.append(line + (' # {trace_id="b2"} 1.0 1700000000.5' if exemplar else ""))
    text = "\n".join([*lines, "# EOF"]) + "\n"
    expected = [one for family in oracle.text_string_to_metric_families(text) for one in family.samples]
    found, unread = exposition.parse(text)
    assert (unread, shape_of(found)) == ([], shape_of(expected))


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a{",
        'a{b="c"',
        'a{b="c} 1',
        "a{b=c} 1",
        'a{b="c",b="d"} 1',
        "a one",
        "a 1_0",
        "a 1 x",
        "a 1 2 3",
        '{b="c"} 1',
        "1a 2",
        "<html>",
    ],
)
def test_what_is_no_sample_is_named_and_never_guessed(line: str) -> None:
    assert exposition.parse(line + "\n") == ([], [line])


def test_names_in_quotes_and_numbers_that_are_none_are_read() -> None:
    samples, unread = exposition.parse('{"http.requests",path="/a"} 3\na NaN\nb +Inf\r\n# a comment\n\n')
    assert (unread, samples[0]) == ([], ("http.requests", {"path": "/a"}, 3.0, None))
    assert math.isnan(samples[1].value)
    assert samples[2].value == math.inf
