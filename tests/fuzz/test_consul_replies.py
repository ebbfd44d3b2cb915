"""Wrong answers in Consul's place: only errors of the library are raised, in time, in one line."""

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
from leadership_core import Fence
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.entries import ABSENT, Entry
from leadership_core.backend.protocols import Claim, Leader, Leading
from leadership_core.backend.url import StoreURL
from leadership_core.errors import LeadershipError
from tests.fuzz.hostile_server import HostileServer, Request, Wire, answer
from tests.fuzz.oracles import SECRET, check_error, examples
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
from tests.fuzz.valid_replies import SESSION, ValidReplies
from tests.support.waiting import at_most

KEY = "fuzz/key"
BUDGET = 0.3  # seconds


class PlannedReplies:
    """A behaviour with valid answers, except for the given replies, in turn."""

    def __init__(self) -> None:
        self.begin([])

    def begin(self, planned: list[Reply | None]) -> None:
        self.planned = list(planned)
        self.valid = ValidReplies()
        self.answers: list[tuple[Request, Any]] = []
        self.wires: list[Wire] = []

    @property
    def most_sent(self) -> int:
        """Bytes on one connection."""
        return max((wire.sent for wire in self.wires), default=0)

    def __call__(self, request: Request, wire: Wire) -> bool:
        self.wires.append(wire)
        valid = self.valid.say(request)
        reply = self.planned.pop(0) if self.planned else None
        if reply is not None:
            return reply.send(valid, request, wire)
        status, document, headers = valid
        wire.say(answer(status, encoded(document), headers))
        return True


@pytest.fixture(scope="module")
def replies_server() -> Iterator[tuple[PlannedReplies, str]]:
    behaviour = PlannedReplies()
    with HostileServer(behaviour) as server:
        yield behaviour, f"consul://:{SECRET}@127.0.0.1:{server.port}"


def _operate(store: ConsulStore, name: str) -> object:
    """One operation of a user or of the engine, with its calls in their order."""
    session = ConsulSession(store.client, SESSION, 15.0)
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
            return store.put("fuzz/other", b"value", fence=Fence(KEY, 10))
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
            status = election.status(claim)
            election.withdraw(claim)
            return status


OPERATIONS = [
    "get", "list", "put", "put absent", "put entry", "put bound", "put fenced", "delete",
    "delete tree", "open session", "renew", "close session", "leader", "enter", "full term",
]  # fmt: skip


def _check(store: ConsulStore, name: str) -> None:
    begun = time.monotonic()
    try:
        with call_timeout(BUDGET):
            found = _operate(store, name)
    except Exception as error:  # noqa: BLE001 - checked there
        check_error(error)
    else:
        _is_sane(found)
    assert time.monotonic() - begun < BUDGET + at_most(0.5)


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
def test_operation_raises_only_own_errors_on_wrong_replies(
    replies_server: tuple[PlannedReplies, str], name: str, good: int, planned: list[Reply]
) -> None:
    """After some valid answers come wrong ones; every call ends in time."""
    behaviour, url = replies_server
    behaviour.begin([*[None] * good, *planned])
    store = ConsulStore(StoreURL.parse(url))
    try:
        _check(store, name)
    finally:
        store.close()


@pytest.mark.parametrize("reply", [*BODIES, *STATUSES, *HEADERS, *STREAMS, *ECHOES], ids=repr)
def test_operation_raises_only_own_errors_on_each_kind_of_reply(
    replies_server: tuple[PlannedReplies, str], reply: Reply
) -> None:
    """Each operation gets the same wrong answers, some after valid ones."""
    behaviour, url = replies_server
    cases = [(name, 0) for name in OPERATIONS]
    for name, good in [*cases, ("enter", 1), ("full term", 2), ("open session", 1)]:
        behaviour.begin([*[None] * good, *[reply] * 5])
        with closing(
            ConsulStore(StoreURL.parse(url))
        ) as store:  # a used store would limit its rate
            _check(store, name)


@pytest.mark.parametrize("reply", SLOW, ids=repr)
@pytest.mark.parametrize("name", ["get", "enter"])
def test_slow_answer_ends_at_the_timeout(
    replies_server: tuple[PlannedReplies, str], name: str, reply: Reply
) -> None:
    """An answer that hangs, drips or has no end costs neither more time nor much memory."""
    behaviour, url = replies_server
    behaviour.begin([reply] * 8)
    store = ConsulStore(StoreURL.parse(url))
    try:
        _check(store, name)
    finally:
        store.close()
    assert behaviour.most_sent < 100 * 1024 * 1024


# -- leadership -------------------------------------------------------------------------------------


class Recorder(PlannedReplies):
    """Records each answer, as a client can parse it, before it is sent."""

    def __call__(self, request: Request, wire: Wire) -> bool:
        return super().__call__(request, RecordedWire(wire, lambda data: self._note(request, data)))

    def _note(self, request: Request, data: bytes) -> None:
        self.answers.append((request, _parsed(data)))


class RecordedWire(Wire):
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
    """Whether the record has the key locked by the session of the tests."""
    return (
        isinstance(record, dict)
        and record.get("Key") == KEY
        and record.get("Session") == SESSION
        and type(record.get("ModifyIndex")) is int
        and (token is None or record["ModifyIndex"] == token)
    )


@given(st.integers(0, 2), documents)
@examples(400)
def test_leadership_requires_an_answer_that_proves_it(good: int, wrong: Reply) -> None:
    """An answer that grants a claim, or makes it lead, has this key, session and index."""
    behaviour = Recorder()
    behaviour.begin([*[None] * good, wrong])
    with (
        HostileServer(behaviour) as server,
        closing(ConsulStore(StoreURL.parse(server.url))) as store,
    ):
        election = store.election(KEY)
        try:
            with call_timeout(BUDGET):
                claim = election.enter(ConsulSession(store.client, SESSION, 15.0), b"me")
                assert not claim.granted or any(
                    _grants(claim, document) for _, document in behaviour.answers
                )
                status = election.status(claim)
        except LeadershipError:
            return
        if isinstance(status, Leading):
            assert _is_mine(behaviour.answers[-1][1][0], status.token)


def _grants(claim: Claim, document: Any) -> bool:
    """Whether a document grants the claim: the result of a transaction, or of reading back after it."""
    results = document.get("Results") if isinstance(document, dict) else document
    return isinstance(results, list) and any(
        _is_mine(one, claim.token)
        or (isinstance(one, dict) and _is_mine(one.get("KV"), claim.token))
        for one in results
    )
