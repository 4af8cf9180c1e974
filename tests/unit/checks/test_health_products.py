# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the health answers of Spring, ASP.NET, Django and Kubernetes mean, and which answers are none of theirs."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import products

Told = tuple[str, list[tuple[str, str, str]]]
NONE: Told = ("", [])


def told(found: tuple[str, list[t.Any]]) -> Told:
    return found[0], [(one.name, one.state.value, one.text) for one in found[1]]


UP, DOWN = {"status": "UP"}, {"status": "DOWN"}
BODIES: dict[str, tuple[t.Any, Told]] = {
    "no dictionary": ([], NONE),
    "empty": ({}, NONE),
    "spring, up": (UP, ("spring", [("status", "well", "status is UP")])),
    "spring, with all that it may say": (
        {**UP, "components": {"db": UP}, "details": {"db": DOWN}, "groups": ["live"]},
        ("spring", [("status", "well", "status is UP")]),
    ),
    "spring, a part is down": (
        {**DOWN, "components": {"db": DOWN, "disk": UP}},
        ("spring", [("status", "sick", "status is DOWN"), ("parts", "well", "not well: db")]),
    ),
    "spring 1, in its own words": (
        {**DOWN, "details": {"db": DOWN}},
        ("spring", [("status", "sick", "status is DOWN"), ("parts", "well", "not well: db")]),
    ),
    "spring, with a field of somebody else": ({**UP, "version": "1"}, NONE),
    "aspnet": (
        {"status": "Degraded", "entries": {"db": {"status": "Unhealthy"}, "mail": {"status": "Healthy"}}},
        ("aspnet", [("status", "sick", "status is Degraded"), ("parts", "well", "not well: db")]),
    ),
    "aspnet, by its other name": ({"status": "Healthy", "results": {}}, ("aspnet", [("status", "well", "status is Healthy")])),
    "a word of aspnet without its parts": ({"status": "Healthy"}, NONE),
    "parts of aspnet without its word": ({"status": "fine", "entries": {}}, NONE),
    "django": (
        {"Cache": "working", "Database": "unavailable: no"},
        ("django", [("Cache", "well", "Cache is working"), ("Database", "sick", "Database is unavailable: no")]),
    ),
    "django, with a word of somebody else": ({"Cache": "working", "Database": "fine"}, NONE),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_read_as_what_it_is(name: str) -> None:
    body, wanted = BODIES[name]
    assert told(products.judge_body(body)) == wanted


FAILED = "[-]etcd failed: reason withheld"
TEXTS: dict[str, tuple[str, Told]] = {
    "aspnet": ("Healthy\n", ("aspnet", [("status", "well", "status is Healthy")])),
    "aspnet, and more": ("Healthy\nsurely", NONE),
    "kubernetes": ("[+]ping ok\nreadyz check passed", ("kubernetes", [("check", "well", "check is passed")])),
    "kubernetes, failed": (
        f"[+]ping ok\n{FAILED}\nreadyz check failed",
        ("kubernetes", [("check", "sick", "check is failed"), ("etcd", "sick", "etcd is failed: reason withheld")]),
    ),
    "kubernetes, without its sum": ("[+]ping ok", NONE),
    "kubernetes, with two": ("readyz check passed\nlivez check passed", NONE),
    "kubernetes, with a line of somebody else": ("[+]ping ok\nhello\nreadyz check passed", NONE),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_as_what_it_is(name: str) -> None:
    text, wanted = TEXTS[name]
    assert told(products.judge_text(text)) == wanted


def test_a_word_that_is_anybodys_counts_only_where_the_product_is_named() -> None:
    assert told(products.judge_text("ok\n", "kubernetes")) == ("kubernetes", [("check", "well", "check is ok")])
    assert told(products.judge_text("ok")) == told(products.judge_text("ok", "spring")) == NONE
    assert told(products.judge_text("no", "kubernetes")) == NONE


def test_long_answers_are_read_to_a_limit() -> None:
    checks = [f"[-]check{number} failed" for number in range(200)]
    assert len(products.judge_text("\n".join([*checks[:199], "readyz check failed"]))[1]) == 1 + 20
    # The line that sums them up is beyond the limit.
    assert told(products.judge_text("\n".join([*checks, "readyz check failed"]))) == NONE
    assert len(products.judge_body({f"part{number}": "working" for number in range(21)})[1]) == 20
