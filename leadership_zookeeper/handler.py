"""How kazoo gets its thread, its sockets and its pauses from us.

A handler is kazoo's own seam for that. This one has no threads for callbacks: whatever is
called back, only sets a flag here, so the thread of the connection does it in passing. And
every wait in it ends when the way to the servers is cut, which no method of kazoo's does.
"""

from __future__ import annotations

import logging
import math
import select
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.retry import RetryFailedError

from leadership_core import clock
from leadership_core.addresses import Address, Addresses
from leadership_core.failures import ConnectFailure
from leadership_core.threads import start_daemon
from leadership_core.timing import Pace
from leadership_core.tls import ClientTLS, is_hang_up
from leadership_core.tracebacks import bare
from leadership_core.url import Host

from .frames import LONGEST, LONGEST_NAMES, TooLong
from .grant import Grant
from .wire import Tap, Way, dial

__all__ = ["Handler"]

log = logging.getLogger(__name__)

# Ticks between two touches. Twice a tick, a server tells ZooKeeper's leader whom it has heard of.
_TOUCH = 0.1

_LONGEST = 3600.0  # seconds: a poll refuses to wait for a month, which a server may grant

_READ = select.POLLIN | select.POLLPRI
_BROKEN = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """The thread, the sockets and the pauses of one client of kazoo.

    Attributes:
        way: what cuts all of it off.
        failed: the servers that were tried since the last success and could not be connected to.
        thread: kazoo's, once it has been started.
        tap: of the connection of now.
        too_long: why the last connection was broken, if an answer on it was too long.
        names_asked: says of the number of a request whether its answer is a list of names.
        touch_until: when to stop keeping the session alive, on `clock.now`.
        connects: how often kazoo has asked for a connection.

    Args:
        name: the thread's.
        addresses: where to connect, with what all clients of the store know of them.
        hosts: how many the URL has; kazoo itself gets numbers in their place (`placeholders`).
        tls: None for plain connections.
        patience: seconds for a server to take a connection, and again to answer to it.
        tick: seconds; the servers' measure of time.
        pings: whether kazoo may keep the session alive by itself, however long.
        granted: called with what a server grants when it is connected to.
        until: when the way is to be cut, on `clock.now`.
        failed: called when a server could not be connected to.
        ended: called as the last thing that the thread does, with the error that has ended it.
        pace: at which servers are to let it in, and others that have it, too; see `new_pace`.
    """

    def __init__(
        self,
        name: str,
        addresses: Addresses,
        hosts: int,
        tls: ClientTLS | None,
        patience: float,
        tick: float,
        *,
        pings: bool,
        granted: Callable[[Grant], None],
        until: Callable[[], float],
        failed: Callable[[], None],
        ended: Callable[[Exception | None], None],
        pace: Pace,
    ) -> None:
        super().__init__()
        self.way = Way()
        self.failed: dict[Address | Host, ConnectFailure] = {}
        self.thread: threading.Thread | None = None
        self.tap: Tap | None = None
        self.too_long: TooLong | None = None
        self.names_asked: Callable[[int], bool] = lambda _: False
        self._name = name
        self._addresses = addresses
        self._count = hosts
        self.connects = 0
        self._pace = pace
        self._trying: Address | Host | None = None
        self._tls = tls
        self._patience = patience
        self.touch_until = -math.inf
        self._interval = tick * _TOUCH
        self._pings = pings
        self._granted = granted
        self._until = until
        self._tell_failed = failed
        self._tell_ended = ended

    @property
    def placeholders(self) -> str:
        """What to tell kazoo instead of the hosts.

        It resolves names without a limit, forgets those that nobody knows, and says so to its
        log only. Numbers it lets through; which host to try is decided here.
        """
        return ",".join(f"127.0.0.1:{number + 1}" for number in range(self._count))

    @property
    def all_failed(self) -> bool:
        """Whether no server could be connected to since the last success."""
        return all(entry in self.failed for entry in self._addresses.entries())

    # -- what kazoo calls --------------------------------------------------------------------

    def start(self) -> None:
        """Nothing: there are no threads for callbacks."""

    def stop(self) -> None:
        """Nothing, likewise."""

    def spawn(self, func: Callable[..., object], *args: Any, **kwargs: Any) -> threading.Thread:
        def run() -> None:
            died: Exception | None = None
            try:
                func(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - of kazoo's; whose client it is says so
                died = error
            finally:
                self._tell_ended(died)

        self.thread = start_daemon(run, self._name)
        return self.thread

    def dispatch_callback(self, callback: Any) -> None:
        try:
            callback.func(*callback.args)
        except Exception:  # the connection is not to suffer
            log.exception("A watch has failed")

    def sleep_func(self, seconds: float) -> None:
        self.way.ended.wait(seconds)
        self._check()

    def create_connection(self, *_: Any, **__: Any) -> socket.socket:
        self.sleep_func(self._pace.wait(clock.now()))
        self.connects += 1
        until = clock.now() + self._share()
        problem: OSError = TimeoutError("no time left to connect")
        # One host, because kazoo goes to the next one by itself; but it knows no addresses.
        for attempt in self._addresses.attempts(
            until, wanted=lambda: not self.way.ended.is_set(), one_host=True
        ):
            self._trying = attempt.address or attempt.host
            if attempt.address is None:
                problem = attempt.error or problem
                self._note(problem)
                continue
            # Another one the next time, whatever comes of this one.
            self._addresses.used(attempt.address)
            self.tap = Tap(self._let_in, self._note, self._longest, pings=self._pings)
            context = None if self._tls is None else self._tls.context()
            try:
                return dial(self.way, attempt.address, attempt.until, self.tap, context)
            except OSError as error:
                self._note(error)
                problem = error
            self._check()
        raise problem

    def select(
        self,
        rlist: Sequence[Any],
        wlist: Sequence[Any],
        xlist: Sequence[Any],
        timeout: float | None = None,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        self._check()
        greeted = self.tap is not None and self.tap.greeted
        if not greeted:
            timeout = self._share() if timeout is None else min(timeout, self._share())
        elif _is_idle(rlist) and not self._pings:
            # An answer of nothing would have it send a ping, and break off when
            # the ping is not answered.
            timeout = None
        readable, writable = self._poll(rlist, wlist, timeout)
        if not (greeted or readable or writable):
            self._note(TimeoutError("it takes connections and does not answer"))
        return readable, writable, []

    # -- what it comes down to ---------------------------------------------------------------

    def connected(self) -> None:
        """The session stands; called in the thread."""
        self.failed.clear()

    def _let_in(self, grant: Grant) -> None:
        self._pace.spend(clock.now())
        self._granted(grant)

    def _share(self) -> float:
        return min(self._patience, max(0.001, self._until() - clock.now()))

    def _check(self) -> None:
        if not self.way.ended.is_set() and clock.now() >= self._until():
            self.way.cut()
        if self.way.ended.is_set():
            # Of all exceptions, this is the one that ends kazoo's thread in an orderly way.
            raise RetryFailedError("the client was cut off")

    def _longest(self, number: int) -> int:
        return LONGEST_NAMES if self.names_asked(number) else LONGEST

    def _note(self, error: Exception) -> None:
        if isinstance(error, TooLong):
            self.too_long = error
        log.debug("cannot connect to %s: %s", self._trying, error)
        where = self._trying
        assert where is not None  # there is no failure without a try
        self._addresses.failed(where)
        tls = self._tls if is_hang_up(error) and where not in self.failed else None
        if tls is not None and isinstance(where, Address):
            error = tls.why_hung_up(where, clock.now() + self._share()) or error
        has_certificate = self._tls is not None and self._tls.cert is not None
        self.failed[where] = ConnectFailure(
            str(where),
            bare(error),
            where.host if isinstance(where, Address) else where,
            has_certificate,
        )
        self._tell_failed()

    def _poll(
        self, rlist: Sequence[Any], wlist: Sequence[Any], timeout: float | None
    ) -> tuple[list[Any], list[Any]]:
        poll = select.poll()
        for one in rlist:
            poll.register(one, _READ)
        for one in wlist:
            poll.register(one, select.POLLOUT)
        idle = rlist[0] if _is_idle(rlist) and timeout is None else None
        # What TLS has decrypted already, no poll tells of.
        ahead = [one for one in rlist if _has_more(one)]
        end = math.inf if timeout is None else clock.now() + timeout
        while True:
            touch_at = math.inf if idle is None else self._touch(idle)
            events = dict(
                poll.poll(0 if ahead else _milliseconds(min(end, touch_at, self._until())))
            )
            if idle is not None and clock.now() >= self._until() and _is_writable(idle):
                idle.end_session()  # which nobody has renewed
                self.way.ended.set()
            self._check()
            readable = [
                one
                for one in rlist
                if one in ahead or events.get(one.fileno(), 0) & (_READ | _BROKEN)
            ]
            writable = [one for one in wlist if one.fileno() in events]
            if readable or writable or clock.now() >= end:
                return readable, writable

    def _touch(self, sock: Any) -> float:
        """Keep the session alive if it is time for that; returns when it is to be done next."""
        now = clock.now()
        if self.tap is None or now >= self.touch_until:
            return math.inf
        if now < self.tap.touched + self._interval:
            return self.tap.touched + self._interval
        if not self.tap.touching and _is_writable(sock):
            self.tap.note_touch()  # first: what is sent later is as good
            sock.touch()
        return now + self._interval


def _is_idle(rlist: Sequence[Any]) -> bool:
    """Whether kazoo is between two requests, which no public part of it tells.

    Its loop waits then for the socket and for the pipe by which new requests are announced; while
    it connects or reads the rest of an answer, it waits for the socket alone. The socket is first.
    (kazoo 2.9 to 2.11; `tests/zookeeper/test_sessions.py` fails with a release that differs.)
    """
    return len(rlist) > 1


def _has_more(one: Any) -> bool:
    return isinstance(one, ssl.SSLSocket) and one.pending() > 0


def _is_writable(sock: Any) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def _milliseconds(until: float) -> float | None:
    if until == math.inf:
        return None
    return min(max(0.0, until - clock.now()), _LONGEST) * 1000 + 1
