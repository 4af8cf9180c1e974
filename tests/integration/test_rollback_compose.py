# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of a real Compose project: images by their id, whatever their tags come to mean, and no registry is asked."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from farms import playing
from farms.compose import docker, inspected, why_not
from farms.release import BAD, Shop
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._release.compose import load_release


@pytest.fixture
def shop(tmp_path: Path) -> t.Iterator[Shop]:
    if why_not():
        pytest.skip(why_not())
    if not playing.borrowed("community/docker"):
        pytest.skip("community.docker is not there; scripts/test integration fetches it")
    one = Shop(tmp_path)
    try:
        one.begin()
        yield one
    finally:
        one.end()


@pytest.mark.parametrize("program", BAD.values(), ids=list(BAD))
def test_a_bad_release_goes_back_by_its_id_and_no_neighbour_is_touched(shop: Shop, program: str) -> None:
    shop.deploy(program)
    until(lambda: shop.project.look("api")["state"] not in ("starting", "running"), 20)
    neighbour, bad = inspected(shop.project.named("redis")), inspected(shop.project.named("api"))
    rehearsed = shop.run("rollback", "--check")
    assert (rehearsed["outcome"], rehearsed["code"]) == ("rehearsed", 0), rehearsed
    assert inspected(shop.project.named("api"))["Id"] == bad["Id"]
    outcome = shop.run("rollback")
    assert (outcome["outcome"], outcome["code"]) == ("recovered", 0), outcome
    assert (shop.runs(), shop.mode()) == (shop.good, "MODE=production")
    assert "production.env up --detach --no-deps -- api" in outcome["undo"]
    # Only the file of pins keeps the bad one away, until the tag means the good one again.
    (left,) = outcome["left"]
    assert (left["what"], left["command"]) == ("pinned_release", f"docker tag {shop.good} {shop.tag}")
    # The container that wrote it is gone.
    assert "service.log" in outcome["evidence"]["files"]
    after = inspected(shop.project.named("redis"))
    assert (after["Id"], after["State"]["StartedAt"]) == (neighbour["Id"], neighbour["State"]["StartedAt"])
    assert docker("tag", shop.good, shop.tag).returncode == 0
    again = shop.run("rollback")
    assert (again["outcome"], again["left"], shop.runs()) == ("nothing_to_do", [], shop.good)


def test_the_pin_outlives_the_tag_for_whoever_names_its_file(shop: Shop) -> None:
    shop.deploy(BAD["ends at once"])
    assert shop.run("rollback")["outcome"] == "recovered"
    files = [word for name in ("compose.yml", "compose.release.yml") for word in ("-f", str(shop.project.home / name))]
    done = shop.project.compose(*files, "up", "--detach", "--force-recreate", "api")
    assert (done.returncode, shop.runs()) == (0, shop.good), done.stderr


def test_what_cannot_be_gone_back_to_is_refused_and_nothing_is_stopped(shop: Shop) -> None:
    bad = shop.deploy(BAD["unhealthy"])
    until(lambda: shop.project.look("api")["state"] == "unhealthy", 20)
    before = inspected(shop.project.named("api"))
    stranger = shop.project.home / "stranger"
    stranger.mkdir()
    (stranger / "compose.yml").write_text((shop.project.home / "compose.yml").read_text())
    refusals = {
        "release_not_pinned": {"rollback_project_src": str(stranger)},
        "tag_moved": {"rollback_release": shop.tag},
        "never_verified": {"rollback_release": bad},
        "release_missing": {"rollback_release": "somebody/else:1"},
        "no_such_service": {"service_restart_service": "apj"},
        "database_rollback": {"rollback_what": "database"},
    }
    seen = {code: shop.run("rollback", **given) for code, given in refusals.items()}
    assert {code: one["reasons"][0]["code"] for code, one in seen.items()} == {code: code for code in refusals}
    assert "-MODE" in seen["release_not_pinned"]["reasons"][0]["text"]
    (shop.project.home / "production.env").write_text("MODE=another\n")
    other = shop.run("rollback")
    assert [other["outcome"], *[one["code"] for one in other["reasons"]]] == ["refused", "approval_needed"], other
    assert "~MODE" in json.dumps(other["reasons"])
    (shop.project.home / "production.env").write_text("MODE=production\n")
    (shop.project.home / "production.env").rename(shop.project.home / "gone.env")
    gone = shop.run("rollback")
    assert "production.env" in gone["reasons"][0]["text"]
    assert (gone["reasons"][0]["code"], (shop.project.home / "compose.release.yml").exists()) == ("release_not_pinned", False)
    # An image that a container used once is kept by its id alone, until somebody removes it.
    assert docker("rmi", "--force", shop.good).returncode == 0
    missing = shop.run("rollback")
    assert (missing["outcome"], missing["reasons"][0]["code"]) == ("refused", "release_missing")
    after = inspected(shop.project.named("api"))
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])


def test_every_setting_that_the_files_say_otherwise_by_now_is_told_in_one_look(shop: Shop) -> None:
    """Rules and what Docker really has must agree: of the files as they were nothing differs."""
    options = {**shop.project.options("api"), "service": "api", "read_project": True}

    def project() -> dict[str, t.Any]:
        return dict(load_release(options, 20.0)["project"])

    assert (project()["problem"], project()["differs"], project()["changed"]) == ("", [], [])
    kept = project()["hash"]
    file = shop.project.home / "compose.yml"
    shop.project.given["api"].update(
        volumes=["other:/data"], user="nobody", mem_limit="64m", command=["sleep", "1"], environment={"NEW": "hush"}, init=True,
    )  # fmt: skip
    shop.project.write()
    file.write_text(file.read_text() + "volumes: {other: {}}\n")
    found = project()
    assert (found["changed"], found["hash"] != kept, "hush" in json.dumps(found)) == ([str(file)], True, False)
    told = ["+NEW", f"volume /data: volume {shop.project.name}_other instead of none", "user: nobody instead of none",
            "memory limit: 67108864 instead of 0", "init: True instead of False", "command"]  # fmt: skip
    assert sorted(found["differs"]) == sorted(told)


def test_a_tag_that_means_another_image_is_pinned_under_a_healthy_container(shop: Shop) -> None:
    before = inspected(shop.project.named("api"))
    shop.release(BAD["ends at once"])
    outcome = shop.run("rollback")
    assert (outcome["outcome"], outcome["code"], [one["action"] for one in outcome["acts"]]) == ("recovered", 0, ["select"]), outcome
    after = inspected(shop.project.named("api"))
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert f"sed -i s/{shop.good}/" in outcome["undo"]
    again = shop.run("rollback")
    assert (again["outcome"], again["acts"]) == ("nothing_to_do", [])
