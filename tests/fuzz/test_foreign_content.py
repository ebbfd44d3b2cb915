"""What other programs write where an election is: endured, and when it is gone all is well."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, strategies as st

from leadership_core import Candidate, Follower, NotElected, StoreHandle, open_store
from leadership_core.errors import ConfigurationError, LeadershipError
from leadership_core.memory import State
from leadership_core.store import Leader
from tests.fuzz.oracles import examples, in_order, tolerated
from tests.servers.consul import Consul
from tests.testing.test_least import Least

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


class Race:
    """A candidate, a follower, and a vandal with a store of its own."""

    def __init__(self, store: StoreHandle, vandal: StoreHandle) -> None:
        self.key = f"fuzz/{uuid.uuid4().hex}"
        self.store, self.vandal = store, vandal
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
        except Exception as error:  # noqa: BLE001 - looked at in the end
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
        """The vandal takes all of it away, and goes."""
        self.vandal.delete_tree(self.key)
        self.vandal.delete(self.key)

    def end(self) -> None:
        for store in (self.vandal, self.store):
            store.close(3.0)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(3.0)
                assert not thread.is_alive()
        for error in self.errors:
            tolerated(error)
        in_order(self.events)


@pytest.fixture
def race(url: str) -> Iterator[Race]:
    race = Race.at(url)
    try:
        yield race
    finally:
        race.end()


def _beside(race: Race) -> list[str]:
    """The key, what is below it, and what the store keeps beside it for this election."""
    under = [
        f"{race.key}/{name}"
        for name in ("x", ".epoch", ".epoch", ".lock", "deadbeef", "lock-0000000001")
    ]
    return [race.key, *under, f"{race.key}.epoch"]


def _vandalise(store: StoreHandle, deed: str, key: str, value: bytes) -> None:
    match deed:
        case "put":
            store.put(key, value)
        case "bind":
            store.put(key, value, session=store.open_session(TTL))
        case "delete":
            store.delete(key)
        case _:
            store.delete_tree(key)


deeds = st.lists(
    st.tuples(st.sampled_from(["put", "put", "bind", "delete", "tree"]), st.integers(0, 7), values),
    min_size=1,
    max_size=4,
)


@given(st.data())
@examples(4)
def test_a_vandal_is_outlived(url: str, data: st.DataObject) -> None:
    """It writes any bytes to the key and below it before and during a term, and cleans up."""
    race = Race.at(url)
    try:
        places = _beside(race)
        for early in (True, False):
            for deed, number, value in data.draw(deeds):
                try:
                    _vandalise(race.vandal, deed, places[number], value)
                except LeadershipError as error:
                    tolerated(error)
                try:
                    found = race.vandal.leader(race.key)
                except LeadershipError as error:
                    tolerated(error)
                else:
                    assert found is None or isinstance(found, Leader)
            if early:
                race.start()
                race.candidate.wait_elected(0.3)
        race.clean()
        race.wait_well()
    finally:
        race.end()


@pytest.mark.parametrize("value", [b"", b"\xff\xfe\0", b"null", b"9" * 400])
def test_what_a_hand_has_written_leads_nobody(race: Race, value: bytes) -> None:
    """An entry without a session is nobody's claim, whatever is in it."""
    race.vandal.put(race.key, value)

    assert race.vandal.leader(race.key) is None
    race.start()
    race.wait_well()


@pytest.mark.parametrize(
    "epoch", [b"", b"\xff", b"null", b"7", b"x y z", b"1.5 0 -", b"9" * 5000 + b" 0 -"]
)
def test_an_epoch_that_a_hand_has_written_over_elects_nobody(epoch: bytes) -> None:
    """No token could be told to be a new one: nobody leads until it is put back."""
    state = State()
    stores = [StoreHandle(Least(state), f"least://{number}") for number in range(2)]
    race = Race(*stores)
    try:
        race.start()
        race.wait_well()
        term = race.candidate.term
        assert term is not None
        race.vandal.put(f"{race.key}/.epoch", epoch)
        race.candidate.resign(0.0)

        with pytest.raises(NotElected, match="written over by hand"):
            race.candidate.wait_elected(0.5)

        race.vandal.put(f"{race.key}/.epoch", f"{term.token} 0 -".encode())
        race.wait_well()
        after = race.candidate.term
        assert after is not None
        assert after.token > term.token
    finally:
        race.end()
    assert race.events.count("elected") == 2


def _raw(consul: Consul, method: str, path: str, body: bytes | str | None = None) -> Any:
    return consul.request(method, path, body).body


@pytest.mark.parametrize("value", [b"", b"\xff\xfe\0", b"{}", b"x" * 60_000])
def test_the_lock_of_another_program_on_consul(consul: Consul, value: bytes) -> None:
    """Whatever its value: its holder leads, nobody else does, until it lets go."""
    race = Race.at(consul.url)
    try:
        session = consul.request(
            "PUT", "/v1/session/create", {"TTL": "10s", "LockDelay": "0s"}
        ).body["ID"]
        path = f"/v1/kv/{race.key}"
        assert _raw(consul, "PUT", f"{path}?acquire={session}&flags={2**64 - 1}", value) is True
        race.start()

        deadline = time.monotonic() + 5
        while race.follower.leader is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert race.follower.leader.value == value.decode("utf-8", "surrogateescape")
        assert race.candidate.wait_elected(0.3) is None

        _raw(consul, "PUT", f"/v1/session/destroy/{session}")
        _raw(consul, "DELETE", path)
        race.wait_well()
    finally:
        race.end()


def test_a_semaphore_on_consul_is_refused_with_the_reason(consul: Consul) -> None:
    """To stand there would break it: the candidate ends, and says what to do."""
    race = Race.at(consul.url)
    try:
        _raw(consul, "PUT", f"/v1/kv/{race.key}?flags={SEMAPHORE_FLAG}", b"{}")
        with pytest.raises(ConfigurationError, match="semaphore"):
            race.candidate.wait_elected(5.0)
        assert race.vandal.leader(race.key) is None
    finally:
        race.end()
