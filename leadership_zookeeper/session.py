"""A session of ZooKeeper, which lives by our renewals alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

from leadership_core import clock
from leadership_core.budget import budget, remaining_budget
from leadership_core.errors import ConfigurationError, SessionLost, StoreError, StoreUnavailable
from leadership_core.fork import inert_in_child
from leadership_core.store import Session

from .bell import Bell
from .confirmation import check_confirmation, confirmation
from .link import Link
from .options import Options

__all__ = ["TOUCH_MARGIN", "ZooKeeperSession", "session_id"]

TOUCH_MARGIN = 2 / 3
"""Ticks; a ttl of two ticks, the shortest that servers grant, has room for it."""

_ENDED = SessionLost("the session was closed")
_JOIN = 0.5  # seconds for a thread that has been cut off to end
_TOLD = 0.52  # ticks in which a server tells the leader of a touch: a half, and a bit
_PAUSE = 0.75  # the same where nothing urges


def session_id(number: int) -> str:
    """How ZooKeeper's own tools write the number of a session."""
    return f"0x{number & 0xFFFF_FFFF_FFFF_FFFF:x}"


@inert_in_child("renew", "close", "usable_link", "end")
class ZooKeeperSession:
    """A session, and the one link that it is bound to; see `leadership_core.store.Session`.

    kazoo's own pings do not get through. The link keeps the session alive for half a ttl from a
    renewal on, which is longer than until the next one; it ends the session, and cuts itself
    off, when a ttl has passed. So the servers end a session that nobody renews, and one that is
    dead to its owner is not brought back by a connection that heals.

    Attributes:
        link: for all requests that belong to the session.
        bell: for the watches of the link.
    """

    def __init__(self, options: Options, ttl: float, hear: Callable[[], None]) -> None:
        self._options = options
        self._hear = hear
        self._asked = ttl
        self._ttl = ttl
        self._closed = False
        self._lock = threading.RLock()  # of closing; a signal handler may close, too
        self.bell = Bell()
        self.link = Link(
            options,
            ttl,
            name="leadership-zookeeper-session",
            pinned=True,
            changed=self.bell.ring,
        )

    @classmethod
    def open(cls, options: Options, ttl: float, hear: Callable[[], None]) -> ZooKeeperSession:
        """Open one within the budget.

        Args:
            options: where the servers are.
            ttl: seconds that are asked for.
            hear: raises unless the servers' answers arrive at present, over another connection.

        Raises:
            ConfigurationError: the ttl is none.
            StoreUnavailable: no answer.
        """
        if not ttl >= 0.001:
            raise ConfigurationError(f"a ttl of {ttl!r} seconds is too short")
        session = cls(options, ttl, hear)
        try:
            session._start()
        except BaseException:
            session.abandon()
            raise
        return session

    def _start(self) -> None:
        self.link.until = clock.now() + remaining_budget()
        self.link.wait_connected()
        found, grant = self.link.credentials, self.link.grant
        if found is None or grant is None:
            raise StoreUnavailable("the connection broke as soon as it was made")
        self.number, self._password = found
        self._ttl = grant.timeout
        self.link.until = clock.now() + self._ttl
        self.link.keep_touching(clock.now() + self._ttl / 2)

    @classmethod
    def of(cls, session: Session) -> ZooKeeperSession:
        if not isinstance(session, cls):
            raise TypeError(f"not a session of ZooKeeper: {session!r}")
        return session

    @property
    def id(self) -> str:
        return session_id(self.number)

    @property
    def ttl(self) -> float:
        return self._ttl

    @property
    def usable_link(self) -> Link:
        """The link, if the session is not cut off; raises as `end` does."""
        if self.link.over:
            self.end()
        return self.link

    def renew(self) -> float:
        # What a server answers by itself says nothing of the others, which may be about to end the
        # session. `sync` is no proof, either: a leader of theirs that has been cut off answers it
        # for as long as it has not noticed, and by then another one may count the session anew. So
        # the renewal is a transaction: ZooKeeper's leader looks whether the session stands, and a
        # majority has to write it down. The leader does not count anew for it, though: it counts
        # from what the servers tell it, twice a tick, of whom they have heard since. So what this
        # renewal proves is that the session stood at the latest touch of which it has been told
        # for certain, and the margin covers what that is older. Where it is too old, one touch
        # comes first, and time to tell.
        link, sent = self.usable_link, clock.now()
        before = link.grant
        tick, doing = self._options.tick, "renew the session"
        tap = link.keep_touching(sent + self._ttl / 2)
        if tap is None or sent - tap.told(tick * _TOLD) > tick * TOUCH_MARGIN:
            link.ask(doing, lambda client: client.exists_async("/"))
            link.pause(tick * _PAUSE)
        (answer,) = link.ask(doing, confirmation)
        after = link.grant
        assert before is not None
        assert after is not None
        check_confirmation(answer, doing)
        # It may have been connected anew in between, and granted another timeout.
        self._ttl = min(before.timeout, after.timeout)
        link.until = max(link.until, sent + self._ttl)
        return self._ttl

    def close(self) -> None:
        # Whoever ends it asks the servers; another thread waits no longer than its own budget.
        if not self._lock.acquire(timeout=max(0.0, remaining_budget())):
            raise StoreUnavailable("another thread is ending the session, and gets no answer")
        try:
            if self._closed:
                return
            if self.link.over and not self.link.ended_by_server:
                self._reconnect()
            confirmed = False
            try:
                if not self.link.ended_by_server:
                    with budget(max(0.001, remaining_budget() - 0.05)):
                        self.link.close_session()
                confirmed = True
            except SessionLost:
                confirmed = self.link.ended_by_server
                if not confirmed:
                    raise StoreUnavailable("the session was cut off before it was ended") from None
            finally:
                self.abandon(_ENDED if confirmed else StoreUnavailable("the session is cut off"))
            self._closed = True
        finally:
            self._lock.release()

    def end(self) -> NoReturn:
        """Say that nobody goes on with a session that is cut off, and have it ended.

        Raises:
            SessionLost: it has ended.
            StoreUnavailable: the servers have not confirmed that.
        """
        if not isinstance(self.link.lost, StoreUnavailable):
            self.link.check()
        self.close()
        raise SessionLost("the session has ended: it was not renewed in time")

    def _reconnect(self) -> None:
        """Connect once more, for nothing but ending it."""
        # To connect is to touch the session. Where requests arrive and their answers do not, one
        # attempt after the other would keep it alive, and with it a claim of nobody's.
        with budget(remaining_budget() / 2):
            self._hear()
        self.link.join(min(_JOIN, remaining_budget()))
        self.link = Link(
            self._options,
            self._asked,
            name="leadership-zookeeper-session",
            pinned=True,
            resume=(self.number, self._password),
        )
        self.link.until = clock.now() + remaining_budget()

    def abandon(self, why: StoreError | None = None) -> None:
        """Cut it off from the servers, and leave it to its ttl; takes a moment at most."""
        self.link.cut(why or _ENDED)
        self.link.join(min(_JOIN, remaining_budget()))
        self.bell.ring()

    def __repr__(self) -> str:
        # A traceback with variables may show one that is not open yet.
        opened = "number" in vars(self)
        return f"<ZooKeeperSession {self.id if opened else 'not open'}>"
