"""Terms that end, one way or another, and the ones that follow."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from ...clock import now
from ...errors import SessionLost
from ...store import Capability
from ..case import needs
from ..contender import Contender
from ..lab import Lab
from .expectations import is_equal
from .races import hardly_leads, remove_claims

__all__ = ["SuccessionCases"]


class SuccessionCases:
    """What holds from one term to the next."""

    def test_the_session_of_the_leader_is_closed(self, lab: Lab) -> None:
        """The next one is woken and leads; the one without a session never does again."""
        key = lab.key("leader")
        first, second = Contender(lab, key), Contender(lab, key)
        assert first.leads(), "the first contender leads"
        assert second.waits(), "the second contender waits"
        assert second.is_woken(first.session.close), "the second was not told"
        assert second.leads(), f"the second does not lead: {second.standing()}"
        assert second.token > first.token, f"tokens {first.token} and then {second.token}"
        assert not hardly_leads(first), "one whose session is closed leads"
        with suppress(SessionLost):
            first.withdraw()
        assert hardly_leads(second), "the withdrawal of a dead session took the next one's claim"

    def test_nobody_enters_with_a_closed_session(self, lab: Lab) -> None:
        """It is told so, or never leads; the key stays free for others."""
        key = lab.key("leader")
        ghost, living = Contender(lab, key), Contender(lab, key)
        ghost.session.close()
        try:
            ghost.enter()
        except SessionLost:
            pass
        else:
            assert not hardly_leads(ghost), "one with a closed session leads"
        assert living.leads(), f"nobody can lead after a ghost has entered: {living.standing()}"
        is_equal(getattr(lab.store.leader(key), "token", None), living.token, "the leader's token")

    def test_no_phantom_is_elected(self, lab: Lab) -> None:
        """One waits and its session ends behind its back; when the leader goes, it does not lead."""
        key, store = lab.key("leader"), lab.open()
        leader, phantom = Contender(lab, key, b"leader"), Contender(lab, key, b"phantom")
        third = Contender(lab, key, b"third", store=store)
        assert leader.leads(), "the first contender leads"
        assert phantom.waits(), "the second contender waits"
        assert third.waits(), "the third contender waits"
        phantom.session.close()
        leader.withdraw()
        until = now() + 0.3
        while now() < until:
            assert not hardly_leads(phantom), "one without a session was elected"
            time.sleep(0.02)
        assert third.leads(), f"nobody is elected after a phantom: {third.standing()}"
        assert not hardly_leads(phantom), "one without a session was elected"
        phantom.session = lab.session(phantom.store)
        phantom.enter()
        assert phantom.waits(), "it does not stand again with a new session"
        third.withdraw()
        assert phantom.leads(), "it does not lead with a new session"

    def test_a_silent_leader_is_replaced_in_time(self, lab: Lab) -> None:
        """Not before the ttl after its last renewal was sent, and not long after it has expired."""
        key = lab.key("leader")
        session = lab.session(ttl=lab.ttl)
        silent = Contender(lab, key, b"silent", store=lab.store, session=session)
        second = Contender(lab, key, b"second")
        assert silent.leads(), "the first contender leads"
        sent = now()
        ttl = session.renew()
        answered = now()
        assert second.waits(), "the second contender waits"
        assert second.leads(lab.expiry), (
            f"nobody leads {now() - answered:.1f} s after the last renewal for {ttl:g} s"
        )
        led = now()
        assert led - sent >= ttl, f"replaced {led - sent:.2f} s after a renewal for {ttl:g} s"
        assert second.token > silent.token, f"tokens {silent.token} and then {second.token}"
        assert not hardly_leads(silent), "one whose session has expired leads"

    def test_a_session_that_expires_while_it_waits_never_leads(self, lab: Lab) -> None:
        """The phantom again, by the clock: it has waited in silence for longer than its ttl."""
        key = lab.key("leader")
        leader = Contender(lab, key, b"leader")
        session = lab.session(ttl=lab.ttl)
        sleeper = Contender(lab, key, b"sleeper", store=lab.store, session=session)
        assert leader.leads(), "the first contender leads"
        assert sleeper.waits(), "the second contender waits"

        def is_gone() -> bool:
            # Asking for its standing keeps no session alive; renewing it would.
            return lab.store.expires_within(session.ttl) + 0.2 < now() - begun

        begun = now()
        assert lab.eventually(is_gone, lab.expiry), "time stands still"
        leader.withdraw()
        assert not hardly_leads(sleeper), "one whose session has expired was elected"
        second = Contender(lab, key, b"second")
        assert second.leads(), f"nobody is elected after it: {second.standing()}"
        assert not hardly_leads(sleeper), "one whose session has expired was elected"

    def test_tokens_grow_whatever_ends_a_term(self, lab: Lab) -> None:
        """Over twenty terms: withdrawn, session closed, key deleted by hand, same name or another."""
        key, store = lab.key("leader"), lab.open()
        tokens = list[int]()
        session = lab.session(store)
        for number in range(20):
            value = b"same" if number % 5 else b"other"
            one = Contender(lab, key, value, store=store, session=session)
            assert one.leads(), f"term {number + 1}: {one.standing()}"
            tokens.append(one.token)
            ends: list[Callable[[], object]] = [
                one.withdraw,
                session.close,
                lambda: remove_claims(lab, key),
                one.withdraw,
            ]
            ends[number % 4]()
            if number % 4 == 1:
                session = lab.session(store)
            elif number % 4 == 2:
                one.withdraw()
        assert tokens == sorted(set(tokens)), f"the tokens do not grow: {tokens}"

    @needs(Capability.GLOBAL_REVISION)
    def test_tokens_grow_although_all_of_a_race_is_deleted(self, lab: Lab) -> None:
        """The key and everything below it, again and again: the store itself counts the terms."""
        key, store = lab.key("leader"), lab.open()
        tokens, session = list[int](), lab.session(store)
        for number in range(4):
            one = Contender(lab, key, store=store, session=session)
            assert one.leads(), f"term {number + 1}: {one.standing()}"
            tokens.append(one.token)
            lab.store.delete(key)
            lab.store.delete_tree(key)
            assert lab.eventually(lambda one=one: not hardly_leads(one)), "it leads without a claim"  # type: ignore[misc]
        assert tokens == sorted(set(tokens)), f"the tokens do not grow: {tokens}"

    def test_an_overwritten_claim_does_not_lead(self, lab: Lab) -> None:
        """Where the claim is an entry that a hand can write over, that ends the term."""
        key = lab.key("leader")
        leader = Contender(lab, key, b"leader")
        assert leader.leads(), "the only contender leads"
        found = [lab.store.get(key), *lab.store.list(key)]
        claims = [entry.key for entry in found if entry is not None and entry.session is not None]
        assert claims, "the store shows no entry that is bound to a session, and somebody leads"
        for claim in claims:
            lab.store.put(claim, b"by hand")
        assert lab.eventually(lambda: not hardly_leads(leader)), "it leads by a hand's entry"
        is_equal(lab.store.leader(key), None, "the leader after that")
        for claim in claims:
            lab.store.delete(claim)
        second = Contender(lab, key, b"second")
        leader.withdraw()
        assert second.leads(), f"nobody leads once that was deleted: {second.standing()}"
        assert second.token > leader.token, f"tokens {leader.token} and then {second.token}"
