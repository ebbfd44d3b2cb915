"""The conditions that the script checks in the step of a write, and what is said of a write without an answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from leadership_core.backend import (
    Conflict,
    NotApplied,
    SessionLost,
    StoreUnavailable,
    StoreURL,
    call_timeout,
    claim_key,
)
from leadership_core.backend.protocols import Leading
from leadership_redis.store import RedisStore
from tests.conftest import ProxyFactory
from tests.support.servers.redis import RedisServer
from tests.support.waiting import wait_until

_KEY = "key"

Opener = Callable[[str], RedisStore]


@pytest.fixture
def tag(shared_redis: RedisServer) -> Iterator[str]:
    """A hash tag of the test's own: its keys are those of no other test."""
    name = f"guards-{uuid.uuid4().hex[:12]}"
    yield name
    names = ("entries", "index", "sessions", "bound", "revision", "guard")
    shared_redis.ask("DEL " + " ".join(f"{{{name}}}:{one}" for one in names))


@pytest.fixture
def opened(shared_redis: RedisServer, tag: str) -> Iterator[Opener]:
    """Opens stores with that tag, by further options, and closes them after the test."""
    stores: list[RedisStore] = []

    def open_it(options: str = "", port: int = shared_redis.port) -> RedisStore:
        url = f"redis://{shared_redis.host}:{port}?tag={tag}{options}"
        stores.append(RedisStore(StoreURL.parse(url)))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opener) -> RedisStore:
    return opened("")


@pytest.fixture
def other(opened: Opener) -> RedisStore:
    """A store of another process."""
    return opened("")


def test_claim_is_replaced_only_as_it_was_read(store: RedisStore) -> None:
    """A candidate that was stopped between its read and its write replaces no newer claim."""
    read = store.put(claim_key(_KEY), b"first")
    newer = store.put(claim_key(_KEY), b"second", expect=read)

    with pytest.raises(Conflict):
        store.put(claim_key(_KEY), b"late", expect=read)
    with pytest.raises(Conflict):
        store.delete(claim_key(_KEY), expect=read)

    assert store.get(claim_key(_KEY)) == newer


def test_claim_of_a_session_that_was_ended_is_not_made(
    store: RedisStore, other: RedisStore
) -> None:
    """Its holder does not know of the end yet: the write itself has to find it out."""
    session, election = store.open_session(30), store.election(_KEY)
    other.client.call("end", session.id)

    with pytest.raises(SessionLost):
        election.enter(session, b"a")

    assert other.get(claim_key(_KEY)) is None


def test_session_that_was_renewed_meanwhile_is_not_ended(
    store: RedisStore, other: RedisStore
) -> None:
    """An observer that was stopped after its last look ends no session of a leader."""
    session, election = store.open_session(30), store.election(_KEY)
    claim = election.enter(session, b"a")
    heartbeat = other._sessions.read_heartbeats([session.id])[session.id]
    session.renew()

    assert not other._sessions.end_session(heartbeat)

    session.renew()
    assert election.status(claim) == Leading(claim.token or 0)
    present = other._sessions.read_heartbeats([session.id])[session.id]
    assert other._sessions.end_session(present)
    with pytest.raises(SessionLost):
        session.renew()


def test_renewal_after_lost_data_is_another_heartbeat(
    shared_redis: RedisServer, store: RedisStore, tag: str
) -> None:
    """A failover takes a renewal back, and the next one has its number: an observer must not take them for one."""
    session = store.open_session(30)
    sessions = f"{{{tag}}}:sessions"
    before = shared_redis.ask(f"HGET {sessions} {session.id}").splitlines()[1]
    session.renew()
    first = store._sessions.read_heartbeats([session.id])[session.id]
    shared_redis.ask(f'HSET {sessions} {session.id} "{before}"')
    session.renew()

    assert store._sessions.read_heartbeats([session.id])[session.id] != first


def test_token_grows_although_the_clock_of_the_server_was_set_back(
    shared_redis: RedisServer, store: RedisStore, tag: str
) -> None:
    """The last revision is from a time when the clock was an hour ahead."""
    session, election = store.open_session(30), store.election(_KEY)
    first = election.enter(session, b"a")
    ahead = (first.token or 0) + 3600 * 1_000_000
    shared_redis.ask(f"SET {{{tag}}}:revision {ahead}")
    election.withdraw(first)

    second = election.enter(session, b"a")

    assert (second.token or 0) > ahead


def test_write_that_too_few_replicas_have_confirmed_has_an_unknown_outcome(opened: Opener) -> None:
    """With `wait=1` and no replica, it was made, and a failover may lose it."""
    store = opened("&wait=1")
    with pytest.raises(StoreUnavailable, match="0 of the 1 replicas") as raised, call_timeout(1.0):
        store.put("a", b"1")

    assert not isinstance(raised.value, NotApplied)


def test_write_without_an_answer_has_an_unknown_outcome(
    shared_redis: RedisServer, opened: Callable[..., RedisStore], proxy: ProxyFactory
) -> None:
    """The answer was lost, and the write was made: it must not be repeated as if it were not."""
    link = proxy(shared_redis.port)
    store = opened("", link.port)
    store.put("a", b"1")
    link.cut("down")

    with pytest.raises(StoreUnavailable) as raised, call_timeout(1.0):
        store.put("a", b"2")

    assert not isinstance(raised.value, NotApplied)
    other = opened("")
    wait_until(lambda: getattr(other.get("a"), "value", None) == b"2", 5, "it was written")
