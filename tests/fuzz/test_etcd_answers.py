"""Wrong answers in etcd's place: only errors of the library are raised, and no result rests on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, strategies as st

from leadership_core import Candidate, Fence, open_store
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.entries import ABSENT, Entry
from leadership_core.backend.protocols import Claim, Leader, Leading
from leadership_core.backend.url import StoreURL
from leadership_core.errors import SessionLost, StoreUnavailable
from leadership_etcd.compat import pb
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.fuzz.hostile_etcd import KEY, LEASE, HostileEtcd, kv
from tests.fuzz.oracles import check_error, examples
from tests.support.waiting import at_most

NAME = KEY.decode()
BUDGET = 2.0  # seconds


def _operate(store: EtcdStore, name: str) -> object:
    """One operation of a user or of the engine."""
    session = EtcdSession(store.client, LEASE, 15.0)
    election = store.election(NAME)
    match name:
        case "get":
            return store.get(NAME)
        case "list":
            return store.list("fuzz")
        case "put":
            return store.put(NAME, b"value")
        case "put entry":
            return store.put(NAME, b"value", expect=Entry(NAME, b"x", 10))
        case "put fenced":
            return store.put("fuzz/other", b"value", fence=Fence(NAME, 100))
        case "delete":
            return store.delete(NAME)
        case "delete absent":
            return store.delete(NAME, expect=ABSENT)
        case "delete tree":
            return store.delete_tree("fuzz")
        case "open session":
            return store.open_session(15.0)
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
    "get", "list", "put", "put entry", "put fenced", "delete", "delete absent", "delete tree",
    "open session", "renew", "close session", "leader", "enter", "full term",
]  # fmt: skip


def _empty(_: str, __: Any, answer: Any) -> Any:
    if isinstance(answer, pb.StatusResponse | pb.MemberListResponse):
        return answer
    return b""


def _in_ranges(change: Callable[[Any], None]) -> Any:
    """Change what each read finds, also in a transaction."""

    def alter(_: str, __: Any, answer: Any) -> Any:
        if isinstance(answer, pb.RangeResponse):
            change(answer)
        elif isinstance(answer, pb.TxnResponse):
            for response in answer.responses:
                if response.WhichOneof("response") == "response_range":
                    change(response.response_range)
        return answer

    return alter


def _in(kind: Any, **fields: Any) -> Any:
    def alter(_: str, __: Any, answer: Any) -> Any:
        if isinstance(answer, kind):
            for name, value in fields.items():
                setattr(answer, name, value)
        return answer

    return alter


def _other_key(found: Any) -> None:
    for one in found.kvs:
        one.key = b"other/key"


def _twice(found: Any) -> None:
    found.kvs.extend(list(found.kvs))


def _more(found: Any) -> None:
    del found.kvs[:]
    found.more = True


def _no_revision(found: Any) -> None:
    for one in found.kvs:
        one.mod_revision = one.create_revision = 0


def _ahead(found: Any) -> None:
    for one in found.kvs:
        one.mod_revision = 10**15


def _many(found: Any) -> None:
    found.kvs.extend(kv(b"fuzz/key/%08d" % number) for number in range(2000))


def _no_responses(_: str, __: Any, answer: Any) -> Any:
    if isinstance(answer, pb.TxnResponse):
        del answer.responses[:]
    return answer


def _failed_and_silent(_: str, __: Any, answer: Any) -> Any:
    if isinstance(answer, pb.TxnResponse):
        answer.succeeded = False
    return answer


def _of_another_kind(_: str, request: Any, answer: Any) -> Any:
    if isinstance(answer, pb.TxnResponse):
        for response in answer.responses:
            response.response_delete_range.deleted = 1
    return answer


ALTERATIONS = {
    "empty": _empty,
    "another key": _in_ranges(_other_key),
    "every key twice": _in_ranges(_twice),
    "more, and none": _in_ranges(_more),
    "no revisions": _in_ranges(_no_revision),
    "a revision to come": _in_ranges(_ahead),
    "more keys than asked for": _in_ranges(_many),
    "no responses": _no_responses,
    "failed, with the wrong responses": _failed_and_silent,
    "another kind of response": _of_another_kind,
    "another lease": _in(pb.LeaseKeepAliveResponse, ID=5),
    "a renewal of 10^18 s": _in(pb.LeaseKeepAliveResponse, TTL=10**18),
    "a lease of 10^18 s": _in(pb.LeaseGrantResponse, TTL=10**18),
    "a lease of -5 s": _in(pb.LeaseGrantResponse, TTL=-5),
    "lease 0": _in(pb.LeaseGrantResponse, ID=0),
    "a negative lease": _in(pb.LeaseGrantResponse, ID=-5),
    "fewer than none": _in(pb.DeleteRangeResponse, deleted=-1),
    "garbage": lambda name, _, answer: answer if name == "Status" else b"\xff" * 40,
}

REFUSED = [
    ("empty", "get"), ("empty", "list"), ("empty", "put"), ("empty", "delete"),
    ("empty", "open session"), ("empty", "renew"), ("empty", "leader"), ("empty", "enter"),
    ("another key", "get"), ("another key", "list"), ("another key", "leader"),
    ("every key twice", "get"), ("every key twice", "list"),
    ("more, and none", "list"), ("more, and none", "leader"),
    ("no revisions", "get"), ("a revision to come", "get"), ("a revision to come", "list"),
    ("more keys than asked for", "get"), ("more keys than asked for", "list"),
    ("no responses", "put"), ("no responses", "enter"),
    ("failed, with the wrong responses", "put entry"), ("another kind of response", "put"),
    ("another kind of response", "enter"),
    ("another lease", "renew"), ("a renewal of 10^18 s", "renew"),
    ("a lease of 10^18 s", "open session"), ("a lease of -5 s", "open session"),
    ("lease 0", "open session"), ("a negative lease", "open session"),
    ("fewer than none", "delete tree"),
]  # fmt: skip
"""Cases that must be refused; in all others the alteration does not matter."""


@pytest.fixture(scope="module")
def server() -> Iterator[HostileEtcd]:
    with HostileEtcd() as server:
        yield server


def _check(server: HostileEtcd, name: str) -> Exception | None:
    with closing(EtcdStore(StoreURL.parse(server.url))) as store:
        begun = time.monotonic()
        try:
            with call_timeout(BUDGET):
                _is_sane(_operate(store, name))
        except Exception as error:  # noqa: BLE001 - checked there
            check_error(error)
            return error
        finally:
            assert time.monotonic() - begun < BUDGET + at_most(0.5)
    return None


def _is_sane(found: object) -> None:
    match found:
        case list():
            for one in found:
                _is_sane(one)
        case Entry(key, value, revision, _):
            assert key.startswith("fuzz/")
            assert isinstance(value, bytes)
            assert 0 < revision < 2**63
        case Leader(_, token):
            assert 0 < token < 2**63
        case Claim():
            assert not found.granted or found.token
        case Leading(token):
            assert 0 < token < 2**63
        case EtcdSession():
            assert 0 < found.lease < 2**63
            assert 0 < found.ttl <= 9e9
        case _:
            pass


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("alter", ALTERATIONS)
def test_wrong_answer_counts_as_no_answer(server: HostileEtcd, alter: str, name: str) -> None:
    """The outcome is unknown, and never an IndexError."""
    server.alter = ALTERATIONS[alter]

    error = _check(server, name)

    if (alter, name) in REFUSED:
        assert isinstance(error, StoreUnavailable), error
    if error is not None:
        assert isinstance(error, StoreUnavailable | SessionLost), repr(error)


@pytest.mark.parametrize("name", OPERATIONS)
def test_valid_answer_is_accepted(server: HostileEtcd, name: str) -> None:
    """So the other tests fail because of the alterations."""
    server.alter = lambda _, __, answer: answer

    assert _check(server, name) is None


@given(st.sampled_from(OPERATIONS), st.integers(0, 3), st.randoms(use_true_random=False))
@examples(150)
def test_operation_raises_only_own_errors_on_damaged_answers(
    server: HostileEtcd, name: str, good: int, rng: Any
) -> None:
    """After some valid answers come answers with changed or missing bytes."""
    left = [good + 1]

    def alter(call: str, _: Any, answer: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0 or call in {"Status", "MemberList"}:
            return answer
        data = bytearray(answer.SerializeToString())
        for _ in range(rng.randrange(1, 4)):
            if data and rng.random() < 0.7:
                data[rng.randrange(len(data))] = rng.randrange(256)
            elif data:
                del data[rng.randrange(len(data)) :]
        return bytes(data)

    server.alter = alter
    _check(server, name)


def test_longer_grant_does_not_extend_the_term(server: HostileEtcd) -> None:
    """The lease is granted for a day, and the term lasts for the requested ttl."""
    server.alter = _in(pb.LeaseKeepAliveResponse, TTL=86_400)
    with (
        closing(open_store(server.url)) as store,
        Candidate(store, NAME, "me", ttl=15.0).leading(5.0) as term,
    ):
        assert 10.0 < term.remaining() < 15.0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda _: b"\xff" * 20, id="garbage"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda answer: [answer, answer], id="an unrequested one"),
        pytest.param(lambda answer: _event(answer, b"other/key", 99), id="another key"),
        pytest.param(lambda answer: _event(answer, KEY, 10**15), id="a revision to come"),
        pytest.param(lambda answer: _event(answer, KEY, 0), id="no revision"),
    ],
)
def test_wrong_events_are_not_delivered(server: HostileEtcd, wrong: Callable[[Any], Any]) -> None:
    """A watch delivers none of them, and opens few streams."""
    delivered: list[Any] = []
    server.calls.clear()

    def alter(name: str, _: Any, answer: Any) -> Any:
        return wrong(answer) if name == "Watch" else answer

    server.alter = alter
    with closing(EtcdStore(StoreURL.parse(server.url))) as store:
        watch = store.watch(NAME, delivered.append)
        time.sleep(1.5)
        watch.close()

    assert server.calls.count("Watch") < 25
    assert all(
        isinstance(one, StoreUnavailable) or (one.key, one.revision) == (NAME, 50)
        for one in delivered
    ), delivered
    assert any(isinstance(one, StoreUnavailable) for one in delivered)


@pytest.mark.parametrize("how", ["compacted further each time", "behind each time"])
def test_claim_watch_pauses_before_repeated_restarts(server: HostileEtcd, how: str) -> None:
    """A server that makes every new watch start again gets a few requests, not one after the other."""
    woken: list[None] = []
    created = 0

    def alter(name: str, request: Any, answer: Any) -> Any:
        nonlocal created
        if name != "Watch" or request.WhichOneof("request_union") != "create_request":
            return [] if name == "Watch" else answer
        created += 1
        answer.watch_id = created
        if how == "behind each time":
            answer.header.revision = max(1, request.create_request.start_revision - 2)
            return answer
        following = request.create_request.start_revision + 1
        canceled = pb.WatchResponse(
            header=answer.header, watch_id=created, canceled=True, compact_revision=following
        )
        return [answer, canceled]

    server.alter = alter
    with closing(EtcdStore(StoreURL.parse(server.url))) as store:
        election = store.election(NAME)
        claim = election.enter(EtcdSession(store.client, LEASE, 15.0), b"me")
        watch = election.watch_claim(claim, lambda: woken.append(None))
        time.sleep(1.5)
        watch.close()

    assert 2 <= created < 15
    assert woken


def _event(answer: Any, key: bytes, revision: int) -> list[Any]:
    """The watch begins correctly, and then reports this event."""
    event = pb.WatchResponse(header=answer.header, watch_id=0)
    event.events.add().kv.CopyFrom(kv(key, revision))
    return [answer, event]
