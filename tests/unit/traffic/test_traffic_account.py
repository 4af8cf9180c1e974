# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was sent against what was answered, the share reached against the share meant, and what somebody else changed."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.lease import judge_lease
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import account, gates, others
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import counts

SIDES = {"main": ["api1"], "spare": ["spare"], "overflow": []}


def numbers(**given: int) -> dict[str, int]:
    return {**dict.fromkeys((*account.GROWING, *account.MOMENT), 0), **given}


def state(one: dict[str, int], spare: int = 0, **given: t.Any) -> dict[str, t.Any]:
    servers = [
        traffic_pool.server("api1", weight=100, initial=100, up=True, counted=one, sessions=one["open"]),
        traffic_pool.server("spare", counted=numbers(sent=spare, answered=spare, good=spare), sessions=0),
    ]
    known = {"servers": servers, "reachable": True, "pool": "brain", "identity": {"pid": 1}}
    return traffic_pool.blank("haproxy", "brain", **{**known, **given})


def sample(
    seconds: float = 10.0, spare: int = 0, whole: t.Any = None, mode: str = "http", full: str = "", **grown: t.Any
) -> dict[str, t.Any]:
    begin = {"at": 0.0, "pool": state(numbers(), whole=whole and numbers()), "scraped": None, "queried": None}
    more = state(numbers(**grown), spare, whole=whole, mode=mode, full=full)
    return gates.sample_of(begin, {"at": seconds, "pool": more, "scraped": None, "queried": None}, SIDES, [])


WELL: dict[str, t.Any] = {"sent": 100, "answered": 100, "good": 100}
FAST = {"error_rate": 0.05, "unanswered": 0.05, "rejected": 0.5}
LIMITED = {**FAST, "p95": 0.5}


@pytest.mark.parametrize(
    ("made", "limits", "health", "text"),
    [
        (sample(**WELL), FAST, "well", "within"),
        # As it was met: 850 of 6313 requests open, given up by clients whom the balancer does not hear.
        (sample(30, sent=6313, answered=5463, good=5463, open=850), LIMITED, "sick", "unanswered"),
        (sample(30, sent=6313, answered=5463, good=5463, open=850), FAST, "unknown", "unanswered 13"),
        (sample(sent=100, answered=90, good=90, aborted=10), FAST, "sick", "unanswered 10 %, at most 5 %"),
        (sample(sent=100, answered=98, good=98, aborted=2), FAST, "well", "within"),
        # Given up in the middle of an answer.
        (sample(sent=100, answered=100, good=100, aborted=10), FAST, "sick", "unanswered 10 %"),
        (sample(**{**WELL, "queued": 40}), FAST, "unknown", "unanswered"),
        (sample(**WELL, whole=numbers(queued=200)), LIMITED, "sick", "unanswered"),
        # What failed or was given up in the queue of the pool never had a server.
        (sample(**WELL, whole=numbers(refused=30)), FAST, "sick", "errors"),
        (sample(**WELL, whole=numbers(aborted=30)), FAST, "sick", "unanswered"),
        (sample(sent=100, answered=90, good=90, closed=10), FAST, "sick", "errors 10 %"),
        # One version counts a broken connection twice.
        (sample(sent=100, answered=96, good=96, closed=8), FAST, "well", "within"),
        (sample(sent=100, answered=100, good=100, closed=10, cut=10), FAST, "sick", "errors 10 %"),
        (sample(sent=100, answered=90, good=90, failed=10, refused=10), FAST, "sick", "errors 10 %"),
        (sample(sent=100, answered=100, good=90, failed=10), FAST, "sick", "errors 10 %"),
        (sample(sent=100, answered=100, rejected=100), FAST, "unknown", "rejected (4xx) 100 %, at most 50 %; none of 100"),
        (sample(sent=100, answered=100, rejected=100), {**FAST, "rejected": 0.2}, "sick", "rejected (4xx) 100 %"),
        (sample(sent=100, answered=100, good=60, rejected=40), FAST, "well", "within"),
        (sample(sent=100, answered=100), FAST, "unknown", "none of 100 requests was answered with 2xx"),
        (sample(sent=100, answered=100), {"error_rate": 0.05}, "well", "within"),
        # A connection that was upgraded stays open.
        (sample(sent=100, answered=0, upgraded=100, open=100), FAST, "well", "within"),
        (sample(**WELL, full="HAProxy has all of its 100 connections in use"), FAST, "unknown", "all of its 100 connections"),
        (sample(sent=1076, open=500, mode="tcp"), FAST, "unknown", "unanswered"),
        (sample(sent=1076, open=20, mode="tcp"), {"error_rate": 0.05}, "unknown", "sees sessions (mode tcp), not answers"),
        (sample(sent=1076, open=20, mode="tcp"), {}, "well", "within"),
        (sample(sent=1000, failed=200, refused=200, mode="tcp"), {"error_rate": 0.05}, "sick", "200 of 1000 sessions failed"),
        # The balancer's own answers, as a real one counts them: 97 of 243 got a 503, 70 a 429 or 404, 106 were dropped without a word.
        (
            sample(sent=146, answered=146, good=146, whole=numbers(answered=243, good=146, failed=97)),
            FAST,
            "sick",
            "errors 39.92 %",
        ),
        (
            sample(sent=30, answered=30, good=30, whole=numbers(answered=100, good=30, rejected=70)),
            FAST,
            "unknown",
            "rejected (4xx) 70",
        ),
        (
            sample(sent=136, answered=136, good=136, whole=numbers(answered=242, good=136, mute=106)),
            FAST,
            "sick",
            "errors 43.8 %",
        ),
        # What it made of answers of the server.
        (sample(sent=222, answered=222, good=222, whole=numbers(answered=222, good=136, failed=86)), FAST, "sick", "errors 27.9"),
        # Its 502 and 503 for what broke or was refused are counted once.
        (
            sample(sent=100, answered=97, good=97, closed=3, whole=numbers(answered=100, good=97, failed=3, closed=3)),
            FAST,
            "well",
            "",
        ),
        (
            sample(sent=97, answered=97, good=97, whole=numbers(answered=100, good=97, failed=6, refused=3)),
            {**FAST, "error_rate": 0.035},
            "well",
            "",
        ),
        # A word before the answer (100, 103) is no switch to another protocol: it hides no request that hangs.
        (sample(sent=218, answered=145, good=145, upgraded=290, open=73), LIMITED, "unknown", "unanswered 23.85"),
        (sample(sent=218, answered=145, good=145, upgraded=290, open=63, aborted=10), LIMITED, "unknown", "unanswered 2"),
        (sample(sent=218, answered=145, good=145, upgraded=290, aborted=73), LIMITED, "sick", "unanswered 33"),
        (sample(sent=200, answered=0, upgraded=100, open=200), LIMITED, "sick", "unanswered 4"),
        # They hang all: none is answered, and enough were sent.
        (sample(sent=100, open=100), LIMITED, "sick", "unanswered"),
    ],
)
def test_what_was_not_answered_is_no_success(made: t.Any, limits: t.Any, health: str, text: str) -> None:
    verdict = gates.judge_sample(made, limits, 50)
    assert (verdict.health, text in verdict.text) == (health, True), verdict


def test_no_rate_is_above_all_of_the_requests() -> None:
    # As met: an answer to a request from before the window.
    rates = gates.rates_of(sample(sent=220, answered=221, rejected=221))
    assert (rates["rejected"], rates["error_rate"]) == (1.0, 0.0)
    assert gates.rates_of(sample(sent=220, answered=221, failed=221))["error_rate"] == 1.0


def test_an_answer_after_an_attempt_elsewhere_was_sent() -> None:
    # As met with retry-on: HAProxy counts the attempt at b as made again twice, and the 164 that a answered as well.
    made = sample(sent=246, again=164, answered=164, good=164, spare=82)
    assert (made["sent"], made["errors"], round(made["reached"])) == (164, 0, 67)
    # And with connections that are refused: 155 of 237 went elsewhere.
    assert sample(sent=237, again=155, answered=81, good=81)["sent"] == 82


def test_what_failed_at_spare_servers_is_told() -> None:
    begin, end = (state(numbers(**given)) for given in ({}, WELL))
    end["servers"][1]["counted"] = numbers(sent=216, answered=216, failed=216)
    looks = [{"at": at, "pool": one, "scraped": None, "queried": None} for at, one in ((0.0, begin), (9.0, end))]
    made = gates.sample_of(looks[0], looks[1], SIDES, [])
    made["spare"] = 216
    assert "216 to spare servers (216 of them failed)" in gates.line_of(30, made, gates.judge_sample(made, FAST, 50))


def test_the_line_of_a_step_says_what_is_open_given_up_and_rejected() -> None:
    made = sample(30, sent=1000, answered=800, good=700, rejected=100, aborted=50, open=150)
    line = gates.line_of(100, made, gates.Verdict("sick", "x"), LIMITED)
    assert "1000 requests, 0 failed (0 %), 50 given up by clients, 1" in line
    assert "more without an answer yet, 100 rejected (4xx)" in line
    assert "1076 sessions, 0 failed to connect" in gates.line_of(100, sample(sent=1076, mode="tcp"), gates.Verdict("well", "x"))


def test_without_counters_open_connections_are_held_against_the_answers() -> None:
    def seen(sessions: int) -> dict[str, t.Any]:
        return {**state(numbers()), "servers": [traffic_pool.server("api1", sessions=sessions)]}

    def watched(more: int) -> dict[str, t.Any]:
        scraped = [{"api1": {"requests": total, "errors": 0, "latency": None, "recall": None}} for total in (0, 400)]
        looks: list[dict[str, t.Any]] = [
            {"at": 10.0 * turn, "pool": seen(more * turn), "scraped": scraped[turn], "queried": None} for turn in (0, 1)
        ]
        return gates.sample_of(looks[0], looks[1], SIDES, [])

    assert gates.judge_sample(watched(10), {**LIMITED, "p95": 0.5}, 50).text.startswith("no figure for p95")
    assert gates.judge_sample(watched(45), LIMITED, 50).health == "unknown"
    assert gates.judge_sample(watched(150), LIMITED, 50).health == "sick"


def test_counters_of_another_worker_are_no_continuation() -> None:
    def scraped(requests: int, since: float, at: float) -> dict[str, t.Any]:
        return {"requests": requests, "errors": 0, "rejected": 0, "latency": {"+Inf": requests}, "recall": None, "since": since, "at": at}

    first = scraped(1000, 50.0, 100.0)
    assert gates.grown(first, scraped(1010, 50.0, 130.0))["requests"] == 10
    # Started before the first look: another worker of the same server.
    for requests in (900, 1200):
        assert set(gates.grown(first, scraped(requests, 50.2, 130.0)).values()) == {None}
    # Started since: the server was restarted.
    assert gates.grown(first, scraped(30, 110.0, 130.0))["requests"] == 30


def share(meant: float, least: float | None = None) -> dict[str, t.Any]:
    return {"meant": meant, "least": meant if least is None else least, "why": ": balance leastconn keeps it from following the weights"}


@pytest.mark.parametrize(
    ("mine", "spare", "meant", "least", "health"),
    [
        (100, 900, 10, None, "well"),
        # What was met with leastconn: 67 % where 10 % were meant.
        (321, 160, 10, None, "sick"),
        (100, 900, 50, None, "unknown"),
        # A server of the share is down, which the weights of the others explain.
        (100, 900, 50, 10, "well"),
        (60, 540, 13, None, "well"),
        (990, 10, 100, None, "well"),
        (900, 100, 100, None, "unknown"),
    ],
)
def test_a_share_is_measured_against_the_one_that_was_meant(mine: int, spare: int, meant: float, least: float | None, health: str) -> None:
    made = sample(sent=mine, answered=mine, good=mine, spare=spare)
    verdict = gates.judge_sample(made, FAST, 50, share(meant, least))
    assert verdict.health == health, verdict
    assert ("balance leastconn keeps it" in verdict.text) is (health != "well")


def test_chance_explains_more_of_few_requests_than_of_many() -> None:
    assert account.tolerance(50, 50) > 20
    assert account.tolerance(50, 5000) < 5
    assert account.tolerance(100, 50) == account.POINTS


def test_counters_that_somebody_cleared_count_from_zero() -> None:
    assert account.grown(numbers(sent=500, answered=500, open=3), numbers(sent=20, answered=18, open=2)) == numbers(
        sent=20, answered=18, open=-1
    )


STANDS = others.stands_of(state(numbers()))


GONE = dict.fromkeys(("api1", "spare"), "is gone from the pool")


def seen(name: str = "api1", **given: t.Any) -> dict[str, t.Any]:
    known = state(numbers())
    return {**known, "servers": [dict(one, **(given if one["name"] == name else {})) for one in known["servers"]]}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (seen(), {}),
        (seen(admin="maint"), {"api1": "ready -> maint"}),
        (seen(admin="drain", weight=7), {"api1": "weight 100 -> 7, ready -> drain"}),
        (seen(address="10.0.0.9:1"), {"api1": "address  -> 10.0.0.9:1"}),
        (seen(address="10.0.0.9:1", named=True), {}),
        (seen(weight=7, agent=True), {"api1": "weight 100 -> 7 (its agent check may have done it)"}),
        ({**seen(), "servers": []}, GONE),
        ({**seen(), "maintenance": {"on": True, "retry_after": 9}}, {"maintenance": "was turned on"}),
        # After a reload, what the configuration says is nobody's doing; anything else is.
        ({**seen("spare", weight=0), "identity": {"pid": 2}}, {}),
        ({**seen(weight=3), "identity": {"pid": 2}}, {"api1": "weight 100 -> 3"}),
        ({**seen(admin="maint"), "identity": {"pid": 2}}, {"api1": "ready -> maint"}),
    ],
)
def test_what_somebody_else_changed_is_named(now: t.Any, said: dict[str, str]) -> None:
    assert others.changed(now, STANDS) == said
    assert others.changed(now, {}) == {}
    assert all(name in others.sentence(said) for name in said)


@pytest.mark.parametrize(
    ("change", "now", "said"),
    [
        # Done as asked, and not done by the balancer.
        ({"servers": {"api1": {"weight": 7}}}, seen(weight=7), {}),
        ({"servers": {"api1": {"weight": 7}}}, seen(), {}),
        ({"servers": {"api1": {"weight": 7}}}, seen(weight=9), {"api1": "weight 7 -> 9"}),
        ({"servers": {"api1": {"weight": 7}}}, seen(weight=7, admin="maint"), {"api1": "ready -> maint"}),
        ({"servers": {"api1": {"admin": "drain"}}}, seen("spare", admin="maint", weight=3), {"spare": "weight 0 -> 3, ready -> maint"}),
        ({"servers": {"api1": {"weight": 7}}}, {**seen(), "servers": [], "identity": {}}, GONE),
        ({"servers": {}}, {**seen(), "maintenance": {"on": True, "retry_after": 9}}, {"maintenance": "was turned on"}),
        ({"maintenance": {"on": False}}, {**seen(), "maintenance": {"on": True, "retry_after": 9}}, {}),
    ],
)  # fmt: skip
def test_what_somebody_else_changes_during_a_change_is_told_from_what_the_balancer_did_not_do(
    change: t.Any, now: t.Any, said: dict[str, str]
) -> None:
    assert others.overruled(seen(), now, change) == said


def test_what_a_reload_lost_is_known_by_its_servers() -> None:
    stands = others.stands_of(state(numbers()), {"servers": {"api1": {"weight": 3}}, "maintenance": {"on": False}})
    anew = {**seen(), "identity": {"pid": 2}}
    assert (others.reloaded(anew, stands), others.lost(anew, stands, ["api1", "nobody"])) == (True, ["api1"])
    assert others.changed(anew, stands) == {}


@pytest.mark.parametrize(
    ("address", "now", "text"),
    [
        ("169.254.169.254:80", "10.0.0.1:80", "link-local"),
        ("169.254.1.1:80", "10.0.0.1:80", "link-local"),
        ("[fe80::1]:80", "10.0.0.1:80", "link-local"),
        ("[::ffff:169.254.169.254]:80", "10.0.0.1:80", "link-local"),
        ("[fd00:ec2::254]:80", "10.0.0.1:80", "metadata"),
        ("0.0.0.0:80", "10.0.0.1:80", "no address of a machine"),
        ("224.0.0.1:80", "10.0.0.1:80", "no address of a machine"),
        ("255.255.255.255:80", "10.0.0.1:80", "no address of a machine"),
        ("127.0.0.1:9000", "10.0.0.1:80", "own loopback"),
        ("[::1]:9000", "10.0.0.1:80", "own loopback"),
        # A laboratory has everything on one machine.
        ("127.0.0.1:9000", "127.0.0.1:80", ""),
        ("10.0.0.2:80", "10.0.0.1:80", ""),
        ("[fd00::2]:80", "10.0.0.1:80", ""),
    ],
)
def test_a_server_is_not_moved_to_an_address_that_is_none_of_a_server(address: str, now: str, text: str) -> None:
    found = traffic_pool.barred(address, now)
    assert found == "" if not text else text in found, found


def test_whoever_meets_a_restoration_learns_how_to_stop_it() -> None:
    held = {
        "run_id": "r1",
        "owner": "ann",
        "component": "traffic",
        "host": "lb",
        "taken_at": 0.0,
        "ends_at": 900.0,
        "phase": "begin restore",
    }
    said = judge_lease(dict(held, acting_until=None), now=10.0, processes=[1], controller_dead=False, takeover=False)["reason"]
    assert (said["code"], "traffic_scaling_control=abort" in said["next_command"]) == ("lease_held", True)
    other = judge_lease(dict(held, phase="begin shift", acting_until=None), now=10.0, processes=[1], controller_dead=False, takeover=False)
    assert "traffic_scaling_control" not in other["reason"]["next_command"]


def test_servers_that_count_by_status_say_how_many_were_rejected() -> None:
    names = {name: rule.get("default") for name, rule in counts.METRICS_SPEC.items()}
    text = 'somabrain_http_requests_total{path="/a",status="401"} %d\nsomabrain_http_requests_total{path="/a",status="200"} 5\n'
    scraped = [{"api1": counts.parse_metrics(text % number, names)} for number in (0, 95)]
    looks: list[dict[str, t.Any]] = [
        {"at": 10.0 * turn, "pool": {"servers": []}, "scraped": scraped[turn], "queried": None} for turn in (0, 1)
    ]
    verdict = gates.judge_sample(gates.sample_of(looks[0], looks[1], SIDES, []), {"error_rate": 0.05, "rejected": 0.5}, 50)
    assert (verdict.health, "rejected (4xx) 100 %" in verdict.text) == ("unknown", True), verdict
