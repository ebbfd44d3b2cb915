"""A ZooKeeper session that only renewals keep alive.

See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkSessions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

from leadership_core.backend import (
    ConfigurationError,
    Session,
    SessionLost,
    StoreError,
    StoreUnavailable,
    call_timeout,
    clock,
    inert_in_child,
    remaining_timeout,
)

from .client import Client
from .options import Options
from .quorum_check import quorum_check, verify_quorum_check
from .watch_dispatcher import WatchDispatcher

__all__ = ["HEARTBEAT_MARGIN", "ZooKeeperSession", "session_id"]

HEARTBEAT_MARGIN = 2 / 3
"""Ticks; fits into a ttl of two ticks, the shortest that servers grant."""

_CLOSED = SessionLost("the session was closed")
_JOIN = 0.5  # seconds for a disconnected thread to end
_FORWARDED = (
    0.52  # ticks within which a server forwards a heartbeat to the leader: a half, and a bit
)
_FORWARDING_PAUSE = 0.75  # the same, where there is time


def session_id(number: int) -> str:
    """Format the number of a session as ZooKeeper's own tools do."""
    return f"0x{number & 0xFFFF_FFFF_FFFF_FFFF:x}"


@inert_in_child("renew", "close", "usable_client", "raise_ended")
class ZooKeeperSession:
    """A session with a client of its own; see `leadership_core.backend.protocols.Session`.

    kazoo's own pings are suppressed. After a renewal the client sends heartbeats for half a ttl,
    which covers the time until the next renewal; after a whole ttl it ends the session and
    disconnects. So a session that is not renewed expires at the servers, and a connection that
    recovers does not revive a session that its owner has given up.

    Args:
        options: of the store.
        requested_ttl: seconds.
        ping: raises unless a server answers at present on another connection.

    Attributes:
        client: for all requests that belong to the session.
        dispatcher: of the client's watches.
    """

    def __init__(self, options: Options, requested_ttl: float, ping: Callable[[], None]) -> None:
        self._options = options
        self._ping = ping
        self._requested_ttl = requested_ttl
        self._granted_ttl = requested_ttl
        self._closed = False
        self._lock = threading.RLock()  # of closing; reentrant, as a signal handler may close, too
        self.dispatcher: WatchDispatcher = WatchDispatcher()
        self.client: Client = Client(
            options,
            requested_ttl,
            name="leadership-zookeeper-session",
            pinned=True,
            on_change=self.dispatcher.notify,
        )

    @classmethod
    def open(
        cls, options: Options, requested_ttl: float, ping: Callable[[], None]
    ) -> ZooKeeperSession:
        """Open a session within the remaining timeout; see the class for the arguments.

        Raises:
            ConfigurationError: the ttl is too short, or not a number.
            StoreUnavailable: no answer.
        """
        if not requested_ttl >= 0.001:
            raise ConfigurationError(f"a ttl of {requested_ttl!r} seconds is too short")
        session = cls(options, requested_ttl, ping)
        try:
            session._start()
        except BaseException:
            session.abandon()
            raise
        return session

    def _start(self) -> None:
        client = self.client
        client.disconnect_at = clock.now() + remaining_timeout()
        client.wait_connected()
        credentials, response = client.credentials, client.connect_response
        if credentials is None or response is None:
            raise StoreUnavailable("the connection broke before the session was opened")
        self.number: int
        self.number, self._password = credentials
        self._granted_ttl = response.timeout
        client.disconnect_at = clock.now() + self._granted_ttl
        client.send_heartbeats(clock.now() + self._granted_ttl / 2)

    @classmethod
    def of(cls, session: Session) -> ZooKeeperSession:
        """Check the type of a session.

        Raises:
            TypeError: it belongs to another kind of store.
        """
        if not isinstance(session, cls):
            raise TypeError(f"not a session of ZooKeeper: {session!r}")
        return session

    @property
    def id(self) -> str:
        """The number of the session, as ZooKeeper's own tools write it."""
        return session_id(self.number)

    @property
    def ttl(self) -> float:
        """The granted timeout in seconds, at the last renewal."""
        return self._granted_ttl

    @property
    def usable_client(self) -> Client:
        """The client; raises as `raise_ended` does if it is disconnected."""
        if self.client.closed:
            self.raise_ended()
        return self.client

    def renew(self) -> float:
        """Renew the session, and return the granted ttl; see `Session.renew` for the errors.

        One transaction. After an interruption of the heartbeats it takes 0.75 ticks longer.
        """
        # A read proves nothing about the ensemble, which may be about to expire the session. Nor
        # does `sync`: a leader that was cut off answers it until it notices, while another leader
        # may count the session's timeout. So a renewal is a transaction: the leader checks that the
        # session is alive, and a majority must log it. But the leader does not restart the timeout
        # for a transaction: it restarts it when a server forwards the sessions that it has heard
        # from, twice a tick. So a renewal proves that the session was alive at the latest heartbeat
        # that was certainly forwarded, and the margin covers the age of that. If it is too old, one
        # heartbeat is sent first, and the renewal waits until it is forwarded.
        client, sent = self.usable_client, clock.now()
        before = client.connect_response
        tick, doing = self._options.tick, "renew the session"
        monitor = client.send_heartbeats(sent + self._granted_ttl / 2)
        if (
            monitor is None
            or sent - monitor.last_confirmed_heartbeat(tick * _FORWARDED) > tick * HEARTBEAT_MARGIN
        ):
            client.request(doing, lambda kazoo: kazoo.exists_async("/"))
            client.pause(tick * _FORWARDING_PAUSE)
        (answer,) = client.request(doing, quorum_check)
        after = client.connect_response
        assert before is not None
        assert after is not None
        verify_quorum_check(answer, doing)
        # It may have reconnected in between, and was granted another timeout then.
        self._granted_ttl = min(before.timeout, after.timeout)
        client.disconnect_at = max(client.disconnect_at, sent + self._granted_ttl)
        return self._granted_ttl

    def close(self) -> None:
        """End the session at the servers, over a new connection if need be; idempotent.

        Raises:
            StoreUnavailable: the servers have not confirmed it within the remaining timeout.
        """
        # One thread asks the servers; the others wait within their own remaining timeouts.
        if not self._lock.acquire(timeout=max(0.0, remaining_timeout())):
            raise StoreUnavailable("another thread is ending the session, and gets no answer")
        try:
            if self._closed:
                return
            if self.client.closed and not self.client.ended_by_server:
                self._reconnect()
            confirmed = False
            try:
                if not self.client.ended_by_server:
                    with call_timeout(max(0.001, remaining_timeout() - 0.05)):
                        self.client.close_session()
                confirmed = True
            except SessionLost:
                confirmed = self.client.ended_by_server
                if not confirmed:
                    raise StoreUnavailable(
                        "the client was disconnected before the session was ended"
                    ) from None
            finally:
                self.abandon(
                    _CLOSED if confirmed else StoreUnavailable("the session is disconnected")
                )
            self._closed = True
        finally:
            self._lock.release()

    def raise_ended(self) -> NoReturn:
        """End a session whose client is disconnected at the servers, and raise.

        Raises:
            SessionLost: it has ended.
            StoreUnavailable: the servers have not confirmed that.
        """
        if not isinstance(self.client.close_reason, StoreUnavailable):
            self.client.raise_if_closed()
        self.close()
        raise SessionLost("the session has ended: it was not renewed in time")

    def _reconnect(self) -> None:
        """Connect a new client, in order to end the session."""
        # Connecting extends the session. Where requests arrive and answers do not, repeated
        # attempts would keep it alive, and with it a claim without a candidate.
        with call_timeout(remaining_timeout() / 2):
            self._ping()
        self.client.join(min(_JOIN, remaining_timeout()))
        self.client = Client(
            self._options,
            self._requested_ttl,
            name="leadership-zookeeper-session",
            pinned=True,
            resume=(self.number, self._password),
        )
        self.client.disconnect_at = clock.now() + remaining_timeout()

    def abandon(self, why: StoreError | None = None) -> None:
        """Disconnect it, and let it expire at the servers; blocks for 0.5 s at most."""
        self.client.disconnect(why or _CLOSED)
        self.client.join(min(_JOIN, remaining_timeout()))
        self.dispatcher.notify()

    def __repr__(self) -> str:
        # A traceback with variables may contain one that is not open yet.
        opened = "number" in vars(self)
        return f"<ZooKeeperSession {self.id if opened else 'not open'}>"
