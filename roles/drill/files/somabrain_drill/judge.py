# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules by which a drill is judged. Plain data in, sentences about what did not hold out."""

from __future__ import annotations

import dataclasses
import typing as t

from .faults import Fault, Turn
from .runs import Ran, Turned
from .undo import Undone

WELL = ("recovered", "recovered_with_loss", "nothing_to_do")
ACTED = ("recovered", "recovered_with_loss")
RED = ("refused", "unproven", "undone", "failed")
EXPLICIT = (*WELL, "rehearsed", "refused", "unproven", "undone", "failed", "abandoned")


@dataclasses.dataclass
class Seen:
    """All that was seen in one drill."""

    fault: Fault
    turns: list[Turned]
    rehearsal: t.Optional[tuple[Ran, t.Tuple[str, ...]]] = None
    again: t.Optional[tuple[Ran, bool]] = None
    losses: t.Optional[dict[str, int]] = None
    undone: t.Optional[Undone] = None
    decoy_same: bool = True
    begun: int = 0
    seconds: float = 0.0
    down: t.Optional[float] = None
    # What triage said before the first run: the run, its report, the seconds it took.
    triage: t.Optional[tuple[Ran, t.Mapping[str, t.Any], float]] = None

    @property
    def last(self) -> Ran:
        return self.turns[-1].last

    @property
    def lapsed(self) -> int:
        """Keys whose time came between the first run and the count: whether one was lost before that, nothing shows."""
        return (self.losses or {}).get("lapsed", 0)

    @property
    def lost(self) -> t.Optional[int]:
        """Acknowledged writes whose effect is not there; None where nothing was changed, so nothing was counted."""
        return None if self.losses is None else self.losses["missing"] + self.losses["wrong"] + self.losses["resurrected"]


def declared(outcome: t.Mapping[str, t.Any]) -> t.Optional[int]:
    """Return the loss that an outcome declares, None where it is unknown. Only a run that did nothing may leave the number out."""
    count = (outcome.get("loss") or {}).get("count")
    if count is None and "components" in outcome:
        # A run over several components says by its word whether one of them lost anything.
        return None if outcome.get("outcome") == "recovered_with_loss" else 0
    if count is None:
        return None if outcome.get("loss") or outcome.get("outcome") in ACTED else 0
    return int(count)


def judge(seen: Seen) -> list[str]:
    """Return what did not hold, [] when the hypothesis held."""
    wrong = [text for number, turned in enumerate(seen.turns, 1) for text in [*_turn(turned, number), *_claims(turned, number, seen)]]
    wrong += _rehearsal(seen.rehearsal, seen.fault.runs[0].expect) + _again(seen.again) + _loss(seen) + _twice(seen) + _undone(seen.undone)
    return wrong + ([] if seen.decoy_same else ["the decoy is another process or has other data"])


def _turn(turned: Turned, number: int) -> list[str]:
    turn, last = turned.turn, turned.last
    if turn.kill_at:
        return [] if last.killed else [f"run {number} ended before it could be killed at {turn.kill_at}"]
    if turn.at_once > 1:
        return _at_once(turned, number)
    sentences = [*_moments(turn, last), *_ending(turn, last), *_named(turn, last), *_effects(turned)]
    return [f"run {number} {sentence}" for sentence in sentences]


def _moments(turn: Turn, last: Ran) -> t.Iterator[str]:
    """Yield where the run ended before the moment at which it had to be disturbed."""
    for moment, what in ((turn.drop_at, "the connection could be cut"), (turn.hold_at, "it could be held")):
        if moment and not last.killed:
            yield f"ended before {what} at {moment}"


def _ending(turn: Turn, last: Ran) -> t.Iterator[str]:
    """Yield what is wrong with outcome and exit code."""
    if last.word not in EXPLICIT:
        yield f"ended in no explicit outcome (exit {last.code})"
    elif last.word not in turn.expect:
        yield f"ended {last.word} {last.reason}, expected {' or '.join(sorted(turn.expect))}".replace(" ,", ",")
    loss = last.outcome.get("loss") or {}
    ends_green = last.word in WELL and (last.word != "recovered_with_loss" or loss.get("approved") is True)
    if last.word != "rehearsed" and ends_green != (last.code == 0):
        yield f"ended {last.word}{'' if ends_green or last.word not in WELL else ', not approved,'} with exit code {last.code}"


def _named(turn: Turn, last: Ran) -> t.Iterator[str]:
    """Yield which details of the outcome differ from what the fault names."""
    if turn.code and last.reason != turn.code:
        yield f"gave the reason {last.reason or 'none'}, expected {turn.code}"
    if turn.acts and tuple(last.acts) != turn.acts:
        yield f"took the acts {', '.join(last.acts) or 'none'}, expected {', '.join(turn.acts)}"
    if turn.tells not in last.told:
        yield f"reported {last.told or 'nothing'}, which lacks: {turn.tells}"


def _effects(turned: Turned) -> t.Iterator[str]:
    """Yield what the run cost or changed though it must not."""
    if turned.last.word == "refused" and turned.cost:
        yield f"refused, and for {turned.cost:.1f} s clients got no answer that got one before"
    if turned.turn.unchanged and not turned.same:
        yield "changed data, configuration or process"


def _claims(turned: Turned, number: int, seen: Seen) -> list[str]:
    """Return what the runs of one turn claim that cannot be so: what a refusal left, and a loss that its own numbers deny."""
    wrong = [f"run {number} {text}" for ran in turned.ran if ran.word in RED for text in _left(ran)]
    return wrong + [f"run {number} {text}" for ran in turned.ran if ran.word in WELL for text in _numbers(ran, seen.lapsed)]


def _left(ran: Ran) -> t.Iterator[str]:
    """Yield what a run that is not well left changed and does not list with the command that ends it."""
    left = ran.outcome.get("left") or []
    # Only a refusal promises that the service itself is as it was.
    moved = [name for name in ran.moved if ran.word == "refused" or name != "service"]
    if moved and not left:
        yield f"ended {ran.word}, changed {', '.join(moved)}, and lists nothing as left"
    for one in left:
        if not (isinstance(one, dict) and one.get("command")):
            yield f"lists as left, without the command that ends it: {one}"


def _numbers(ran: Ran, lapsed: int) -> t.Iterator[str]:
    """Yield where a loss is smaller than its own numbers say; *lapsed*: keys whose time came during the drill."""
    loss, told = ran.outcome.get("loss") or {}, declared(ran.outcome)
    known, present = loss.get("known_before"), loss.get("present_after")
    if ran.word in ACTED and loss.get("exact") and not str(loss.get("witness") or "").strip():
        yield f"declares exactly {'an unknown number' if told is None else told} and names no witness"
    # What nothing speaks for is reported as not ruled out; that the drill lost nothing is counted beside it.
    if ran.word == "recovered" and told != 0 and loss.get("suspected", True):
        yield f"ended recovered and declares a loss of {'an unknown number' if told is None else told}"
    if known is not None and present is not None and told is not None and known - present > told + lapsed:
        yield f"declared {told} where its own numbers say {known - present}: {known} known before, {present} there now"


def _at_once(turned: Turned, number: int) -> list[str]:
    actors = [ran for ran in turned.ran if ran.acts]
    wrong = [] if len(actors) == 1 else [f"{len(actors)} of {len(turned.ran)} runs at once acted"]
    for ran in turned.ran:
        expected = turned.turn.expect if ran.acts else {"refused", "nothing_to_do"}
        if ran.word not in expected:
            wrong.append(f"of the runs at once one ended {ran.word} {ran.reason}")
        if ran.word == "refused" and turned.turn.code and ran.reason != turned.turn.code:
            wrong.append(f"run {number}: the loser gave the reason {ran.reason}")
    return wrong


def _rehearsal(rehearsal: t.Optional[tuple[Ran, t.Tuple[str, ...]]], expect: t.FrozenSet[str]) -> list[str]:
    if rehearsal is None:
        return []
    ran, changed = rehearsal
    wrong = [f"check mode changed {', '.join(changed)}"] if changed else []
    # A rehearsal that cannot even begin may end as the run does.
    if ran.word not in {"rehearsed", "refused", "nothing_to_do"} | (expect - set(WELL)) or ran.acts:
        wrong.append(f"check mode ended {ran.word} (exit {ran.code}), acts: {', '.join(ran.acts) or 'none'}")
    return wrong


def _again(again: t.Optional[tuple[Ran, bool]]) -> list[str]:
    if again is None:
        return []
    ran, same = again
    wrong = [] if same else ["the run right after made another process or another configuration"]
    if ran.word != "nothing_to_do" or ran.acts:
        wrong.append(f"the run right after ended {ran.word} {ran.reason}, expected nothing_to_do")
    return wrong


def _twice(seen: Seen) -> list[str]:
    """Nothing is begun twice, except by a run that comes after one that was killed or cut off."""
    acts = sum(len(ran.acts) for turned in seen.turns for ran in turned.ran)
    killed = any(turned.turn.kill_at or turned.turn.drop_at for turned in seen.turns)
    # A run over several components has their outcomes in files of their own.
    several = any("components" in turned.last.outcome for turned in seen.turns)
    return [] if killed or several or seen.begun <= acts else [f"the journal has {seen.begun} acts, the outcomes {acts}"]


def _loss(seen: Seen) -> list[str]:
    rule, outcome = seen.fault.loss, seen.last.outcome
    if rule == "untouched":
        return [f"run {number} changed something" for number, turned in enumerate(seen.turns, 1) if not turned.same]
    if seen.losses is None:
        return ["what is left could not be counted: the server does not answer"]
    told = declared(outcome)
    wrong = _number_told(rule, told, seen, bool((outcome.get("loss") or {}).get("exact", True)))
    suspected = (outcome.get("loss") or {}).get("suspected", True)
    if rule == "none" and (seen.lost or (told != 0 and suspected)):
        wrong.append(f"a lossless way exists: {_details(seen.losses)}, declared {told}")
    elif outcome.get("outcome") == "recovered" and seen.lost:
        wrong.append(f"ended recovered, and something is lost: {_details(seen.losses)}")
    kept = 1 - (seen.lost or 0) / max(1, seen.losses["acknowledged"])
    if kept < seen.fault.kept_share:
        wrong.append(f"kept {kept:.4%}, less than {seen.fault.kept_share:.2%}")
    return wrong


def _number_told(rule: str, told: t.Optional[int], seen: Seen, exact: bool) -> list[str]:
    """Return what is wrong with the declared number, by the rule of the fault."""
    if rule == "honest" and told is None:
        # Unknown is true of any loss; a number has to cover what was measured.
        return []
    if rule == "unknown":
        # Where nothing in the data shows what is wrong, any declared number is a guess.
        return [] if told is None else [f"declared {told} where the number cannot be known"]
    return _told(seen.lost or 0, told, exact, _details(seen.losses or {}), seen.lapsed)


def mended(ran: Ran) -> bool:
    """Return whether a run has put other data in place, so that its undo is a promise about bytes."""
    return ran.word in WELL and "mend" in ran.acts


def _undone(undone: t.Optional[Undone]) -> list[str]:
    if undone is None:
        return []
    wrong = [undone.copy] if undone.copy else []
    if undone.code is None:
        return [*wrong, f"data were put in place and no undo was printed: {undone.text or 'nothing'}"]
    if undone.code:
        return [*wrong, f"the printed undo ended with exit code {undone.code}: {undone.text}"]
    names = ", ".join(undone.differ[:5])
    return [*wrong, *([f"after the printed undo {len(undone.differ)} files are not what they were: {names}"] if names else [])]


def _told(lost: int, told: t.Optional[int], exact: bool, details: str, lapsed: int) -> list[str]:
    """Return what is wrong with a number: too small, or called exact and too large. A key whose time came since may be in it or not."""
    if told is None:
        return ["a loss is declared without a number"]
    if lost <= told <= lost + lapsed or (not exact and lost <= told):
        return []
    return [f"declared {told}{'' if exact else ' at most'}, measured {lost} ({details})"]


def _details(losses: t.Mapping[str, int]) -> str:
    return ", ".join(f"{losses[word]} {word}" for word in ("missing", "wrong", "resurrected"))
