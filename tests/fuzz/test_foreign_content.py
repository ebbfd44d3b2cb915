"""Foreign content at the keys of an election: tolerated, and no problem after its removal."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, strategies as st

from leadership_core import Candidate, Follower, NotElected, Store, open_store
from leadership_core.backend.protocols import Leader
from leadership_core.errors import ConfigurationError, LeadershipError
from leadership_core.stores.memory import State
from tests.contract.test_minimal_store import Least
from tests.fuzz.oracles import check_error, check_event_order, examples
from tests.support.servers.consul import Consul

TTL = 1.0  # seconds
SEMAPHORE_FLAG = 0xE0F69A2BAA414DE0

values = st.binary(max_size=40) | st.sampled_from(
    [b"", b"\0", b"\xff" * 300, b"null", b"{}", b"0", b"-1", b"9" * 400, b"1e999", b"\xed\xa0\x80", b"x" * 60_000]
)  # fmt: skip


@pytest.fixture(params=["memory", "sqlite", pytest.param("consul", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, quick_folder: Path) -> str:
    if request.param == "consul":
        consul: Consul = request.getfixturevalue("consul")
        return consul.url
    if request.param == "sqlite":
        return f"sqlite:///{quick_folder}/fuzz.db"
    return f"memory://fuzz-{uuid.uuid4().hex}"


class Scene:
    """A candidate, a follower, and a foreign writer with a store of its own."""

    def __init__(self, store: Store, foreign: Store) -> None:
        self.key = f"fuzz/{uuid.uuid4().hex}"
        self.store, self.foreign = store, foreign
        self.candidate = Candidate(self.store, self.key, "me", ttl=TTL)
        self.follower = Follower(self.store, self.key)
        self.events: list[str] = []
        self.errors: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._listen, args=(member.events, name))
            for member, name in ((self.candidate, "candidate"), (self.follower, "follower"))
        ]

    @classmethod
    def at(cls, url: str) -> Self:
        return cls(open_store(url), open_store(url))

    def _listen(self, events: Callable[[], Iterator[Any]], who: str) -> None:
        try:
            for event in events():
                if who == "candidate":
                    self.events.append(event.name)
        except Exception as error:  # noqa: BLE001 - checked at the end
            self.errors.append(error)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_well(self, seconds: float = 12.0) -> None:
        """Wait until the candidate leads, and the follower sees it."""
        deadline = time.monotonic() + seconds
        while not self._is_well():
            assert not self.errors, self.errors
            assert time.monotonic() < deadline, (self.events, self.follower.leader)
            time.sleep(0.005)

    def _is_well(self) -> bool:
        seen, term = self.follower.leader, self.candidate.term
        return (
            term is not None and seen is not None and (seen.value, seen.token) == ("me", term.token)
        )

    def clean(self) -> None:
        """Remove all that the foreign writer has written."""
        self.foreign.delete_tree(self.key)
        self.foreign.delete(self.key)

    def end(self) -> None:
        for store in (self.foreign, self.store):
            store.close(3.0)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(3.0)
                assert not thread.is_alive()
        for error in self.errors:
            check_error(error)
        check_event_order(self.events)


@pytest.fixture
def scene(url: str) -> Iterator[Scene]:
    scene = Scene.at(url)
    try:
        yield scene
    finally:
        scene.end()


def _beside(scene: Scene) -> list[str]:
    """The key, keys below it, and keys that the store uses for this election."""
    under = [
        f"{scene.key}/{name}"
        for name in ("x", ".epoch", ".epoch", ".lock", "deadbeef", "lock-0000000001")
    ]
    return [scene.key, *under, f"{scene.key}.epoch"]


def _write_foreign(store: Store, action: str, key: str, value: bytes) -> None:
    match action:
        case "put":
            store.put(key, value)
        case "bind":
            store.put(key, value, session=store.open_session(TTL))
        case "delete":
            store.delete(key)
        case _:
            store.delete_tree(key)


actions = st.lists(
    st.tuples(st.sampled_from(["put", "put", "bind", "delete", "tree"]), st.integers(0, 7), values),
    min_size=1,
    max_size=4,
)


@given(st.data())
@examples(4)
def test_election_recovers_from_foreign_writes(url: str, data: st.DataObject) -> None:
    """Any bytes are written to the key and below it before and during a term, and then removed."""
    scene = Scene.at(url)
    try:
        places = _beside(scene)
        for early in (True, False):
            for action, number, value in data.draw(actions):
                try:
                    _write_foreign(scene.foreign, action, places[number], value)
                except LeadershipError as error:
                    check_error(error)
                try:
                    found = scene.foreign.leader(scene.key)
                except LeadershipError as error:
                    check_error(error)
                else:
                    assert found is None or isinstance(found, Leader)
            if early:
                scene.start()
                scene.candidate.wait_elected(0.3)
        scene.clean()
        scene.wait_well()
    finally:
        scene.end()


@pytest.mark.parametrize("value", [b"", b"\xff\xfe\0", b"null", b"9" * 400])
def test_unbound_entry_is_no_leader(scene: Scene, value: bytes) -> None:
    """An entry without a session is no claim, whatever its value."""
    scene.foreign.put(scene.key, value)

    assert scene.foreign.leader(scene.key) is None
    scene.start()
    scene.wait_well()


@pytest.mark.parametrize(
    "epoch", [b"", b"\xff", b"null", b"7", b"x y z", b"1.5 0 -", b"9" * 5000 + b" 0 -"]
)
def test_overwritten_epoch_prevents_election(epoch: bytes) -> None:
    """The next token is unknown, so there is no leader until the epoch is restored."""
    state = State()
    stores = [Store(Least(state), f"least://{number}") for number in range(2)]
    scene = Scene(*stores)
    try:
        scene.start()
        scene.wait_well()
        term = scene.candidate.term
        assert term is not None
        scene.foreign.put(f"{scene.key}/.epoch", epoch)
        scene.candidate.resign(0.0)

        with pytest.raises(NotElected, match="was overwritten"):
            scene.candidate.wait_elected(0.5)

        scene.foreign.put(f"{scene.key}/.epoch", f"{term.token} 0 -".encode())
        scene.wait_well()
        after = scene.candidate.term
        assert after is not None
        assert after.token > term.token
    finally:
        scene.end()
    assert scene.events.count("elected") == 2


def _raw(consul: Consul, method: str, path: str, body: bytes | str | None = None) -> Any:
    return consul.request(method, path, body).body


@pytest.mark.parametrize("value", [b"", b"\xff\xfe\0", b"{}", b"x" * 60_000])
def test_lock_of_another_program_on_consul_is_respected(consul: Consul, value: bytes) -> None:
    """Its holder leads, whatever its value, until it releases the lock."""
    scene = Scene.at(consul.url)
    try:
        session = consul.request(
            "PUT", "/v1/session/create", {"TTL": "10s", "LockDelay": "0s"}
        ).body["ID"]
        path = f"/v1/kv/{scene.key}"
        assert _raw(consul, "PUT", f"{path}?acquire={session}&flags={2**64 - 1}", value) is True
        scene.start()

        deadline = time.monotonic() + 5
        while scene.follower.leader is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert scene.follower.leader.value == value.decode("utf-8", "surrogateescape")
        assert scene.candidate.wait_elected(0.3) is None

        _raw(consul, "PUT", f"/v1/session/destroy/{session}")
        _raw(consul, "DELETE", path)
        scene.wait_well()
    finally:
        scene.end()


def test_semaphore_on_consul_is_refused_with_the_reason(consul: Consul) -> None:
    """An election there would break it: the candidate ends, with the cure in its error."""
    scene = Scene.at(consul.url)
    try:
        _raw(consul, "PUT", f"/v1/kv/{scene.key}?flags={SEMAPHORE_FLAG}", b"{}")
        with pytest.raises(ConfigurationError, match="semaphore"):
            scene.candidate.wait_elected(5.0)
        assert scene.foreign.leader(scene.key) is None
    finally:
        scene.end()
