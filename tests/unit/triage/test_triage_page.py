# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a triage: complete in one file, open to everyone, and unmoved by hostile text; in a real browser where there is one."""

from __future__ import annotations

import html
import html.parser
import json
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from triage import reports

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._page import page_of
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._sparkline import points_of, sparkline

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = (
    "<script>alert(1)</script>",
    "</pre></main><h1>forged",
    '" onmouseover="alert(1)',
    "<img src=http://evil.example/x>",
    "{{ 7 * 1787 }}{% raw %}",
    "</style><style>*{display:none}",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "<!--",
    "\x1b[2Jx",
    "a\u202eb",
    "x" * 3000,
    "]]>",
    "</title><meta http-equiv=refresh content=0>",
)
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "footer",
    "h1",
    "h2",
    "p",
    "strong",
    "span",
    "dl",
    "dt",
    "dd",
    "pre",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "figure",
    "figcaption",
    "br",
    "svg",
    "desc",
    "polyline",
    "circle",
}
VOID = {"meta", "br", "polyline", "circle"}


class Reader(html.parser.HTMLParser):
    """Reads a page: its tags in order, what they are in, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += [data] if self.open[-1:] != ["style"] else []

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(params=list(reports.ALL))
def page(request: pytest.FixtureRequest) -> str:
    return page_of(reports.many(8) if request.param == "many" else reports.ALL[request.param]())


def test_the_page_needs_no_network_and_runs_nothing(page: str) -> None:
    read = Reader(page)
    assert read.open == []
    assert {tag for tag, _attrs in read.tags} <= TAGS
    names = {name for _tag, attrs in read.tags for name in attrs}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href", "style", "action"}
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert 1500 < len(re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]) < 3500


def test_the_page_has_what_a_reader_without_eyes_needs(page: str) -> None:
    read = Reader(page)
    assert read.named("html") == [{"lang": "en"}]
    assert [tag for tag, _attrs in read.tags if tag in ("header", "main", "footer", "h1", "title")][:1] == ["title"]
    assert all(len(read.named(tag)) == 1 for tag in ("header", "main", "footer", "h1"))
    levels = [int(tag[1]) for tag, _attrs in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(right <= left + 1 for left, right in zip(levels, levels[1:]))
    ids = [str(attrs["id"]) for _tag, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = [one for tag in ("table", "svg") for attrs in read.named(tag) for one in str(attrs["aria-labelledby"]).split()]
    assert set(labels) <= set(ids)
    assert all(attrs.get("scope") in ("col", "row") for attrs in read.named("th"))
    viewport = next(attrs["content"] for attrs in read.named("meta") if attrs.get("name") == "viewport")
    assert viewport == "width=device-width, initial-scale=1"


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        full = colour * 2 if len(colour) == 3 else colour
        parts = [int(full[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_colour_can_be_read_in_light_and_dark() -> None:
    assert round(contrast("000000", "fff"), 1) == 21.0
    schemes = [dict(re.findall(r"--(\w+):#(\w+)", one)) for one in re.findall(r":root\{([^}]*)\}", page_of(reports.healthy()))]
    assert len(schemes) == 2
    for colours in schemes:
        for name in ("ink", "soft", "sick", "unknown", "well"):
            assert contrast(colours[name], colours["page"]) >= 4.5, (name, colours)
        assert contrast(colours["ink"], colours["tint"]) >= 7


def test_the_page_says_what_the_screen_says_and_more() -> None:
    text = " ".join("".join(Reader(page_of(reports.redis_down())).text).split())
    wanted = [
        "SICK P1 High",
        "Redis is down on app-1",
        "For whom",
        "Since",
        "Alert",
        "Why P1",
        "Not well",
        "because of redis",
        "Changed",
        "On it",
        "Before",
        "Next",
        "It will not: flush",
        "recover-redis.yml --limit app-1",
        "Not seen",
        "Looked",
        "Clock",
        "All components",
        "accepts connections, read-write",
        "Incident types",
        "Audit Trail Failures",
        "Common patterns",
        "Against the baseline",
        "Metrics",
        "Disks, memory, load",
        "Heaviest processes",
        "/opt/somabrain/bin/python",
        "recall latency p95, ms",
        "lowest 40, highest 50, last 44",
        "Last lines of the logs",
        "Out Of Memory allocating 81920 bytes!",
    ]
    places = [text.find(one) for one in wanted]
    assert [one for one, place in zip(wanted, places) if place < 0] == []
    assert places == sorted(places)
    assert "older lines were left out" in text


def test_what_a_page_has_no_room_for_is_counted() -> None:
    page = page_of(reports.many(300))
    assert "and 800 more: see the JSON report" in page
    assert "and 500 more: see the JSON report" in page
    assert len(page) < 3_000_000


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", ["redis down", "all unknown"])
def test_hostile_text_adds_no_tag_and_leaves_no_place(name: str, hostile: str) -> None:
    honest, read = Reader(page_of(reports.ALL[name]())), Reader(page_of(reports.with_text(reports.ALL[name](), hostile)))
    assert read.open == []
    assert {tag for tag, _attrs in read.tags} <= TAGS
    for tag in ("h1", "style", "meta", "main", "header"):
        assert len(read.named(tag)) == len(honest.named(tag))
    assert {key for _tag, attrs in read.tags for key in attrs} <= {key for _tag, attrs in honest.tags for key in attrs} | {"class"}
    assert one_line(hostile, 400).strip() in "".join(read.text)
    assert "12509" not in "".join(read.text)


def test_a_password_in_a_log_or_a_command_line_does_not_reach_the_page() -> None:
    report = reports.redis_down()
    report["logs"]["app-1"]["redis"]["lines"] = ["config set requirepass hunter2secret", "x postgresql://soma:hunter2secret@db/x"]
    report["hosts"]["app-1"]["processes"][0]["command"] = "worker --password=hunter2secret"
    assert "hunter2secret" not in page_of(report)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANY = st.recursive(PLAIN, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3), max_leaves=6)


@given(report=st.fixed_dictionaries({}, optional=dict.fromkeys(reports.healthy(), ANY)))
def test_any_report_however_wrong_has_a_page(report: dict[str, t.Any]) -> None:
    assert {tag for tag, _attrs in Reader(page_of(report)).tags} <= TAGS


def test_a_drawing_has_words_and_shows_a_gap_as_a_gap() -> None:
    drawn = str(sparkline([(0, 1.0), (10, 2.0), (20, 1.5), (200, 3.0), (210, 3.0)], "s", "<rate>", "five & more"))
    assert drawn.count("<polyline") == 2
    assert '<title id="s-t">&lt;rate&gt;</title><desc id="s-d">five &amp; more</desc>' in drawn
    assert "nan" not in str(sparkline([(5, 1.0), (5, 1.0)], "s", "t", "d"))
    assert points_of([[2, 1], [1, None], ["a", 1], [1, float("nan")], [0, 3], 7]) == [(0.0, 3.0), (2.0, 1.0)]


# --- In a browser ---------------------------------------------------------------------------------------------------

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
AXE = ROOT / ".cache/axe/node_modules/axe-core/axe.min.js"
MEASURE = "document.body.dataset.wide = document.documentElement.scrollWidth > innerWidth ? 'too wide' : 'fits';"
ASK = (
    "axe.run().then(found => {document.body.dataset.axe = JSON.stringify(found.violations.map(one => one.id + ': ' + one.nodes[0].html))});"
)


def in_browser(page: str, script: str, tmp_path: Path, *words: str) -> dict[str, str]:
    """Open a page with a script of ours, which its policy would refuse, and return what that left at the body."""
    browser = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if not browser:
        pytest.skip("no browser here: apt-get install --no-install-recommends chromium-headless-shell fonts-dejavu-core")
    changed = re.sub(r"<meta http-equiv=[^>]*>", "", page, count=1).replace("</body>", f"<script>{script}</script></body>")
    (tmp_path / "page.html").write_text(changed)
    command = [
        browser,
        "--no-sandbox",
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}/profile",
        "--virtual-time-budget=9000",
    ]
    done = subprocess.run(
        [*command, *words, "--dump-dom", f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=120, check=False
    )
    found = re.search(r"<body([^>]*)>", done.stdout)
    assert found, done.stderr
    return {key: html.unescape(value) for key, value in re.findall(r'data-(\w+)="([^"]*)"', found[1])}


@pytest.mark.parametrize("name", ["redis down", "hostile"])
def test_nothing_is_wider_than_a_phone(name: str, tmp_path: Path) -> None:
    report = reports.with_text(reports.redis_down(), "x" * 3000) if name == "hostile" else reports.redis_down()
    assert in_browser(page_of(report), MEASURE, tmp_path, "--window-size=390,844") == {"wide": "fits"}


def test_what_is_wider_would_be_seen(tmp_path: Path) -> None:
    page = page_of(reports.healthy()).replace("</main>", '<div style="width:500px">x</div></main>')
    assert in_browser(page, MEASURE, tmp_path, "--window-size=390,844") == {"wide": "too wide"}


@pytest.mark.parametrize(("name", "dark"), [("redis down", 0), ("redis down", 1), ("all unknown", 0)])
def test_axe_finds_nothing(name: str, dark: int, tmp_path: Path) -> None:
    if not AXE.is_file():
        pytest.skip("axe is not here: npm install --prefix .cache/axe axe-core")
    page = page_of(reports.ALL[name]()).replace("<details>", "<details open>")
    script = f"{AXE.read_text()};{ASK}"
    found = in_browser(page, script, tmp_path, "--window-size=1280,900", f"--blink-settings=preferredColorScheme={1 - dark}")
    assert json.loads(found["axe"]) == []


def test_axe_would_find_something(tmp_path: Path) -> None:
    if not AXE.is_file():
        pytest.skip("axe is not here: npm install --prefix .cache/axe axe-core")
    page = page_of(reports.healthy()).replace(' lang="en"', "").replace("--soft:#545d68", "--soft:#bbbbbb")
    found = in_browser(page, f"{AXE.read_text()};{ASK}", tmp_path, "--window-size=1280,900", "--blink-settings=preferredColorScheme=1")
    ids = {one.partition(":")[0] for one in json.loads(found["axe"])}
    assert {"html-has-lang", "color-contrast"} <= ids
