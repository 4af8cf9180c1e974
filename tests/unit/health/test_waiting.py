# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wait ends early when what is sick will stay so, and not because it was so for a moment."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Patience, Proof, State, wait_until_well

# What each look sees, a second apart: final, sick (but on its way), or well; and after how many seconds the wait ends.
WAITS: dict[str, tuple[str, float]] = {
    "nothing starts it any more": ("final", 3.0),
    "its manager has just given up": ("sick sick sick final", 6.0),
    "final for one look only": ("final sick final sick final sick well", 7.0),
    "sick all along": ("sick", 30.0),
}


@pytest.mark.parametrize(("looks", "seconds"), WAITS.values(), ids=list(WAITS))
def test_a_wait_in_vain_ends(looks: str, seconds: float) -> None:
    assert waited(looks).seconds == seconds


def waited(looks: str) -> Proof:
    words = looks.split()
    seen: t.Iterator[str] = itertools.chain(words, itertools.repeat(words[-1]))
    ticks = itertools.count()
    return wait_until_well(
        lambda: next(seen),
        Patience(timeout=30.0),
        health_of=lambda word: State.WELL if word == "well" else State.SICK,
        is_final=lambda word: word == "final",
        clock=lambda: float(next(ticks)),
        sleep=lambda _seconds: None,
    )
