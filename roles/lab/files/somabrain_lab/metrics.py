# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters, gauges and histograms in Prometheus text, with the names that SomaBrain uses."""

from __future__ import annotations

import threading
import typing as t

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, float("inf"))

# The metrics of profile v1 that its operators watch: name, kind, help, and whether it starts at 0.
V1 = (
    ("somabrain_http_requests_total", "counter", "HTTP requests", False),
    ("somabrain_http_latency_seconds", "histogram", "HTTP request latency", False),
    ("somabrain_recall_wm_latency_seconds", "histogram", "Recall WM stage latency", False),
    ("somabrain_recall_ltm_latency_seconds", "histogram", "Recall LTM stage latency", False),
    ("somabrain_memory_circuit_breaker_state", "gauge", "The state of the memory service circuit breaker (1=open, 0=closed).", True),
    ("somabrain_memory_outbox_pending_items", "gauge", "Number of memory operations waiting in the outbox to be synced.", True),
    ("somabrain_wm_utilization", "gauge", "Working Memory utilization (items/capacity)", True),
    ("somabrain_rate_limited_total", "counter", "Requests rejected by rate limiting", False),
    ("somabrain_quota_denied_total", "counter", "Write requests rejected by quota", False),
    ("somabrain_audit_kafka_publish_total", "counter", "Audit events successfully published to Kafka (best-effort)", True),
    ("somabrain_audit_journal_fallback_total", "counter", "Audit events written to the durable JSONL journal as a fallback", True),
    ("somabrain_audit_writes_total", "counter", "Audit log write events", True),
)

Labels = t.Tuple[t.Tuple[str, str], ...]


class Metrics:
    """A registry of *known* metrics; safe for threads."""

    def __init__(self, known: t.Iterable[tuple[str, str, str, bool]] = V1) -> None:
        self._known = tuple(known)
        self._values: dict[tuple[str, Labels], float] = {(name, ()): 0.0 for name, _kind, _help, at_zero in self._known if at_zero}
        self._samples: dict[tuple[str, Labels], list[float]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        with self._lock:
            key = (name, tuple(labels.items()))
            self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, name: str, value: float) -> None:
        with self._lock:
            self._values[(name, ())] = value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Put one sample into a histogram: its bucket counts, then its sum."""
        with self._lock:
            counts = self._samples.setdefault((name, tuple(labels.items())), [0.0] * (len(BUCKETS) + 1))
            for place, limit in enumerate(BUCKETS):
                counts[place] += seconds <= limit
            counts[-1] += seconds

    def text(self) -> str:
        """Return everything in Prometheus text format."""
        with self._lock:
            lines: list[str] = []
            for name, kind, words, _at_zero in self._known:
                lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
                lines += [f"{name}{braces(labels)} {value}" for (own, labels), value in self._values.items() if own == name]
                for (own, labels), counts in self._samples.items():
                    lines += histogram_lines(name, labels, counts) if own == name else []
        return "\n".join(lines) + "\n"


def braces(labels: Labels, **more: str) -> str:
    """Return labels as Prometheus writes them, or nothing."""
    pairs = [*more.items(), *labels]
    return "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}" if pairs else ""


def histogram_lines(name: str, labels: Labels, counts: list[float]) -> list[str]:
    """Return the lines of one histogram."""
    limits = ["+Inf" if limit == float("inf") else str(limit) for limit in BUCKETS]
    lines = [f"{name}_bucket{braces(labels, le=limit)} {float(count)}" for limit, count in zip(limits, counts)]
    return [*lines, f"{name}_count{braces(labels)} {float(counts[-2])}", f"{name}_sum{braces(labels)} {counts[-1]}"]
