"""An election for stores that bring none: compare-and-set, a session and a watch are enough.

The claim is the entry at the election's key, bound to the candidate's session, so it goes
when the session goes. Only one candidate can create it; the others watch it.

Where revisions grow over the whole store, the claim's revision is the fencing token. Where
they do not, an entry beside the key that nothing deletes counts the terms: its value is the
token, and the revision and session of the claim that it was raised for. Raising it comes between winning
the key and believing, so the winner looks at the key once more afterwards (`standing`).
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from .capabilities import capabilities_of
from .delivery import WatchDelivery
from .errors import ClaimUnknown, Conflict, NotDone, SessionLost, StoreUnavailable
from .fork import inert_in_child
from .store import (
    ABSENT,
    Absent,
    Capability,
    Change,
    Claim,
    Closable,
    Entry,
    Leader,
    Leading,
    Session,
    Standing,
    Store,
    Waiting,
)

__all__ = ["DefaultElection"]

_EPOCH = re.compile(r"([0-9]{1,19}) (-?[0-9]{1,40}) (.*)", re.DOTALL)
_TOKENS = 2**63 - 1  # whoever is given one may keep it in eight bytes

_MOST_CONFLICTS = 100  # in a row; a store that goes on like that is not linearizable


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Claim(Claim):
    revision: int | None = None  # of the entry that is the claim
    told: Change = None  # by the watch, the last time


@dataclass(frozen=True, slots=True)
class _Epoch:
    """The latest token, and the claim that it was counted for.

    That is the session, too: the revisions of a key may begin anew when it was deleted.
    """

    token: int = 0
    claim_revision: int = 0
    session: str = ""

    def is_of(self, entry: Entry) -> bool:
        return (self.claim_revision, self.session) == (entry.revision, str(entry.session))

    def encode(self) -> bytes:
        return f"{self.token} {self.claim_revision} {self.session}".encode()

    @classmethod
    def decode(cls, entry: Entry | None) -> _Epoch:
        if entry is None:
            return cls()
        with suppress(UnicodeDecodeError):
            parts = _EPOCH.fullmatch(entry.value.decode())
            if parts is not None and int(parts[1]) < _TOKENS:
                return cls(int(parts[1]), int(parts[2]), parts[3])
        raise StoreUnavailable(
            f"{entry.key} was written over by hand: put back '<last token> 0 -' there"
        )


@inert_in_child("enter", "standing", "withdraw", "on_turn", "leader", "watch_leader")
class DefaultElection:
    """The race for one key of a store that has `Capability.SESSIONS`.

    Args:
        store: where; its `get` is linearizable.
        key: normalised, with the store's prefix.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._epoch_key = f"{key}/.epoch"
        self._counts_terms = Capability.GLOBAL_REVISION not in capabilities_of(store)
        # Which claim each session entered last: withdrawing an older one again takes nothing away.
        self._latest: weakref.WeakValueDictionary[str, _Claim] = weakref.WeakValueDictionary()

    def enter(self, session: Session, value: bytes) -> Claim:
        claim = _Claim(self._key, session, value)
        self._latest[_id_of(session)] = claim
        held = self._store.get(self._key)
        if held is not None and held.session is not None:
            return claim

        # An entry without a session is nobody's: left by hand, it must not stop the election.
        expect = ABSENT if held is None else held
        try:
            entry = self._store.put(self._key, value, expect=expect, session=session)
        except Conflict:
            return claim
        except (SessionLost, NotDone):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, it may be written
            entry = self._read_back(claim, error)

        claim.revision = entry.revision
        if self._counts_terms:
            claim.token = self._raise_epoch(claim, entry)
        else:
            claim.token, claim.granted = entry.revision, True
        return claim

    def _read_back(self, claim: _Claim, error: Exception) -> Entry:
        """Find out what became of a put whose answer was lost."""
        claim.settled = False
        try:
            entry = self._store.get(self._key)
        except Exception:  # noqa: BLE001 - the first error is the one to tell
            entry = None
        if entry is None or not _is_of(entry, claim) or entry.value != claim.value:
            # Not there now, but the request may still be on its way.
            raise ClaimUnknown(f"no answer to entering {self._key}: {error}", claim) from error
        claim.settled = True
        return entry

    def _raise_epoch(self, claim: Claim, entry: Entry) -> int | None:
        """Count one more term; None if the claim has been lost by now.

        Doing it twice costs a number, and numbers may be left out.
        """
        try:
            for _ in range(_MOST_CONFLICTS):
                last = self._store.get(self._epoch_key)
                # In between, so that a winner that was slow does not count after the next one:
                # if that one has counted, either this look or the comparison finds out.
                if self._store.get(self._key) != entry:
                    return None
                epoch = _Epoch(_Epoch.decode(last).token + 1, entry.revision, str(entry.session))
                try:
                    self._store.put(
                        self._epoch_key, epoch.encode(), expect=ABSENT if last is None else last
                    )
                except Conflict:
                    continue
                return epoch.token
        except SessionLost:
            raise
        except Exception as error:
            raise ClaimUnknown(
                f"could not count the term of {self._key}: {error}", claim
            ) from error
        raise ClaimUnknown(f"{self._epoch_key} never stays as it was read", claim)

    def standing(self, claim: Claim) -> Standing:
        assert isinstance(claim, _Claim)
        entry = self._store.get(self._key)
        if claim.token is not None:
            if entry is not None and _is_of(entry, claim) and entry.revision == claim.revision:
                return Leading(claim.token, watched=claim.told == entry)
            if entry is None or entry.session is not None:
                # Somebody has deleted it, or it has gone with its session, which says so.
                claim.session.renew()
        if entry is None or entry.session is None:
            return Absent(overwritten=entry is not None)
        return Waiting(watched=claim.told == entry)

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        assert isinstance(claim, _Claim)

        def tell(change: Change) -> None:
            claim.told = change
            wake()

        return self._store.watch(self._key, tell)

    def withdraw(self, claim: Claim) -> None:
        assert isinstance(claim, _Claim)
        for _ in range(_MOST_CONFLICTS):
            entry = self._store.get(self._key)
            if entry is None or not _is_of(entry, claim):
                # An enter without an answer may still arrive as long as its session lives:
                # claim.settled stays as it is, and the engine looks again.
                return
            if entry.revision != claim.revision and not self._is_latest(claim):
                return  # the session has entered again: what stands is its next term's
            try:
                self._store.delete(self._key, expect=entry)
            except Conflict:
                continue
            claim.settled = True
            return
        raise StoreUnavailable(f"{self._key} never stays as it was read")

    def _is_latest(self, claim: _Claim) -> bool:
        latest: _Claim | None = self._latest.get(_id_of(claim.session))
        return latest is claim

    def leader(self) -> Leader | None:
        entry = self._store.get(self._key)
        if entry is None or not self._counts_terms:
            return self._leader_of(entry, None)
        epoch = self._store.get(self._epoch_key)
        return self._leader_of(entry, epoch)

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        if not self._counts_terms:
            return self._store.watch(
                self._key, lambda change: on_change(self._leader_or_trouble(change, None))
            )
        return _PairWatch(
            self._store, self._key, self._epoch_key, self._leader_or_trouble, on_change
        )

    def _leader_or_trouble(self, change: Change, epoch: Change) -> Leader | StoreUnavailable | None:
        for one in (change, epoch):
            if isinstance(one, StoreUnavailable):
                return one
        assert not isinstance(change, (list, StoreUnavailable))
        assert not isinstance(epoch, (list, StoreUnavailable))
        return self._leader_of(change, epoch)

    def _leader_of(self, entry: Entry | None, epoch_entry: Entry | None) -> Leader | None:
        if entry is None or entry.session is None:
            return None
        if not self._counts_terms:
            return Leader.of(entry.value, entry.revision)
        epoch = _Epoch.decode(epoch_entry)
        if not epoch.is_of(entry):
            return None  # it has won the key and not counted its term yet: it does not lead
        return Leader.of(entry.value, epoch.token)


class _PairWatch:
    """Watches the claim and the epoch, and reports the leader that both together tell."""

    def __init__(
        self,
        store: Store,
        key: str,
        epoch_key: str,
        leader_of: Callable[[Change, Change], Leader | StoreUnavailable | None],
        on_change: Callable[[Leader | StoreUnavailable | None], None],
    ) -> None:
        self._leader_of = leader_of
        self._delivery = WatchDelivery(on_change, self._close_watches)
        self._key, self._epoch_key = key, epoch_key
        self._lock = threading.RLock()  # a signal handler may write, and so change the key, too
        self._seen: dict[str, Change] = {}
        self._watches: list[Closable] = []
        try:
            for one in (key, epoch_key):
                self._watches.append(store.watch(one, partial(self._changed, one)))
        except BaseException:
            self.close()
            raise

    def _changed(self, key: str, change: Change) -> None:
        with self._lock:
            self._seen[key] = change
            if len(self._seen) < 2:
                return
            # Put under the lock, so that the later of two reports is the newer one; the callback
            # is called without it.
            self._delivery.put(self._leader_of(self._seen[self._key], self._seen[self._epoch_key]))
        self._delivery.run()

    def close(self) -> None:
        self._delivery.close()

    def _close_watches(self) -> None:
        for watch in self._watches:
            watch.close()


def _is_of(entry: Entry, claim: Claim) -> bool:
    return bool(entry.session == _id_of(claim.session))


def _id_of(session: Session) -> Any:
    return getattr(session, "id", session)  # a plugin may say that the session is its own id
