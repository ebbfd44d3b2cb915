"""An election on Consul: a lock on one key, as Consul's own clients take it, with guarded writes.

A request can arrive long after its sender has given up on it. So every write of a claim is a
transaction that begins with `check-index`: it applies to the key only as the sender has seen it,
because Consul never uses a modify index twice. The modify index of the write that locks the key
is the fencing token.

See https://developer.hashicorp.com/consul/docs/automate/application-leader-election for the
protocol, and https://developer.hashicorp.com/consul/api-docs/txn for the transactions.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from math import inf

from leadership_core.backend import (
    Absent,
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Closable,
    ConfigurationError,
    Leader,
    Leading,
    Session,
    SessionLost,
    StoreUnavailable,
    Waiting,
    half_timeout,
    inert_in_child,
)

from .claim import LOCK_FLAG, SEMAPHORE_FLAG, ConsulClaim, leader_of
from .client import Client, KeyValue, Operation, TxnConflict, operation
from .errors import is_not_applied, session_is_gone
from .key_state import KeyState
from .subscriptions import Found, WatchScope
from .watch import Watcher

__all__ = ["LOCK_FLAG", "SEMAPHORE_FLAG", "ConsulElection"]

log: logging.Logger = logging.getLogger(__name__)

# How many requests something takes, for the rate limit.
_NEW_SESSION = 3  # to open another session
_ENTERING = 1.0  # to lock a free key; where it is missing or an answer lost, the rest is a debt
_STARTING = 4.0  # to enter, to watch the key, and to query the status once
_PREPAID = 2  # polls after a lock: one reports the lock itself, the other one its loss
_RESIGNING = 20.0  # to withdraw, enter again, see another candidate lead, and lead again


@inert_in_child("enter", "status", "withdraw", "watch_claim", "clean_up", "leader", "watch_leader")
class ConsulElection:
    """An election; thread-safe. See `leadership_core.backend.Election`.

    Args:
        client: of the store.
        watcher: of the store.
        key: with the prefix.
    """

    def __init__(self, client: Client, watcher: Watcher, key: str) -> None:
        self._state = KeyState(client, key, watcher.ended)
        self._limiter, self._client = self._state.limiter, self._state.client
        self._watcher = watcher
        self._key = key
        self._seen: KeyValue | None = None  # the key as `status` has last seen it unlocked
        self._invited = False  # `status` has just answered that the key is unlocked
        self._starts: list[None] = []  # one for each candidate that has yet to enter
        # The last claim of each session: to withdraw an older one again must not unlock the key
        # for the one that has followed it.
        self._latest: weakref.WeakValueDictionary[str, ConsulClaim] = weakref.WeakValueDictionary()

    def candidate_started(self) -> None:
        """Exempt the next `enter`, and the first `status` after it, from the rate limit.

        No server can make a user start a candidate, so its requests are not charged either: a
        program that tries to take a lock again and again is not delayed, and delays no other
        candidate of the key.
        """
        self._starts.append(None)

    def enter(self, session: Session, value: bytes) -> ConsulClaim:
        try:
            self._starts.pop()
        except IndexError:
            started = False
        else:
            started = True
            self._limiter.pay(_STARTING)
        claim = ConsulClaim(self._key, session, value, first=started)
        self._latest[session.id] = claim
        # `status` has waited for the rate limit already when it answered that the key is unlocked.
        invited, self._invited = self._invited, False
        if not (invited or started) and not self._client.wait_for_turn(_ENTERING):
            return claim  # nothing was sent; a later `status` finds the key unlocked
        # The state that `status` has just read needs no second read, at the very moment at which
        # all candidates enter. If it is out of date, its index does not match and nothing happens.
        unlocked, self._seen = self._seen, None
        if unlocked is not None and not self._lock(claim, unlocked):
            if self._state.is_outdated(unlocked):
                claim.woken = True
                return claim  # the watch reports the next leader, or that the key is free again
            unlocked = None
        if unlocked is None and (unlocked := self._unlocked_key(claim)) is not None:
            self._lock(claim, unlocked)
        return claim

    def status(self, claim: Claim) -> ClaimStatus:
        found = self._read_status(ConsulClaim.of(claim))
        if not isinstance(found, Leading):
            ConsulClaim.of(claim).doubted = True
        return found

    def _read_status(self, claim: ConsulClaim) -> ClaimStatus:
        if claim.fresh and claim.watched:
            # The answer that granted it is linearizable, and the watch reports what has changed since.
            claim.fresh = False
            if claim.first and claim.token is not None:
                return Leading(claim.token)
        idle = claim.token is None and claim.settled and claim.watched  # no request of it is out
        first, claim.first = claim.first, False
        if idle and not first:
            if self._state.is_newly_unlocked(claim.unlocked):
                self._client.pause(self._state.lock_jitter())
            if (reported := self._reported_status(claim)) is not None:
                return reported
            if not self._client.wait_for_turn(_ENTERING):
                return Waiting(watched=False)  # the engine asks again, later each time
        if idle and self._state.is_newly_unlocked(claim.unlocked):
            self._seen, self._invited = claim.unlocked, True
            return Absent()
        if idle and not first and (reported := self._reported_status(claim)) is not None:
            return reported
        pair = self._state.read()
        holder = None if pair is None else pair.session
        if pair is not None and holder == claim.session.id:
            if pair.modify_index == claim.token:
                return Leading(pair.modify_index)
            if claim.token is None and self._is_latest(claim):
                # A request of this claim took effect, unseen. The lock is never adopted, because
                # it is unknown since when it is held; unless it is released, no candidate can
                # ever lead.
                claim.settled = False
                self.withdraw(claim)
                return Absent()
            if self._is_latest(claim):
                # A client has written over it, and Consul leaves the key locked. There is no
                # leader. `Waiting` would make the candidate wait for its own lock without end.
                return Absent(overwritten=True)
        if holder is not None:
            return Waiting()
        if claim.token is not None and self._client.session_name(claim.session.id) is None:
            self._limiter.consume(_NEW_SESSION)
            raise SessionLost("Consul has ended the session")
        self._seen = None if pair is None or pair.flags == SEMAPHORE_FLAG else pair
        self._invited = idle
        # The end of its lock leaves the flags as they are; a client's write replaces them.
        return Absent(overwritten=pair is not None and pair.flags != LOCK_FLAG)

    def _reported_status(self, claim: ConsulClaim) -> Waiting | None:
        """The status by what the watch has reported; None if the key has to be read, or is free.

        A waiting claim need not read what its watch has just reported: it is woken by whatever comes
        after that.
        """
        return Waiting() if claim.held or self._state.is_outdated(claim.unlocked) else None

    def withdraw(self, claim: Claim) -> None:
        mine = ConsulClaim.of(claim)
        if mine.withdrawn or (mine.settled and mine.token is None):
            return  # nothing of it is in the election
        if mine.token is not None and not mine.doubted:
            self._limiter.reset(_RESIGNING)  # a user call: no server makes a leader resign
        mine.doubted = True
        problem: StoreUnavailable | None = None
        for _ in self._state.attempts():
            try:
                with half_timeout():
                    gone = self._try_withdraw(mine)
            except StoreUnavailable as error:
                if is_not_applied(error):
                    raise
                problem = error
            else:
                if gone:
                    mine.withdrawn = mine.settled = True
                    return
        raise problem or StoreUnavailable(
            f"{self._key!r} changes faster than the claim can be withdrawn"
        )

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        def on_state(found: Found, after_outage: bool) -> None:
            if isinstance(found, StoreUnavailable):
                return  # the renewals fail, too; the end of the outage wakes the candidate
            pair = found[0] if found else None
            self._state.observe(pair)
            mine.unlocked = pair if pair is not None and pair.session is None else None
            differs = after_outage or mine.status_may_differ(pair)
            if differs and not after_outage:
                # A poll that began before the request to lock may report what that has replaced.
                differs = not self._state.is_outdated(mine.unlocked) and not mine.replaces(pair)
            if differs:
                mine.woken, mine.fresh = True, False
            mine.held = mine.woken and not mine.status_may_differ(pair)
            if differs:
                wake()

        def spare() -> float:
            if mine.prepaid_polls:
                mine.prepaid_polls -= 1
                return -inf
            return _ENTERING + self._state.random_reserve()

        mine = ConsulClaim.of(claim)
        ttl = claim.session.ttl
        mine.watched = True
        return self._watcher.subscribe(
            *(WatchScope(self._key), on_state),
            limiter=self._limiter,
            spare=spare,
            hurry=mine.prepaid_polls > 0,
            ttl=ttl,
        )

    def clean_up(self) -> None:
        """Delete the key if it is unlocked, as `consul lock` deletes its own.

        Only with the index with which it was seen unlocked: a claim that locks it meanwhile keeps
        it, and a late request to lock it does not apply to a key that is created again. Tokens
        still grow afterwards, because modify indexes grow over the whole datacenter.
        """
        pair = self._client.read(self._key)
        if pair is None or pair.session is not None or pair.flags != LOCK_FLAG:
            return
        with suppress(TxnConflict):  # it is in use again
            self._client.txn(
                operation("check-index", self._key, index=pair.modify_index),
                operation("delete", self._key),
            )

    def leader(self) -> Leader | None:
        return leader_of(self._state.read_unlimited())

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        def on_state(found: Found, _: bool) -> None:
            if isinstance(found, StoreUnavailable):
                on_change(found)
            else:
                self._state.observe(found[0] if found else None)
                on_change(leader_of(found[0] if found else None))

        return self._watcher.subscribe(
            WatchScope(self._key), on_state, confirm=True, limiter=self._limiter
        )

    def _is_latest(self, claim: Claim) -> bool:
        return self._latest.get(claim.session.id) is claim

    def _unlocked_key(self, claim: ConsulClaim) -> KeyValue | None:
        """Read the key, and create it if it is missing; None if it is locked."""
        # Where the first candidates of many keys start, the poll of their folder has shown that, or it
        # can be expected: the request to create the key does nothing if it exists.
        expected = claim.first and self._watcher.expects_missing(self._key)
        missing = expected or self._watcher.reports_missing(self._key)
        pair = None if missing else self._state.read()
        if claim.first and not missing:
            self._watcher.note_first_read(self._key, missing=pair is None)
        if pair is None:
            # It is created before it is locked: a guard "does not exist" would be met again after
            # the next deletion, an index never is. A late copy creates an empty key, at most.
            create = operation("cas", self._key, index=0, value=b"", flags=LOCK_FLAG)
            with suppress(TxnConflict):  # another candidate was faster
                pair = self._client.txn(create)[0]
            if pair is None:
                self._watcher.note_first_read(self._key, missing=False)
                pair = self._state.read()
        if pair is None:
            raise StoreUnavailable(f"{self._key!r} was deleted as soon as it was created")
        if pair.flags == SEMAPHORE_FLAG:
            raise ConfigurationError(
                f"{self._key!r} is the key of a Consul semaphore (`consul lock -n`): choose another key"
            )
        if pair.session == claim.session.id:
            # An earlier claim of the session has left the key locked; that lock is not adopted.
            if not self._unlock(claim, pair.modify_index):
                return None
            pair = self._state.read()
        return None if pair is None or pair.session is not None else pair

    def _lock(self, claim: ConsulClaim, unlocked: KeyValue) -> bool:
        """Lock the key as it was; False if it certainly has changed since."""
        sid = claim.session.id
        claim.guard = unlocked.modify_index
        self._state.note_attempt(unlocked)
        problem: StoreUnavailable | None = None
        for _ in self._state.attempts():
            try:
                with half_timeout():
                    done = self._client.txn(
                        operation("check-index", self._key, index=unlocked.modify_index),
                        operation(
                            "lock", self._key, session=sid, value=claim.value, flags=LOCK_FLAG
                        ),
                    )
                if done[-1].modify_index <= unlocked.modify_index:
                    raise StoreUnavailable("the index of the lock is not above that of its guard")
                claim.token, claim.granted, claim.settled = done[-1].modify_index, True, True
                claim.fresh, claim.prepaid_polls = True, _PREPAID
                self._state.observe(done[-1])
                self._state.note_locked()
                return True
            except TxnConflict as conflict:
                if session_is_gone(conflict.reason):
                    claim.settled = True  # no copy of the request can lock with this session
                    self._limiter.consume(_NEW_SESSION)
                    raise SessionLost("Consul has ended the session") from conflict
                log.debug("%s was not locked: %s", self._key, conflict.reason)
                if claim.settled:  # no other request was sent
                    if conflict.step == 0:
                        self._state.note_outdated(unlocked)
                    return conflict.step != 0
            except StoreUnavailable as error:
                if claim.settled and is_not_applied(error):
                    raise
                claim.settled, problem = False, error
            try:
                with half_timeout():
                    if self._read_back(claim, unlocked):
                        return True
            except StoreUnavailable as error:
                problem = error
        raise ClaimOutcomeUnknown(
            f"no answer whether {self._key!r} was locked: {problem}", claim
        ) from problem

    def _read_back(self, claim: ConsulClaim, unlocked: KeyValue) -> bool:
        """Find out whether the request to lock took effect; True if that is certain now."""
        pair = self._client.read(self._key)
        if pair is not None and pair.modify_index == unlocked.modify_index:
            return False  # it has not taken effect, and still may
        if pair is not None and pair.session == claim.session.id:
            # Only the request that was sent leaves the key like this; a write without the lock
            # sets the lock index back to 0, even if it writes the same value.
            same_key = pair.create_index == unlocked.create_index
            applied = same_key and pair.lock_index == unlocked.lock_index + 1
            if applied and (pair.value, pair.flags) == (claim.value, LOCK_FLAG):
                claim.token, claim.granted = pair.modify_index, True
            elif not self._unlock(claim, pair.modify_index):
                return False  # it has changed again: read it again
        claim.settled = True
        return True

    def _try_withdraw(self, claim: ConsulClaim) -> bool:
        """Try once to remove a claim; True if it is confirmed that nothing of it is left."""
        if claim.token is not None and self._unlock(claim, claim.token):
            return True
        pair = self._client.read(self._key)
        if pair is None:
            return True  # the claim's guard is an index that no later key has
        if pair.session == claim.session.id and self._is_latest(claim):
            return self._unlock(claim, pair.modify_index)  # a client has written over it
        if claim.settled or pair.modify_index != claim.guard:
            return True
        # The request to lock may still arrive: change the index of the key, so that it does not
        # apply. Consul keeps the index where a write changes nothing; a key that is deleted and
        # created again always has a new one.
        return self._try_txn(
            operation("check-index", self._key, index=pair.modify_index),
            operation("delete", self._key),
            operation("set", self._key, value=pair.value, flags=pair.flags),
        )

    def _unlock(self, claim: ConsulClaim, index: int) -> bool:
        """Unlock the key with the modify index `index`; False if it has another one."""
        # The value is deleted with the lock, so that no client reads it as the leader's.
        return self._try_txn(
            operation("check-index", self._key, index=index),
            operation("unlock", self._key, session=claim.session.id, flags=LOCK_FLAG),
        )

    def _try_txn(self, *operations: Operation) -> bool:
        try:
            self._client.txn(*operations)
        except TxnConflict:
            return False
        return True
