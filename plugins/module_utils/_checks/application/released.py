# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an application's release before anything is tried: its name, and whether the ledger saw it pass verification.

It reads a link or what the manager says of the image, never the content of a release: that is the check of kind ``release``.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._release import directory
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.identity import short

Facts = t.Mapping[str, t.Any]


def load(given: Facts, service: Facts) -> str:
    """Return the id of the release that *service* has, or that its link selects, "" where that is unknown or nobody asks.

    *given* is {dir, link, verified}: where its releases are, what selects one, and the ids that passed verification, newest first.
    """
    if not given.get("verified"):
        return ""
    image = str((service.get("image") or {}).get("id") or "")
    base, link = str(given.get("dir") or ""), str(given.get("link") or "")
    return image or (directory.selected_by(link, os.path.realpath(base))[0] if base and link else "")


def judge(given: Facts, now: str) -> dict[str, t.Any]:
    """Return {now, verified, other}: the newest other release that passed verification, "" for none; {} where no release ever did."""
    verified = [str(one) for one in given.get("verified") or []]
    if not verified:
        return {}
    return {"now": now, "verified": now in verified, "other": next((one for one in verified if one != now), "")}


def told(found: Facts) -> str:
    """Return that its release never passed verification while another one did, "" where that is not known."""
    if not found.get("now") or found["verified"] or not found["other"]:
        return ""
    return "release %s, which its next start takes, never passed verification, and %s did: if a restart does not help, run rollback.yml" % (
        short(str(found["now"])), short(str(found["other"])),
    )  # fmt: skip
