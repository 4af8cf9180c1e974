# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``health_info``: any number of checks at once, until enough consecutive looks were well. Changes nothing."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look, traits
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.numbers import Series, add_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC, patience_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import wait_until_well

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    LOOK_SPEC,
    checks={"type": "list", "elements": "dict", "required": True},
    subject={"type": "str", "default": ""},
    pack={"type": "bool", "default": False},
    quiet={"type": "bool", "default": False},
    secrets={"type": "list", "elements": "str", "default": [], "no_log": True},
    series={"type": "bool", "default": False},
)


def run(params: Params, check: bool) -> Result:
    """Return what the checks found (see ``_checks.combine``). In check mode checks that would write are left out.

    Raises StepError for a wrong option of a check.
    """
    begun = time.monotonic()
    checks = look.validated(with_secrets(params["checks"], params["secrets"]), params["probe_timeout"])
    looking, skipped = writers_left_out(checks) if check else (checks, [])
    for one in looking:
        one["begun"] = begun
    if not looking:
        raise StepError("every check writes a canary, and a rehearsal writes nothing: add a check that only looks")
    series: Series = {}

    def look_now() -> list[dict[str, t.Any]]:
        found = look.run_checks(looking, params["stands_on"])
        if params.get("series"):
            add_look(series, found)
        return found

    proof = wait_until_well(
        look_now,
        patience_of(params),
        health_of=look.health_of,
        identity_of=look.identities_of,
        on_its_way=look.on_its_way,
        is_final=look.is_final,
        is_settled=look.is_settled,
    )
    result = look.combine(proof.last, params["subject"], proof, params["stage"])
    result["say"] += [f"{name}: skipped, a rehearsal writes no canary" for name in skipped]
    result["say"] = [] if params.get("quiet") else result["say"]
    result.update({"series": series} if params.get("series") else {})
    return look.packed(result) if params.get("pack") else result


def writers_left_out(checks: t.Sequence[look.Check]) -> tuple[list[look.Check], list[str]]:
    """Return the checks that only look, and the names of those that are left out, whole or in their part that would write."""
    looking = [one for one in map(traits.without_writing, checks) if one is not None]
    return looking, [one["name"] for one in checks if traits.writes(one)]


def with_secrets(checks: t.Sequence[t.Any], secrets: t.Sequence[str]) -> list[t.Any]:
    """Return *checks* with the secrets put back that the action plugin moved to the option that is never logged."""
    return [_with_secrets(dict(check), secrets) if isinstance(check, dict) and "secret_at" in check else check for check in checks]


def _with_secrets(check: dict[str, t.Any], secrets: t.Sequence[str]) -> dict[str, t.Any]:
    places = check.pop("secret_at")
    return dict(check, **{option: secrets[int(place)] for option, place in places.items()})


def of_one(one: t.Mapping[str, t.Any], params: Params, more_seconds: float) -> Params:
    """Return the options of a look at the single check *one*, with the look options of *params*, for a module that documents one kind.

    One look may take the probe's time and *more_seconds*.
    """
    look_options = {name: params[name] for name in LOOK_SPEC}
    # The kind keeps a tenth of a second for itself.
    timeout = min(params["probe_timeout"] + more_seconds + 0.1, look.LONGEST)
    return dict(look_options, checks=[dict(one, timeout=timeout)], subject="", pack=False, quiet=False, secrets=[], series=False)


def one_told(result: Result, what: str) -> Result:
    """Return the result of a look at a single check with its findings and with sentences that name *what* was looked at."""
    (found,) = result["checks"]
    return dict(result, findings=found["findings"], say=_say_of_one(found, result, what))


def _say_of_one(found: t.Mapping[str, t.Any], result: Result, what: str) -> list[str]:
    word = "%s is %s%s" % (what, found["health"], " (%s)" % found["state"] if found["state"] else "")
    bad = list(dict.fromkeys(finding["text"] for finding in found["findings"] if finding["state"] != "well"))
    if bad:
        return ["%s: %s" % (word, text) for text in bad[:4]]
    steady = ", %d times in a row" % result["passes"] if result["passes"] > 1 else ""
    doubt = "" if result["proven"] else ", but not steadily enough to count as proven"
    warnings = [finding["text"] for finding in found["findings"] if finding["name"] in ("warning", "secret")]
    return ["%s: %s%s%s" % (word, found["findings"][0]["text"], steady, doubt), *warnings[:4]]
