"""Answers of the status server in each state of an election."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Follower,
    Leader,
    LeaderChanged,
    Store,
    aio,
    open_store,
)
from leadership_core.backend import clock
from leadership_core.status import serve
from leadership_core.status.history import CandidateRecord, ElectionRecord
from tests.support.waiting import wait_until
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultyStore
from tests.unit.status.client import ask, listening, wait_for_leader


def test_leader_of_this_process_is_described_with_its_lease(store: Store) -> None:
    """`/leader` has the value, the token, the time, and what is left of the lease."""
    before = time.time()
    candidate = Candidate(store, "a/b", "node-1", ttl=6)
    with serve([candidate]) as server, candidate:
        term = candidate.wait_elected(5)
        assert term is not None
        document = wait_for_leader(server, lambda one: one["me"] and one["store_answers"])
        answer = ask(server, "/leader")

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert document["key"] == "a/b"
    assert document["value"] == "node-1"
    assert document["token"] == term.token
    assert document["since_exact"] is True
    assert before - 1 <= document["since"] <= time.time() + 1
    assert 0 < document["lease_left"] <= 6
    assert 0 <= document["age"] <= 6
    assert document["candidates"] == [{"value": "node-1", "state": "leading", "ttl": 6}]


def test_standby_names_the_leader_and_is_ready(open_one: Open) -> None:
    """A candidate that does not lead shows who does, is alive, and ready to be elected."""
    with Candidate(open_one(), "key", "node-1", ttl=6) as first:
        term = first.wait_elected(5)
        assert term is not None
        with Candidate(open_one(), "key", "node-2", ttl=6) as second, serve([second]) as server:
            document = wait_for_leader(server, lambda one: one["value"] == "node-1")
            wait_until(lambda: ask(server, "/readyz").status == 200)
            alive = ask(server, "/livez")

    assert (document["me"], document["token"], document["lease_left"]) == (False, term.token, None)
    assert document["candidates"][0]["state"] == "standby"
    assert document["since_exact"] is False, "it led before this process looked"
    assert (alive.status, alive.text) == (200, "ok")


def test_follower_reports_a_vacant_election_as_not_found(store: Store) -> None:
    """`/leader` answers 404, with the document, while the store says that there is no leader."""
    with serve([Follower(store, "key")]) as server:
        document = wait_for_leader(server, lambda one: one["known"])
        answer = ask(server, "/leader")
        ready = ask(server, "/readyz")

    assert answer.status == 404
    assert (document["value"], document["token"], document["me"]) == (None, None, False)
    assert document["no_leader_since"] == pytest.approx(time.time(), abs=30)
    assert ready.status == 200


def test_unstarted_candidate_is_followed_and_not_ready(
    open_one: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Serving starts no candidate, and reads none that would warn about that."""
    store = open_one()
    candidate = Candidate(store, "key", "node-2", ttl=6)
    with Candidate(open_one(), "key", "node-1", ttl=6) as other, serve([candidate]) as server:
        assert other.wait_elected(5)
        document = wait_for_leader(server, lambda one: one["value"] == "node-1")
        ready = ask(server, "/readyz")
        assert other.stop()
        wait_for_leader(server, lambda one: one["known"] and one["value"] is None)

        candidate.start()
        wait_for_leader(server, lambda one: one["value"] == "node-2" and one["me"])

    assert document["candidates"][0]["state"] == "not started"
    assert (ready.status, ready.text) == (503, "the candidate for key is not started")
    assert "cannot lead before start" not in caplog.text


def test_leader_that_cannot_renew_is_not_alive(faulty: FaultyStore, opened: Store) -> None:
    """`/livez` answers 503 while a leader cannot renew; after the loss it is a candidate, and alive."""
    with Candidate(opened, "key", "node-1", ttl=5) as candidate, serve([candidate]) as server:
        assert candidate.wait_elected(5)
        wait_until(lambda: ask(server, "/readyz").status == 200)
        faulty.inject(Fault.UNAVAILABLE)

        wait_until(lambda: ask(server, "/livez").status == 503, 8)
        said = ask(server, "/livez").text
        state = ask(server, "/leader").json["candidates"][0]["state"]
        wait_until(lambda: ask(server, "/livez").status == 200, 12)
        lost = ask(server, "/leader")
        ready = ask(server, "/readyz")
        faulty.heal()
        wait_until(lambda: ask(server, "/readyz").status == 200, 12)

    assert said == "the leader of key cannot renew its lease"
    assert state == "suspended"
    assert (lost.json["me"], lost.json["value"]) == (False, None), "its own term is over"
    assert lost.json["store_error"]
    assert ready.status == 503


def test_unknown_leader_is_unavailable(faulty: FaultyStore, opened: Store) -> None:
    """`/leader` answers 503 until the store has answered once."""
    faulty.inject(Fault.UNAVAILABLE)
    with Candidate(opened, "key", "node-1", ttl=5) as candidate, serve([candidate]) as server:
        document = wait_for_leader(server, lambda one: one["store_error"])
        answer = ask(server, "/leader")
        ready, alive = ask(server, "/readyz"), ask(server, "/livez")

    assert answer.status == 503
    assert document["known"] is False
    assert ready.status == 503
    assert alive.status == 200, "a restart of this program would not help"


def test_watchdog_that_has_ended_a_term_is_reported_for_good(store: Store) -> None:
    """`/livez` answers 503 after a watchdog has ended a term, until the process is restarted."""
    go_on = threading.Event()
    candidate = Candidate(store, "key", "node-1", ttl=6, watchdog=0.5)
    with candidate, serve([candidate]) as server:
        worker = threading.Thread(target=candidate.lead, args=[lambda _: go_on.wait(20)])
        worker.start()
        try:
            wait_until(lambda: ask(server, "/livez").status == 503)
            said = ask(server, "/livez").text
            wait_until(lambda: not ask(server, "/leader").json["me"])
            after = ask(server, "/livez").status
        finally:
            go_on.set()
            candidate.stop()
            worker.join()

    assert said == "the watchdog has ended a term of key"
    assert after == 503


def test_candidate_that_is_not_ready_does_not_stand(store: Store) -> None:
    """`/readyz` and the page say that the program holds its candidate back, and when it does not."""
    ready = threading.Event()
    with (
        Candidate(store, "key", "node-1", ttl=3, ready=ready.is_set) as candidate,
        serve([candidate]) as server,
        listening(server) as client,
    ):
        client.wait(lambda one: one["candidates"][0]["state"] == "not ready")
        wait_for_leader(server, lambda one: one["known"])
        refused = ask(server, "/readyz")
        alive = ask(server, "/livez")
        ready.set()
        client.wait(lambda one: one["candidates"][0]["state"] == "leading")
        wait_until(lambda: ask(server, "/readyz").status == 200)

    assert (refused.status, refused.text) == (503, "the candidate for key is not ready")
    assert alive.status == 200


def test_terms_are_recorded_with_their_ends(store: Store) -> None:
    """A resignation and a new term of the same candidate are two terms of the history."""
    candidate = Candidate(store, "key", "node-1", ttl=6)
    with serve([candidate]) as server, candidate:
        first = candidate.wait_elected(5)
        assert first is not None
        wait_for_leader(server, lambda one: one["token"] == first.token)
        assert candidate.resign(cooldown=0.05)
        second = candidate.wait_elected(5)
        assert second is not None
        wait_for_leader(server, lambda one: one["token"] == second.token)
        terms = [replace(one) for one in server._elections.records[0].terms]

    assert [one.token for one in terms] == [first.token, second.token]
    assert [one.ending for one in terms] == ["resigned", ""]
    assert terms[0].ended is not None
    assert terms[0].began <= terms[0].ended <= terms[1].began
    assert all(one.mine and one.exact for one in terms)


def test_term_that_began_before_the_server_is_not_dated(store: Store) -> None:
    """What the server has not seen begin is said to have begun before."""
    with Candidate(store, "key", "node-1", ttl=6) as candidate:
        term = candidate.wait_elected(5)
        with serve([candidate]) as server:
            document = wait_for_leader(server, lambda one: one["me"] and one["store_answers"])

    assert term is not None
    assert (document["token"], document["since_exact"]) == (term.token, False)


def test_term_that_expired_in_a_pause_ended_with_its_lease(store: Store) -> None:
    """A process that was paused reports the loss late; the term is shown to the end of its lease."""
    with Candidate(store, "key", "node-1", ttl=2) as candidate, serve([candidate]) as server:
        term = candidate.wait_elected(5)
        assert term is not None
        wait_for_leader(server, lambda one: one["me"] and one["known"])
        record = server._elections.records[0].terms[0]
        record.began -= 60
        # As after a pause of 30 s, which ended just now.
        term._state.lease.deadline = clock.now() - 30  # type: ignore[attr-defined]
        wait_until(lambda: record.ending, what="the loss is recorded")
        ended = record.ended

    assert ended is not None
    assert time.time() - 60 < ended < time.time() - 20
    assert record.ending == "lost: expired"


def test_late_report_of_a_vacancy_does_not_end_the_next_term() -> None:
    """A watch may report an old state after the candidate has reported its election."""
    candidate = CandidateRecord("node-1", 15.0, lambda: False)
    election = ElectionRecord("key", "memory://x", lambda: None, [candidate])
    election.on_follower_event(LeaderChanged(Leader("node-2", 5)), 1.0)
    election._begin("node-1", 7, 2.0, exact=True)
    election.on_follower_event(LeaderChanged(None), 3.0)
    open_terms = [one.token for one in election.terms if one.ended is None]
    election.on_follower_event(LeaderChanged(Leader("node-1", 7)), 4.0)

    assert open_terms == [7]
    assert [(one.token, one.began, one.ended) for one in election.terms] == [
        (5, 1.0, 2.0),
        (7, 2.0, None),
    ]
    assert election.vacant_since is None


def test_several_elections_are_a_list_and_can_be_selected(store: Store) -> None:
    """`/leader` is a list with several elections, and `?key=` selects one of them."""
    members = [Candidate(store, key, "node-1", ttl=6) for key in ("a", "b/c")]
    with members[0], serve([*members, Follower(store, "b/c"), members[0]]) as server:
        assert members[0].wait_elected(5)
        wait_until(lambda: ask(server, "/leader?key=a").status == 200)
        wait_until(lambda: ask(server, "/leader?key=/b/c").status == 404)
        both = ask(server, "/leader")
        chosen = ask(server, "/leader?key=b%2Fc").json
        missing = ask(server, "/leader?key=nothing")

    assert both.status == 200
    assert [one["key"] for one in both.json] == ["a", "b/c"]
    assert chosen["key"] == "b/c"
    assert (missing.status, "error" in missing.json) == (404, True)


def test_secrets_of_a_url_are_masked() -> None:
    """The token in a URL appears neither in the URL of the store nor in its errors."""
    with (
        open_store("consul://127.0.0.1:1/prefix?token=hunter2") as store,
        serve([Follower(store, "key")]) as server,
    ):
        document = wait_for_leader(server, lambda one: one["store_error"])
        page = ask(server, "/").body.decode()

    assert document["store"].startswith("consul://127.0.0.1:1/prefix")
    assert "hunter2" not in f"{document} {page}"


def test_members_of_asyncio_are_served() -> None:
    """A program on asyncio serves its candidate in the same way, and its loop is not held up."""

    async def run() -> list[int]:
        async with aio.open_store("memory://") as store:
            follower = aio.Follower(store, "other")
            async with aio.Candidate(store, "key", "node-1", ttl=6) as candidate:
                with serve([candidate, follower]) as server:
                    assert await candidate.wait_elected(5)
                    asked = asyncio.to_thread(
                        wait_until, lambda: ask(server, "/leader?key=key").status == 200
                    )
                    await asked
                    return [
                        (await asyncio.to_thread(ask, server, path)).status
                        for path in ("/leader?key=key", "/leader?key=other", "/livez")
                    ]

    assert asyncio.run(run()) == [200, 404, 200]


def test_hanging_callback_of_the_user_delays_no_answer(store: Store) -> None:
    """The status comes from the engine, and not after the callbacks of the program."""
    go_on = threading.Event()
    with (
        Candidate(
            store, "key", "node-1", ttl=6, on_elected=lambda _: bool(go_on.wait(20))
        ) as candidate,
        serve([candidate]) as server,
    ):
        wait_for_leader(server, lambda one: one["me"])
        go_on.set()


@pytest.mark.parametrize("members", [[], ["node-1"], [None]])
def test_members_of_another_type_are_refused(members: list[object]) -> None:
    """`serve` says what it takes."""
    with pytest.raises(ConfigurationError, match=r"serve\(\) takes"):
        serve(members)  # type: ignore[arg-type]
