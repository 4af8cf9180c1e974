# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is: a directory by its content, an image by its id, a template by its digest; and how one is selected."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import release as kind_release
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import compose, directory, identity, kubernetes, tree
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import release_add, release_pin

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "app").mkdir(parents=True)
    (folder / "app/main.py").write_text("print('hello')\n")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "latest").symlink_to("app/main.py")
    return folder


def a_link(folder: Path, target: str) -> Path:
    link = folder.parent / "link"
    link.symlink_to(target)
    return link


CHANGES: dict[str, t.Callable[[Path], t.Any]] = {
    "a byte": lambda folder: (folder / "app/main.py").write_text("print('hellO')\n"),
    "a file": lambda folder: (folder / "more").write_text(""),
    "an empty directory": lambda folder: (folder / "empty").mkdir(),
    "a name": lambda folder: (folder / "run").rename(folder / "start"),
    "an executable bit": lambda folder: (folder / "run").chmod(0o644),
    "where a link points": lambda folder: os.replace(a_link(folder, "run"), folder / "latest"),
    "a link in place of its file": lambda folder: os.replace(a_link(folder, "app/main.py"), folder / "run"),
    "a file that moved into a directory": lambda folder: (folder / "run").rename(folder / "app/run"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_every_change_of_the_content_is_another_release(source: Path, change: t.Callable[[Path], t.Any]) -> None:
    before = tree.content_id(str(source))
    change(source)
    assert tree.content_id(str(source)) != before


def test_times_owners_and_bytecode_are_no_part_of_it(source: Path) -> None:
    before = tree.content_id(str(source))
    os.utime(source / "run", (1, 1))
    (source / "app/__pycache__").mkdir()
    (source / "app/__pycache__/main.pyc").write_bytes(b"x")
    (source / "app/main.py").chmod(0o600)
    assert tree.content_id(str(source)) == before


def test_what_was_changed_last_in_a_release_is_named(source: Path) -> None:
    for number, name in enumerate(("app/old", "somabrain.log", "app/audit_log.jsonl")):
        (source / name).write_text("x")
        os.utime(source / name, (4e9 + number, 4e9 + number))
    assert tree.latest(str(source), 2) == ["app/audit_log.jsonl", "somabrain.log"]
    assert tree.latest(str(source / "none")) == []


def test_names_cannot_be_taken_for_others(tmp_path: Path) -> None:
    for name, files in (("one", ["a", "b"]), ("two", ["a 1:b"])):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("")
    assert tree.content_id(str(tmp_path / "one")) != tree.content_id(str(tmp_path / "two"))


def test_what_is_no_file_and_what_takes_too_long_is_not_readable(source: Path) -> None:
    with pytest.raises(tree.NotReadable, match="in time"):
        tree.content_id(str(source), lambda: True)
    with pytest.raises(tree.NotReadable, match="cannot be read"):
        tree.content_id(str(source / "none"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(source / "sock"))
        with pytest.raises(tree.NotReadable, match="neither a file"):
            tree.content_id(str(source))


def add(source: Path, base: Path, check: bool = False) -> dict[str, t.Any]:
    return release_add.run({"src": str(source), "releases_dir": str(base), "leave_out": [".git"], "stage": "act"}, check)


def pin(base: Path, link: Path, release: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    ready = {name: rule.get("default") for name, rule in release_pin.ARGUMENT_SPEC.items()}
    given = {"manager": "systemd", "name": "api", "releases_dir": str(base), "current": str(link), "release": release}
    return release_pin.run({**ready, **given, **more}, check)


def test_working_copies_of_one_commit_are_one_release_and_a_git_below_the_top_is_content(source: Path, tmp_path: Path) -> None:
    plain = add(source, tmp_path / "plain")["release"]
    for turn, folder in enumerate((source, tmp_path / "other")):
        if turn:
            shutil.copytree(source, folder, symlinks=True)
        (folder / ".git").mkdir(exist_ok=True)
        (folder / ".git/index").write_text(f"written at {turn}")
        result = add(folder, tmp_path / f"releases{turn}")
        assert (result["release"], result["say"]) == (plain, [f"release {plain[:12]}: added (without .git)"])
        assert sorted(os.listdir(result["path"])) == sorted(name for name in os.listdir(folder) if name != ".git")
        assert (folder / ".git/index").exists()
    (source / "app/.git").mkdir()
    assert add(source, tmp_path / "releases0")["release"] != plain


def test_a_release_is_added_whole_and_selected_from_one_moment_to_the_next(source: Path, tmp_path: Path) -> None:
    base, link = tmp_path / "releases", tmp_path / "current"
    assert add(source, base, check=True)["changed"] is True
    assert not base.exists()
    one = add(source, base)
    assert (one["changed"], os.listdir(base)) == (True, [one["release"]])
    assert add(source, base)["changed"] is False
    (source / "more").write_text("x")
    two = add(source, base)["release"]
    assert pin(base, link, one["release"], check=True)["changed"] is True
    assert not link.is_symlink()
    assert pin(base, link, one["release"])["changed"] is True
    assert pin(base, link, one["release"])["changed"] is False
    result = pin(base, link, two)
    assert (result["before"], result["after"], os.readlink(link)) == (one["release"], two, f"releases/{two}")
    assert sorted(os.listdir(tmp_path)) == ["current", "releases", "source"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_owner_and_mode_are_those_of_what_was_copied(source: Path, tmp_path: Path) -> None:
    (source / "secret").write_text("s")
    (source / "secret").chmod(0o600)
    for place in [source, *source.rglob("*")]:
        os.chown(place, 1234, 4321, follow_symlinks=False)
    (source / "app").chmod(0o2750)
    added = add(source, tmp_path / "releases")
    made = Path(added["path"])
    for place in [source, *source.rglob("*")]:
        was, now = place.lstat(), (made / place.relative_to(source)).lstat()
        assert (was.st_uid, was.st_gid, was.st_mode) == (now.st_uid, now.st_gid, now.st_mode), place
    assert len(added["say"]) == 1
    os.chown(made / "secret", 0, 0)
    again = add(source, tmp_path / "releases")
    assert "1 file there with another owner or mode than in the source (secret)" in again["say"][1]


def test_what_is_not_there_or_not_what_it_was_is_never_selected(source: Path, tmp_path: Path) -> None:
    base, link = tmp_path / "releases", tmp_path / "current"
    one = add(source, base)["release"]
    pin(base, link, one)
    (source / "more").write_text("x")
    two = add(source, base)["release"]
    (base / two / "more").write_text("y")
    for release, code in ((two, "release_altered"), ("0" * 64, "release_missing"), ("../x", "release_missing")):
        with pytest.raises(StepError) as raised:
            pin(base, link, release)
        assert raised.value.data["reasons"][0]["code"] == code
    with pytest.raises(StepError, match="does not match its name"):
        add(source, base)
    assert os.readlink(link) == f"releases/{one}"
    # Somebody has deployed since the plan was made.
    with pytest.raises(StepError, match="release_not_pinned.*selects .* by now"):
        pin(base, link, two, expected="0" * 64)
    assert os.readlink(link) == f"releases/{one}"
    assert pin(base, link, one, expected="0" * 64)["changed"] is False
    (tmp_path / "folder").mkdir()
    with pytest.raises(StepError, match="is not a link"):
        pin(base, tmp_path / "folder", one)


def load(base: Path, link: Path, pid: int = 0, **more: t.Any) -> dict[str, t.Any]:
    started = more.pop("started_at", 0)
    options = {"manager": "none", "service": "api", "releases_dir": str(base), "current": str(link), **more}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask, "load_service", lambda named, deadline: {"pid": pid, "started_at": started, "start_time_ticks": 1})
        return directory.load_release(options, 5)


def test_what_runs_is_told_by_the_process_and_what_comes_next_by_the_link(source: Path, tmp_path: Path, monkeypatch: t.Any) -> None:
    base, link = tmp_path / "releases", tmp_path / "current"
    one = add(source, base)["release"]
    (source / "release.json").write_text(json.dumps({"migrations": "reversible"}))
    two = add(source, base)["release"]
    (base / "stable").symlink_to(one)
    pin(base, link, two)
    monkeypatch.chdir(base / one)
    facts = load(base, link, os.getpid(), ids=[two, "0" * 64], words=["stable", two[:10], "nothing", "../x"])
    assert (facts["running"], facts["selected"], facts["names"], facts["migrations"]) == (one, two, ["stable"], "")
    assert facts["named"] == {"stable": one, two[:10]: two, "nothing": "", "../x": ""}
    assert [facts["known"][name]["there"] for name in (one, two, "0" * 64)] == [True, True, False]
    # Without a process it is what would be started.
    assert (load(base, link)["running"], load(base, link)["migrations"]) == (two, "reversible")
    monkeypatch.chdir(tmp_path)
    unclear = load(base, link, os.getpid())
    assert (unclear["reachable"], unclear["final"]) == (False, False)
    (tmp_path / "folder").mkdir()
    assert [load(base, place)["final"] for place in (tmp_path / "folder", tmp_path / "none", link)] == [True, True, False]
    shutil.rmtree(base / two)
    assert load(base, link)["known"][two]["there"] is False


def test_a_unit_without_a_main_process_runs_what_its_processes_run(source: Path, tmp_path: Path, monkeypatch: t.Any) -> None:
    base, link = tmp_path / "releases", tmp_path / "current"
    one = add(source, base)["release"]
    (source / "more").write_text("x")
    two = add(source, base)["release"]
    pin(base, link, two)
    monkeypatch.setattr(directory, "members_of", lambda _service: [os.getpid()])
    monkeypatch.chdir(base / one)
    assert (load(base, link)["running"], load(base, link)["selected"]) == (one, two)
    monkeypatch.chdir(tmp_path)
    assert load(base, link)["reachable"] is False


def test_a_process_that_may_not_be_seen_is_not_said_to_run_no_release(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, link = tmp_path / "releases", tmp_path / "current"
    pin(base, link, add(source, base)["release"])

    def closed(path: str, real: t.Any = os.readlink) -> str:
        if str(path).startswith("/proc/"):
            raise PermissionError(13, "Permission denied")
        return str(real(path))

    monkeypatch.setattr(os, "readlink", closed)
    facts = load(base, link, os.getpid())
    assert (facts["reachable"], "ansible_become" in facts["detail"]) == (False, True)


WITNESS: dict[str, tuple[list[str], dict[str, str], bool]] = {
    "nothing": (["sleep", "60"], {}, False),
    "an argument below the link": (["sh", "-c", "sleep 60; :", "LINK/app/main.py"], {}, True),
    "a variable": (["sh", "-c", "sleep 60; :"], {"PYTHONPATH": "/usr/lib/x:LINK"}, True),
    "a path that only begins so": (["sh", "-c", "sleep 60; :", "LINKED/app"], {}, False),
    "a child that works in it": (["sh", "-c", "(cd LINK && exec sleep 60); :"], {}, True),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WITNESS))
def test_a_process_that_works_elsewhere_must_show_that_it_runs_the_release(source: Path, tmp_path: Path, name: str) -> None:
    words, variables, known = WITNESS[name]
    base, link = tmp_path / "releases", tmp_path / "current"
    one = add(source, base)["release"]
    pin(base, link, one)
    filled = [word.replace("LINK", str(link)) for word in words]
    env = {"PATH": os.environ["PATH"], **{key: value.replace("LINK", str(link)) for key, value in variables.items()}}
    process = subprocess.Popen(filled, cwd="/", env=env)
    try:
        time.sleep(0.3)
        facts = load(base, link, process.pid, started_at=time.time())
        assert facts["running"] == (one if known else "")
        if not known:
            assert "nothing shows that process" in facts["detail"]
        elif name != "a child that works in it":
            assert "changed after its start" in load(base, link, process.pid, started_at=1.0)["detail"]
    finally:
        subprocess.run(["pkill", "-P", str(process.pid)], check=False)
        process.kill()
        process.wait()


@pytest.mark.parametrize("place", ["", "nowhere", "folder"])
def test_no_link_is_unknown(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    facts = load(tmp_path / "releases", tmp_path / place if place else Path())
    assert (facts["reachable"], facts["running"]) == (False, "")
    judged = kind_release.judge(facts, {"wanted": ""})
    # No waiting makes a link, or names the directory.
    assert (judged.health.value, judged.facts["final"]) == ("unknown", True)


JUDGED: dict[str, tuple[dict[str, t.Any], str, str, str]] = {
    "known": ({}, "", "known", "well"),
    "the one that is wanted": ({}, "a", "known", "well"),
    "another one": ({}, "b", "other", "sick"),
    "changed under its name": ({"known": {"a": {"intact": False, "detail": "changed"}}}, "", "altered", "sick"),
    "the next start would take another": ({"selected": "b"}, "a", "not_selected", "sick"),
    "which is no matter where nothing is wanted": ({"selected": "b"}, "", "known", "well"),
    "not to be seen": ({"reachable": False, "detail": "no engine"}, "a", "unknown", "unknown"),
}


@pytest.mark.parametrize(("facts", "wanted", "state", "health"), JUDGED.values(), ids=list(JUDGED))
def test_which_release_runs_is_judged(facts: dict[str, t.Any], wanted: str, state: str, health: str) -> None:
    judged = kind_release.judge(identity.blank(**{"running": "a", "selected": "a", **facts}), {"wanted": wanted})
    assert (judged.state, judged.health.value) == (state, health)
    assert judged.facts["final"] is (state == "altered")


def template(*images: str) -> dict[str, t.Any]:
    return {"metadata": {}, "spec": {"containers": [{"name": f"c{place}", "image": image} for place, image in enumerate(images)]}}


def pod(image: str, told: str, leaves: bool = False) -> dict[str, t.Any]:
    metadata = {"deletionTimestamp": "now"} if leaves else {}
    statuses = [{"name": "c0", "imageID": told}] if told else []
    return {"metadata": metadata, "spec": {"containers": [{"name": "c0", "image": image}]}, "status": {"containerStatuses": statuses}}


TAG = "shop.example:5000/api:1"
IN_CLUSTER: dict[str, tuple[dict[str, t.Any], list[dict[str, t.Any]], str]] = {
    "by its digest": (template(f"shop/api@{DIGEST}"), [], DIGEST),
    "by what its pods run": (template(TAG), [pod(TAG, f"docker-pullable://shop/api@{DIGEST}")], DIGEST),
    "pods of another template are not asked": (template(TAG), [pod(TAG, f"x@{DIGEST}"), pod("shop/api:0", f"x@{OTHER}")], DIGEST),
    "nor those that leave": (template(TAG), [pod(TAG, f"x@{DIGEST}"), pod(TAG, f"x@{OTHER}", leaves=True)], DIGEST),
    "an image that nobody could pull has its name": (template(TAG), [pod(TAG, "")], TAG),
    "two images under one name are unknown": (template(TAG), [pod(TAG, f"x@{DIGEST}"), pod(TAG, f"x@{OTHER}")], ""),
}


@pytest.mark.parametrize(("seen", "pods", "running"), IN_CLUSTER.values(), ids=list(IN_CLUSTER))
def test_in_a_cluster_a_release_is_the_digest_that_its_pods_run(seen: t.Any, pods: t.Any, running: str) -> None:
    facts = kubernetes.facts_of(seen, 0, pods, {"ids": [DIGEST], "words": [f"x@{OTHER}", "a" * 12, "none"]})
    assert (facts["running"], facts["reachable"]) == (running, bool(running))
    assert facts["named"] == {f"x@{OTHER}": OTHER, "a" * 12: DIGEST, "none": ""}
    assert facts["known"][DIGEST]["there"] is None


def test_which_container_and_which_repository_are_meant() -> None:
    containers = template(TAG, "proxy")["spec"]["containers"]
    assert kubernetes.index_of(containers, "c1") == (1, "")
    assert kubernetes.index_of(containers, "")[1] == "set container to one of c0, c1"
    assert kubernetes.index_of(containers[:1], "") == (0, "")
    assert kubernetes.index_of(containers[:1], "other")[1]
    names = {TAG: "shop.example:5000/api", f"shop/api:1@{DIGEST}": "shop/api", "api": "api", "host:5000/api": "host:5000/api"}
    assert {name: identity.repository_of(name) for name in names} == names


def test_pins_of_several_services_live_in_one_file_and_a_strangers_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "compose.release.yml"
    assert compose.pinned(str(path), "api") == ""
    path.write_text(compose.pins_with(str(path), "api", DIGEST))
    path.write_text(compose.pins_with(str(path), "worker", OTHER))
    assert [compose.pinned(str(path), name) for name in ("api", "worker", "redis")] == [DIGEST, OTHER, ""]
    path.write_text("services:\n  api: {image: mine}\n")
    with pytest.raises(ValueError, match="not a file of pins"):
        compose.pins_with(str(path), "api", DIGEST)


@pytest.mark.parametrize("word", ["", "x y", "../etc", "a\n", "-x", "é"])
def test_a_word_that_is_no_image_is_never_asked_for(word: str) -> None:
    assert compose.WORD.match(word) is None


def test_the_beginning_of_an_id_is_enough_when_it_is_the_only_one() -> None:
    ids = [DIGEST, OTHER, "sha256:" + "a" * 9 + "b" * 55]
    assert identity.meant_by("b" * 8, ids) == OTHER
    assert identity.meant_by(OTHER, ids) == OTHER
    assert identity.meant_by("a" * 8, ids) == ""
    assert identity.meant_by("b" * 7, ids) == ""
    assert (identity.short(DIGEST), identity.short("shop/api:1")) == ("a" * 12, "shop/api:1")


@pytest.mark.parametrize(("now", "refused"), [("two", False), ("one", False), ("", False), ("three", True)])
def test_an_image_that_somebody_deployed_since_the_look_is_not_overruled(monkeypatch: pytest.MonkeyPatch, now: str, refused: bool) -> None:
    seen = {"selected": "sha256:" + now if now else ""}
    monkeypatch.setattr(vars(release_pin)["release_compose"], "load_release", lambda *_given: seen)
    params = {"name": "api", "project_src": "", "expected": "sha256:two", "release": "sha256:one"}
    with pytest.raises(StepError, match="somebody has deployed since") if refused else contextlib.nullcontext():
        release_pin._prove_expected(params, "/nowhere/pins.yml", Clock(1.0))
    release_pin._prove_expected({**params, "expected": ""}, "/nowhere/pins.yml", Clock(1.0))


@pytest.mark.parametrize(
    ("reference", "image", "told", "command"),
    [
        ("shop:live", OTHER, "starts release bbbbbbbbbbbb (shop:live): ", f"docker tag {DIGEST} shop:live"),
        ("shop:live", "", "starts another release (shop:live): ", f"docker tag {DIGEST} shop:live"),
        (f"shop@{OTHER}", OTHER, "correct its image in /srv/shop/compose.yml, then delete that file", ""),
    ],
)
def test_what_compose_would_start_without_the_file_of_pins_is_told(reference: str, image: str, told: str, command: str) -> None:
    left = compose.left_of("/srv/shop/compose.release.yml", ["/srv/shop/compose.yml"], reference, DIGEST, image)
    assert (told in left["text"], left["command"]) == (True, command)


def test_a_file_of_pins_that_deployments_name_leaves_nothing_behind(tmp_path: Path) -> None:
    pins = str(tmp_path / "compose.release.yml")
    assert not compose.is_named(pins, str(tmp_path), ["compose.yml"])
    assert compose.is_named(pins, str(tmp_path), ["compose.yml", "compose.release.yml"])
    (tmp_path / ".env").write_text("A=b\nCOMPOSE_FILE=compose.yml:compose.release.yml\n")
    assert compose.is_named(pins, str(tmp_path), [])
