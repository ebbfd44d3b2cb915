"""Cases of the end of a term, and of the next term."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from ...backend.clock import now
from ...backend.protocols import Capability
from ...errors import SessionLost
from ..case import needs
from ..manual_candidate import ManualCandidate
from ..sandbox import Sandbox
from .assertions import is_equal
from .elections import claims_of, remove_claims, wrongly_leads

__all__ = ["HandoverCases"]


class HandoverCases:
    """Handovers by withdrawal, by a lost session, and by hand."""

    def test_closing_the_leaders_session_elects_the_next(self, sandbox: Sandbox) -> None:
        """The next candidate is woken and leads; the one without a session never leads again."""
        key = sandbox.key("leader")
        first, second = ManualCandidate(sandbox, key), ManualCandidate(sandbox, key)
        assert first.leads(), "the first candidate does not lead"
        assert second.waits(), "the second candidate does not wait"
        assert second.is_woken(first.session.close), "the second was not woken"
        assert second.leads(), f"the second does not lead: {second.status()}"
        assert second.token > first.token, f"tokens {first.token} and then {second.token}"
        assert not wrongly_leads(first), "one whose session is closed leads"
        with suppress(SessionLost):
            first.withdraw()
        assert wrongly_leads(second), "the withdrawal of an ended session removed the next claim"

    def test_enter_with_a_closed_session_never_leads(self, sandbox: Sandbox) -> None:
        """It raises SessionLost, or never leads; the key stays free for others."""
        key = sandbox.key("leader")
        ghost, living = ManualCandidate(sandbox, key), ManualCandidate(sandbox, key)
        ghost.session.close()
        try:
            ghost.enter()
        except SessionLost:
            pass
        else:
            assert not wrongly_leads(ghost), "one with a closed session leads"
        assert living.leads(), f"no candidate can lead after a ghost has entered: {living.status()}"
        is_equal(
            getattr(sandbox.store.leader(key), "token", None), living.token, "the leader's token"
        )

    def test_waiting_claim_without_a_session_is_never_elected(self, sandbox: Sandbox) -> None:
        """A waiting candidate whose session was ended does not lead when the leader leaves."""
        key, store = sandbox.key("leader"), sandbox.open()
        leader, phantom = (
            ManualCandidate(sandbox, key, b"leader"),
            ManualCandidate(sandbox, key, b"phantom"),
        )
        third = ManualCandidate(sandbox, key, b"third", store=store)
        assert leader.leads(), "the first candidate does not lead"
        assert phantom.waits(), "the second candidate does not wait"
        assert third.waits(), "the third candidate does not wait"
        phantom.session.close()
        leader.withdraw()
        until = now() + 0.3
        while now() < until:
            assert not wrongly_leads(phantom), "one without a session was elected"
            time.sleep(0.02)
        assert third.leads(), f"no candidate is elected after a phantom: {third.status()}"
        assert not wrongly_leads(phantom), "one without a session was elected"
        phantom.session = sandbox.session(phantom.store)
        phantom.enter()
        assert phantom.waits(), "it does not campaign again with a new session"
        third.withdraw()
        assert phantom.leads(), "it does not lead with a new session"

    def test_silent_leader_is_replaced_within_its_expiry(self, sandbox: Sandbox) -> None:
        """Not before the ttl after its last renewal was sent, and not long after it."""
        key = sandbox.key("leader")
        session = sandbox.session(ttl=sandbox.ttl)
        silent = ManualCandidate(sandbox, key, b"silent", store=sandbox.store, session=session)
        second = ManualCandidate(sandbox, key, b"second")
        assert silent.leads(), "the first candidate does not lead"
        sent = now()
        ttl = session.renew()
        answered = now()
        assert second.waits(), "the second candidate does not wait"
        assert second.leads(sandbox.expiry), (
            f"there is no leader {now() - answered:.1f} s after the last renewal for {ttl:g} s"
        )
        led = now()
        assert led - sent >= ttl, f"replaced {led - sent:.2f} s after a renewal for {ttl:g} s"
        assert second.token > silent.token, f"tokens {silent.token} and then {second.token}"
        assert not wrongly_leads(silent), "one whose session has expired leads"

    def test_waiting_claim_with_an_expired_session_is_never_elected(self, sandbox: Sandbox) -> None:
        """A candidate that has waited for longer than its ttl without a renewal does not lead."""
        key = sandbox.key("leader")
        leader = ManualCandidate(sandbox, key, b"leader")
        session = sandbox.session(ttl=sandbox.ttl)
        sleeper = ManualCandidate(sandbox, key, b"sleeper", store=sandbox.store, session=session)
        assert leader.leads(), "the first candidate does not lead"
        assert sleeper.waits(), "the second candidate does not wait"

        def is_gone() -> bool:
            # Asking for its status keeps no session alive; renewing it would.
            return sandbox.store.expires_within(session.ttl) + 0.2 < now() - begun

        begun = now()
        assert sandbox.eventually(is_gone, sandbox.expiry), "the session does not expire"
        leader.withdraw()
        assert not wrongly_leads(sleeper), "one whose session has expired was elected"
        second = ManualCandidate(sandbox, key, b"second")
        assert second.leads(), f"no candidate is elected after it: {second.status()}"
        assert not wrongly_leads(sleeper), "one whose session has expired was elected"

    def test_tokens_grow_whatever_ends_a_term(self, sandbox: Sandbox) -> None:
        """Twenty terms end by withdrawal, by a closed session, and by a deletion of the key."""
        key, store = sandbox.key("leader"), sandbox.open()
        tokens = list[int]()
        session = sandbox.session(store)
        for number in range(20):
            value = b"same" if number % 5 else b"other"
            one = ManualCandidate(sandbox, key, value, store=store, session=session)
            assert one.leads(), f"term {number + 1}: {one.status()}"
            tokens.append(one.token)
            ends: list[Callable[[], object]] = [
                one.withdraw,
                session.close,
                lambda: remove_claims(sandbox, key),
                one.withdraw,
            ]
            ends[number % 4]()
            if number % 4 == 1:
                session = sandbox.session(store)
            elif number % 4 == 2:
                one.withdraw()
        assert tokens == sorted(set(tokens)), f"the tokens do not grow: {tokens}"

    @needs(Capability.GLOBAL_REVISION)
    def test_tokens_grow_after_the_whole_election_is_deleted(self, sandbox: Sandbox) -> None:
        """The key and all keys below it are deleted again and again: the store itself counts."""
        key, store = sandbox.key("leader"), sandbox.open()
        tokens, session = list[int](), sandbox.session(store)
        for number in range(4):
            one = ManualCandidate(sandbox, key, store=store, session=session)
            assert one.leads(), f"term {number + 1}: {one.status()}"
            tokens.append(one.token)
            sandbox.store.delete(key)
            sandbox.store.delete_tree(key)
            ended = sandbox.eventually(lambda one=one: not wrongly_leads(one))  # type: ignore[misc]  # mypy infers no lambda with defaults
            assert ended, "it leads without a claim"
        assert tokens == sorted(set(tokens)), f"the tokens do not grow: {tokens}"

    def test_overwritten_claim_does_not_lead(self, sandbox: Sandbox) -> None:
        """Overwriting the claim's entry by hand ends the term."""
        key = sandbox.key("leader")
        leader = ManualCandidate(sandbox, key, b"leader")
        assert leader.leads(), "the only candidate does not lead"
        claims = [entry.key for entry in claims_of(sandbox, key)]
        assert claims, "the store shows no claim, although there is a leader"
        for claim in claims:
            sandbox.store.put(claim, b"by hand")
        assert sandbox.eventually(lambda: not wrongly_leads(leader)), "it leads by a hand's entry"
        is_equal(sandbox.store.leader(key), None, "the leader after that")
        for claim in claims:
            sandbox.store.delete(claim)
        second = ManualCandidate(sandbox, key, b"second")
        leader.withdraw()
        assert second.leads(), f"there is no leader once that was deleted: {second.status()}"
        assert second.token > leader.token, f"tokens {leader.token} and then {second.token}"
