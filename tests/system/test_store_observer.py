"""The observer of the store's holders, on real servers and files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leadership_core import Candidate, open_store
from tests.support.servers.etcd import Etcd
from tests.support.servers.etcd_cluster import EtcdCluster
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.store_observer import Holder, StoreObserver, StoreReader
from tests.support.store_readers import ConsulReader, EtcdReader, SqliteReader, ZooKeeperReader
from tests.support.waiting import at_most, wait_until

READERS = {"consul": ConsulReader, "etcd": EtcdReader, "zookeeper": ZooKeeperReader}


@contextmanager
def _watched(reader: Any) -> Iterator[StoreObserver]:
    witness = StoreObserver(reader)
    try:
        yield witness
    finally:
        witness.stop()


@contextmanager
def _leader(url: str, key: str, value: str) -> Iterator[Holder]:
    """A candidate that is leader for the duration of the block."""
    with open_store(url) as store:
        candidate = Candidate(store, key, value, ttl=5.0)
        term = candidate.wait_elected(30)
        assert term is not None
        yield Holder(term.token, value)
        assert candidate.stop()


def _saw(witness: StoreObserver, holder: Holder | None) -> None:
    wait_until(
        lambda: [x.holder for x in witness.readings][-1:] == [holder], 15, f"{holder} is seen"
    )


@pytest.mark.parametrize("kind", READERS)
def test_observer_of_server_sees_holders(
    kind: str, unique_key: str, request: pytest.FixtureRequest
) -> None:
    """It reads the library's token, and goes on after an outage of the server."""
    server = request.getfixturevalue(f"{kind}_server")()
    with _watched(READERS[kind]([server], unique_key)) as witness:
        with _leader(server.url, unique_key, "ä leader") as holder:
            _saw(witness, holder)

            server.kill()
            assert not witness.await_reading(0.3)
            server.start()

            assert witness.await_reading(10)
            assert witness.readings[-1].holder == holder
        _saw(witness, None)
        assert max(one.until - one.since for one in witness.readings) < at_most(5.0)


def test_observer_of_file_sees_holders(quick_folder: Path, unique_key: str) -> None:
    """It reads a file that did not exist at first, and one that replaces it."""
    file = quick_folder / "elections.db"
    with _watched(SqliteReader(file, unique_key)) as witness:
        assert not witness.await_reading(0.1)
        for _ in range(2):
            with _leader(f"sqlite:///{file}", unique_key, "someone") as holder:
                _saw(witness, holder)
            for one in file.parent.glob("elections.db*"):
                one.unlink()


def test_terms_between_two_readings_are_found(shared_etcd: Etcd, unique_key: str) -> None:
    """The history of etcd contains the holders between two readings, too."""
    reader = EtcdReader([shared_etcd], unique_key)
    assert reader.read()[-1] is None
    holders = []
    for number in range(3):
        with _leader(shared_etcd.url, unique_key, f"n{number}") as holder:
            holders.append(holder)

    seen = [one for one in reader.read() if one is not None]

    assert list(dict.fromkeys(seen)) == holders
    reader.close()


def test_compacted_history_is_left_out(shared_etcd: Etcd, unique_key: str) -> None:
    """The holders of compacted revisions are not seen, and the present one is."""
    reader = EtcdReader([shared_etcd], unique_key)
    reader.read()
    with _leader(shared_etcd.url, unique_key, "first"):
        pass
    with _leader(shared_etcd.url, unique_key, "second") as holder:
        shared_etcd.compact()
        with _watched(reader) as witness:
            _saw(witness, holder)


@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
@pytest.mark.parametrize("which", ["leader", "follower"])
def test_observer_ignores_server_that_is_cut_off(
    kind: str, which: str, unique_key: str, request: pytest.FixtureRequest
) -> None:
    """An isolated server cannot say who is holder."""
    cluster: EtcdCluster | ZooKeeperCluster = request.getfixturevalue(f"{kind}_cluster")
    with _leader(cluster.url, unique_key, "before") as old:
        pass
    lone: Any = cluster.leader() if which == "leader" else cluster.followers()[0]
    others: list[Any] = [one for one in cluster.nodes if one is not lone]
    reader: Callable[..., StoreReader] = READERS[kind]
    with _watched(reader([lone, *others], unique_key)) as witness:
        assert witness.await_reading(10)
        cluster.cut_off(lone)
        where = others[0].url_at(*(one.port for one in others))
        with _leader(where, unique_key, "after") as new:
            _saw(witness, new)

    tokens = [one.token for one in witness.readings if one.token is not None]
    assert tokens == sorted(tokens)
    assert old.token < new.token
