"""Claims behind nodes of other programs."""

from __future__ import annotations

from typing import Any

import pytest

from leadership_core.backend.protocols import Leading, Waiting
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore


def test_persistent_predecessor_is_warned_of_once(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It blocks the election until it is deleted, as it is not bound to a session."""
    name = "foreign__lock__0000000000"
    operator.ensure_path(unique_key)
    operator.create(f"{unique_key}/{name}", b"x")
    election = store.election(unique_key)
    claim = election.enter(session, b"a")

    for _ in range(3):
        assert isinstance(election.status(claim), Waiting)

    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 1
    assert f"/{unique_key}/{name} is not bound to a session" in warned[0]
    operator.delete(f"{unique_key}/{name}")
    assert isinstance(election.status(claim), Leading)


def test_ephemeral_predecessor_is_not_warned_of(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It ends with its session."""
    election = store.election(unique_key)
    election.enter(rival, b"a")
    assert isinstance(election.status(election.enter(session, b"b")), Waiting)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
