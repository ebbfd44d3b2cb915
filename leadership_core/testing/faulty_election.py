"""An election of a store's own whose calls meet faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ClaimUnknown, SessionLost, StoreUnavailable
from ..store import Claim, Closable, Election, Leader, Session, Standing

if TYPE_CHECKING:
    from .faulty_store import FaultyStore

__all__ = ["FaultyElection"]

T = TypeVar("T")


class FaultyClaim(Claim):
    """What the engine holds in place of the backend's claim.

    Attributes:
        inner: the backend's claim, once its request to enter has arrived.
        unknown: whether that request was lost or is late, as the engine sees it.
    """

    inner: Claim | None = None
    unknown = False

    def follow(self) -> FaultyClaim:
        """Take over what is known of the inner one."""
        if self.inner is not None:
            self.token, self.granted = self.inner.token, self.inner.granted
            self.settled = self.inner.settled and not self.unknown
        return self


class FaultyElection:
    """The race of the backend; see `leadership_core.Election`.

    Args:
        store: whose faults it meets.
        inner: the backend's own.
        key: with the prefix.
    """

    def __init__(self, store: FaultyStore, inner: Election, key: str) -> None:
        self._store, self._inner, self._key = store, inner, key

    def enter(self, session: Session, value: bytes) -> Claim:
        claim = FaultyClaim(self._key, session, value)
        own = getattr(session, "inner", session)

        def request() -> FaultyClaim:
            try:
                claim.inner = self._inner.enter(own, value)
            except ClaimUnknown as error:
                claim.inner = error.claim
                raise ClaimUnknown(str(error), claim.follow()) from error
            return claim.follow()

        try:
            return self._store.through("enter", request, session)
        except (SessionLost, ClaimUnknown):
            raise
        except StoreUnavailable as error:
            # Whether it has arrived, or is yet to, nobody is told: not even by reading back.
            claim.unknown, claim.settled = True, False
            claim.token, claim.granted = None, False
            raise ClaimUnknown(f"no answer to entering {self._key}: {error}", claim) from error

    def standing(self, claim: Claim) -> Standing:
        return self._about(claim, "standing", self._inner.standing)

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        own = _inner(claim)

        def arm(hear: Callable[[Any], None]) -> Closable:
            return self._inner.on_turn(own, lambda: hear(None))

        def woken(report: Any) -> None:
            if not isinstance(report, StoreUnavailable):
                wake()

        return self._store.watching("on_turn", woken, arm)

    def withdraw(self, claim: Claim) -> None:
        assert isinstance(claim, FaultyClaim)
        if claim.inner is None:
            return  # it has not arrived, and still may: not settled, so that it is asked again

        def withdraw(own: Claim) -> None:
            self._inner.withdraw(own)
            claim.unknown = False

        self._about(claim, "withdraw", withdraw)

    def leader(self) -> Leader | None:
        return self._store.through("leader", self._inner.leader)

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        return self._store.watching("watch_leader", on_change, self._inner.watch_leader)

    def _about(self, claim: Claim, call: str, ask: Callable[[Claim], T]) -> T:
        assert isinstance(claim, FaultyClaim)
        own = _inner(claim)
        try:
            return self._store.through(call, lambda: ask(own), claim.session)
        finally:
            claim.follow()


def _inner(claim: Claim) -> Claim:
    assert isinstance(claim, FaultyClaim)
    assert claim.inner is not None, "the claim has never arrived in the race"
    return claim.inner
