# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration goes back to what a commit had: from every kind of drift, from every point of a kill, and back again to the byte."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from farms.git import OWNER, Copy, open_to_all

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._git import look, put
from ansible_collections.somabrain.incident_response.plugins.module_utils._git import rescue as git_rescue
from ansible_collections.somabrain.incident_response.plugins.module_utils._git import run as git_run
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import configuration_return as step
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import below

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed, so there is no working copy to put back")

GOOD: dict[str, bytes | str | None] = {
    "etc/app.conf": b"a = 1\n", "etc/deep/er/b.conf": b"b\n", "etc/run.sh": b"#!/bin/sh\n", "etc/link": "app.conf",
    "etc/old.conf": b"old\n", "etc/bin": bytes(range(256)) * 40, "etc/becomes/folder": b"x\n", "etc/file": b"f\n", "README": b"r\n",
}  # fmt: skip
BAD: dict[str, bytes | str | None] = {
    "etc/app.conf": b"a = 2\n", "etc/deep/er/b.conf": None, "etc/new/one.conf": b"n\n", "etc/link": "run.sh",
    "etc/bin": bytes(range(255, -1, -1)), "README": b"later\n",
}  # fmt: skip
NAMES = ("new\nline", "\x1b[31m", '"q"', "sp ace", os.fsdecode(b"\xff"), "-x")
DRIFTS: dict[str, dict[str, bytes | str | None]] = {
    "none": {},
    "changed": {"etc/app.conf": b"a = 3\n"},
    "binary": {"etc/bin": os.urandom(5000)},
    "untracked": {"etc/more/of/it": b"x", "etc/wide": b""},
    "deleted": {"etc/old.conf": None},
    "names": {f"etc/{name}": name.encode("utf-8", "surrogateescape") for name in NAMES},
    "link": {"etc/link": "/etc/passwd", "etc/app.conf": "deep"},
    "like the good one": {"etc/app.conf": b"a = 1\n"},
    "no last line end": {"etc/old.conf": b"no end", "etc/crlf": b"a\r\nb\r\n"},
}  # fmt: skip


OWNER_ID = pwd.getpwnam(OWNER).pw_uid
GOOD_CONF = b"".join(b"key%d = %d\n" % (number, number) for number in range(20))


class Place:
    """A copy whose last commit is the bad one."""

    def __init__(self, folder: Path) -> None:
        self.copy, self.rescue = Copy(folder / "copy"), folder / "rescue"
        (folder / "copy/etc").mkdir()
        self.good = self.copy.commit(GOOD)
        (self.copy.folder / "etc/becomes/folder").unlink()
        (self.copy.folder / "etc/becomes").rmdir()
        (self.copy.folder / "etc/file").unlink()
        self.bad = self.copy.commit({**BAD, "etc/becomes": b"a file\n", "etc/file/inside": b"y\n"})
        self.copy.git("add", "-A")
        if self.copy.git("status", "--porcelain"):
            self.copy.git("commit", "-q", "-m", "y")
        self.bad = self.copy.head

    def seen(self) -> dict[str, t.Any]:
        return look.load_facts(str(self.copy.folder), "etc", "", "", 20)

    def params(self, **given: t.Any) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {name: rule.get("default") for name, rule in step.ARGUMENT_SPEC.items()}
        found.update(repository=str(self.copy.folder), path="etc", rescue_dir=str(self.rescue), run_id="run1")
        return {**found, "commit": self.good, "expected_head": self.bad, **given}

    def run(self, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
        if "expected_drift" not in given:
            given["expected_drift"] = self.seen()["drift_sha256"]
        return step.run(self.params(**given), check)

    def back(self) -> dict[str, t.Any]:
        return step.run(self.params(action="back", stage="undo"), False)

    def everything(self) -> tuple[t.Any, ...]:
        """Return all that has to come back: files with modes and owners, index, branch, drift."""
        paths = [path for path in sorted(self.copy.folder.rglob("*")) if ".git" not in path.parts]
        owners = {str(path): (path.lstat().st_uid, path.lstat().st_gid, path.lstat().st_mode) for path in paths}
        return self.copy.held(), owners, self.copy.git("ls-files", "--stage", "-z"), self.copy.head, self.seen()["drift_sha256"]

    def is_good(self) -> bool:
        facts = look.load_facts(str(self.copy.folder), "etc", self.good, "", 20)
        return facts["tree"] == facts["wanted_tree"] and not facts["changed_count"]


@pytest.fixture
def folder() -> t.Iterator[Path]:
    made = open_to_all()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def place(folder: Path) -> Place:
    return Place(folder)


@pytest.mark.parametrize("staged", [pytest.param(False, id="unstaged", marks=pytest.mark.long), pytest.param(True, id="staged")])
@pytest.mark.parametrize("drift", DRIFTS)
def test_it_goes_back_and_back_again_to_the_byte(place: Place, drift: str, staged: bool) -> None:
    place.copy.write(DRIFTS[drift])
    if staged:
        place.copy.git("add", "-A")
        if drift == "changed":
            place.copy.write({"etc/app.conf": b"a = 4, not staged\n"})
    place.copy.write({"other": b"untracked elsewhere\n", "README": b"changed elsewhere\n"})
    before = place.everything()
    done = place.run()
    assert done["changed"]
    assert place.is_good()
    held = place.copy.held()
    for name, content in GOOD.items():
        if name.startswith("etc/"):
            assert held[name][1] == (os.fsencode(content) if isinstance(content, str) else content), name
    assert {name for name in held if name.startswith("etc/")} == {name for name in GOOD if name.startswith("etc/")}
    assert (held["other"][1], held["README"][1]) == (b"untracked elsewhere\n", b"changed elsewhere\n")
    assert place.copy.git("rev-parse", "HEAD^") == place.bad
    assert place.copy.git("diff", "--name-only", place.bad, "HEAD", "--", "README") == ""
    assert bool(done["patch"]) == bool(DRIFTS[drift])
    again = place.run(expected_drift=done["before"]["drift_sha256"])
    assert (again["changed"], again["after"]["commit"]) == (False, place.copy.head)
    undone = place.back()
    assert undone["changed"]
    assert place.everything() == before
    assert not place.back()["changed"]


def test_the_patch_alone_brings_the_drift_back(place: Place) -> None:
    place.copy.write({**DRIFTS["changed"], **DRIFTS["binary"], **DRIFTS["untracked"], **DRIFTS["deleted"], **DRIFTS["names"]})
    (place.copy.folder / "etc/run.sh").chmod(0o755)
    held = place.copy.held()
    patch = Path(place.run()["patch"])
    assert stat.S_IMODE(patch.stat().st_mode) == 0o600
    shutil.copy(patch, place.copy.folder.parent / "p")
    (place.copy.folder.parent / "p").chmod(0o644)
    place.copy.git("checkout", "-q", "-f", place.bad)
    place.copy.git("apply", "--binary", str(place.copy.folder.parent / "p"))
    now = place.copy.held()
    assert {name: content for name, (_mode, content) in now.items()} == {name: content for name, (_mode, content) in held.items()}
    assert now["etc/run.sh"][0] & 0o100


def test_only_drift_makes_no_commit(place: Place) -> None:
    place.copy.write({"etc/app.conf": b"mine\n"})
    before = place.everything()
    done = place.run(commit=place.bad)
    assert (done["changed"], place.copy.head, done["files"]) == (True, place.bad, ["etc/app.conf"])
    assert (place.copy.folder / "etc/app.conf").read_bytes() == b"a = 2\n"
    assert place.back()["changed"]
    assert place.everything() == before


def test_what_is_so_already_changes_nothing(place: Place) -> None:
    done = place.run(commit=place.bad)
    assert (done["changed"], place.rescue.exists()) == (False, False)
    assert not place.back()["changed"]


def test_all_of_a_repository_can_go_back(place: Place) -> None:
    place.copy.write({"mine": b"x"})
    before = place.everything()
    drift = look.load_facts(str(place.copy.folder), ".", "", "", 20)["drift_sha256"]
    assert place.run(path=".", expected_drift=drift)["changed"]
    assert place.copy.git("rev-parse", "HEAD^{tree}") == place.copy.git("rev-parse", place.good + "^{tree}")
    assert place.copy.git("status", "--porcelain") == ""
    assert place.back()["changed"]
    assert place.everything() == before


def test_owners_and_rights_stay(place: Place) -> None:
    (place.copy.folder / "etc/app.conf").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(place.copy.folder / "etc/app.conf", -1, 12345)
    place.run()
    facts = (place.copy.folder / "etc/app.conf").stat()
    assert stat.S_IMODE(facts.st_mode) == 0o640
    assert facts.st_gid == (12345 if os.geteuid() == 0 else facts.st_gid)
    new = (place.copy.folder / "etc/deep/er/b.conf").stat()
    assert (new.st_uid, stat.S_IMODE(new.st_mode)) == ((place.copy.folder / "etc").stat().st_uid, 0o644)
    git_dir = place.copy.folder / ".git"
    assert {path.lstat().st_uid for path in git_dir.rglob("*")} == {git_dir.stat().st_uid}
    assert stat.S_IMODE((git_dir / "index").stat().st_mode) == 0o644


RETURNS: dict[str, tuple[dict[str, bytes | None], dict[str, int], dict[str, t.Any], str, int]] = {
    # name: (what the bad commit did, modes that were set, what was recorded, the file that comes back, its mode)
    "renamed": ({"etc/app.conf": None, "etc/api.conf": GOOD_CONF}, {"etc/api.conf": 0o640}, {}, "etc/app.conf", 0o640),
    "renamed and changed": (
        {"etc/app.conf": None, "etc/api.conf": GOOD_CONF + b"x\n"}, {"etc/api.conf": 0o600}, {}, "etc/app.conf", 0o600),
    "removed, and recorded": ({"etc/app.conf": None}, {}, {"etc/app.conf": [OWNER_ID, 12345, 0o640]}, "etc/app.conf", 0o640),
    "removed, and all beside it are alike": (
        {"etc/app.conf": None}, {"etc/other.conf": 0o600, "etc/third.conf": 0o600}, {}, "etc/app.conf", 0o600),
    "removed, and nothing tells": ({"etc/app.conf": None}, {"etc/other.conf": 0o600}, {}, "etc/app.conf", 0o644),
    "still there": ({"etc/app.conf": b"bad\n"}, {"etc/app.conf": 0o640}, {"etc/app.conf": [0, 0, 0o600]}, "etc/app.conf", 0o640),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RETURNS))
def test_what_comes_back_has_the_owner_and_the_mode_of_the_same_file_before(tmp_path: Path, name: str) -> None:
    did, modes, recorded, file, mode = RETURNS[name]
    folder = open_to_all()
    copy = Copy(folder / "copy")
    good = copy.commit({"etc/app.conf": GOOD_CONF, "etc/other.conf": b"other\n", "etc/third.conf": b"third\n"})
    bad = copy.commit(did)
    for one, bits in modes.items():
        (copy.folder / one).chmod(bits)
    given: dict[str, t.Any] = {key: rule.get("default") for key, rule in step.ARGUMENT_SPEC.items()}
    given.update(repository=str(copy.folder), path="etc", rescue_dir=str(tmp_path / "kept"), run_id="r", commit=good, expected_head=bad)
    step.run({**given, "rights": recorded}, False)
    facts = (copy.folder / file).stat()
    assert stat.S_IMODE(facts.st_mode) == mode
    if recorded and os.geteuid() == 0 and name != "still there":
        assert facts.st_gid == 12345
    shutil.rmtree(folder)


def test_a_file_that_was_renamed_without_a_commit_has_its_mode_back(tmp_path: Path) -> None:
    folder = open_to_all()
    copy = Copy(folder / "copy")
    good = copy.commit({"etc/app.conf": GOOD_CONF, "etc/other.conf": b"other\n"})
    (copy.folder / "etc/app.conf").rename(copy.folder / "etc/api.conf")
    (copy.folder / "etc/api.conf").chmod(0o640)
    given: dict[str, t.Any] = {key: rule.get("default") for key, rule in step.ARGUMENT_SPEC.items()}
    given.update(repository=str(copy.folder), path="etc", rescue_dir=str(tmp_path / "kept"), run_id="r", commit=good, expected_head=good)
    drift = look.load_facts(str(copy.folder), "etc", "", "", 20)["drift_sha256"]
    step.run({**given, "expected_drift": drift}, False)
    assert stat.S_IMODE((copy.folder / "etc/app.conf").stat().st_mode) == 0o640
    shutil.rmtree(folder)


def test_executable_bits_go_back(place: Place) -> None:
    (place.copy.folder / "etc/run.sh").chmod(0o755)
    place.copy.git("commit", "-q", "-a", "-m", "x")
    place.run(expected_head=place.copy.head)
    assert stat.S_IMODE((place.copy.folder / "etc/run.sh").stat().st_mode) == 0o644


def test_ignored_files_and_empty_folders_are_left_alone(place: Place) -> None:
    place.copy.write({"etc/.gitignore": b"*.log\n.gitignore\n", "etc/x.log": b"x", "etc/new/y.log": b"y"})
    (place.copy.folder / "etc/empty").mkdir()
    place.copy.give()
    place.run()
    held = place.copy.held()
    assert held["etc/x.log"][1] + held["etc/new/y.log"][1] == b"xy"
    assert (place.copy.folder / "etc/empty").is_dir()


def test_a_folder_that_somebody_emptied_stays_both_ways(place: Place) -> None:
    place.copy.commit({"etc/only/x.conf": b"x\n"})
    place.bad = place.copy.head
    place.copy.write({"etc/only/x.conf": None})
    before = place.everything()
    place.run()
    assert (place.copy.folder / "etc/only").is_dir()
    place.back()
    assert place.everything() == before


def test_an_ignored_file_in_the_way_is_never_overwritten(place: Place) -> None:
    place.copy.write({"etc/.gitignore": b"deep\n.gitignore\n", "etc/deep/er/b.conf": b"precious\n"})
    before = place.everything()
    with pytest.raises(StepError, match="is in the way"):
        place.run()
    assert place.everything() == before


@pytest.mark.parametrize("setting", ["true", "input"])
def test_line_ends_are_those_that_git_would_write_and_come_back_as_they_were(place: Place, setting: str) -> None:
    place.copy.git("config", "core.autocrlf", setting)
    place.copy.write({"etc/old.conf": b"mixed\r\nends\n"})
    before = place.everything()
    place.run()
    assert (place.copy.folder / "etc/app.conf").read_bytes() == (b"a = 1\r\n" if setting == "true" else b"a = 1\n")
    assert place.is_good()
    place.back()
    assert place.everything() == before


def test_a_rehearsal_writes_nothing_and_shows_what_would_change_without_secrets(place: Place) -> None:
    place.copy.write({"etc/app.conf": b"password = hunter22\n\x1b[31m\n", "etc/untracked\n": b"x"})
    before = place.everything()
    objects = sorted(str(path) for path in (place.copy.folder / ".git").rglob("*"))
    told = place.run(check=True)
    assert told["changed"]
    assert not place.rescue.exists()
    assert place.everything() == before
    assert sorted(str(path) for path in (place.copy.folder / ".git").rglob("*")) == objects
    text = told["diff"]["prepared"]
    assert "+a = 1" in text
    assert "removed and kept: etc/untracked\\n" in text
    assert "hunter22" not in text
    assert "\x1b" not in text


def disturbances(place: Place) -> dict[str, tuple[t.Callable[[], t.Any], str, str]]:
    git, folder = place.copy.git, place.copy.folder
    return {
        "moved": (lambda: place.copy.commit({"README": b"z\n"}), "approval_stale", "has moved"),
        "drifted": (lambda: place.copy.write({"etc/x": b"x"}), "approval_stale", "differ from those in the plan"),
        "detached": (lambda: git("checkout", "-q", "--detach"), "configuration_unfit", "no branch"),
        "unfinished": (lambda: (folder / ".git/MERGE_HEAD").write_text(place.good), "configuration_unfit", "a merge was begun"),
        "locked": (lambda: (folder / ".git/index.lock").write_text(""), "configuration_unfit", "another git is working"),
        "overlooked": (lambda: git("update-index", "--assume-unchanged", "etc/run.sh"), "configuration_unfit", "configured to ignore"),
        "nested": (lambda: git("init", "-q", "etc/inner"), "configuration_unfit", "another repository"),
        "linked": (lambda: (folder / "etc").rename(folder / "e").with_name("etc").symlink_to("e"), "configuration_unfit", "symbolic link"),
        "gone": (lambda: shutil.rmtree(folder / ".git"), "bad_input", "is not a git working copy"),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["moved", "drifted", "detached", "unfinished", "locked", "overlooked", "nested", "linked", "gone"])
def test_what_is_not_what_was_approved_is_refused_with_nothing_written(place: Place, name: str) -> None:
    disturb, code, text = disturbances(place)[name]
    disturb()
    if name == "nested":
        place.copy.write({"etc/inner/x": b"x"})
    held = place.copy.held()
    with pytest.raises(StepError, match=text) as refused:
        place.run(expected_drift="")
    assert [one["code"] for one in refused.value.data["reasons"]] == [code]
    assert place.copy.held() == held
    assert not place.rescue.exists()


NO_INPUTS = [{"path": ".."}, {"path": "/etc"}, {"commit": "HEAD"}, {"commit": ""}, {"expected_head": "main"}, {"user": "no-such"}]


@pytest.mark.parametrize("given", [*NO_INPUTS, {"rescue_dir": "INSIDE"}], ids=repr)
def test_what_cannot_be_meant_is_refused(place: Place, given: dict[str, t.Any]) -> None:
    if "rescue_dir" in given:
        given = {"rescue_dir": str(place.copy.folder / "etc/rescue")}
    with pytest.raises(StepError):
        place.run(expected_drift="", **given)
    assert place.copy.head == place.bad
    assert not (place.copy.folder / "etc/rescue").exists()


def test_a_submodule_in_the_wanted_commit_and_too_large_a_drift_are_refused(place: Place) -> None:
    place.copy.git("update-index", "--add", "--cacheinfo", f"160000,{place.good},etc/sub")
    place.copy.git("commit", "-q", "-m", "sub")
    wanted = place.copy.head
    place.copy.git("rm", "-q", "--cached", "etc/sub")
    place.copy.git("commit", "-q", "-m", "no sub")
    with pytest.raises(StepError, match="another repository"):
        place.run(commit=wanted, expected_head=place.copy.head)
    with (place.copy.folder / "etc/huge").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(StepError, match="too much to keep"):
        place.run(expected_head=place.copy.head, expected_drift="")


def test_nothing_that_the_repository_names_is_run(place: Place, folder: Path) -> None:
    mark, program = folder / "ran", folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    (folder / "hooks").mkdir()
    for hook in ("post-index-change", "reference-transaction", "post-checkout", "post-commit", "pre-commit", "post-update"):
        shutil.copy(program, folder / "hooks" / hook)
    config = {"core.hooksPath": folder / "hooks", "core.fsmonitor": program, "diff.external": program, "gpg.program": program,
              "commit.gpgSign": "true", "filter.evil.smudge": program, "apply.whitespace": "error", "diff.noprefix": "true"}  # fmt: skip
    for key, value in config.items():
        (place.copy.folder / ".git/config").touch()
        subprocess.run(["git", "config", "-f", place.copy.folder / ".git/config", key, str(value)], check=True)
    place.copy.give()
    mark.unlink(missing_ok=True)
    place.copy.write({"etc/app.conf": b"trailing space \n"})
    before = place.everything()[0]
    mark.unlink(missing_ok=True)
    assert place.run()["changed"]
    assert place.back()["changed"]
    assert not mark.exists()
    assert place.copy.held() == before


def test_a_commit_that_brings_files_under_a_filter_is_refused(place: Place) -> None:
    place.copy.git("config", "filter.crypt.smudge", "decrypt")
    filtered = place.copy.commit({"etc/.gitattributes": b"*.key filter=crypt\n", "etc/a.key": b"cipher"})
    place.copy.commit({"etc/.gitattributes": None, "etc/a.key": None})
    with pytest.raises(StepError, match="filter"):
        place.run(commit=filtered, expected_head=place.copy.head)


# What a kill leaves ------------------------------------------------------------------------------


class Killed(BaseException):
    """As a kill: nothing of ours catches it."""


# What touches the disk or runs git; a kill may come before each call of them.
BOUNDARIES = (
    (git_run.Git, "tell"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (os, "symlink"), (below, "give"), (put, "give"),
    (git_rescue, "write_new"),
)  # fmt: skip


class Countdown:
    """Kills before the call number *left* of anything that matters."""

    def __init__(self, patch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        for owner, name in BOUNDARIES:
            patch.setattr(owner, name, self.counted(getattr(owner, name)))

    def counted(self, inner: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(*words: t.Any, **named: t.Any) -> t.Any:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return inner(*words, **named)

        return call


# All of them (BOUNDARIES=1) take minutes; a sample of them meets every stage.
STEP = 1 if os.environ.get("BOUNDARIES") else 7


def killed_at(number: int, act: t.Callable[[], t.Any]) -> bool:
    """Run *act* and kill it before its call *number*; tell whether it was killed."""
    with pytest.MonkeyPatch.context() as patch:
        Countdown(patch, number)
        try:
            act()
        except Killed:
            return True
    return False


def test_killed_at_any_point_a_second_call_ends_right_and_nothing_is_lost(place: Place) -> None:
    number, killed, ways = 0, True, {"again": 0, "back": 0}
    place.copy.write({"etc/app.conf": b"mine\n", "etc/u/n": b"untracked\n", "etc/old.conf": None})
    before, drift = place.everything(), place.seen()["drift_sha256"]
    place.run(expected_drift=drift)
    after = place.everything()[:3]
    place.back()
    while killed:
        shutil.rmtree(place.rescue, ignore_errors=True)
        killed = killed_at(number, lambda: place.run(expected_drift=drift))
        if not (place.rescue / "plan.json").exists():
            assert place.everything() == before, number
        way = "back" if number % 2 else "again"
        ways[way] += 1
        if way == "again":
            place.run(expected_drift=drift)
            assert place.is_good(), number
            assert place.everything()[:3] == after, number
        place.back()
        assert place.everything() == before, number
        number += STEP
    assert min(ways.values()) * STEP > 20


def test_an_undo_that_was_killed_at_any_point_ends_at_the_second_call(place: Place) -> None:
    number, killed = 0, True
    place.copy.write({"etc/app.conf": b"mine\n", "etc/u/n": b"untracked\n", "etc/old.conf": None})
    before, drift = place.everything(), place.seen()["drift_sha256"]
    while killed:
        shutil.rmtree(place.rescue, ignore_errors=True)
        place.run(expected_drift=drift)
        killed = killed_at(number, place.back)
        if json.loads((place.rescue / "plan.json").read_text())["state"] == "putting_back":
            with pytest.raises(StepError, match="finish that first"):
                place.run(expected_drift=drift)
        place.back()
        assert place.everything() == before, number
        number += STEP
    assert number > 20


def test_what_somebody_changed_after_a_kill_is_never_overwritten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_words: t.Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(step, "_put_files", killed)
        with pytest.raises(Killed):
            place.run()
    place.copy.write({"etc/app.conf": b"someone has committed since\n"})
    acts: list[t.Callable[[], t.Any]] = [lambda: place.run(expected_drift=""), place.back]
    for act in acts:
        with pytest.raises(StepError, match="someone else changed etc/app.conf"):
            act()
    assert (place.copy.folder / "etc/app.conf").read_bytes() == b"someone has committed since\n"


def test_a_branch_that_moved_on_is_never_taken_back(place: Place) -> None:
    place.run()
    later = place.copy.commit({"README": b"later still\n"})
    with pytest.raises(StepError, match="someone has committed since"):
        place.back()
    assert place.copy.head == later
    with pytest.raises(StepError, match="another return"):
        place.run(commit=place.bad, expected_head=later)


def test_a_full_disk_for_what_is_kept_changes_nothing(place: Place, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    try:
        place.copy.write({"etc/large": os.urandom(200_000)})
        before = place.everything()
        with pytest.raises(StepError, match="no_room"):
            place.run(rescue_dir=str(disk / "rescue"))
        assert place.everything() == before
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
