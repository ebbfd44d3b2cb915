"""Mistakes on etcd."""

from __future__ import annotations

from typing import Any

from leadership_core.errors import ClaimUnknown
from leadership_core.store import Entry, Leading
from leadership_etcd import election, entries, messages, queue, views, writes
from leadership_etcd.client import Client, Lane
from leadership_etcd.election import EtcdElection
from leadership_etcd.messages import valued
from leadership_etcd.methods import KEEP_ALIVE, RANGE, TXN
from leadership_etcd.queue import Queue
from leadership_etcd.session import EtcdSession
from leadership_etcd.stream import Watch
from leadership_etcd.turn import Turn
from leadership_etcd.watcher import Watcher
from leadership_etcd.writes import Writes

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]

_ELECTION = "tests/etcd/test_election.py"
_LOST = "tests/etcd/test_lost_answers.py"
_TURNS = "tests/etcd/test_turns.py"


def phantom(standing: Any) -> Any:
    """Nobody is before it, so it leads: whether its own key is still there is not looked at."""

    def mutant(self: Any, claim: Any) -> Any:
        request = messages.txn(then=[self._queue.page_ahead(claim.token)])
        answer = self._client.call(TXN, request, repeatable=True)
        page = answer.responses[0].response_range
        ahead = self._queue.ahead(page, claim.token, answer.header.revision)
        if ahead is None:
            return Leading(claim.token)
        return standing(self, claim)

    return mutant


def delete_own(remove: Any) -> Any:
    def mutant(self: Any, claim: Any, revision: int) -> None:
        request = messages.txn(then=[messages.delete(claim.own)])
        self._client.call(TXN, request, lane=Lane.RELEASES, repeatable=True)

    return mutant


def as_asked(_: Any) -> Any:
    right = EtcdSession.open.__func__  # type: ignore[attr-defined]

    def mutant(cls: Any, client: Any, ttl: float) -> Any:
        session = right(cls, client, ttl)
        session._ttl = ttl
        return session

    return classmethod(mutant)


def renewed_as_asked(_: Any) -> Any:
    def mutant(self: Any) -> float:
        request = KEEP_ALIVE.request(ID=self.lease)
        self._client.call(KEEP_ALIVE, request, lane=Lane.RENEWALS)
        return float(self._ttl)

    return mutant


def dies_silently(_: Any) -> Any:
    """What was compacted away cannot be told, so nothing is told."""

    def mutant(self: Any, stream: Any, watch: Any, answer: Any) -> bool:
        return True

    return mutant


def from_now_on(request: Any) -> Any:
    def mutant(self: Any) -> Any:
        made = request(self)
        made.create_request.start_revision = 0
        return made

    return mutant


def again(call: Any) -> Any:
    def mutant(self: Any, method: Any, request: Any, **options: Any) -> Any:
        return call(self, method, request, **{**options, "repeatable": True})

    return mutant


def herd(page_ahead: Any) -> Any:
    """Everybody listens to the leader."""

    def mutant(self: Any, token: int) -> Any:
        request = page_ahead(self, token)
        request.sort_order = self.first_page().sort_order
        return request

    return mutant


def deaf(init: Any) -> Any:
    class Closed:
        def close(self) -> None:
            pass

    class Mute:
        def __init__(self, watcher: Any, own: bytes) -> None:
            self._watcher, self._own = watcher, own

        def open(self, key: bytes, *rest: Any) -> Any:
            return Closed() if key == self._own else self._watcher.open(key, *rest)

    return lambda self, watcher, own, *rest: init(self, Mute(watcher, own), own, *rest)


def forgotten(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, before: int, error: Exception) -> None:
        claim.settled = True
        raise ClaimUnknown(str(error), claim) from error

    return mutant


def any_claim(guard: Any) -> Any:
    """That there is a claim with this token is enough; whether it is first is not looked at."""

    def mutant(self: Any, fence: tuple[str, int]) -> Any:
        key, token = fence
        page = self._client.call(RANGE, messages.read(*messages.below(key)))
        for kv in page.kvs:
            if kv.create_revision == token:
                return [messages.created(kv.key, token)]
        return guard(self, fence)

    return mutant


def as_it_is_here(read: Any) -> Any:
    def mutant(*args: Any, **options: Any) -> Any:
        request = read(*args, **options)
        request.serializable = True
        return request

    return mutant


def by_value(expected: Any) -> Any:
    def mutant(key: str, expect: Any) -> Any:
        if not isinstance(expect, Entry):
            return expected(key, expect)
        return [valued(messages.encode(key), expect.value)]

    return mutant


MUTANTS = [
    Mutant(
        "a phantom leads",
        "Its lease has expired while it waited; the one before it goes, and it is elected.",
        "etcd's Election (19597), etcd's locks in Jepsen's tests (11456)",
        (f"{_ELECTION}::test_the_phantom_does_not_lead",),
        ((EtcdElection, "standing", phantom),),
        "etcd",
    ),
    Mutant(
        "a withdrawal of any claim of the lease",
        "A delete that arrives late takes the next term's key, which has the same name.",
        "recipes that delete by the name of the key",
        (f"{_LOST}::test_a_withdrawal_that_is_overtaken_is_harmless",),
        ((EtcdElection, "_remove", delete_own),),
        "etcd",
    ),
    Mutant(
        "nobody is told that the one before is gone",
        "There is no watch of the predecessor: who waits is elected when it happens to look.",
        "python-etcd3's Lock (tries again now and then)",
        (f"{_TURNS}::test_one_of_many_that_wait_is_woken",),
        ((Turn, "follow", nothing),),
        "etcd",
        slow=True,
    ),
    Mutant(
        "a herd listens to the leader",
        "One leaves, and all that wait ask at once, whoever is next.",
        "single-key elections on etcd (101 ms for 500 that wait)",
        (f"{_TURNS}::test_one_of_many_that_wait_is_woken",),
        ((Queue, "page_ahead", herd),),
    ),
    Mutant(
        "no own-key watch on etcd",
        "Whose key was deleted learns of it with the next renewal, or never.",
        "etcd's Election while it waits (9921, 12334)",
        (f"{_TURNS}::test_a_claim_that_is_lost_while_waiting_is_woken[key]",),
        ((Turn, "__init__", deaf),),
        slow=True,
    ),
    Mutant(
        "a watch dies silently at a compaction",
        "etcd cancels it, and whoever listens hears nothing any more.",
        "python-etcd3 (88), docker/libkv 181",
        ("tests/etcd/test_watch.py::test_compaction_while_watching_is_survived",),
        ((Watcher, "_cancelled", dies_silently),),
        slow=True,
    ),
    Mutant(
        "a watch begins anew from now",
        "What happened between the break and the new stream is never told.",
        "valkeyrie on etcd v3 (between its read and its watch)",
        ("tests/etcd/test_watch.py::test_a_broken_stream_loses_no_event",),
        ((Watch, "request", from_now_on),),
        slow=True,
    ),
    Mutant(
        "the ttl as asked, not as granted",
        "etcd counts whole seconds and has a least ttl: belief ends long before, or after, the lease.",
        "valkeyrie on etcd v3",
        (f"{_ELECTION}::test_a_ttl_is_rounded_up_and_what_is_granted_counts",),
        ((EtcdSession, "open", as_asked), (EtcdSession, "renew", renewed_as_asked)),
    ),
    Mutant(
        "a write without an answer is sent again",
        "It may have been done, and does it once more over what came after it.",
        "HTTP clients that try again by themselves",
        (f"{_LOST}::test_a_write_whose_connection_breaks_is_done_once_at_most",),
        ((Client, "call", again),),
    ),
    Mutant(
        "orphan claim on etcd after an enter without an answer",
        "No answer is taken for no: the key comes late, and stands as long as its lease.",
        "etcd's Campaign when its context ends (21128)",
        (f"{_LOST}::test_a_request_that_may_still_come_keeps_the_claim_loose",),
        ((EtcdElection, "_read_back", forgotten),),
    ),
    Mutant(
        "a fence accepts a claim that waits",
        "Its key is there, with its token, but somebody else leads.",
        "locks that only look whether their key is there (etcd 11457)",
        ("tests/etcd/test_entries.py::test_a_fence_of_a_claim_that_waits_is_refused",),
        ((Writes, "_guard", any_claim),),
    ),
    Mutant(
        "serializable reads",
        "A member that is cut off from the others answers from what it has: the claim stands, it says.",
        "etcd's gateway and clients where somebody asks for speed; etcd v2's plain reads",
        ("tests/etcd/test_cut_off.py::test_a_member_that_is_cut_off_says_nothing",),
        ((election, "read", as_it_is_here), (entries, "read", as_it_is_here),
         (queue, "read", as_it_is_here), (views, "read", as_it_is_here)),
        slow=True,
    ),
    Mutant(
        "compare-and-set on etcd compares the value",
        "Away and back again looks like never changed (ABA).",
        "Patroni on etcd (`value == name`)",
        ("tests/testing/test_etcd.py::TestEtcd::test_a_falsified_revision_is_a_conflict",),
        ((writes, "_as_expected", by_value),),
    ),
]  # fmt: skip
