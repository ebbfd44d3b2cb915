"""The one check that every scenario ends with: what a set of diaries must never say."""

from __future__ import annotations

from collections.abc import Iterable

from leadership_core.testing import Belief, History, Note, check_history
from tests.scenarios.diary import Diary

__all__ = ["history_of", "sweep"]


def sweep(diaries: Iterable[Diary], *, ended: Iterable[Diary] = (), gap: float = 0.0) -> None:
    """Fail unless all diaries of one election together are those of a sound one.

    Args:
        diaries: of every process that ever stood in it.
        ended: those of them whose processes had the time to end in order.
        gap: seconds for which two may believe at a time; not 0 only where somebody has taken a
            claim away by hand, which its holder has to be told.
    """
    faults = check_history(history_of(diaries, ended=ended), gap=gap)
    assert not faults, "\n".join(faults)


def history_of(diaries: Iterable[Diary], *, ended: Iterable[Diary] = ()) -> History:
    """Read the diaries, whose times are nanoseconds, as one history."""
    history, whole = History(), set(map(id, ended))
    for number, diary in enumerate(diaries, 1):
        diary.read()
        who = f"{diary.who} ({number})"  # programs may have the same name
        history.beliefs += [
            Belief(who, one.token, one.since / 1e9, one.until / 1e9, one.open)
            for one in diary.beliefs
        ]
        history.notes += [Note(who, note.name, note.token, note.at / 1e9) for note in diary.notes]
        if id(diary) in whole:
            history.end(who)
    return history
