"""Elections on Consul: the lock, its session, and changes by other clients."""

from __future__ import annotations

import pytest

from leadership_consul.election import LOCK_FLAG, SEMAPHORE_FLAG
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.backend.protocols import Absent, Waiting
from leadership_core.errors import ConfigurationError, SessionLost
from tests.integration.consul.tools import encoded, raw
from tests.support.servers.consul import Consul


def test_claim_is_a_lock_of_consuls_own_clients(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """`consul kv get -detailed` shows the value, the lock flags, and the session of the lock."""
    claim = store.election(unique_key).enter(session, "Frånk".encode())

    shown = consul.cli("kv", "get", "-detailed", unique_key).stdout
    said = dict(line.split(maxsplit=1) for line in shown.splitlines() if len(line.split()) == 2)

    assert said["Flags"] == str(0x2DDCCBC058A50C18)
    assert said["Session"] == session.id
    assert said["Value"] == "Frånk"
    assert said["ModifyIndex"] == str(claim.token)


def test_session_depends_on_its_ttl_only(consul: Consul, store: ConsulStore) -> None:
    """It has no health checks, releases its locks without a delay, and its ttl may be fractional."""
    session = store.open_session(2.5)

    (found,) = consul.request("GET", f"/v1/session/info/{session.id}").body
    session.close()

    assert found["TTL"] == "2.5s"
    assert not found.get("NodeChecks")
    assert not found.get("ServiceChecks")
    assert not found.get("Checks")
    assert (found["Behavior"], found["LockDelay"], found["Name"]) == ("release", 0, "leadership")


def test_tokens_grow_after_resignation_and_deletion(
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
) -> None:
    """Each term has a greater token than the one before, also with the same value and session."""
    election = store.election(unique_key)
    tokens = []
    for number in range(6):
        claim = election.enter((session, rival)[number % 2], b"the same")
        assert claim.token is not None
        tokens.append(claim.token)
        if number % 3 == 2:
            consul.cli("kv", "delete", unique_key)
        election.withdraw(claim)

    assert tokens == sorted(set(tokens))


def test_withdraw_deletes_the_value(
    store: ConsulStore, session: ConsulSession, unique_key: str, consul: Consul
) -> None:
    """After a resignation there is no leader, and the key has no value for other clients either."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    election.withdraw(claim)

    assert election.leader() is None
    assert election.status(claim) == Absent()
    found = raw(consul, unique_key)
    assert found is not None
    assert (found["Value"], found.get("Session"), found["Flags"]) == (None, None, LOCK_FLAG)


def test_value_of_ended_session_is_no_leader(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """When a session ends, its value stays in the key; that is not reported as a leader."""
    election = store.election(unique_key)
    election.enter(session, b"Frank")

    session.close()
    session.close()

    found = raw(consul, unique_key)
    assert found is not None
    assert found["Value"] == encoded(b"Frank")
    assert election.leader() is None


def test_destroyed_session_is_lost(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """`status`, `renew` and `enter` raise `SessionLost`; `withdraw` succeeds."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    consul.request("PUT", f"/v1/session/destroy/{session.id}")

    with pytest.raises(SessionLost):
        election.status(claim)
    with pytest.raises(SessionLost):
        session.renew()
    with pytest.raises(SessionLost):
        election.enter(session, b"Frank")
    election.withdraw(claim)


def test_deleted_key_is_absent(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """An operator's deletion ends the term but not the session, which may enter again."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    consul.cli("kv", "delete", unique_key)

    assert election.status(claim) == Absent()

    again = election.enter(session, b"Frank")
    assert claim.token is not None
    assert again.token is not None
    assert again.token > claim.token


def test_overwritten_claim_does_not_lead_and_can_be_withdrawn(
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
) -> None:
    """A foreign write changes the index, while the session still holds the lock."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    consul.cli("kv", "put", unique_key, "Claire")
    held = raw(consul, unique_key)
    assert held is not None
    assert held["Session"] == session.id

    assert election.status(claim) == Absent(overwritten=True)
    election.withdraw(claim)

    assert election.leader() is None
    assert election.enter(rival, b"Claire").token is not None


def test_overwrite_with_the_same_value_is_detected(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The index decides, not the value."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    consul.cli("kv", "put", unique_key, "Frank")

    assert election.status(claim) == Absent(overwritten=True)


def test_recreated_key_is_overwritten(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """A key that was deleted and created again with another value was overwritten, not deleted."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    consul.cli("kv", "delete", unique_key)
    consul.cli("kv", "put", unique_key, "Claire")

    assert election.status(claim) == Absent(overwritten=True)


def test_enter_locks_an_existing_plain_key(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """An operator's `kv put` does not block the election."""
    consul.cli("kv", "put", unique_key, "whatever")

    claim = store.election(unique_key).enter(session, b"Frank")

    found = raw(consul, unique_key)
    assert found is not None
    assert found["Flags"] == LOCK_FLAG
    assert claim.token == found["ModifyIndex"]


def test_enter_refuses_the_key_of_a_semaphore(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """Its value is the state of the semaphore."""
    consul.cli("kv", "put", "-flags", str(SEMAPHORE_FLAG), unique_key, "{}")

    with pytest.raises(ConfigurationError, match="semaphore"):
        store.election(unique_key).enter(session, b"Frank")


def test_enter_during_lock_delay_grants_nothing(
    store: ConsulStore, rival: ConsulSession, unique_key: str, opened: object, consul: Consul
) -> None:
    """The claim is not granted during the delay; that is no error, and the claim is absent."""
    assert callable(opened)
    delaying = opened(f"{consul.url}?lock_delay=1.5")
    ended = delaying.open_session(10)
    election = store.election(unique_key)
    delaying.election(unique_key).enter(ended, b"Frank")
    ended.close()

    refused = election.enter(rival, b"rival")

    assert refused.token is None
    assert refused.settled
    assert election.status(refused) == Absent()
    assert delaying.expires_within(10) == 21.5


def test_open_session_rejects_invalid_ttl_with_the_limits(store: ConsulStore) -> None:
    """The message names the requested ttl, the limits, and the setting to change."""
    with pytest.raises(ConfigurationError, match=r"0\.5s.*1s to 24h.*session_ttl_min"):
        store.open_session(0.5)
    with pytest.raises(ConfigurationError):
        store.open_session(0)  # which Consul would take for a session without an end


def test_renew_returns_the_granted_ttl(store: ConsulStore, session: ConsulSession) -> None:
    """It is the ttl of the server's answer."""
    assert session.renew() == 10.0
    assert session.ttl == 10.0


def test_value_written_over_a_lock_is_no_leader(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The key is still locked, but no claim has written the value."""
    election = store.election(unique_key)
    election.enter(session, b"first")

    consul.cli("kv", "put", unique_key, "by hand")

    assert election.leader() is None


def test_lock_of_another_program_is_warned_of_once(
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its flags are not those of a lock; it is held all the same. `consul lock` causes no warning."""
    election = store.election(unique_key)
    assert election.enter(rival, b"ours").granted
    claim = election.enter(session, b"b")
    assert election.status(claim) == Waiting()
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
    rival.close()
    foreign = store.open_session(10)
    assert consul.request("PUT", f"/v1/kv/{unique_key}?acquire={foreign.id}", "x").body is True

    for _ in range(3):
        assert election.status(claim) == Waiting()
        assert election.leader() is not None

    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 1
    assert unique_key in warned[0]
    assert foreign.id in warned[0]
