"""`leadership follow`: says who leads, now and whenever that changes."""

from __future__ import annotations

import os
import signal
import time

from ..events import LeaderChanged, StoreDown, StoreUp
from ..follower import Follower
from ..store import Leader
from . import console
from .arguments import Arguments, Command
from .opening import open_shared_store
from .patience import Patience
from .signals import Signals

__all__ = ["COMMAND"]


def _run(arguments: Arguments) -> int:
    store = open_shared_store(arguments.url)
    follower = Follower(store, arguments.key)
    with (
        _signals(follower),
        store,
        Patience(store, arguments.timeout, follower.stop) as patience,
    ):
        worked = False
        for event in follower.events():
            match event:
                case LeaderChanged(leader):
                    worked = True
                    patience.worked()
                    _show(leader, as_json=arguments.json)
                case StoreDown(error):
                    patience.trouble(error)
                    if worked:
                        console.complain("leadership follow", f"the store is away: {error}")
                case StoreUp() if worked:
                    console.complain("leadership follow", "the store is back")
                case _:
                    pass
        patience.check()
    return 0


def _signals(follower: Follower) -> Signals:
    stopping = False

    def signalled(number: int) -> None:
        nonlocal stopping
        if stopping:
            os._exit(128 + number)
        stopping = True
        follower.stop()

    return Signals(signalled, follower.stop, signal.SIGTERM, signal.SIGINT)


def _show(leader: Leader | None, *, as_json: bool) -> None:
    if as_json:
        console.put_record(
            time=round(time.time(), 6),
            leader=None if leader is None else leader.value,
            token=None if leader is None else leader.token,
        )
    elif leader is None:
        console.put(f"{console.stamp()} no leader")
    else:
        console.put(f"{console.stamp()} {console.shown(leader.value)} leads, token {leader.token}")


COMMAND = Command(
    name="follow",
    summary="print who leads, and every change of it",
    description=(
        "Prints who leads now, and then every change, until SIGTERM or SIGINT. While the store\n"
        "is away the last line stays true as far as is known; that it is away is said on stderr.\n"
        "The lines are for people: what cannot be printed is escaped, and a long value is cut.\n"
        "--json gives the whole value."
    ),
    words=("URL", "KEY"),
    run=_run,
)
