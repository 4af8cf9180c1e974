# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check of kind ``release``: which release of a service runs, which one the next start would use, and which others exist.

An unidentified release is unknown. With ``wanted`` any other one is sick. A release whose content does not match its id is sick.

C(release): which release of a service is running. C(service) and the options that name its manager; C(releases_dir) and C(current)
(systemd, supervisor), C(pin_file) (compose), C(container) (kubernetes), as M(somabrain.incident_response.release_pin) has them; C(ids)
(whether they exist), C(words) (what these names resolve to now) and C(wanted) (any other release is sick).
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import releases
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.identity import short
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import CHECK_SPEC

HOST_ONLY = True
FIX = "make what runs a release with the module release_add, and select it by the link rollback_current (docs/first-hour.md, step 6)"
CLASS = "service"
OPTIONS: dict[str, t.Any] = {
    **releases.RELEASE_SPEC,
    **CHECK_SPEC,
    "service": {"type": "str", "required": True},
    # Ids to look for, and words (names, tags, beginnings of ids) to resolve.
    "ids": {"type": "list", "elements": "str", "default": []},
    "words": {"type": "list", "elements": "str", "default": []},
    "wanted": {"type": "str", "default": ""},
    # Under Compose: also check whether the container could be recreated, identical but for its image.
    "read_project": {"type": "bool", "default": False},
}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the facts of ``_release.blank`` within *deadline* seconds; raises StepError only for a bad name."""
    return releases.load_release(options, deadline)


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Judge which release runs."""
    word, state, text = _judged(raw, str(options.get("wanted") or ""), releases.next_of(options.get("manager")))
    # What was altered stays so, however long one waits.
    return Health((Finding("release", state, text),), word, facts=dict(raw, final=bool(raw.get("final")) or word == "altered"))


def _judged(raw: t.Mapping[str, t.Any], wanted: str, then: str) -> tuple[str, State, str]:
    running = str(raw["running"])
    if not raw["reachable"] or not running:
        return "unknown", State.UNKNOWN, str(raw["detail"]) or "the running release is unknown"
    if wanted and running != wanted:
        return "other", State.SICK, "release %s is running, not %s" % (short(running), short(wanted))
    if (raw["known"].get(running) or {}).get("intact") is False:
        return "altered", State.SICK, str(raw["known"][running]["detail"])
    if wanted and raw["selected"] != running:
        text = "release %s is running, but %s would take %s"
        return "not_selected", State.SICK, text % (short(running), then, short(str(raw["selected"])))
    return "known", State.WELL, "release %s is running%s" % (short(running), " (%s)" % ", ".join(raw["names"][:3]) if raw["names"] else "")
