# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What triage reads on a host: ends of logs, metrics, processes and changes, however hostile or large they are."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import triage_host_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.look import changed, logs, metrics, processes

HOSTILE = "\x1b[2J {{ lookup('pipe', 'id') }} $(id) <script> \u202e end"


@pytest.mark.parametrize(
    ("data", "wanted", "cut"),
    [
        (b"", [], False),
        (b"a\nb\nc", ["b", "c"], True),
        (b"a\nb\n", ["a", "b"], False),
        (b"\n\n", [], False),
        (b"password=hunter2 x\n", ["password=[redacted] x"], False),
        (b"\xff\x00bin\n", ["\ufffd\\x00bin"], False),
        (HOSTILE.encode(), ["\\x1b[2J {{ lookup('pipe', 'id') }} $(id) <script> \\u202e end"], False),
    ],
)
def test_the_last_lines_are_literal_and_hold_no_secret(data: bytes, wanted: list[str], cut: bool) -> None:
    assert logs.last_lines(data, 2) == (wanted, cut)


def test_a_key_over_many_lines_is_taken_out_also_where_its_beginning_is_missing() -> None:
    key = b"-----BEGIN RSA PRIVATE KEY-----\nMIIabc\nMIIdef\n-----END RSA PRIVATE KEY-----\nafter\n"
    assert "MII" not in "".join(logs.last_lines(b"before\n" + key, 50)[0])
    assert logs.last_lines(b"part\n" + key.split(b"\n", 1)[1], 50, is_part=True) == (["after"], True)


def test_one_endless_line_is_cut_and_its_first_word_may_be_half_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"token=abc" + b"d" * (2 << 20) + b" rest of it")
    found = logs.load_log({"log_file": str(file)}, 50, 2.0)
    assert (found["lines"], found["cut"], found["error"]) == (["rest of it"], True, "")


def test_the_lines_say_from_when_to_when_they_are(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("no time here\n2026-12-01T03:00:00Z one\n2026-12-01T03:00:05+00:00 two\n  and its rest\n")
    found = logs.load_log({"log_file": str(file)}, 50, 2.0)
    assert (found["from"], found["to"]) == (1796094000.0, 1796094005.0)
    file.write_text("nothing\n")
    found = logs.load_log({"log_file": str(file)}, 50, 2.0)
    assert (found["from"], found["to"]) == (None, None)


def test_what_has_no_log_says_why(tmp_path: Path) -> None:
    assert logs.load_log({"log_file": str(tmp_path / "none")}, 50, 1.0)["error"].endswith("it does not exist")
    assert logs.load_log({"usual": str(tmp_path / "*.log")}, 50, 1.0)["error"] == "no log was found"
    (tmp_path / "empty").touch()
    assert logs.load_log({"log_file": str(tmp_path / "empty")}, 50, 1.0)["error"] == "it is empty"
    os.mkfifo(tmp_path / "pipe")
    assert logs.load_log({"log_file": str(tmp_path / "pipe")}, 50, 1.0)["lines"] == []
    named = {"service": {"manager": "supervisor", "name": "x", "supervisor_url": "unix:///nowhere"}}
    assert logs.load_log(named, 50, 1.0)["error"] == "supervisor kept no output of x"
    assert "manager must be one of" in logs.load_log({"service": {"manager": "upstart", "name": "x"}}, 50, 1.0)["error"]


METRICS = """# TYPE somabrain_http_requests_total counter
somabrain_http_requests_total{method="POST",path="/recall",status="200"} 90 # {trace_id="x"} 1
somabrain_http_requests_total{method="POST",path="/recall",status="503"} 10
somabrain_http_requests_total{method="GET",path="/health",status="200"} 5000
somabrain_http_latency_seconds_bucket{path="/recall",le="0.1"} 50
somabrain_http_latency_seconds_bucket{path="/recall",le="1"} 100
somabrain_http_latency_seconds_bucket{path="/recall",le="+Inf"} 100
somabrain_http_latency_seconds_sum{path="/recall"} 20
somabrain_http_latency_seconds_count{path="/recall"} 100
process_resident_memory_bytes 1.5e+08
"""


def figures_of(*texts: str) -> dict[str, t.Any]:
    first, *second = [metrics.counted(text, 100.0 + 2 * turn) for turn, text in enumerate(texts)]
    assert first is not None
    return metrics.told(first, *second)


def test_metrics_say_errors_and_latency_of_traffic_alone() -> None:
    found = figures_of(METRICS)
    assert (found["up"], found["requests"], found["errors"], found["error_rate"]) == (True, 100.0, 10.0, 0.1)
    assert found["latency_seconds"] == {"p50": 0.1, "p95": 0.91, "p99": 0.982, "mean": 0.2}
    assert (found["memory_bytes"], found["over_seconds"], found["statuses"]) == (150000000.0, None, {"200": 90.0, "503": 10.0})


def test_two_samples_say_how_it_is_now_and_what_was_counted_before_does_not_count() -> None:
    later = METRICS.replace('"503"} 10', '"503"} 30').replace('le="1"} 100', 'le="1"} 120').replace('le="+Inf"} 100', 'le="+Inf"} 120')
    found = figures_of(METRICS, later)
    assert (found["over_seconds"], found["requests"], found["error_rate"], found["statuses"]["503"]) == (2.0, 20.0, 1.0, 20.0)
    assert found["latency_seconds"]["p50"] == 0.55
    assert found["since_start"]["error_rate"] == 0.25
    assert found["rates"] == {"somabrain_http_requests_total": 10.0}
    quiet = figures_of(METRICS, METRICS)
    assert (quiet["requests"], quiet["error_rate"], quiet["latency_seconds"], quiet["over_seconds"]) == (0.0, None, None, 2.0)


def test_only_health_checks_are_no_traffic_and_no_counter_is_not_known() -> None:
    found = figures_of('somabrain_http_requests_total{path="/health",status="200"} 9\n')
    assert (found["requests"], found["errors"], found["error_rate"], found["statuses"]) == (0.0, 0.0, None, {})
    assert figures_of("x 1\n")["requests"] is None


def test_a_counter_that_fell_is_of_a_new_process_and_counts_since_its_start() -> None:
    found = figures_of(METRICS, METRICS.replace(" 90 #", " 1 #"))
    assert (found["over_seconds"], found["requests"]) == (None, 11.0)


@pytest.mark.parametrize(
    ("text", "up"),
    [
        ("up 0\n", False),
        ("up NaN\n", True),
        ('somabrain_http_requests_total{path="/a",status="200"} NaN\n', True),
        ('somabrain_http_requests_total{path="/a"} 4\n', True),
        ('somabrain_http_requests_total{status="200"} 4\n', True),
        ('somabrain_http_requests_total{path="/a",status="200"} 0\n', True),
    ],
)
def test_what_metrics_do_not_say_is_none(text: str, up: bool) -> None:
    found = figures_of(text)
    assert (found["up"], found["error_rate"], found["latency_seconds"]) == (up, None, None)


@pytest.mark.parametrize("text", ["", "<html>no</html>", "\x00\xff"])
def test_what_is_no_metrics_is_none(text: str) -> None:
    assert metrics.counted(text, 0.0) is None


@pytest.mark.parametrize(
    ("body", "up", "error"),
    [
        (b"up 1\n", True, ""),
        (b"<html></html>", None, "what it answers is no metrics"),
        (b"x 1\n" * (2 << 20), True, "more than 4 MB of metrics: not counted"),
    ],
)
def test_an_endpoint_is_read_within_its_bounds(body: bytes, up: t.Optional[bool], error: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_words: t.Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = metrics.load_metrics({"url": f"http://127.0.0.1:{server.server_port}/metrics"}, 0.1, 5.0)
        server.shutdown()
    assert (found["up"], found["error"]) == (up, error)
    refused = metrics.load_metrics({"url": f"http://127.0.0.1:{server.server_port}/metrics"}, 0.1, 5.0)
    assert refused["up"] is False
    assert metrics.load_metrics({"url": "http://a/", "token_file": "/nowhere"}, 0.1, 1.0)["error"].startswith("token_file /nowhere: ")


def test_processes_are_ranked_by_what_they_used_between_two_samples() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    first = {1: (1000, 0, 10, "old"), 2: (0, 5 * tick, 30, "idle"), 3: (50, 1, 5, "reused")}
    second = {**first, 1: (1000 + tick, 0, 10, "old"), 3: (tick // 2, 7 * tick, 5, "reused"), 4: (0, 9 * tick, 40, "b")}
    found = processes.ranked(first, second, 1.0, 10.0, 3)
    assert [(one["pid"], one["cpu_percent"], one["seconds"]) for one in found] == [(1, 100.0, 10), (3, 50.0, 3), (4, 0.0, 1)]


def test_packages_are_read_from_what_each_distribution_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    text = "2026-12-01 03:00:00 upgrade redis:amd64 1 2\n2026-12-01 03:00:01 status installed redis:amd64 2\n"
    text += "2026-12-01 01:00:00 install x y z\n"
    since = 1796090400.0  # 2026-12-01T02:00:00Z
    (found,) = changed.dpkg_changes(text, since)
    assert (found["at"], found["text"]) == (1796094000.0, "package redis:amd64 upgraded (1 to 2)")
    assert [one["what"] for one in changed.rpm_changes("1796094000 redis 7.2-1\n1 old 1\nno number here\n", since)] == ["redis"]
    (found,) = changed.pacman_changes("[2026-12-01T05:00:00+0200] [ALPM] upgraded redis (1 -> 2)\n", since)
    assert (found["at"], found["text"]) == (1796094000.0, "package redis upgraded (1 -> 2)")


def test_files_and_links_that_changed_are_named_and_old_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "redis.conf").touch()
    (tmp_path / "r2").mkdir()
    (tmp_path / "current").symlink_to("r2")
    places = {"files": [{"name": "redis", "path": str(tmp_path / "redis.conf")}, {"name": "gone", "path": "/nowhere"}]}
    places["releases"] = [{"name": "api", "path": str(tmp_path / "current")}]
    changes, _unseen = changed.load_changes(places, time.time() - 60, 5.0)
    ours = [(one["kind"], one["text"]) for one in changes if one["kind"] in ("configuration", "release")]
    assert sorted(ours) == [
        ("configuration", f"{tmp_path}/redis.conf, a file of redis, was written or put there"),
        ("release", "api runs the release r2 since then"),
    ]
    later = changed.load_changes(places, time.time() + 60, 5.0)[0]
    assert later == []


def test_a_part_that_hangs_or_raises_costs_no_other_part() -> None:
    def broken(_deadline: float) -> t.Any:
        raise ZeroDivisionError("oops")

    begun = time.monotonic()
    jobs: list[triage_host_info.Job] = [
        ("log", "slow", lambda _deadline: time.sleep(5)),
        ("log", "broken", broken),
        ("changes", "", broken),
        ("metrics", "fine", lambda deadline: {"up": deadline > 0}),
    ]
    found = triage_host_info.together(jobs, 0.3)
    assert time.monotonic() - begun < 2
    assert found["log", "slow"] is None
    assert found["log", "broken"]["error"] == "oops"
    assert found["changes", ""] is None
    assert found["metrics", "fine"] == {"up": True}
