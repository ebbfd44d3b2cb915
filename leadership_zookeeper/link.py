"""One client of kazoo, whose requests end in time and which can be cut off."""

from __future__ import annotations

import logging
import math
import struct
import threading
from collections.abc import Callable
from typing import Any

from kazoo import exceptions as zk
from kazoo.client import KazooClient
from kazoo.protocol.serialization import GetChildren, GetChildren2
from kazoo.protocol.states import KazooState, KeeperState

from leadership_core import clock
from leadership_core.budget import remaining_budget
from leadership_core.errors import (
    ConfigurationError,
    LeadershipError,
    SessionLost,
    StoreClosed,
    StoreError,
    StoreUnavailable,
)
from leadership_core.text import one_line
from leadership_core.timing import Pace

from .client import Goodbye, kazoo_client
from .confirmation import Confirmations
from .errors import ANSWERS, UNREAD, no_sense, refused_login, translated, unreached
from .grant import Grant
from .handler import Handler
from .options import Options
from .pace import new_pace
from .wire import Tap

__all__ = ["Link", "Pending", "Request"]

log = logging.getLogger(__name__)

Pending = Any
"""An answer of kazoo's that may not have come yet."""
Request = Callable[[KazooClient], Pending]

_PATIENCE = 2.0  # seconds at most for a server to take a connection, and again to answer
_ROUNDS = 0.5  # seconds for all servers to fail, over and over, before we say so
_UNREADABLE = (RuntimeError, struct.error, Warning)  # what kazoo raises of answers without sense
_SILENCE = 1.0  # seconds without an answer, at most, that a connection is given


class Link:
    """A connection to ZooKeeper that kazoo opens again when it breaks; safe for several threads.

    What it is shown never goes back, over connections and sessions: see `kazoo_client`.

    With `pinned` it has one session in all its life, which nothing but our own requests keeps
    alive; otherwise kazoo keeps it alive, and opens another one when it has ended.

    Args:
        options: where the servers are.
        timeout: of the session, in seconds; the servers may make it another one.
        name: of its thread.
        pinned: see above.
        resume: number and password of a session that it takes over.
        changed: called in its thread when it was connected, or has lost the session; where it is
            not pinned, also when it has lost the connection.
        pace: at which it is let in, where it shares one with the link before.
    """

    def __init__(
        self,
        options: Options,
        timeout: float,
        *,
        name: str,
        pinned: bool,
        resume: tuple[int, bytes] | None = None,
        changed: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        self.acl = options.acl
        self._login = options.login
        self._shown = 0 if options.login is None else options.login.password.version
        self.grant: Grant | None = None
        self.until = math.inf  # when it is to cut itself off, on `clock.now`
        self._pinned = pinned
        self._tell_changed = changed
        self._timeout = timeout
        self._changed = threading.Condition()
        self.connected = False
        self.lost: StoreError | None = None  # why it will never be connected again
        self._session = resume[0] if resume else None
        self.ended_by_server = False
        self._given_up = False  # by kazoo, although it was neither cut off nor ended
        self._down_since = math.inf
        self._rounds_failed_at = math.inf
        self._confirmations = Confirmations()
        self._handler = Handler(
            name,
            options.addresses,
            len(options.hosts),
            options.tls,
            min(_PATIENCE, timeout / 3),
            options.tick,
            pings=not pinned,
            granted=self._granted,
            until=lambda: self.until,
            failed=self._failed,
            ended=self._ended,
            pace=pace or new_pace(options),
        )
        self._client = kazoo_client(options, self._handler, timeout, resume)
        self._handler.names_asked = self._names_asked
        self._client.add_listener(self._state_changed)
        try:
            self._client.start_async()
        except BaseException:  # no thread can be started now: it has sockets by then
            self._client.close()
            raise

    @property
    def credentials(self) -> tuple[int, bytes] | None:
        """Number and password of the session, while it is connected."""
        found: tuple[int, bytes] | None = self._client.client_id
        return found

    @property
    def over(self) -> bool:
        """Whether it will never be connected again."""
        return self.lost is not None

    def keep_touching(self, until: float) -> Tap | None:
        """Keep the session alive until then, on `clock.now`; returns what has been done so far."""
        self._handler.touch_until = until
        return self._handler.tap

    @property
    def down_for(self) -> float:
        """Seconds since the connection was lost; 0.0 if it stands, or never did."""
        return max(0.0, clock.now() - self._down_since)

    def check(self) -> None:
        """Raise if it will never be connected again.

        Raises:
            SessionLost: the servers have ended the session.
            StoreClosed: the store is closed.
            StoreUnavailable: it was cut off, or kazoo has given it up.
        """
        if self.lost is not None:
            raise type(self.lost)(*self.lost.args)

    # -- requests ----------------------------------------------------------------------------

    def wait_connected(self) -> None:
        """Return once it is connected; raises as `check`, or if that takes longer than there is."""
        begun = clock.now()
        given = remaining_budget()
        with self._changed:
            while not self.connected:
                self.check()
                now = clock.now()
                patience = max(begun, self._rounds_failed_at) + _ROUNDS
                left = min(begun + given, patience) - now
                if left <= 0:
                    raise unreached(tuple(self._handler.failed.values()), given)
                self._changed.wait(left)
        if self.grant is None:
            self.cut(StoreUnavailable(UNREAD))  # for others who wait: nobody has closed the store
            raise ConfigurationError(UNREAD)

    def ask(
        self, doing: str, *requests: Request, check: Callable[[Any], None] = lambda _: None
    ) -> list[Any]:
        """Send the requests in one go, and return their answers, which may be `errors.ANSWERS`.

        Args:
            doing: what cannot be done if that fails, for the message.
            requests: each calls one of the ``_async`` methods of kazoo's client; they are served
                in this order.
            check: called with each answer as it comes. If it raises, the connection is broken, so
                that those which are still to come are not read.

        Raises:
            SessionLost: the session has ended.
            StoreUnavailable: no answer.
        """
        found = []
        for one in self.send(*requests):
            found.append(self.answer(one, doing))
            try:
                check(found[-1])
            except BaseException:
                self._handler.way.drop()
                raise
        return found

    def ask_confirmed(self, doing: str, *requests: Request) -> list[Any]:
        """See `ask`; the answers are linearizable, which costs a transaction.

        It is sent before the requests, and threads that wait share it; see `confirmation`.
        """
        pending = self._confirmations.send(self, doing)
        sent = self.send(*requests)
        self._confirmations.finish(self, pending, doing)
        return [self.answer(one, doing) for one in sent]

    def send(self, *requests: Request) -> list[Pending]:
        """See `ask`."""
        self.wait_connected()
        return self.post(*requests)

    def post(self, *requests: Request) -> list[Pending]:
        """Send without waiting until it is connected."""
        self._show_new_password()
        return [request(self._client) for request in requests]

    def _show_new_password(self) -> None:
        """Show the servers a password that has changed in its file, ahead of the next request.

        The old one is not taken back, so that the nodes that it has made stay within reach.
        """
        if self._login is None or (version := self._login.password.version) == self._shown:
            return
        self._shown = version
        self._client.add_auth_async("digest", self._login.digest())

    def answer(self, pending: Pending, doing: str, *, last: bool = False) -> Any:
        """See `ask`; with `last` the answer is that the session has ended."""
        begun = clock.now()
        given = remaining_budget()
        try:
            with translated(doing):
                found = pending.get(timeout=given)
        except ANSWERS as error:
            found = error
        except zk.SessionExpiredError as error:  # or the client was closed
            self.check()
            if self._pinned:
                raise SessionLost("ZooKeeper has ended the session") from error
            raise StoreUnavailable(f"cannot {doing}: the session has ended") from error
        except self._handler.timeout_exception as error:
            self._suspect(begun)
            problem = f"cannot {doing}: ZooKeeper gave no answer within {given:.2f} s"
            raise StoreUnavailable(problem) from error
        except LeadershipError as error:
            if (too_long := self._handler.too_long) is not None:
                raise StoreUnavailable(f"cannot {doing}: {too_long}") from error
            raise
        except Exception as error:  # kazoo cannot read it; what comes next is worth no more
            self._handler.way.drop()
            raise no_sense(doing, error) from error
        if self._pinned and not last:
            self.check()  # an answer is worth nothing once the session has ended
        return found

    def pause(self, seconds: float) -> None:
        """Wait for so long, unless it is cut off meanwhile, or the budget is shorter."""
        if remaining_budget() <= seconds:
            raise StoreUnavailable(
                f"to renew a session takes {seconds:g} s after an interruption, and that is too long"
            )
        self._handler.way.ended.wait(seconds)
        self.check()

    def _suspect(self, since: float) -> None:
        """A request got no answer: if nothing else came in either, try another connection.

        kazoo would not: each request that it sends puts its own check off, for ever.
        """
        tap, now = self._handler.tap, clock.now()
        if tap is None or tap.heard > since:
            return
        if now - since >= min(_SILENCE, self._timeout / 10):
            self._handler.way.drop()

    # -- the end -----------------------------------------------------------------------------

    def close_session(self) -> None:
        """End the session at the server; returns when the server has confirmed it.

        Raises:
            SessionLost: it has ended already.
            StoreUnavailable: no answer.
        """

        # kazoo's own `stop` does not say whether there was an answer, and may wait for ten seconds.
        def close(client: KazooClient) -> Pending:
            pending = client.handler.async_result()
            client._call(Goodbye(), pending)  # noqa: SLF001
            return pending

        (pending,) = self.send(close)
        self.answer(pending, "end the session", last=True)
        with self._changed:
            self.ended_by_server, self.lost = True, SessionLost("the session was closed")

    def cut(self, why: StoreError | None = None) -> None:
        """Break the connection and let no other begin; from any thread, waits for nothing."""
        with self._changed:
            if self.lost is None:
                self.lost = why or StoreClosed("the ZooKeeper store is closed")
            self.connected = False
            self._changed.notify_all()
        self._handler.way.cut()

    def join(self, timeout: float) -> None:
        """After `cut`: wait for its thread to end, at most so many seconds."""
        thread = self._handler.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    # -- in the thread of kazoo --------------------------------------------------------------

    def _granted(self, grant: Grant) -> None:
        with self._changed:
            ended = self._pinned and self._session not in {None, grant.session}
            if ended:
                self.ended_by_server = True
                self.lost = self.lost or SessionLost("ZooKeeper has ended the session")
                self._changed.notify_all()
            elif grant.timeout > 0:
                self.grant, self._session = grant, grant.session
        if ended:
            self._handler.way.cut()  # or kazoo opens another one

    def _names_asked(self, number: int) -> bool:
        try:
            request, _, asked = self._client._pending[0]  # noqa: SLF001 - kazoo says it nowhere else
        except (AttributeError, LookupError, TypeError, ValueError):
            return False
        return bool(asked == number and isinstance(request, GetChildren | GetChildren2))

    def _failed(self) -> None:
        with self._changed:
            if self._handler.all_failed and self._rounds_failed_at == math.inf:
                self._rounds_failed_at = clock.now()
            self._changed.notify_all()

    def _state_changed(self, state: str) -> None:
        with self._changed:
            self.connected = state == KazooState.CONNECTED and self.lost is None
            self._down_since = math.inf if self.connected else clock.now()
            if self.connected:
                self._handler.connected()
                self._handler.too_long = None
                self._rounds_failed_at = math.inf
            elif state == KazooState.LOST:
                self.lost = self.lost or self._loss(self._client.client_state)
            self._changed.notify_all()
            over = self.lost is not None
        if over:
            self._handler.way.cut()
        if over or self.connected or not self._pinned:
            self._tell_changed()  # what may have changed is to be read, which takes a connection

    def _ended(self, error: Exception | None) -> None:
        # The last thing that the thread does. kazoo's `stop`, which others would have to call for
        # this, waits for ten seconds in the worst case.
        self._client.close()
        with self._changed:
            unsaid = self.lost is None  # kazoo says by itself that it gives up, in most cases
            if unsaid:
                self.connected, self._given_up = False, True
                self.lost = StoreUnavailable(f"the thread of kazoo's client has ended: {error!r}")
                self._changed.notify_all()
        if unsaid:
            self._handler.way.cut()
            self._tell_changed()
        if isinstance(error, _UNREADABLE):
            log.warning(
                "kazoo cannot read what the server sends, and has ended its client; "
                "another one takes its place: %s",
                one_line(f"{type(error).__name__}: {error}"),
            )
        elif error is not None and self._given_up:
            log.error(
                "a thread of kazoo has died of an unexpected error; another client takes its place",
                exc_info=error,
            )
        elif error is not None:
            log.debug("a client of kazoo that was cut off has ended: %r", error)

    def _loss(self, state: KeeperState) -> StoreError | None:
        if state == KeeperState.AUTH_FAILED:
            return refused_login()
        if self._pinned and state == KeeperState.EXPIRED_SESSION:
            self.ended_by_server = True
            return SessionLost("ZooKeeper has ended the session")
        if self._pinned and clock.now() >= self.until:
            # Which is no word of the servers: they may not have ended it yet.
            return StoreUnavailable("the session was not renewed in time, and is cut off")
        if state == KeeperState.CLOSED:
            self._given_up = True
            return StoreUnavailable("kazoo has given up the connection")
        return None  # it opens another session
