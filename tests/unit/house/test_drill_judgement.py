# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a drill as tables: what holds, what does not and why; and what a fault file may say."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import time
import types
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "roles/drill/files"))

from somabrain_drill import downtime, drill, families, faults, judge, runs, scene, table, undo, writers  # noqa: E402
from somabrain_drill.errors import DrillError  # noqa: E402
from somabrain_drill.redis import shapes  # noqa: E402

COUNTED = {"acknowledged": 1000, "missing": 0, "wrong": 0, "resurrected": 0}


NO_LOSS = {"count": 0, "exact": True, "text": "", "approved": False, "witness": "each was read again"}


def outcome(word: str, code: str = "", acts: tuple[str, ...] = (), **loss: t.Any) -> dict[str, t.Any]:
    reasons = [{"code": code}] if code else []
    return {"outcome": word, "reasons": reasons, "acts": [{"action": act} for act in acts], "loss": loss or NO_LOSS}


def ran(word: str, code: int = 0, reason: str = "", acts: tuple[str, ...] = (), **loss: t.Any) -> runs.Ran:
    return runs.Ran(code, outcome(word, reason, acts, **loss) if word else {}, "")


def fault(loss: str = "none", **turn: t.Any) -> faults.Fault:
    given: dict[str, t.Any] = {"expect": frozenset({"recovered"}), **turn}
    return faults.Fault("some_fault", "redis", "it holds", (faults.Turn(**given),), loss=loss)


def seen(one: faults.Fault, *given: runs.Ran, same: bool = True, cost: float = 0.0, **more: t.Any) -> judge.Seen:
    base: dict[str, t.Any] = {"losses": COUNTED, "begun": sum(len(run.acts) for run in given), **more}
    return judge.Seen(one, [runs.Turned(one.runs[0], list(given), same, cost)] if given else [], **base)


STARTED = ran("recovered", acts=("start",))
LOSS = {**COUNTED, "missing": 3}
TOLD: dict[str, t.Any] = {"text": "some are gone", "count": 3, "exact": True, "approved": True, "witness": "each was read"}
LOSSY = fault("declared", expect=frozenset({"recovered_with_loss"}))
HONEST = fault("honest", expect=frozenset({"recovered", "recovered_with_loss"}))
UNKNOWN = fault("unknown", expect=frozenset({"recovered_with_loss"}))
ONCE = ("switch", "return_release")
REFUSED = fault("untouched", expect=frozenset({"refused"}), code="data_damaged")


def mended(**loss: t.Any) -> runs.Ran:
    return ran("recovered_with_loss", acts=("mend",), **loss)


CASES: dict[str, tuple[judge.Seen, str]] = {
    "held": (seen(fault(), STARTED), ""),
    "lost and not told": (seen(fault(), STARTED, losses=LOSS), "declared 0, measured 3"),
    "lost where a lossless way is": (
        seen(fault(expect=frozenset({"recovered_with_loss"})), ran("recovered_with_loss", acts=("start",), **TOLD), losses=LOSS),
        "a lossless way exists",
    ),
    "told to the key": (seen(LOSSY, mended(**TOLD), losses=LOSS), ""),
    "told too little": (seen(LOSSY, mended(**{**TOLD, "count": 2}), losses=LOSS), "declared 2, measured 3"),
    "told too much": (seen(LOSSY, mended(**{**TOLD, "count": 4}), losses=LOSS), "declared 4, measured 3"),
    "an upper bound": (seen(LOSSY, mended(**{**TOLD, "count": 4, "exact": False}), losses=LOSS), ""),
    "told without a number": (seen(LOSSY, mended(text="some", approved=True), losses=LOSS), "without a number"),
    "told as unknown where it is": (seen(UNKNOWN, mended(text="some", approved=True), losses=COUNTED), ""),
    "a number where none can be known": (seen(UNKNOWN, mended(**TOLD), losses=LOSS), "the number cannot be known"),
    "honestly unknown": (seen(HONEST, mended(text="some", approved=True), losses=LOSS), ""),
    "honest, with a bound": (seen(HONEST, mended(**{**TOLD, "count": 4, "exact": False}), losses=LOSS), ""),
    "a bound that is none": (seen(HONEST, mended(**{**TOLD, "count": 2, "exact": False}), losses=LOSS), "declared 2 at most, measured 3"),
    "not honest": (seen(HONEST, STARTED, losses=LOSS), "declared 0, measured 3"),
    "back again": (seen(fault(), STARTED, losses={**COUNTED, "resurrected": 1}), "1 resurrected"),
    "another value": (seen(fault(), STARTED, losses={**COUNTED, "wrong": 1}), "1 wrong"),
    "nothing to count": (seen(fault(), STARTED, losses=None), "could not be counted"),
    "another outcome": (seen(fault(), ran("failed", 2)), "ended failed"),
    "no outcome": (seen(fault(), ran("", 1)), "no explicit outcome"),
    "one return": (seen(fault(acts=ONCE, expect=frozenset({"undone"})), ran("undone", 2, acts=ONCE)), ""),
    "to and fro": (
        seen(fault(acts=ONCE, expect=frozenset({"undone"})), ran("undone", 2, acts=(*ONCE, "switch"))),
        "took the acts switch, return_release, switch, expected switch, return_release",
    ),
    "no return where one is due": (
        seen(fault(acts=ONCE, expect=frozenset({"undone"})), ran("undone", 2, acts=ONCE[:1])),
        "took the acts switch, expected",
    ),
    "green and red": (seen(fault(), ran("recovered", 2, acts=("start",))), "exit code 2"),
    "red and green": (seen(REFUSED, ran("refused", 0, "data_damaged"), losses=None), "exit code 0"),
    "a refusal": (seen(REFUSED, ran("refused", 2, "data_damaged"), losses=None), ""),
    "another reason": (seen(REFUSED, ran("refused", 2, "no_room"), losses=None), "expected data_damaged"),
    "a refusal that touched": (seen(REFUSED, ran("refused", 2, "data_damaged"), same=False, losses=None), "changed something"),
    "a refusal that cost an answer": (seen(REFUSED, ran("refused", 2, "data_damaged"), cost=0.3, losses=None), "for 0.3 s clients got no"),
    "a recovery that cost answers": (seen(fault(), STARTED, cost=2.5), ""),
    "a changed decoy": (seen(fault(), STARTED, decoy_same=False), "decoy"),
    "a rehearsal that changed": (seen(fault(), STARTED, rehearsal=(ran("rehearsed"), ("process",))), "check mode changed process"),
    "a rehearsal that acted": (seen(fault(), STARTED, rehearsal=(ran("recovered", acts=("start",)), ())), "check mode ended recovered"),
    "acts again": (seen(fault(), STARTED, again=(STARTED, True)), "expected nothing_to_do"),
    "another process afterwards": (seen(fault(), STARTED, again=(ran("nothing_to_do"), False)), "another process"),
    "an act missing from the outcome": (seen(fault(), STARTED, begun=2), "the journal has 2 acts"),
    "one of two": (seen(fault(at_once=2), STARTED, ran("refused", 2, "lease_held")), ""),
    "both of two": (seen(fault(at_once=2), STARTED, STARTED), "2 of 2 runs at once acted"),
    "none of two": (seen(fault(at_once=2), ran("refused", 2, "lease_held"), ran("refused", 2, "lease_held")), "0 of 2 runs at once acted"),
    "killed too late": (seen(fault(kill_at="begin"), STARTED), "before it could be killed"),
    "undone": (seen(LOSSY, mended(**TOLD), losses=LOSS, undone=undo.Undone(0)), ""),
    "other bytes after the undo": (
        seen(LOSSY, mended(**TOLD), losses=LOSS, undone=undo.Undone(0, differ=("dump.rdb",))),
        "1 files are not what they were: dump.rdb",
    ),
    "an undo that fails": (seen(LOSSY, mended(**TOLD), losses=LOSS, undone=undo.Undone(2, "in use")), "exit code 2: in use"),
    "no undo": (seen(LOSSY, mended(**TOLD), losses=LOSS, undone=undo.Undone(None)), "no undo was printed"),
    "a late copy": (seen(LOSSY, mended(**TOLD), losses=LOSS, undone=undo.Undone(0, copy="the copy is late")), "the copy is late"),
    "held too late": (seen(fault(hold_at="open"), STARTED), "before it could be held"),
    "kept too little": (seen(dataclasses.replace(LOSSY, kept_share=0.999), ran("recovered_with_loss", **TOLD), losses=LOSS), "kept 99.7"),
}


def told(
    known: t.Optional[int], present: t.Optional[int], count: t.Optional[int], exact: bool, word: str = "", witness: str = "it was counted"
) -> runs.Ran:
    """Return a run that ended well by its own word, with these numbers."""
    word = word or ("recovered" if count == 0 and exact else "recovered_with_loss")
    witness = witness if exact else ""
    return ran(word, count=count, exact=exact, approved=True, known_before=known, present_after=present, witness=witness)


def refusal(*moved: str, left: t.Any = None, undo: str = "nothing to put back") -> runs.Ran:
    """Return a refused run that left *moved* changed."""
    one = ran("refused", 2, "needs_person")
    one.outcome.update({"undo": undo, **({} if left is None else {"left": left})})
    return dataclasses.replace(one, moved=moved)


def gone(missing: int, **more: int) -> dict[str, int]:
    return {**COUNTED, "missing": missing, **more}


ANY = fault("declared", expect=frozenset({"recovered", "recovered_with_loss"}))
REFUSES = fault("none", expect=frozenset({"refused"}))
PAUSED = {"text": "writers are paused for 1800 s", "command": "redis-cli CLIENT UNPAUSE"}

# What recoveries have really said of the loss, or left behind, and was not so.
UNTRUE: dict[str, tuple[judge.Seen, str]] = {
    "unsaved changes of a dump, green": (seen(ANY, told(609, 510, 0, True), losses=gone(99)), "declared 0, measured 99"),
    "unsaved changes that no writer of the drill made": (
        seen(ANY, told(609, 510, 0, True)),
        "its own numbers say 99: 609 known before, 510",
    ),
    "cut between two commands, nothing known": (seen(ANY, told(None, 200, 0, True), losses=gone(100)), "declared 0, measured 100"),
    "above half of what was known": (seen(ANY, told(300, 200, 0, True)), "its own numbers say 100"),
    "above half, told as a bound that is none": (seen(ANY, told(300, 200, 99, False)), "declared 99 where its own numbers say 100"),
    "below half": (seen(ANY, told(300, 100, 0, True)), "its own numbers say 200"),
    "switched on at run time and not looked at": (seen(ANY, told(None, 0, 0, True), losses=gone(500)), "declared 0, measured 500"),
    "an older dump beside it": (seen(ANY, told(450, 270, 0, True), losses=gone(180)), "declared 0, measured 180"),
    "two gone, one told exactly": (seen(ANY, told(80, 79, 1, True), losses=gone(2)), "declared 1, measured 2"),
    "about four where it was two fifths": (seen(ANY, told(505, 313, 4, False), losses=gone(192)), "declared 4 at most, measured 192"),
    "acknowledged while the memory was away": (seen(ANY, told(None, None, 0, True), losses=gone(7)), "declared 0, measured 7"),
    "good files where there are none": (seen(ANY, told(None, 0, 0, True), losses=gone(242)), "declared 0, measured 242"),
    "exact and too many": (seen(ANY, told(300, 290, 12, True), losses=gone(10)), "declared 12, measured 10"),
    "exact and none, where keys are stale": (seen(ANY, told(300, 300, 0, True), losses={**COUNTED, "wrong": 4}), "declared 0, measured 4"),
    "green, exactly nothing, and nothing proves it": (seen(ANY, told(300, 300, 0, True, witness="")), "exactly 0 and names no witness"),
    "a witness of blanks": (seen(ANY, told(None, None, 0, True, witness="  ")), "names no witness"),
    "exact without a witness": (seen(ANY, told(300, 297, 3, True, witness=""), losses=gone(3)), "exactly 3 and names no witness"),
    "acknowledged while the memory was away, and nothing was counted": (
        seen(ANY, runs.Ran(0, {"outcome": "recovered", "loss": {"count": 0, "exact": True}}, "")),
        "names no witness",
    ),
    "several components recovered, and something is gone": (
        seen(HONEST, runs.Ran(0, {"outcome": "recovered", "components": []}, ""), losses=gone(2)),
        "declared 0, measured 2",
    ),
    "recovered, with a loss": (seen(ANY, told(300, 297, 3, True, "recovered"), losses=gone(3)), "ended recovered and declares a loss of 3"),
    "recovered, and it cannot tell": (seen(ANY, told(None, 297, None, False, "recovered")), "declares a loss of an unknown number"),
    "no word of a loss": (seen(ANY, runs.Ran(0, {"outcome": "recovered"}, "")), "a loss is declared without a number"),
    "green without an approval": (
        seen(LOSSY, ran("recovered_with_loss", **{**TOLD, "approved": False}), losses=LOSS),
        "not approved, with exit code 0",
    ),
    "writers paused, nothing to put back": (seen(REFUSES, refusal("writers")), "ended refused, changed writers, and lists nothing"),
    "saving switched off": (seen(REFUSES, refusal("setting save", left=[])), "changed setting save, and"),
    "stopped for good": (seen(REFUSES, refusal("automatic restart", "service", left=[])), "changed automatic restart, service, and"),
    "failed, and writers are paused": (
        seen(fault(expect=frozenset({"failed"})), dataclasses.replace(ran("failed", 2), moved=("service", "writers"))),
        "ended failed, changed writers, and lists nothing as left",
    ),
    "left without its end": (seen(REFUSES, refusal("writers", left=[{"text": "writers"}])), "without the command that ends it"),
    "a good copy taken back again": (seen(fault(), ran("undone", 2, acts=("return_config",))), "ended undone"),
    "failed though proven": (seen(fault(), ran("failed", 2, acts=("rebuild",))), "ended failed"),
}

TRUE: dict[str, judge.Seen] = {
    "the unsaved changes": seen(ANY, told(609, 510, 99, True), losses=gone(99)),
    "several components recovered": seen(HONEST, runs.Ran(0, {"outcome": "recovered", "components": []}, "")),
    "a bound": seen(ANY, told(505, 313, 200, False), losses=gone(192)),
    "keys whose time came are not lost": seen(ANY, told(505, 495, 0, True), losses=gone(0, lapsed=10)),
    "lost before their time came": seen(ANY, told(505, 490, 12, True), losses=gone(10, lapsed=3)),
    "left, and told": seen(REFUSES, refusal("writers", left=[PAUSED])),
    "as it was": seen(REFUSES, refusal()),
    "not approved and red": seen(LOSSY, ran("recovered_with_loss", 2, **{**TOLD, "approved": False}), losses=LOSS),
}


@pytest.mark.parametrize("case", UNTRUE)
def test_an_untrue_answer_fails_the_drill(case: str) -> None:
    given, why = UNTRUE[case]
    assert any(why in text for text in judge.judge(given)), judge.judge(given)


@pytest.mark.parametrize("case", TRUE)
def test_a_true_answer_holds(case: str) -> None:
    assert judge.judge(TRUE[case]) == []


def test_what_a_run_left_changed_is_named_only_where_it_was_seen_both_times() -> None:
    before = {"service": "answers", "writers": "go on", "setting save": "3600 1"}
    assert scene.moved(before, dict(before)) == ()
    assert scene.moved(before, {"service": "does not answer"}) == ("service",)
    assert scene.moved(before, {**before, "writers": "paused", "setting save": ""}) == ("setting save", "writers")


@pytest.mark.parametrize("case", CASES)
def test_a_drill_is_judged(case: str) -> None:
    given, why = CASES[case]
    wrong = judge.judge(given)
    assert bool(wrong) == bool(why), wrong
    assert not why or any(why in text for text in wrong), wrong


def put_aside(folder: Path, digest: str = "", copied_first: bool = True) -> str:
    """Return what is wrong with a copy of one file, made before that file was put aside or after."""
    copy, aside, content, manifest = folder / "run/copy", folder / "before-run", b"data", folder / "run/copy.manifest.json"
    copy.mkdir(parents=True)
    (copy / "dump.rdb").write_bytes(content)
    told = digest or hashlib.sha256(content).hexdigest()
    for first in (copied_first, not copied_first):
        if first:
            manifest.write_text(json.dumps({"files": [{"name": "dump.rdb", "sha256": told}]}))
        else:
            (aside / "old").mkdir(parents=True)
    # Clocks of file systems are coarse.
    os.utime(manifest, ns=(0, manifest.stat().st_mtime_ns + (-1 if copied_first else 1) * 10**9))
    return undo.judged_copy(folder / "run", aside, {"dump.rdb": "100644 0 " + hashlib.sha256(content).hexdigest()})


def test_a_copy_is_made_before_the_first_change_and_tells_what_there_was(tmp_path: Path) -> None:
    assert put_aside(tmp_path / "good") == ""
    assert "younger" in put_aside(tmp_path / "late", copied_first=False)
    assert "does not tell the files" in put_aside(tmp_path / "other", digest="0" * 64)
    assert "no copy" in undo.judged_copy(tmp_path / "none", tmp_path, {})
    (tmp_path / "good/run/copy/dump.rdb").write_bytes(b"date")
    assert "differs from its manifest: dump.rdb" in undo.judged_copy(tmp_path / "good/run", tmp_path / "good/before-run", {})


BAD = {
    "unknown key": ("hypothesis: x\nexpect: recovered\nsurprise: 1\n", "surprise"),
    "unknown outcome": ("hypothesis: x\nexpect: fine\n", "unknown word fine"),
    "nothing expected": ("hypothesis: x\n", "expects"),
    "unknown family": ("hypothesis: x\nexpect: recovered\n", "moon"),
    "unknown need": ("hypothesis: x\nexpect: recovered\nneeds: [moon]\n", "moon"),
    "unknown rule": ("hypothesis: x\nexpect: recovered\nloss: some\n", "loss has to be"),
    "no mapping": ("- a\n", ""),
    "two words in a step": ("hypothesis: x\nexpect: recovered\ninject: [{kill: 1, start: 1}]\n", "one word"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_fault_file_that_says_something_else_is_refused_by_name(case: str, tmp_path: Path) -> None:
    text, why = BAD[case]
    folder = tmp_path / ("moon" if case == "unknown family" else "redis")
    folder.mkdir()
    (folder / "bad.yml").write_text(text)
    with pytest.raises(DrillError, match="bad.yml") as refused:
        faults.load_all(tmp_path)
    assert why in str(refused.value)


def test_a_fault_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis/one.yml").write_text("hypothesis: x\nexpect: recovered\n")
    with pytest.raises(DrillError, match="no such fault: redis_two; there are: redis_one"):
        faults.load_all(tmp_path, ["redis/two"])
    with pytest.raises(DrillError, match=r"no such fault: redis_onee \(redis_one is meant\?\); there are: redis_one"):
        faults.load_all(tmp_path, ["redis_onee"])


@pytest.mark.parametrize("name", ["redis_aof_tail", "redis/aof_tail"])
def test_a_fault_is_named_as_it_is_shown_or_as_its_file_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis/aof_tail.yml").write_text("hypothesis: x\nexpect: recovered\n")
    (one,) = faults.load_all(tmp_path, [name])
    assert (one.name, one.family) == ("redis_aof_tail", "redis")


@pytest.mark.parametrize("path", sorted((ROOT / "roles/drill/faults").glob("*/*.yml")), ids=faults.name_of)
def test_every_fault_file_can_be_read_and_knows_its_steps(path: Path) -> None:
    one = faults.load(path)
    assert one.name.startswith(one.family)
    assert one.hypothesis.endswith(".")
    taken = [*one.before, *one.inject, *(step for turn in one.runs for step in turn.inject)]
    assert {word for step in taken for word in step} <= set(families.FAMILIES[one.family].words)


@pytest.mark.parametrize("family", ["redis", "postgres", "backup", "control"])
def test_the_page_about_drills_has_a_row_for_each_fault(family: str) -> None:
    page = (ROOT / "docs/drills.md").read_text(encoding="utf-8").splitlines()
    wanted = [faults.load(path) for path in sorted((ROOT / "roles/drill/faults" / family).glob("*.yml"))]
    rows = [line for line in page if line.startswith(f"| `{family}_")]
    assert rows == [f"| `{one.name}` | {one.hypothesis} |" for one in wanted], "docs/drills.md is stale: run scripts/faults"


def test_the_families_are_the_folders_of_the_faults() -> None:
    assert set(families.FAMILIES) == {folder.name for folder in (ROOT / "roles/drill/faults").iterdir()}


def test_a_client_counts_only_the_time_without_an_answer() -> None:
    told = iter([True, True, False, False, False, True])
    with downtime.Client(lambda: next(told, True)) as client:
        time.sleep(0.6)
    assert client.up_before
    assert 0.1 <= client.seconds <= 0.4


def test_no_line_of_the_table_is_wider_than_the_screen() -> None:
    name, why = "redis_" + "x" * 40, ("why " * 60, "\x1b[31m")
    result = drill.Result(name, "FAILED", "recovered_with_loss", 123456, 1234567, 123456, False, 1234.5, 123.4, why)
    lines = [*table.header(), *table.row(result), *table.footer([result], 99)]
    assert max(len(line) for line in lines) <= 100
    assert "\x1b" not in "".join(lines)


class Kept(writers.Ledger):
    """A ledger whose store is a dictionary."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "key")
        self.store: dict[str, t.Optional[str]] = {}

    def find(self, keys: list[str], seconds: float) -> list[t.Optional[str]]:
        return [self.store.get(key) for key in keys]


# When the time of the key comes, before (-) or after now; what is there; what that counts as. None: it lives for good.
ENDS: dict[str, tuple[t.Optional[float], t.Optional[str], dict[str, int]]] = {
    "for good, there": (None, "value", {}),
    "for good, gone": (None, None, {"missing": 1}),
    "its time has not come, there": (86400, "value", {}),
    "its time has not come, gone": (86400, None, {"missing": 1}),
    "its time has not come, another value": (86400, "other", {"wrong": 1}),
    "its time came during the drill": (-2, None, {"lapsed": 1}),
    "its time came before the drill": (-60, None, {}),
    "its time came and it is there": (-60, "value", {"resurrected": 1}),
    "its time came just now": (-0.1, "value", {"lapsed": 1}),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_key_is_lost_only_before_its_time(case: str, tmp_path: Path) -> None:
    end, there, counted = ENDS[case]
    now = time.time()
    ledger = Kept(tmp_path / "log")
    ledger.acknowledge("key1", "value")
    ledger.ends.update({} if end is None else {"key1": now + end})
    ledger.store["key1"] = there
    none = {"acknowledged": 1, "missing": 0, "wrong": 0, "resurrected": 0, "lapsed": 0}
    assert ledger.compare(since=now - 30) == {**none, **counted}
    ledger.close()


@pytest.mark.parametrize("shape", sorted({shape.word for shape in shapes.SHAPES}))
def test_a_key_says_how_it_is_read_again(shape: str) -> None:
    key = f"drill:redis_killed:{shape}:000012"
    assert shapes.shape_of(key).word == shape
    assert [words[0] for words in shapes.asked(key)][1] == "PTTL"
    assert shapes.read(key, "v", [None if shape.startswith("string") else [], -2]) is None
    assert "other than was written" in str(shapes.read(key, "v", ["w" if shape.startswith("string") else ["w"] * 2, 9000])) or (
        "another end" in str(shapes.read(key, "v", ["w", 9000]))
    )


def test_a_seed_varies_a_fault_the_same_way_each_time(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis/one.yml").write_text("hypothesis: x\nexpect: recovered\n")

    def about(seed: int) -> list[t.Any]:
        (one,) = faults.load_all(tmp_path, ["redis_one"], seed)
        target = types.SimpleNamespace(data_dir=tmp_path / "d", config_file=tmp_path / "c")
        made = scene.Scene(t.cast(t.Any, target), one, tmp_path, lambda: 1)
        return [made.about(300), made.about(0.5), made.about(0)]

    assert about(0) == [300, 0.5, 0]
    assert about(2) == about(2) != about(3)
    assert 225 <= about(1)[0] <= 375
    assert 0.3 < about(1)[1] < 0.7


def test_a_fault_file_may_not_choose_its_seed(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis/one.yml").write_text("hypothesis: x\nexpect: recovered\nseed: 3\n")
    with pytest.raises(DrillError, match="seed"):
        faults.load_all(tmp_path)
