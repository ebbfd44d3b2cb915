"""Election by observation, for stores with compare-and-set and no clock that ends sessions.

The claim is one entry beside the election's key (`claim_record`), written by compare-and-set only. It names a
session, and holds as long as that session is not over; `heartbeats` says when it is. A candidate takes the claim over
in two steps: it ends the session in it, by compare-and-set on the heartbeat that did not change for the whole ttl, and then
writes its own record, by compare-and-set on the record that it has read. Between the two steps there is no leader, and
another candidate may execute the second one.

Where revisions grow over the whole store, the record's revision is the fencing token, and a claim that is released is
deleted. Elsewhere an epoch in the record counts the terms, and a released record stays, without a session.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import Conflict, NotApplied, SessionLost, StoreRefused, StoreUnavailable
from .capabilities import capabilities_of
from .claim_record import MOST_TOKEN, ClaimRecord, claim_key
from .deadline import half_timeout, single_timeout
from .entries import ABSENT, Change, Entry
from .fork import inert_in_child
from .heartbeats import HeartbeatStore
from .protocols import (
    Absent,
    Capability,
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Closable,
    Leader,
    Leading,
    Session,
    StoreBackend,
    Waiting,
)
from .session_observer import Report, SessionObserver, Sight, observer_of
from .time_source import time_source_of
from .watches import WatchDelivery

__all__ = ["ObservedElection"]

log: logging.Logger = logging.getLogger("leadership.session")

ReportT = TypeVar("ReportT")

_MOST_CONFLICTS = 100  # in a row; a store that goes on like that is not linearizable


@dataclass(frozen=True, slots=True)
class _Vacancy:
    """A record that may be replaced, as it was read or reported, so that entering needs no second read."""

    entry: Entry | None
    is_over: bool  # the session in it, if there is one, is certainly over


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Claim(Claim):
    id: str = ""  # what the record of this claim has, and no other one
    replaces: Entry | None = None  # what its record is written over
    written: Entry | None = None  # its record, as the answer that has granted it shows it
    last_seen: Change = None  # the latest report of the watch
    vacancy: _Vacancy | None = None  # that report, if no session is in it, until it was used


@inert_in_child("enter", "status", "withdraw", "watch_claim", "leader", "watch_leader")
class ObservedElection:
    """The election of one key, whose sessions expire by observation; see `Election`.

    `leader` names a holder that has crashed until its session is over, or until this process has observed for the
    ttl that it is not renewed. A process that asks once, and has not observed anything, gets the last holder.

    Args:
        store: linearizable `get`, conditional `put` and `delete`, and `watch`; nothing else of it is used. Its
            `time_source`, if it has one, is the clock of the observation.
        key: the key, normalised, with the store's prefix.
        heartbeats: of the sessions that candidates enter with; may be the store itself. All elections of a store
            must get the same object: it has one thread.
    """

    # A claim's watch begins with the present record, and calls `wake` if that is not the one that was granted.
    watches_since_enter = True

    def __init__(self, store: StoreBackend, key: str, heartbeats: HeartbeatStore) -> None:
        self._store = store
        self._key = key
        self._claim_key = claim_key(key)
        time_source = time_source_of(store)
        self._now = time_source.clock
        self._observer = observer_of(heartbeats, time_source)
        self._counts_terms = Capability.GLOBAL_REVISION not in capabilities_of(store)
        self._highest = 0  # the highest epoch so far
        self._vacancy: _Vacancy | None = None
        # Whether the first write is made without a read before it. Where terms are counted, the record of a
        # released claim remains, so a new one seldom finds none.
        self._tries_blindly = not self._counts_terms
        self._warned = False

    @single_timeout()
    def enter(self, session: Session, value: bytes) -> Claim:
        _refuse_overdue(session)
        claim = _Claim(self._key, session, value, id=uuid.uuid4().hex)
        vacancy, self._vacancy = self._vacancy, None
        tries_blindly, self._tries_blindly = self._tries_blindly, False
        # Mostly there is no record, and the comparison says if there is one.
        if tries_blindly and vacancy is None and self._write(claim, None, ClaimRecord()).granted:
            return claim
        if vacancy is None:
            vacancy = _Vacancy(self._store.get(self._claim_key), is_over=False)
            held = self._record_of(vacancy.entry).session
            if held is not None:
                vacancy = _Vacancy(vacancy.entry, held not in self._observer.look([held]))
        entry, record = vacancy.entry, self._record_of(vacancy.entry)
        held = record.session
        if held == session.id:
            return claim  # an earlier claim of it, which its session still withdraws
        # The session ends before the record is replaced: a holder that could renew it might lead on.
        if held is not None and not vacancy.is_over and not self._observer.end(held):
            return claim
        return self._write(claim, entry, record)

    def _write(self, claim: _Claim, entry: Entry | None, record: ClaimRecord) -> Claim:
        epoch = self._next_epoch(record, entry) if self._counts_terms else 0
        mine = ClaimRecord(epoch, claim.id, claim.session.id, claim.value)
        claim.replaces = entry
        try:
            with half_timeout():
                written = self._store.put(
                    self._claim_key, mine.encode(), expect=ABSENT if entry is None else entry
                )
        except Conflict:
            return claim
        except (SessionLost, NotApplied, StoreRefused):
            raise
        except Exception as error:  # noqa: BLE001 - after any error of a plugin, it may be written
            found = self._read_back(claim, error)
            if found is None:
                return claim
            written = found
        # Should the session have ended before this was written, its holder's lease has ended before that.
        claim.token, claim.granted = self._token_of(written, mine), True
        claim.written = written
        return claim

    def _read_back(self, claim: _Claim, error: Exception) -> Entry | None:
        """Find out whether a put whose answer was lost was applied; None if it never will be."""
        claim.settled = False
        try:
            found = self._store.get(self._claim_key)
        except Exception:  # noqa: BLE001 - the first error is reported
            found = claim.replaces
        if self._is_of(found, claim):
            claim.settled = True
            return found
        if self._is_settled(found, claim):
            claim.settled = True
            return None
        raise ClaimOutcomeUnknown(f"no answer to entering {self._key}: {error}", claim) from error

    @staticmethod
    def _is_settled(found: Entry | None, claim: _Claim) -> bool:
        """Whether the record is not the one any more that the claim's is written over: there is no second one like it."""
        return claim.replaces is not None and found != claim.replaces

    @single_timeout()
    def status(self, claim: Claim) -> ClaimStatus:
        assert isinstance(claim, _Claim)
        vacancy, claim.vacancy = claim.vacancy, None
        if vacancy is not None and claim.token is None and claim.settled:
            # The watch has read it for a claim that waits. If another candidate was faster, the
            # comparison of `enter` fails, which is as good as a read.
            self._vacancy = vacancy
            return Absent(overwritten=not self._record_of(vacancy.entry).readable)
        entry = self._store.get(self._claim_key)
        record = self._record_of(entry)
        mine, own = record.claim == claim.id, claim.session.id
        # The session in the record is read after the record: if it is alive then, it was before.
        asked = {record.session} if record.session is not None else set()
        if mine or claim.token is not None:
            asked.add(own)
        found = self._observer.look(asked) if asked else {}
        if own in asked:
            _refuse_overdue(claim.session)
            if own not in found:
                raise SessionLost(f"the session {own} was ended")
        if mine and entry is not None:
            claim.token = self._token_of(entry, record)
            return Leading(claim.token, watched=claim.last_seen == entry)
        held = record.session
        if held is not None and held in found and not self._observer.expiry.is_silent(held):
            return Waiting(watched=claim.last_seen == entry)
        self._vacancy = _Vacancy(entry, is_over=held is None or held not in found)
        return Absent(overwritten=not record.readable)

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        assert isinstance(claim, _Claim)

        def on_change(change: Change) -> None:
            if isinstance(change, Entry) or change is None:
                held = self._record_of(change).session
                claim.vacancy = _Vacancy(change, is_over=True) if held is None else None
                try:
                    watch.observation.follow(None if held == claim.session.id else held)
                except NotApplied as error:
                    change = error  # not watched, so the engine asks for the status again
            after_outage = isinstance(claim.last_seen, Exception)
            claim.last_seen = change
            # The answer to entering has shown this record. After an outage the status is asked for in any case.
            if not claim.granted or change != claim.written or after_outage:
                watch.delivery.publish(None)

        def on_sight(_: str, sight: Sight | StoreUnavailable) -> None:
            if sight in {Sight.SILENT, Sight.OVER}:
                watch.delivery.publish(None)

        watch: _Watch[None] = _Watch(lambda _: wake(), self._observer, on_sight)
        return watch.begun(lambda: self._store.watch(self._claim_key, on_change))

    def withdraw(self, claim: Claim) -> None:
        assert isinstance(claim, _Claim)
        known = claim.written  # most probably it is still there, and the comparison says if not
        for _ in range(_MOST_CONFLICTS):
            entry, known = known or self._store.get(self._claim_key), None
            if entry is None or not self._is_of(entry, claim):
                # An enter without an answer may still arrive as long as what it replaces is there:
                # claim.settled is unchanged then, and the engine withdraws it again.
                if self._is_settled(entry, claim):
                    claim.settled = True
                return
            try:
                if self._counts_terms:
                    released = self._record_of(entry).released()
                    self._store.put(self._claim_key, released.encode(), expect=entry)
                else:
                    self._store.delete(self._claim_key, expect=entry)
            except Conflict:
                continue
            claim.settled = True
            return
        raise StoreUnavailable(f"{self._claim_key} changes after every read")

    @single_timeout()
    def leader(self) -> Leader | None:
        entry = self._store.get(self._claim_key)
        record = self._record_of(entry)
        if entry is None or record.session is None:
            return None
        found = self._observer.look([record.session])
        if record.session not in found or self._observer.expiry.is_silent(record.session):
            return None
        return self._leader_of(entry)

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        lock = threading.RLock()  # a signal handler may write, and so change the key, too
        entry: Entry | None = None
        sight: Sight | None = None  # of the session that is observed

        def put() -> None:
            if entry is None or watch.observation.session is None:
                watch.delivery.put(None)
            elif sight is not None:  # else the observer is about to read its session
                watch.delivery.put(self._leader_of(entry) if sight is Sight.ALIVE else None)

        def on_entry(change: Change) -> None:
            nonlocal entry, sight
            assert not isinstance(change, list)
            with lock:
                try:
                    if isinstance(change, StoreUnavailable):
                        raise change
                    entry, held = change, self._record_of(change).session
                    if held != watch.observation.session:
                        sight = None
                        watch.observation.follow(held)
                    put()
                except StoreUnavailable as error:
                    watch.delivery.put(error)
            watch.delivery.run()

        def on_sight(session: str, seen: Sight | StoreUnavailable) -> None:
            nonlocal sight
            with lock:
                if session != watch.observation.session:
                    return
                if isinstance(seen, StoreUnavailable):
                    watch.delivery.put(seen)
                else:
                    sight = seen
                    put()
            watch.delivery.run()

        watch = _Watch(on_change, self._observer, on_sight)
        return watch.begun(lambda: self._store.watch(self._claim_key, on_entry))

    # -- the record ------------------------------------------------------------------------------

    def _record_of(self, entry: Entry | None) -> ClaimRecord:
        record = ClaimRecord.of(entry)
        self._highest = max(self._highest, record.epoch)
        if not record.readable and not self._warned:
            self._warned = True
            log.warning(
                "%s was overwritten: it is no claim, and the next candidate replaces it",
                self._claim_key,
            )
        return record

    def _is_of(self, entry: Entry | None, claim: _Claim) -> bool:
        return entry is not None and self._record_of(entry).claim == claim.id

    def _token_of(self, entry: Entry, record: ClaimRecord) -> int:
        return record.epoch if self._counts_terms else entry.revision

    def _leader_of(self, entry: Entry) -> Leader:
        record = self._record_of(entry)
        return Leader.of(record.value, self._token_of(entry, record), self._now)

    def _next_epoch(self, record: ClaimRecord, entry: Entry | None) -> int:
        """The epoch of the next term: larger than that in the record.

        Without a record, the count begins at the microseconds of the wall clock, so that tokens grow in most cases
        although an operator has deleted it. Nothing else rests on that.
        """
        last = max(record.epoch, self._highest)
        if entry is None or not record.readable:
            last = max(last, first_epoch())
        return last + 1


class _Watch(Generic[ReportT]):
    """A watch of the record, together with the observation of the session in it."""

    __slots__ = ("__weakref__", "_inner", "delivery", "observation")

    def __init__(
        self, callback: Callable[[ReportT], object], observer: SessionObserver, report: Report
    ) -> None:
        self.delivery = WatchDelivery(callback, self._end)
        self.observation = observer.observe(report)
        self._inner: Closable | None = None

    def begun(self, begin: Callable[[], Closable]) -> Closable:
        """Begin the watch of the record, and return what closes both."""
        try:
            self._inner = begin()
        except BaseException:
            self._end()
            raise
        return self.delivery

    def _end(self) -> None:
        self.observation.close()
        if self._inner is not None:
            self._inner.close()


def first_epoch() -> int:
    """Where the count of terms begins without a record: at the microseconds of the wall clock."""
    return min(max(0, time.time_ns() // 1_000), MOST_TOKEN // 2)


def _refuse_overdue(session: Session) -> None:
    """Let a session that its holder has not renewed in time end at the store, and raise `SessionLost`."""
    if getattr(session, "overdue", False):
        session.renew()
