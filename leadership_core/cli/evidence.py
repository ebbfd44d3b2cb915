"""What the candidates of a troupe have said, as a history that can be checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..testing.history import Belief, History, Note, check_history
from .troupe import Line

__all__ = ["check_history", "history_of", "readings"]


def history_of(
    lines: Sequence[Line], *, killed: Mapping[str, float], ended: Iterable[str] = ()
) -> History:
    """Write the history of their election.

    Args:
        lines: all that they said.
        killed: when which one was killed; it could not say that its belief was over.
        ended: those that were left the time to stop in order.
    """
    history = History()
    beliefs: dict[tuple[str, int], Belief] = {}
    for line in lines:
        said = line.said
        if "believes" in said:
            token = said["believes"]
            belief = Belief(line.name, token, line.at, killed.get(line.name, line.at))
            beliefs[line.name, token] = belief
        elif "believed" in said:
            token = said["believed"]
            belief = Belief(line.name, token, said["first"], said["last"], open=False)
            beliefs[line.name, token] = belief
        elif "event" in said:
            elected = said["token"] if line.is_event("elected") else None
            history.notes.append(Note(line.name, said["event"], elected, line.at))
    history.beliefs += beliefs.values()
    for name in ended:
        history.end(name)
    return history


def readings(lines: Iterable[Line]) -> int:
    """How often somebody who believed has read that it does."""
    return sum(line.said["readings"] for line in lines if "readings" in line.said)
