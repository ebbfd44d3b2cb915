"""Claims and writes whose request or answer is lost on the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_core import Fence
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Absent, ClaimOutcomeUnknown, Leading
from leadership_core.errors import Fenced, NotApplied, SessionLost, StoreUnavailable
from leadership_etcd.claim import EtcdClaim
from leadership_etcd.rpc import TXN, key_missing, put_request, txn_request
from leadership_etcd.store import EtcdStore
from tests.conftest import ProxyFactory
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import client_of, same_session
from tests.support.servers.etcd import Etcd
from tests.support.servers.proxy import Proxy
from tests.support.waiting import at_most, wait_until


class Far:
    """A candidate behind a link that can be cut; its connections stay open."""

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
        with call_timeout(seconds), pytest.raises(ClaimOutcomeUnknown) as caught:
            self.election.enter(self.session, b"Frank")
        return EtcdClaim.of(caught.value.claim)


def within(seconds: float, work: Callable[[], Any]) -> Callable[[], Any]:
    def limited() -> Any:
        with call_timeout(seconds):
            return work()

    return limited


def arrives_late(store: EtcdStore, claim: EtcdClaim) -> bool:
    """Send the request to enter of a claim as a delayed copy of it would arrive."""
    request = txn_request(
        when=[key_missing(claim.claim_key)],
        then=[put_request(claim.claim_key, claim.value, claim.lease)],
    )
    return bool(client_of(store).call(TXN, request).succeeded)


@pytest.fixture
def far(shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str) -> Far:
    link = proxy(shared_etcd.port)
    return Far(link, opened(shared_etcd.url_at(link.port)), unique_key)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_enter_with_lost_answer_is_settled_by_reading_back(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """The claim gets the token of the write that was executed."""
    far.link.cut("down")
    entering = pool.submit(within(5, lambda: far.election.enter(far.session, b"Frank")))
    wait_until(lambda: store.get(far.own))
    far.link.reset()
    far.link.heal()

    claim = entering.result(10)

    entry = store.get(far.own)
    assert entry is not None
    assert (claim.token, claim.settled, claim.granted) == (entry.revision, True, True)
    assert far.election.status(claim) == Leading(entry.revision)


def test_enter_without_answer_raises_claim_outcome_unknown_in_time(far: Far) -> None:
    """The error carries the claim, which is not settled."""
    far.link.cut()
    began = time.monotonic()

    claim = far.enter_unknown(0.6)

    assert time.monotonic() - began < at_most(0.9)
    assert (claim.token, claim.settled, claim.granted) == (None, False, False)


def test_enter_at_closed_port_is_not_applied(far: Far) -> None:
    """Nothing was sent: the same session may enter again."""
    far.link.refuse()
    with pytest.raises(StoreUnavailable):
        within(1, lambda: far.store.get("anything"))()  # the connection is known to be gone
    with pytest.raises(NotApplied):
        within(2, lambda: far.election.enter(far.session, b"Frank"))()
    far.link.listen()

    wait_until(lambda: far.store.get("anything") is None)
    assert far.election.enter(far.session, b"Frank").granted


def test_orphaned_claim_that_exists_can_be_withdrawn(far: Far, store: EtcdStore) -> None:
    """Once the link is back, the withdrawal deletes the key whose creation was not confirmed."""
    far.link.cut("down")
    claim = far.enter_unknown()
    assert store.get(far.own) is not None
    assert not claim.settled
    far.link.heal()

    far.election.withdraw(claim)

    assert claim.settled
    assert store.get(far.own) is None


def test_claim_stays_orphaned_while_its_request_may_arrive(far: Far, store: EtcdStore) -> None:
    """It is not settled; when its key comes after all, it is not adopted but deleted."""
    held = far.link.hold(b"Frank")
    claim = far.enter_unknown()
    assert held.caught.is_set()

    store.election(far.key).withdraw(claim)  # not over the link that is cut
    assert not claim.settled
    assert far.election.status(claim) == Absent()

    assert arrives_late(store, claim)
    assert far.election.status(claim) == Absent()
    store.election(far.key).withdraw(claim)
    assert claim.settled
    assert store.get(far.own) is None


def test_end_of_lease_settles_orphaned_claim(far: Far, store: EtcdStore) -> None:
    """Without the lease a late request cannot create the key."""
    held = far.link.hold(b"Frank")
    claim = far.enter_unknown()
    near = store.election(far.key)
    store_session = same_session(store, far.session)
    store_session.close()

    with pytest.raises(SessionLost):
        near.withdraw(claim)

    with pytest.raises(SessionLost):
        arrives_late(store, claim)
    assert held.caught.is_set()
    assert store.get(far.own) is None


def test_withdrawal_of_orphaned_claim_keeps_newer_claim(far: Far, store: EtcdStore) -> None:
    """A newer claim of the same session on the same key goes on leading."""
    held = far.link.hold(b"Frank")
    loose = far.enter_unknown()
    newer = far.election.enter(far.session, b"newer")

    far.election.withdraw(loose)

    assert newer.token is not None
    assert far.election.status(newer) == Leading(newer.token)
    assert held.caught.is_set()
    assert not arrives_late(store, loose)
    assert far.election.status(newer) == Leading(newer.token)


def test_late_withdrawal_keeps_claim_of_next_term(far: Far, store: EtcdStore) -> None:
    """Held back in term 1, delivered in term 2 of the same session: its guard rejects it."""
    first = far.election.enter(far.session, b"Frank")
    held = far.link.hold(far.own.encode())
    with call_timeout(0.4), pytest.raises(StoreUnavailable):
        far.election.withdraw(first)
    assert held.caught.is_set()
    near = store.election(far.key)
    near.withdraw(first)
    session = same_session(store, far.session)
    second = near.enter(session, b"Frank")

    held.release()
    time.sleep(0.3)

    assert second.token is not None
    assert near.status(second) == Leading(second.token)


def test_overtaken_withdrawal_keeps_claim_of_next_term(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """Its sender still waits for it, so it is certainly executed in term 2."""
    first = far.election.enter(far.session, b"Frank")
    held = far.link.hold(far.own.encode())
    leaving = pool.submit(within(10, lambda: far.election.withdraw(first)))
    assert held.caught.wait(5)
    near = store.election(far.key)
    near.withdraw(first)
    session = same_session(store, far.session)
    second = near.enter(session, b"Frank")

    held.release()
    leaving.result(12)

    assert second.token is not None
    assert near.status(second) == Leading(second.token)


def test_withdrawal_with_lost_answer_is_repeated(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """The first one was executed; the repetition confirms it."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    leaving = pool.submit(within(5, lambda: far.election.withdraw(claim)))
    wait_until(lambda: store.get(far.own) is None)
    far.link.reset()
    far.link.heal()

    leaving.result(10)

    assert claim.settled
    far.election.withdraw(claim)


def test_withdrawal_that_may_be_executed_is_not_reported_as_not_applied(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """The first try was executed and its answer lost; the second was not even sent."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    leaving = pool.submit(within(5, lambda: far.election.withdraw(claim)))
    wait_until(lambda: store.get(far.own) is None)
    far.link.refuse()

    with pytest.raises(StoreUnavailable) as caught:
        leaving.result(10)

    assert not isinstance(caught.value, NotApplied)


def test_fenced_write_arriving_in_next_term_is_rejected(
    far: Far, store: EtcdStore, shared_etcd: Etcd
) -> None:
    """It was sent while its writer led; the next leader has written meanwhile."""
    data = f"{far.key}/data"
    claim = far.election.enter(far.session, b"Frank")
    fence = Fence(far.key, claim.token or 0)
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
    written = store.put(data, b"2", fence=Fence(far.key, following.token))
    held.release()
    writer.join(5)

    assert isinstance(outcome[0], Fenced)
    assert store.get(data) == written
    session.close()


def test_write_without_answer_is_not_repeated(far: Far, store: EtcdStore) -> None:
    """It may have been executed, and a second execution could overwrite another write."""
    before = far.store.put(far.key, b"0")
    far.link.cut("down")

    with call_timeout(0.4), pytest.raises(StoreUnavailable) as caught:
        far.store.put(far.key, b"1")
    far.link.heal()

    assert not isinstance(caught.value, NotApplied)
    wait_until(lambda: (store.get(far.key) or before).value == b"1")
    assert far.store.put(far.key, b"2").revision == (store.get(far.key) or before).revision


def test_write_on_broken_connection_is_executed_once(
    far: Far, store: EtcdStore, shared_etcd: Etcd, pool: ThreadPoolExecutor
) -> None:
    """There is time to repeat it; etcd counts the writes of a key."""
    before = far.store.put(far.key, b"0")
    far.link.cut("down")
    writing = pool.submit(within(5, lambda: far.store.put(far.key, b"1")))
    wait_until(lambda: store.get(far.key) != before)
    far.link.reset()
    far.link.heal()

    with pytest.raises(StoreUnavailable):
        writing.result(10)

    entry = store.get(far.key)
    assert entry is not None
    assert entry.value == b"1"
    assert json.loads(shared_etcd.cli("get", far.key, "-w=json").stdout)["kvs"][0]["version"] == 2


def test_read_without_answer_is_repeated_on_new_connection(
    far: Far, pool: ThreadPoolExecutor
) -> None:
    """A connection that breaks under a read costs only time."""
    entry = far.store.put(far.key, b"0")
    far.link.cut("down")
    reading = pool.submit(within(5, lambda: far.store.get(far.key)))
    time.sleep(0.2)
    far.link.reset()
    far.link.heal()

    assert reading.result(5) == entry


def test_reading_back_ignores_key_of_earlier_claim(far: Far, pool: ThreadPoolExecutor) -> None:
    """The request is lost, and a key with its value exists: it is older than the request."""
    earlier = far.election.enter(far.session, b"Frank")
    request = far.link.hold(b"Frank")
    entering = pool.submit(within(5, lambda: far.election.enter(far.session, b"Frank")))
    wait_until(request.caught.is_set)
    far.link.reset()

    with pytest.raises(ClaimOutcomeUnknown) as caught:
        entering.result(10)

    assert EtcdClaim.of(caught.value.claim).token is None
    assert far.election.status(earlier) == Leading(earlier.token or 0)


def test_deletion_with_lost_answer_is_not_repeated(
    far: Far, store: EtcdStore, pool: ThreadPoolExecutor
) -> None:
    """A repetition would not find what the first one has deleted."""
    entry = store.put(far.key, b"1")
    far.link.cut("down")
    deleting = pool.submit(within(5, lambda: far.store.delete(far.key, expect=entry)))
    wait_until(lambda: store.get(far.key) is None)
    far.link.reset()
    far.link.heal()

    with pytest.raises(StoreUnavailable):
        deleting.result(10)


def test_lease_with_ttl_of_zero_has_not_ended(store: EtcdStore, unique_key: str) -> None:
    """In its last second etcd reports a ttl of 0 s, as for a field that is not set."""
    session = store.open_session(1)
    claim = EtcdClaim(unique_key, session, b"Frank")
    claim.settled = False

    store.election(unique_key).withdraw(claim)

    assert not claim.settled, "a copy of the request may still come"
    session.renew()
