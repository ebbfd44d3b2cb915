from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leadership_core import Candidate, open_store
from tests.faults.eye_zookeeper import ZooKeeperEye
from tests.faults.eyes import ConsulEye, EtcdEye, SqliteEye
from tests.faults.witness import Eye, Holder, Witness
from tests.scenarios.fleet import await_true
from tests.servers.etcd import Etcd
from tests.servers.etcd_cluster import EtcdCluster
from tests.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.machine import at_most

EYES = {"consul": ConsulEye, "etcd": EtcdEye, "zookeeper": ZooKeeperEye}


@contextmanager
def _watched(eye: Any) -> Iterator[Witness]:
    witness = Witness(eye)
    try:
        yield witness
    finally:
        witness.stop()


@contextmanager
def _leader(url: str, key: str, value: str) -> Iterator[Holder]:
    """Somebody who leads while this lasts, by our library."""
    with open_store(url) as store:
        candidate = Candidate(store, key, value, ttl=5.0)
        term = candidate.wait_elected(30)
        assert term is not None
        yield Holder(term.token, value)
        assert candidate.stop()


def _saw(witness: Witness, holder: Holder | None) -> None:
    await_true(f"{holder} is seen", lambda: [x.holder for x in witness.looks][-1:] == [holder], 15)


@pytest.mark.parametrize("kind", EYES)
def test_witness_of_a_server(kind: str, unique_key: str, request: pytest.FixtureRequest) -> None:
    """It sees the term that our library has, goes on quietly while there is no server, and after."""
    server = request.getfixturevalue(f"{kind}_server")()
    with _watched(EYES[kind]([server], unique_key)) as witness:
        with _leader(server.url, unique_key, "ä leader") as holder:
            _saw(witness, holder)

            server.kill()
            assert not witness.await_look(0.3)
            server.start()

            assert witness.await_look(10)
            assert witness.looks[-1].holder == holder
        _saw(witness, None)
        assert max(one.until - one.since for one in witness.looks) < at_most(5.0)


def test_witness_of_a_file(quick_folder: Path, unique_key: str) -> None:
    """Of one that is not there yet, and of one that was put in its place."""
    file = quick_folder / "elections.db"
    with _watched(SqliteEye(file, unique_key)) as witness:
        assert not witness.await_look(0.1)
        for _ in range(2):
            with _leader(f"sqlite:///{file}", unique_key, "someone") as holder:
                _saw(witness, holder)
            for one in file.parent.glob("elections.db*"):
                one.unlink()


def test_terms_between_two_looks(shared_etcd: Etcd, unique_key: str) -> None:
    """The history that etcd keeps tells those, too, that nobody looked at."""
    eye = EtcdEye([shared_etcd], unique_key)
    assert eye.look()[-1] is None
    holders = []
    for number in range(3):
        with _leader(shared_etcd.url, unique_key, f"n{number}") as holder:
            holders.append(holder)

    seen = [one for one in eye.look() if one is not None]

    assert list(dict.fromkeys(seen)) == holders
    eye.close()


def test_compacted_history_is_left_out(shared_etcd: Etcd, unique_key: str) -> None:
    """What etcd has forgotten is not seen; what is there now, is."""
    eye = EtcdEye([shared_etcd], unique_key)
    eye.look()
    with _leader(shared_etcd.url, unique_key, "first"):
        pass
    with _leader(shared_etcd.url, unique_key, "second") as holder:
        shared_etcd.compact()
        with _watched(eye) as witness:
            _saw(witness, holder)


@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
@pytest.mark.parametrize("which", ["leader", "follower"])
def test_server_that_is_cut_off(
    kind: str, which: str, unique_key: str, request: pytest.FixtureRequest
) -> None:
    """A server that the others have gone on without is not asked what there is."""
    cluster: EtcdCluster | ZooKeeperCluster = request.getfixturevalue(f"{kind}_cluster")
    with _leader(cluster.url, unique_key, "before") as old:
        pass
    lone: Any = cluster.leader() if which == "leader" else cluster.followers()[0]
    others: list[Any] = [one for one in cluster.nodes if one is not lone]
    eye: Callable[..., Eye] = EYES[kind]
    with _watched(eye([lone, *others], unique_key)) as witness:
        assert witness.await_look(10)
        cluster.cut_off(lone)
        where = others[0].url_at(*(one.port for one in others))
        with _leader(where, unique_key, "after") as new:
            _saw(witness, new)

    tokens = [one.token for one in witness.looks if one.token is not None]
    assert tokens == sorted(tokens)
    assert old.token < new.token
