"""Processes whose threads are greenlets, because gevent or eventlet has patched the standard library.

What these libraries cannot switch away from, a wait in C above all, stops every greenlet.
"""

from __future__ import annotations

import sys

from .errors import ConfigurationError

__all__ = ["gevent_has_patched_threads", "refuse_eventlet"]


def gevent_has_patched_threads() -> bool:
    """Whether a new thread of this process is a greenlet of gevent's."""
    monkey = sys.modules.get("gevent.monkey")  # a library that has patched something is loaded
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def refuse_eventlet(scheme: str, reason: str) -> None:
    """Refuse to open a store in a process that eventlet has patched.

    Args:
        scheme: of the store's URL, as in `etcd://`.
        reason: why the store cannot work there.

    Raises:
        ConfigurationError: eventlet has patched threads, sockets or `select`.
    """
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and any(map(patcher.is_monkey_patched, ("thread", "socket", "select"))):
        raise ConfigurationError(
            f"{scheme} does not work in a process that eventlet has patched: {reason}; "
            "do without eventlet.monkey_patch(), or use gevent"
        )
