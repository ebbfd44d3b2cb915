"""Elections and sessions by observation, on a store with compare-and-set only and a virtual clock."""

from __future__ import annotations

import logging

import pytest

from leadership_core import ANY
from leadership_core.backend import (
    Absent,
    ClaimOutcomeUnknown,
    Leading,
    StoreUnavailable,
    Waiting,
)
from leadership_core.errors import SessionLost
from tests.unit.observed_bench import CLAIM, KEY, TTL, Bench

pytestmark = pytest.mark.parametrize("kind", ["epochs", "revisions"], scope="function")


@pytest.fixture
def bench(kind: str) -> Bench:
    """A bench on a store with or without revisions over the whole store."""
    return Bench(kind)


def test_crashed_holder_is_replaced_after_its_ttl_was_observed(bench: Bench) -> None:
    """Not before: neither when the holder has been silent for long, nor by an observation that is too short."""
    holder, other = bench.process(), bench.process()
    assert holder.leads()
    first = holder.claim
    assert first is not None
    bench.pass_time(TTL - 0.1)
    other.session.renew()
    assert not other.leads(), "the first look at the session"
    bench.pass_time(TTL - 0.1)
    assert isinstance(other.status(), Waiting)
    other.session.renew()
    assert not other.leads()
    bench.pass_time(0.2)
    assert isinstance(other.status(), Absent)
    assert other.leads()
    assert other.claim is not None
    assert (other.claim.token or 0) > (first.token or 0)


def test_holder_that_renews_is_not_replaced(bench: Bench) -> None:
    """Each renewal restarts the observation, however long that has taken."""
    holder, other = bench.process(), bench.process()
    assert holder.leads()
    for _ in range(10):
        assert not other.leads()
        bench.pass_time(TTL * 0.9)
        holder.session.renew()
        other.session.renew()
    assert isinstance(holder.status(), Leading)


def test_ttl_of_the_record_counts_not_that_of_the_observer(bench: Bench) -> None:
    """A candidate with a ttl of a second waits for half a minute if the holder's ttl is so long."""
    holder, other = bench.process(ttl=30.0), bench.process(ttl=1.0)
    assert holder.leads()
    assert not other.leads()
    for _ in range(31):
        assert not other.leads()
        bench.pass_time(0.95)
        other.session.renew()
    bench.pass_time(0.6)
    assert other.leads()


def test_holder_whose_session_was_ended_notices_it(bench: Bench) -> None:
    """Its renewal writes nothing, and it never leads again with that session."""
    holder, other = bench.process(ttl=1000.0), bench.process(ttl=1000.0)
    assert holder.leads()
    heartbeats = other.store.sessions.read_heartbeats([holder.session.id])
    assert other.store.sessions.end_session(heartbeats[holder.session.id])

    with pytest.raises(SessionLost):
        holder.status()
    with pytest.raises(SessionLost):
        holder.session.renew()
    assert other.store.sessions.read_heartbeats([holder.session.id]) == {}
    assert other.leads()


def test_takeover_ends_the_session_before_it_writes_the_claim(bench: Bench) -> None:
    """A holder that was stopped for long cannot renew its session once another candidate leads."""
    holder, other = bench.process(ttl=TTL), bench.process(ttl=1000.0)
    assert holder.leads()
    assert not other.leads()
    bench.pass_time(TTL)
    assert other.leads()

    assert other.store.sessions.read_heartbeats([holder.session.id]) == {}
    with pytest.raises(SessionLost):
        holder.session.renew()


def test_observer_that_was_stopped_does_not_end_a_session_that_was_renewed(bench: Bench) -> None:
    """It read the heartbeat, was stopped for long, and its comparison fails."""
    holder, stopped = bench.process(), bench.process(ttl=1000.0)
    assert holder.leads()
    old = stopped.store.sessions.read_heartbeats([holder.session.id])[holder.session.id]
    assert not stopped.leads()
    bench.pass_time(TTL - 1)
    holder.session.renew()
    bench.pass_time(2)

    assert not stopped.store.sessions.end_session(old)
    assert isinstance(holder.status(), Leading)
    holder.session.renew()
    assert not stopped.leads()


def test_two_observers_may_end_a_session_at_once(bench: Bench) -> None:
    """For both it is over then; one of them gets the claim."""
    holder, one, two = bench.process(), bench.process(ttl=1000.0), bench.process(ttl=1000.0)
    assert holder.leads()
    assert not one.leads()
    assert not two.leads()
    bench.pass_time(TTL)
    heartbeat = one.store.sessions.read_heartbeats([holder.session.id])[holder.session.id]
    assert two.store.sessions.end_session(heartbeat)
    assert one.store.sessions.end_session(heartbeat)
    assert [one.leads(), two.leads()] == [True, False]


def test_withdraw_deletes_no_claim_of_another_candidate(bench: Bench) -> None:
    """Neither when it is late, nor when it is repeated."""
    holder, other = bench.process(), bench.process(ttl=1000.0)
    assert holder.leads()
    assert not other.leads()
    bench.pass_time(TTL)
    assert other.leads()

    holder.withdraw()
    assert isinstance(other.status(), Leading)


def test_withdraw_deletes_no_later_claim_of_its_session(bench: Bench) -> None:
    """The same session enters again: the old claim's withdrawal is harmless."""
    holder = bench.process()
    assert holder.leads()
    old = holder.claim
    assert old is not None
    holder.withdraw()
    assert holder.leads()
    holder.election.withdraw(old)
    assert isinstance(holder.status(), Leading)


def test_tokens_grow_over_releases_and_processes(bench: Bench) -> None:
    """The number of the term survives a release, and is known to a process that comes later."""
    tokens: list[int] = []
    for _ in range(5):
        one = bench.process()
        claim = one.enter()
        assert claim.granted
        tokens.append(claim.token or 0)
        one.withdraw()
    assert tokens == sorted(set(tokens)), tokens


def test_token_grows_after_an_operator_has_deleted_the_record(bench: Bench) -> None:
    """A process that has seen none of the terms begins at the time of the wall clock."""
    one = bench.process()
    first = one.enter()
    one.withdraw()
    bench.state.delete_subtree(KEY)
    other = bench.process()
    second = other.enter()

    assert first.token is not None
    assert second.token is not None
    assert second.token > first.token


@pytest.mark.parametrize(
    "value", [b"", b"\xff\xfe", b"leadership/1 x y z\n", b"leadership/1 9999999999999999999 ab s\n"]
)
def test_record_that_cannot_be_read_does_not_block(
    bench: Bench, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported once, and replaced; a holder that it belonged to knows that it was overwritten."""
    holder, other = bench.process(), bench.process()
    assert holder.leads()
    bench.state.put(CLAIM, value, ANY, None, None)
    with caplog.at_level(logging.WARNING, "leadership.session"):
        assert holder.status() == Absent(overwritten=True)
        assert holder.status() == Absent(overwritten=True)
    assert len(caplog.records) == 1
    assert other.election.leader() is None
    assert other.leads()


def test_heartbeat_that_cannot_be_read_blocks_for_a_minute(bench: Bench) -> None:
    """The holder writes over it when it renews; another candidate takes over after a minute."""
    holder, other = bench.process(ttl=1000.0), bench.process(ttl=1000.0)
    assert holder.leads()
    place = f".sessions/{holder.session.id}"
    bench.state.put(place, b"\xff by hand", ANY, None, None)
    holder.session.renew()
    assert isinstance(holder.status(), Leading)

    bench.state.put(place, b"\xff by hand", ANY, None, None)
    assert not other.leads()
    bench.pass_time(59.0)
    assert not other.leads()
    bench.pass_time(1.0)
    assert other.leads()


def test_enter_with_a_lost_answer_is_read_back(bench: Bench) -> None:
    """The claim is granted, and settled."""
    one = bench.process()
    one.store.fault = "answer"
    claim = one.enter()

    assert claim.granted
    assert claim.settled
    assert one.status() == Leading(claim.token or 0)


def test_enter_with_a_lost_request_has_an_unknown_outcome(bench: Bench) -> None:
    """It may still arrive: the claim is not settled, and a withdrawal finds it later."""
    one = bench.process()
    one.store.fault = "late"
    with pytest.raises(ClaimOutcomeUnknown) as caught:
        one.enter()
    claim = caught.value.claim
    assert not claim.settled
    one.election.withdraw(claim)
    assert not claim.settled
    one.store.late()
    one.election.withdraw(claim)
    assert claim.settled
    assert one.election.leader() is None


def test_late_enter_is_settled_once_its_record_was_replaced(bench: Bench, kind: str) -> None:
    """What it compares with is gone for good, so it cannot be applied any more."""
    one, other = bench.process(), bench.process()
    assert other.leads()
    other.withdraw()
    one.store.fault = "late"
    with pytest.raises(ClaimOutcomeUnknown) as caught:
        one.enter()
    claim = caught.value.claim
    assert other.leads()
    one.election.withdraw(claim)

    assert claim.settled == (kind == "epochs"), "a deleted record may be missing again"
    with pytest.raises(Exception):  # noqa: B017, PT011 - it must not be applied
        one.store.late()
    assert isinstance(other.status(), Leading)


def test_late_claim_of_an_ended_session_never_leads(bench: Bench) -> None:
    """It arrives after the session has ended: its status says so, and the next candidate replaces it."""
    late, other = bench.process(ttl=TTL), bench.process(ttl=1000.0)
    late.store.fault = "late"
    with pytest.raises(ClaimOutcomeUnknown) as caught:
        late.enter()
    heartbeat = other.store.sessions.read_heartbeats([late.session.id])[late.session.id]
    assert other.store.sessions.end_session(heartbeat)
    late.store.late()

    with pytest.raises(SessionLost):
        late.election.status(caught.value.claim)
    assert other.election.leader() is None
    assert other.leads()


def test_renewal_with_a_lost_answer_is_read_back(bench: Bench) -> None:
    """It counts; and the next one compares with what it has written."""
    one = bench.process()
    one.store.fault = "answer"
    assert one.session.renew() == TTL
    assert one.session.renew() == TTL


def test_renewal_with_a_lost_request_does_not_count(bench: Bench) -> None:
    """The heartbeat of before is not taken for the new one."""
    one = bench.process()
    one.store.fault = "request"
    with pytest.raises(StoreUnavailable):
        one.session.renew()
    assert one.session.renew() == TTL


def test_late_renewal_writes_nothing_after_a_newer_one(bench: Bench) -> None:
    """Neither does it after the end of the session."""
    one, other = bench.process(), bench.process()
    one.store.fault = "late"
    with pytest.raises(StoreUnavailable):
        one.session.renew()
    one.session.renew()
    before = other.store.sessions.read_heartbeats([one.session.id])
    with pytest.raises(Exception):  # noqa: B017, PT011 - it must not be applied
        one.store.late()
    assert other.store.sessions.read_heartbeats([one.session.id]) == before

    one.store.fault = "late"
    with pytest.raises(StoreUnavailable):
        one.session.renew()
    one.session.close()
    with pytest.raises(Exception):  # noqa: B017, PT011 - it must not be applied
        one.store.late()
    assert other.store.sessions.read_heartbeats([one.session.id]) == {}


def test_late_renewal_before_the_next_one_is_recognised(bench: Bench) -> None:
    """The session takes it for one of its own, and goes on."""
    one = bench.process()
    one.store.fault = "late"
    with pytest.raises(StoreUnavailable):
        one.session.renew()
    one.store.late()
    assert one.session.renew() == TTL


def test_heartbeats_with_one_counter_are_two(bench: Bench) -> None:
    """A process that goes on from a copy of its memory counts again: the random number differs."""
    one = bench.process()
    session = one.session
    first = one.store.sessions.read_heartbeats([session.id])[session.id]
    session._count = 0  # type: ignore[attr-defined]
    session.renew()
    second = one.store.sessions.read_heartbeats([session.id])[session.id]

    assert first != second


def test_session_that_was_not_renewed_in_time_is_ended_by_its_holder(bench: Bench) -> None:
    """Its clock has said that the ttl has passed, so others may not find it alive."""
    one, other = bench.process(), bench.process()
    bench.pass_time(TTL + 0.1)
    with pytest.raises(SessionLost):
        one.session.renew()
    assert other.store.sessions.read_heartbeats([one.session.id]) == {}


def test_leader_is_named_until_its_ttl_was_observed(bench: Bench) -> None:
    """A process that asks for the first time gets the last holder; one that has observed it gets None."""
    holder, reader = bench.process(), bench.process()
    assert holder.leads()
    assert reader.election.leader() is not None
    bench.pass_time(TTL + 1)
    assert reader.election.leader() is None
    fresh = bench.process()
    assert fresh.election.leader() is not None, "it has not observed anything"
    holder.session.close()
    assert fresh.election.leader() is None


def test_polite_handover_takes_one_write_one_read_and_one_write(bench: Bench) -> None:
    """The read of the status serves for entering, too."""
    holder, other = bench.process(), bench.process()
    assert holder.leads()
    assert not other.leads()
    holder.withdraw()
    other.store.requests.clear()
    assert isinstance(other.status(), Absent)
    assert other.leads()
    assert other.store.requests == ["get", "put"]


def test_polite_handover_takes_two_writes_where_the_watch_reports_the_release(bench: Bench) -> None:
    """The report is the read; one that was overtaken costs a comparison that fails."""
    holder, other, third = bench.process(), bench.process(), bench.process()
    assert holder.leads()
    assert not other.leads()
    assert other.claim is not None
    watch = other.election.watch_claim(other.claim, lambda: None)
    holder.withdraw()
    other.store.requests.clear()
    assert isinstance(other.status(), Absent)
    assert other.leads()
    assert other.store.requests == ["put"]
    watch.close()

    assert not holder.leads()
    assert holder.claim is not None
    watch = holder.election.watch_claim(holder.claim, lambda: None)
    other.withdraw()
    watch.close()  # the report that follows is lost
    assert third.leads()
    assert isinstance(holder.status(), Absent)
    assert not holder.leads()
    assert isinstance(holder.status(), Waiting)
