"""The guards of a claim's writes: none applies to a term that is not its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from leadership_consul.election import LOCK_FLAG
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Absent, Claim, Leading
from tests.conftest import ProxyFactory
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import encoded, raw, txn
from tests.support.servers.consul import Consul


def test_second_withdraw_of_an_old_claim_keeps_the_new_one(
    store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The same session has entered again; to withdraw the first claim once more changes nothing."""
    election = store.election(unique_key)
    first = election.enter(session, b"first")
    election.withdraw(first)
    second = election.enter(session, b"second")

    first.withdrawn = False  # as if its confirmation had been lost
    election.withdraw(first)

    assert second.token is not None
    assert election.status(second) == Leading(second.token)


def test_late_copy_of_enter_is_refused(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The transaction of a term, sent again after that term, locks nothing."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    copy: list[dict[str, Any]] = [
        {"Verb": "check-index", "Key": unique_key, "Index": claim.guard},
        {
            "Verb": "lock",
            "Key": unique_key,
            "Session": session.id,
            "Value": encoded(b"Frank"),
            "Flags": LOCK_FLAG,
        },
    ]
    election.withdraw(claim)
    after_withdrawal = txn(consul, *copy)
    consul.cli("kv", "delete", unique_key)
    after_deletion = txn(consul, *copy)

    assert after_withdrawal.status == after_deletion.status == 409
    assert election.leader() is None


def test_late_copy_of_withdraw_does_not_end_a_later_term(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The transaction that ended term 1, sent again in term 2 of the same session, is refused."""
    election = store.election(unique_key)
    first = election.enter(session, b"Frank")
    election.withdraw(first)
    second = election.enter(session, b"Frank")

    copy = txn(
        consul,
        {"Verb": "check-index", "Key": unique_key, "Index": first.token},
        {"Verb": "unlock", "Key": unique_key, "Session": session.id},
    )

    assert copy.status == 409
    assert second.token is not None
    assert election.status(second) == Leading(second.token)


def test_lock_of_no_claim_is_released(
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
) -> None:
    """A lock of the session that no claim has requested is released, and never adopted."""
    election = store.election(unique_key)
    first = election.enter(rival, b"rival")
    claim = election.enter(session, b"Frank")
    election.withdraw(first)
    txn(consul, {"Verb": "lock", "Key": unique_key, "Session": session.id, "Flags": LOCK_FLAG})

    assert election.status(claim) == Absent()

    assert election.enter(rival, b"rival").token is not None


def test_enter_does_not_adopt_an_existing_lock_of_the_session(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The token is that of a write of this claim, not of an earlier one."""
    txn(consul, {"Verb": "lock", "Key": unique_key, "Session": session.id, "Flags": LOCK_FLAG})
    before = raw(consul, unique_key)
    assert before is not None

    claim = store.election(unique_key).enter(session, b"Frank")

    assert claim.token is not None
    assert claim.token > before["ModifyIndex"] + 1  # unlocked and locked again


def test_enter_with_an_outdated_read_grants_nothing(
    consul: Consul,
    opened: Opener,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
) -> None:
    """The index that `status` has read is only a guard: Consul refuses an outdated one."""
    election = store.election(unique_key)
    first = election.enter(rival, b"rival")
    claim = election.enter(session, b"Frank")
    election.withdraw(first)
    assert election.status(claim) == Absent()
    other = opened(consul.url).election(unique_key).enter(rival, b"rival")  # of another process

    assert election.enter(session, b"Frank").token is None

    assert election.status(other) == Leading(other.token or 0)


def test_late_withdraw_request_does_not_end_a_later_term(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The first request arrives after a second one was sent, and the same session leads again."""
    link = proxy(consul.port)
    store = opened(consul.url_at(link.port))
    session = store.open_session(10)
    election = store.election(unique_key)
    first = election.enter(session, b"Frank")
    held = link.hold(b'"unlock"')

    def withdraw(claim: Claim) -> None:
        with call_timeout(8):
            election.withdraw(claim)

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(withdraw, first)
        assert held.caught.wait(5)
        withdraw(first)
        second = election.enter(session, b"Frank")
        assert second.token is not None
        held.release()
        late.result(10)

    assert election.status(second) == Leading(second.token)
    session.close()
