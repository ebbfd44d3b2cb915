"""Cases of faults between a candidate and the store, injected by a `FaultyStore`."""

from __future__ import annotations

import time
from functools import partial

from ...backend.clock import now
from ...candidate import Candidate
from ...events import Lost, LostReason
from ...follower import Follower
from ..fault_injection import Fault
from ..faulty_store import FaultyStore
from ..history import History, check_history
from ..recorders import DEFAULT_WAIT, CandidateRecorder
from ..sandbox import Sandbox
from .assertions import is_equal, is_false, is_true, is_vacant
from .candidates import elected
from .elections import remove_claims

__all__ = ["FaultToleranceCases"]

# A store's own election has the first of the two, one made of reads and writes the second.
_ENTER = ("enter", "put_claim")
_WITHDRAW = ("withdraw", "delete")


class FaultToleranceCases:
    """Lost requests and answers, ended sessions, and deletions by hand."""

    def test_leader_that_is_cut_off_stops_before_the_next_is_elected(
        self, sandbox: Sandbox
    ) -> None:
        """It campaigns again when the store is back."""
        key, history = sandbox.key("leader"), History()
        cut = FaultyStore(sandbox.backend())
        first = Candidate(sandbox.handle(cut), key, "cut off", ttl=sandbox.ttl)
        second = Candidate(sandbox.open(), key, "fine", ttl=sandbox.ttl)
        witnesses = [CandidateRecorder(history, first, "first")]
        term = elected(first)
        witnesses.append(CandidateRecorder(history, second, "second"))
        cut.inject(Fault.REQUEST_LOST)
        begun = now()
        later = elected(second, sandbox.expiry)
        is_false(first.is_leader, "is_leader of the one that is cut off, once another one leads")
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        assert now() - begun > sandbox.ttl / 3, (
            "another one was elected before the lease could be over"
        )
        cut.heal()
        is_true(second.resign(4 * DEFAULT_WAIT), "resign")
        elected(first)
        _end(history, witnesses, [first, second])

    def test_renewal_that_fails_once_is_repeated(self, sandbox: Sandbox) -> None:
        """The renewal is sent again in time, and the term goes on."""
        faulty = FaultyStore(sandbox.backend())
        candidate = Candidate(sandbox.handle(faulty), sandbox.key("leader"), "a", ttl=sandbox.ttl)
        term = elected(candidate)
        for fault in (Fault.UNAVAILABLE, Fault.REPLY_LOST):
            faulty.script("renew", fault)
            before = faulty.calls["renew"]
            sent = sandbox.eventually(lambda n=before: faulty.calls["renew"] >= n + 2, sandbox.ttl)  # type: ignore[misc]  # mypy infers no lambda with defaults
            assert sent, "a renewal that failed was not sent again"
        assert candidate.term is term, "one renewal that failed has ended the term"
        is_true(candidate.stop(), "stop")

    def test_enter_with_a_lost_answer_makes_no_second_leader(self, sandbox: Sandbox) -> None:
        """The candidate is elected in the end, and leaves no claim behind when it stops."""
        for fault in (Fault.REPLY_LOST, Fault.REQUEST_LOST, Fault.LATE):
            key, faulty = sandbox.key("leader"), FaultyStore(sandbox.backend())
            candidate = Candidate(sandbox.handle(faulty), key, "a", ttl=sandbox.ttl)
            faulty.inject(fault, *_ENTER, times=1)
            term = elected(candidate, sandbox.expiry)
            found = sandbox.store.leader(key)
            is_equal(found and found.token, term.token, f"{fault}: the leader that others see")
            candidate.stop()
            released = sandbox.eventually(partial(is_vacant, sandbox, key), sandbox.expiry)
            assert released, f"{fault}: an orphaned claim is left"
            other = Candidate(sandbox.open(), key, "b", ttl=sandbox.ttl)
            later = elected(other, sandbox.expiry)
            assert later.token > term.token, f"tokens {term.token} and {later.token}"
            is_true(other.stop(), "stop")

    def test_resign_returns_true_only_after_confirmation(self, sandbox: Sandbox) -> None:
        """With lost answers and refused requests it returns True once the claim is gone, and not before."""
        key, faulty = sandbox.key("leader"), FaultyStore(sandbox.backend())
        candidate = Candidate(sandbox.handle(faulty), key, "a", ttl=sandbox.ttl)
        elected(candidate)
        for call in _WITHDRAW:
            faulty.script(call, Fault.UNAVAILABLE, Fault.REPLY_LOST)
        confirmed = candidate.resign(4 * DEFAULT_WAIT)
        is_false(candidate.is_leader, "is_leader after resign")
        if confirmed:
            is_equal(
                sandbox.store.leader(key), None, "the leader after a resign that was confirmed"
            )
        other = Candidate(sandbox.open(), key, "b", ttl=sandbox.ttl)
        elected(other, sandbox.expiry)
        is_true(other.stop(), "stop")
        candidate.stop()

    def test_leader_whose_session_ended_reports_the_loss(self, sandbox: Sandbox) -> None:
        """It campaigns again with another session, and gets a larger token."""
        key, faulty = sandbox.key("leader"), FaultyStore(sandbox.backend())
        candidate = Candidate(sandbox.handle(faulty), key, "a", ttl=sandbox.ttl)
        stream, term = candidate.events(), elected(candidate)
        faulty.inject(Fault.EXPIRES, "renew", times=1)
        assert term.wait_lost(sandbox.ttl), "the term goes on without a session"
        later = elected(candidate, sandbox.expiry)
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        candidate.stop()
        reasons = [event.reason for event in stream if isinstance(event, Lost)]
        # Its watch may have reported the loss of the claim before the renewal reported why.
        assert reasons[:1] in ([LostReason.SESSION_LOST], [LostReason.DELETED]), f"{reasons}"

    def test_leader_whose_claim_was_deleted_reports_the_loss(self, sandbox: Sandbox) -> None:
        """It reports that within a notification, long before its next renewal, and is elected again."""
        key = sandbox.key("leader")
        candidate = Candidate(sandbox.open(), key, "a", ttl=max(sandbox.ttl, 10.0))
        stream, term = candidate.events(), elected(candidate)
        remove_claims(sandbox, key)
        assert term.wait_lost(2.0), "it is leader although its claim was deleted"
        later = elected(candidate)
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        is_true(candidate.stop(), "stop")
        reasons = [event.reason for event in stream if isinstance(event, Lost)]
        is_equal(reasons, [LostReason.DELETED], "why it was lost")

    def test_candidate_and_follower_recover_from_an_outage(self, sandbox: Sandbox) -> None:
        """They need no restart, and do not flood the store meanwhile."""
        key, faulty = sandbox.key("leader"), FaultyStore(sandbox.backend())
        store = sandbox.handle(faulty)
        candidate, follower = Candidate(store, key, "a", ttl=sandbox.ttl), Follower(store, key)
        follower.follow_election()
        term = elected(candidate)
        assert follower.wait_leader(DEFAULT_WAIT), "the follower sees no leader"
        faulty.inject(Fault.UNAVAILABLE)
        before = faulty.calls.total()
        assert term.wait_lost(sandbox.ttl), "the term outlives its lease"
        time.sleep(0.3)
        asked = faulty.calls.total() - before
        assert asked < 40 * sandbox.ttl, f"{asked} requests in an outage of about {sandbox.ttl:g} s"
        faulty.heal()
        later = elected(candidate, sandbox.expiry + DEFAULT_WAIT)

        def is_seen() -> bool:
            return follower.leader is not None and follower.leader.token == later.token

        assert sandbox.eventually(is_seen), f"the follower sees {follower.leader}, not {later}"
        is_true(candidate.stop(), "stop")
        follower.stop()

    def test_random_faults_never_elect_two_leaders(self, sandbox: Sandbox) -> None:
        """Three candidates on unreliable links have one leader at a time, and one in the end."""
        key, history = sandbox.key("leader"), History()
        links = [FaultyStore(sandbox.backend()) for _ in range(3)]
        candidates = [
            Candidate(sandbox.handle(link), key, f"c{number}", ttl=sandbox.ttl)
            for number, link in enumerate(links)
        ]
        for number, link in enumerate(links):
            link.lateness = 0.05
            link.shuffle(number, 0.2)
        witnesses = [CandidateRecorder(history, one, one.value) for one in candidates]
        until = now() + 2.0
        while now() < until:
            for candidate in candidates:
                if candidate.is_leader:
                    candidate.resign(0.05)
            time.sleep(0.02)
        for link in links:
            link.heal()
        in_the_end = sandbox.eventually(
            lambda: any(one.is_leader for one in candidates), sandbox.expiry + DEFAULT_WAIT
        )
        assert in_the_end, "there is no leader although all is well"
        _end(history, witnesses, candidates)


def _end(history: History, witnesses: list[CandidateRecorder], candidates: list[Candidate]) -> None:
    for candidate in candidates:
        candidate.stop()
    for recorder in witnesses:
        assert recorder.join(DEFAULT_WAIT), "events go on after stop"
    faults = check_history(history)
    assert not faults, "\n".join(faults)
