"""Elections together with `consul lock`, whose key is PREFIX/.lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.backend.protocols import Absent, Leading, Waiting
from tests.integration.consul.tools import raw
from tests.support.servers.consul import Consul
from tests.support.servers.process import Process
from tests.support.waiting import Seen, wait_until

Locker = Callable[..., Process]


@pytest.fixture
def consul_lock(consul: Consul, tmp_path: Path) -> Iterator[Locker]:
    """Runs `consul lock PREFIX`, whose child creates the file `held` and continues."""
    with ExitStack() as stack:

        def run(prefix: str, *options: str) -> Process:
            marker = tmp_path / "held"
            process = consul.cli_process(
                "lock",
                *options,
                prefix,
                f"echo held > {marker}; sleep 60",
                log=tmp_path / "lock.log",
            )
            process.start()
            stack.callback(process.terminate)
            return process

        yield run


def test_consul_lock_waits_for_our_leader(
    tmp_path: Path,
    store: ConsulStore,
    session: ConsulSession,
    consul_lock: Locker,
    unique_key: str,
) -> None:
    """After our resignation `consul lock` runs its child, and our candidate waits."""
    election = store.election(f"{unique_key}/.lock")
    claim = election.enter(session, b"Frank")
    assert claim.token is not None
    consul_lock(unique_key)
    with pytest.raises(AssertionError):
        wait_until((tmp_path / "held").exists, 1.0)
    assert election.status(claim) == Leading(claim.token)

    election.withdraw(claim)

    wait_until((tmp_path / "held").exists)
    again = election.enter(session, b"Frank")
    assert again.token is None
    assert election.status(again) == Waiting()


def test_our_candidate_waits_for_consul_lock(
    tmp_path: Path,
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    consul_lock: Locker,
    unique_key: str,
) -> None:
    """`consul lock` is the leader that followers see; when it ends, the waiting claim is woken."""
    election, leaders, woken = store.election(f"{unique_key}/.lock"), Seen(), Seen()
    election.watch_leader(leaders)
    process = consul_lock(unique_key)
    wait_until((tmp_path / "held").exists)
    leaders.wait(lambda it: it is not None)
    claim = election.enter(session, b"Frank")
    assert claim.token is None
    election.watch_claim(claim, woken)

    process.terminate()

    wait_until(lambda: woken, 8)
    assert election.status(claim) == Absent()
    claims = [election.enter(session, b"Frank")]

    def elected() -> bool:
        # `consul lock` deletes the key after it has unlocked it, maybe just before the request.
        if claims[-1].token is None and election.status(claims[-1]) == Absent():
            claims.append(election.enter(session, b"Frank"))
        return claims[-1].token is not None

    wait_until(elected, 8)
    leaders.wait(lambda it: str(it) == "Frank")


def test_semaphore_of_consul_lock_is_refused(
    tmp_path: Path,
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    consul_lock: Locker,
    unique_key: str,
) -> None:
    """`consul lock -n 2` keeps its state in the same key, which stays as it is."""
    consul_lock(unique_key, "-n=2")
    wait_until((tmp_path / "held").exists)
    before = raw(consul, f"{unique_key}/.lock")

    with pytest.raises(ValueError, match="semaphore"):
        store.election(f"{unique_key}/.lock").enter(session, b"Frank")

    assert raw(consul, f"{unique_key}/.lock") == before
