"""Whatever answers in Consul's place: nothing but our own errors come out, in time, in one line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, strategies as st

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.budget import budget
from leadership_core.errors import LeadershipError
from leadership_core.store import ABSENT, Claim, Entry, Leader, Leading
from leadership_core.url import StoreURL
from tests.fuzz.evil import EvilServer, Request, Wire, answer
from tests.fuzz.oracles import SECRET, examples, tolerated
from tests.fuzz.plausible import SESSION, Plausible
from tests.fuzz.replies import (
    BODIES,
    ECHOES,
    HEADERS,
    SLOW,
    STATUSES,
    STREAMS,
    Reply,
    documents,
    encoded,
    replies,
)

KEY = "fuzz/key"
BUDGET = 0.3  # seconds


class Liar:
    """A mind that answers plausibly but for the replies it is given, in turn."""

    def __init__(self) -> None:
        self.begin([])

    def begin(self, planned: list[Reply | None]) -> None:
        self.planned = list(planned)
        self.plausible = Plausible()
        self.said: list[tuple[Request, Any]] = []
        self.wires: list[Wire] = []

    @property
    def most_sent(self) -> int:
        """Bytes on one connection."""
        return max((wire.sent for wire in self.wires), default=0)

    def __call__(self, request: Request, wire: Wire) -> bool:
        self.wires.append(wire)
        plausible = self.plausible.say(request)
        reply = self.planned.pop(0) if self.planned else None
        if reply is not None:
            return reply.send(plausible, request, wire)
        status, document, headers = plausible
        wire.say(answer(status, encoded(document), headers))
        return True


@pytest.fixture(scope="module")
def liar() -> Iterator[tuple[Liar, str]]:
    mind = Liar()
    with EvilServer(mind) as server:
        yield mind, f"consul://:{SECRET}@127.0.0.1:{server.port}"


def _operate(store: ConsulStore, name: str) -> object:
    """What a user, or the engine, may ask of a store; the calls of one operation in their order."""
    session = ConsulSession(store._client, SESSION, 15.0)
    election = store.election(KEY)
    match name:
        case "get":
            return store.get(KEY)
        case "list":
            return store.list("fuzz")
        case "put":
            return store.put(KEY, b"value")
        case "put absent":
            return store.put(KEY, b"value", expect=ABSENT)
        case "put entry":
            return store.put(KEY, b"value", expect=Entry(KEY, b"x", 10))
        case "put bound":
            return store.put(KEY, b"value", session=session)
        case "put fenced":
            return store.put("fuzz/other", b"value", fence=(KEY, 10))
        case "delete":
            return store.delete(KEY)
        case "delete tree":
            return store.delete_tree("fuzz")
        case "open session":
            opened = store.open_session(15.0)
            renewed = opened.renew()
            opened.close()
            return renewed
        case "renew":
            return session.renew()
        case "close session":
            session.close()
            return None
        case "leader":
            return election.leader()
        case "enter":
            return election.enter(session, b"me")
        case _:
            claim = election.enter(session, b"me")
            standing = election.standing(claim)
            election.withdraw(claim)
            return standing


OPERATIONS = [
    "get", "list", "put", "put absent", "put entry", "put bound", "put fenced", "delete",
    "delete tree", "open session", "renew", "close session", "leader", "enter", "race",
]  # fmt: skip


def _check(store: ConsulStore, name: str) -> None:
    begun = time.monotonic()
    try:
        with budget(BUDGET):
            found = _operate(store, name)
    except Exception as error:  # noqa: BLE001 - looked at there
        tolerated(error)
    else:
        _is_sane(found)
    assert time.monotonic() - begun < BUDGET + 0.5


def _is_sane(found: object) -> None:
    match found:
        case tuple() | list():
            for one in found:
                _is_sane(one)
        case Entry(key, value, revision, session):
            assert isinstance(key, str)
            assert isinstance(value, bytes)
            assert type(revision) is int
            assert 0 < revision < 2**64
            assert session is None or isinstance(session, str)
        case Leader(value, token):
            assert isinstance(value, str)
            assert type(token) is int
            assert 0 < token < 2**64
        case Claim():
            assert not found.granted or isinstance(found.token, int)
        case float():
            assert 0 < found <= 15.0  # a session is never granted more than it asked for
        case _:
            pass


@given(st.sampled_from(OPERATIONS), st.integers(0, 3), st.lists(replies, min_size=1, max_size=3))
@examples(500)
def test_nothing_but_our_errors_comes_out(
    liar: tuple[Liar, str], name: str, good: int, planned: list[Reply]
) -> None:
    """The first answers are plausible, the next ones are not; every call ends in time."""
    mind, url = liar
    mind.begin([*[None] * good, *planned])
    store = ConsulStore(StoreURL.parse(url))
    try:
        _check(store, name)
    finally:
        store.close()


@pytest.mark.parametrize("reply", [*BODIES, *STATUSES, *HEADERS, *STREAMS, *ECHOES], ids=repr)
def test_every_operation_survives(liar: tuple[Liar, str], reply: Reply) -> None:
    """Each of them is given the same wrong answer first; those that believe, also second."""
    mind, url = liar
    cases = [(name, 0) for name in OPERATIONS]
    for name, good in [*cases, ("enter", 1), ("race", 2), ("open session", 1)]:
        mind.begin([*[None] * good, *[reply] * 5])
        with closing(ConsulStore(StoreURL.parse(url))) as store:  # else they would pace themselves
            _check(store, name)


@pytest.mark.parametrize("reply", SLOW, ids=repr)
@pytest.mark.parametrize("name", ["get", "enter"])
def test_no_answer_takes_longer_than_the_budget(
    liar: tuple[Liar, str], name: str, reply: Reply
) -> None:
    """It hangs, drips, or goes on for ever; nor does it fill the memory."""
    mind, url = liar
    mind.begin([reply] * 8)
    store = ConsulStore(StoreURL.parse(url))
    try:
        _check(store, name)
    finally:
        store.close()
    assert mind.most_sent < 100 * 1024 * 1024


# -- belief -------------------------------------------------------------------------------------


class Recorder(Liar):
    """Writes down what it answers, as a client can read it, before that is sent."""

    def __call__(self, request: Request, wire: Wire) -> bool:
        return super().__call__(request, Noted(wire, lambda data: self._note(request, data)))

    def _note(self, request: Request, data: bytes) -> None:
        self.said.append((request, _parsed(data)))


class Noted(Wire):
    def __init__(self, wire: Wire, note: Callable[[bytes], None]) -> None:
        super().__init__(wire.connection, wire.ended)
        self._note = note

    def say(self, data: bytes) -> None:
        self._note(data)
        super().say(data)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text.partition(b"\r\n\r\n")[2])
    except (ValueError, RecursionError):
        return None


def _is_mine(record: Any, token: int | None = None) -> bool:
    """Whether a record of a document says that the key is locked by the session of the tests."""
    return (
        isinstance(record, dict)
        and record.get("Key") == KEY
        and record.get("Session") == SESSION
        and type(record.get("ModifyIndex")) is int
        and (token is None or record["ModifyIndex"] == token)
    )


@given(st.integers(0, 2), documents)
@examples(400)
def test_nobody_leads_by_an_answer_that_does_not_say_so(good: int, wrong: Reply) -> None:
    """What grants a claim, or says that it leads, names this key, this session and this index."""
    mind = Recorder()
    mind.begin([*[None] * good, wrong])
    with EvilServer(mind) as server, closing(ConsulStore(StoreURL.parse(server.url))) as store:
        election = store.election(KEY)
        try:
            with budget(BUDGET):
                claim = election.enter(ConsulSession(store._client, SESSION, 15.0), b"me")
                assert not claim.granted or any(_grants(claim, said) for _, said in mind.said)
                standing = election.standing(claim)
        except LeadershipError:
            return
        if isinstance(standing, Leading):
            assert _is_mine(mind.said[-1][1][0], standing.token)


def _grants(claim: Claim, said: Any) -> bool:
    """Whether a document says so: the outcome of a transaction, or what was read back after it."""
    results = said.get("Results") if isinstance(said, dict) else said
    return isinstance(results, list) and any(
        _is_mine(one, claim.token)
        or (isinstance(one, dict) and _is_mine(one.get("KV"), claim.token))
        for one in results
    )
