"""Whatever answers in etcd's place: our own errors come out, and nothing rests on a wrong answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, strategies as st

from leadership_core import Candidate, open_store
from leadership_core.budget import budget
from leadership_core.errors import SessionLost, StoreUnavailable
from leadership_core.store import ABSENT, Claim, Entry, Leader, Leading
from leadership_core.url import StoreURL
from leadership_etcd.proto import rpc
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.fuzz.evil_etcd import KEY, LEASE, EvilEtcd, kv
from tests.fuzz.oracles import examples, tolerated

NAME = KEY.decode()
BUDGET = 2.0  # seconds


def _operate(store: EtcdStore, name: str) -> object:
    """What a user, or the engine, may ask of a store."""
    session = EtcdSession(store._client, LEASE, 15.0)
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
            return store.put("fuzz/other", b"value", fence=(NAME, 100))
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
            standing = election.standing(claim)
            election.withdraw(claim)
            return standing


OPERATIONS = [
    "get", "list", "put", "put entry", "put fenced", "delete", "delete absent", "delete tree",
    "open session", "renew", "close session", "leader", "enter", "race",
]  # fmt: skip


def _empty(_: str, __: Any, answer: Any) -> Any:
    if isinstance(answer, rpc.StatusResponse | rpc.MemberListResponse):
        return answer
    return b""


def _in_ranges(change: Callable[[Any], None]) -> Any:
    """Change what each read finds, also in a transaction."""

    def twist(_: str, __: Any, answer: Any) -> Any:
        if isinstance(answer, rpc.RangeResponse):
            change(answer)
        elif isinstance(answer, rpc.TxnResponse):
            for response in answer.responses:
                if response.WhichOneof("response") == "response_range":
                    change(response.response_range)
        return answer

    return twist


def _in(kind: Any, **fields: Any) -> Any:
    def twist(_: str, __: Any, answer: Any) -> Any:
        if isinstance(answer, kind):
            for name, value in fields.items():
                setattr(answer, name, value)
        return answer

    return twist


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
    if isinstance(answer, rpc.TxnResponse):
        del answer.responses[:]
    return answer


def _failed_and_silent(_: str, __: Any, answer: Any) -> Any:
    if isinstance(answer, rpc.TxnResponse):
        answer.succeeded = False
    return answer


def _of_another_kind(_: str, request: Any, answer: Any) -> Any:
    if isinstance(answer, rpc.TxnResponse):
        for response in answer.responses:
            response.response_delete_range.deleted = 1
    return answer


TWISTS = {
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
    "another lease": _in(rpc.LeaseKeepAliveResponse, ID=5),
    "a renewal of 10^18 s": _in(rpc.LeaseKeepAliveResponse, TTL=10**18),
    "a lease of 10^18 s": _in(rpc.LeaseGrantResponse, TTL=10**18),
    "a lease of -5 s": _in(rpc.LeaseGrantResponse, TTL=-5),
    "lease 0": _in(rpc.LeaseGrantResponse, ID=0),
    "a negative lease": _in(rpc.LeaseGrantResponse, ID=-5),
    "fewer than none": _in(rpc.DeleteRangeResponse, deleted=-1),
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
"""What is told as no answer; in all other cases the twist does not show, or does no harm."""


@pytest.fixture(scope="module")
def server() -> Iterator[EvilEtcd]:
    with EvilEtcd() as server:
        yield server


def _check(server: EvilEtcd, name: str) -> Exception | None:
    with closing(EtcdStore(StoreURL.parse(server.url))) as store:
        begun = time.monotonic()
        try:
            with budget(BUDGET):
                _is_sane(_operate(store, name))
        except Exception as error:  # noqa: BLE001 - looked at there
            tolerated(error)
            return error
        finally:
            assert time.monotonic() - begun < BUDGET + 0.5
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
@pytest.mark.parametrize("twist", TWISTS)
def test_a_wrong_answer_is_no_answer(server: EvilEtcd, twist: str, name: str) -> None:
    """It says nothing about the request: an outcome that is unknown, and never an IndexError."""
    server.twist = TWISTS[twist]

    error = _check(server, name)

    if (twist, name) in REFUSED:
        assert isinstance(error, StoreUnavailable), error
    if error is not None:
        assert isinstance(error, StoreUnavailable | SessionLost), repr(error)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_plausible_answer_is_one(server: EvilEtcd, name: str) -> None:
    """Otherwise the others would prove nothing."""
    server.twist = lambda _, __, answer: answer

    assert _check(server, name) is None


@given(st.sampled_from(OPERATIONS), st.integers(0, 3), st.randoms(use_true_random=False))
@examples(150)
def test_nothing_but_our_errors_comes_out(server: EvilEtcd, name: str, good: int, rng: Any) -> None:
    """The first answers are plausible, the next ones have bytes that are changed, or end early."""
    left = [good + 1]

    def twist(call: str, _: Any, answer: Any) -> Any:
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

    server.twist = twist
    _check(server, name)


def test_a_long_grant_is_not_believed(server: EvilEtcd) -> None:
    """The lease is granted for a day, and the term lasts for what was asked for."""
    server.twist = _in(rpc.LeaseKeepAliveResponse, TTL=86_400)
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
        pytest.param(lambda answer: [answer, answer], id="one that was not asked for"),
        pytest.param(lambda answer: _told(answer, b"other/key", 99), id="another key"),
        pytest.param(lambda answer: _told(answer, KEY, 10**15), id="a revision to come"),
        pytest.param(lambda answer: _told(answer, KEY, 0), id="no revision"),
    ],
)
def test_wrong_events_are_not_told(server: EvilEtcd, wrong: Callable[[Any], Any]) -> None:
    """A watch tells nothing that was made of them, and opens few streams."""
    told: list[Any] = []
    server.calls.clear()

    def twist(name: str, _: Any, answer: Any) -> Any:
        return wrong(answer) if name == "Watch" else answer

    server.twist = twist
    with closing(EtcdStore(StoreURL.parse(server.url))) as store:
        watch = store.watch(NAME, told.append)
        time.sleep(1.5)
        watch.close()

    assert server.calls.count("Watch") < 25
    assert all(
        isinstance(one, StoreUnavailable) or (one.key, one.revision) == (NAME, 50) for one in told
    ), told
    assert any(isinstance(one, StoreUnavailable) for one in told)


def _told(answer: Any, key: bytes, revision: int) -> list[Any]:
    """The watch begins as it should, and then tells of that."""
    event = rpc.WatchResponse(header=answer.header, watch_id=0)
    event.events.add().kv.CopyFrom(kv(key, revision))
    return [answer, event]
