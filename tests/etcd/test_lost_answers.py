"""What becomes of a claim when an answer, or a request, is lost on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_core.budget import budget
from leadership_core.errors import (
    ClaimUnknown,
    Fenced,
    NotDone,
    SessionLost,
    StoreUnavailable,
)
from leadership_core.store import Absent, Leading
from leadership_etcd.claim import EtcdClaim
from leadership_etcd.messages import absent, encode, put, read, txn
from leadership_etcd.methods import RANGE, TXN
from leadership_etcd.store import EtcdStore
from tests.conftest import ProxyFactory
from tests.etcd.conftest import Opener
from tests.etcd.tools import wait_until
from tests.servers.etcd import Etcd
from tests.servers.proxy import Proxy
from tests.support.machine import at_most


class Far:
    """A candidate behind a link that can be cut; its connections stand."""

    def __init__(self, link: Proxy, store: EtcdStore, key: str) -> None:
        self.link, self.store, self.key = link, store, key
        self.session = store.open_session(60)
        self.election = store.election(key)
        self.election.withdraw(self.election.enter(self.session, b"first"))

    @property
    def own(self) -> str:
        return f"{self.key}/{self.session.id}"

    def enter_unknown(self, seconds: float = 0.6) -> EtcdClaim:
        """Enter without an answer."""
        with budget(seconds), pytest.raises(ClaimUnknown) as caught:
            self.election.enter(self.session, b"Frank")
        return EtcdClaim.of(caught.value.claim)


def within(seconds: float, work: Callable[[], Any]) -> Callable[[], Any]:
    def limited() -> Any:
        with budget(seconds):
            return work()

    return limited


def arrives_late(store: EtcdStore, claim: EtcdClaim) -> bool:
    """Send the request to enter of a claim as a delayed copy of it would arrive."""
    request = txn(when=[absent(claim.own)], then=[put(claim.own, claim.value, claim.lease)])
    return bool(store._client.call(TXN, request).succeeded)


@pytest.fixture
def far(shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str) -> Far:
    link = proxy(shared_etcd.port)
    return Far(link, opened(shared_etcd.url_at(link.port)), unique_key)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_a_grant_whose_answer_was_lost_is_found_by_reading_back(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """The key was made, the answer was lost: the claim has the token of the write that landed."""
    far.link.cut("down")
    entering = pool.submit(within(5, lambda: far.election.enter(far.session, b"Frank")))
    wait_until(lambda: store.get(far.own))
    far.link.reset()
    far.link.heal()

    claim = entering.result(10)

    entry = store.get(far.own)
    assert entry is not None
    assert (claim.token, claim.settled, claim.granted) == (entry.revision, True, True)
    assert far.election.standing(claim) == Leading(entry.revision)


def test_entering_without_any_answer_is_unknown_and_in_time(far: Far) -> None:
    """The error carries the claim, which is not settled; it took no longer than the budget."""
    far.link.cut()
    began = time.monotonic()

    claim = far.enter_unknown(0.6)

    assert time.monotonic() - began < at_most(0.9)
    assert (claim.token, claim.settled, claim.granted) == (None, False, False)


def test_entering_at_a_store_that_refuses_is_not_done(far: Far) -> None:
    """Nothing was sent: the same session may enter again."""
    far.link.refuse()
    with pytest.raises(StoreUnavailable):
        within(1, lambda: far.store.get("anything"))()  # the connection is known to be gone
    with pytest.raises(NotDone):
        within(2, lambda: far.election.enter(far.session, b"Frank"))()
    far.link.listen()

    wait_until(lambda: far.store.get("anything") is None)
    assert far.election.enter(far.session, b"Frank").granted


def test_an_unknown_claim_that_landed_can_be_withdrawn(far: Far, store: EtcdStore) -> None:
    """Once the link is back, withdrawing takes away what nobody knew was there."""
    far.link.cut("down")
    claim = far.enter_unknown()
    assert store.get(far.own) is not None
    assert not claim.settled
    far.link.heal()

    far.election.withdraw(claim)

    assert claim.settled
    assert store.get(far.own) is None


def test_a_request_that_may_still_come_keeps_the_claim_loose(far: Far, store: EtcdStore) -> None:
    """It is not there, and not settled; when it comes after all, nobody adopts it, and it goes."""
    held = far.link.hold(b"Frank")
    claim = far.enter_unknown()
    assert held.caught.is_set()

    store.election(far.key).withdraw(claim)  # by another way than the link that is cut
    assert not claim.settled
    assert far.election.standing(claim) == Absent()

    assert arrives_late(store, claim)
    assert far.election.standing(claim) == Absent()
    store.election(far.key).withdraw(claim)
    assert claim.settled
    assert store.get(far.own) is None


def test_a_request_cannot_come_when_the_session_is_gone(far: Far, store: EtcdStore) -> None:
    """The end of the lease settles what nothing else can."""
    held = far.link.hold(b"Frank")
    claim = far.enter_unknown()
    near = store.election(far.key)
    store_session = type(far.session)(store._client, far.session.lease, 60)
    store_session.close()

    with pytest.raises(SessionLost):
        near.withdraw(claim)

    with pytest.raises(SessionLost):
        arrives_late(store, claim)
    assert held.caught.is_set()
    assert store.get(far.own) is None


def test_an_old_loose_claim_does_not_take_away_a_newer_one(far: Far, store: EtcdStore) -> None:
    """Whoever enters the same key on the same session all the same is not disturbed."""
    held = far.link.hold(b"Frank")
    loose = far.enter_unknown()
    newer = far.election.enter(far.session, b"newer")

    far.election.withdraw(loose)

    assert newer.token is not None
    assert far.election.standing(newer) == Leading(newer.token)
    assert held.caught.is_set()
    assert not arrives_late(store, loose)
    assert far.election.standing(newer) == Leading(newer.token)


def test_a_withdrawal_that_arrives_late_is_harmless(far: Far, store: EtcdStore) -> None:
    """Held back in term 1, delivered in term 2 of the same session: the guard refuses it."""
    first = far.election.enter(far.session, b"Frank")
    held = far.link.hold(far.own.encode())
    with budget(0.4), pytest.raises(StoreUnavailable):
        far.election.withdraw(first)
    assert held.caught.is_set()
    near = store.election(far.key)
    near.withdraw(first)
    session = type(far.session)(store._client, far.session.lease, 60)
    second = near.enter(session, b"Frank")

    held.release()
    time.sleep(0.3)

    assert second.token is not None
    assert near.standing(second) == Leading(second.token)


def test_a_withdrawal_that_is_overtaken_is_harmless(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """Its sender still waits for it, so it is served in term 2, for certain."""
    first = far.election.enter(far.session, b"Frank")
    held = far.link.hold(far.own.encode())
    leaving = pool.submit(within(10, lambda: far.election.withdraw(first)))
    assert held.caught.wait(5)
    near = store.election(far.key)
    near.withdraw(first)
    session = type(far.session)(store._client, far.session.lease, 60)
    second = near.enter(session, b"Frank")

    held.release()
    leaving.result(12)

    assert second.token is not None
    assert near.standing(second) == Leading(second.token)


def test_a_withdrawal_whose_answer_was_lost_is_sent_again(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """It did its work; doing it once more says so."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    leaving = pool.submit(within(5, lambda: far.election.withdraw(claim)))
    wait_until(lambda: store.get(far.own) is None)
    far.link.reset()
    far.link.heal()

    leaving.result(10)

    assert claim.settled
    far.election.withdraw(claim)


def test_what_may_have_been_done_is_not_said_to_be_undone(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """The first try did its work and its answer was lost; the second was not even sent."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    leaving = pool.submit(within(5, lambda: far.election.withdraw(claim)))
    wait_until(lambda: store.get(far.own) is None)
    far.link.refuse()

    with pytest.raises(StoreUnavailable) as caught:
        leaving.result(10)

    assert not isinstance(caught.value, NotDone)


def test_a_fenced_write_that_arrives_in_the_next_term_is_refused(
    far: Far, store: EtcdStore, shared_etcd: Etcd
) -> None:
    """It left while its writer led, with its guard; the next leader has written meanwhile."""
    data = f"{far.key}/data"
    claim = far.election.enter(far.session, b"Frank")
    fence = (far.key, claim.token or 0)
    far.store.put(data, b"1", fence=fence)
    held = far.link.hold(b"late write")
    outcome: list[object] = []

    def write() -> None:
        try:
            outcome.append(within(4, lambda: far.store.put(data, b"late write", fence=fence))())
        except Fenced as error:
            outcome.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert held.caught.wait(5)
    shared_etcd.revoke(far.session.lease)
    session = store.open_session(60)
    following = store.election(far.key).enter(session, b"next")
    assert following.token is not None
    written = store.put(data, b"2", fence=(far.key, following.token))
    held.release()
    writer.join(5)

    assert isinstance(outcome[0], Fenced)
    assert store.get(data) == written
    session.close()


def test_a_write_without_an_answer_is_not_sent_again(far: Far, store: EtcdStore) -> None:
    """It may have been done, and doing it twice is not the same as doing it once."""
    before = far.store.put(far.key, b"0")
    far.link.cut("down")

    with budget(0.4), pytest.raises(StoreUnavailable) as caught:
        far.store.put(far.key, b"1")
    far.link.heal()

    assert not isinstance(caught.value, NotDone)
    wait_until(lambda: (store.get(far.key) or before).value == b"1")
    assert far.store.put(far.key, b"2").revision == (store.get(far.key) or before).revision


def test_a_write_whose_connection_breaks_is_done_once_at_most(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """It was done, and there is time to send it again; etcd counts the writes of a key."""
    before = far.store.put(far.key, b"0")
    far.link.cut("down")
    writing = pool.submit(within(5, lambda: far.store.put(far.key, b"1")))
    wait_until(lambda: store.get(far.key) != before)
    far.link.reset()
    far.link.heal()

    with pytest.raises(StoreUnavailable):
        writing.result(10)

    found = store._client.call(RANGE, read(encode(far.key))).kvs[0]
    assert (found.value, found.version) == (b"1", 2)


def test_a_read_without_an_answer_is_made_again_on_a_new_connection(
    far: Far, pool: ThreadPoolExecutor
) -> None:
    """A connection that breaks under a read costs nothing but time."""
    entry = far.store.put(far.key, b"0")
    far.link.cut("down")
    reading = pool.submit(within(5, lambda: far.store.get(far.key)))
    time.sleep(0.2)
    far.link.reset()
    far.link.heal()

    assert reading.result(5) == entry


def test_what_an_earlier_claim_has_left_is_not_adopted(far: Far, pool: ThreadPoolExecutor) -> None:
    """The request is lost, and a key with its value is there: from before it, so it is not its."""
    earlier = far.election.enter(far.session, b"Frank")
    request = far.link.hold(b"Frank")
    entering = pool.submit(within(5, lambda: far.election.enter(far.session, b"Frank")))
    wait_until(request.caught.is_set)
    far.link.reset()

    with pytest.raises(ClaimUnknown) as caught:
        entering.result(10)

    assert EtcdClaim.of(caught.value.claim).token is None
    assert far.election.standing(earlier) == Leading(earlier.token or 0)


def test_a_deletion_that_was_done_is_not_said_to_have_found_nothing(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """Its answer is lost: it is not sent again, since it would not find what it has deleted."""
    entry = store.put(far.key, b"1")
    far.link.cut("down")
    deleting = pool.submit(within(5, lambda: far.store.delete(far.key, expect=entry)))
    wait_until(lambda: store.get(far.key) is None)
    far.link.reset()
    far.link.heal()

    with pytest.raises(StoreUnavailable):
        deleting.result(10)


def test_the_last_second_of_a_lease_is_not_its_end(store: EtcdStore, unique_key: str) -> None:
    """Etcd gives its ttl as 0 s then, as it would an unset field; the lease stands."""
    session = store.open_session(1)
    claim = EtcdClaim(unique_key, session, b"Frank")
    claim.settled = False

    store.election(unique_key).withdraw(claim)

    assert not claim.settled, "a copy of the request may still come"
    session.renew()
