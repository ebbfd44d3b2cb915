"""Mutants of expiry by observation: heartbeats, takeovers, releases and epochs."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from leadership_core.backend import heartbeats, observed_sessions
from leadership_core.backend.claim_record import ClaimRecord
from leadership_core.backend.heartbeats import ObservedExpiry
from leadership_core.backend.observed_election import ObservedElection
from leadership_core.backend.observed_sessions import ObservedSessions
from leadership_core.backend.protocols import Leading
from leadership_core.backend.session_observer import SessionObserver
from leadership_core.errors import SessionLost, StoreUnavailable

from .mutant import Mutant

__all__ = ["MUTANTS"]

_EXPIRY = "tests/unit/test_observed_expiry.py"
_ELECTION = "tests/unit/test_observed_election.py"
_WATCH = "tests/unit/test_observed_requests.py"
_EntrySession = observed_sessions._EntrySession


def first_report_is_known(watch_claim: Any) -> Any:
    def mutant(self: ObservedElection, claim: Any, wake: Any) -> Any:
        armed = list[bool]()
        watch = watch_claim(self, claim, lambda: wake() if armed else None)
        armed.append(True)
        return watch

    return mutant


def from_the_request(note: Any) -> Any:
    return lambda self, heartbeat, *, sent, answered: note(
        self, heartbeat, sent=sent, answered=sent
    )


def until_the_answer(_: Any) -> Any:
    def mutant(self: ObservedExpiry, session: str) -> bool:
        seen = self._seen.get(session)
        return seen is not None and seen.last_answer >= self.due(session)

    return mutant


def by_the_wall(_: Any) -> Any:
    """The observer's wall clock, which may be set at any time."""

    def mutant(self: Any, session: str) -> bool:
        found = self.expiry.heartbeat(session)
        if found is None or time.time() < self.expiry.due(session):
            return False
        return bool(self._heartbeats.end_session(found))

    return mutant


def counter_only(heartbeat: Any) -> Any:
    def mutant(session: str, entry: Any) -> Any:
        found = heartbeat(session, entry)
        return replace(found, beat=found.beat[0])

    return mutant


def without_comparison(_: Any) -> Any:
    def mutant(self: Any, heartbeat: Any) -> bool:
        self._store.delete(heartbeat.known_as.key)
        return True

    return mutant


def of_the_observer(bounded: Any) -> Any:
    return lambda ttl: min(bounded(ttl), 10.0)


def as_it_says(_: Any) -> Any:
    return lambda ttl: ttl


def ends_nothing(_: Any) -> Any:
    return lambda self, session: self.expiry.may_end(session, self._time_source.now())


def of_anyone(_: Any) -> Any:
    return lambda self, entry, claim: entry is not None


def not_counted(next_epoch: Any) -> Any:
    return lambda self, record, entry: next_epoch(self, record, entry) - 1


def forgets_the_epoch(released: Any) -> Any:
    return lambda self: replace(released(self), epoch=0)


def begins_again(_: Any) -> Any:
    return lambda self: self._store.get(self._key)


def of_any_session(status: Any) -> Any:
    def mutant(self: Any, claim: Any) -> Any:
        try:
            return status(self, claim)
        except SessionLost:
            return Leading(1)

    return mutant


def silence_is_success(renew: Any) -> Any:
    def mutant(self: Any) -> Any:
        with suppress(StoreUnavailable):
            return renew(self)
        return self.ttl

    return mutant


def taken_as_failed(_: Any) -> Any:
    return staticmethod(lambda found, claim: True)


_RULE = "none known; a rule of this method that is easily missed"

MUTANTS = [
    Mutant(
        "observed from the request",
        "The ttl is counted from the request that showed the heartbeat, which may have been written after it.",
        _RULE,
        (f"{_EXPIRY}::test_heartbeat_counts_from_the_answer_that_showed_it_first",),
        ((ObservedExpiry, "note", from_the_request),),
    ),
    Mutant(
        "observed until the answer",
        "The last look is counted by its answer, but the record was read at the server before that.",
        _RULE,
        (f"{_EXPIRY}::test_session_is_silent_only_by_an_answer_that_was_requested_after_the_ttl",),
        ((ObservedExpiry, "is_silent", until_the_answer),),
    ),
    Mutant(
        "observed by the wall clock",
        "A clock that is set ahead ends every session at once.",
        "the Kubernetes client for Python; Redis, whose keys expire by the server's wall clock",
        (f"{_ELECTION}::test_crashed_holder_is_replaced_after_its_ttl_was_observed[epochs]",),
        ((SessionObserver, "end", by_the_wall),),
        "observed",
    ),
    Mutant(
        "heartbeat is its counter",
        "A new heartbeat with the counter of the old one is taken for it, and a living session for a silent one.",
        "programs that go on from a copy of their memory",
        (f"{_ELECTION}::test_heartbeats_with_one_counter_are_two[epochs]",),
        ((observed_sessions, "_heartbeat", counter_only),),
    ),
    Mutant(
        "session ended without a comparison",
        "An observer that was stopped ends a session that was renewed meanwhile.",
        "lock files that are deleted after a look at their age",
        (
            f"{_ELECTION}::test_observer_that_was_stopped_does_not_end_a_session_that_was_renewed[epochs]",
        ),
        ((ObservedSessions, "end_session", without_comparison),),
    ),
    Mutant(
        "ttl of the observer",
        "A candidate with a short ttl replaces a leader with a long one that leads on.",
        "older versions of client-go's leaderelection, where all candidates must be configured alike",
        (f"{_ELECTION}::test_ttl_of_the_record_counts_not_that_of_the_observer[epochs]",),
        ((heartbeats, "bounded_ttl", of_the_observer),),
    ),
    Mutant(
        "absurd ttl is believed",
        "A record that names a ttl of years blocks the election for years.",
        "tools that write a lease by hand",
        (f"{_EXPIRY}::test_absurd_ttl_blocks_for_a_minute_and_is_reported_once",),
        ((heartbeats, "bounded_ttl", as_it_says),),
    ),
    Mutant(
        "takeover without ending the session",
        "The old holder renews its session, and leads beside the next one.",
        _RULE,
        (f"{_ELECTION}::test_takeover_ends_the_session_before_it_writes_the_claim[epochs]",),
        ((SessionObserver, "end", ends_nothing),),
    ),
    Mutant(
        "release of another one's claim",
        "A late release deletes the claim of the next leader.",
        "many locks on Redis that are deleted without a comparison",
        (f"{_ELECTION}::test_withdraw_deletes_no_claim_of_another_candidate[epochs]",),
        ((ObservedElection, "_is_of", of_anyone),),
        "observed",
    ),
    Mutant(
        "epoch not counted at a takeover",
        "Two terms have one fencing token.",
        "client-go's leaseTransitions, which goes on where a holder comes back under its old name",
        (f"{_ELECTION}::test_crashed_holder_is_replaced_after_its_ttl_was_observed[epochs]",),
        ((ObservedElection, "_next_epoch", not_counted),),
        "observed-epochs",
    ),
    Mutant(
        "epoch forgotten at a release",
        "Tokens begin again after a polite release.",
        "locks whose counter is deleted with them",
        (f"{_ELECTION}::test_tokens_grow_over_releases_and_processes[epochs]",),
        ((ClaimRecord, "released", forgets_the_epoch),),
        "observed-epochs",
    ),
    Mutant(
        "holder does not notice that its session was ended",
        "It writes its record again, and leads beside the next one.",
        _RULE,
        (f"{_ELECTION}::test_holder_whose_session_was_ended_notices_it[epochs]",),
        ((_EntrySession, "_read", begins_again),),
    ),
    Mutant(
        "claim of an ended session leads",
        "A claim that arrives late, after its session has ended, is reported as leading.",
        _RULE,
        (f"{_ELECTION}::test_late_claim_of_an_ended_session_never_leads[epochs]",),
        ((ObservedElection, "status", of_any_session),),
    ),
    Mutant(
        "heartbeat without an answer counts",
        "A heartbeat that was never written prolongs the lease.",
        _RULE,
        (f"{_ELECTION}::test_renewal_with_a_lost_request_does_not_count[epochs]",),
        ((_EntrySession, "renew", silence_is_success),),
        "observed",
    ),
    Mutant(
        "late request to enter is forgotten",
        "A claim whose request arrives late is left behind, and blocks the election while its session lives.",
        _RULE,
        (f"{_ELECTION}::test_enter_with_a_lost_request_has_an_unknown_outcome[epochs]",),
        ((ObservedElection, "_is_settled", taken_as_failed),),
    ),
    Mutant(
        "first report of a granted claim's watch is ignored",
        "A claim that was deleted between its grant and its watch is taken for leading until the next poll.",
        "a watch that is made after the read",
        (f"{_WATCH}::test_change_between_the_grant_and_the_watch_wakes[epochs]",),
        ((ObservedElection, "watch_claim", first_report_is_known),),
    ),
]
