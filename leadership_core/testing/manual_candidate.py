"""A candidate that a test drives by hand, on the plugin's election and without the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..backend.clock import now
from ..backend.protocols import (
    Absent,
    Claim,
    ClaimStatus,
    Closable,
    Election,
    Leading,
    Session,
    Waiting,
)
from ..store import Store
from . import recorders
from .sandbox import Sandbox

__all__ = ["ManualCandidate"]


class ManualCandidate:
    """One session in one election; it makes the calls that the engine makes, one at a time.

    Example:
        >>> first, second = ManualCandidate(sandbox, "jobs"), ManualCandidate(sandbox, "jobs")
        >>> assert first.leads()
        >>> assert second.waits()
        >>> assert second.is_woken(first.withdraw)
        >>> assert second.leads()

    Args:
        sandbox: closes the session at its end.
        key: the key of the election.
        value: the value that followers see.
        store: the connection; by default one of its own.
        session: the session; by default one of its own that does not expire.

    Attributes:
        token: the token of its last term.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        key: str,
        value: bytes = b"candidate",
        *,
        store: Store | None = None,
        session: Session | None = None,
    ) -> None:
        self.sandbox = sandbox
        self.store: Store = store or sandbox.open()
        self.session: Session = session or sandbox.session(self.store)
        self.election: Election = self.store.election(key)
        self.value = value
        self.token: int = 0
        self._woken = threading.Event()
        self._watch: Closable | None = None
        self._claim: Claim | None = None

    @property
    def claim(self) -> Claim:
        """The last claim."""
        assert self._claim is not None, "it has not entered"
        return self._claim

    def enter(self) -> Claim:
        """Enter the election, and watch the claim."""
        self._claim = self.election.enter(self.session, self.value)
        if self._watch is not None:
            self._watch.close()
        watch = self._watch = self.election.watch_claim(self._claim, self._woken.set)
        self.sandbox.at_end(watch.close)
        return self._claim

    def status(self) -> ClaimStatus:
        """Return the status of the claim."""
        return self.election.status(self.claim)

    def leads(self, within: float | None = None) -> bool:
        """Campaign until it leads, and keep the token; returns False if it does not in time.

        It polls only where the store does not watch the claim.

        Args:
            within: seconds; by default 5.
        """
        until = now() + (recorders.DEFAULT_WAIT if within is None else within)
        status = self._enter_and_query() if self._claim is None else self.status()
        while not isinstance(status, Leading):
            if (left := until - now()) <= 0:
                return False
            if isinstance(status, Absent):
                self._woken.wait(min(left, 0.02))
                status = self._enter_and_query()
                continue
            # A claim that the store does not watch must be queried again; others are woken.
            self._woken.wait(left if status.watched else min(left, 0.05))
            status = self._query()
        self.token = status.token
        return True

    def waits(self) -> bool:
        """Enter if it has not, and return whether another candidate leads."""
        status = self._enter_and_query() if self._claim is None else self.status()
        return isinstance(status, Waiting)

    def is_woken(self, by: Callable[[], object]) -> bool:
        """Call `by`, and return whether the watch of the claim wakes it within 5 s."""
        self._woken.clear()
        by()
        return self._woken.wait(recorders.DEFAULT_WAIT)

    def withdraw(self) -> None:
        """Withdraw the claim."""
        self.election.withdraw(self.claim)

    def _enter_and_query(self) -> ClaimStatus:
        claim = self.enter()
        if claim.granted and claim.token is not None:
            return Leading(claim.token)
        return self._query()

    def _query(self) -> ClaimStatus:
        self._woken.clear()
        return self.status()
