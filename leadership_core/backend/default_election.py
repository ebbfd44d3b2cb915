"""Default election, for stores without their own: built on compare-and-set, sessions and watches.

The claim is the entry at the election's key, bound to the candidate's session, so it is deleted
when the session ends. Only one candidate can create it; the others watch it.

Where revisions grow over the whole store, the claim's revision is the fencing token. Where they do
not, an entry beside the key that nothing deletes, the epoch, counts the terms: its value is the
token, and the revision and session of the claim that it was incremented for. That happens between
winning the key and leading, so the winner reads the key once more afterwards (`status`).
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ..errors import (
    ConfigurationError,
    Conflict,
    NotApplied,
    PluginError,
    SessionLost,
    StoreUnavailable,
)
from .capabilities import capabilities_of
from .entries import ABSENT, Change, Entry
from .fork import inert_in_child
from .latest_claims import LatestClaims, id_of
from .protocols import (
    Absent,
    Capability,
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Closable,
    Election,
    Leader,
    Leading,
    Session,
    StoreBackend,
    Waiting,
)
from .time_source import time_source_of
from .watches import WatchDelivery

__all__ = ["DefaultElection", "election_of", "exists"]


_EPOCH = re.compile(r"([0-9]{1,19}) (-?[0-9]{1,40}) (.*)", re.DOTALL)
_TOKENS = 2**63 - 1  # so that programs can store it in eight bytes

_MOST_CONFLICTS = 100  # in a row; a store that goes on like that is not linearizable


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Claim(Claim):
    revision: int | None = None  # of the entry that is the claim
    last_seen: Change = None  # the latest report of the watch


@dataclass(frozen=True, slots=True)
class _Epoch:
    """The latest token, and the claim that it belongs to.

    Its session is part of that: the revisions of a key may start again after it was deleted.
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
        raise StoreUnavailable(f"{entry.key} was overwritten: write '<last token> 0 -' there")


@inert_in_child("enter", "status", "withdraw", "watch_claim", "leader", "watch_leader")
class DefaultElection:
    """The election of one key of a store that has `Capability.SESSIONS`.

    Args:
        store: the store; its `get` is linearizable.
        key: the key, normalised, with the store's prefix.
    """

    # A watch reports the present state first, so also what happened before it was made.
    watches_since_enter = True

    def __init__(self, store: StoreBackend, key: str) -> None:
        self._store = store
        self._key = key
        self._epoch_key = f"{key}/.epoch"
        self._now = time_source_of(store).clock
        self._counts_terms = Capability.GLOBAL_REVISION not in capabilities_of(store)
        # The latest claim of each session: withdrawing an older one must not delete it.
        self._latest: LatestClaims[_Claim] = LatestClaims()

    def enter(self, session: Session, value: bytes) -> Claim:
        claim = _Claim(self._key, session, value)
        self._latest.note(claim)
        held = self._store.get(self._key)
        if held is not None and held.session is not None:
            return claim

        # An entry without a session is no claim: it must not block the election.
        expect = ABSENT if held is None else held
        try:
            entry = self._store.put(self._key, value, expect=expect, session=session)
        except Conflict:
            return claim
        except (SessionLost, NotApplied):
            raise
        except Exception as error:  # noqa: BLE001 - after any error of a plugin, it may be written
            entry = self._read_back(claim, error)

        claim.revision = entry.revision
        if self._counts_terms:
            claim.token = self._increment_epoch(claim, entry)
        else:
            claim.token, claim.granted = entry.revision, True
        return claim

    def _read_back(self, claim: _Claim, error: Exception) -> Entry:
        """Find out whether a put whose answer was lost was applied."""
        claim.settled = False
        try:
            entry = self._store.get(self._key)
        except Exception:  # noqa: BLE001 - the first error is reported
            entry = None
        if entry is None or not _is_of(entry, claim) or entry.value != claim.value:
            # It does not exist now, but the request may still be under way.
            raise ClaimOutcomeUnknown(
                f"no answer to entering {self._key}: {error}", claim
            ) from error
        claim.settled = True
        return entry

    def _increment_epoch(self, claim: Claim, entry: Entry) -> int | None:
        """Count one more term, and return its token; None if the claim has been lost by now.

        Counting a term twice skips a number, which is allowed.
        """
        try:
            for _ in range(_MOST_CONFLICTS):
                last = self._store.get(self._epoch_key)
                # Between the two, so that a slow winner does not count after the next one: if that
                # one has counted, either this read or the comparison detects it.
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
            raise ClaimOutcomeUnknown(
                f"could not count the term of {self._key}: {error}", claim
            ) from error
        raise ClaimOutcomeUnknown(f"{self._epoch_key} changes after every read", claim)

    def status(self, claim: Claim) -> ClaimStatus:
        assert isinstance(claim, _Claim)
        entry = self._store.get(self._key)
        if claim.token is not None:
            if _is_entry_of(entry, claim):
                return Leading(claim.token, watched=claim.last_seen == entry)
            if entry is None or entry.session is not None:
                # It was deleted, or it has ended with its session: then this raises SessionLost.
                claim.session.renew()
        if entry is None or entry.session is None:
            return Absent(overwritten=entry is not None)
        return Waiting(watched=claim.last_seen == entry)

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        assert isinstance(claim, _Claim)

        def on_change(change: Change) -> None:
            known, claim.last_seen = claim.last_seen, change
            is_news = known is not None or not claim.granted or not _is_entry_of(change, claim)
            if is_news:  # else the first report says what the answer to entering has said
                wake()

        return self._store.watch(self._key, on_change)

    def withdraw(self, claim: Claim) -> None:
        assert isinstance(claim, _Claim)
        for _ in range(_MOST_CONFLICTS):
            entry = self._store.get(self._key)
            if entry is None or not _is_of(entry, claim):
                # An enter without an answer may still arrive as long as its session lives:
                # claim.settled is unchanged, and the engine withdraws it again.
                return
            latest = self._latest.of(claim.session)
            if entry.revision != claim.revision and latest is not claim:
                return  # the session has entered again: the entry is the claim of its next term
            try:
                self._store.delete(self._key, expect=entry)
            except Conflict:
                continue
            claim.settled = True
            return
        raise StoreUnavailable(f"{self._key} changes after every read")

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
                self._key, lambda change: on_change(self._leader_or_error(change, None))
            )
        return _CombinedWatch(
            self._store, self._key, self._epoch_key, self._leader_or_error, on_change
        )

    def _leader_or_error(self, change: Change, epoch: Change) -> Leader | StoreUnavailable | None:
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
            return Leader.of(entry.value, entry.revision, self._now)
        epoch = _Epoch.decode(epoch_entry)
        if not epoch.is_of(entry):
            return None  # it has won the key, and not counted its term yet: it does not lead
        return Leader.of(entry.value, epoch.token, self._now)


class _CombinedWatch:
    """Watches the claim and the epoch, and reports the leader according to both."""

    def __init__(
        self,
        store: StoreBackend,
        key: str,
        epoch_key: str,
        leader_of: Callable[[Change, Change], Leader | StoreUnavailable | None],
        on_change: Callable[[Leader | StoreUnavailable | None], None],
    ) -> None:
        self._leader_of = leader_of

        def close_watches() -> None:
            for watch in self._watches:
                watch.close()

        self._delivery = WatchDelivery(on_change, close_watches)
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


def _is_of(entry: Entry, claim: Claim) -> bool:
    return bool(entry.session == id_of(claim.session))


def _is_entry_of(change: Change, claim: _Claim) -> bool:
    """Whether it is the entry that was written for this very claim."""
    return isinstance(change, Entry) and change.revision == claim.revision and _is_of(change, claim)


def exists(backend: StoreBackend, key: str, election: Callable[[str], Election]) -> bool:
    """Whether an entry is at the key, or its election has a leader."""
    own: Callable[[str], bool] | None = getattr(backend, "exists", None)
    if backend.get(key) is not None if own is None else own(key):
        return True
    if getattr(backend, "election", None) is None:
        return False  # the claim of a default election is an entry at the key
    found = election(key)
    return not isinstance(found, DefaultElection) and found.leader() is not None


def election_of(backend: StoreBackend, key: str) -> Election:
    """Return the store's own election of the key, or the default one if it has none.

    Raises:
        ConfigurationError: it has none, and cannot bind an entry to a session.
        PluginError: its own election allows no weak references.
    """
    own: Callable[[str], Election] | None = getattr(backend, "election", None)
    if own is not None:
        election = own(key)
        try:
            weakref.ref(election)
        except TypeError:
            raise PluginError(
                f"the store's {type(election).__name__} allows no weak references: "
                "add '__weakref__' to its __slots__"
            ) from None
        return election
    if Capability.SESSIONS not in capabilities_of(backend):
        raise ConfigurationError(
            "this store has no elections: the plugin implements none, "
            "and the store cannot bind an entry to a session"
        )
    return DefaultElection(backend, key)
