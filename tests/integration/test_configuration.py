# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a configuration in git tells: on real working copies, plain, in every odd state, and hostile."""

from __future__ import annotations

import os
import shutil
import time
import typing as t
from pathlib import Path

import pytest
from farms.git import OWNER, Copy, open_to_all

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.place import belongs_on_target

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed, so there is no working copy to look at")

FILES: dict[str, bytes | str | None] = {
    "etc/app.conf": b"a = 1\n", "etc/deep/b.conf": b"b\n", "etc/run.sh": b"#!/bin/sh\n", "etc/link": "app.conf", "README": b"r\n",
}  # fmt: skip
HOSTILE_NAMES = ("new\nline", "esc\x1b[31mred", "sp ace", "tab\tbed", '"quoted"', "-dash", "ünï☃", os.fsdecode(b"\xff\xfe"), "\u202ertl")


@pytest.fixture
def folder() -> t.Iterator[Path]:
    made = open_to_all()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def copy(folder: Path) -> Copy:
    made = Copy(folder / "copy")
    made.commit(FILES)
    return made


def look(copy: Copy, path: str = "etc", **given: t.Any) -> dict[str, t.Any]:
    options = {"kind": "configuration", "repository": str(copy.folder), "path": path, **given}
    [check] = checks_look.validated([options], 10)
    assert belongs_on_target(check)
    return checks_look.look_once(check)


def told(found: dict[str, t.Any]) -> tuple[str, str]:
    return found["health"], found["state"]


def test_what_is_as_committed_is_clean(copy: Copy) -> None:
    found = look(copy)
    facts = found["facts"]
    assert told(found) == ("well", "clean")
    assert facts["commit"] == copy.head
    assert facts["tree"] == copy.git("rev-parse", "HEAD:etc")
    assert (facts["branch"], facts["changed"], facts["drift_sha256"], facts["unfinished"]) == ("main", [], "", "")
    whole = look(copy, ".")
    assert whole["facts"]["tree"] == copy.git("rev-parse", "HEAD^{tree}")
    assert look(copy, "./etc//")["facts"] == facts


@pytest.mark.parametrize(
    "change",
    [
        {"etc/app.conf": b"a = 2\n"},
        {"etc/app.conf": b"\x00\xff" * 1000},
        {"etc/app.conf": None},
        {"etc/new": b""},
        {"etc/more/of/it": b"x"},
        {"etc/link": "deep/b.conf"},
        {"etc/link": b"app.conf"},
        *({f"etc/{name}": b"x"} for name in HOSTILE_NAMES),
    ],
    ids=lambda change: ascii(next(iter(change.items()))),
)
@pytest.mark.parametrize("staged", [pytest.param(False, id="unstaged"), pytest.param(True, id="staged", marks=pytest.mark.long)])
def test_every_change_is_seen_and_told_on_one_line(copy: Copy, change: dict[str, bytes | str | None], staged: bool) -> None:
    wanted = copy.head
    copy.write(change)
    if staged:
        copy.git("add", "-A")
    found = look(copy)
    assert told(found) == ("well", "drifted")
    assert found["facts"]["changed_count"] == 1
    assert all(text.isprintable() for text in [*found["facts"]["changed"], *(one["text"] for one in found["findings"])])
    assert len(found["facts"]["drift_sha256"]) == 64
    assert told(look(copy, wanted=wanted)) == told(look(copy, clean=True)) == ("sick", "drifted")
    assert told(look(copy, "etc/deep")) == ("well", "clean")
    assert look(copy, "etc/deep")["facts"]["changed_elsewhere"] == 1


def test_the_digest_of_a_drift_changes_with_each_of_its_parts_and_with_nothing_else(copy: Copy) -> None:
    copy.write({"etc/app.conf": b"two\n", "etc/new": b"n"})
    first = look(copy)["facts"]["drift_sha256"]
    copy.git("status")
    assert look(copy)["facts"]["drift_sha256"] == first
    seen = {first}
    steps: list[t.Callable[[], t.Any]] = [
        lambda: copy.write({"etc/new": b"m"}),
        lambda: copy.git("add", "etc/app.conf"),
        lambda: copy.write({"etc/app.conf": b"three\n"}),
        lambda: (copy.folder / "etc/run.sh").chmod(0o755),
        lambda: copy.write({"etc/new": None}),
    ]
    for step in steps:
        step()
        seen.add(look(copy)["facts"]["drift_sha256"])
    assert len(seen) == len(steps) + 1


def test_what_is_ignored_and_empty_folders_are_no_change(copy: Copy) -> None:
    copy.commit({"etc/.gitignore": b"*.log\n"})
    copy.write({"etc/x.log": b"x"})
    (copy.folder / "etc/empty/inside").mkdir(parents=True)
    assert told(look(copy)) == ("well", "clean")


def test_another_commit_is_told_by_what_the_folder_holds(copy: Copy) -> None:
    first = copy.head
    copy.commit({"README": b"more\n"})
    assert told(look(copy, wanted=first)) == ("well", "clean")
    assert told(look(copy, ".", wanted=first)) == ("sick", "other_commit")
    copy.commit({"etc/app.conf": b"a = 3\n"})
    found = look(copy, wanted=first)
    assert told(found) == ("sick", "other_commit")
    assert found["facts"]["wanted_tree"] == copy.git("rev-parse", f"{first}:etc")


def test_what_is_not_there_is_missing(copy: Copy, folder: Path) -> None:
    (folder / "plain").mkdir()
    for place in (folder / "plain", folder / "nothing", copy.folder / "README"):
        assert told(look(copy, repository=str(place))) == ("sick", "missing"), place
    assert told(look(copy, wanted="0" * 40)) == ("sick", "missing")
    assert told(look(copy, "nope")) == told(look(copy, "README")) == ("sick", "missing")
    assert told(look(copy, "nope", wanted=copy.head)) == ("sick", "missing")
    assert told(look(Copy(folder / "young"), ".")) == ("sick", "missing")


NO_PLACES = [{"path": path} for path in ("..", "/etc", "a/../../b", ".git", "a\nb", "")]
NO_COMMITS = [{"wanted": commit} for commit in ("HEAD", "main~1", "--help")]


@pytest.mark.parametrize("given", [*NO_PLACES, *NO_COMMITS, {"user": "no-such-user"}], ids=repr)
def test_what_cannot_be_meant_is_unknown(copy: Copy, given: dict[str, str]) -> None:
    assert told(look(copy, **given)) == ("unknown", "unknown")


def test_an_operation_that_was_not_ended_and_a_missing_branch_are_told(copy: Copy) -> None:
    base = copy.head
    copy.git("checkout", "-q", "-b", "other")
    theirs = copy.commit({"etc/app.conf": b"theirs\n"})
    copy.git("checkout", "-q", "main")
    copy.commit({"etc/app.conf": b"ours\n"})
    for words, end, word in (
        (("merge", "other"), ("merge", "--abort"), "merge"),
        (("cherry-pick", theirs), ("cherry-pick", "--abort"), "cherry-pick"),
        (("rebase", "other"), ("rebase", "--abort"), "rebase"),
        (("revert", "--no-edit", base), ("revert", "--abort"), "revert"),
        (("bisect", "start"), ("bisect", "reset"), "bisect"),
    ):
        copy.git(*words, check=False)
        found = look(copy)
        assert (found["state"], found["facts"]["unfinished"]) == ("unfinished", word)
        assert look(copy, clean=True)["health"] == "sick"
        copy.git(*end)
    copy.git("checkout", "-q", "--detach")
    assert told(look(copy)) == ("well", "detached")
    assert told(look(copy, wanted=copy.head)) == ("well", "detached")
    assert told(look(copy, wanted=base)) == ("sick", "detached")


def test_what_git_does_not_tell_is_unknown(copy: Copy, folder: Path) -> None:
    copy.git("update-index", "--assume-unchanged", "etc/app.conf")
    copy.write({"etc/app.conf": b"hidden\n"})
    assert told(look(copy)) == ("unknown", "unknown")
    copy.git("update-index", "--no-assume-unchanged", "etc/app.conf")
    copy.git("update-index", "--skip-worktree", "etc/run.sh")
    assert told(look(copy)) == ("unknown", "unknown")
    copy.git("update-index", "--no-skip-worktree", "etc/run.sh")
    copy.git("init", "-q", "etc/inner")
    copy.write({"etc/inner/x": b"x"})
    assert told(look(copy)) == ("unknown", "unknown")
    shutil.rmtree(copy.folder / "etc/inner")
    copy.git("update-index", "--add", "--cacheinfo", f"160000,{copy.head},etc/sub")
    found = look(copy)
    assert told(found) == ("unknown", "unknown")
    assert "etc/sub" in found["findings"][0]["text"]
    copy.git("update-index", "--force-remove", "etc/sub")
    (copy.folder / "etc").rename(copy.folder / "moved")
    (copy.folder / "etc").symlink_to(folder)
    assert told(look(copy)) == ("unknown", "unknown")


PROGRAMS = (
    "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.command", "diff.evil.textconv", "diff.external",
    "core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.askPass", "gpg.program", "merge.evil.driver",
    "remote.origin.uploadpack", "credential.helper", "core.alternateRefsCommand", "core.gitProxy",
)  # fmt: skip


def test_nothing_that_the_repository_names_is_run(copy: Copy, folder: Path) -> None:
    mark = folder / "ran"
    program = folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    copy.commit({"etc/.gitattributes": b"*.conf filter=evil diff=evil merge=evil\n"})
    for key in PROGRAMS:
        copy.git("config", key, str(program))
    copy.git("config", "filter.evil.required", "true")
    copy.git("config", "protocol.allow", "always")
    copy.git("config", "core.hooksPath", str(folder / "hooks"))
    copy.git("config", "remote.origin.url", f"ext::{program} %S")
    copy.git("config", "remote.origin.promisor", "true")
    copy.git("config", "extensions.partialClone", "origin")
    copy.git("config", "core.repositoryFormatVersion", "1")
    (folder / "hooks").mkdir()
    for hook in ("post-index-change", "fsmonitor-watchman", "query-watchman", "reference-transaction"):
        shutil.copy(program, folder / "hooks" / hook)
    mark.unlink(missing_ok=True)
    copy.write({"etc/app.conf": b"changed\n"})
    time.sleep(0.01)
    found = look(copy, wanted="0" * 40)
    assert told(found) == ("sick", "missing")
    found = look(copy)
    assert told(found) == ("unknown", "unknown")
    assert "filter evil" in found["findings"][0]["text"]
    assert told(look(copy, "etc/deep")) == ("unknown", "unknown")
    copy.git("config", "filter.odd name=x.clean", str(program))
    assert told(look(copy)) == ("unknown", "unknown")
    assert not mark.exists()


def test_filters_that_no_file_there_uses_do_not_matter(copy: Copy) -> None:
    copy.git("config", "filter.lfs.process", "git-lfs filter-process")
    assert told(look(copy)) == ("well", "clean")


@pytest.mark.parametrize("setting", ["true", "input"])
def test_line_ends_that_git_converts_are_no_change(copy: Copy, setting: str) -> None:
    copy.git("config", "core.autocrlf", setting)
    (copy.folder / "etc/app.conf").unlink()
    copy.git("checkout", "-q", "--", "etc/app.conf")
    assert ((copy.folder / "etc/app.conf").read_bytes() == b"a = 1\r\n") == (setting == "true")
    assert told(look(copy)) == ("well", "clean")


def test_a_look_writes_nothing_and_takes_no_lock(copy: Copy) -> None:
    copy.write({"etc/app.conf": b"a = 1\n"})
    index = copy.folder / ".git/index"
    before = (index.stat().st_mtime_ns, sorted(str(path) for path in (copy.folder / ".git").rglob("*")))
    (copy.folder / ".git/index.lock").write_bytes(b"")
    found = look(copy)
    assert (told(found), found["facts"]["locked"]) == (("well", "clean"), True)
    (copy.folder / ".git/index.lock").unlink()
    assert (index.stat().st_mtime_ns, sorted(str(path) for path in (copy.folder / ".git").rglob("*"))) == before


def test_too_large_a_drift_has_no_digest(copy: Copy) -> None:
    copy.write({"etc/app.conf": b"x"})
    with (copy.folder / "etc/huge").open("wb") as file:
        file.truncate(65 * 2**20)
    facts = look(copy)["facts"]
    assert (facts["changed_count"], facts["drift_sha256"]) == (2, "")
    assert facts["drift_bytes"] > 64 * 2**20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
def test_git_runs_as_the_owner_and_nobody_else(copy: Copy, folder: Path) -> None:
    assert told(look(copy, user=OWNER)) == ("well", "clean")
    assert told(look(copy, user="root")) == ("unknown", "unknown")
    os.chown(copy.folder / ".git", 0, 0)
    assert told(look(copy)) == ("unknown", "unknown")


def test_a_working_copy_beside_another_is_one_too(copy: Copy, folder: Path) -> None:
    copy.git("worktree", "add", "-q", "-b", "beside", str(folder / "beside"))
    found = look(copy, repository=str(folder / "beside"))
    assert (told(found), found["facts"]["branch"]) == (("well", "clean"), "beside")


def returns(copy: Copy, *commits: str, **given: t.Any) -> list[str]:
    found = look(copy, commits=list(commits), **given)["facts"]["returns"]
    return [found[one] for one in commits]


def test_whether_a_commit_can_be_gone_back_to_is_known_before_anything_is_begun(copy: Copy, folder: Path) -> None:
    good = copy.head
    assert returns(copy, good, "0" * 40)[0] == ""
    copy.commit({"etc/app.conf": b"a = 2\n"})
    assert returns(copy, good, "main") == ["", "main is no commit id"]
    assert f"no commit {'0' * 12}: get it with git -C {copy.folder} fetch" in returns(copy, "0" * 40)[0]
    copy.commit({"etc/app.conf": None})
    copy.write({"etc/app.conf/inner": b"", "etc/.gitignore": b"app.conf\n.gitignore\n"})
    assert "etc/app.conf/inner is in the way" in returns(copy, good)[0]
    assert "outside the repository" in returns(copy, good, rescue_dir=str(copy.folder / "kept"))[0]


def test_a_clone_that_lacks_the_commit_or_its_content_is_named_with_what_brings_it(copy: Copy, folder: Path) -> None:
    good = copy.head
    copy.commit({"etc/app.conf": b"a = 2\n"})
    copy.git("config", "uploadpack.allowFilter", "true")
    for name, words in (("shallow", ["--depth", "1"]), ("partial", ["--filter=blob:none"])):
        copy.git("clone", "-q", *words, f"file://{copy.folder}", str(folder / name))
        other = Copy.__new__(Copy)
        other.folder, other.owner = folder / name, copy.owner
        held = other.held()
        [why] = returns(other, good)
        assert {"shallow": "its clone is shallow", "partial": "its clone is partial"}[name] in why
        assert f"git -C {folder / name} fetch" in why
        assert other.held() == held


def test_owner_and_mode_are_kept_of_files_that_git_would_give_back_otherwise(copy: Copy) -> None:
    (copy.folder / "etc/app.conf").chmod(0o600)
    facts = look(copy)["facts"]
    assert {name: rights[2] for name, rights in facts["rights"].items()} == {"etc/app.conf": 0o600}
    assert facts["owner"] == copy.owner
