"""What becomes of a claim, a session and a write when an answer, or a request, is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_core import clock
from leadership_core.budget import budget
from leadership_core.errors import (
    ClaimUnknown,
    Fenced,
    LeadershipError,
    NotDone,
    SessionLost,
    StoreUnavailable,
)
from leadership_core.store import Leading
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.conftest import ProxyFactory
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeper
from tests.support.machine import at_most
from tests.zookeeper.conftest import Opener
from tests.zookeeper.tools import Seen, open_sockets, our_threads, wait_until


class Far:
    """A store, a session and an election behind a link that can be cut."""

    def __init__(self, link: Proxy, store: ZooKeeperStore, key: str) -> None:
        self.link, self.store, self.key = link, store, key
        self.session: ZooKeeperSession = store.open_session(4)
        self.election = store.election(key)
        # What is there already leaves one request for entering.
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
    with budget(seconds):
        return work()


def claims_of(operator: Any, key: str) -> list[str]:
    """The paths of all claims there."""
    return [f"/{key}/{name}" for name in operator.get_children(key)]


def test_a_claim_whose_answer_was_lost_is_found_by_its_name(
    operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The node was made, the answer was not delivered, the connection broke: it is ours."""
    far.link.cut("down")
    entering = pool.submit(within, 3, lambda: far.election.enter(far.session, b"Frank"))
    wait_until(lambda: claims_of(operator, far.key))
    far.link.reset()
    far.link.heal()

    claim = entering.result(5)

    assert claims_of(operator, far.key) == [claim.path]
    assert claim.settled
    assert far.election.standing(claim) == Leading(operator.get(claim.path)[1].czxid)


def test_a_claim_whose_request_was_lost_was_surely_not_made(
    operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """It never reached the server: nothing is there, and nothing will be."""
    far.link.cut("up")
    entering = pool.submit(within, 3, lambda: far.election.enter(far.session, b"Frank"))
    time.sleep(0.2)
    far.link.reset()
    far.link.heal()

    with pytest.raises(NotDone):
        entering.result(5)

    assert claims_of(operator, far.key) == []


def test_a_claim_that_cannot_be_looked_for_is_unknown_and_withdrawn_later(
    operator: Any, far: Far
) -> None:
    """Its node stands there in the meantime; withdrawing finds it, and confirms that it is gone."""
    far.link.cut("down")
    with budget(0.6), pytest.raises(ClaimUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    claim = caught.value.claim
    assert not claim.settled
    wait_until(lambda: claims_of(operator, far.key))

    far.link.heal()
    with budget(3):
        far.election.withdraw(claim)

    assert claim.settled
    assert claims_of(operator, far.key) == []


def test_a_withdrawal_without_an_answer_is_repeated(
    operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The second time the node is gone, which is as good."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    leaving = pool.submit(within, 0.5, lambda: far.election.withdraw(claim))
    with pytest.raises(StoreUnavailable):
        leaving.result(5)
    far.link.reset()
    far.link.heal()

    within(3, lambda: far.election.withdraw(claim))

    assert claims_of(operator, far.key) == []


def test_a_renewal_that_is_not_answered_extends_nothing(far: Far) -> None:
    """It ends within its budget, and the session is cut off when its ttl is over."""
    far.session.renew()
    renewed = clock.now()
    far.link.cut("down")
    began = clock.now()
    with budget(0.4), pytest.raises(StoreUnavailable):
        far.session.renew()
    assert clock.now() - began < at_most(0.8)

    wait_until(lambda: far.session.link.over, far.session.ttl + 1)

    assert clock.now() - renewed < far.session.ttl + 0.3
    with budget(0.4), pytest.raises(StoreUnavailable):
        far.session.renew()  # who knows whether the server has ended it, too
    far.link.heal()
    with pytest.raises(SessionLost):
        far.session.renew()


def test_a_session_that_is_dead_to_us_is_not_brought_back_by_its_connection(
    shared_zookeeper: ZooKeeper, far: Far
) -> None:
    """Only the answers are lost, and nobody renews: it ends at the server, too."""
    number = far.session.number
    far.link.cut("down")
    wait_until(lambda: far.session.link.over, far.session.ttl + 1)
    far.link.heal()

    wait_until(
        lambda: number not in shared_zookeeper.sessions(),
        far.session.ttl + shared_zookeeper.tick + 1,
    )


def test_a_session_that_nobody_renews_ends_though_its_connection_is_fine(
    shared_zookeeper: ZooKeeper, opened: Opener
) -> None:
    """The pings of kazoo are not let through."""
    session = opened(shared_zookeeper.url).open_session(4)
    began = time.monotonic()

    wait_until(lambda: session.number not in shared_zookeeper.sessions(), 10)

    assert time.monotonic() - began <= at_most(4 + shared_zookeeper.tick + 0.3)


def test_a_connection_that_is_black_holed_is_left_for_another_server(
    shared_zookeeper: ZooKeeper, proxy: ProxyFactory, opened: Opener
) -> None:
    """Before the lease is over: the session goes on by way of the other address."""
    links = [proxy(shared_zookeeper.port), proxy(shared_zookeeper.port)]
    store = opened(shared_zookeeper.url_at(*(link.port for link in links)))
    session = store.open_session(4)
    used = next(link for link in links if link.connections)
    began = clock.now()
    used.cut()

    while clock.now() - began < 3.6:
        try:
            with budget(1.0):
                session.renew()
            break
        except StoreUnavailable:
            continue

    assert clock.now() - began < at_most(3.0)


def test_closing_on_a_black_hole_is_over_in_time_and_leaves_nothing(
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
    with budget(0.5), pytest.raises(StoreUnavailable):
        session.close()
    assert clock.now() - began < at_most(0.8)
    began = clock.now()
    with budget(0.5):
        store.close()
    assert clock.now() - began < at_most(0.8)

    wait_until(lambda: not our_threads(), 1)
    link.close()
    wait_until(lambda: open_sockets() < sockets, 1)


def test_a_session_is_closed_by_way_of_a_new_connection_if_it_must(
    shared_zookeeper: ZooKeeper, far: Far
) -> None:
    """The one it had was cut off as dead; closing still ends it at the server."""
    number = far.session.number
    far.session.link.cut(SessionLost("as if its time were over"))
    assert number in shared_zookeeper.sessions()

    far.session.close()

    assert number not in shared_zookeeper.sessions()
    far.session.close()


def test_a_server_that_is_back_is_found_within_a_second(far: Far) -> None:
    """Nor is a server that is down asked without end."""
    far.link.refuse()
    tried = far.session.link._handler.connects
    time.sleep(1.5)
    assert far.session.link._handler.connects - tried < 10
    far.link.listen()
    began = clock.now()

    with budget(2):
        far.session.renew()

    assert clock.now() - began < at_most(1.0)


def test_a_fenced_write_that_arrives_in_the_next_term_is_refused(
    store: ZooKeeperStore, operator: Any, far: Far, pool: ThreadPoolExecutor
) -> None:
    """It left while its writer led; another one leads when it comes."""
    term = far.election.enter(far.session, b"Frank")
    assert term.granted
    assert term.token is not None
    far.store.put(f"{far.key}-entry", b"0", fence=(far.key, term.token))
    held = far.link.hold(b"late-write")
    fence = (far.key, term.token)
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


def test_no_request_outlives_its_budget(far: Far) -> None:
    """Whatever is asked for while nothing is answered."""
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
        lambda: far.election.standing(claim),
        lambda: far.election.on_turn(claim, threading.Event().set),
        lambda: far.election.withdraw(claim),
        lambda: far.store.open_session(4),
    ]
    for request in requests:
        began = clock.now()
        with budget(0.15), pytest.raises(LeadershipError):
            request()
        assert clock.now() - began < at_most(0.6)
