"""Warnings of other recipes' nodes in an election's folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from leadership_core import Candidate, Store
from leadership_core.backend.protocols import Leading
from leadership_zookeeper.nodes import KeyValue
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import TTL
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import Seen, wait_until

LATCH = "_c_3f2a7c1e-0b1d-4c55-9d0e-8a3f5b6c7d8e-latch-"


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """The texts of this store's warnings, as they are logged."""
    texts: list[str] = []
    handler, logger = logging.Handler(logging.WARNING), logging.getLogger("leadership_zookeeper")
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]  # of one object
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)


def _create(operator: Any, folder: str, name: str, *, ephemeral: bool = True) -> str:
    operator.ensure_path(folder)
    path: str = operator.create(f"{folder}/{name}", b"x", ephemeral=ephemeral, sequence=True)
    return path


@pytest.mark.parametrize("name", [LATCH, "_c_x-lock-", "latch-", "n_", "x__rlock__", "__WRIT__"])
def test_node_of_another_recipe_is_named_once(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    warnings: list[str],
    name: str,
) -> None:
    """It does not count as a claim, so there would be a second leader in silence."""
    path = _create(operator, unique_key, name)
    election = store.election(unique_key)

    claim = election.enter(session, b"a")
    for _ in range(3):
        assert isinstance(election.status(claim), Leading)
    election.withdraw(claim)
    claim = election.enter(session, b"a")

    wait_until(lambda: bool(warnings), 5)
    assert isinstance(election.status(claim), Leading)
    assert len(warnings) == 1
    assert (
        f"/{path.lstrip('/')} is none of a candidate of the election {unique_key!r}" in warnings[0]
    )


def test_warning_names_the_option_of_the_other_recipe(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    warnings: list[str],
) -> None:
    _create(operator, unique_key, LATCH)
    store.election(unique_key).enter(session, b"a")
    wait_until(lambda: bool(warnings), 5)
    assert "?recipe=curator-latch" in warnings[0]


def test_our_node_in_a_folder_of_curator_is_named(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    shared_zookeeper: ZooKeeper,
    opened: Opener,
    unique_key: str,
    warnings: list[str],
) -> None:
    """A candidate with Curator's recipe finds one of the default recipe."""
    store.election(unique_key).enter(session, b"a")
    other = opened(f"{shared_zookeeper.url}&recipe=curator-selector")
    claim = other.election(unique_key).enter(other.open_session(TTL), b"b")

    assert claim.granted
    wait_until(lambda: bool(warnings), 5)
    assert "__lock__" in warnings[0]
    assert "?recipe=kazoo" in warnings[0]


def test_leader_names_a_node_that_comes_later(
    shared_zookeeper: ZooKeeper,
    opened: Opener,
    operator: Any,
    unique_key: str,
    warnings: list[str],
) -> None:
    """Also beside its first candidates, and after one was reported."""
    with Store(opened(shared_zookeeper.url), shared_zookeeper.url) as store:
        with Candidate(store, unique_key, "ours", ttl=TTL) as candidate:
            assert candidate.wait_elected(10) is not None
            first = _create(operator, unique_key, LATCH)
            wait_until(lambda: len(warnings) == 1, 5)
            second = _create(operator, unique_key, "_c_x-lock-")
            wait_until(lambda: len(warnings) == 2, 5)
            operator.delete(first)
            operator.delete(second)
        assert first in warnings[0]
        assert second in warnings[1]


def test_follower_names_a_node_of_another_recipe(
    store: ZooKeeperStore, operator: Any, unique_key: str, warnings: list[str]
) -> None:
    path, seen = _create(operator, unique_key, LATCH), Seen()
    watch = store.election(unique_key).watch_leader(seen)
    wait_until(lambda: bool(warnings), 5)
    watch.close()
    assert path in warnings[0]


def test_entries_and_other_elections_are_not_named(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    warnings: list[str],
) -> None:
    """Neither is a persistent node with a number, which may be an entry."""
    store.put(f"{unique_key}/ann", b"x", session=session)
    store.put(f"{unique_key}/0000000001", b"x")
    store.election(f"{unique_key}/leader").enter(session, b"b")
    _create(operator, unique_key, "item-", ephemeral=False)
    election = store.election(unique_key)
    claim = election.enter(session, b"a")
    assert isinstance(election.status(claim), Leading)

    store.get(unique_key)
    path = _create(operator, unique_key, LATCH)
    election.enter(session, b"c")
    wait_until(lambda: bool(warnings), 5)
    assert len(warnings) == 1
    assert path in warnings[0]


def test_warnings_of_one_election_are_limited(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    warnings: list[str],
) -> None:
    """Other candidates may come and go without end."""
    for _ in range(30):
        _create(operator, unique_key, LATCH)
    election = store.election(unique_key)
    election.enter(session, b"a")
    wait_until(lambda: len(warnings) == 20, 5)
    election.enter(session, b"b")
    store.get(unique_key)
    assert len(warnings) == 20


def test_container_is_bound_to_no_session() -> None:
    """Curator creates the folders of its elections as containers, with empty data."""
    entry = KeyValue("/folder", b"", 0, 1, -(2**63), 0).entry
    assert entry is not None
    assert entry.session is None
