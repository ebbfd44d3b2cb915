"""A Consul session that depends on its ttl only, and the companion session of its entries.

See https://developer.hashicorp.com/consul/docs/automate/session.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from math import inf

from leadership_core.backend import (
    ConfigurationError,
    LeadershipError,
    RateLimiter,
    Session,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
    inert_in_child,
    remaining_timeout,
)

from .client import Client

__all__ = ["CompanionSessions", "ConsulSession"]

_COMPANION_OF = "leadership entries of "
"""How the name of a companion session begins; the id of its session follows."""

_MAX_KNOWN = 10_000


@inert_in_child("renew", "close", "companion")
class ConsulSession:
    """A session; thread-safe. See `leadership_core.backend.Session`.

    When it ends, Consul unlocks its keys and keeps them, as elections need it. Entries that are
    bound to it are locked by a companion session instead, whose keys Consul deletes. The companion
    is opened when the first entry is bound; from then on both are renewed and closed together, and
    the loss of either is the loss of the session.

    Args:
        client: of the store.
        session: its id.
        requested_ttl: seconds, as it was opened.
        on_lost: called when it turns out to have ended.
        limiter: of failed renewals.
    """

    def __init__(
        self,
        client: Client,
        session: str,
        requested_ttl: float,
        on_lost: Callable[[], object] = lambda: None,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._limiter = limiter or RateLimiter(1.0, inf)
        self._limiter.add_member()
        self._client = client
        self._id = session
        self._granted_ttl = self._requested_ttl = requested_ttl
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._companion: str | None = None
        self._closed = threading.Event()

    @classmethod
    def open(
        cls,
        client: Client,
        ttl: float,
        on_lost: Callable[[], object] = lambda: None,
        limiter: RateLimiter | None = None,
    ) -> ConsulSession:
        """Open a session; blocks for `remaining_timeout` at most.

        Args:
            client: of the store.
            ttl: seconds.
            on_lost: called when it turns out to have ended.
            limiter: of failed renewals.

        Raises:
            ConfigurationError: the server refuses the ttl.
            StoreUnavailable: no answer; a session that was opened all the same expires.
        """
        if not ttl >= 0.001:
            # Consul accepts "0s", as a session that never expires.
            raise ConfigurationError(f"a ttl of {ttl!r} seconds is too short")
        made = client.create_session(ttl, client.options.lock_delay)
        return cls(client, made, ttl, on_lost, limiter)

    @classmethod
    def of(cls, session: Session) -> ConsulSession:
        """Return the session; raises `ConfigurationError` if it is not one of Consul's."""
        if not isinstance(session, cls):
            raise ConfigurationError(f"not a session of a Consul store: {session!r}")
        return session

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl(self) -> float:
        return self._granted_ttl

    @property
    def closing_delays_others(self) -> bool:
        """Whether the keys that it has locked cannot be locked for a while when it is closed."""
        return self._client.options.lock_delay > 0

    def renew(self) -> float:
        if (delay := self._limiter.delay()) > 0:
            limit = remaining_timeout() / 2
            self._closed.wait(min(delay, limit))
            if delay > limit:
                raise StoreUnavailable(
                    f"session renewals are failing; backing off for {delay:.1f} s"
                )
        self._limiter.consume()
        try:
            self._granted_ttl = self._renewed(self._id)
            if self._companion is not None:
                self._granted_ttl = min(self._granted_ttl, self._renewed(self._companion))
        except SessionLost:
            self._on_lost()
            if self._companion is not None:
                # The one of the two that is left must not keep an entry, or a lock, any longer.
                with contextlib.suppress(LeadershipError):
                    self.close()
            raise
        self._limiter.reset()
        return self._granted_ttl

    def _renewed(self, session: str) -> float:
        granted = self._client.renew_session(session)
        if granted < self._requested_ttl / 3:
            # It would take more frequent renewals than an agent should get, or than are possible.
            raise SessionLost(
                f"the session was opened with a ttl of {self._requested_ttl:g} s, and Consul now "
                f"grants {granted:g} s"
            )
        return min(granted, self._requested_ttl)  # a longer one was not requested

    def companion(self) -> str:
        """The id of the session that entries are bound to; opens it if there is none.

        Raises:
            SessionLost: this session has ended.
        """
        if self._companion is None:
            name = f"{_COMPANION_OF}{self._id}"
            new = self._client.create_session(self._granted_ttl, 0.0, name=name, deletes=True)
            with self._lock:
                wanted = self._companion is None and not self._closed.is_set()
                if wanted:
                    self._companion = new
            if not wanted:  # another thread was faster, or has closed it; no entry is bound to it
                self._client.destroy_session(new)
            # The ttl of both begins now, so that they end together. And if this session has ended
            # meanwhile, an entry would be bound to a session that lives on.
            self.renew()
        elif self._client.session_name(self._id) is None:
            self.renew()
        found = self._companion
        if found is None or self._closed.is_set():
            raise SessionLost("the session was closed")
        return found

    def close(self) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._closed.set()
                self._limiter.remove_member()
        if self._companion is not None:
            self._client.destroy_session(self._companion)
        self._client.destroy_session(self._id)

    def __repr__(self) -> str:
        return f"<ConsulSession {self._id} ttl={self._granted_ttl:g}>"


class CompanionSessions:
    """Maps sessions to the companions that their entries are bound to, and back; thread-safe.

    The name of a companion contains the id of its session, for every program to read. It never
    changes, so it is read once.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def companion_id(self, session: ConsulSession) -> str:
        """The session that entries of `session` are bound to; raises `SessionLost`."""
        companion = session.companion()
        self._note(companion, session.id)
        return companion

    def session_id(self, companion: str | None) -> str | None:
        """The id of the session that users know, of the one that has locked an entry.

        Raises:
            StoreUnavailable: it is not known yet, and there is no answer.
        """
        if companion is None:
            return None
        if (known := self._known.get(companion)) is not None:
            return known
        try:
            name = self._client.session_name(companion)
        except StoreRefused:
            return companion  # an ACL policy may forbid to read sessions
        if name is None:
            return companion  # it has just ended
        is_companion = name.startswith(_COMPANION_OF)
        session = name.removeprefix(_COMPANION_OF) if is_companion else companion
        self._note(companion, session)
        return session

    def _note(self, companion: str, session: str) -> None:
        with self._lock:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[companion] = session
