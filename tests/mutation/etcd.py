"""Mutants of the etcd backend."""

from __future__ import annotations

from typing import Any

from leadership_core import Fence
from leadership_core.backend.entries import Entry
from leadership_core.backend.protocols import ClaimOutcomeUnknown, Leading
from leadership_etcd import claim, election, kv, rpc
from leadership_etcd.claim import CandidateQueue
from leadership_etcd.claim_watch import ClaimWatch
from leadership_etcd.client import Client, TrafficClass
from leadership_etcd.election import EtcdElection
from leadership_etcd.endpoint_checks import EndpointChecks
from leadership_etcd.kv import KV
from leadership_etcd.rpc import KEEP_ALIVE, RANGE, TXN
from leadership_etcd.session import EtcdSession
from leadership_etcd.watch import Watcher
from leadership_etcd.watch_stream import Watch

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]

_ELECTION = "tests/integration/etcd/test_election.py"
_LOST = "tests/integration/etcd/test_lost_answers.py"
_TURNS = "tests/integration/etcd/test_claim_watch.py"
_REPORTS = "tests/unit/test_etcd_claim_watch.py"
_ENDPOINTS = "tests/integration/etcd/test_endpoints.py"


def without_own_key(status: Any) -> Any:
    """Lead if no claim is ahead, without a check of the own key."""

    def mutant(self: Any, claim: Any) -> Any:
        request = rpc.txn_request(then=[self._queue.predecessor_request(claim.token)])
        answer = self._client.call(TXN, request, repeatable=True)
        if not self._queue.predecessors_of(answer.ranges[0], claim.token):
            return Leading(claim.token)
        return status(self, claim)

    return mutant


def delete_own(_: Any) -> Any:
    def mutant(self: Any, claim: Any, create_revision: int) -> None:
        request = rpc.txn_request(then=[rpc.delete_request(claim.claim_key)])
        self._client.call(TXN, request, traffic=TrafficClass.RELEASES, repeatable=True)

    return mutant


def as_asked(_: Any) -> Any:
    right = EtcdSession.open.__func__  # type: ignore[attr-defined]

    def mutant(cls: Any, client: Any, ttl: float) -> Any:
        session = right(cls, client, ttl)
        session._granted_ttl = ttl
        return session

    return classmethod(mutant)


def renewed_as_asked(_: Any) -> Any:
    def mutant(self: Any) -> float:
        request = KEEP_ALIVE.request(ID=self.lease)
        self._client.call(KEEP_ALIVE, request, traffic=TrafficClass.RENEWALS)
        return float(self._granted_ttl)

    return mutant


def dies_silently(_: Any) -> Any:
    """Ignore the cancellation of a watch by a compaction."""

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


def herd(predecessor_request: Any) -> Any:
    """All waiting candidates watch the leader."""

    def mutant(self: Any, token: int) -> Any:
        request = predecessor_request(self, token)
        request.sort_order = self.first_request().sort_order
        return request

    return mutant


def without_the_others(note_queue: Any) -> Any:
    """Take the end of the nearest claim before this one for the end of all."""

    def mutant(self: Any, before: Any, *rest: Any) -> None:
        nearest = frozenset(watch.key for watch in self._predecessors[:1])
        note_queue(self, nearest if before or before is None else before, *rest)

    return mutant


def gap_changes_nothing(_: Any) -> Any:
    return lambda self: self._delivery.publish(None)


def same_moment(_: Any) -> Any:
    return lambda self: None


def own_events_unseen(on_events: Any) -> Any:
    """Look at the events of the claims before only."""

    def mutant(self: Any, events: Any) -> None:
        on_events(self, events)
        self._own_changed = False

    return mutant


def never_unreported(watch_predecessors: Any) -> Any:
    """Forget that the end of a claim was reported without a wake-up."""

    def mutant(self: Any, *args: Any) -> None:
        self._unreported.clear()
        watch_predecessors(self, *args)

    return mutant


def without_own_watch(init: Any) -> Any:
    class Closed:
        id = 0

        def close(self) -> None:
            pass

    class Mute:
        ended_streams = 0

        def __init__(self, watcher: Any, own: bytes) -> None:
            self._watcher, self._own = watcher, own

        def open(self, key: bytes, *rest: Any) -> Any:
            return Closed() if key == self._own else self._watcher.open(key, *rest)

        def add_delivery(self, delivery: Any) -> None:
            self._watcher.add_delivery(delivery)

    return lambda self, watcher, own, *rest: init(self, Mute(watcher, own), own, *rest)


def forgotten(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, before: int, error: Exception) -> None:
        claim.settled = True
        raise ClaimOutcomeUnknown(str(error), claim) from error

    return mutant


def any_claim(guard: Any) -> Any:
    """Accept any claim with this token, first or not."""

    def mutant(self: Any, fence: Fence) -> Any:
        key, token = fence.key, fence.token
        page = self._client.call(RANGE, rpc.range_request(*rpc.prefix_range(key)))
        for one in page.kvs:
            if one.create_revision == token:
                return [rpc.create_revision_is(one.key, token)]
        return guard(self, fence)

    return mutant


def serializable(read: Any) -> Any:
    def mutant(*args: Any, **options: Any) -> Any:
        request = read(*args, **options)
        request.serializable = True
        return request

    return mutant


def by_value(expected: Any) -> Any:
    def mutant(key: str, expect: Any) -> Any:
        if not isinstance(expect, Entry):
            return expected(key, expect)
        return [rpc.value_is(rpc.encode_key(key), expect.value)]

    return mutant


def by_itself(_: Any) -> Any:
    def mutant(
        self: Any, subject: Any, address: Any, is_done: Any, check: Any, until: float
    ) -> None:
        check()

    return mutant


MUTANTS = [
    Mutant(
        "expired claim leads",
        "The lease expires while the candidate waits; its predecessor leaves, and it is elected.",
        "etcd's Election (19597), etcd's locks in Jepsen's tests (11456)",
        (f"{_ELECTION}::test_waiting_claim_with_revoked_lease_does_not_lead",),
        ((EtcdElection, "status", without_own_key),),
        "etcd",
    ),
    Mutant(
        "withdrawal by key name on etcd",
        "A late delete removes the claim of the next term, which has the same key.",
        "recipes that delete by the name of the key",
        (f"{_LOST}::test_overtaken_withdrawal_keeps_claim_of_next_term",),
        ((EtcdElection, "_delete", delete_own),),
        "etcd",
    ),
    Mutant(
        "no watch of the predecessor",
        "A waiting candidate is elected at its next read, whenever that is.",
        "python-etcd3's Lock (tries again now and then)",
        (f"{_TURNS}::test_withdrawal_wakes_only_the_next_candidate",),
        ((ClaimWatch, "watch_predecessors", nothing),),
        "etcd",
        slow=True,
    ),
    Mutant(
        "herd watches the leader",
        "One leader leaves, and all waiting candidates read at once.",
        "single-key elections on etcd (101 ms for 500 that wait)",
        (f"{_TURNS}::test_withdrawal_wakes_only_the_next_candidate",),
        ((CandidateQueue, "predecessor_request", herd),),
    ),
    Mutant(
        "end of the nearest claim elects on etcd",
        "A claim that waits leaves the queue, and the one behind it is elected beside the leader.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_REPORTS}::test_deletion_of_one_of_several_predecessors_proves_nothing",),
        ((ClaimWatch, "note_queue", without_the_others),),
        "etcd",
    ),
    Mutant(
        "own deletion is not looked at on etcd",
        "An operator has deleted the claim before its predecessor left, and it is elected.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_REPORTS}::test_claim_that_has_changed_is_never_first",
         f"{_TURNS}::test_claim_lost_before_its_predecessor_leaves_never_leads"),
        ((ClaimWatch, "on_events", own_events_unseen),),
    ),
    Mutant(
        "gap leaves the queue known on etcd",
        "The event that was compacted away is the deletion of the claim itself, and it is elected.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_REPORTS}::test_gap_makes_the_queue_unknown",
         f"{_REPORTS}::test_read_from_before_a_gap_or_a_new_stream_does_not_count"),
        ((ClaimWatch, "on_gap", gap_changes_nothing),),
    ),
    Mutant(
        "report on another stream elects on etcd",
        "The member of the next stream lags behind: what it reports first may be newer than what it reports next.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_REPORTS}::test_new_stream_makes_the_queue_unknown",
         f"{_TURNS}::test_report_on_another_stream_elects_by_a_read"),
        ((ClaimWatch, "moment", same_moment),),
    ),
    Mutant(
        "end of the second claim is lost on etcd",
        "A claim has ended before it becomes the nearest one, and the waiting candidate is not woken.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_REPORTS}::test_second_predecessor_that_becomes_nearest_after_its_end_wakes",),
        ((ClaimWatch, "watch_predecessors", never_unreported),),
    ),
    Mutant(
        "no own-key watch on etcd",
        "A candidate whose key was deleted notices it at the next renewal, or never.",
        "etcd's Election while it waits (9921, 12334)",
        (f"{_TURNS}::test_waiting_claim_is_woken_when_its_key_is_lost[key]",),
        ((ClaimWatch, "__init__", without_own_watch),),
        slow=True,
    ),
    Mutant(
        "watch dies silently at a compaction",
        "etcd cancels the watch, and its subscribers get no further event.",
        "python-etcd3 (88), docker/libkv 181",
        ("tests/integration/etcd/test_watch.py::test_compaction_while_watching_is_survived",),
        ((Watcher, "_on_canceled", dies_silently),),
        slow=True,
    ),
    Mutant(
        "watch restarts at the present revision",
        "Events between the break and the new stream are lost.",
        "valkeyrie on etcd v3 (between its read and its watch)",
        ("tests/integration/etcd/test_watch.py::test_broken_stream_loses_no_event",),
        ((Watch, "request", from_now_on),),
        slow=True,
    ),
    Mutant(
        "requested ttl in place of the granted one on etcd",
        "etcd counts whole seconds and has a least ttl: the lease and the term end at different times.",
        "valkeyrie on etcd v3",
        (f"{_ELECTION}::test_ttl_is_rounded_up_and_granted_ttl_counts",),
        ((EtcdSession, "open", as_asked), (EtcdSession, "renew", renewed_as_asked)),
    ),
    Mutant(
        "write without a response is repeated",
        "It may have been applied, and its repetition overwrites later writes.",
        "HTTP clients that retry by themselves",
        (f"{_LOST}::test_write_on_broken_connection_is_executed_once",),
        ((Client, "call", again),),
    ),
    Mutant(
        "orphaned claim on etcd",
        "A missing response is taken for a refusal: the key arrives late, and remains until its lease ends.",
        "etcd's Campaign when its context ends (21128)",
        (f"{_LOST}::test_claim_stays_orphaned_while_its_request_may_arrive",),
        ((EtcdElection, "_read_back", forgotten),),
    ),
    Mutant(
        "fence accepts a waiting claim",
        "The claim has the token, but another candidate leads.",
        "locks that only check that their key exists (etcd 11457)",
        ("tests/integration/etcd/test_kv.py::test_fence_of_waiting_claim_is_rejected",),
        ((KV, "_guard", any_claim),),
    ),
    Mutant(
        "serializable reads on etcd",
        "A member that is cut off answers from its old state that the claim is valid.",
        "etcd clients that prefer speed; etcd v2's plain reads",
        ("tests/integration/etcd/test_isolated_member.py::test_isolated_member_answers_no_read",),
        ((election, "range_request", serializable), (kv, "range_request", serializable),
         (claim, "range_request", serializable)),
        slow=True,
    ),
    Mutant(
        "compare-and-set on etcd compares the value",
        "A value that has changed and changed back passes for unchanged on etcd (ABA).",
        "Patroni on etcd (`value == name`)",
        ("tests/contract/test_etcd.py::TestEtcd::test_forged_revision_is_a_conflict",),
        ((kv, "_as_expected", by_value),),
    ),
    Mutant(
        "each thread checks the endpoint by itself",
        "A server that comes back gets a connection from each thread, and again when they fail.",
        "gRPC channels of one program, each with a backoff of its own",
        (f"{_ENDPOINTS}::test_threads_share_the_checks_of_an_endpoint_that_fails",),
        ((EndpointChecks, "run", by_itself),),
    ),
]  # fmt: skip
