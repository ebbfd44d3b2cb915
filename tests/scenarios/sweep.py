"""The one check that every scenario ends with: what a set of diaries must never say."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from tests.scenarios.diary import Belief, Diary

__all__ = ["faults_of_beliefs", "faults_of_story", "sweep"]


def sweep(diaries: Iterable[Diary], *, ended: Iterable[Diary] = (), gap: float = 0.0) -> None:
    """Fail unless all diaries of one election together are those of a sound one.

    Args:
        diaries: of every process that ever stood in it.
        ended: those of them whose processes had the time to end in order.
        gap: seconds for which two may believe at a time; not 0 only where somebody has taken a
            claim away by hand, which its holder has to be told.
    """
    read = [diary.read() for diary in diaries]
    whole = set(map(id, ended))
    faults = faults_of_beliefs((belief for diary in read for belief in diary.beliefs), gap)
    for diary in read:
        faults += faults_of_story(diary, ended=id(diary) in whole)
    tokens = [note.token for diary in read for note in diary.notes if note.name == "elected"]
    faults += [f"token {t} was given twice" for t in set(tokens) if tokens.count(t) > 1]
    assert not faults, "\n".join(faults)


def faults_of_beliefs(beliefs: Iterable[Belief], gap: float = 0.0) -> list[str]:
    """Two believers at a time, or tokens that do not grow."""
    in_order = sorted(beliefs, key=lambda belief: belief.since)
    faults = []
    for one, other in itertools.combinations(in_order, 2):
        # `since` may come after `until`: in between was the only look, at an unknown moment.
        if other.since <= one.until and one.since <= other.until:
            both = (min(one.until, other.until) - other.since) / 1e9
            if not gap or both > gap:
                faults.append(f"two believers for {both * 1000:.1f} ms: {one} and {other}")
        elif one.since < other.until and one.token >= other.token:
            faults.append(f"tokens do not grow: {one} and then {other}")
    return faults


def faults_of_story(diary: Diary, *, ended: bool) -> list[str]:
    """Events in an order that they must not have."""
    faults = []
    names = [note.name for note in diary.notes]

    def fault(what: str) -> None:
        faults.append(f"{diary.who}: {what}: {' '.join(names)}")

    campaigning = leading = suspended = down = False
    for number, name in enumerate(names):
        if number and names[number - 1] == "stopped":
            fault(f"{name} after stopped")
        match name:
            case "campaigning":
                if campaigning or leading:
                    fault("campaigning twice")
                campaigning = True
            case "elected":
                if leading or not campaigning:
                    fault("elected while leading or not campaigning")
                leading, suspended = True, False
            case "lost" | "resigned":
                if not leading:
                    fault(f"{name} without a term")
                leading = campaigning = False
            case "suspended" | "resumed":
                if not leading or suspended == (name == "suspended"):
                    fault(f"{name} out of turn")
                suspended = name == "suspended"
            case "store_down" | "store_up":
                if down == (name == "store_down"):
                    fault(f"{name} out of turn")
                down = name == "store_down"
            case "stopped":
                if leading:
                    fault("stopped while leading")
    if names and names[0] not in {"campaigning", "stopped"}:
        fault("campaigning does not come first")
    if ended and (not names or names[-1] != "stopped"):
        fault("stopped does not come last")
    told = {note.token for note in diary.notes if note.name == "elected"}
    if untold := {belief.token for belief in diary.beliefs} - told:
        # A process that is killed may not have had the time to write the last one down.
        last = diary.beliefs[-1].token
        if ended or untold != {last} or not diary.beliefs[-1].open:
            fault(f"believed in terms that it was not elected for: {untold}")
    return faults
