"""A store with compare-and-set and watches, and no sessions: its elections are by observation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from leadership_core.backend import (
    ClaimRecord,
    ObservedElection,
    ObservedSessions,
    Session,
    claim_key,
    end_observation,
    observed_election,
)
from leadership_core.backend.entries import ANY, Entry, Expected
from leadership_core.backend.protocols import Capability

from .kernel import World
from .model_store import ModelServer, ModelStore
from .network import Link
from .primitives import Threading
from .server import KEY, ServerClaim, ServerSession

__all__ = ["ObservedServer", "ObservedStore", "epochs_patched"]

_CLAIM = claim_key(KEY)
_SESSIONS = ".sessions/"


class ObservedServer(ModelServer):
    """The server behind `ObservedStore`: it compares and sets, and has no clock."""

    def __init__(self, world: World, rng: random.Random, *, counts: bool) -> None:
        super().__init__(world, rng, counts=counts)
        self._latest: dict[str, int] = {}  # revisions of keys, which go on when a key is deleted
        self._deleted: set[str] = set()  # sessions that an operator has ended

    def put(self, key: str, value: bytes, expect: Expected, session: str | None) -> Entry:
        entry = super().put(key, value, expect, session)
        if not self.counts:
            revision = self._latest[key] = self._latest.get(key, 0) + 1
            entry = self.entries[key] = replace(entry, revision=revision)
        record = ClaimRecord.of(entry)
        if key == _CLAIM and record.session is not None:
            if self._is_alive(record.session):
                self.record_claim(record.value)
            # Else it is late, and no claim: the next candidate replaces it without waiting.
            if record.session in self._deleted:
                # Its holder does not know yet: it leads until its next renewal, as after a deletion of the claim.
                self.ended_by_operator.add(entry.revision if self.counts else record.epoch)
        return entry

    def claims(self) -> list[ServerClaim]:
        entry = self.entries.get(_CLAIM)
        record = ClaimRecord.of(entry)
        if entry is None or record.session is None or not self._is_alive(record.session):
            return []
        token = entry.revision if self.counts else record.epoch
        return [ServerClaim(record.value, token, record.session)]

    def _is_alive(self, session: str) -> bool:
        return f"{_SESSIONS}{session}" in self.entries

    def has_claim_entry(self) -> bool:
        return bool(self.claims())

    def delete_first(self) -> None:
        self.delete(_CLAIM, ANY)

    def overwrite_first(self) -> None:
        self.put(_CLAIM, b"by hand", ANY, None)

    def operator_ends_session(self) -> None:
        alive = [key for key in self.entries if key.startswith(_SESSIONS)]
        if alive:
            key = self.rng.choice(alive)
            self._deleted.add(key.removeprefix(_SESSIONS))
            self._note_interference(ServerSession(key.removeprefix(_SESSIONS), 0.0))
            self.world.note(f"an operator deletes {key}")
            self.delete(key, ANY)


class ObservedStore(ModelStore):
    """A plugin on top of that server, with the elections and sessions of the core."""

    expires_by_observation = True

    def __init__(self, server: ObservedServer, link: Link) -> None:
        super().__init__(server, link)
        self.capabilities = {Capability.GLOBAL_REVISION} if server.counts else set()
        self._sessions = ObservedSessions(self)

    def expires_within(self, ttl: float) -> float:
        return 1.2 * ttl + 2.5

    def list(self, prefix: str) -> list[Entry]:
        entries = self.server.entries
        return self.link.call(
            f"list {prefix}",
            lambda: [entries[key] for key in entries if key.startswith(f"{prefix}/")],
        )

    def open_session(self, ttl: float) -> Session:
        return self._sessions.open(ttl)

    def election(self, key: str) -> ObservedElection:
        return ObservedElection(self, key, self._sessions)

    def close(self) -> None:
        super().close()
        end_observation(self._sessions)


@contextmanager
def epochs_patched() -> Iterator[None]:
    """Begin to count terms at the time of the run, not at that of the machine."""

    def first_epoch() -> int:
        return int(Threading.world.now * 1e6) + 1

    with mock.patch.object(observed_election, "first_epoch", first_epoch):
        yield
