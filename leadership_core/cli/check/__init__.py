"""`leadership check`: runs the contract and a contended election against the user's store."""

from __future__ import annotations

from .. import output
from ..arguments import Arguments, Command
from ..signals import interruptible

__all__ = ["COMMAND"]


def check(arguments: Arguments) -> int:
    # Only here: the contract takes a while to import, and no other command needs it.
    from .runner import run_check

    try:
        with interruptible():
            return run_check(arguments)
    except BrokenPipeError:
        output.silence()
        return 1  # the verdict was not printed


COMMAND = Command(
    name="check",
    summary="test whether a store does what elections need",
    description=(
        "Runs the contract of stores against your store, then lets four processes campaign in one\n"
        "election: one is killed, one paused past its lease, the others resign again and again.\n"
        "Prints what passed, what failed, and what a failure means. It uses only keys that begin\n"
        "with leadership-check-, and removes them. A database file or a chroot that does not exist\n"
        "is created, and stays. Exit code 0: PASS, 1: FAIL."
    ),
    words=("URL",),
    check=True,
    run=check,
)
