"""The race for one key, as Consul has it."""

from __future__ import annotations

import pytest

from leadership_consul.election import LOCK_FLAG, SEMAPHORE_FLAG
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.errors import ConfigurationError, SessionLost
from leadership_core.store import Absent, Leading, Waiting
from tests.consul.tools import encoded, raw
from tests.servers.consul import Consul


def test_a_term_looks_like_a_lock_of_consuls_own_clients(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """`consul kv get -detailed` shows the value, the lock flag, and the session as the holder."""
    claim = store.election(unique_key).enter(session, "Frånk".encode())

    shown = consul.cli("kv", "get", "-detailed", unique_key).stdout
    said = dict(line.split(maxsplit=1) for line in shown.splitlines() if len(line.split()) == 2)

    assert said["Flags"] == str(0x2DDCCBC058A50C18)
    assert said["Session"] == session.id
    assert said["Value"] == "Frånk"
    assert said["ModifyIndex"] == str(claim.token)


def test_a_session_depends_on_nothing_but_its_ttl(consul: Consul, store: ConsulStore) -> None:
    """No health check can end it, it releases, there is no lock delay, a ttl may be fractional."""
    session = store.open_session(2.5)

    (found,) = consul.request("GET", f"/v1/session/info/{session.id}").body
    session.close()

    assert found["TTL"] == "2.5s"
    assert not found.get("NodeChecks")
    assert not found.get("ServiceChecks")
    assert not found.get("Checks")
    assert (found["Behavior"], found["LockDelay"], found["Name"]) == ("release", 0, "leadership")


def test_a_second_candidate_waits(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """One claim is granted, the other is not, and both are told so."""
    election = store.election(unique_key)

    first, second = election.enter(session, b"first"), election.enter(rival, b"second")

    assert first.token is not None
    assert second.token is None
    assert election.standing(first) == Leading(first.token)
    assert election.standing(second) == Waiting()
    leader = election.leader()
    assert leader is not None
    assert (str(leader), leader.token) == ("first", first.token)


def test_tokens_grow_over_resignation_deletion_and_the_same_name(
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
) -> None:
    """Each term has a greater token than the one before, whatever has happened in between."""
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


def test_the_value_goes_with_the_term(
    store: ConsulStore, session: ConsulSession, unique_key: str, consul: Consul
) -> None:
    """After a resignation there is no leader, and the key names none to anybody else either."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    election.withdraw(claim)

    assert election.leader() is None
    assert election.standing(claim) == Absent()
    found = raw(consul, unique_key)
    assert found is not None
    assert (found["Value"], found.get("Session"), found["Flags"]) == (None, None, LOCK_FLAG)


def test_a_dead_leader_is_nobody(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """A session that ends leaves its value in the key; that is not taken for a leader."""
    election = store.election(unique_key)
    election.enter(session, b"Frank")

    session.close()
    session.close()

    found = raw(consul, unique_key)
    assert found is not None
    assert found["Value"] == encoded(b"Frank")
    assert election.leader() is None


def test_a_destroyed_session_is_lost(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """Whoever asks next is told: the standing, the renewal, another claim; to withdraw is fine."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    consul.request("PUT", f"/v1/session/destroy/{session.id}")

    with pytest.raises(SessionLost):
        election.standing(claim)
    with pytest.raises(SessionLost):
        session.renew()
    with pytest.raises(SessionLost):
        election.enter(session, b"Frank")
    election.withdraw(claim)


def test_a_deleted_key_is_absent(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """An operator's deletion ends the term but not the session, which may enter again."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    consul.cli("kv", "delete", unique_key)

    assert election.standing(claim) == Absent()

    again = election.enter(session, b"Frank")
    assert claim.token is not None
    assert again.token is not None
    assert again.token > claim.token


def test_an_overwritten_term_is_over_and_can_be_withdrawn(
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
) -> None:
    """A foreign write moves the index: not leading, although the session still holds the key."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    consul.cli("kv", "put", unique_key, "Claire")
    held = raw(consul, unique_key)
    assert held is not None
    assert held["Session"] == session.id

    assert election.standing(claim) == Absent(overwritten=True)
    election.withdraw(claim)

    assert election.leader() is None
    assert election.enter(rival, b"Claire").token is not None


def test_an_overwrite_with_the_same_value_is_noticed(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The index tells, not the value."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    consul.cli("kv", "put", unique_key, "Frank")

    assert election.standing(claim) == Absent(overwritten=True)


def test_a_term_whose_key_was_put_there_anew_was_overwritten(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """Whoever replaces a claim by a value of his own is told of as that, not as a deletion."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    consul.cli("kv", "delete", unique_key)
    consul.cli("kv", "put", unique_key, "Claire")

    assert election.standing(claim) == Absent(overwritten=True)


def test_a_key_that_somebody_put_there_is_taken(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """An operator's `kv put` does not stop the election for ever."""
    consul.cli("kv", "put", unique_key, "whatever")

    claim = store.election(unique_key).enter(session, b"Frank")

    found = raw(consul, unique_key)
    assert found is not None
    assert found["Flags"] == LOCK_FLAG
    assert claim.token == found["ModifyIndex"]


def test_the_key_of_a_semaphore_is_left_alone(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """Its value is the state of the semaphore."""
    consul.cli("kv", "put", "-flags", str(SEMAPHORE_FLAG), unique_key, "{}")

    with pytest.raises(ConfigurationError, match="semaphore"):
        store.election(unique_key).enter(session, b"Frank")


def test_a_lock_delay_is_waited_for(
    store: ConsulStore, rival: ConsulSession, unique_key: str, opened: object, consul: Consul
) -> None:
    """The claim is not granted while it lasts, which is not an error and not the end of it."""
    assert callable(opened)
    delaying = opened(f"{consul.url}?lock_delay=1.5")
    ended = delaying.open_session(10)
    election = store.election(unique_key)
    delaying.election(unique_key).enter(ended, b"Frank")
    ended.close()

    refused = election.enter(rival, b"rival")

    assert refused.token is None
    assert refused.settled
    assert election.standing(refused) == Absent()
    assert delaying.expires_within(10) == 21.5


def test_a_ttl_that_the_server_refuses_comes_with_the_numbers(store: ConsulStore) -> None:
    """The message has what was asked, what is allowed, and what to change."""
    with pytest.raises(ConfigurationError, match=r"0\.5s.*1s to 24h.*session_ttl_min"):
        store.open_session(0.5)
    with pytest.raises(ConfigurationError):
        store.open_session(0)  # which Consul would take for a session without an end


def test_renewing_tells_the_ttl_in_force(store: ConsulStore, session: ConsulSession) -> None:
    """It is the server's word that counts."""
    assert session.renew() == 10.0
    assert session.ttl == 10.0


def test_what_was_written_by_hand_over_a_lock_is_no_leader(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The lock still stands then, but what the key says is nobody's claim."""
    election = store.election(unique_key)
    election.enter(session, b"first")

    consul.cli("kv", "put", unique_key, "by hand")

    assert election.leader() is None
