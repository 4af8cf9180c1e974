# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed in the last two hours over all hosts, newest first, each with its source: packages, units, boots, configuration, releases,
and what our own runs did. Plain data in and out, never raises.

Times of a host are by its own clock and are corrected where that was measured to be wrong.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.history import closed_of, runs_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.onset import SKEW, skew_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import Fields, fields, listed, moment, rfc3339, word

Given = t.Mapping[str, t.Any]
WITHIN = 7200.0
KINDS = ("package", "unit", "reboot", "configuration", "release", "run")
RECORDED = "release:"
MOST = 200


def changes_of(looked: Given, now: float, within: float = WITHIN) -> list[Fields]:
    """Return [{at (RFC 3339), kind, host, what, text, source}] of the last *within* seconds, newest first."""
    found: list[t.Tuple[float, Fields]] = []
    for host, look in fields(looked).items():
        found += _on_host(host, fields(look), now)
        found += _recorded(host, fields(look))
        found += _configuration(host, fields(look), now)
    found += [_of_run(row) for row in runs_of(looked) if row.get("acts")]
    kept = [(at, one) for at, one in found if now - within <= at <= now + SKEW]
    once = {(one["kind"], one["host"], one["what"], one["at"]): (at, one) for at, one in kept}
    return [one for _at, one in sorted(once.values(), key=lambda pair: -pair[0])][:MOST]


def _change(at: float, kind: str, host: str, what: t.Any, text: t.Any, source: t.Any) -> t.Tuple[float, Fields]:
    made = {"at": rfc3339(at), "kind": kind, "host": host, "what": word(what, 120), "text": word(text, 300), "source": word(source, 120)}
    return at, made


def _on_host(host: str, look: Fields, now: float) -> list[t.Tuple[float, Fields]]:
    """Return what the host itself says that changed on it."""
    skew, seen = skew_of(look), fields(look.get("host"))
    found = []
    for one in listed(seen.get("changes")):
        at, kind = moment(one.get("at")), str(one.get("kind"))
        if at is not None:
            source = word(one.get("source"), 80) or "the host itself"
            found.append(_change(at - skew, kind if kind in KINDS else "unit", host, one.get("what"), one.get("text"), source))
    boot = moment(seen.get("boot_at"))
    # The kernel and the list of boots may differ by some seconds.
    if boot is not None and not any(one["kind"] == "reboot" and abs(at - (boot - skew)) < 120 for at, one in found):
        found.append(_change(boot - skew, "reboot", host, host, "%s was booted" % host, "the kernel of the host"))
    return found


def _recorded(host: str, look: Fields) -> list[t.Tuple[float, Fields]]:
    """Return the releases that were recorded as verified."""
    found = []
    for component, kinds in fields(fields(look.get("ledger")).get("verified")).items():
        for kind, body in fields(kinds).items():
            at = moment(fields(body).get("at"))
            if kind.startswith(RECORDED) and at is not None:
                release = word(fields(body).get("release") or kind[len(RECORDED) :], 80)
                text = "release %s was recorded as verified by run %s" % (release, word(fields(body).get("run_id"), 60))
                found.append(_change(at, "release", host, component, text, "the ledger of %s" % host))
    return found


def _configuration(host: str, look: Fields, now: float) -> list[t.Tuple[float, Fields]]:
    """Return the configuration that differs from what was recorded; when it was changed is not known, so it has the time of the look."""
    at = moment(look.get("at")) or now
    found = []
    for check in listed(look.get("checks")):
        texts = [word(one.get("text"), 240) for one in listed(check.get("findings")) if one.get("name") in ("configuration", "warning")]
        if check.get("state") in ("drifted", "other_commit") and texts:
            text = "%s; when that was changed is not known" % texts[0]
            found.append(_change(at, "configuration", host, check.get("name"), text, "git, at this look"))
    return found


def _of_run(row: Given) -> t.Tuple[float, Fields]:
    closed = closed_of(row)
    acts = ", ".join(word(one, 30) for one in row.get("acts") or [])
    remedy = word(row.get("remedy"), 60).rpartition(".")[2] or "a run"
    text = "%s of %s did %s: %s" % (remedy, word(row.get("owner"), 40), acts, closed or "not ended yet")
    at = moment(row.get("closed_at")) or moment(row.get("opened_at")) or 0.0
    return _change(at, "run", word(row.get("host"), 80), row.get("component"), text, "run %s in the ledger" % word(row.get("run_id"), 60))
