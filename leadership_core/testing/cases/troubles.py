"""What goes wrong between a candidate and the store, made by a `FaultyStore` around it."""

from __future__ import annotations

import time

from ...candidate import Candidate
from ...clock import now
from ...events import Lost, LostReason
from ...follower import Follower
from ..faults import Fault
from ..faulty_store import FaultyStore
from ..heard import PATIENCE
from ..history import History, check_history
from ..lab import Lab
from ..witness import Witness
from .candidates import elected
from .expectations import is_equal, is_false, is_true
from .races import remove_claims

__all__ = ["TroubleCases"]

# A store's own election has the first of the two, one made of reads and writes the second.
_ENTER = ("enter", "put_claim")
_WITHDRAW = ("withdraw", "delete")


class TroubleCases:
    """Lost requests and answers, dead sessions, and hands that delete."""

    def test_a_leader_that_is_cut_off_stops_believing_in_time(self, lab: Lab) -> None:
        """Before another one is elected; when the store is back it stands again."""
        key, history = lab.key("leader"), History()
        cut = FaultyStore(lab.backend())
        first = Candidate(lab.handle(cut), key, "cut off", ttl=lab.ttl)
        second = Candidate(lab.open(), key, "fine", ttl=lab.ttl)
        witnesses = [Witness(history, first, "first")]
        term = elected(first)
        witnesses.append(Witness(history, second, "second"))
        cut.inject(Fault.REQUEST_LOST)
        begun = now()
        later = elected(second, lab.expiry)
        is_false(first.is_leader, "belief of the one that is cut off, once another one leads")
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        assert now() - begun > lab.ttl / 3, "another one was elected before the lease could be over"
        cut.heal()
        is_true(second.resign(4 * PATIENCE), "resign")
        elected(first)
        _end(history, witnesses, [first, second])

    def test_a_renewal_that_fails_once_costs_nothing(self, lab: Lab) -> None:
        """It is sent again in time: the term goes on."""
        faulty = FaultyStore(lab.backend())
        candidate = Candidate(lab.handle(faulty), lab.key("leader"), "a", ttl=lab.ttl)
        term = elected(candidate)
        for fault in (Fault.UNAVAILABLE, Fault.REPLY_LOST):
            faulty.script("renew", fault)
            before = faulty.calls["renew"]
            sent = lab.eventually(lambda n=before: faulty.calls["renew"] >= n + 2, lab.ttl)  # type: ignore[misc]
            assert sent, "a renewal that failed was not sent again"
        assert candidate.term is term, "one renewal that failed has ended the term"
        is_true(candidate.stop(), "stop")

    def test_a_lost_answer_to_entering_is_no_second_leader(self, lab: Lab) -> None:
        """Nor one that nobody knows of: it is elected in the end, and all is gone when it stops."""
        for fault in (Fault.REPLY_LOST, Fault.REQUEST_LOST, Fault.LATE):
            key, faulty = lab.key("leader"), FaultyStore(lab.backend())
            candidate = Candidate(lab.handle(faulty), key, "a", ttl=lab.ttl)
            faulty.inject(fault, *_ENTER, times=1)
            term = elected(candidate, lab.expiry)
            found = lab.store.leader(key)
            is_equal(found and found.token, term.token, f"{fault}: the leader that others see")
            candidate.stop()
            assert lab.eventually(lambda key=key: lab.store.leader(key) is None, lab.expiry), (  # type: ignore[misc]
                f"{fault}: a claim is left that nobody wants"
            )
            other = Candidate(lab.open(), key, "b", ttl=lab.ttl)
            later = elected(other, lab.expiry)
            assert later.token > term.token, f"tokens {term.token} and {later.token}"
            is_true(other.stop(), "stop")

    def test_resign_promises_only_what_the_store_confirmed(self, lab: Lab) -> None:
        """With answers lost and requests refused: True once the claim is gone, and not before."""
        key, faulty = lab.key("leader"), FaultyStore(lab.backend())
        candidate = Candidate(lab.handle(faulty), key, "a", ttl=lab.ttl)
        elected(candidate)
        for call in _WITHDRAW:
            faulty.script(call, Fault.UNAVAILABLE, Fault.REPLY_LOST)
        confirmed = candidate.resign(4 * PATIENCE)
        is_false(candidate.is_leader, "is_leader after resign")
        if confirmed:
            is_equal(lab.store.leader(key), None, "the leader after a resign that was confirmed")
        other = Candidate(lab.open(), key, "b", ttl=lab.ttl)
        elected(other, lab.expiry)
        is_true(other.stop(), "stop")
        candidate.stop()

    def test_a_leader_learns_that_its_session_has_ended(self, lab: Lab) -> None:
        """It says so, stands again with another session, and has a larger token."""
        key, faulty = lab.key("leader"), FaultyStore(lab.backend())
        candidate = Candidate(lab.handle(faulty), key, "a", ttl=lab.ttl)
        story, term = candidate.events(), elected(candidate)
        faulty.inject(Fault.EXPIRES, "renew", times=1)
        assert term.wait_lost(lab.ttl), "the term goes on without a session"
        later = elected(candidate, lab.expiry)
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        candidate.stop()
        reasons = [event.reason for event in story if isinstance(event, Lost)]
        # Its watch may have told the loss of the claim before the renewal told why.
        assert reasons[:1] in ([LostReason.SESSION_LOST], [LostReason.DELETED]), f"{reasons}"

    def test_a_leader_learns_that_its_claim_was_deleted(self, lab: Lab) -> None:
        """Within a notification, long before its next renewal; it is elected anew."""
        key = lab.key("leader")
        candidate = Candidate(lab.open(), key, "a", ttl=max(lab.ttl, 10.0))
        story, term = candidate.events(), elected(candidate)
        remove_claims(lab, key)
        assert term.wait_lost(2.0), "it believes although its claim was deleted"
        later = elected(candidate)
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        is_true(candidate.stop(), "stop")
        reasons = [event.reason for event in story if isinstance(event, Lost)]
        is_equal(reasons, [LostReason.DELETED], "why it was lost")

    def test_after_an_outage_all_is_as_before(self, lab: Lab) -> None:
        """Candidate and follower need no restart, and have not flooded the store meanwhile."""
        key, faulty = lab.key("leader"), FaultyStore(lab.backend())
        store = lab.handle(faulty)
        candidate, follower = Candidate(store, key, "a", ttl=lab.ttl), Follower(store, key)
        follower.follow_election()
        term = elected(candidate)
        assert follower.wait_leader(PATIENCE), "the follower sees no leader"
        faulty.inject(Fault.UNAVAILABLE)
        before = faulty.calls.total()
        assert term.wait_lost(lab.ttl), "the term outlives its lease"
        time.sleep(0.3)
        asked = faulty.calls.total() - before
        assert asked < 40 * lab.ttl, f"{asked} requests in an outage of about {lab.ttl:g} s"
        faulty.heal()
        later = elected(candidate, lab.expiry + PATIENCE)

        def is_seen() -> bool:
            return follower.leader is not None and follower.leader.token == later.token

        assert lab.eventually(is_seen), f"the follower sees {follower.leader}, not {later}"
        is_true(candidate.stop(), "stop")
        follower.stop()

    def test_random_faults_elect_no_two_leaders(self, lab: Lab) -> None:
        """Three candidates behind a bad link: one leader at a time, and one in the end."""
        key, history = lab.key("leader"), History()
        links = [FaultyStore(lab.backend()) for _ in range(3)]
        candidates = [
            Candidate(lab.handle(link), key, f"c{number}", ttl=lab.ttl)
            for number, link in enumerate(links)
        ]
        for number, link in enumerate(links):
            link.lateness = 0.05
            link.shuffle(number, 0.2)
        witnesses = [Witness(history, one, one.value) for one in candidates]
        until = now() + 2.0
        while now() < until:
            for candidate in candidates:
                if candidate.is_leader:
                    candidate.resign(0.05)
            time.sleep(0.02)
        for link in links:
            link.heal()
        in_the_end = lab.eventually(lambda: any(one.is_leader for one in candidates), lab.expiry)
        assert in_the_end, "nobody leads although all is well"
        _end(history, witnesses, candidates)


def _end(history: History, witnesses: list[Witness], candidates: list[Candidate]) -> None:
    for candidate in candidates:
        candidate.stop()
    for witness in witnesses:
        assert witness.join(PATIENCE), "events go on after stop"
    faults = check_history(history)
    assert not faults, "\n".join(faults)
