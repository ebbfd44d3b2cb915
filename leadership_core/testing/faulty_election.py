"""An election of a store's own, with injected faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..backend.protocols import (
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Closable,
    Election,
    Leader,
    Session,
)
from ..errors import SessionLost, StoreUnavailable
from .fault_injection import FaultInjector

__all__ = ["FaultyElection"]

T = TypeVar("T")


class FaultyClaim(Claim):
    """The claim that the engine holds in place of the backend's claim.

    Attributes:
        inner: the backend's claim, once the request to enter has arrived.
        unknown: whether the engine got no answer to that request.
    """

    inner: Claim | None = None
    unknown = False

    def update(self) -> FaultyClaim:
        """Take over the state of the inner claim."""
        if self.inner is not None:
            self.token: int | None = self.inner.token
            self.granted: bool = self.inner.granted
            self.settled: bool = self.inner.settled and not self.unknown
        return self


class FaultyElection:
    """The election of the backend, with injected faults; see `leadership_core.backend.Election`.

    Args:
        injector: decides which calls meet which faults.
        inner: the backend's own election.
        key: the key, including the prefix of the URL.
    """

    def __init__(self, injector: FaultInjector, inner: Election, key: str) -> None:
        self._injector, self._inner, self._key = injector, inner, key

    def enter(self, session: Session, value: bytes) -> Claim:
        claim = FaultyClaim(self._key, session, value)
        own = getattr(session, "inner", session)

        def request() -> FaultyClaim:
            try:
                claim.inner = self._inner.enter(own, value)
            except ClaimOutcomeUnknown as error:
                claim.inner = error.claim
                raise ClaimOutcomeUnknown(str(error), claim.update()) from error
            return claim.update()

        try:
            return self._injector.invoke("enter", request, session)
        except (SessionLost, ClaimOutcomeUnknown):
            raise
        except StoreUnavailable as error:
            # Whether it has arrived stays unknown: reading back would not show it either.
            claim.unknown, claim.settled = True, False
            claim.token, claim.granted = None, False
            raise ClaimOutcomeUnknown(
                f"no answer to entering {self._key}: {error}", claim
            ) from error

    def status(self, claim: Claim) -> ClaimStatus:
        return self._about(claim, "status", self._inner.status)

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        own = _inner(claim)

        def arm(deliver: Callable[[Any], None]) -> Closable:
            return self._inner.watch_claim(own, lambda: deliver(None))

        def woken(report: Any) -> None:
            if not isinstance(report, StoreUnavailable):
                wake()

        return self._injector.watching("watch_claim", woken, arm)

    def withdraw(self, claim: Claim) -> None:
        assert isinstance(claim, FaultyClaim)
        if claim.inner is None:
            return  # it may still arrive: the claim is not settled, so the engine asks again

        def withdraw(own: Claim) -> None:
            self._inner.withdraw(own)
            claim.unknown = False

        self._about(claim, "withdraw", withdraw)

    def leader(self) -> Leader | None:
        return self._injector.invoke("leader", self._inner.leader)

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        return self._injector.watching("watch_leader", on_change, self._inner.watch_leader)

    def _about(self, claim: Claim, call: str, ask: Callable[[Claim], T]) -> T:
        assert isinstance(claim, FaultyClaim)
        own = _inner(claim)
        try:
            return self._injector.invoke(call, lambda: ask(own), claim.session)
        finally:
            claim.update()


def _inner(claim: Claim) -> Claim:
    assert isinstance(claim, FaultyClaim)
    assert claim.inner is not None, "the request to enter has not arrived"
    return claim.inner
