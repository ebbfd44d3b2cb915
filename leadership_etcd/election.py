"""The race for one key, as etcd's own clients run it: a queue of keys that go with leases.

Who enters makes a key of his own below the election's, named after his lease. First by create
revision leads, and that revision is the fencing token. Each of the others listens to the key
next before his own.

What guards the writes against copies of them that arrive late, when nobody wants them any more:

* To leave deletes the key if its create revision is the token. A key that is made again has a
  larger one.
* To enter makes the key if it is not there; after leaving, that holds again. So the request is
  sent once and never repeated. When its answer has come, there is no copy under way. When not,
  and the key is not found, the claim is not settled: the session enters here no more, and looks
  again until the key has come and was taken away, or the lease is gone, with which no copy can
  make it any more. (A marker for the guard to compare would settle it at once, but has no place:
  below the key, the clients of others take it for a claim; elsewhere, they may not have the
  right to write.)
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from leadership_core.budget import budget, remaining_budget, shared_budget
from leadership_core.errors import ClaimUnknown, SessionLost, StoreUnavailable
from leadership_core.fork import inert_in_child
from leadership_core.store import (
    Absent,
    Claim,
    Closable,
    Leader,
    Leading,
    Session,
    Standing,
    Waiting,
)

from .claim import EtcdClaim
from .client import Client, Lane
from .errands import Errands
from .errors import Full, is_definite
from .messages import absent, created, delete, put, read, txn
from .methods import RANGE, TIME_TO_LIVE, TXN
from .queue import Queue
from .turn import Turn
from .views import LeaderView, leader_of
from .watcher import Watcher

__all__ = ["EtcdElection"]

_TRIES = 3


@inert_in_child("enter", "standing", "withdraw", "on_turn", "leader", "watch_leader")
class EtcdElection:
    """One race; see `leadership_core.store.Election`."""

    def __init__(self, client: Client, watcher: Watcher, errands: Errands, key: str) -> None:
        self._client = client
        self._watcher = watcher
        self._errands = errands
        self._key = key
        self._queue = Queue(client, key)
        # Which claim a session last entered here: what an older one has to remove must not be
        # that one's.
        self._latest: weakref.WeakValueDictionary[str, EtcdClaim] = weakref.WeakValueDictionary()

    @shared_budget()
    def enter(self, session: Session, value: bytes) -> EtcdClaim:
        claim = EtcdClaim(self._key, session, value)
        self._latest[session.id] = claim
        first = self._queue.first_page()
        request = txn(
            when=[absent(claim.own)],
            then=[put(claim.own, value, claim.lease), first],
            otherwise=[read(claim.own)],
        )
        for _ in range(_TRIES):
            before = self._client.revision
            try:
                with _share():
                    answer = self._client.call(TXN, request, repeatable=False)
            except StoreUnavailable as error:
                if is_definite(error):
                    raise
                claim.settled = False
                self._read_back(claim, before, error)
                return claim
            if answer.succeeded:
                claim.token = answer.header.revision
                self._look_who_is_first(claim, answer.responses[1].response_range, claim.token)
                return claim
            # What an earlier claim of the session has left behind is not this claim's.
            self._remove(claim, answer.responses[0].response_range.kvs[0].create_revision)
        raise StoreUnavailable(
            f"a key of this session comes back again and again below {self._key!r}"
        )

    @shared_budget()
    def standing(self, claim: Claim) -> Standing:
        mine = EtcdClaim.of(claim)
        if mine.token is None:
            return Absent()  # it has not entered
        if mine.turn is not None and mine.turn.gone:
            # Whoever is next hears of it at the same time, and has to ask before it leads.
            return Absent()
        # One read tells both that it is there and that it is first, which is what counts when the
        # one before it has just gone. Only if it is not does it matter who is before it now.
        page = self._client.call(RANGE, self._queue.page_up_to(mine.token))
        first = self._queue.first_in(page)
        if first is not None and first.key == mine.own and mine.is_intact(first):
            # Whom it listened to is gone; to say so to etcd can wait until somebody asks again.
            if mine.turn is not None and mine.leads:
                mine.turn.follow(None, page.header.revision)
            mine.leads = True
            return Leading(mine.token)
        return self._standing_in_the_queue(mine, mine.token)

    def _standing_in_the_queue(self, mine: EtcdClaim, token: int) -> Standing:
        reads = [read(mine.own), self._queue.page_ahead(token)]
        answer = self._client.call(TXN, txn(then=reads), repeatable=True)
        own, page = (response.response_range for response in answer.responses)
        if not own.kvs or own.kvs[0].create_revision != token:
            return Absent()
        if not mine.is_intact(own.kvs[0]):
            return Absent(overwritten=True)
        revision = answer.header.revision
        ahead = self._queue.ahead(page, token, revision)
        if mine.turn is not None:
            mine.turn.follow(None if ahead is None else ahead.key, revision)
        if ahead is None:
            return Leading(token)
        return Waiting(watched=mine.turn is not None)

    @shared_budget()
    def withdraw(self, claim: Claim) -> None:
        mine = EtcdClaim.of(claim)
        if mine.withdrawn or (mine.settled and mine.token is None):
            return  # nothing of it is in the race
        if mine.token is not None:
            self._remove(mine, mine.token)
        elif not self._remove_stray(mine):
            return  # it may still come
        mine.withdrawn = mine.settled = True

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        mine = EtcdClaim.of(claim)
        if mine.token is None:
            raise StoreUnavailable(f"the claim for {self._key!r} has not entered")
        self._errands.add(partial(self._client.warm, Lane.RELEASES))  # others wait for a release
        mine.turn = Turn(self._watcher, mine.own, mine.token, wake)
        return mine.turn

    @shared_budget()
    def leader(self) -> Leader | None:
        return leader_of(self._queue.first()[0])

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        return LeaderView(self._watcher, self._errands, self._key, self._queue, on_change)

    def _look_who_is_first(self, claim: EtcdClaim, page: object, revision: int) -> None:
        try:
            first = self._queue.first_of(page, revision)
        except StoreUnavailable:
            return  # it has entered; `standing` says the rest
        claim.granted = first is not None and first.key == claim.own

    def _read_back(self, claim: EtcdClaim, before: int, error: StoreUnavailable) -> None:
        """Find out what became of a request to enter whose answer was lost."""
        try:
            request = txn(then=[read(claim.own), self._queue.first_page()])
            answer = self._client.call(TXN, request, repeatable=True)
        except SessionLost:
            raise
        except Exception as problem:
            raise ClaimUnknown(f"no answer to entering {self._key!r}: {error}", claim) from problem
        own, page = (response.response_range for response in answer.responses)
        # One that was there before it was sent belongs to an earlier claim.
        if isinstance(error, Full) and not own.kvs:
            claim.settled = True  # etcd has dealt with the request, so it comes no more
            raise error
        if not own.kvs or own.kvs[0].create_revision <= before or own.kvs[0].value != claim.value:
            raise ClaimUnknown(f"no answer to entering {self._key!r}: {error}", claim) from error
        claim.token, claim.settled = own.kvs[0].create_revision, True
        if claim.is_intact(own.kvs[0]):
            self._look_who_is_first(claim, page, answer.header.revision)

    def _remove(self, claim: EtcdClaim, revision: int) -> None:
        """Delete the key of a claim, if it is the one that was created then."""
        self._client.call(
            TXN,
            txn(when=[created(claim.own, revision)], then=[delete(claim.own)]),
            lane=Lane.RELEASES,
            repeatable=True,
        )

    def _remove_stray(self, claim: EtcdClaim) -> bool:
        """Delete what came of a request that nobody knew about; False if nothing has yet."""
        found = self._client.call(
            TXN, txn(then=[read(claim.own)]), lane=Lane.RELEASES, repeatable=True
        )
        kvs = found.responses[0].response_range.kvs
        latest = self._latest.get(claim.session.id)
        if kvs and (latest is claim or latest is None or latest.token != kvs[0].create_revision):
            self._remove(claim, kvs[0].create_revision)
            return True
        asked = self._client.call(
            TIME_TO_LIVE, TIME_TO_LIVE.request(ID=claim.lease), lane=Lane.RELEASES
        )
        # In its last second a lease has a ttl of 0 and stands: it can be renewed, and written with.
        if asked.TTL < 0:
            raise SessionLost("etcd has ended the lease")
        return False


def _share() -> AbstractContextManager[None]:
    # Half of the time, so that an answer that does not come leaves some to find out.
    return budget(remaining_budget() / 2)
