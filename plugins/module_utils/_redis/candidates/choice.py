# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges candidates for the data of a Redis: what each would lose, which is best, and whether a person must choose. Pure.

A candidate's ``lineage`` is ``files`` (what the server itself wrote last), ``server`` (a running instance) or ``older`` (a backup, a
rescue copy, a dump beside an append-only file). Loss is counted against everything that today's candidates hold together; older ones
count only if there is nothing else. The number of dropped commands covers what no candidate holds any more.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line

Candidate = t.Mapping[str, t.Any]
Options = t.Mapping[str, t.Any]
Loss = t.Dict[str, t.Any]

# If two would lose the same, the one further left wins.
PREFERENCE = (
    "append_only", "as_is", "rebuilt_manifest", "repaired_dump", "replica", "cut", "salvage", "before_flush", "live", "dump", "other",
    "salvaged_dump", "rescue", "backup", "empty",
)  # fmt: skip
RISKS = {
    "as_is": "as the server left it",
    "append_only": "written beside the dump",
    "other": "a start would not load it",
    "cut": "nothing after the first damage",
    "salvage": "without the damaged regions",
    "rebuilt_manifest": "files in order of their numbers",
    "dump": "older than the append-only file",
    "repaired_dump": "one spot corrected",
    "salvaged_dump": "values have no checksum",
    "before_flush": "brings back what was emptied",
    "backup": "nothing written after it",
    "rescue": "nothing written after it",
    "replica": "may be behind its master",
    "live": "what the server has now",
    "empty": "no data at all",
}
# Made of the same commands, only fewer: what an earlier state holds and a later one lacks was removed in between.
EARLIER = {"salvage": ("cut",), "append_only": ("as_is",), "other": ("as_is",)}
BESIDE = ("append_only", "other")
UNPROVEN = "checksum wrong: a value is bad"
# Counts of a running server may change by this share between plan and approval.
LIVING_TOLERANCE = 0.01
KNOWN_MARGIN = 0.01
WIDTH = 100


def kind_of(name: str) -> str:
    """Return a candidate's name without its number."""
    stem, _line, number = name.rpartition("_")
    return stem if number.isdigit() else name


def is_earlier(one: str, other: str) -> bool:
    """Return whether candidate *one* is an earlier state of candidate *other*; both are names."""
    return kind_of(one) in EARLIER.get(kind_of(other), ())


def loadable(candidates: t.Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that Redis can load."""
    return [one for one in candidates if not one["error"]]


def hollow(one: Candidate, candidates: t.Sequence[Candidate], options: Options) -> bool:
    """Return whether a candidate holds so few keys, compared with what was known or with another one, that it shows the incident."""
    known, there = int(options["last_known_keys"]), loadable(candidates)
    most = known if known > 0 else max((other["keys"] for other in there if other["lineage"] != "older"), default=0)
    return bool(one["keys"] < most * float(options["empty_below_share"])) or (not one["keys"] and any(other["keys"] for other in there))


def current(candidates: t.Sequence[Candidate], options: Options) -> list[Candidate]:
    """Return the candidates of today, or all of them if those of today hold next to nothing."""
    there = loadable(candidates)
    today = [one for one in there if one["lineage"] != "older"]
    return today if any(not hollow(one, there, options) for one in today) else there


def ordered(candidates: t.Sequence[Candidate], options: Options) -> list[Candidate]:
    """Return the loadable candidates, best first: ``missing`` is the number of keys that others hold and it does not."""
    today = [one["name"] for one in current(candidates, options)]
    # Of the same keys, a dump has the later values where the log shows that the append-only file was off.
    off = bool((options.get("unappended") or {}).get("at"))

    def rank(one: Candidate) -> tuple[t.Any, ...]:
        lost = (one["missing"] or 0) + one["dropped"]
        older = one["lineage"] == "older"
        # Among older ones, the latest is best.
        age = -(one["last_write"] or 0.0) if older else 0.0
        place = PREFERENCE.index(kind_of(one["name"]))
        beside = off and kind_of(one["name"]) not in BESIDE
        return (
            one["known_wrong"],
            hollow(one, candidates, options),
            beside,
            one["name"] not in today,
            one["unproven"],
            older,
            age,
            lost,
            place,
        )

    return sorted(loadable(candidates), key=rank)


def trusted(one: Candidate, candidates: t.Sequence[Candidate], options: Options) -> bool:
    """Return whether a replica is proven no older than the files: it holds all they hold, or as many keys as were known."""
    if kind_of(one["name"]) != "replica" or not one["in_step"] or not one["contains_all"]:
        return False
    known = int(options["last_known_keys"])
    files = [other for other in loadable(candidates) if other["lineage"] == "files" and other["keys"] > other["expires"]]
    return bool(files) or 0 < known <= one["keys"]


def loss_of(one: Candidate, candidates: t.Sequence[Candidate], options: Options) -> Loss:
    """Return {count, unit, exact} of what would be lost with *one*; a count of None means unknown."""
    nowhere, certain, unit = _nowhere(candidates, options)
    if one["missing"] is None:
        most = max(other["keys"] for other in loadable(candidates))
        count, certain = max(0, most - one["keys"]) + max(nowhere, one["dropped"]), False
    else:
        count = one["missing"] + max(0, one["changed"] - _spoilt(one, candidates, options)) + nowhere
        # Some of it may be counted twice.
        certain = certain and not (one["changed"] and nowhere)
    if count and any(other["expires"] for other in loadable(candidates)) and one["dropped"] != nowhere:
        certain = False
    if _unsure(one, options) or any(other["doubt"] == "effects" for other in loadable(candidates)):
        return {"count": None, "unit": unit, "exact": False}
    return _beyond_a_dump(_against_known(one, {"count": count, "unit": unit, "exact": certain}, candidates, options), candidates, options)


def _beyond_a_dump(loss: Loss, candidates: t.Sequence[Candidate], options: Options) -> Loss:
    """Return a loss that is not exact beside a replica: the last writes are in no dump, and may not have reached the replica."""
    if not options.get("snapshots") or not any(kind_of(one["name"]) == "replica" for one in loadable(candidates)):
        return loss
    return dict(loss, count=loss["count"] or None, exact=False)


def _spoilt(one: Candidate, candidates: t.Sequence[Candidate], options: Options) -> int:
    """Return how many of the values that differ from the best candidate are at least wrong in that one, as its bad checksum proves."""
    return int(not _unsure(one, options) and _unsure(ordered(candidates, options)[0], options))


def _unsure(one: Candidate, options: Options) -> bool:
    """Return whether more of a candidate may be missing or wrong than its counts show."""
    if one["doubt"] == "databases":
        # If no more keys were known than are kept and dropped here, there was no other database.
        return not 0 < int(options["last_known_keys"]) <= one["keys"] + one["dropped"]
    return bool(one["unproven"] or one["doubt"] == "values")


def _nowhere(candidates: t.Sequence[Candidate], options: Options) -> tuple[int, bool, str]:
    """Return (how much no candidate holds any more, its certainty, its unit)."""
    today = [one for one in current(candidates, options) if not hollow(one, candidates, options)]
    if any(trusted(one, candidates, options) for one in today):
        return 0, True, "keys"
    files = sorted((one for one in today if one["lineage"] == "files"), key=lambda one: (one["dropped"], not one["exact"]))
    if not files:
        return 0, False, "keys"
    best = files[0]
    # Others may hold what this one had to drop.
    elsewhere = min(best["dropped"], best["missing"] or 0)
    all_known = best["doubt"] == "databases" and best["keys"] + best["dropped"] == int(options["last_known_keys"])
    certain = (best["exact"] and not best["doubt"] or all_known) and not best["unproven"] and not elsewhere
    return best["dropped"] - elsewhere, bool(certain), best["unit"] if best["dropped"] - elsewhere else "keys"


def _against_known(one: Candidate, loss: Loss, candidates: t.Sequence[Candidate], options: Options) -> Loss:
    # The number that was known has only keys in it whose time has not come.
    known = int(options["last_known_keys"])
    short = max(0, known - one["keys"]) if known >= 0 else 0
    if short > loss["count"]:
        # Keys that were changed or removed since are not in that number: it is the least. The most is what the missing bytes can have held.
        most = options.get("missing_writes")
        # How many of them would have expired by now is estimated again each time.
        margin = max(1, int(known * KNOWN_MARGIN))
        return {"count": max(short, most) if most else None, "unit": "keys", "exact": False, "margin": margin, "least": short}
    if known < 0 and not loss["count"] and not loss["exact"]:
        return dict(loss, count=None)
    return loss


def choice_of(candidates: t.Sequence[Candidate], options: Options) -> dict[str, t.Any]:
    """Return {name, superset, certain, by, loss, why}: the best candidate, and whether policy or a person chooses.

    Each candidate must have its ``loss``. Options: last_known_keys, empty_below_share, accept_loss, emptied, crooked, verdict.
    """
    best = ordered(candidates, options)[0]
    lossless = best["loss"]["count"] == 0 and best["loss"]["exact"] and best["contains_all"]
    against = _against(best, candidates, options)
    accepted = "" if lossless else _accepted(best, options)
    by = "policy" if (lossless or accepted) and not against else "person"
    why = against or accepted or ("it holds everything any candidate holds, and nothing was dropped" if lossless else _doubt(best))
    return {
        "name": best["name"], "superset": best["contains_all"], "certain": by == "policy" and bool(lossless), "by": by,
        "loss": best["loss"], "why": why,
    }  # fmt: skip


def _against(best: Candidate, candidates: t.Sequence[Candidate], options: Options) -> str:
    """Return why a person must choose, however good *best* looks; "" for no reason."""
    if kind_of(best["name"]) == "before_flush" or options.get("emptied"):
        return "someone emptied it, and only a person knows whether on purpose"
    if kind_of(best["name"]) in BESIDE or options.get("verdict") == "outdated":
        return "a start would not load the newest data here, and only a person knows whether that is meant"
    if kind_of(best["name"]) == "empty":
        return "nothing to load was found: set redis_recovery_backups or redis_recovery_replicas, or approve a start without data"
    if options.get("crooked"):
        return "its manifest was not written by Redis: %s" % options["crooked"]
    if kind_of(best["name"]) == "salvaged_dump":
        return "no checksum proves that the values read from it are right"
    if best["known_wrong"]:
        return "%d known answers are wrong in the best candidate" % best["known_wrong"]
    if hollow(best, candidates, options):
        return "even the best candidate holds far fewer keys than Redis was known to have"
    return ""


def _accepted(best: Candidate, options: Options) -> str:
    accept, loss = options["accept_loss"], best["loss"]
    if best["unproven"] or best["lineage"] != "files" or not loss["count"] or best["missing"]:
        return ""
    tail = int(accept.get("tail_bytes") or 0)
    if options["verdict"] == "tail_cut" and best["name"] == "cut" and best["dropped_bytes"] <= tail and loss["count"] <= best["dropped"]:
        return "only the last %d bytes are cut off; up to %d are accepted" % (best["dropped_bytes"], tail)
    share = float(accept.get("share") or 0.0)
    # A number that is not exact is the most that can be lost, so it is within the share or not all the same.
    if loss["count"] <= share * (best["keys"] + loss["count"]):
        most = "" if loss["exact"] else "at most "
        return "%s%d of %d are lost; a share of %s is accepted" % (most, loss["count"], best["keys"] + loss["count"], share)
    return ""


def _doubt(best: Candidate) -> str:
    loss = best["loss"]
    if loss["count"]:
        return "%s%s would be lost" % ("" if loss["exact"] else "about ", counted(loss["count"], loss["unit"]))
    if loss.get("least"):
        return "at least %s would be lost" % counted(loss["least"], loss["unit"])
    if not loss["exact"]:
        return "nothing proves that it holds the last writes"
    return "another candidate holds keys or values that it lacks"


def _counts(one: Candidate) -> dict[str, int]:
    """Return the counts that bind a plan: its keys; for a growing source only its loss, since more keys do no harm."""
    lost = one["loss"].get("count")
    return {"lost": int(lost)} if one["moves"] and lost is not None else {"keys": one["keys"] - one["expires"]}


def plans_of(candidates: t.Sequence[Candidate], options: Options) -> list[dict[str, t.Any]]:
    """Return one plan for each loadable candidate, recommended first: {name, text, loss, binds, counts, tolerance}."""
    return [
        {
            "name": one["name"], "text": _plan_text(one, options), "loss": _planned(one["loss"], options),
            "binds": dict(one["binds"], candidate=one["name"]),
            "counts": _counts(one), "tolerance": LIVING_TOLERANCE if one["moves"] else 0.0,
        }
        for one in ordered(candidates, options)
    ]  # fmt: skip


def _planned(loss: Loss, options: Options) -> Loss:
    """Return what a plan says of a loss: its text has the least of it. What no file has was not counted."""
    said = {key: value for key, value in loss.items() if key != "least"}
    return dict(said, count=said["count"] or None, exact=False) if options.get("unsaved") else said


def _plan_text(one: Candidate, options: Options) -> str:
    text = "install %d keys, last written %s (%s)" % (one["keys"], clock(one["last_write"]), one["risk"])
    if kind_of(one["name"]) == "empty":
        text = "start without any data, since none was found"
    short = "; at least %d of the keys known before are missing" % one["loss"]["least"] if one["loss"].get("least") else ""
    short += "; what was written after its last save may be in none of the plans" if options.get("unsaved") else ""
    wrong = ", ".join(str(place) for place in one.get("wrong_keys") or [])
    # An approval of the plan covers that, too.
    return one_line(text + short + ("; wrong or missing in it: number %s of the known keys" % wrong if wrong else ""), 280)


def clock(at: t.Optional[float]) -> str:
    """Return a date and time in UTC, "?" for none."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) if at else "?"
    except (OverflowError, ValueError, OSError):
        return "?"


def table_of(candidates: t.Sequence[Candidate], options: Options) -> list[str]:
    """Return the candidates as lines of at most 100 columns, best first; those that do not load come last."""
    row = "%-16s %9s %7s  %-19s  %9s  %s"
    lines = [row % ("candidate", "keys", "expire", "last write (UTC)", "lost", "risk")]
    for one in ordered(candidates, options):
        lines.append(row % (one["name"], one["keys"], one["expires"], clock(one["last_write"]), _loss_text(one["loss"]), one["risk"]))
    lines += ["%-16s does not load: %s" % (one["name"], one["error"]) for one in candidates if one["error"]]
    return [one_line(line.rstrip(), WIDTH) for line in lines]


def _loss_text(loss: Loss) -> str:
    if loss["count"] is None:
        return ">=%d" % loss["least"] if loss.get("least") else "unknown"
    return "%s%d" % ("" if loss["exact"] else "~", loss["count"])
