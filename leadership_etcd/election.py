"""Election for one key, with the recipe of etcd's own clients: a queue of keys bound to leases.

Each candidate creates a key ``<election's key>/<lease id>``. The claim with the lowest create
revision leads, and that revision is the fencing token. Each of the others watches the key of the
claim before its own. The recipe relies on linearizable reads and on atomic transactions; see
https://etcd.io/docs/v3.5/learning/api_guarantees/ and
https://etcd.io/docs/v3.5/learning/api/#transaction

The guards of the writes against copies of a request that arrive late:

* A withdrawal deletes the key if its create revision is the token. A key that is created again has
  a larger one.
* A request to enter creates the key if it does not exist; after a withdrawal, that holds again. So
  the request is sent once and never repeated. When its answer has come, no copy is under way. When
  not, and the key is not found, the claim is orphaned: the session enters here no more, and checks
  again until the key has come and was deleted, or the lease has ended, without which no copy can
  create the key. (A marker that the guard compares would settle this at once, but there is no place
  for it: below the key, other clients take it for a claim; elsewhere, the user may lack the
  permission to write.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from leadership_core.backend import (
    Absent,
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Closable,
    LatestClaims,
    Leader,
    Leading,
    Session,
    SessionLost,
    StoreClosed,
    StoreUnavailable,
    Waiting,
    half_timeout,
    inert_in_child,
    single_timeout,
)

from .claim import CandidateQueue, EtcdClaim
from .claim_watch import ClaimWatch
from .client import Client, TrafficClass
from .delayed import DelayedTasks
from .errors import QuotaExceeded, is_not_applied
from .rpc import (
    RANGE,
    TIME_TO_LIVE,
    TXN,
    KeyValue,
    RangeResult,
    create_revision_is,
    delete_request,
    key_missing,
    put_request,
    range_request,
    txn_request,
)
from .subscriptions import LeaderSubscription, leader_of
from .watch import Watcher

__all__ = ["EtcdElection"]

_TRIES = 3
_WATCHED = 2  # claims before one: the nearest, and the one before that
_AFTER_HANDOVER = 0.01  # seconds until what a hand-over does not have to wait for


@inert_in_child(
    *("enter", "status", "known_status", "withdraw", "watch_claim", "leader", "watch_leader")
)
class EtcdElection:
    """An election on etcd; thread-safe. See `leadership_core.backend.protocols.Election`.

    Args:
        client: of the store.
        watcher: of the store.
        delayed: of the store.
        key: of the election.
    """

    # The watch of a claim begins at its create revision, so after the answer that has granted it.
    watches_since_enter = True
    orders_claims = True

    def __init__(self, client: Client, watcher: Watcher, delayed: DelayedTasks, key: str) -> None:
        self._client = client
        self._watcher = watcher
        self._delayed = delayed
        self._key = key
        self._queue = CandidateQueue(client, key)
        # The claim that a session has entered last: an older claim of the session must not delete
        # the key of the last one.
        self._latest: LatestClaims[EtcdClaim] = LatestClaims()

    @single_timeout()
    def enter(self, session: Session, value: bytes) -> EtcdClaim:
        claim = EtcdClaim(self._key, session, value)
        self._latest.note(claim)
        key = claim.claim_key
        request = txn_request(
            when=[key_missing(key)],
            then=[put_request(key, value, claim.lease), self._queue.first_request()],
            otherwise=[range_request(key)],
        )
        for _ in range(_TRIES):
            before = self._client.revision
            try:
                with half_timeout():
                    answer = self._client.call(TXN, request, repeatable=False)
            except StoreUnavailable as error:
                if is_not_applied(error):
                    raise
                claim.settled = False
                self._read_back(claim, before, error)
                return claim
            if answer.succeeded:
                claim.token = answer.revision
                self._set_granted(claim, answer.ranges[0])
                return claim
            # A key that an earlier claim of the session has left behind is not this claim's.
            self._delete(claim, answer.ranges[0].kvs[0].create_revision)
        raise StoreUnavailable(
            f"a key of this session below {self._key!r} exists again after each deletion"
        )

    @single_timeout()
    def status(self, claim: Claim) -> ClaimStatus:
        mine = EtcdClaim.of(claim)
        token = mine.token
        if token is None:
            return Absent()  # it has not entered
        if mine.watch is not None and mine.watch.deleted:
            # The next candidate learns of it at the same time, and asks before it leads.
            return Absent()
        if known := self.known_status(mine):
            return known
        moment = None if mine.watch is None else mine.watch.moment()
        # One read shows that it exists and that it is first, which is what counts when the claim
        # before it has just gone. Only if it is not first does its predecessor matter.
        page = self._client.call(RANGE, self._queue.first_request(token))
        first = self._queue.first_in(page)
        if first is not None and first.key == mine.claim_key and mine.is_intact(first):
            if mine.watch is not None:
                mine.watch.note_queue(frozenset(), page.revision, moment)
            return self._leads(mine, token)
        own, predecessors = self._read_predecessors(mine, token, moment)
        if own is None or own.create_revision != token:
            return Absent()
        if not mine.is_intact(own):
            return Absent(overwritten=True)
        if not predecessors:
            return self._leads(mine, token)
        return Waiting(watched=mine.watch is not None)

    def known_status(self, claim: Claim) -> Leading | None:
        """The status that reports of the watches prove, without a request; None if it has to be read.

        Never blocks, so the thread of the watches may call it.
        """
        mine = EtcdClaim.of(claim)
        token, watch = mine.token, mine.watch
        if token is None or watch is None or mine.was_leading or not watch.is_reported_first:
            return None
        return self._leads(mine, token)

    def _leads(self, mine: EtcdClaim, token: int) -> Leading:
        """Note that a claim leads, and soon watch the claim before it no more."""
        if mine.watch is not None and not mine.was_leading:
            # That takes a request, for which the user must not wait.
            end = partial(mine.watch.watch_predecessors, (), 0)
            with suppress(StoreUnavailable):  # no thread can be started; its events do no harm
                self._delayed.call_later(_AFTER_HANDOVER, end)
        mine.was_leading = True
        return Leading(token)

    def _read_predecessors(
        self, mine: EtcdClaim, token: int, moment: object
    ) -> tuple[KeyValue | None, list[KeyValue]]:
        """Read a claim's own key, and the claims before it; watches the nearest two.

        Args:
            mine: the claim.
            token: its token.
            moment: of its watch, before this.

        Returns:
            The own key, whatever its state, and the claims, the nearest first.
        """
        reads = [range_request(mine.claim_key), self._queue.predecessor_request(token)]
        answer = self._client.call(TXN, txn_request(then=reads), repeatable=True)
        found, page = answer.ranges
        own = found.kvs[0] if found.kvs else None
        if own is None or not mine.is_intact(own):
            return own, []
        predecessors = self._queue.predecessors_of(page, token)
        if mine.watch is not None:
            # A key that is no claim is not watched, so as long as it exists nothing is proved.
            before = None if page.more else frozenset(kv.key for kv in page.kvs)
            mine.watch.note_queue(before, answer.revision, moment)
            nearest = [kv.key for kv in predecessors[:_WATCHED]]
            mine.watch.watch_predecessors(nearest, answer.revision)
        return own, predecessors

    def _look_ahead(self, mine: EtcdClaim) -> None:
        """Read which claims are before one that waits, ahead of the end of the nearest.

        If it is the only one, its end will elect the next candidate without a read.
        """
        token, watch = mine.token, mine.watch
        if token is None or watch is None or mine.was_leading or watch.deleted:
            return
        with suppress(StoreUnavailable, StoreClosed):  # the status will be read when that one ends
            self._read_predecessors(mine, token, watch.moment())

    @single_timeout()
    def withdraw(self, claim: Claim) -> None:
        mine = EtcdClaim.of(claim)
        if mine.withdrawn or (mine.settled and mine.token is None):
            return  # there is no key of it
        if mine.watch is not None:
            mine.watch.forget_queue()
        if mine.token is not None:
            self._delete(mine, mine.token)
        elif not self._delete_orphan(mine):
            return  # the key may still come
        mine.withdrawn = mine.settled = True

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        mine = EtcdClaim.of(claim)
        if mine.token is None:
            raise StoreUnavailable(f"the claim for {self._key!r} has not entered")
        # A release must not wait for its connection, since other candidates wait for the release.
        if not self._client.has_release_connection:
            self._delayed.call_soon_once(self._client.preconnect_releases)

        def look_ahead() -> None:
            with suppress(StoreUnavailable):  # no thread can be started now
                self._delayed.call_later(_AFTER_HANDOVER, partial(self._look_ahead, mine))

        mine.watch = ClaimWatch(self._watcher, mine.claim_key, mine.token, wake, look_ahead)
        return mine.watch

    @single_timeout()
    def leader(self) -> Leader | None:
        return leader_of(self._queue.first()[0])

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        return LeaderSubscription(self._watcher, self._delayed, self._key, self._queue, on_change)

    def _set_granted(self, claim: EtcdClaim, page: RangeResult) -> None:
        """Note whether a claim that has entered is the first."""
        try:
            first = self._queue.first_of(page)
        except StoreUnavailable:
            return  # it has entered all the same; `status` says the rest
        claim.granted = first is not None and first.key == claim.claim_key

    def _read_back(self, claim: EtcdClaim, before: int, error: StoreUnavailable) -> None:
        """Find out what has become of a request to enter whose answer was lost.

        Args:
            claim: that has asked to enter.
            before: the cluster's revision before the request.
            error: of the request.

        Raises:
            ClaimOutcomeUnknown: this cannot be found out now.
        """
        try:
            request = txn_request(
                then=[range_request(claim.claim_key), self._queue.first_request()]
            )
            answer = self._client.call(TXN, request, repeatable=True)
        except SessionLost:
            raise
        except Exception as problem:
            raise ClaimOutcomeUnknown(
                f"no answer to entering {self._key!r}: {error}", claim
            ) from problem
        own, page = answer.ranges
        if isinstance(error, QuotaExceeded) and not own.kvs:
            claim.settled = True  # etcd has handled the request, so it comes no more
            raise error
        # A key that existed before the request was sent belongs to an earlier claim.
        if not own.kvs or own.kvs[0].create_revision <= before or own.kvs[0].value != claim.value:
            raise ClaimOutcomeUnknown(
                f"no answer to entering {self._key!r}: {error}", claim
            ) from error
        claim.token, claim.settled = own.kvs[0].create_revision, True
        if claim.is_intact(own.kvs[0]):
            self._set_granted(claim, page)

    def _delete(self, claim: EtcdClaim, create_revision: int) -> None:
        """Delete the key of a claim, if it is the one with that create revision."""
        key = claim.claim_key
        self._client.call(
            TXN,
            txn_request(
                when=[create_revision_is(key, create_revision)], then=[delete_request(key)]
            ),
            traffic=TrafficClass.RELEASES,
            repeatable=True,
        )

    def _delete_orphan(self, claim: EtcdClaim) -> bool:
        """Delete the key of a request whose outcome is unknown; False if it may still come.

        Raises:
            SessionLost: the lease has ended, so it cannot come any more.
        """
        request = txn_request(then=[range_request(claim.claim_key)])
        found = self._client.call(TXN, request, traffic=TrafficClass.RELEASES, repeatable=True)
        kvs = found.ranges[0].kvs
        latest = self._latest.of(claim.session)
        if kvs and (latest is claim or latest is None or latest.token != kvs[0].create_revision):
            self._delete(claim, kvs[0].create_revision)
            return True
        asked = self._client.call(
            TIME_TO_LIVE, TIME_TO_LIVE.request(ID=claim.lease), traffic=TrafficClass.RELEASES
        )
        # In its last second a lease has a ttl of 0 and exists: it can be renewed, and written with.
        if asked.ttl < 0:
            raise SessionLost("etcd has ended the lease")
        return False
