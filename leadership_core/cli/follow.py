"""`leadership follow`: prints the leader, now and at every change."""

from __future__ import annotations

import os
import signal
import time

from ..backend.protocols import Leader
from ..errors import LeadershipError
from ..events import LeaderChanged, StoreDown, StoreUp
from ..follower import Follower
from . import output
from .arguments import Arguments
from .opening import StartupTimeout, open_shared_store
from .signals import Signals
from .status import serving

__all__ = ["follow"]


def follow(arguments: Arguments) -> int:
    """Print the leader, and every change; returns the exit code."""
    store = open_shared_store(arguments.url)
    try:
        follower = Follower(store, arguments.key)
    except LeadershipError:  # an invalid key
        store.close(0)
        raise
    is_stopping = False

    def on_signal(number: int) -> None:
        nonlocal is_stopping
        if is_stopping:
            os._exit(128 + number)
        is_stopping = True
        follower.stop()

    with (
        Signals(on_signal, follower.stop, signal.SIGTERM, signal.SIGINT),
        store,
        serving(arguments, follower),
        StartupTimeout(store, arguments.timeout, follower.stop) as startup_timeout,
    ):
        has_worked = False
        for event in follower.events():
            match event:
                case LeaderChanged(leader):
                    has_worked = True
                    startup_timeout.succeeded()
                    _print_leader(leader, as_json=arguments.json)
                case StoreDown(error):
                    startup_timeout.failed(error)
                    if has_worked:
                        output.print_error("leadership follow", f"the store is away: {error}")
                case StoreUp() if has_worked:
                    output.print_error("leadership follow", "the store is back")
                case _:
                    pass
        startup_timeout.check()
    return 0


def _print_leader(leader: Leader | None, *, as_json: bool) -> None:
    if as_json:
        output.print_record(
            time=round(time.time(), 6),
            leader=None if leader is None else leader.value,
            token=None if leader is None else leader.token,
        )
    elif leader is None:
        output.print_line(f"{output.timestamp()} no leader")
    else:
        value = output.escaped(leader.value)
        output.print_line(f"{output.timestamp()} {value} leads, token {leader.token}")
