"""The requests of one call, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from leadership_core.backend import LeadershipError, call_timeout, remaining_timeout

__all__ = ["in_parallel"]

T = TypeVar("T")

_MOST = 8  # threads; each has a connection, and a server limits requests of one user


def in_parallel(work: Callable[[T], object], items: Sequence[T]) -> list[LeadershipError]:
    """Call `work` with each item, with up to eight at a time; returns the errors.

    Blocks until all calls have returned, each of which ends within `remaining_timeout`. Other errors
    than those of the library are raised.
    """
    left, errors, surprises = list(items), list[LeadershipError](), list[BaseException]()
    given = remaining_timeout()

    def run() -> None:
        with call_timeout(given):
            while not surprises:
                try:
                    item = left.pop(0)
                except IndexError:
                    return
                try:
                    work(item)
                except LeadershipError as error:
                    errors.append(error)
                except BaseException as error:  # noqa: BLE001  # raised in the calling thread
                    surprises.append(error)

    helpers = [
        threading.Thread(target=run, name="leadership-kubernetes-request", daemon=True)
        for _ in range(min(_MOST, len(left)) - 1)
    ]
    started = []
    for helper in helpers:
        try:
            helper.start()
        except RuntimeError:  # there can be no more threads: the ones there are do it
            break
        started.append(helper)
    run()
    for helper in started:
        helper.join()
    if surprises:
        raise surprises[0]
    return errors
