# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities as the Kubernetes API writes them (``2``, ``100m``, ``64Mi``), as numbers."""

from __future__ import annotations

import typing as t

UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
UNITS.update({"%si" % name: 2.0 ** (10 * power) for power, name in enumerate("KMGTPE", 1)})


def number_of(quantity: t.Any) -> float:
    """Return a quantity as the API server writes it (``2``, ``100m``, ``64Mi``) as a number; raises ValueError for what is none."""
    text = str(quantity)
    unit = next((one for one in (text[-2:], text[-1:]) if one in UNITS), "")
    return float(text[: len(text) - len(unit)]) * UNITS.get(unit, 1.0)
