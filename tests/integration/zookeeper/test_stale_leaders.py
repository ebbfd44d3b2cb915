"""Reads from a leader of the ensemble that was suspended during an election, and resumes.

It does not know yet that another server leads. For about half a tick it answers `sync` and reads
from its old state, so no definite answer may rest on those.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from leadership_core import Fence
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.entries import ABSENT
from leadership_core.errors import NotApplied, StoreUnavailable
from leadership_zookeeper.claim import ZooKeeperClaim
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener
from tests.support.servers.zookeeper import ZooKeeperServer
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.waiting import wait_until

Probe = Callable[[], object]

_PATIENCE = 4.0  # seconds for each request; the old leader is stopped in the first of them


@pytest.fixture
def stores(
    zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> tuple[ZooKeeperServer, ZooKeeperStore, ZooKeeperStore]:
    """The server that leads, a store that knows only that one, and one that knows the others."""
    leader = zookeeper_cluster.leader()
    others = [node.port for node in zookeeper_cluster.followers()]
    return leader, opened(leader.url_at(leader.port)), opened(leader.url_at(*others))


@contextmanager
def replaced(leader: ZooKeeperServer, cluster: ZooKeeperCluster) -> Iterator[None]:
    """Stop it, and return when another one leads."""
    leader.process.pause()
    try:
        others = [node for node in cluster.nodes if node is not leader]
        wait_until(lambda: any(node.mode() == "leader" for node in others), 20)
        wait_until(lambda: all(node.mode() for node in others), 20)
        yield
    finally:
        leader.process.resume()


def ask_all(probes: dict[str, Probe], then: Callable[[], object]) -> dict[str, object]:
    """Ask all at once, do something when all have been asked, and return what came of each."""
    outcomes: dict[str, object] = {}

    def ask(name: str, probe: Probe) -> None:
        try:
            with call_timeout(_PATIENCE):
                outcomes[name] = probe()
        except Exception as error:  # noqa: BLE001 - the error is the outcome
            outcomes[name] = error

    threads = [threading.Thread(target=ask, args=one) for one in probes.items()]
    for thread in threads:
        thread.start()
    threads[0].join(0.5)  # until the requests are under way; a stopped server shows no sign of it
    then()
    for thread in threads:
        thread.join()
    return outcomes


def test_deposed_leader_gives_no_stale_answer(
    zookeeper_cluster: ZooKeeperCluster,
    stores: tuple[ZooKeeperServer, ZooKeeperStore, ZooKeeperStore],
    unique_key: str,
) -> None:
    """Each call returns the current state, or raises that there is no answer."""
    leader, old, new = stores
    key = unique_key
    first = new.put(f"{key}/entry", b"1")
    unchanged = new.put(f"{key}/deleted", b"1")
    assert old.get(f"{key}/entry") == first
    session, theirs = new.open_session(20.0), old.open_session(20.0)
    candidate = ZooKeeperClaim(f"{key}/election", theirs, b"Frank")
    election = old.election(f"{key}/election")
    election.withdraw(election.enter(theirs, b"Frank"))  # which makes the folder

    with replaced(leader, zookeeper_cluster):
        second = new.put(f"{key}/entry", b"2")
        fresh = new.put(f"{key}/fresh", b"1")
        assert new.delete(f"{key}/deleted")
        claim = new.election(f"{key}/election").enter(session, b"Claire")
        assert claim.token is not None
        fence = Fence(f"{key}/election", claim.token)
        probes: dict[str, Probe] = {
            "get": partial(old.get, f"{key}/entry"),
            "get what is new": partial(old.get, f"{key}/fresh"),
            "get what is gone": partial(old.get, f"{key}/deleted"),
            "list": partial(old.list, key),
            "read back": partial(election._find_node, candidate),
            "leader": old.election(f"{key}/election").leader,
            "compare": partial(old.put, f"{key}/entry", b"3", expect=second),
            "create": partial(old.put, f"{key}/deleted", b"2", expect=ABSENT),
            "delete": partial(old.delete, f"{key}/fresh"),
            "fence": partial(old.put, f"{key}/fenced", b"1", fence=fence),
        }
        outcomes = ask_all(probes, leader.process.resume)

    right: dict[str, Callable[[object], bool]] = {
        "get": lambda found: getattr(found, "value", b"") in {b"2", b"3"},
        "get what is new": lambda found: found in (fresh, None),
        "get what is gone": lambda found: found != unchanged,
        "list": lambda found: first not in list(found) and unchanged not in list(found),  # type: ignore[call-overload]
        "read back": lambda _: False,  # a request to enter may still be under way
        "leader": lambda found: found is not None,
        "compare": lambda found: getattr(found, "value", b"") == b"3",
        "create": lambda found: getattr(found, "value", b"") == b"2",
        "delete": lambda found: found is True,
        "fence": lambda found: getattr(found, "value", b"") == b"1",
    }
    wrong = {
        name: found
        for name, found in outcomes.items()
        if type(found) is not StoreUnavailable
        and not isinstance(found, NotApplied)
        and (isinstance(found, Exception) or not right[name](found))
    }
    assert not wrong
