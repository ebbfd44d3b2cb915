"""Whether two candidates of the demo ever believed to lead at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .troupe import Line, NotSeen

__all__ = ["Reign", "check_reigns", "check_tokens", "reigns"]


@dataclass(frozen=True, slots=True)
class Reign:
    """A time for which a candidate is known to have believed, from `first` to `last`."""

    name: str
    token: int
    first: float
    last: float
    readings: int


def reigns(lines: Sequence[Line], killed: Mapping[str, float]) -> list[Reign]:
    """Take them from what the candidates said, in the order of their beginning.

    Args:
        lines: all that they said.
        killed: when which one was killed; it could not say that its belief was over.
    """
    found = {}
    for line in lines:
        if "believes" in line.said:
            token = line.said["believes"]
            end = killed.get(line.name, line.at)
            found[line.name, token] = Reign(line.name, token, line.at, end, 1)
        elif "believed" in line.said:
            token = line.said["believed"]
            found[line.name, token] = Reign(
                line.name, token, line.said["first"], line.said["last"], line.said["readings"]
            )
    return sorted(found.values(), key=lambda reign: reign.first)


def check_reigns(found: Sequence[Reign]) -> None:
    """Raise `NotSeen` if two of them overlap."""
    for before, after in pairwise(found):
        if after.first <= before.last:
            raise NotSeen(
                f"one leader at a time: {before.name} and {after.name} both believed to lead "
                f"for {min(before.last, after.last) - after.first:.3f} s"
            )


def check_tokens(lines: Sequence[Line]) -> None:
    """Raise `NotSeen` unless the token of each election is larger than the one before."""
    elections = sorted((line for line in lines if line.is_event("elected")), key=lambda one: one.at)
    tokens = [int(line.said["token"]) for line in elections]
    if sorted(set(tokens)) != tokens:
        raise NotSeen(f"growing tokens: they were {', '.join(map(str, tokens))}")
