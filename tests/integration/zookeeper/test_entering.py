"""Entering: the requests of a batch, and the watch of a node that is set before its name is known."""

from __future__ import annotations

from typing import Any

import pytest

from leadership_core.backend.protocols import Absent, Leading
from leadership_zookeeper.claim import ZooKeeperClaim
from leadership_zookeeper.election import ZooKeeperElection
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.support.waiting import wait_until


@pytest.fixture
def requests(session: ZooKeeperSession, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of the requests of the session's client."""
    found: list[str] = []
    kazoo = session.client._kazoo
    call = kazoo._call

    def count(request: Any, pending: Any) -> Any:
        found.append(type(request).__name__)
        return call(request, pending)

    monkeypatch.setattr(kazoo, "_call", count)
    return found


def receive(session: ZooKeeperSession) -> None:
    """Wait until the session has received what has happened so far."""
    session.client.request("wait for the reports", lambda kazoo: kazoo.exists_async("/"))


@pytest.fixture
def election(store: ZooKeeperStore, operator: Any, unique_key: str) -> ZooKeeperElection:
    """An election whose folder is missing, and whose parent exists."""
    operator.ensure_path(f"/{unique_key}")
    return store.election(f"{unique_key}/leader")


def test_first_claim_of_new_folder_is_watched_with_four_requests(
    election: ZooKeeperElection, session: ZooKeeperSession, requests: list[str], operator: Any
) -> None:
    """They are sent together, and the watch reports the deletion of the node."""
    woken: list[None] = []
    claim = election.enter(session, b"Frank")
    assert claim.granted
    election.watch_claim(claim, lambda: woken.append(None))

    assert requests == ["Create", "Create2", "GetChildren", "GetData"]
    assert not woken
    operator.delete(claim.path)
    wait_until(lambda: woken)
    assert election.status(claim) == Absent()


@pytest.mark.parametrize("change", ["delete", "set"])
def test_change_before_watch_wakes_at_once(
    election: ZooKeeperElection, session: ZooKeeperSession, operator: Any, change: str
) -> None:
    """An operator has deleted or overwritten the node between the grant and `watch_claim`."""
    woken: list[None] = []
    claim = election.enter(session, b"Frank")
    if change == "delete":
        operator.delete(claim.path)
    else:
        operator.set(claim.path, b"Doug")
    receive(session)

    election.watch_claim(claim, lambda: woken.append(None))

    assert woken
    assert isinstance(election.status(claim), Absent)


def test_claim_of_earlier_connection_is_read_before_it_counts_as_watched(
    election: ZooKeeperElection, session: ZooKeeperSession, operator: Any
) -> None:
    """The watch ended with the connection, and the node was deleted meanwhile."""
    woken: list[None] = []
    claim = election.enter(session, b"Frank")
    client = session.client
    before = client.connection
    client._handler.socket_handle.abort()
    operator.delete(claim.path)
    wait_until(lambda: client.connection is not before and client.connected)

    election.watch_claim(claim, lambda: woken.append(None))

    assert woken


def test_claim_in_existing_folder_is_watched_by_a_read(
    election: ZooKeeperElection,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    store: ZooKeeperStore,
) -> None:
    """Its node has another number than the first, which the batch has read in vain."""
    election.withdraw(election.enter(rival, b"Doug"))
    other = store.election(election._key)  # a process that does not know the folder
    woken: list[None] = []
    claim = other.enter(session, b"Frank")
    assert claim.granted
    assert (claim.path or "").endswith("1")
    other.watch_claim(claim, lambda: woken.append(None))

    operator.delete(claim.path)

    wait_until(lambda: woken)


def test_withdrawn_claim_without_watch_leaves_no_subscription(
    election: ZooKeeperElection, session: ZooKeeperSession
) -> None:
    """The engine may give up a claim before it watches it."""
    claim = election.enter(session, b"Frank")
    assert session.dispatcher.paths

    election.withdraw(claim)

    assert not session.dispatcher.paths


def test_waiting_claim_leaves_no_subscription(
    election: ZooKeeperElection,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    store: ZooKeeperStore,
) -> None:
    """The batch has subscribed to a name that its node did not get."""
    election.enter(rival, b"Doug")

    store.election(election._key).enter(session, b"Frank")

    assert not session.dispatcher.paths


def test_waiting_claim_lists_no_children_when_others_come(
    election: ZooKeeperElection,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    requests: list[str],
    store: ZooKeeperStore,
) -> None:
    """Only a leader looks for nodes of other recipes: those who wait would be a herd."""
    election.enter(rival, b"Doug")
    other = store.election(election._key)
    claim = other.enter(session, b"Frank")
    other.watch_claim(claim, lambda: None)
    receive(session)
    before = len(requests)

    for _ in range(3):
        election.enter(rival, b"Gene")
    receive(session)

    assert requests[before:] == ["Exists"]  # of `receive`


def test_missing_parents_are_created_once(
    store: ZooKeeperStore, session: ZooKeeperSession, requests: list[str], unique_key: str
) -> None:
    """The second batch creates the folder itself, below the parent."""
    claim: ZooKeeperClaim = store.election(f"{unique_key}/a/leader").enter(session, b"Frank")

    assert claim.granted
    # The batch, the parents from the bottom up and then down, and the batch.
    batch = ["Create", "Create2", "GetChildren", "GetData"]
    assert requests[:4] == requests[-4:] == batch
    assert set(requests[4:-4]) == {"Create"}


def test_status_of_covered_claim_is_leading(
    election: ZooKeeperElection, session: ZooKeeperSession
) -> None:
    """A read without listeners ends the watch, which the next `watch_claim` sets again."""
    claim = election.enter(session, b"Frank")

    assert election.status(claim) == Leading(claim.token or 0)
    assert not claim.is_covered
