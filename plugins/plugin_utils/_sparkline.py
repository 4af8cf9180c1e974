# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A series of values as one small drawing (SVG) with a title and a description; it follows the colours of the page."""

from __future__ import annotations

import math
import typing as t

from markupsafe import Markup

WIDTH, HEIGHT, EDGE = 240.0, 48.0, 3.0
DRAWING = Markup(
    '<svg class="spark" viewBox="0 0 {wide:g} {high:g}" role="img" aria-labelledby="{key}-t {key}-d" focusable="false">'
    '<title id="{key}-t">{title}</title><desc id="{key}-d">{desc}</desc>{lines}<circle cx="{x}" cy="{y}" r="2.5"/></svg>'
)


def points_of(series: t.Any) -> list[tuple[float, float]]:
    """Return the pairs (at, value) of a series in the order of time; what is no pair of finite numbers is not there."""
    pairs = [one for one in series if isinstance(one, (list, tuple)) and len(one) == 2] if isinstance(series, (list, tuple)) else []
    return sorted((float(at), float(value)) for at, value in pairs if _finite(at) and _finite(value))


def _finite(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 and not math.isnan(value)


def sparkline(points: t.Sequence[tuple[float, float]], key: str, title: str, desc: str) -> Markup:
    """Return the drawing of two points or more, with a gap wherever three times the usual distance lies between two of them."""
    (first, last), values = (points[0][0], points[-1][0]), [value for _at, value in points]
    low, tall = min(values), (max(values) - min(values)) or 1.0
    steps = sorted(right[0] - left[0] for left, right in zip(points, points[1:]))
    usual, wide, lines = steps[len(steps) // 2], (last - first) or 1.0, [""]
    previous = first
    for at, value in points:
        x = EDGE + (WIDTH - 2 * EDGE) * (at - first) / wide
        y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / tall
        lines += [""] if at - previous > 3 * usual > 0 else []
        lines[-1] += f"{x:.1f},{y:.1f} "
        previous = at
    drawn = Markup("").join(Markup('<polyline points="{}"/>').format(line.strip()) for line in lines)
    return DRAWING.format(wide=WIDTH, high=HEIGHT, key=key, title=title, desc=desc, lines=drawn, x=f"{x:.1f}", y=f"{y:.1f}")
