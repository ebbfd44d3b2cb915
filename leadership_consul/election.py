"""The race for one key, as Consul's own clients run it, with a guard on every write.

A request can arrive long after its sender has given up on it. So every write of a claim is a
transaction that begins with `check-index`: it applies to the key exactly as the sender saw it,
and that index never comes back. The index of the write that locks the key is the token.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from leadership_core.budget import budget, remaining_budget
from leadership_core.errors import (
    ClaimUnknown,
    ConfigurationError,
    SessionLost,
    StoreUnavailable,
)
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

from .claim import LOCK_FLAG, SEMAPHORE_FLAG, ConsulClaim, leader_of
from .client import Client, Record, TxnRefused, operation
from .errors import is_definite, session_is_gone
from .sight import Sight
from .view import Found, Scope
from .watch import Watcher

__all__ = ["LOCK_FLAG", "SEMAPHORE_FLAG", "ConsulElection"]

log = logging.getLogger(__name__)

_SESSION = 3  # requests that it takes to get another session
_ENTERING = 7.0  # requests from the look at who leads to the watch over what one has won
_TRYING = 4.0  # requests to enter a race, to watch it and to ask for the standing once
_RESIGNING = 20.0  # requests that it takes to leave, stand again, see another one win, and win


@inert_in_child("enter", "standing", "withdraw", "on_turn", "clean_up", "leader", "watch_leader")
class ConsulElection:
    """One race; see `leadership_core.store.Election`."""

    def __init__(self, client: Client, watcher: Watcher, key: str) -> None:
        self._sight = Sight(client, key, watcher.ended)
        self._pace, self._client = self._sight.pace, self._sight.client
        self._watcher = watcher
        self._key = key
        self._seen: Record | None = None  # what `standing` has found vacant last
        self._invited = False  # it has just said that the way is free
        self._starts: deque[None] = deque()  # one for each candidate that has yet to enter
        # Which claim the session last entered here: withdrawing an older one again must not
        # release the key for the one that has followed it.
        self._latest: weakref.WeakValueDictionary[str, ConsulClaim] = weakref.WeakValueDictionary()

    def candidate_started(self) -> None:
        """Let the next `enter`, and the first question after it, pass at once.

        No server can make a user start a candidate, so what that takes is not charged, either: a
        program that tries for a lock again and again does not wait for the pace, and keeps no other
        candidate of the key waiting.
        """
        self._starts.append(None)

    def _takes_start(self) -> bool:
        try:
            self._starts.pop()
        except IndexError:
            return False
        self._pace.give(_TRYING)
        return True

    def enter(self, session: Session, value: bytes) -> ConsulClaim:
        claim = ConsulClaim(self._key, session, value, first=self._takes_start())
        self._latest[session.id] = claim
        # Whoever has just been told that the way is free has had its turn with that.
        invited, self._invited = self._invited, False
        at_once = invited or claim.first
        if not at_once and not self._client.await_turn(_ENTERING):
            return claim  # nothing was sent for it; once there is time, the way is found free
        # What `standing` has just found vacant saves reading it again, in the very moment that
        # everybody waits for: if it is out of date, its index does not fit, and nothing happens.
        vacant, self._seen = self._seen, None
        if vacant is not None and not self._lock(claim, vacant):
            vacant = None
        if vacant is None and (vacant := self._vacancy(claim)) is not None:
            self._lock(claim, vacant)
        return claim

    def standing(self, claim: Claim) -> Standing:
        found = self._standing(claim)
        if not isinstance(found, Leading):
            ConsulClaim.of(claim).doubted = True
        return found

    def _standing(self, claim: Claim) -> Standing:
        mine = ConsulClaim.of(claim)
        idle = mine.token is None and mine.settled and mine.watched  # there is nothing of it yet
        first, mine.first = mine.first, False
        if idle and not first and not self._client.await_turn(_ENTERING):
            return Waiting(watched=False)  # so it is asked again, later each time
        if idle and self._sight.is_free(mine.vacancy):
            self._seen, self._invited = mine.vacancy, True
            return Absent()
        record = self._sight.read()
        holder = None if record is None else record.session
        if record is not None and holder == claim.session.id:
            if record.modified == claim.token:
                return Leading(record.modified)
            if claim.token is None and self._is_latest(claim):
                # A request of its own has landed after all, unseen. It is never adopted: nobody
                # knows since when it stood. Without this, nobody would lead for ever.
                mine.settled = False
                self.withdraw(mine)
                return Absent()
            if self._is_latest(claim):
                # Somebody has written over it, and Consul leaves it locked. Nobody leads, so it
                # is not `Waiting`: who has not believed yet would wait for itself, for ever.
                return Absent(overwritten=True)
        if holder is not None:
            return Waiting()
        if claim.token is not None and self._client.session_name(claim.session.id) is None:
            self._pace.spend(_SESSION)
            raise SessionLost("Consul has ended the session")
        self._seen = None if record is None or record.flags == SEMAPHORE_FLAG else record
        self._invited = idle
        # What has ended its lock leaves the flag, what was put in its place does not have it.
        return Absent(overwritten=record is not None and record.flags != LOCK_FLAG)

    def withdraw(self, claim: Claim) -> None:
        mine = ConsulClaim.of(claim)
        if mine.withdrawn or (mine.settled and mine.token is None):
            return  # nothing of it is in the race
        if mine.token is not None and not mine.doubted:
            self._pace.refill(_RESIGNING)  # no store makes a user resign
        mine.doubted = True
        problem: StoreUnavailable | None = None
        for _ in self._sight.tries():
            try:
                with _share():
                    gone = self._remove(mine)
            except StoreUnavailable as error:
                if is_definite(error):
                    raise
                problem = error
            else:
                if gone:
                    mine.withdrawn = mine.settled = True
                    return
        raise problem or StoreUnavailable(
            f"{self._key!r} changes faster than the claim can be withdrawn"
        )

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        def look(found: Found, after_outage: bool) -> None:
            if isinstance(found, StoreUnavailable):
                return  # the renewals notice by themselves; the end of it wakes
            record = found[0] if found else None
            self._sight.note(record)
            mine.vacancy = record if record is not None and record.session is None else None
            if after_outage or mine.may_have_turned(record):
                wake()

        mine = ConsulClaim.of(claim)
        ttl = claim.session.ttl
        mine.watched = True
        return self._watcher.subscribe(Scope(self._key), look, pace=self._pace, ttl=ttl)

    def clean_up(self) -> None:
        """Delete the key if it is vacant, as `consul lock` does with its own.

        Under the index with which it was found vacant: who locks it meanwhile keeps it, and a lock
        request that was made for it before, however late, does not apply to a key made anew. The
        tokens go on to grow, because they are indexes of the whole of Consul.
        """
        record = self._client.read(self._key)
        if record is None or record.session is not None or record.flags != LOCK_FLAG:
            return
        with suppress(TxnRefused):  # somebody uses it again
            self._client.txn(
                operation("check-index", self._key, index=record.modified),
                operation("delete", self._key),
            )

    def leader(self) -> Leader | None:
        return leader_of(self._sight.peek())

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        def look(found: Found, _: bool) -> None:
            if isinstance(found, StoreUnavailable):
                on_change(found)
            else:
                self._sight.note(found[0] if found else None)
                on_change(leader_of(found[0] if found else None))

        return self._watcher.subscribe(Scope(self._key), look, confirm=True, pace=self._pace)

    def _is_latest(self, claim: Claim) -> bool:
        return self._latest.get(claim.session.id) is claim

    def _vacancy(self, claim: ConsulClaim) -> Record | None:
        """Read the key, made if it was missing; None if somebody holds it."""
        record = self._sight.read() or self._create() or self._sight.read()
        if record is None:
            raise StoreUnavailable(f"{self._key!r} was deleted as soon as it was made")
        if record.flags == SEMAPHORE_FLAG:
            raise ConfigurationError(
                f"{self._key!r} is the key of a Consul semaphore (`consul lock -n`): choose another key"
            )
        if record.session == claim.session.id:
            # What an earlier claim of the session has left behind is not this claim's.
            if not self._unlock(claim, record.modified):
                return None
            record = self._sight.read()
        return None if record is None or record.session is not None else record

    def _create(self) -> Record | None:
        # A guard "is not there" would hold again after the next deletion; an index never does.
        # So the key is made first, and entered afterwards. A late copy makes an empty key, at most.
        try:
            vacant = operation("cas", self._key, index=0, value=b"", flags=LOCK_FLAG)
            return self._client.txn(vacant)[0]
        except TxnRefused:
            return None  # another one was faster

    def _lock(self, claim: ConsulClaim, vacant: Record) -> bool:
        """Lock the key as it was; False if it surely is not like that any more."""
        sid = claim.session.id
        claim.guard = vacant.modified
        self._sight.tried(vacant)
        problem: StoreUnavailable | None = None
        for _ in self._sight.tries():
            try:
                with _share():
                    done = self._client.txn(
                        operation("check-index", self._key, index=vacant.modified),
                        operation(
                            "lock", self._key, session=sid, value=claim.value, flags=LOCK_FLAG
                        ),
                    )
                if done[-1].modified <= vacant.modified:
                    raise StoreUnavailable("the lock has an index from before it")
                claim.token, claim.granted, claim.settled = done[-1].modified, True, True
                self._sight.note(done[-1])
                return True
            except TxnRefused as refusal:
                if session_is_gone(refusal.what):
                    claim.settled = True  # no copy of the request can lock with it any more
                    self._pace.spend(_SESSION)
                    raise SessionLost("Consul has ended the session") from refusal
                log.debug("%s was not granted: %s", self._key, refusal.what)
                if claim.settled:  # nothing else was sent
                    return refusal.step != 0
            except StoreUnavailable as error:
                if claim.settled and is_definite(error):
                    raise
                claim.settled, problem = False, error
            try:
                with _share():
                    if self._read_back(claim, vacant):
                        return True
            except StoreUnavailable as error:
                problem = error
        raise ClaimUnknown(
            f"no answer whether {self._key!r} was locked: {problem}", claim
        ) from problem

    def _read_back(self, claim: ConsulClaim, vacant: Record) -> bool:
        """Find out what has become of the request to lock; True if that is certain now."""
        record = self._client.read(self._key)
        if record is not None and record.modified == vacant.modified:
            return False  # it has not landed, and still may
        if record is not None and record.session == claim.session.id:
            # Nothing but the request that was sent leaves the key like this; an overwrite puts
            # the count of locks back to 0, even if it writes the same value.
            landed = (record.created, record.locked) == (vacant.created, vacant.locked + 1)
            if landed and (record.value, record.flags) == (claim.value, LOCK_FLAG):
                claim.token, claim.granted = record.modified, True
            elif not self._unlock(claim, record.modified):
                return False  # it has changed again: look again
        claim.settled = True
        return True

    def _remove(self, claim: ConsulClaim) -> bool:
        """Try once to take a claim out; True when it is confirmed that nothing is left of it."""
        if claim.token is not None and self._unlock(claim, claim.token):
            return True
        record = self._client.read(self._key)
        if record is None:
            return True  # its guard names an index that no later key has
        if record.session == claim.session.id and self._is_latest(claim):
            return self._unlock(claim, record.modified)  # somebody has overwritten it meanwhile
        if not claim.settled and record.modified == claim.guard:
            return self._spoil(record)
        return True

    def _unlock(self, claim: ConsulClaim, index: int) -> bool:
        """Release the key as it was at `index`; False if it is not like that any more."""
        try:
            # The value goes with the lock, so that nobody takes it for the leader's.
            self._client.txn(
                operation("check-index", self._key, index=index),
                operation("unlock", self._key, session=claim.session.id, flags=LOCK_FLAG),
            )
        except TxnRefused:
            return False
        return True

    def _spoil(self, record: Record) -> bool:
        """Move the index of a vacant key on, so that no request with the old one applies to it."""
        try:
            # Consul leaves the index alone where a write would change nothing; made anew, the
            # key gets one for certain.
            self._client.txn(
                operation("check-index", self._key, index=record.modified),
                operation("delete", self._key),
                operation("set", self._key, value=record.value, flags=record.flags),
            )
        except TxnRefused:
            return False
        return True


def _share() -> AbstractContextManager[None]:
    # Half of the time, so that an answer that does not come leaves some to find out.
    return budget(remaining_budget() / 2)
