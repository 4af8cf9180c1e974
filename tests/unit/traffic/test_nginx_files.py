# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the two files of nginx and the output of nginx -T are read and written: tables, and garbage that must never get through."""

from __future__ import annotations

import os
import re
import socket
import time
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Answer
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer.nginx import judge_answer
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx import config, files, links
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx import log as nginx_log
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx.put import forget, put, put_back, read_loaded

PAGE = Path(__file__).resolve().parents[3] / "docs/nginx.md"
SERVER = files.Server("api1", "127.0.0.1:8001", 100, 100, "ready", False, True, ())
TEXT = """\
# by hand
upstream api {
    zone api 64k;
    server 10.0.0.1:80 weight=100 max_fails=3 fail_timeout=10s; # api1 initial=100
\tserver [::1]:8080 weight=50 backup down; # api2 initial=20 drain
    server unix:/run/api.sock down;# api3
    keepalive 16;
}

upstream other {
    server a.example; # api1
}
"""


def lines_of(line: str) -> list[files.Server]:
    return files.servers_of(files.parse_upstreams("upstream p {\n%s\n}\n" % line), "p")


@pytest.mark.parametrize(
    ("line", "server"),
    [
        ("server 127.0.0.1:8001 weight=100; # api1", SERVER),
        ("server 127.0.0.1:8001 weight=100; # api1 initial=7", SERVER._replace(initial=7)),
        ("server 127.0.0.1:8001; # api1", SERVER._replace(weight=1, initial=1)),
        ("server 127.0.0.1:8001 weight=100 down; # api1", SERVER._replace(admin="maint")),
        ("server 127.0.0.1:8001 weight=100 down; # api1 drain", SERVER._replace(admin="drain")),
        ("server 127.0.0.1:8001 weight=1 down; # api1 initial=100 zero", SERVER._replace(weight=0)),
        ("server 127.0.0.1:8001 weight=1 down; # api1 initial=100 zero drain", SERVER._replace(weight=0, admin="drain")),
        ("server 127.0.0.1:8001 weight=100 backup; # api1 unchecked", SERVER._replace(backup=True, checked=False)),
        ("server 127.0.0.1:8001 max_conns=9 weight=100 fail_timeout=5s; # api1", SERVER._replace(kept=("max_conns=9", "fail_timeout=5s"))),
        ("  server\tunix:/run/a.sock  weight=100 ;  #  api1 ", SERVER._replace(address="unix:/run/a.sock")),
    ],
)
def test_a_line_of_a_server_says_what_nginx_and_its_comment_say(line: str, server: files.Server) -> None:
    assert lines_of(line) == [server]
    assert lines_of(files.render_server(server)) == [server]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("server 127.0.0.1:8001 weight=100;", "line 2 does not parse"),
        ("server 127.0.0.1:8001 weight=100; # api1 and more", "unknown word and"),
        ("server 127.0.0.1:8001 weight=100 slow_start=3s; # api1", "line 2"),
        ("server 127.0.0.1:8001 weight=100 resolve; # api1", "unknown word resolve"),
        ("server 127.0.0.1:8001 weight=0; # api1", "a weight is 1 to 256"),
        ("server 127.0.0.1:8001 weight=257; # api1", "a weight is 1 to 256"),
        ("server 127.0.0.1:8001 weight=1 weight=2; # api1", "a weight is 1 to 256, and a parameter appears once"),
        ("server 127.0.0.1:8001 weight=x; # api1", "a weight is 1 to 256"),
        ("server 127.0.0.1:8001 weight=1; # api1 initial=999", "a weight is 1 to 256"),
        ("server 127.0.0.1:8001 weight=100; # api1 drain", "marked 'drain', but the server is not down"),
        ("server 127.0.0.1:8001 weight=100; # api1 zero", "marked 'zero', but the server is not down"),
        ("server 127.0.0.1:8001; # a\n  server 127.0.0.1:8002; # a", "line 3 repeats server p/a"),
        ("server 127.0.0.1:8001; server evil; # api1", "does not parse"),
        ("server 127.0.0.1:8001; # api1\r", "does not parse: server 127.0.0.1:8001; # api1"),
        ("server $host; # api1", "does not parse"),
        ("least_conn;", "line 2: with least_conn the shares of upstream"),
        ("} server { listen 80;", "does not parse"),
        ("include other.conf;", "does not parse"),
        ("server 127.0.0.1:8001; # " + "x" * 2000, "does not parse"),
        ("\x1b[2J", "line 2 does not parse: \\x1b[2J"),
        ("upstream q {", "does not parse"),
    ],
)
def test_a_line_that_is_not_understood_is_named(line: str, told: str) -> None:
    with pytest.raises(files.Unreadable) as error:
        lines_of(line)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("upstream a {\nserver b; # c\n", "upstream a has no closing brace"),
        ("upstream a {\n}\nupstream a {\n}\n", "line 3 repeats upstream a"),
        ("}\n", "line 1 does not parse"),
        ("server a; # b\n", "line 1 does not parse"),
        ("upstream a;b {\n}\n", "line 1 does not parse"),
    ],
)
def test_a_file_whose_blocks_do_not_fit_is_refused(text: str, told: str) -> None:
    with pytest.raises(files.Unreadable, match=told):
        files.parse_upstreams(text)


def test_a_change_touches_its_own_line_in_its_own_pool_only() -> None:
    lines = files.parse_upstreams(TEXT)
    assert files.pools_of(lines) == ["api", "other"]
    changed = files.changed_upstreams(lines, "api", {"api1": {"weight": 0}, "api2": {"admin": "ready"}})
    assert [pair for pair in zip(TEXT.split("\n"), changed.split("\n")) if pair[0] != pair[1]] == [
        (
            "    server 10.0.0.1:80 weight=100 max_fails=3 fail_timeout=10s; # api1 initial=100",
            "    server 10.0.0.1:80 weight=1 max_fails=3 fail_timeout=10s down; # api1 initial=100 zero",
        ),
        ("\tserver [::1]:8080 weight=50 backup down; # api2 initial=20 drain", "\tserver [::1]:8080 weight=50 backup; # api2 initial=20"),
    ]
    assert files.changed_upstreams(lines, "api", {}) == TEXT
    with pytest.raises(files.Unreadable, match="upstream other has no server api2"):
        files.changed_upstreams(lines, "other", {"api2": {"weight": 1}})


NAMES = st.from_regex(files.WORD, fullmatch=True)
SERVERS = st.builds(
    files.Server,
    name=NAMES, address=st.from_regex(files.ADDRESS, fullmatch=True), weight=st.integers(0, 256), initial=st.integers(0, 256),
    admin=st.sampled_from(["ready", "drain", "maint"]), backup=st.booleans(), checked=st.booleans(),
    kept=st.sampled_from([(), ("max_fails=0",), ("fail_timeout=10ms", "max_conns=3")]),
)  # fmt: skip


@given(SERVERS)
def test_every_server_that_can_be_written_is_read_as_it_was(server: files.Server) -> None:
    assert lines_of(files.render_server(server)) == [server]


def read_or_refused(read: t.Callable[[], t.Any], error: type[Exception]) -> t.Any:
    """Return what *read* finds, None where it refuses by *error*, whose text is fit for a terminal."""
    try:
        return read()
    except error as refused:
        if not str(refused).isprintable():
            pytest.fail(repr(refused))
        return None


PIECES = [*TEXT.split("\n"), "upstream p {", "}", "\x00", "a" * 50, "server 1.1.1.1; # b zero"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=60)))
def test_what_is_read_is_whole_or_refused(found: list[str]) -> None:
    text = "\n".join(found)
    lines = read_or_refused(lambda: files.parse_upstreams(text), files.Unreadable)
    assert lines is None or "\n".join(line.text for line in lines) == text


@given(NAMES, st.booleans(), st.integers(0, files.MAX_RETRY_AFTER))
def test_a_switch_that_was_written_is_read_as_it_was(pool: str, on: bool, seconds: int) -> None:
    text = files.render_switch(pool, on, seconds)
    assert files.parse_switch(text, pool) == {"on": on, "retry_after": seconds if on else None}
    with pytest.raises(files.Unreadable, match="it belongs to pool"):
        files.parse_switch(text, pool + "x")


@given(st.integers(0, 10**4), st.characters())
def test_a_switch_with_one_other_character_is_no_switch_of_ours(place: int, character: str) -> None:
    text = files.render_switch("api", True, 30)
    place %= len(text)
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        assert read_or_refused(lambda: files.parse_switch(changed, "api"), files.Unreadable) is None


BAD_SWITCHES = [("a b", 1), ("", 1), ("a;", 1), ("$x", 1), ("a\n", 1), ("api", -1), ("api", 10**6), ("api", True)]


@pytest.mark.parametrize(("pool", "seconds"), BAD_SWITCHES)
def test_nothing_but_names_and_numbers_gets_into_the_switch(pool: str, seconds: int) -> None:
    with pytest.raises(files.Unreadable):
        files.render_switch(pool, True, seconds)


def dump(main: str, **more: str) -> config.Files:
    """Return the files of a configuration as nginx -T prints them."""
    parts = {"/etc/nginx/nginx.conf": main, **{"/etc/nginx/%s.conf" % name.replace("__", "/"): text for name, text in more.items()}}
    return config.parse_dump("".join("# configuration file %s:\n%s\n" % pair for pair in parts.items()))


SWITCH = "/etc/nginx/switch.conf"
PLAIN = "http { server { listen 80; include switch.conf; location / { proxy_pass http://api; } } }"


@pytest.mark.parametrize(
    ("main", "more", "missing"),
    [
        (PLAIN, {}, ""),
        (PLAIN.replace("switch.conf", "/etc/nginx/switch.conf"), {}, ""),
        (PLAIN.replace("switch.conf", "swi*.conf"), {}, ""),
        (PLAIN.replace("http://api", "https://api/v1"), {}, ""),
        (PLAIN.replace("include switch.conf;", ""), {}, "no server block includes"),
        (PLAIN.replace("include switch.conf;", "# include switch.conf;\n"), {}, "no server block includes"),
        (PLAIN.replace("include switch.conf;", 'add_header X "include switch.conf;";'), {}, "no server block includes"),
        (PLAIN.replace("include switch.conf; location / {", "location / { include switch.conf;"), {}, "no server block includes"),
        ("http { include sites/*.conf; }", {"sites__a": PLAIN[7:-1]}, ""),
        ("http { include sites/*; }", {"sites__a": PLAIN[7:-1], "sites__b": "server { listen 443; include loc.conf; }",
         "loc": "location / { grpc_pass grpc://api; }"}, "the server block of 443 passes requests to api"),
        (PLAIN[:-1] + "server { location / { proxy_pass http://api2; } location /x { proxy_pass $y; } } }", {}, "to $y, which may be api"),
        (PLAIN[:-1] + "server { server_name b; location / { proxy_pass http://api2; } } }", {}, ""),
        (PLAIN[:-1] + "server { server_name 'b c'; location / { if ($a) { proxy_pass http://api/x; } } } }", {}, "of b c passes"),
        ("events { } " + PLAIN + " stream { server { listen 1; proxy_pass api; } }", {}, ""),
        ("include nginx.conf; " + PLAIN, {}, ""),
        (PLAIN, {"lua": "content_by_lua_block { -- it's\n }"}, "/etc/nginx/lua.conf does not parse"),
    ],
)  # fmt: skip
def test_the_switch_closes_a_pool_when_each_server_block_that_leads_there_has_it(main: str, more: dict[str, str], missing: str) -> None:
    found = config.switch_missing(dump(main, switch=files.render_switch("api", False, 0), **more), "api", SWITCH)
    assert (found == "") if missing == "" else (missing in found)


OTHER = PLAIN[:-1] + "%s server { listen 81; location / { %s } } }"


@pytest.mark.parametrize(
    ("before", "inside", "missing"),
    [
        ("", "proxy_pass http://api$request_uri;", "of 81 passes requests to api, but"),
        ("", "proxy_pass http://api?x;", "of 81 passes requests to api, but"),
        ("", "proxy_pass http://api$is_args$args;", "of 81 passes requests to api, but"),
        ("", "proxy_pass http://API;", "of 81 passes requests to api, but"),
        ("", "proxy_pass HTTP://Api/x;", "of 81 passes requests to api, but"),
        ("", "proxy_pass $scheme://api;", "of 81 passes requests to api, but"),
        ("", "proxy_pass 'http://api';", "of 81 passes requests to api, but"),
        ("", "if ($a) { proxy_pass http://api; }", "of 81 passes requests to api, but"),
        ("", "limit_except GET { proxy_pass http://api; }", "of 81 passes requests to api, but"),
        ("", "grpc_pass api;", "of 81 passes requests to api, but"),
        ("", "grpc_pass grpcs://api;", "of 81 passes requests to api, but"),
        ("", "fastcgi_pass api;", "of 81 passes requests to api, but"),
        ("", "uwsgi_pass uwsgi://api;", "of 81 passes requests to api, but"),
        ("", "scgi_pass api;", "of 81 passes requests to api, but"),
        ("", "memcached_pass api;", "of 81 passes requests to api, but"),
        ("", "error_page 404 = @x; } location @x { proxy_pass http://api;", "of 81 passes requests to api, but"),
        ("", "location /a { location /a/b { proxy_pass http://api; } }", "of 81 passes requests to api, but"),
        ("", "set $to api; proxy_pass http://$to;", "of 81 passes requests to api, but"),
        ("", "set $to http://api; proxy_pass $to;", "of 81 passes requests to api, but"),
        ("", "set $a pi; set $to a$a; proxy_pass http://${to}/x;", "of 81 passes requests to api, but"),
        ("map $uri $to { default other; ~^/a api; }", "proxy_pass http://$to;", "of 81 passes requests to api, but"),
        ("split_clients $uri $to { 50% api; * other; }", "proxy_pass http://$to;", "of 81 passes requests to api, but"),
        ("geo $to { default other; 10.0.0.0/8 api; }", "proxy_pass http://$to;", "of 81 passes requests to api, but"),
        # What only a request tells may be the pool.
        ("", "proxy_pass http://$host;", "to http://$host, which may be api, but"),
        ("", "proxy_pass http://api$suffix;", "to http://api$suffix, which may be api, but"),
        ("", "proxy_pass http://a$rest;", "which may be api, but"),
        ("map $uri $to { default $http_x; }", "proxy_pass http://$to;", "which may be api, but"),
        ("map $uri $to { include names.map; }", "proxy_pass http://$to;", "which may be api, but"),
        ("", "set $to other; auth_request_set $to $upstream_http_x; proxy_pass http://$to;", "which may be api, but"),
        ("map $uri $to { '~^/(?<to>.+)$' x; }", "proxy_pass http://$to;", "which may be api, but"),
        # And what cannot be the pool is no reason to refuse.
        ("", "proxy_pass http://other$request_uri;", ""),
        ("", "proxy_pass http://other-$host;", ""),
        ("", "proxy_pass http://api2$request_uri;", ""),
        ("", "proxy_pass http://other/api;", ""),
        ("", "proxy_pass http://127.0.0.1:9000;", ""),
        ("", "proxy_pass http://unix:/run/api.sock;", ""),
        ("", "set $to other; proxy_pass http://$to$uri;", ""),
        ("map $uri $to { default other; /b another; }", "proxy_pass http://$to;", ""),
        ("", "fastcgi_pass unix:/run/php.sock;", ""),
    ],
)
def test_every_way_to_a_pool_is_followed_and_what_cannot_be_is_no_proof(before: str, inside: str, missing: str) -> None:
    found = config.switch_missing(dump(OTHER % (before, inside), switch=files.render_switch("api", False, 0)), "api", SWITCH)
    assert (found == "") if missing == "" else (missing in found), found


@pytest.mark.parametrize(
    ("before", "missing"),
    [
        ("if ($host = x) { return 301 https://y; }", ""),
        ("set $a b;", ""),
        ("rewrite ^/a /b;", ""),
        ("break;", "only after a 'break'"),
        ("rewrite ^/a /b last;", "only after a 'rewrite'"),
        ("if ($a) { rewrite ^ /b break; }", "only after a 'rewrite'"),
        ("error_page 418 = @x; if ($a) { return 418; }", "only after a 'return'"),
    ],
)
def test_a_switch_that_some_requests_pass_by_is_no_switch(before: str, missing: str) -> None:
    found = config.switch_missing(dump(PLAIN.replace("include", before + " include"), switch=""), "api", SWITCH)
    assert (found == "") if missing == "" else (missing in found), found


@pytest.mark.parametrize(
    ("table", "missing"),
    [
        ("geo $somabrain_operator { default 0; 10.0.0.0/8 1; }", ""),
        ("geo $somabrain_operator { 0.0.0.0/0 0; }", ""),
        ("geo $somabrain_operator { 10.0.0.0/8 1; }", "keeps nobody out"),
        ("geo $somabrain_operator { default 1; }", "keeps nobody out"),
        ("map $uri $somabrain_let_through { /health 1; }", "keeps nobody out"),
        ("map $uri $somabrain_let_through { default 0; /health 1; }", ""),
    ],
)
def test_a_switch_that_lets_everybody_through_is_no_switch(table: str, missing: str) -> None:
    found = config.switch_missing(dump(PLAIN.replace("http {", "http { " + table), switch=""), "api", SWITCH)
    assert (found == "") if missing == "" else (missing in found), found


def test_a_pool_that_no_server_block_passes_to_cannot_be_closed() -> None:
    found = config.switch_missing(dump(PLAIN.replace("http://api", "http://other"), switch=""), "api", SWITCH)
    assert found == "no server block passes requests to api"


@pytest.mark.parametrize(
    ("pattern", "taken"), [("site[ab].conf", True), ("site[!ab].conf", False), ("s?te*.conf", True), ("site.conf", False)]
)
def test_a_pattern_of_an_include_is_read_as_nginx_reads_it(pattern: str, taken: bool) -> None:
    found = dump("http { }", sitea="x y;")
    assert (config.included(found, pattern) == ["/etc/nginx/sitea.conf"]) is taken


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b;c{d e;}", [("a", ("b",)), ("c", ())]),
        ('log_format x \'{"a": "$b"}\' "q;\\"";', [("log_format", ("x", '{"a": "$b"}', 'q;\\"'))]),
        ("set $a ${b}c; if (-f x) {}", [("set", ("$a", "${b}c")), ("if", ("(-f", "x)"))]),
        ("a b#c; # d;\n", [("a", ("b#c",))]),
        ("location ~ \\.php$ {}", [("location", ("~", "\\.php$"))]),
    ],
)
def test_directives_are_read_as_nginx_reads_them(text: str, words: list[t.Any]) -> None:
    assert [(one.name, one.words) for one in config.parse_directives(text)] == words


@pytest.mark.parametrize("text", ["a", "a {", "}", "a; }", '"a', "{ }", "; ", "'a' {", "a 'b"])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        config.parse_directives(text)


@given(st.text(alphabet=" \n;{}\"'#\\$ab/*:.", max_size=200))
def test_garbage_for_a_configuration_never_passes_for_a_switch(text: str) -> None:
    assert config.switch_missing(config.parse_dump("# configuration file /a:\n" + text), "a", "/b")


@pytest.mark.parametrize(
    ("answer", "up"),
    [
        (Answer(status=200), (True, "200")), (Answer(status=204), (True, "204")), (Answer(status=302), (True, "302")),
        (Answer(status=404), (False, "404")), (Answer(status=503), (False, "503")), (Answer(status=101), (False, "101")),
        (Answer(error="refused"), (False, "refused")), (Answer(error="timeout"), (False, "timeout")),
        (Answer(error="garbage"), (False, "garbage")), (Answer(error="resolve"), (None, "resolve")),
        (Answer(error="forbidden_address"), (None, "forbidden_address")),
    ],
)  # fmt: skip
def test_a_server_is_up_by_its_answer_and_unknown_where_it_was_not_asked(answer: Answer, up: tuple[t.Optional[bool], str]) -> None:
    assert judge_answer(answer) == up


def test_the_page_shows_what_is_read_and_written_here() -> None:
    _front, upstreams, switch = re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert switch == files.render_switch("somabrain", False, 0)
    found = files.servers_of(files.parse_upstreams(upstreams), "somabrain")
    assert {one.name: (one.weight, one.initial, one.checked) for one in found} == {
        "api1": (100, 100, True), "api2": (100, 100, True), "spare": (0, 0, True), "overflow": (0, 0, False),
    }  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "upstream.conf"
    path.write_text("old")
    os.utime(path, (1000, 1000))
    return path


def test_a_file_that_was_changed_is_put_back_with_its_time(file: Path) -> None:
    was = read_loaded(str(file), 2000.0)
    put(was, "new")
    assert file.read_text() == "new"
    put_back(was, "new")
    assert (file.read_text(), file.stat().st_mtime, len(list(file.parent.iterdir()))) == ("old", 1000, 1)


def test_what_is_loaded_is_known_until_somebody_else_changes_the_file(file: Path) -> None:
    put(read_loaded(str(file), 2000.0), "new")
    died = read_loaded(str(file), 2000.0)
    assert (died.text, died.on_disk) == ("old", "new")
    put(died, "newer")
    again = read_loaded(str(file), 2000.0)
    assert (again.text, again.on_disk) == ("old", "newer")
    file.write_text("by hand")
    with pytest.raises(files.Unreadable, match="was changed after nginx loaded it"):
        read_loaded(str(file), 2000.0)
    forget(again)
    assert [path.name for path in file.parent.iterdir()] == ["upstream.conf"]


@pytest.mark.parametrize(
    ("content", "told"), [(b"\xff\xfe", "can't decode"), (b"x" * (files.MAX_BYTES + 1), "longer than")], ids=["no text", "too long"]
)
def test_a_file_that_is_no_text_of_ours_is_told(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    with pytest.raises(files.Unreadable, match=told):
        read_loaded(str(file), 1e12)


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9C4A 0100007F:1F41 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20 4 30 10 -1
   1: 0100007F:9C4B 0100007F:1F41 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4 30 10 -1
   2: 0100007F:9C4C 0100007F:1F41 06 00000000:00000000 00:00000000 00000000     0        0 13 1 0 20 4 30 10 -1
   3: 0100007F:9C4D 0100007F:1F41 01 00000000:00000000 00:00000000 00000000     0        0 99 1 0 20 4 30 10 -1
"""
TCP6 = """head
   0: 0:1 0000000000000000FFFF00000100007F:1F41 01 0:0 0:0 0 0 0 11 1
   1: 0:1 000000FD000000000000000002000000:0050 01 0:0 0:0 0 0 0 12
"""


def test_connections_to_a_server_are_counted_by_its_address() -> None:
    assert links.peers(TCP, {"11", "12", "13"}) == [("127.0.0.1", 8001)] * 2
    assert links.peers(TCP6, {"11", "12"}) == [("127.0.0.1", 8001), ("fd00::2", 80)]
    found = {("127.0.0.1", 8001): 2, ("fd00::2", 80): 1, ("10.0.0.9", 8001): 4}
    assert [links.to_server(found, one) for one in ("127.0.0.1:8001", "127.0.0.1:8002", "[fd00::2]:80", "[fd00::2]")] == [2, 0, 1, 1]
    # A name has addresses that nginx looked up by itself: its port says what it can.
    assert links.to_server(found, "api.internal:8001") == 6
    assert (links.to_server(found, "unix:/run/api.sock"), links.to_server(None, "127.0.0.1:8001")) == (None, None)
    assert files.kept_open(files.parse_upstreams("upstream a {\n    keepalive 16;\n    server 127.0.0.1:1; # x\n}\n"), "a") == 16


LINES = """\
2026/11/30 20:00:00 [error] 7#7: *1 upstream prematurely closed connection while reading response header from upstream, client: 127.0.0.1, \
server: , request: "GET /x HTTP/1.1", upstream: "http://10.0.0.11:9696/x", host: "a"
2026/11/30 20:00:00 [error] 7#7: *2 connect() failed (111: Connection refused) while connecting to upstream, upstream: "http://[::1]:80/"
2026/11/30 20:00:00 [crit] 7#7: *3 connect() to unix:/run/a.sock failed, upstream: "http://unix:/run/a.sock:/x", host: "a"
2026/11/30 20:00:00 [error] 7#7: *4 no live upstreams while connecting to upstream, upstream: "http://brain/x", host: "a"
2026/11/30 20:00:00 [warn] 7#7: *5 an upstream response is buffered to a temporary file, upstream: "http://10.0.0.11:9696/x"
2026/11/30 20:00:00 [error] 7#7: *6 open() "/x" failed (2: No such file or directory), client: 127.0.0.1
2026/11/30 20:00:00 [notice] 7#7: signal process started
"""


def test_what_nginx_logs_of_failed_attempts_is_counted_by_server(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text(LINES)
    marks = nginx_log.marks_of([str(log), str(log), "/nowhere/x"])
    assert nginx_log.failed_since(marks) == {}
    with log.open("a") as file:
        file.write(LINES)
    once = {"10.0.0.11:9696": 1, "[::1]:80": 1, "unix:/run/a.sock": 1, "brain": 1}
    assert nginx_log.failed_since(marks) == once
    lines = ("10.0.0.11:9696", "api.local:9696", "[::1]:80", "unix:/run/a.sock", "10.0.0.12:9696")
    found = {name: nginx_log.of_server(once, name) for name in lines}
    assert list(found.values()) == [1, 1, 1, 1, 0]
    # Rotated, emptied in place, or gone.
    log.rename(tmp_path / "error.log.1")
    log.write_text(LINES)
    assert nginx_log.failed_since(marks) == dict.fromkeys(once, 2)
    marks = nginx_log.marks_of([str(log)])
    log.write_text("")
    assert nginx_log.failed_since(marks) == {}
    log.unlink()
    assert nginx_log.failed_since(marks) == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_that_waits_for_an_answer_is_told_from_one_that_is_kept(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        pairs = []
        for _turn in range(3):
            mine = socket.create_connection((host, port), 5)
            pairs.append((mine, server.accept()[0]))
        for place, (mine, other) in enumerate(pairs):
            if place:
                mine.sendall(b"GET")
                other.recv(9)
            if place == 2:
                other.sendall(b"200")
                mine.recv(9)

        def waiting() -> int | None:
            found = links.waiting_links([os.getpid()])
            return None if found is None else found.get((host, port), 0)

        if waiting() is None:
            pytest.skip("the kernel lists no connections here")
        # One that sent nothing received nothing, too: nginx opens none without a request.
        assert waiting() == 2
        time.sleep(0.02)
        pairs[2][0].sendall(b"GET")
        assert waiting() == 3
        for pair in pairs:
            for one in pair:
                one.close()
    assert links.waiting_links([2**22 + 5]) is None
