# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of check says of itself, so that no other file knows a kind by its name.

Beside ``OPTIONS``, ``load`` and ``judge`` a kind may have these attributes:

- ``HOST_ONLY``: it looks at the machine itself, so only the target can make it.
- ``NO_SERVICE``: it looks at the machine or its files, so that it proves no service.
- ``WRITES``: it writes. A rehearsal leaves it out, and no other check may hold it.
- ``WRITES_WITH``: the option that makes it write; a rehearsal empties that option.
- ``BELOW``: the options that hold checks of their own; ``load`` gets a third argument, the function that makes them.
- ``SENT_AT``: the option that takes the controller's time at which the look was sent.
- ``judge_again(facts, options, travel)``: judges again, given how many seconds it took to reach the target; None: no need to.
- ``fits_together(options)`` and ``load_together(checks)``: those that fit are loaded in one thread; their raw look has an ``answer``.
- ``progress(state, facts)``: how far along it is while it only needs time, as words; "" where it cannot say.
- its facts may have ``final``: what is sick stays so until somebody acts, so that waiting for it ends.
- ``FIX``: what to do before an incident where it is not well, as check-access says it.
- ``PLAYBOOK``: the playbook that repairs what it looks at.
- ``CLASS``: the class of component that it looks at, where the kind alone says that: what triage reports, and what depends on it.
- ``ASIDE``: it asks another question of that component than whether it is well, so that triage reports it apart.
- ``problems(options)``: a sentence for each option that makes no sense; such a check is not made, and is a ``bad_input`` of ours.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kinds import KINDS

Check = t.Mapping[str, t.Any]


def trait(check: Check, name: str) -> t.Any:
    """Return what the kind of *check* says of itself by the attribute *name*; None where it says nothing, or is not known."""
    return getattr(KINDS.get(str(check.get("kind"))), name, None)


def is_host_only(check: Check) -> bool:
    """Return whether *check* looks at the machine itself."""
    return bool(trait(check, "HOST_ONLY"))


def is_of_service(check: Check) -> bool:
    """Return whether *check* (or the result of one) is of a service."""
    return not trait(check, "NO_SERVICE")


def holds_checks(check: Check) -> bool:
    """Return whether *check* holds checks of its own."""
    return bool(trait(check, "BELOW"))


def only_looks(check: Check) -> bool:
    """Return whether another check may hold *check*: it writes nothing, and holds none itself."""
    return not trait(check, "WRITES") and not holds_checks(check)


def writes(check: Check) -> bool:
    """Return whether *check*, with the options that it has, would write."""
    return bool(trait(check, "WRITES") or check.get(trait(check, "WRITES_WITH") or ""))


def without_writing(check: Check) -> t.Optional[dict[str, t.Any]]:
    """Return *check* without the part that writes, None where that is all of it."""
    if trait(check, "WRITES"):
        return None
    return dict(check, **{trait(check, "WRITES_WITH"): {}}) if writes(check) else dict(check)


def kinds_of(checks: t.Iterable[Check]) -> set[str]:
    """Return the kinds that *checks* need, those of the checks that they hold included."""
    found: set[str] = set()
    for check in checks:
        found |= {str(check["kind"]), *(str(one["kind"]) for one in _below(check) if one.get("kind") in KINDS)}
    return found


def _below(check: Check) -> t.Iterator[Check]:
    for option in trait(check, "BELOW") or ():
        held = check.get(option) or []
        yield from [held] if isinstance(held, dict) else held
