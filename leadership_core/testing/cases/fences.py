"""Cases of fenced writes, which the store refuses after the end of their term."""

from __future__ import annotations

from ...backend.entries import ABSENT
from ...backend.protocols import Capability
from ...errors import Conflict, Fenced
from ...store import Store
from ..case import needs
from ..manual_candidate import ManualCandidate
from ..sandbox import Sandbox
from .assertions import is_equal, raises

__all__ = ["FenceCases"]

_FENCED = Capability.FENCED_WRITES


class FenceCases:
    """Fenced writes during and after a term."""

    @needs(_FENCED)
    def test_fenced_write_succeeds_during_its_term(self, sandbox: Sandbox) -> None:
        """It succeeds on any connection, for a new key and for an existing one."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        leader = _leader(sandbox, key)
        fence = f"{leader.token}:{key}"
        first = leader.store.put(data, b"1", fence=fence)
        is_equal(sandbox.open().get(data), first, "what another connection reads")
        second = sandbox.open().put(data, b"2", fence=fence)
        is_equal(sandbox.store.get(data), second, "after a write from another connection")
        assert leader.status().__class__.__name__ == "Leading", "a fenced write ended its term"

    @needs(_FENCED)
    def test_fenced_write_may_be_conditional(self, sandbox: Sandbox) -> None:
        """Both conditions must hold: the term is valid, and the entry is the expected one."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        leader = _leader(sandbox, key)
        fence = f"{leader.token}:{key}"
        first = sandbox.store.put(data, b"1", fence=fence, expect=ABSENT)
        second = sandbox.store.put(data, b"2", fence=fence, expect=first)
        raises(
            Conflict,
            lambda: sandbox.store.put(data, b"3", fence=fence, expect=first),
            "a stale one",
        )
        leader.withdraw()
        raises(
            Fenced, lambda: sandbox.store.put(data, b"3", fence=fence, expect=second), "afterwards"
        )
        is_equal(sandbox.store.get(data), second, "what is there")

    @needs(_FENCED)
    def test_fenced_write_is_refused_after_its_leader_withdrew(self, sandbox: Sandbox) -> None:
        """It stays refused in the next term, of the same session or of another one."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        leader = _leader(sandbox, key)
        old = f"{leader.token}:{key}"
        kept = sandbox.store.put(data, b"1", fence=old)
        leader.withdraw()
        _refused(sandbox.store, data, old, "after the withdrawal")

        again = _leader(sandbox, key, like=leader)
        _refused(sandbox.open(), data, old, "in the next term of the same session")
        is_equal(sandbox.store.get(data), kept, "what is there")
        kept = sandbox.store.put(data, b"2", fence=f"{again.token}:{key}")
        again.withdraw()

        other = _leader(sandbox, key)
        for token in (leader.token, again.token):
            _refused(sandbox.store, data, f"{token}:{key}", "in another session's term")
        is_equal(sandbox.store.get(data), kept, "what is there")
        sandbox.store.put(data, b"3", fence=f"{other.token}:{key}")

    @needs(_FENCED)
    def test_fenced_write_with_a_forged_token_is_refused(self, sandbox: Sandbox) -> None:
        """Tokens that were never granted are refused, and those of other elections."""
        key, data, other = sandbox.key("leader"), sandbox.key("data"), sandbox.key("other")
        leader, rival = _leader(sandbox, key), _leader(sandbox, other)
        for token in {leader.token + 1, leader.token + 1000, max(0, leader.token - 1), 0}:
            _refused(
                sandbox.store, data, f"{token}:{key}", f"forged, the real one is {leader.token}"
            )
        if rival.token != leader.token:
            _refused(sandbox.store, data, f"{rival.token}:{key}", "the token of another election")
        _refused(
            sandbox.store,
            data,
            f"{leader.token}:{sandbox.key('other')}",
            "an election without a leader",
        )
        is_equal(sandbox.store.get(data), None, "what is there")

    @needs(_FENCED)
    def test_fenced_write_with_an_unbound_entry_is_refused(self, sandbox: Sandbox) -> None:
        """An entry at the election's key that is bound to no session is no claim."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        entry = sandbox.store.put(key, b"by hand")
        _refused(sandbox.store, data, f"{entry.revision}:{key}", "of an entry without a session")
        is_equal(sandbox.store.get(data), None, "what is there")

    @needs(_FENCED)
    def test_fenced_write_is_refused_after_the_claim_was_deleted(self, sandbox: Sandbox) -> None:
        """The claim is deleted by hand, with all keys below the election's key."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        leader = _leader(sandbox, key)
        sandbox.store.delete(key)
        sandbox.store.delete_tree(key)
        _refused(sandbox.store, data, f"{leader.token}:{key}", "after the claim was deleted")
        is_equal(sandbox.store.get(data), None, "what is there")

    @needs(_FENCED)
    def test_fenced_write_is_refused_after_the_session_was_closed(self, sandbox: Sandbox) -> None:
        """Another connection that holds the fence is refused, too."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        leader = _leader(sandbox, key)
        leader.session.close()
        _refused(sandbox.store, data, f"{leader.token}:{key}", "after the session was closed")
        is_equal(sandbox.store.get(data), None, "what is there")

    @needs(_FENCED)
    def test_fenced_write_is_refused_after_the_session_expired(self, sandbox: Sandbox) -> None:
        """The store's clock alone decides; only where sessions expire by observation, a candidate has to wait."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        leader = ManualCandidate(sandbox, key, session=sandbox.session(ttl=sandbox.ttl))
        assert leader.leads(), "the first candidate does not lead"
        fence = f"{leader.token}:{key}"
        if sandbox.expires_by_observation:
            assert ManualCandidate(sandbox, key).leads(sandbox.expiry), "there is no next leader"

        def is_refused() -> bool:
            try:
                sandbox.store.put(data, b"late", fence=fence)
            except Fenced:
                return True
            return False

        assert sandbox.eventually(is_refused, sandbox.expiry), "a fence outlived its silent session"
        _refused(sandbox.open(), data, fence, "on another connection")


def _leader(sandbox: Sandbox, key: str, like: ManualCandidate | None = None) -> ManualCandidate:
    if like is None:
        leader = ManualCandidate(sandbox, key)
    else:
        leader = ManualCandidate(sandbox, key, store=like.store, session=like.session)
    assert leader.leads(), f"the only candidate does not lead: {leader.status()}"
    return leader


def _refused(store: Store, data: str, fence: str, why: str) -> None:
    raises(
        Fenced, lambda: store.put(data, b"late", fence=fence), f"a write fenced by {fence}, {why}"
    )
