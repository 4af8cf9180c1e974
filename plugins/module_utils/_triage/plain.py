# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values from a sick world as the type that they should have, else as nothing; texts and times as a person reads them. Never raises."""

from __future__ import annotations

import math
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact

Fields = t.Dict[str, t.Any]
# Whatever has none of these has no secret that redact would find, which tries a dozen patterns.
_MAYBE = re.compile(r"(?i)pass|pwd|secret|key|token|auth|cred|bearer|basic|://|eyj|sig|jwt")
# Times of this century only: anything else is no time.
FIRST, LAST = 946684800.0, 4102444800.0


def fields(value: t.Any) -> Fields:
    """Return *value* if it is a mapping, else {}; its keys as texts."""
    return {str(key): one for key, one in value.items()} if isinstance(value, t.Mapping) else {}


def listed(value: t.Any) -> list[Fields]:
    """Return the mappings in a list, [] for anything else."""
    return [fields(one) for one in value if isinstance(one, t.Mapping)] if isinstance(value, (list, tuple)) else []


def word(value: t.Any, limit: int = 200) -> str:
    """Return *value* as one harmless line without secrets, "" for nothing."""
    if value is None:
        return ""
    text = str(value)
    return one_line(redact(text) if _MAYBE.search(text) else text, limit)


def number(value: t.Any) -> t.Optional[float]:
    """Return *value* as a finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def moment(value: t.Any) -> t.Optional[float]:
    """Return *value* as seconds since the epoch, None where it is no time of this century."""
    found = number(value)
    return found if found is not None and FIRST <= found <= LAST else None


def rfc3339(at: t.Optional[float]) -> t.Optional[str]:
    """Return a time in UTC, None for none."""
    return None if moment(at) is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def span(seconds: float) -> str:
    """Return a duration in the largest unit that fits: 40 s, 12 min, 3 h, 5 d."""
    whole = max(0.0, seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * size:
            return "%d %s" % (whole // size, unit)
    return "%d s" % whole
