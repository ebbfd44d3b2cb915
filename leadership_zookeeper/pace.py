"""How often a server may let us in.

kazoo has pauses, but they begin anew with each server that does, were it only to hang up.
"""

from __future__ import annotations

from leadership_core.timing import Pace

from .options import Options

__all__ = ["new_pace"]

_BURST = 4  # times at once, for each server
_RATE = 2.0  # and in a second, as kazoo's own longest pause has it


def new_pace(options: Options) -> Pace:
    """A pace for one link, or for one after the other."""
    count = len(options.hosts)
    return Pace(_BURST * count, _RATE * count)
