# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``health_report``: one verdict over many hosts, as data, as a JSON file and as a Prometheus text file."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import traits
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.look import checks_of, why
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.table import ENDPOINT, MOST, table_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import State, worst
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import write_durably

ARGUMENT_SPEC: dict[str, t.Any] = {
    "hosts": {"type": "dict", "required": True},
    "notes": {"type": "dict", "default": {}},
    "report_file": {"type": "path", "default": ""},
    "textfile": {"type": "path", "default": ""},
    "stage": {"type": "str", "choices": ["assess", "verify"], "default": "verify"},
}
HOW = "name it in health_verification_checks, or put the host into the group redis, postgresql or somabrain_api"
UNPROVEN = {"health": State.UNKNOWN.value, "reason": f"no service was looked at: {HOW}"}
VALUES = {"well": 1, "sick": 0, "unknown": -1}


def run(params: Params, check: bool) -> Result:
    """Return ``{health, verdicts, counts, say, report, ...}`` and write the files, except in a rehearsal.

    Raises StepError when a file cannot be written: a scheduled run whose report is lost must not look well.
    """
    now = time.time()
    hosts = require_service({one_line(host, 200): host_verdict(looked) for host, looked in params["hosts"].items()})
    overall = worst(State(one["health"]) for one in hosts.values()).value
    report = {"schema": 1, "verified_at": rfc3339(now), "health": overall, "hosts": hosts}
    if not check:
        _write_file(params["report_file"], as_json(report), 0o600, "health_verification_report_file")
        _write_file(params["textfile"], prometheus(report, now), 0o644, "health_verification_textfile")
    files = [path for path in (params["report_file"], params["textfile"]) if path]
    return {
        "changed": bool(files),
        "health": overall,
        "verdicts": {host: one["health"] for host, one in hosts.items()},
        # The checks are in the file and in what health_info returned; once more, they would cost Ansible more time than the looks.
        "report": dict(report, hosts={host: _without(one, "checks") for host, one in hosts.items()}),
        "sick": {host: kinds for host, one in hosts.items() for kinds in [_sick_kinds(one["checks"])] if kinds},
        "kinds": sorted({str(check["kind"]) for one in hosts.values() for check in one["checks"]}),
        "files": files,
        "stage": params["stage"],
        "say": [*_say(overall, hosts, files, check), *_notes(params.get("notes") or {})],
        "table": table_of({host: one["checks"] for host, one in hosts.items()}),
    }


def as_json(report: t.Mapping[str, t.Any]) -> str:
    """Return *report* as JSON with one line for each check: the indentation of the standard library is many times slower."""
    encode = json.JSONEncoder(default=str).encode
    hosts = []
    for host, one in report["hosts"].items():
        checks = ",\n".join("    " + encode(check) for check in one["checks"])
        hosts.append('  %s: %s, "checks": [\n%s\n  ]}' % (encode(host), encode(_without(one, "checks"))[:-1], checks))
    return '%s, "hosts": {\n%s\n}}\n' % (encode(_without(report, "hosts"))[:-1], ",\n".join(hosts))


def _without(whole: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    return {key: value for key, value in whole.items() if key != name}


def rfc3339(now: float) -> str:
    """Return *now* (seconds since the epoch) as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def host_verdict(looked: t.Any) -> dict[str, t.Any]:
    """Return the verdict on one host from what ``health_info`` returned there; unknown where it returned nothing usable."""
    looked = looked if isinstance(looked, dict) else {}
    checks = checks_of(looked)
    if not checks or looked.get("failed") or looked.get("unreachable"):
        reason = "it cannot be reached" if looked.get("unreachable") else "the look did not work"
        text = one_line(redact(f"{reason}: {looked.get('msg') or 'no answer'}"), 200)
        return {
            "health": State.UNKNOWN.value,
            "reason": text,
            "seconds": 0.0,
            "checks": [],
            "endpoints": {"failing": [], "all": 0},
            "services": 0,
        }
    steady = looked["proven"] or looked["health"] != State.WELL.value
    health = looked["health"] if steady else State.UNKNOWN.value
    endpoints = [one for one in checks if one["name"].startswith(ENDPOINT)]
    failing = [one["name"][len(ENDPOINT) :] for one in endpoints if one["health"] != State.WELL.value]
    return {
        "health": health,
        "reason": _reason(checks, failing, len(endpoints), steady),
        "seconds": looked["seconds"],
        "checks": checks,
        "services": _services_in(checks),
        "endpoints": {"failing": failing, "all": len(endpoints)},
    }


def require_service(hosts: dict[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """Return *hosts* as they are if a service of any of them was looked at; else none of them is well: a machine alone proves nothing."""
    if any(one["services"] for one in hosts.values()):
        return hosts
    return {host: dict(one, **(UNPROVEN if one["health"] == State.WELL.value else {})) for host, one in hosts.items()}


def _notes(notes: t.Mapping[str, t.Any]) -> list[str]:
    texts: dict[str, list[str]] = {}
    for host, note in notes.items():
        if note:
            texts.setdefault(one_line(redact(str(note)), 160), []).append(one_line(host, 60))
    text = "%s: what was known before could not be read, so that a loss would not be noticed: %s"
    return [text % (", ".join(names[:5]), note) for note, names in texts.items()][:5]


def _reason(checks: list[dict[str, t.Any]], failing: list[str], endpoints: int, steady: bool) -> str:
    bad = [one for one in checks if one["health"] != State.WELL.value]
    if not bad:
        return f"{len(checks)} checks pass" if steady else "it was well, and not as steadily as asked for"
    parts = []
    if failing:
        outage = "all" if len(failing) == endpoints else f"{len(failing)} of {endpoints}"
        shown = ", ".join(failing[:5]) + (", ..." if len(failing) > 5 else "")
        parts.append(f"{outage} endpoint{'s' if endpoints != 1 else ''} fail{'s' if endpoints == 1 else ''}: {shown}")
    parts += [f"{one['name']} is {one['health']}: {why(one)}" for one in bad if not one["name"].startswith(ENDPOINT)][:5]
    return one_line("; ".join(parts), 400)


def _say(overall: str, hosts: t.Mapping[str, t.Mapping[str, t.Any]], files: list[str], check: bool) -> list[str]:
    counts = {word: sum(one["health"] == word for one in hosts.values()) for word in ("well", "sick", "unknown")}
    shown = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    lines = [f"verdict {overall}: {len(hosts)} host{'s' if len(hosts) != 1 else ''} looked at, {shown or 'nothing seen'}"]
    bad = [(host, one) for host, one in hosts.items() if one["health"] != State.WELL.value]
    # The table below shows what fits into it.
    told = sum(len(one["checks"]) for one in hosts.values()) <= MOST
    lines += [f"{host} is {one['health']}: {_counted(one) if told else one['reason']}" for host, one in bad[:20]]
    lines += [f"and {len(bad) - 20} more hosts"] if len(bad) > 20 else []
    lines += _without_service(hosts)
    return lines + [f"{'would write' if check else 'wrote'} {one_line(path, 120)}" for path in files]


def _counted(host: t.Mapping[str, t.Any]) -> str:
    """Return how many checks of a host are not well, or why it is not well although all of them are."""
    bad = sum(one["health"] != State.WELL.value for one in host["checks"])
    return f"{bad} of {len(host['checks'])} checks not well" if bad else host["reason"]


def _sick_kinds(checks: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    return list(dict.fromkeys(str(one["kind"]) for one in checks if one["health"] == State.SICK.value and not one.get("beside")))


def _services_in(checks: t.Sequence[t.Mapping[str, t.Any]]) -> int:
    """Return how many of *checks* looked at a service."""
    return sum(traits.is_of_service(one) and not (one.get("facts") or {}).get("left_out") for one in checks)


def _without_service(hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    bare = [host for host, one in hosts.items() if not one["services"] and one["health"] == State.WELL.value]
    more = f" and {len(bare) - 10} more" if len(bare) > 10 else ""
    text = f"only the machine was looked at, no service: {', '.join(bare[:10])}{more}; if one has a service, {HOW}"
    return [text] if bare else []


def _write_file(path: str, text: str, mode: int, variable: str) -> None:
    """Replace *path* as a whole: a reader sees the old file or the new one, never half of one."""
    try:
        if path:
            write_durably(os.path.abspath(path), text.encode("utf-8", "backslashreplace"), mode)
    except OSError as error:
        text = f"cannot write {one_line(path, 120)}: {error.strerror or error}: make its directory or change {variable}"
        raise StepError(text) from None


_METRICS = (
    ("somabrain_health_state", "Health of one check: 1 well, 0 sick, -1 unknown."),
    ("somabrain_health_check_seconds", "Seconds that the last look of one check took."),
    ("somabrain_health_age_seconds", "Age of what one check looked at, such as a backup."),
    ("somabrain_health_host_state", "Health of one host, the worst of its checks: 1 well, 0 sick, -1 unknown."),
    ("somabrain_health_host_seconds", "Seconds that the verification of one host took."),
    ("somabrain_health_endpoints_failing", "Listed endpoints of one host that are not well."),
    ("somabrain_health_endpoints", "Listed endpoints of one host."),
    ("somabrain_health_overall_state", "Health of all hosts together: 1 well, 0 sick, -1 unknown."),
    ("somabrain_health_timestamp_seconds", "When this verification was made, in seconds since the epoch."),
)


def prometheus(report: t.Mapping[str, t.Any], now: float) -> str:
    """Return *report* in the text format of Prometheus, label values escaped."""
    samples: dict[str, list[str]] = {name: [] for name, _help in _METRICS}
    for host, one in report["hosts"].items():
        at = _labels(host=host)
        samples["somabrain_health_host_state"].append(f"{at} {VALUES[one['health']]}")
        samples["somabrain_health_host_seconds"].append(f"{at} {one['seconds']}")
        samples["somabrain_health_endpoints_failing"].append(f"{at} {len(one['endpoints']['failing'])}")
        samples["somabrain_health_endpoints"].append(f"{at} {one['endpoints']['all']}")
        for check in one["checks"]:
            at = _labels(host=host, check=check["name"], kind=check["kind"])
            samples["somabrain_health_state"].append(f"{at} {VALUES[check['health']]}")
            samples["somabrain_health_check_seconds"].append(f"{at} {check['seconds']}")
            age = (check.get("facts") or {}).get("age_seconds")
            samples["somabrain_health_age_seconds"] += [f"{at} {age}"] if isinstance(age, (int, float)) else []
    samples["somabrain_health_overall_state"].append(f" {VALUES[report['health']]}")
    samples["somabrain_health_timestamp_seconds"].append(f" {now:.3f}")
    lines = []
    for name, description in _METRICS:
        lines += [f"# HELP {name} {description}", f"# TYPE {name} gauge", *(name + sample for sample in samples[name])]
    return "\n".join(lines) + "\n"


def _labels(**labels: str) -> str:
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in labels.items()}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
