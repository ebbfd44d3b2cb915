"""Claims, sessions and writes when an answer, or a request, is lost."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_core import Fence
from leadership_core.backend import clock
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import ClaimOutcomeUnknown, Leading
from leadership_core.errors import (
    Fenced,
    LeadershipError,
    NotApplied,
    SessionLost,
    StoreUnavailable,
)
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.conftest import ProxyFactory
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import open_sockets, our_threads
from tests.support.servers.proxy import Proxy
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import Seen, at_most, wait_until


class Far:
    """A store, a session and an election behind a proxy that can be cut."""

    def __init__(self, link: Proxy, store: ZooKeeperStore, key: str) -> None:
        self.link, self.store, self.key = link, store, key
        self.session: ZooKeeperSession = store.open_session(4)
        self.election = store.election(key)
        # The folder exists afterwards, so entering takes one request.
        self.election.withdraw(self.election.enter(self.session, b"first"))


@pytest.fixture
def far(shared_zookeeper: ZooKeeper, proxy: ProxyFactory, opened: Opener, unique_key: str) -> Far:
    link = proxy(shared_zookeeper.port)
    return Far(link, opened(shared_zookeeper.url_at(link.port)), unique_key)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def within(seconds: float, work: Callable[[], Any]) -> Any:
    with call_timeout(seconds):
        return work()


def claims_of(operator: Any, key: str) -> list[str]:
    """The paths of all claims of an election."""
    return [f"/{key}/{name}" for name in operator.get_children(key)]


def test_enter_with_lost_answer_finds_its_claim(
    operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The node was created, the answer was not delivered, and the connection broke."""
    far.link.cut("down")
    entering = pool.submit(within, 3, lambda: far.election.enter(far.session, b"Frank"))
    wait_until(lambda: claims_of(operator, far.key))
    far.link.reset()
    far.link.heal()

    claim = entering.result(5)

    assert claims_of(operator, far.key) == [claim.path]
    assert claim.settled
    assert far.election.status(claim) == Leading(operator.get(claim.path)[1].czxid)
    assert not claim.watches_folder  # so a leader will look for nodes of other recipes


def test_enter_with_lost_request_is_not_applied(
    operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The request never reached the server, so there is no node, and will be none."""
    far.link.cut("up")
    entering = pool.submit(within, 3, lambda: far.election.enter(far.session, b"Frank"))
    time.sleep(0.2)
    far.link.reset()
    far.link.heal()

    with pytest.raises(NotApplied):
        entering.result(5)

    assert claims_of(operator, far.key) == []


def test_enter_without_answers_is_unknown_until_withdrawn(operator: Any, far: Far) -> None:
    """The node exists meanwhile; withdrawing finds and deletes it."""
    far.link.cut("down")
    with call_timeout(0.6), pytest.raises(ClaimOutcomeUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    claim = caught.value.claim
    assert not claim.settled
    wait_until(lambda: claims_of(operator, far.key))

    far.link.heal()
    with call_timeout(3):
        far.election.withdraw(claim)

    assert claim.settled
    assert claims_of(operator, far.key) == []


def test_withdrawal_with_lost_answer_can_be_repeated(
    operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The second time the node is gone, which is as good."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    leaving = pool.submit(within, 0.5, lambda: far.election.withdraw(claim))
    with pytest.raises(StoreUnavailable):
        leaving.result(5)
    client, before = far.session.client, far.session.client.connection
    far.link.reset()
    far.link.heal()
    wait_until(lambda: client.connection is not before and client.connected)

    within(3, lambda: far.election.withdraw(claim))

    assert claims_of(operator, far.key) == []


def test_renewal_without_answer_does_not_extend_session(far: Far) -> None:
    """It ends within its timeout, and the client disconnects after the ttl."""
    far.session.renew()
    renewed = clock.now()
    far.link.cut("down")
    began = clock.now()
    with call_timeout(0.4), pytest.raises(StoreUnavailable):
        far.session.renew()
    assert clock.now() - began < at_most(0.8)

    wait_until(lambda: far.session.client.closed, far.session.ttl + 1)

    assert clock.now() - renewed < far.session.ttl + 0.3
    with call_timeout(0.4), pytest.raises(StoreUnavailable):
        far.session.renew()  # the server may not have ended it yet
    far.link.heal()
    with pytest.raises(SessionLost):
        far.session.renew()


def test_recovered_connection_does_not_revive_expired_session(
    shared_zookeeper: ZooKeeper, far: Far
) -> None:
    """Only answers are lost, and no renewal follows: the session ends at the server, too."""
    number = far.session.number
    far.link.cut("down")
    wait_until(lambda: far.session.client.closed, far.session.ttl + 1)
    far.link.heal()

    wait_until(
        lambda: number not in shared_zookeeper.sessions(),
        far.session.ttl + shared_zookeeper.tick + 1,
    )


def test_session_expires_without_renewal_despite_live_connection(
    shared_zookeeper: ZooKeeper, proxy: ProxyFactory, opened: Opener
) -> None:
    """The pings of kazoo are not sent."""
    link = proxy(shared_zookeeper.port)
    session = opened(shared_zookeeper.url_at(link.port)).open_session(4)
    ping = link.hold(struct.pack(">iii", 8, -2, 11))
    began = time.monotonic()

    wait_until(lambda: session.number not in shared_zookeeper.sessions(), 10)

    assert not ping.caught.is_set()  # on a busy machine it may be too late to keep the session
    assert time.monotonic() - began <= 4 + at_most(shared_zookeeper.tick + 0.3)


def test_session_moves_from_black_holed_connection_to_other_server(
    shared_zookeeper: ZooKeeper, proxy: ProxyFactory, opened: Opener
) -> None:
    """Before its ttl has passed."""
    links = [proxy(shared_zookeeper.port), proxy(shared_zookeeper.port)]
    store = opened(shared_zookeeper.url_at(*(link.port for link in links)))
    session = store.open_session(4)
    used = next(link for link in links if link.connections)
    began = clock.now()
    used.cut()

    while clock.now() - began < 3.6:
        try:
            with call_timeout(1.0):
                session.renew()
            break
        except StoreUnavailable:
            continue

    assert clock.now() - began < at_most(3.0)


def test_close_on_black_holed_connection_ends_in_time_and_leaves_nothing(
    shared_zookeeper: ZooKeeper, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """No thread and no socket of a session, of a watch, or of the store."""
    sockets = open_sockets()
    link = proxy(shared_zookeeper.port)
    sockets = open_sockets()
    store, seen = opened(shared_zookeeper.url_at(link.port)), Seen()
    session = store.open_session(4)
    store.watch(unique_key, seen)
    seen.wait(lambda found: found is None)
    link.cut()

    began = clock.now()
    with call_timeout(0.5), pytest.raises(StoreUnavailable):
        session.close()
    assert clock.now() - began < at_most(0.8)
    began = clock.now()
    with call_timeout(0.5):
        store.close()
    assert clock.now() - began < at_most(0.8)

    wait_until(lambda: not our_threads(), 1)
    link.close()
    wait_until(lambda: open_sockets() < sockets, 1)


def test_close_of_disconnected_session_uses_new_connection(
    shared_zookeeper: ZooKeeper, far: Far
) -> None:
    """So the session ends at the server."""
    number = far.session.number
    far.session.client.disconnect(SessionLost("as if its time were over"))
    assert number in shared_zookeeper.sessions()

    far.session.close()

    assert number not in shared_zookeeper.sessions()
    far.session.close()


def test_client_reconnects_within_a_second(far: Far) -> None:
    """And it connects at a limited rate while the server is down."""
    far.link.refuse()
    tried = far.session.client.debug_state().connects
    time.sleep(1.5)
    assert far.session.client.debug_state().connects - tried < 10
    far.link.listen()
    began = clock.now()

    with call_timeout(2):
        far.session.renew()

    assert clock.now() - began < at_most(1.0)


def test_fenced_write_that_arrives_in_next_term_is_refused(
    store: ZooKeeperStore, operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """It was sent while its writer was leader."""
    term = far.election.enter(far.session, b"Frank")
    assert term.granted
    assert term.token is not None
    far.store.put(f"{far.key}-entry", b"0", fence=Fence(far.key, term.token))
    held = far.link.hold(b"late-write")
    fence = Fence(far.key, term.token)
    writing = pool.submit(
        within, 4, lambda: far.store.put(f"{far.key}-entry", b"late-write", fence=fence)
    )
    assert held.caught.wait(3)
    operator.delete(term.path)
    successor = store.election(far.key).enter(store.open_session(4), b"Claire")
    assert successor.granted

    held.release()

    with pytest.raises(Fenced):
        writing.result(5)
    entry = store.get(f"{far.key}-entry")
    assert entry is not None
    assert entry.value == b"0"


def test_every_call_ends_within_its_timeout(far: Far) -> None:
    """While no request is answered."""
    claim = far.election.enter(far.session, b"Frank")
    far.store.get(far.key)
    far.link.cut()
    requests: list[Callable[[], Any]] = [
        lambda: far.store.get(far.key),
        lambda: far.store.list(far.key),
        lambda: far.store.put(far.key, b"1"),
        lambda: far.store.put(f"{far.key}/x", b"1", session=far.session),
        lambda: far.store.delete(far.key),
        lambda: far.store.delete_tree(far.key),
        far.election.leader,
        far.session.renew,
        lambda: far.election.enter(far.session, b"Frank"),
        lambda: far.election.status(claim),
        lambda: far.election.watch_claim(claim, threading.Event().set),
        lambda: far.election.withdraw(claim),
        lambda: far.store.open_session(4),
    ]
    for request in requests:
        began = clock.now()
        with call_timeout(0.15), pytest.raises(LeadershipError):
            request()
        assert clock.now() - began < at_most(0.6)
