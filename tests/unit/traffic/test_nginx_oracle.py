# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we read of an nginx configuration is what crossplane reads, of generated configurations and of those that people have."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.nginx import config

crossplane = pytest.importorskip("crossplane", reason="crossplane is not installed here")

# As in a distribution, behind PHP, with HTTP/3 and a redirect, with gRPC, and as an ingress writes it.
REAL = {
    "debian": r"""
user www-data; worker_processes auto; pid /run/nginx.pid; error_log /var/log/nginx/error.log;
events { worker_connections 768; # multi_accept on;
}
http {
  types { text/html html htm shtml; application/json json; }
  log_format main '$remote_addr - $remote_user [$time_local] "$request" ' '$status $body_bytes_sent "$http_referer"';
  gzip_disable "msie6"; ssl_protocols TLSv1.2 TLSv1.3;
  server { listen 80 default_server; listen [::]:80 default_server; root /var/www/html; index index.html;
    server_name _; location / { try_files $uri $uri/ =404; } }
}
""",
    "php": r"""
server { server_name ~^(?<sub>.+)\.example\.com$; client_max_body_size 20m;
  location ~ [^/]\.php(/|$) { fastcgi_split_path_info ^(.+?\.php)(/.*)$; if (!-f $document_root$fastcgi_script_name) { return 404; }
    fastcgi_param HTTP_PROXY ""; fastcgi_pass unix:/run/php/php8.2-fpm.sock; }
  location ~* \.(?:css|js|jpe?g|gif)$ { expires 7d; add_header Cache-Control "public, no-transform"; }
  location ~ /\.(?!well-known) { deny all; } }
""",
    "regex braces": r"""
map $http_user_agent $bot { default 0; "~*(google|bing)bot/\d{1,3}" 1; '~^curl/[0-9]{1,2}\.' 2; }
server { location ~ "^/[a-z]{2}/v[0-9]{1,2}$" { rewrite "^/([a-z]{2})/(.*)$" /$2?lang=$1 last; } return 301 https://$host$request_uri; }
""",
    "grpc and variables": r"""
server { listen 443 ssl; http2 on; set $up "api"; location /pb.Service/ { grpc_pass grpc://${up}_v2; error_page 502 = /error502grpc; }
  location = /error502grpc { internal; default_type application/grpc; add_header grpc-status 14; return 204; }
  location @later { proxy_pass http://$up$request_uri; proxy_set_header Host $host; proxy_http_version 1.1; } }
""",
    "quotes": r"""
log_format x escape=json '{"a":"$b"' ',"c":"d;e}"}';
add_header X "it's # no comment"; set $x 'a b';
""",
    "switch": r"""
set $m "off:$a:$b"; if ($m = "on:0:0") { return 470; } error_page 470 = @m; location @m { return 503 '{"d":"m"}'; }
""",
}  # fmt: skip


def ours(found: t.Sequence[t.Any]) -> list[t.Any]:
    return [(one.name, list(one.words), None if one.block is None else ours(one.block)) for one in found]


def theirs(path: Path) -> list[t.Any]:
    said = crossplane.parse(str(path), single=True, check_ctx=False, check_args=False, strict=False, ignore=())
    assert said["status"] == "ok", said["errors"]
    return flat(said["config"][0]["parsed"])


def flat(found: t.Sequence[dict[str, t.Any]]) -> list[t.Any]:
    found = [one for one in found if one["directive"] != "#"]
    return [(one["directive"], list(one["args"]), None if "block" not in one else flat(one["block"])) for one in found]


def without_parentheses(found: t.Sequence[t.Any]) -> list[t.Any]:
    """Return what we read in the way crossplane tells of conditions: without their outer parentheses."""
    told = []
    for name, words, block in found:
        if name == "if" and words and words[0].startswith("(") and words[-1].endswith(")"):
            words = [words[0][1:], *words[1:]]
            words[-1] = words[-1][:-1]
            words = [word for word in words if word]
        told.append((name, words, None if block is None else without_parentheses(block)))
    return told


def agrees(text: str, folder: Path) -> None:
    path = folder / "nginx.conf"
    path.write_text(text)
    assert without_parentheses(ours(config.parse_directives(text))) == theirs(path)


@pytest.mark.parametrize("name", sorted(REAL))
def test_a_configuration_that_people_have_is_read_as_crossplane_reads_it(name: str, tmp_path: Path) -> None:
    agrees(REAL[name], tmp_path)


@pytest.mark.parametrize("path", sorted(one for one in Path("/etc/nginx").rglob("*") if one.is_file()), ids=str)
def test_what_the_distribution_ships_is_read_as_crossplane_reads_it(path: Path, tmp_path: Path) -> None:
    agrees(path.read_text(), tmp_path)


NAMES = st.sampled_from(["server", "location", "proxy_pass", "set", "map", "include", "upstream", "listen", "error_page"])
BARE = st.text(alphabet="abz09/$:.@~^*=_-#\"'", min_size=1, max_size=12).filter(lambda word: word[0] not in "#\"'")
QUOTED = st.text(alphabet="abz ;{}#$/:.~", max_size=12).map('"{}"'.format) | st.text(alphabet='abz ;{}#$"', max_size=12).map("'{}'".format)
# crossplane reads a "${x}" at the end of a word as if the next word belonged to it, which nginx does not.
VARIABLES = st.sampled_from(["a${x}b", "http://${x}/y", "$x$y", "http://pool$request_uri"])
WORDS = st.lists(BARE | QUOTED | VARIABLES, max_size=4)
LEAVES = st.tuples(NAMES, WORDS).map(lambda one: " ".join([one[0], *one[1]]) + ";")


def block(one: tuple[str, list[str], str]) -> str:
    return "%s { # note\n%s\n}" % (" ".join([one[0], *one[1]]), one[2])


BLOCKS = st.recursive(
    st.lists(LEAVES, max_size=4).map("\n".join),
    lambda inner: st.lists(
        st.tuples(NAMES, WORDS, inner).map(lambda one: "%s { # note\n%s\n}" % (" ".join([one[0], *one[1]]), one[2])), max_size=3
    ).map("\n".join),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BLOCKS)
def test_a_generated_configuration_is_read_as_crossplane_reads_it(tmp_path: Path, text: str) -> None:
    agrees(text, tmp_path)
