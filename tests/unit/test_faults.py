"""Faults between a candidate and its store, and how the candidate reacts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Event,
    Follower,
    Lost,
    LostReason,
    SessionLost,
    Store,
    StoreRefused,
)
from leadership_core.stores.memory import State
from tests.support.internals import candidate_control
from tests.support.waiting import at_most, eventually
from tests.unit.faulty import Fault, FaultySession, FaultyStore, elected

TTL = 1.2  # a leader leads until 0.8 s after the last renewal


def names_until(stream: Iterator[Event], last: str) -> list[str]:
    """Return the names of the events, up to the first of that name."""
    names: list[str] = []
    while not names or names[-1] != last:
        names.append(next(stream).name)
    return names


# -- the store is away --------------------------------------------------------------------------


def test_short_outage_costs_nothing(faulty: FaultyStore, opened: Store) -> None:
    """The outage is reported, and the term goes on."""
    candidate = Candidate(opened, "key", "a", ttl=3)
    stream = candidate.events()
    term = elected(candidate)
    faulty.inject(Fault.UNAVAILABLE)
    told = names_until(stream, "suspended")
    faulty.heal()
    told += names_until(stream, "resumed")
    if told.count("store_down") > told.count("store_up"):
        told += names_until(stream, "store_up")
    candidate.stop()

    assert [name for name in told if not name.startswith("store")][:4] == [
        "campaigning", "elected", "suspended", "resumed",
    ]  # fmt: skip
    assert told.index("store_down") < told.index("store_up")
    last = candidate_control(candidate).state.last
    assert last is not None
    assert last.term is term


def test_long_outage_ends_the_term_in_time_and_nothing_else(
    faulty: FaultyStore, opened: Store
) -> None:
    """The candidate leads again when the store is back, without a restart."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    stream = candidate.events()
    term = elected(candidate)
    end = time.monotonic() + term.remaining()
    faulty.inject(Fault.UNAVAILABLE)
    assert term.wait_lost(2)
    assert time.monotonic() < end + TTL / 3 + at_most(0.1)
    time.sleep(0.5)
    assert not candidate.is_leader
    faulty.heal()

    again = elected(candidate)
    assert again.token > term.token
    candidate.stop()
    assert [event for event in stream if isinstance(event, Lost)] == [Lost(LostReason.EXPIRED)]


def test_lost_renewal_is_retried_in_time(faulty: FaultyStore, opened: Store) -> None:
    """A renewal may take a third of the ttl, which leaves time for another try."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    term = elected(candidate)
    for _ in range(2):
        faulty.inject(Fault.REQUEST_LOST, "renew", times=1)
        time.sleep(TTL * 0.7)
        assert candidate.term is term


def test_hanging_renewal_does_not_delay_the_end_of_the_term(
    faulty: FaultyStore, opened: Store
) -> None:
    """The deadline has its own timer; other candidates of that session go on with a new one."""
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=TTL) for number in range(3)]
    stories = [candidate.events() for candidate in candidates]
    terms = [elected(candidate) for candidate in candidates]
    end = time.monotonic() + max(term.remaining() for term in terms)
    faulty.inject(Fault.HANGS, "renew", times=1)

    for stream in stories:
        names_until(stream, "lost")
    assert time.monotonic() < end + TTL / 3 + at_most(0.2)
    for candidate, term in zip(candidates, terms, strict=True):
        assert elected(candidate).token > term.token
    assert eventually(lambda: len(faulty.sessions) == 2 or len(faulty.alive()) == 1)


def test_claim_expires_when_only_replies_are_lost() -> None:
    """Renewals arrive but their answers do not: the term ends, and later the key is free."""
    state = State()
    cut, fine = FaultyStore(state), FaultyStore(state)
    with cut.opened() as one, fine.opened() as two:
        first, second = Candidate(one, "key", "a", ttl=TTL), Candidate(two, "key", "b", ttl=TTL)
        term = elected(first)
        second.run_for_election()
        cut.inject(Fault.REPLY_LOST)
        believed_until = 0.0
        until = time.monotonic() + at_most(4 * TTL)
        while not second.is_leader:
            if first.is_leader:
                believed_until = time.monotonic()
            assert time.monotonic() < until
        assert not first.is_leader
        assert believed_until < time.monotonic()
        assert term.lost

        cut.heal()
        second.resign(30)
        assert elected(first).token > term.token


# -- answers that are lost ----------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.CRASHES_AFTER])
def test_lost_answer_to_an_enter_is_read_back(
    faulty: FaultyStore, opened: Store, fault: Fault
) -> None:
    """The claim was written, so the candidate leads, with the same session."""
    faulty.inject(fault, "put_claim", times=1)
    elected(Candidate(opened, "key", "a", ttl=3))

    assert len(faulty.sessions) == 1


def test_late_enter_is_found_and_removed(faulty: FaultyStore, opened: Store) -> None:
    """The old session serves other candidates; the key is entered again with a new one."""
    other = Candidate(opened, "other", "a", ttl=TTL)
    elected(other)
    faulty.inject(Fault.LATE, "put_claim", times=1)
    candidate = Candidate(opened, "key", "a", ttl=TTL)

    term = elected(candidate)
    assert term.lost is False or candidate.wait_elected(3)
    assert eventually(lambda: len(faulty.alive()) == 2)
    entry = faulty.inner.get("key")
    assert entry is not None
    assert eventually(lambda: candidate.is_leader)
    candidate.stop()
    assert eventually(lambda: faulty.inner.get("key") is None, 2 * TTL)
    assert other.is_leader


def test_late_enter_is_never_adopted(faulty: FaultyStore, opened: Store) -> None:
    """The claim of a stopped candidate is removed although its session lives on."""
    other = Candidate(opened, "other", "a", ttl=TTL)
    elected(other)
    faulty.inject(Fault.LATE, "put_claim", times=1)
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    candidate.run_for_election()
    assert eventually(lambda: faulty.calls["put_claim"] >= 2)
    candidate.stop(0)

    assert candidate.stop(3 * TTL) or faulty.inner.get("key") is None
    time.sleep(0.3)
    assert eventually(lambda: faulty.inner.get("key") is None, 2 * TTL)
    assert other.is_leader


def test_lost_answer_to_a_withdrawal(faulty: FaultyStore, opened: Store) -> None:
    """`resign` waits until the claim reaper has removed the claim."""
    other = Candidate(opened, "other", "a", ttl=3)
    elected(other)
    candidate = Candidate(opened, "key", "a", ttl=3)
    elected(candidate)
    faulty.inject(Fault.UNAVAILABLE, "delete", times=3)

    assert candidate.resign(30)
    assert faulty.inner.get("key") is None
    assert other.is_leader


def test_claim_that_cannot_be_withdrawn_ends_with_its_session(
    faulty: FaultyStore, opened: Store
) -> None:
    """Renewals succeed and the withdrawal fails: the key is free after one ttl."""
    other = Candidate(opened, "other", "a", ttl=0.6)
    elected(other)
    candidate = Candidate(opened, "key", "a", ttl=0.6)
    elected(candidate)
    faulty.inject(Fault.UNAVAILABLE, "delete")
    candidate.stop(0)

    assert eventually(lambda: faulty.inner.get("key") is None, 4)
    assert candidate.stop()
    elected(other)


# -- operators ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "operate"),
    [
        (LostReason.DELETED, lambda store: store.delete("key")),
        (LostReason.OVERWRITTEN, lambda store: store.put("key", b"by hand")),
    ],
)
def test_operator_ends_a_term_at_once(store: Store, reason: LostReason, operate: object) -> None:
    """One notification ends it, with the reason; the next term has a larger token."""
    assert callable(operate)
    candidate = Candidate(store, "key", "a", ttl=60)
    stream = candidate.events()
    term = elected(candidate)
    operate(store)

    assert term.wait_lost(0.5)
    assert elected(candidate).token > term.token
    candidate.stop()
    assert [event for event in stream if isinstance(event, Lost)] == [Lost(reason)]


def test_session_that_is_ended_while_it_is_opened(faulty: FaultyStore, opened: Store) -> None:
    """The candidate opens another session."""
    opening, tries = faulty.open_session, 0

    def ended(ttl: float) -> FaultySession:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise SessionLost("an operator was faster")
        return opening(ttl)

    faulty.open_session = ended  # type: ignore[method-assign]  # a stand-in for this test
    candidate = Candidate(opened, "key", "a", ttl=3)

    elected(candidate)
    assert candidate.stop()


# -- lasting errors ------------------------------------------------------------------------------


def test_refused_ttl_ends_the_candidate(faulty: FaultyStore, opened: Store) -> None:
    """All waiting and later calls raise the store's error."""

    def refuse(_ttl: float) -> None:
        raise ConfigurationError("a ttl must be between 10 and 86400 s")

    faulty.open_session = refuse  # type: ignore[method-assign, assignment]  # a stand-in for this test
    candidate = Candidate(opened, "key", "a", ttl=3)
    values, stream = candidate.run_for_election(), candidate.events()
    assert next(values) is False
    for read in (
        lambda: next(values),
        lambda: list(stream),
        candidate.wait_elected,
        lambda: candidate.leading().__enter__(),
        lambda: candidate.lead(print),
        lambda: list(candidate.run_for_election()),
    ):
        with pytest.raises(ConfigurationError, match="86400"):
            read()
    assert candidate.stop()


def test_permission_denied_at_the_start_ends_the_candidate(
    faulty: FaultyStore, opened: Store
) -> None:
    """A retry cannot help at a store that has never worked."""
    faulty.inject(Fault.REFUSED)
    with pytest.raises(StoreRefused, match="denied"):
        Candidate(opened, "key", "a", ttl=3).wait_elected(5)
    with pytest.raises(StoreRefused):
        list(Follower(opened, "key").follow_election())


def test_permission_denied_later_is_an_outage(faulty: FaultyStore, opened: Store) -> None:
    """The store has worked before, so the request is retried without end."""
    candidate = Candidate(opened, "key", "a", ttl=TTL)
    term = elected(candidate)
    faulty.inject(Fault.REFUSED)
    assert term.wait_lost(3)
    time.sleep(0.3)
    faulty.heal()

    assert elected(candidate).token > term.token


def test_shorter_grant_is_adopted_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    """There is one warning, or an error if the store's margin does not fit the granted ttl."""
    store = FaultyStore(least_margin=0.5)
    store.granted = 2.0
    with store.opened() as handle:
        term = elected(Candidate(handle, "key", "a", ttl=30))
        assert 1.0 < term.remaining() <= 1.5
        time.sleep(0.8)
        assert sum("granted" in record.message for record in caplog.records) == 1
    with pytest.raises(ConfigurationError), FaultyStore(least_margin=0.5).opened() as handle:
        Candidate(handle, "key", "a", ttl=1.2)
    tight = FaultyStore(least_margin=0.5)
    tight.granted = 1.2
    with tight.opened() as handle, pytest.raises(ConfigurationError, match=r"at least 1\.5 s"):
        Candidate(handle, "key", "a", ttl=30).wait_elected(3)
