"""`leadership check`: whether a store does what elections need, tried out on that very store."""

from __future__ import annotations

from .. import console
from ..arguments import Arguments, Command
from ..interrupts import interruptible

__all__ = ["COMMAND"]


def _run(arguments: Arguments) -> int:
    # Only here: the contract takes a while to import, and no other command needs it.
    from .checkup import check_up

    try:
        with interruptible():
            return check_up(arguments)
    except BrokenPipeError:
        console.silence()
        return 1  # nobody has read the verdict


COMMAND = Command(
    name="check",
    summary="try out whether a store does what elections need",
    description=(
        "Puts your store through all that a store must do here, then lets four processes stand in\n"
        "one election: one is killed, one paused past its lease, the others resign again and again.\n"
        "Says what holds, what does not and what that means. All of it happens below keys of its own,\n"
        "leadership-check-..., which are removed; no other key is touched. A database file or a chroot\n"
        "that was not there is made for it, and stays. Exit code 0: it is sound."
    ),
    words=("URL",),
    check=True,
    run=_run,
)
