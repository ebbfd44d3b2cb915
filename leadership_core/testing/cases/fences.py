"""Fenced writes: the store itself refuses what belongs to a term that is over."""

from __future__ import annotations

from ...errors import Conflict, Fenced
from ...handle import StoreHandle
from ...store import ABSENT, Capability
from ..case import needs
from ..contender import Contender
from ..lab import Lab
from .expectations import is_equal, raises

__all__ = ["FenceCases"]

_FENCED = Capability.FENCED_WRITES


class FenceCases:
    """What `put(..., fence=...)` lets through."""

    @needs(_FENCED)
    def test_a_fenced_write_is_done_while_its_term_stands(self, lab: Lab) -> None:
        """With the fence as text, on any connection, for a new key and for one that is there."""
        key, data = lab.key("leader"), lab.key("data")
        leader = _leader(lab, key)
        fence = f"{leader.token}:{key}"
        first = leader.store.put(data, b"1", fence=fence)
        is_equal(lab.open().get(data), first, "what another connection reads")
        second = lab.open().put(data, b"2", fence=fence)
        is_equal(lab.store.get(data), second, "after a write from another connection")
        assert leader.standing().__class__.__name__ == "Leading", "a fenced write ended its term"

    @needs(_FENCED)
    def test_a_fence_goes_with_a_comparison(self, lab: Lab) -> None:
        """Both must hold: the term stands, and the entry is the expected one."""
        key, data = lab.key("leader"), lab.key("data")
        leader = _leader(lab, key)
        fence = f"{leader.token}:{key}"
        first = lab.store.put(data, b"1", fence=fence, expect=ABSENT)
        second = lab.store.put(data, b"2", fence=fence, expect=first)
        raises(
            Conflict, lambda: lab.store.put(data, b"3", fence=fence, expect=first), "a stale one"
        )
        leader.withdraw()
        raises(Fenced, lambda: lab.store.put(data, b"3", fence=fence, expect=second), "afterwards")
        is_equal(lab.store.get(data), second, "what is there")

    @needs(_FENCED)
    def test_a_fence_is_closed_when_its_leader_has_left(self, lab: Lab) -> None:
        """After the withdrawal, and in the next term of the same session or of another one."""
        key, data = lab.key("leader"), lab.key("data")
        leader = _leader(lab, key)
        old = f"{leader.token}:{key}"
        kept = lab.store.put(data, b"1", fence=old)
        leader.withdraw()
        _refused(lab.store, data, old, "after the withdrawal")

        again = _leader(lab, key, like=leader)
        _refused(lab.open(), data, old, "in the next term of the same session")
        is_equal(lab.store.get(data), kept, "what is there")
        kept = lab.store.put(data, b"2", fence=f"{again.token}:{key}")
        again.withdraw()

        other = _leader(lab, key)
        for token in (leader.token, again.token):
            _refused(lab.store, data, f"{token}:{key}", "in another session's term")
        is_equal(lab.store.get(data), kept, "what is there")
        lab.store.put(data, b"3", fence=f"{other.token}:{key}")

    @needs(_FENCED)
    def test_a_forged_token_opens_no_fence(self, lab: Lab) -> None:
        """Tokens that were never given, larger and smaller, and those of other elections."""
        key, data, other = lab.key("leader"), lab.key("data"), lab.key("other")
        leader, rival = _leader(lab, key), _leader(lab, other)
        for token in {leader.token + 1, leader.token + 1000, max(0, leader.token - 1), 0}:
            _refused(lab.store, data, f"{token}:{key}", f"forged, the real one is {leader.token}")
        if rival.token != leader.token:
            _refused(lab.store, data, f"{rival.token}:{key}", "the token of another election")
        _refused(lab.store, data, f"{leader.token}:{lab.key('nobody')}", "an election of nobody")
        is_equal(lab.store.get(data), None, "what is there")

    @needs(_FENCED)
    def test_a_fence_is_closed_when_the_claim_was_deleted(self, lab: Lab) -> None:
        """By hand, with all that is below the key."""
        key, data = lab.key("leader"), lab.key("data")
        leader = _leader(lab, key)
        lab.store.delete(key)
        lab.store.delete_tree(key)
        _refused(lab.store, data, f"{leader.token}:{key}", "after the claim was deleted")
        is_equal(lab.store.get(data), None, "what is there")

    @needs(_FENCED)
    def test_a_fence_is_closed_when_the_session_has_ended(self, lab: Lab) -> None:
        """Closed by its owner, with a fence that another connection holds."""
        key, data = lab.key("leader"), lab.key("data")
        leader = _leader(lab, key)
        leader.session.close()
        _refused(lab.store, data, f"{leader.token}:{key}", "after the session was closed")
        is_equal(lab.store.get(data), None, "what is there")

    @needs(_FENCED)
    def test_a_fence_is_closed_when_the_session_has_expired(self, lab: Lab) -> None:
        """By the store's clock alone: nobody has to elect another one first."""
        key, data = lab.key("leader"), lab.key("data")
        leader = Contender(lab, key, session=lab.session(ttl=lab.ttl))
        assert leader.leads(), "the first contender leads"
        fence = f"{leader.token}:{key}"

        def is_refused() -> bool:
            try:
                lab.store.put(data, b"late", fence=fence)
            except Fenced:
                return True
            return False

        assert lab.eventually(is_refused, lab.expiry), "a fence outlived its silent session"
        _refused(lab.open(), data, fence, "on another connection")


def _leader(lab: Lab, key: str, like: Contender | None = None) -> Contender:
    if like is None:
        leader = Contender(lab, key)
    else:
        leader = Contender(lab, key, store=like.store, session=like.session)
    assert leader.leads(), f"nobody else stands, and it does not lead: {leader.standing()}"
    return leader


def _refused(store: StoreHandle, data: str, fence: str, why: str) -> None:
    raises(
        Fenced, lambda: store.put(data, b"late", fence=fence), f"a write fenced by {fence}, {why}"
    )
