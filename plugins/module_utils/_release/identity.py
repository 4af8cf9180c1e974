# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is under any manager: an id made from its content, and names that may move to another release."""

from __future__ import annotations

import re
import typing as t

Facts = t.Dict[str, t.Any]
# A release declares by this that older code runs with its migrations too.
REVERSIBLE = "reversible"
SHORTEST = 8


def blank(**known: t.Any) -> Facts:
    """Return facts in which only the given values are known.

    ``running`` is the id of the release that runs, or that would be started where none runs; ``selected`` what the next start takes;
    ``known`` has {there, intact, names, detail} for each id that was asked for, None for what cannot be seen; ``named`` what each word
    means now, "" for nothing; ``migrations`` what the running release says of its own; ``project`` and ``rollout`` what a container, or the
    pods of a Deployment, would be made of; ``final`` whether it stays unknown until somebody acts. Under Compose ``left`` says what a start
    without our file of pins would bring back.
    """
    facts: Facts = {
        "reachable": True, "detail": "", "running": "", "selected": "", "names": [], "migrations": "", "known": {}, "named": {},
        "pinned": False, "reference": "", "project": {}, "rollout": {}, "final": False,
    }  # fmt: skip
    facts.update(known)
    return facts


def meant_by(word: str, ids: t.Iterable[str]) -> str:
    """Return the one of *ids* that *word* is, or begins (with or without ``sha256:``), "" for none or several."""
    bare = word.rpartition("sha256:")[2].lower()
    if not re.match(r"[0-9a-f]{%d,64}\Z" % SHORTEST, bare):
        return ""
    found = {one for one in ids if one.rpartition(":")[2].startswith(bare)}
    return found.pop() if len(found) == 1 else ""


def short(release: str) -> str:
    """Return the id as it is shown to a person: its first twelve digits, or the word itself where it is no digest."""
    bare = release.rpartition("sha256:")[2]
    return bare[:12] if re.match(r"[0-9a-f]{64}\Z", bare) else release


def repository_of(reference: str) -> str:
    """Return an image's name without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def image_of(release: str, reference: str) -> str:
    """Return how to name a release to a cluster: by the digest in its repository, or by its name if it has no digest."""
    return "%s@%s" % (repository_of(reference), release) if release.startswith("sha256:") else release
