"""Watches of claims and of leaders."""

from __future__ import annotations

import time
from functools import partial

import pytest

from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Absent, Leading, Waiting
from leadership_etcd.claim_watch import ClaimWatch
from leadership_etcd.client import Client
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.conftest import ProxyFactory
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import client_of, is_led_by, watcher_of
from tests.support.servers.etcd import Etcd
from tests.support.waiting import Seen, wait_until


def test_withdrawal_wakes_only_the_next_candidate(
    store: EtcdStore, shared_etcd: Etcd, unique_key: str
) -> None:
    """The next one leads after the leader; one in the middle wakes its successor."""
    election = store.election(unique_key)
    sessions = [store.open_session(60) for _ in range(6)]
    claims = [election.enter(one, b"x") for one in sessions]
    woken = [Seen() for _ in claims]
    claim_watches = [
        election.watch_claim(claim, wake) for claim, wake in zip(claims, woken, strict=True)
    ]
    statuses = [election.status(claim) for claim in claims]
    assert [isinstance(one, Waiting) for one in statuses] == [False] + [True] * 5
    time.sleep(0.2)

    before = shared_etcd.revision()
    election.withdraw(claims[0])
    wait_until(lambda: woken[1])
    time.sleep(0.2)
    assert [len(one) for one in woken] == [1, 1, 0, 0, 0, 0]
    assert election.status(claims[1]) == Leading(claims[1].token or 0)
    assert shared_etcd.revision() == before + 1

    claim_watches[3].close()
    election.withdraw(claims[3])
    wait_until(lambda: woken[4])
    assert isinstance(election.status(claims[4]), Waiting)
    election.withdraw(claims[2])
    wait_until(lambda: len(woken[4]) == 2 and woken[2])  # two watches, reported in any order
    assert [len(one) for one in woken] == [1, 1, 1, 0, 2, 0]
    for one in [*claim_watches, *sessions]:
        one.close()


@pytest.mark.parametrize("how", ["lease", "key", "overwrite"])
def test_waiting_claim_is_woken_when_its_key_is_lost(
    store: EtcdStore,
    shared_etcd: Etcd,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
    how: str,
) -> None:
    """Its status is then `Absent`, so the candidate enters again."""
    election, woken = store.election(unique_key), Seen()
    election.enter(session, b"leads")
    claim = election.enter(rival, b"waits")
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Waiting()

    if how == "lease":
        shared_etcd.revoke(rival.lease)
    elif how == "key":
        shared_etcd.cli("del", f"{unique_key}/{rival.id}")
    else:
        shared_etcd.cli("put", f"{unique_key}/{rival.id}", "by hand")

    wait_until(lambda: woken)
    assert election.status(claim) == Absent(overwritten=how == "overwrite")
    claim_watch.close()


def test_leader_watch_reports_every_change(
    store: EtcdStore,
    shared_etcd: Etcd,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """This includes a leader with the same value and a larger token, and an end by hand."""
    election, seen = store.election(unique_key), Seen()
    watch = election.watch_leader(seen)
    seen.wait(lambda one: one is None)
    first = election.enter(session, b"first")
    earlier = seen.wait(is_led_by("first"))
    election.enter(rival, b"second")
    election.withdraw(first)
    seen.wait(is_led_by("second"))
    election.enter(session, b"first")
    shared_etcd.revoke(rival.lease)
    later = seen.wait(is_led_by("first"))
    assert later.token > earlier.token
    shared_etcd.cli("put", f"{unique_key}/{session.id}", "by hand")
    seen.wait(lambda one: one is None)
    watch.close()


def test_status_after_reported_deletion_needs_no_request(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The next candidate has got the event, too, and only has to ask before it leads."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    session, election, woken = store.open_session(60), store.election(unique_key), Seen()
    claim = election.enter(session, b"leads")
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Leading(claim.token or 0)

    shared_etcd.revoke(session.lease)
    wait_until(lambda: woken)
    link.cut()

    with call_timeout(0.2):
        assert election.status(claim) == Absent()
    link.heal()
    claim_watch.close()


def test_claim_watch_reports_predecessor_deleted_before_its_watch(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """The watch begins at the revision of the read, not at the present one."""
    election, woken = store.election(unique_key), Seen()
    before, claim = election.enter(session, b"before"), election.enter(rival, b"waits")
    claim_watch = ClaimWatch(watcher_of(store), claim.claim_key, claim.token or 0, woken)
    looked = client_of(store).revision
    election.withdraw(before)

    claim_watch.watch_predecessors([before.claim_key], looked)

    wait_until(lambda: woken)
    claim_watch.close()


def test_claim_watch_watches_one_predecessor_at_a_time(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """A former predecessor is watched no more, and after `close` no key is."""
    election = store.election(unique_key)
    first, claim = election.enter(session, b"first"), election.enter(rival, b"waits")
    claim_watch = election.watch_claim(claim, lambda: None)

    def watched_keys() -> set[bytes]:
        return {watch.key for watch in watcher_of(store).watches}

    assert isinstance(election.status(claim), Waiting)
    assert watched_keys() == {first.claim_key, claim.claim_key}
    election.withdraw(first)
    assert isinstance(election.status(claim), Leading)
    wait_until(lambda: watched_keys() == {claim.claim_key})  # soon, not during the hand-over
    claim_watch.close()
    assert not watched_keys()


def _has_length(seen: Seen, length: int) -> bool:
    return len(seen) == length


def test_hand_over_to_next_of_four_needs_no_request(
    store: EtcdStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one looks ahead when the claim before its nearest ends, so events elect it."""
    election, watched = store.election(unique_key), Seen()
    sessions = [store.open_session(60) for _ in range(4)]
    claims = [election.enter(one, b"x") for one in sessions]
    woken = [Seen() for _ in claims]
    claim_watches = [
        election.watch_claim(claim, wake) for claim, wake in zip(claims, woken, strict=True)
    ]
    look_ahead = election._look_ahead
    monkeypatch.setattr(election, "_look_ahead", lambda claim: watched(look_ahead(claim)))
    statuses = [election.status(claim) for claim in claims]
    assert [isinstance(one, Waiting) for one in statuses] == [False, True, True, True]

    for number, looked_ahead in ((1, 0), (2, 1), (3, 1)):
        election.withdraw(claims[number - 1])
        wait_until(partial(len, woken[number]))
        wait_until(partial(_has_length, watched, looked_ahead))
        with monkeypatch.context() as patched:
            patched.delattr(Client, "call")
            assert election.known_status(claims[number]) == Leading(claims[number].token or 0)
        assert [len(one) for one in woken[number + 1 :]] == [0] * (3 - number)

    for one in [*claim_watches, *sessions]:
        one.close()


@pytest.mark.parametrize("how", ["delete", "overwrite"])
def test_claim_lost_before_its_predecessor_leaves_never_leads(
    store: EtcdStore,
    shared_etcd: Etcd,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
    how: str,
) -> None:
    """An operator removes a waiting claim, and then the leader resigns."""
    election, woken = store.election(unique_key), Seen()
    leading, claim = election.enter(session, b"leads"), election.enter(rival, b"waits")
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Waiting()

    words = ["del"] if how == "delete" else ["put"]
    shared_etcd.cli(*words, f"{unique_key}/{rival.id}", *(["x"] if how == "overwrite" else []))
    election.withdraw(leading)
    wait_until(lambda: len(woken) == 2)

    assert election.known_status(claim) is None
    assert election.status(claim) == Absent(overwritten=how == "overwrite")
    claim_watch.close()


def test_claim_behind_a_foreign_key_is_elected_by_a_read(
    store: EtcdStore,
    shared_etcd: Etcd,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """The key is no claim now, and could become one."""
    shared_etcd.cli("put", f"{unique_key}/note", "no claim")
    election, woken = store.election(unique_key), Seen()
    leading, claim = election.enter(session, b"leads"), election.enter(rival, b"waits")
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Waiting()
    election.withdraw(leading)
    wait_until(lambda: woken)

    assert election.known_status(claim) is None
    assert election.status(claim) == Leading(claim.token or 0)
    claim_watch.close()


def test_claim_that_is_being_withdrawn_is_not_known_to_lead(
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its deletion may be executed before it is reported."""
    election, woken = store.election(unique_key), Seen()
    leading, claim = election.enter(session, b"leads"), election.enter(rival, b"waits")
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Waiting()
    election.withdraw(leading)
    wait_until(lambda: woken)
    with monkeypatch.context() as patched:
        patched.delattr(Client, "call")
        with pytest.raises(AttributeError):
            election.withdraw(claim)

    assert election.known_status(claim) is None
    claim_watch.close()


def test_report_on_another_stream_elects_by_a_read(
    shared_etcd: Etcd,
    proxy: ProxyFactory,
    opened: Opener,
    session: EtcdSession,
    unique_key: str,
) -> None:
    """The stream broke after the queue was read."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    rival, election, woken = store.open_session(60), store.election(unique_key), Seen()
    leading, claim = election.enter(session, b"leads"), election.enter(rival, b"waits")
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Waiting()
    wait_until(lambda: all(one.id is not None for one in watcher_of(store).watches))
    link.reset()
    wait_until(lambda: watcher_of(store).ended_streams)
    election.withdraw(leading)
    wait_until(lambda: woken)

    assert election.known_status(claim) is None
    assert election.status(claim) == Leading(claim.token or 0)
    claim_watch.close()
