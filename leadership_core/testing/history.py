"""What happened in one election, and whether it may have happened.

A history is written while an election runs, by any number of threads or from the logs of any
number of processes of one machine, and checked afterwards.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..clock import now
from ..events import Elected, Event

__all__ = ["Belief", "History", "Note", "check_history"]


@dataclass(slots=True)
class Belief:
    """A time for which somebody surely believed to lead.

    `since` comes after the first look that said so and `until` before the last one, so two
    beliefs that overlap here did overlap, whatever the machine did to the processes meanwhile.

    Attributes:
        who: the candidate.
        token: of the term that it believed in.
        since: seconds.
        until: seconds; may be less than `since` where there was only one look.
        open: whether nobody has written yet that it ended.
    """

    who: str
    token: int
    since: float
    until: float
    open: bool = True


@dataclass(frozen=True, slots=True)
class Note:
    """An event of a candidate.

    Attributes:
        who: the candidate.
        name: of the event, in snake case.
        token: of the term, where the event is `elected`.
        at: seconds.
    """

    who: str
    name: str
    token: int | None
    at: float


class History:
    """All that is known about one election; may be written by several threads."""

    def __init__(self) -> None:
        self.beliefs: list[Belief] = []
        self.notes: list[Note] = []
        self.ended: set[str] = set()
        self._lock = threading.Lock()

    def believes(self, who: str, token: int, since: float, until: float) -> Belief:
        """Somebody believes; move `until` of the result on for as long as it does."""
        belief = Belief(who, token, since, until)
        with self._lock:
            self.beliefs.append(belief)
        return belief

    def note(self, who: str, event: Event | str, token: int | None = None) -> None:
        """An event was told, now; the events of one candidate come in their order."""
        if isinstance(event, Elected):
            token = event.term.token
        name = event if isinstance(event, str) else event.name
        with self._lock:
            self.notes.append(Note(who, name, token, now()))

    def end(self, who: str) -> None:
        """The candidate had the time to end in order, so its story must be a whole one."""
        with self._lock:
            self.ended.add(who)

    def story(self, who: str) -> list[Note]:
        """The events of one candidate."""
        return [note for note in self.notes if note.who == who]

    def candidates(self) -> list[str]:
        """All that are mentioned."""
        names = [note.who for note in self.notes] + [belief.who for belief in self.beliefs]
        return list(dict.fromkeys([*names, *self.ended]))


def check_history(history: History, *, gap: float = 0.0) -> list[str]:
    """Return all that must not have happened; nothing if the election was sound.

    * Two that believed at a time, each for a time that is certain.
    * Tokens that did not grow from one believer to the next, or were given twice.
    * Events out of order: after `stopped`; an `elected` without its `campaigning`; a term that
      did not end with exactly one of `lost` and `resigned`; a belief that was never announced.

    Args:
        history: of one election.
        gap: seconds for which two may believe at a time; not 0 only where somebody has taken a
            claim away by hand, which its holder has to be told.
    """
    faults = list(_of_beliefs(history.beliefs, gap))
    for who in history.candidates():
        faults += _of_story(history, who)
    tokens = [note.token for note in history.notes if note.name == "elected" and note.token]
    faults += [f"token {t} was given twice" for t in sorted(set(tokens)) if tokens.count(t) > 1]
    return faults


def _of_beliefs(beliefs: Iterable[Belief], gap: float) -> Iterator[str]:
    in_order = sorted(beliefs, key=lambda belief: belief.since)
    for one, other in itertools.combinations(in_order, 2):
        # `since` may come after `until`: in between was the only look, at an unknown moment.
        if other.since <= one.until and one.since <= other.until:
            both = min(one.until, other.until) - other.since
            if not gap or both > gap:
                yield f"two believers for {both * 1000:.1f} ms: {one} and {other}"
        elif one.since < other.until and one.token >= other.token:
            yield f"tokens do not grow: {one} and then {other}"


def _of_story(history: History, who: str) -> Iterator[str]:
    notes = history.story(who)
    names = [note.name for note in notes]
    beliefs = [belief for belief in history.beliefs if belief.who == who]
    faults = _Story().read(names)
    if who in history.ended and names[-1:] != ["stopped"]:
        faults.append("stopped does not come last")
    told = {note.token for note in notes if note.name == "elected"}
    if untold := {belief.token for belief in beliefs} - told:
        # One that was killed may not have had the time to tell the last one.
        last = beliefs[-1]
        if who in history.ended or untold != {last.token} or not last.open:
            faults.append(f"believed in terms that it was not elected for: {sorted(untold)}")
    for fault in faults:
        yield f"{who}: {fault}: {' '.join(names)}"


class _Story:
    """What one candidate has said so far."""

    def __init__(self) -> None:
        self.campaigning = self.leading = self.suspended = self.down = self.stopped = False

    def read(self, names: list[str]) -> list[str]:
        faults = [fault for name in names if (fault := self._fault(name))]
        if names and names[0] not in {"campaigning", "stopped"}:
            faults.append("campaigning does not come first")
        return faults

    def _fault(self, name: str) -> str:
        if self.stopped:
            return f"{name} after stopped"
        sound = True
        match name:
            case "campaigning":
                sound = not (self.campaigning or self.leading)
                self.campaigning = True
            case "elected":
                sound = self.campaigning and not self.leading
                self.leading, self.suspended = True, False
            case "lost" | "resigned":
                sound = self.leading
                self.leading = self.campaigning = False
            case "suspended" | "resumed":
                sound = self.leading and self.suspended == (name == "resumed")
                self.suspended = name == "suspended"
            case "store_down" | "store_up":
                sound = self.down == (name == "store_up")
                self.down = name == "store_down"
            case "stopped":
                sound = not self.leading
                self.stopped = True
            case _:
                sound = False
        return "" if sound else f"{name} out of turn"
