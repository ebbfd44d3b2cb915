"""Hand-overs: what the reports of a waiting claim's watches prove, and what has to be read."""

from __future__ import annotations

from typing import Any

import pytest

from leadership_core.backend.protocols import Absent, Leading, Waiting
from leadership_zookeeper.claim import ZooKeeperClaim
from leadership_zookeeper.election import ZooKeeperElection
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import SessionOpener
from tests.support.waiting import wait_until


@pytest.fixture
def election(store: ZooKeeperStore, unique_key: str) -> ZooKeeperElection:
    """An election."""
    return store.election(unique_key)


def enter(election: ZooKeeperElection, session: ZooKeeperSession) -> ZooKeeperClaim:
    """A claim that is watched, as the engine watches each."""
    claim = election.enter(session, session.id.encode())
    election.watch_claim(claim, lambda: None)
    return claim


def receive(session: ZooKeeperSession) -> None:
    """Wait until the session has received what has happened so far."""
    session.client.request("wait for the reports", lambda kazoo: kazoo.exists_async("/"))


def reconnect(session: ZooKeeperSession) -> None:
    """Break the connection of a session, and wait for the next one."""
    client = session.client
    before = client.connection
    client._handler.socket_handle.abort()
    wait_until(lambda: client.connection is not before and client.connected)


def test_deletion_of_only_predecessor_elects_without_request(
    election: ZooKeeperElection,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its report proves it: the claim's own watch has reported nothing before."""
    leading, waiting = enter(election, session), enter(election, rival)
    election.withdraw(leading)
    receive(rival)
    for name in ("request", "request_linearizable"):
        monkeypatch.delattr(type(rival.client), name)

    status = election.status(waiting)

    monkeypatch.undo()
    assert status == Leading(waiting.token or 0)
    assert status.watched


def test_leader_by_report_is_notified_of_its_deletion(
    election: ZooKeeperElection, session: ZooKeeperSession, rival: ZooKeeperSession, operator: Any
) -> None:
    """Its node is watched since it was read."""
    leading, waiting = enter(election, session), enter(election, rival)
    woken: list[None] = []
    election.watch_claim(waiting, lambda: woken.append(None))
    election.withdraw(leading)
    receive(rival)
    assert isinstance(election.status(waiting), Leading)
    woken.clear()

    operator.delete(waiting.path)

    wait_until(lambda: woken)
    assert election.status(waiting) == Absent()


def test_claim_deleted_before_its_predecessor_never_leads(
    election: ZooKeeperElection, session: ZooKeeperSession, rival: ZooKeeperSession, operator: Any
) -> None:
    """An operator deletes a waiting claim, and then the leader resigns."""
    leading, waiting = enter(election, session), enter(election, rival)
    operator.delete(waiting.path)
    election.withdraw(leading)
    receive(rival)

    assert election.status(waiting) == Absent()


def test_claim_overwritten_before_its_predecessor_leaves_never_leads(
    election: ZooKeeperElection, session: ZooKeeperSession, rival: ZooKeeperSession, operator: Any
) -> None:
    """An operator overwrites a waiting claim, and then the leader resigns."""
    leading, waiting = enter(election, session), enter(election, rival)
    operator.set(waiting.path, b"another value")
    election.withdraw(leading)
    receive(rival)

    assert election.status(waiting) == Absent(overwritten=True)


@pytest.mark.parametrize("first", ["own", "predecessor"])
def test_claim_deleted_while_disconnected_never_leads(
    election: ZooKeeperElection,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    first: str,
) -> None:
    """No connection reports that deletion; the other one is reported before, or not at all."""
    leading, waiting = enter(election, session), enter(election, rival)
    if first == "predecessor":
        election.withdraw(leading)
        receive(rival)
    rival.client._handler.socket_handle.abort()
    operator.delete(waiting.path)
    election.withdraw(leading)
    reconnect(rival)

    assert election.status(waiting) == Absent()


def test_report_of_earlier_connection_elects_nobody(
    election: ZooKeeperElection, session: ZooKeeperSession, rival: ZooKeeperSession
) -> None:
    """The next server may lag behind: it still shows the nodes that were reported gone."""
    leading, waiting = enter(election, session), enter(election, rival)
    waiting.on_node_changed(leading.path, deleted=True)  # this server will never know of it

    reconnect(rival)

    assert election.status(waiting) == Waiting()


def test_connection_that_breaks_during_read_elects_nobody(
    election: ZooKeeperElection,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report came on the earlier connection, and the claim's node is read on the next one."""
    leading, waiting = enter(election, session), enter(election, rival)
    waiting.on_node_changed(waiting.path, deleted=False)  # so its node is read
    waiting.on_node_changed(leading.path, deleted=True)
    read_queue = election._read_queue
    broken: list[None] = []

    def read_on_next_connection(*args: Any) -> Any:
        if not broken:
            broken.append(None)
            reconnect(rival)
        return read_queue(*args)

    monkeypatch.setattr(election, "_read_queue", read_on_next_connection)

    assert election.status(waiting) == Waiting()
    assert broken


def test_change_of_predecessor_elects_nobody(
    election: ZooKeeperElection, session: ZooKeeperSession, rival: ZooKeeperSession, operator: Any
) -> None:
    """Only its deletion does."""
    leading, waiting = enter(election, session), enter(election, rival)
    operator.set(leading.path, b"another value")
    receive(rival)

    assert election.status(waiting) == Waiting()


def test_deletion_of_nearest_of_several_predecessors_elects_nobody(
    election: ZooKeeperElection, sessions: SessionOpener
) -> None:
    """The leader is before both."""
    _, second, third = (enter(election, sessions()) for _ in range(3))
    election.withdraw(second)
    receive(third.owner)

    assert election.status(third) == Waiting()


def test_status_of_claim_without_watch_is_read(
    election: ZooKeeperElection, session: ZooKeeperSession, rival: ZooKeeperSession, operator: Any
) -> None:
    """Nothing reports its deletion after its watch was closed."""
    leading = enter(election, session)
    waiting = election.enter(rival, b"")
    watch = election.watch_claim(waiting, lambda: None)
    election.withdraw(leading)
    receive(rival)
    watch.close()
    operator.delete(waiting.path)

    assert election.status(waiting) == Absent()
