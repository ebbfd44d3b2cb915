"""How often servers are connected to.

kazoo has pauses, but they begin anew with each server that lets it in, were it only to hang up.
"""

from __future__ import annotations

from leadership_core.timing import Pace

from .options import Options

__all__ = ["new_pace"]

_BURST = 4  # connections to each server that may be made at once
_RATE = 2.0  # and in a second, which is kazoo's own longest pause


def new_pace(options: Options) -> Pace:
    """A pace for one link, or for one after the other."""
    count = len(options.hosts)
    return Pace(_BURST * count, _RATE * count)
