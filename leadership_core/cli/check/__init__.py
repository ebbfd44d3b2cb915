"""`leadership check`: runs the contract and a contended election against the user's store."""

from __future__ import annotations

from .. import output
from ..arguments import Arguments
from ..signals import interruptible

__all__ = ["check"]


def check(arguments: Arguments) -> int:
    """Test the store; returns the exit code."""
    # Only here: the contract takes a while to import, and no other command needs it.
    from .runner import run_check

    try:
        with interruptible():
            return run_check(arguments)
    except BrokenPipeError:
        output.silence()
        return 1  # the verdict was not printed
