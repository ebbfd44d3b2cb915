"""Observers: what is reported, in which thread, and what an observer cannot disturb."""

from __future__ import annotations

from typing import Any

import pytest

from leadership_core import (
    ABSENT,
    Candidate,
    Conflict,
    Fenced,
    Follower,
    NotElected,
    Store,
    StoreDown,
    StoreUnavailable,
    observe,
    open_store,
)
from leadership_core.backend import clock
from leadership_core.backend.observation import hub
from leadership_core.observers import (
    CandidateTransition,
    FollowerTransition,
    LiveElections,
    Outcome,
    Record,
    Renewal,
    Request,
    WatchRestarted,
    hookimpl,
)
from tests.support.waiting import Seen, at_most, eventually
from tests.unit.faulty import Fault, FaultyStore
from tests.unit.record_keeper import RecordKeeper


def _events(recorder: RecordKeeper) -> list[str]:
    return [one.event for one in recorder.of(CandidateTransition)]


def test_transitions_of_a_candidate_have_the_time_they_took(
    store: Store, recorder: RecordKeeper
) -> None:
    """A term is reported from its campaign to its end."""
    candidate = Candidate(store, "service/api", "node-1", ttl=3)
    term = candidate.wait_elected(5)
    assert term is not None
    candidate.stop()

    campaigning, elected, resigned, stopped = recorder.of(CandidateTransition)
    assert _events(recorder) == ["campaigning", "elected", "resigned", "stopped"]
    assert [one.token for one in (campaigning, elected, resigned, stopped)] == [
        *(None, term.token, term.token, None)
    ]
    assert elected.seconds == elected.at - campaigning.at
    assert resigned.seconds == resigned.at - elected.at
    assert campaigning.seconds is stopped.seconds is None
    assert elected.term is term
    assert {one.candidate for one in recorder.of(CandidateTransition)} == {elected.candidate}
    assert (elected.key, elected.value, elected.store) == ("service/api", "node-1", store.url)
    assert (elected.kind, elected.ttl) == (store.url.partition(":")[0], 3)
    assert recorder.threads == {"leadership-observers"}


def test_acquisitions_of_a_lock_say_that_they_are_of_a_lock(
    store: Store, recorder: RecordKeeper
) -> None:
    """So an observer can leave out keys of which a program uses any number."""
    with store.lock("jobs/17", ttl=3):
        pass
    Candidate(store, "key", "value", ttl=3).wait_elected(5)

    assert eventually(lambda: "stopped" in _events(recorder))
    locks = {one.key: one.lock for one in recorder.of(CandidateTransition)}
    assert locks == {"jobs/17": True, "key": False}


def test_requests_of_programs_are_reported_with_their_outcome(
    store: Store, recorder: RecordKeeper
) -> None:
    """Each method of the store is one request; so is one that fails."""
    store.get("key")
    entry = store.put("key", b"1")
    store.put("key", b"2", expect=entry)
    with pytest.raises(Conflict):
        store.put("key", b"3", expect=ABSENT)
    store.exists("key")
    store.list("")
    store.delete("key")
    store.leader("election")
    store.delete_tree("folder")
    store.watch("key", lambda _: None).close()
    store.open_session(3).close()
    with pytest.raises(Fenced):
        store.put("key", b"4", fence="1:election")

    made = [one for one in recorder.of(Request) if one.by_program]
    assert [(one.operation, one.key, one.outcome) for one in made] == [
        ("get", "key", Outcome.OK),
        ("put", "key", Outcome.OK),
        ("put", "key", Outcome.OK),
        ("put", "key", Outcome.CONFLICT),
        ("exists", "key", Outcome.OK),
        ("list", "", Outcome.OK),
        ("delete", "key", Outcome.OK),
        ("leader", "election", Outcome.OK),
        ("delete_tree", "folder", Outcome.OK),
        ("watch", "key", Outcome.OK),
        ("open_session", None, Outcome.OK),
        ("fenced_put", "key", Outcome.FENCED),
    ]
    assert all(one.seconds >= 0 and one.store == store.url for one in made)


def test_requests_of_the_library_are_reported_with_the_keys_of_users(
    recorder: RecordKeeper,
) -> None:
    """The prefix of the URL is not in them."""
    with open_store("memory://requests-of-the-library/prefix") as store:
        candidate = Candidate(store, "service/api", "node-1", ttl=3)
        assert candidate.wait_elected(5)
        follower = Follower(store, "service/api")
        assert follower.wait_leader(5)
        follower.stop()
        candidate.stop()

    made = recorder.of(Request)
    assert not any(one.by_program for one in made)
    assert {(one.operation, one.key) for one in made} >= {
        ("open_session", None),
        ("renew", None),
        ("enter", "service/api"),
        ("withdraw", "service/api"),
        ("watch_leader", "service/api"),
        ("close_session", None),
    }
    assert {one.outcome for one in made} == {Outcome.OK}


def test_renewals_are_reported_with_the_remaining_lease(
    store: Store, recorder: RecordKeeper
) -> None:
    """Acknowledged renewals restore the lease."""
    candidate = Candidate(store, "key", "value", ttl=1.5)
    assert candidate.wait_elected(5)
    assert eventually(lambda: len(recorder.of(Renewal)) >= 3)

    first, second, third = recorder.of(Renewal)[:3]
    assert first.remaining_before == 0
    assert first.late == 0
    for one in (second, third):
        assert one.outcome is Outcome.OK
        assert 0 < one.remaining_before < one.remaining_after < one.ttl == 1.5
        assert one.seconds >= 0
        assert one.late >= 0


def test_an_outage_is_reported_as_suspension_and_loss(
    opened: Store, faulty: FaultyStore, recorder: RecordKeeper
) -> None:
    """Failed renewals, the suspension, and at last the loss with its reason."""
    candidate = Candidate(opened, "key", "value", ttl=1.2)
    term = candidate.wait_elected(5)
    assert term is not None
    faulty.inject(Fault.UNAVAILABLE, "renew")
    assert term.wait_lost(at_most(5))
    assert eventually(lambda: "lost" in _events(recorder))

    events = {one.event: one for one in recorder.of(CandidateTransition)}
    assert events["lost"].reason == "expired"
    assert events["lost"].token == term.token
    assert events["suspended"].seconds == events["suspended"].at - events["elected"].at
    assert Outcome.UNAVAILABLE in {one.outcome for one in recorder.of(Renewal)}


def test_follower_reports_each_leader(store: Store, recorder: RecordKeeper) -> None:
    """Each change comes with the time for which the leader before was seen."""
    candidate = Candidate(store, "key", "node-1", ttl=3)
    term = candidate.wait_elected(5)
    assert term is not None
    follower = Follower(store, "key")
    assert follower.wait_leader(5)
    candidate.stop()
    assert eventually(lambda: follower.leader is None)
    follower.stop()
    assert eventually(lambda: recorder.of(FollowerTransition)[-1].event == "stopped")

    changes = [one for one in recorder.of(FollowerTransition) if one.event == "leader_changed"]
    assert [(one.value, one.token) for one in changes] == [("node-1", term.token), (None, None)]
    assert changes[-1].seconds == changes[-1].at - changes[-2].at


def test_restart_of_a_watch_of_the_program_is_reported(
    opened: Store, faulty: FaultyStore, recorder: RecordKeeper
) -> None:
    """A watch that reports again after a failure was restarted."""
    seen = Seen()
    opened.watch("key", seen)
    faulty.inject(Fault.UNAVAILABLE)
    seen.wait(lambda change: isinstance(change, StoreUnavailable))
    faulty.heal()

    assert eventually(lambda: recorder.of(WatchRestarted))
    (restarted,) = recorder.of(WatchRestarted)
    assert (restarted.key, restarted.watch) == ("key", "program")
    assert restarted.seconds > 0


def test_restart_of_a_watch_of_the_leader_is_reported(
    opened: Store, faulty: FaultyStore, recorder: RecordKeeper
) -> None:
    """The follower goes on by itself."""
    events = Follower(opened, "key").events()
    faulty.inject(Fault.UNAVAILABLE)
    while not isinstance(next(events), StoreDown):
        pass
    faulty.heal()

    assert eventually(lambda: recorder.of(WatchRestarted))
    (restarted,) = recorder.of(WatchRestarted)
    assert (restarted.key, restarted.watch) == ("key", "leader")
    assert restarted.seconds > 0


# -- the present state ---------------------------------------------------------------------------


def test_late_observer_gets_the_present_state(
    opened: Store, faulty: FaultyStore, recorder: RecordKeeper
) -> None:
    """As records that say so, with the times of the events; an earlier observer gets none of them."""
    candidate = Candidate(opened, "key", "node-1", ttl=3)
    term, follower = candidate.wait_elected(5), Follower(opened, "key")
    assert term is not None
    assert follower.wait_leader(5)
    faulty.inject(Fault.UNAVAILABLE, "renew")
    assert eventually(lambda: "suspended" in _events(recorder))
    before = len(recorder.of(CandidateTransition))
    late = RecordKeeper()
    handle = observe(late)
    present = late.of(CandidateTransition)
    leaders = late.of(FollowerTransition)
    faulty.heal()
    handle.close()

    known = {one.event: one for one in recorder.of(CandidateTransition)[:before]}
    assert [one.event for one in present if one.present] == ["campaigning", "elected", "suspended"]
    assert [one.at for one in present[:3]] == [known[one.event].at for one in present[:3]]
    assert present[1].term is term
    assert [(one.value, one.token, one.present) for one in leaders] == [
        ("node-1", term.token, True)
    ]
    assert not any(one.present for one in known.values())


def test_candidate_that_leaves_and_comes_back_says_so(store: Store, recorder: RecordKeeper) -> None:
    """Although it has no event for that."""
    assert Candidate(store, "key", "other", ttl=3).wait_elected(5)
    recorder.of(CandidateTransition)
    recorder.records.clear()
    candidate = Candidate(store, "key", "value", ttl=3)
    for _ in range(2):
        with pytest.raises(NotElected), candidate.leading(0.05):
            pass
        assert eventually(lambda: _events(recorder)[-1] == "left")

    assert _events(recorder) == ["campaigning", "left"] * 2


def test_elections_without_candidates_are_forgotten(store: Store) -> None:
    """A program that makes a candidate for each of its jobs keeps none of them."""
    live = LiveElections()

    class Feed:
        @hookimpl
        def leadership_observe(self, record: Record) -> None:
            live.note(record)

    handle = observe(Feed())
    for number in range(5):
        with Candidate(store, f"job/{number}", "value", ttl=3).leading(5):
            assert hub.flush(at_most(5))
            assert [(one.key, one.is_leader) for one in live.elections()] == [
                (f"job/{number}", True)
            ]
        assert eventually(lambda: hub.flush(at_most(5)) and live.elections() == [])
    handle.close()


def test_margin_and_suspension_are_those_of_the_records() -> None:
    """The least margin is that of the last five minutes; a running suspension counts."""
    live, now = LiveElections(), clock.now()
    store: dict[str, Any] = {"store": "faulty://x", "kind": "faulty"}

    def renewed(at: float, before: float, seconds: float) -> Renewal:
        return Renewal(
            **store, at=at, outcome=Outcome.OK, seconds=seconds, ttl=10, late=0,
            remaining_before=before, remaining_after=9,
        )  # fmt: skip

    def changed(event: str, at: float) -> CandidateTransition:
        return CandidateTransition(
            **store, at=at, event=event, key="key", value="v", candidate=1, lock=False, ttl=10
        )

    live.note(renewed(now - 2, 0.0, 0.5))  # the first renewal of a session
    assert live.least_margins() == {}
    live.note(renewed(now - 1000, 1.5, 1.0))
    live.note(renewed(now - 100, 6.0, 1.0))
    live.note(renewed(now - 1, 7.0, 1.0))
    assert live.least_margins() == {"faulty": 5.0}

    live.note(changed("suspended", now - 5))
    running = live.suspended_seconds()["key", "faulty"]
    live.note(changed("resumed", now))
    assert running >= 5
    assert live.suspended_seconds() == {("key", "faulty"): 5.0}
