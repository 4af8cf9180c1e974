#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rank the errors in the logs of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: log_summary_info
short_description: Rank the errors in the logs of a host, where the logs are
version_added: "0.1.0"
description:
  - Reads log files (plain, rotated, compressed), the journal, logs of containers and what any program prints, in a time window, and returns
    the errors by how often they occur, the first error with the lines beside it, what ran out, and errors per minute.
  - Counts on the host itself, in one pass and in bounded memory; only the answer leaves the host, with secrets redacted and every hidden
    character visible. Changes nothing and writes no file.
  - RV(raw) has the counts of the runbook, C(LC_ALL=C grep -aE "(ERROR|FATAL|Exception)" FILE | sort | uniq -c | sort -nr), and its order.
    RV(errors) counts the same error once, whatever its numbers, ids, addresses, times and quoted values are.
  - A source that cannot be read, or only in part, has an RV(sources[].error) or RV(sources[].notes); the rest of the answer is complete. It
    never fails for a log, only for options that cannot work.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: none
    description: Changes nothing.
notes:
  - A line longer than 1 MiB is counted as one line, and only its beginning is shown. The runbook's words are found anywhere in it, others
    in its first MiB.
  - GNU grep finds the lines where the host has it. Without it the result is the same and takes several times as long.
options:
  sources:
    description: Where the lines are. Each needs exactly one of O(sources[].path), O(sources[].unit), O(sources[].container),
      O(sources[].compose) and O(sources[].argv).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the answer calls it. Without one, what was given.
        type: str
        default: ""
      path:
        description: A file, or a pattern for several such as V(/var/log/redis/*.log). A name that ends in .gz, .bz2, .xz or .zst is
          decompressed; .zst needs the program C(zstd).
        type: path
      rotated:
        description: Whether the rotated files beside O(sources[].path) (.1, .2.gz, -20261130) are read too, as far as they were written
          after O(since). Without O(since) they are not.
        type: bool
        default: true
      unit:
        description: A unit of systemd, whose lines come from the journal.
        type: str
      container:
        description: Name or id of a container of Docker.
        type: str
      compose:
        description: A service of a Compose project.
        type: dict
        suboptions:
          project:
            description: Name of the project.
            type: str
            required: true
          service:
            description: Name of the service.
            type: str
            required: true
      argv:
        description: A program and its arguments, whose output is the log, for example C(kubectl logs). No shell is involved. Give it the
          window too where it can have one, so that it prints less.
        type: list
        elements: str
      utc:
        description: Whether times without a zone are UTC, as in most containers. Otherwise they are in the zone of the host.
        type: bool
        default: false
  since:
    description: Begin of the window. RFC 3339 with a zone (V(2026-12-01T03:00:00Z), V(2026-12-01T04:00:00+01:00)), or how long ago (V(90s),
      V(15m), V(2h), V(1d)). A time without a zone is refused. Empty is the beginning of the log.
    type: str
    default: ""
  until:
    description: End of the window, in the same form. Empty is now.
    type: str
    default: ""
  change_at:
    description: A moment, in the same form, around which RV(rates) and RV(around) are.
    type: str
    default: ""
  masked:
    description: Whether to look for errors of all formats. If V(false), there is only RV(raw), which is faster.
    type: bool
    default: true
  top:
    description: How many rows of each ranking to return, at most 500.
    type: int
    default: 20
  max_bytes:
    description: How much of each source is read. Of plain files it is the newest part, of all else the first.
    type: int
    default: 2147483648
  seconds:
    description: How long the reading may take in total.
    type: float
    default: 120
  stage:
    description: The stage that the on-call view shows.
    type: str
    choices: [assess, verify]
    default: assess
"""

EXAMPLES = r"""
- name: Rank the errors of the last 15 minutes
  somabrain.incident_response.log_summary_info:
    since: 15m
    sources:
      - compose: {project: somabrain, service: somabrain}
      - path: /var/log/postgresql/*.log
      - unit: redis-server.service

- name: Compare the errors before and after a deployment
  somabrain.incident_response.log_summary_info:
    since: "2026-12-01T02:30:00Z"
    until: "2026-12-01T03:30:00Z"
    change_at: "2026-12-01T03:00:00Z"
    sources:
      - name: api
        argv: [kubectl, logs, deployment/somabrain, --since-time=2026-12-01T02:30:00Z, --timestamps]
"""

RETURN = r"""
sources:
  description: What was read, in the order of O(sources).
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name as given, or what was given.
      type: str
    kind:
      description: V(path), V(unit), V(container), V(compose) or V(argv).
      type: str
    files:
      description: Files that were read, oldest first, or the command.
      type: list
      elements: str
    bytes:
      description: How many bytes were read, after decompression. A sorted file is entered at the window.
      type: int
    raw_lines:
      description: Lines with the runbook's words.
      type: int
    error:
      description: Why it could not be read, or not to its end. Empty if nothing went wrong.
      type: str
    notes:
      description: What was cut or is not known, in sentences.
      type: list
      elements: str
raw:
  description: Whole lines with ERROR, FATAL or Exception, as the runbook's commands rank them.
  type: dict
  returned: success
  contains:
    lines:
      description: How many lines there are.
      type: int
    different:
      description: How many of them differ.
      type: int
    exact:
      description: Whether no row is missing. Counts are exact; but of a program that printed too many different lines, rows may be missing.
      type: bool
    note:
      description: Why rows may be missing. Empty if none is.
      type: str
    top:
      description: C(count) and C(line) of the most frequent, the first 400 characters of a line.
      type: list
      elements: dict
errors:
  description:
    - Errors by how often they occur, without what differs each time. A traceback counts as one error, named by its exception.
    - Each has C(count), C(masked), C(example), C(level), C(ran_out), C(first_at), C(last_at) (RFC 3339, null without a time), and
      C(sources) (count by name of the source).
  type: list
  elements: dict
  returned: when O(masked)
errors_lines:
  description: How many lines are errors.
  type: int
  returned: when O(masked)
errors_different:
  description: How many errors differ; a lower bound if RV(errors_exact) is V(false).
  type: int
  returned: when O(masked)
errors_exact:
  description: Whether the counts in RV(errors) are exact.
  type: bool
  returned: when O(masked)
errors_note:
  description: What is missing in RV(errors). Empty if they are exact.
  type: str
  returned: when O(masked)
exhaustion:
  description: Lines that say what ran out, ranked by themselves, in the form of RV(errors). C(ran_out) is V(memory), V(disk), V(cpu),
    V(files) or V(connections).
  type: list
  elements: dict
  returned: when O(masked)
levels:
  description: Lines by level, of those lines that were looked at. V(none) is lines without one.
  type: dict
  returned: when O(masked)
first_error:
  description: The earliest error as C(source), C(file), C(at), C(line), up to five lines C(before) and C(after), and C(found) (V(false)
    where its place could not be found again). Null if there is none.
  type: dict
  returned: when O(masked)
rates:
  description: C(errors) by C(minute), within 30 minutes of O(change_at), or in the last 30 minutes that have errors.
  type: list
  elements: dict
  returned: when O(masked)
without_time:
  description: Errors that are in no minute, because neither they nor a line before them has a time.
  type: int
  returned: when O(masked)
around:
  description: Errors per minute before and after O(change_at), as C(before_per_minute) over C(before_minutes) and C(after_per_minute) over
    C(after_minutes), within the window. Null without O(change_at).
  type: dict
  returned: when O(masked)
window:
  description: The window as C(since) and C(until) in UTC; null is open.
  type: dict
  returned: success
searched_by:
  description: V(grep) or V(python).
  type: str
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
stage:
  description: The stage as given.
  type: str
  returned: success
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.log_summary_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
