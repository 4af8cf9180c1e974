# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health answers of other products whose format is documented: Spring Boot, ASP.NET Core, django-health-check, Kubernetes.

Only an answer that is unmistakably of that format is judged. Pure judgement.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, State

# The word of a whole, by its product: Spring's Status, ASP.NET's HealthStatus.
_SPRING = {"UP": State.WELL, "DOWN": State.SICK, "OUT_OF_SERVICE": State.SICK, "UNKNOWN": State.UNKNOWN}
_ASPNET = {"Healthy": State.WELL, "Degraded": State.SICK, "Unhealthy": State.SICK}
# One check of a verbose answer of the Kubernetes API server.
_CHECK = re.compile(r"\[([+-])\](\S+) (ok|failed\b.*|excluded\b.*)")
_DJANGO = re.compile(r"working\Z|unavailable: |unexpected result: |unknown error: |warning: ")
_SUM = re.compile(r"(?:livez|readyz|healthz) check (passed|failed)")
# Statuses with which they say what is wrong.
TELLING = (500, 503)
NAMES = ("spring", "aspnet", "django", "kubernetes")


def judge_text(text: str, named: str = "") -> tuple[str, list[Finding]]:
    """Return (product, findings) of an answer that is plain text, ("", []) where it is of none that is known.

    *named*: the profile that was named; only that makes a word which is anybody's a product's.
    """
    if named == "kubernetes" and text.strip() == "ok":
        return named, [_found("check", State.WELL, "ok")]
    lines = [line.strip() for line in text.strip().splitlines()[:200] if line.strip()]
    word = "\n".join(lines)
    if word in _ASPNET:
        return "aspnet", [_found("status", _ASPNET[word], word)]
    return _verbose(lines)


def _verbose(lines: t.Sequence[str]) -> tuple[str, list[Finding]]:
    """Return the same of a verbose answer of Kubernetes: a line for each check, and one that sums them up."""
    checks = [found for found in map(_CHECK.fullmatch, lines) if found]
    sums = [found for found in map(_SUM.fullmatch, lines) if found]
    if len(sums) != 1 or len(checks) + 1 != len(lines):
        return "", []
    findings = [_found(found[2], State.SICK, found[3]) for found in checks if found[1] == "-"]
    word = "".join(found[1] for found in sums)
    return "kubernetes", [_found("check", State.WELL if word == "passed" else State.SICK, word), *findings[:20]]


def judge_body(body: t.Any) -> tuple[str, list[Finding]]:
    """Return (product, findings) of an answer that is JSON, ("", []) where it is of none that is known."""
    if not isinstance(body, dict) or not body:
        return "", []
    status = str(body.get("status"))
    if status in _SPRING and set(body) <= {"status", "components", "details", "groups"}:
        return "spring", [_found("status", _SPRING[status], status), *_parts(body.get("components") or body.get("details"), _SPRING)]
    parts = next((body[key] for key in ("entries", "results") if isinstance(body.get(key), dict)), None)
    if status in _ASPNET and parts is not None:
        return "aspnet", [_found("status", _ASPNET[status], status), *_parts(parts, _ASPNET)]
    if all(isinstance(value, str) and _DJANGO.match(value) for value in body.values()):
        return "django", [_found(name, State.WELL if value == "working" else State.SICK, value) for name, value in list(body.items())[:20]]
    return "", []


def _parts(parts: t.Any, words: t.Mapping[str, State]) -> list[Finding]:
    """Return the parts that are not well; the word of the whole decides, since a product may leave a part out of it."""
    told = {name: part.get("status") for name, part in (parts if isinstance(parts, dict) else {}).items() if isinstance(part, dict)}
    bad = [name for name, status in told.items() if words.get(str(status), State.WELL) is not State.WELL]
    return [Finding("parts", State.WELL, "not well: %s" % one_line(", ".join(map(str, bad)), 160))] if bad else []


def _found(name: str, state: State, word: str) -> Finding:
    return Finding(one_line(name, 60), state, "%s is %s" % (one_line(name, 60), one_line(word, 80)))
