"""A session that lives by its ttl alone, and the one beside it that entries are bound to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from math import inf

from leadership_core.budget import remaining_budget
from leadership_core.errors import (
    ConfigurationError,
    LeadershipError,
    SessionLost,
    StoreUnavailable,
)
from leadership_core.fork import inert_in_child
from leadership_core.session import Session

from .client import Client
from .pace import Pace

__all__ = ["COMPANION_OF", "ConsulSession"]

COMPANION_OF = "leadership entries of "
"""How the name of a companion begins; the id of its session follows."""


@inert_in_child("renew", "close", "companion")
class ConsulSession:
    """A session of Consul; see `leadership_core.store.Session`.

    When it ends, Consul unlocks its keys and leaves them there, as elections need it. Entries
    that are to go with it are bound to a companion, whose keys Consul deletes. That one is opened
    when the first entry is bound; from then on both are renewed and closed together, and the loss
    of either is the loss of the session.

    Args:
        client: of the store.
        session: its id.
        ttl: that it was opened with, in seconds.
        on_lost: called when a renewal says that it is gone.
        pace: of renewals that come to nothing.
    """

    def __init__(
        self,
        client: Client,
        session: str,
        ttl: float,
        on_lost: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace(inf, 1.0)
        self._pace.join()
        self._client = client
        self._id = session
        self._ttl = self._asked = ttl
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._companion: str | None = None
        self._closed = threading.Event()

    @classmethod
    def open(
        cls,
        client: Client,
        ttl: float,
        on_lost: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> ConsulSession:
        """Open one; raises `ConfigurationError` if the server refuses the ttl."""
        if not ttl >= 0.001:
            # "0s" would be taken: Consul reads it as a session that never ends.
            raise ConfigurationError(f"a ttl of {ttl!r} seconds is too short")
        made = client.create_session(ttl, client.options.lock_delay)
        return cls(client, made, ttl, on_lost, pace)

    @classmethod
    def of(cls, session: Session) -> ConsulSession:
        """Return it; raises `ConfigurationError` if it is not one of Consul's."""
        if not isinstance(session, cls):
            raise ConfigurationError(f"not a session of a Consul store: {session!r}")
        return session

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl(self) -> float:
        return self._ttl

    def renew(self) -> float:
        if (wait := self._pace.wait()) > 0:
            limit = remaining_budget() / 2
            self._closed.wait(min(wait, limit))
            if wait > limit:
                raise StoreUnavailable("renewals come to nothing; the next try comes later")
        self._pace.spend()
        try:
            self._ttl = self._renewed(self._id)
            if self._companion is not None:
                self._ttl = min(self._ttl, self._renewed(self._companion))
        except SessionLost:
            self._on_lost()
            if self._companion is not None:
                # What is left of the two must not keep an entry, or a lock, any longer.
                with contextlib.suppress(LeadershipError):
                    self.close()
            raise
        self._pace.refill()
        return self._ttl

    def _renewed(self, session: str) -> float:
        ttl = self._client.renew_session(session)
        if ttl < self._asked / 3:
            # To live with it would take more requests than an agent should get, or than are possible.
            raise SessionLost(
                f"the session was opened with a ttl of {self._asked:g} s, and Consul says {ttl:g} s"
            )
        return min(ttl, self._asked)  # nobody has asked for more, so it cannot be relied on

    def companion(self) -> str:
        """The id of the session that entries are bound to, which is opened if need be.

        Raises:
            SessionLost: this one is gone.
        """
        if self._companion is None:
            name = f"{COMPANION_OF}{self._id}"
            self._adopt(self._client.create_session(self._ttl, 0.0, name=name, deletes=True))
            # The ttl of both begins now, so that they end together. And had this one ended in the
            # meantime, the entry would be bound to what lives on.
            self.renew()
        elif self._client.session_name(self._id) is None:
            self.renew()
        found = self._companion
        if found is None or self._closed.is_set():
            raise SessionLost("the session was closed")
        return found

    def _adopt(self, new: str) -> None:
        with self._lock:
            wanted = self._companion is None and not self._closed.is_set()
            if wanted:
                self._companion = new
        if not wanted:  # another thread was faster, or has closed it; nothing is bound to this one
            self._client.destroy_session(new)

    def close(self) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._closed.set()
                self._pace.leave()
        if self._companion is not None:
            self._client.destroy_session(self._companion)
        self._client.destroy_session(self._id)

    def __repr__(self) -> str:
        return f"<ConsulSession {self._id} ttl={self._ttl:g}>"
