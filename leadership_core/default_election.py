"""An election for stores that bring none: compare-and-set, a session and a watch are enough.

The claim is the entry at the election's key, bound to the candidate's session, so it goes
when the session goes. Only one candidate can create it; the others watch it.

Where revisions grow over the whole store, the claim's revision is the fencing token. Where
they do not, an entry beside the key that nothing deletes counts the terms: its value is the
token and the revision of the claim that it was raised for. Raising it comes between winning
the key and believing, so the winner looks at the key once more afterwards (`standing`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .errors import ClaimUnknown, Conflict, StoreUnavailable
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


@dataclass(eq=False, slots=True)
class _Claim(Claim):
    revision: int | None = None  # of the entry that is the claim


@dataclass(frozen=True, slots=True)
class _Epoch:
    token: int
    claim_revision: int

    def encode(self) -> bytes:
        return b"%d %d" % (self.token, self.claim_revision)

    @classmethod
    def decode(cls, entry: Entry | None) -> _Epoch:
        if entry is None:
            return cls(0, 0)
        token, revision = entry.value.split()
        return cls(int(token), int(revision))


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
        self._counts_terms = Capability.GLOBAL_REVISION not in getattr(store, "capabilities", ())

    def enter(self, session: Session, value: bytes) -> Claim:
        claim = _Claim(self._key, session, value)
        held = self._store.get(self._key)
        if held is not None and held.session is not None:
            return claim

        # An entry without a session is nobody's: left by hand, it must not stop the election.
        expect = ABSENT if held is None else held
        try:
            entry = self._store.put(self._key, value, expect=expect, session=session)
        except Conflict:
            return claim
        except StoreUnavailable as error:
            entry = self._read_back(claim, error)

        claim.revision = entry.revision
        claim.token = self._raise_epoch(claim, entry) if self._counts_terms else entry.revision
        return claim

    def _read_back(self, claim: _Claim, error: StoreUnavailable) -> Entry:
        """Find out what became of a put whose answer was lost."""
        claim.settled = False
        try:
            entry = self._store.get(self._key)
        except StoreUnavailable:
            entry = None
        if entry is None or not _is_of(entry, claim) or entry.value != claim.value:
            # Not there now, but the request may still be on its way.
            raise ClaimUnknown(f"no answer to entering {self._key}: {error}", claim) from error
        claim.settled = True
        return entry

    def _raise_epoch(self, claim: Claim, entry: Entry) -> int:
        """Count one more term. Doing it twice costs a number, and numbers may be left out."""
        try:
            while True:
                last = self._store.get(self._epoch_key)
                epoch = _Epoch(_Epoch.decode(last).token + 1, entry.revision)
                try:
                    self._store.put(
                        self._epoch_key, epoch.encode(), expect=ABSENT if last is None else last
                    )
                except Conflict:
                    continue  # an earlier winner that was slow; it will find that it has lost
                return epoch.token
        except StoreUnavailable as error:
            raise ClaimUnknown(
                f"could not count the term of {self._key}: {error}", claim
            ) from error

    def standing(self, claim: Claim) -> Standing:
        assert isinstance(claim, _Claim)
        entry = self._store.get(self._key)
        if entry is None or entry.session is None:
            return Absent()
        if claim.token is not None and _is_of(entry, claim) and entry.revision == claim.revision:
            return Leading(claim.token)
        return Waiting()

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return self._store.watch(self._key, lambda _change: wake())

    def withdraw(self, claim: Claim) -> None:
        while True:
            entry = self._store.get(self._key)
            if entry is None or not _is_of(entry, claim):
                # An enter without an answer may still arrive as long as its session lives:
                # claim.settled stays as it is, and the engine looks again.
                return
            try:
                self._store.delete(self._key, expect=entry)
            except Conflict:
                continue
            claim.settled = True
            return

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
        if epoch.claim_revision != entry.revision:
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
        self._on_change = on_change
        self._key, self._epoch_key = key, epoch_key
        self._lock = threading.Lock()
        self._seen: dict[str, Change] = {}
        self._watches = [
            store.watch(one, lambda change, one=one: self._changed(one, change))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            for one in (key, epoch_key)
        ]

    def _changed(self, key: str, change: Change) -> None:
        with self._lock:
            self._seen[key] = change
            if len(self._seen) < 2:
                return
            # Reported under the lock, so that the later of two reports is the newer one.
            self._on_change(self._leader_of(self._seen[self._key], self._seen[self._epoch_key]))

    def close(self) -> None:
        for watch in self._watches:
            watch.close()


def _is_of(entry: Entry, claim: Claim) -> bool:
    # A plugin may say that the session is its own id.
    return entry.session == getattr(claim.session, "id", claim.session)
