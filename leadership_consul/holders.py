"""Which session an entry is bound to, as users know it."""

from __future__ import annotations

import threading

from leadership_core.errors import StoreRefused

from .client import Client
from .session import COMPANION_OF, ConsulSession

__all__ = ["Holders"]

_MOST_KNOWN = 10_000


class Holders:
    """Translates what Consul says of a locked key; safe for several threads.

    Entries are bound to the companion of a session. Its name tells every program whose it is,
    and that never changes, so it is asked for once.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def holder(self, session: ConsulSession) -> str:
        """What entries of this session are bound to; raises `SessionLost`."""
        companion = session.companion()
        self._note(companion, session.id)
        return companion

    def user_of(self, holder: str | None) -> str | None:
        """The id of the session that users know.

        Raises:
            StoreUnavailable: it is not known yet, and there is no answer.
        """
        if holder is None:
            return None
        if (known := self._known.get(holder)) is not None:
            return known
        try:
            name = self._client.session_name(holder)
        except StoreRefused:
            return holder  # a policy may forbid to read sessions
        if name is None:
            return holder  # it has just ended
        user = name.removeprefix(COMPANION_OF) if name.startswith(COMPANION_OF) else holder
        self._note(holder, user)
        return user

    def _note(self, holder: str, user: str) -> None:
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[holder] = user
