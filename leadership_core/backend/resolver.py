"""Resolution of host names within a time limit, which the standard library does not offer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from ..errors import NotApplied
from . import clock
from .event_count import EventCount
from .fork import at_fork_in_child
from .threads import start_daemon

__all__ = ["resolve"]

_POLL_INTERVAL = 0.05  # seconds between two calls of `wanted`
_PATIENCE = 2.0  # seconds after which a second look-up of the same name is started
_MOST_PER_NAME = 4  # look-ups at a time: an unreachable name server blocks each for half a minute
_MOST = 16  # look-ups of all names at a time


def resolve(
    host: str,
    port: int,
    seconds: float,
    *,
    thread: str,
    wanted: Callable[[], bool] = lambda: True,
) -> list[Any]:
    """Return the result of `socket.getaddrinfo` for TCP; a numeric address does not block.

    Args:
        host: a name, or an address.
        port: the port in the result.
        seconds: the time limit.
        thread: the name of the thread that resolves it, which may run for half a minute. Calls for
            the same name share it; there are at most four for a name and sixteen in the process.
        wanted: returns False when the answer is no longer needed, which ends the wait.

    Raises:
        OSError: the name does not exist, or no answer came in time.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "not a valid host name") from None
    except socket.gaierror:
        return _look_up(host, port, clock.now() + seconds, thread, wanted)


class _LookUp:
    """One call of `getaddrinfo`, in a thread of its own, for all that wait for that name."""

    def __init__(self, host: str, port: int) -> None:
        self.began = clock.now()
        self.found: list[Any] | None = None
        self.problem: OSError | None = None
        self._host, self._port = host, port

    @property
    def ended(self) -> bool:
        return self.found is not None or self.problem is not None

    def run(self) -> None:
        try:
            self.found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            self.problem = error
        except BaseException as error:  # noqa: BLE001  # those that wait need an end
            self.problem = OSError(f"the name {self._host!r} cannot be resolved: {error!r}")
        finally:
            _forget((self._host, self._port), self)


_under_way: dict[tuple[str, int], list[_LookUp]] = {}
_ended = EventCount()  # notified when a look-up has ended
_lock = threading.RLock()  # a signal handler may resolve, too


def _look_up(
    host: str, port: int, until: float, thread: str, wanted: Callable[[], bool]
) -> list[Any]:
    # getaddrinfo has no timeout, and an unreachable name server blocks it for half a minute.
    lookups: list[_LookUp] = []
    while wanted() and (left := until - clock.now()) > 0:
        for one in _join(host, port, thread):
            if one not in lookups:
                lookups.append(one)
        _ended.wait_for(lambda: any(one.ended for one in lookups), min(left, _POLL_INTERVAL))
        found = next((one.found for one in lookups if one.found is not None), None)
        if found is not None:
            return found
        if lookups and all(one.ended for one in lookups):
            problem = lookups[-1].problem
            assert problem is not None
            raise type(problem)(*problem.args) from problem
    raise TimeoutError(f"the name {host!r} was not resolved in time")


def _join(host: str, port: int, thread: str) -> list[_LookUp]:
    """Return the running look-ups of the name, with one more if the latest is slow."""
    with _lock:
        those = _under_way.setdefault((host, port), [])
        # One may have its answer and be on its way to `_forget`: that answer is older than this call.
        those[:] = [one for one in those if not one.ended]
        slow = not those or clock.now() - those[-1].began > _PATIENCE
        every = sum(map(len, _under_way.values()))
        if slow and len(those) < _MOST_PER_NAME and every < _MOST:
            new = _LookUp(host, port)
            those.append(new)
            try:
                start_daemon(new.run, thread)
            except BaseException as error:
                _forget((host, port), new)
                if isinstance(error, NotApplied):
                    raise OSError(str(error)) from error
                raise
        if not those:
            del _under_way[host, port]
        return list(those)


def _forget(name: tuple[str, int], one: _LookUp) -> None:
    with _lock:
        those = _under_way.get(name, [])
        if one in those:
            those.remove(one)
        if not those:
            _under_way.pop(name, None)
    _ended.notify_all()


@at_fork_in_child
def _reset_in_child() -> None:
    global _under_way, _ended, _lock  # the threads and the lock are the parent's
    _under_way, _ended, _lock = {}, EventCount(), threading.RLock()
