"""The same election as Consul's own `consul lock`, whose key is PREFIX/.lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.store import Absent, Leading, Waiting
from tests.consul.tools import Seen, raw, wait_until
from tests.servers.consul import Consul
from tests.servers.process import Process

Locker = Callable[..., Process]


@pytest.fixture
def consul_lock(consul: Consul, tmp_path: Path) -> Iterator[Locker]:
    """Runs `consul lock PREFIX`, whose child writes down that it runs, and goes on."""
    with ExitStack() as stack:

        def run(prefix: str, *options: str) -> Process:
            told = tmp_path / "held"
            process = consul.cli_process(
                "lock", *options, prefix, f"echo held > {told}; sleep 60", log=tmp_path / "lock.log"
            )
            process.start()
            stack.callback(process.terminate)
            return process

        yield run


def test_it_waits_for_us(
    tmp_path: Path,
    store: ConsulStore,
    session: ConsulSession,
    consul_lock: Locker,
    unique_key: str,
) -> None:
    """While we lead, `consul lock` waits; once we resign, it runs its child, and we wait."""
    election = store.election(f"{unique_key}/.lock")
    claim = election.enter(session, b"Frank")
    assert claim.token is not None
    consul_lock(unique_key)
    with pytest.raises(AssertionError):
        wait_until((tmp_path / "held").exists, 1.0)
    assert election.standing(claim) == Leading(claim.token)

    election.withdraw(claim)

    wait_until((tmp_path / "held").exists)
    again = election.enter(session, b"Frank")
    assert again.token is None
    assert election.standing(again) == Waiting()


def test_we_wait_for_it(
    tmp_path: Path,
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    consul_lock: Locker,
    unique_key: str,
) -> None:
    """While it holds the lock it is the leader that followers see; when it ends, we are woken."""
    election, leaders, woken = store.election(f"{unique_key}/.lock"), Seen(), Seen()
    election.watch_leader(leaders)
    process = consul_lock(unique_key)
    wait_until((tmp_path / "held").exists)
    leaders.wait(lambda it: it is not None)
    claim = election.enter(session, b"Frank")
    assert claim.token is None
    election.on_turn(claim, woken)

    process.terminate()

    wait_until(lambda: woken, 8)
    assert election.standing(claim) == Absent()
    assert election.enter(session, b"Frank").token is not None
    leaders.wait(lambda it: str(it) == "Frank")


def test_its_semaphore_is_not_ours_to_take(
    tmp_path: Path,
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    consul_lock: Locker,
    unique_key: str,
) -> None:
    """`consul lock -n 2` keeps its state in the same key; it is refused and left as it is."""
    consul_lock(unique_key, "-n=2")
    wait_until((tmp_path / "held").exists)
    before = raw(consul, f"{unique_key}/.lock")

    with pytest.raises(ValueError, match="semaphore"):
        store.election(f"{unique_key}/.lock").enter(session, b"Frank")

    assert raw(consul, f"{unique_key}/.lock") == before
