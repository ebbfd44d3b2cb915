"""Long operations of a workload's process: terms, sessions and watches."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leadership_core import (
    Candidate,
    LeadershipError,
    NotElected,
    SessionLost,
    StoreUnavailable,
    Term,
)
from leadership_core.backend.entries import Change
from tests.system.linearizability.records import described, folder_of_now, now

if TYPE_CHECKING:
    from tests.system.linearizability.worker import Actor

__all__ = ["Terms"]

_STEP = 0.03  # seconds between two operations


class Terms:
    """Campaigns, binds entries to sessions, and watches.

    Args:
        actor: what all of it is done with.
        who: the process.
        ttl: seconds, of leases and sessions.
    """

    def __init__(self, actor: Actor, who: str, ttl: float) -> None:
        self._actor, self._who, self._ttl = actor, who, ttl
        self._store, self._recorder = actor.store, actor.recorder
        self._watches = 0

    # -- terms -------------------------------------------------------------------------------

    def campaign(self) -> None:
        """Campaign in the election of these seconds, and write with the fence of each term."""
        folder = folder_of_now()
        since = now()
        candidate = Candidate(self._store, f"{folder}/leader", self._who, ttl=self._ttl)
        fences: list[Any] = []
        try:
            while folder_of_now() == folder:
                term = _wait_elected(candidate)
                if term is None:
                    self._look_on(folder, fences)
                    continue
                at = now()
                self._recorder.note("acquire", f"{folder}/f", token=term.token, since=since, at=at)
                since = at  # the next one begins after this one has begun
                fences.append(term)
                self._lead(folder, candidate, term)
        finally:
            with suppress(LeadershipError):
                candidate.stop(1.0)

    def _lead(self, folder: str, candidate: Candidate, term: Term) -> None:
        rng = self._actor.rng
        for _ in range(rng.randint(1, 8)):
            before = now()
            until = before + int(term.remaining() * 1e9)
            if term.lost:
                break
            self._recorder.note("valid", f"{folder}/f", token=term.token, until=until)
            self._write(folder, term)
            time.sleep(rng.uniform(0, _STEP))
        asked = now()
        confirmed = candidate.resign(0.05)
        self._recorder.note(
            "release", f"{folder}/f", token=term.token, asked=asked, at=now() if confirmed else 0
        )
        self._write(folder, term)  # which is over

    def _look_on(self, folder: str, fences: list[Any]) -> None:
        rng = self._actor.rng
        if fences and rng.random() < 0.5:
            self._write(folder, rng.choice(fences))
        self._actor.done(
            "leader",
            f"{folder}/f",
            lambda: self._store.leader(f"{folder}/leader"),
            lambda found: ("found", {"token": 0 if found is None else found.token}),
        )
        self._read(f"{folder}/f")

    def _write(self, folder: str, term: Term) -> None:
        key, value = f"{folder}/f", self._actor.value()
        self._actor.done(
            "put",
            key,
            lambda: self._store.put(key, value.encode(), fence=term),
            lambda found: ("done", {"new": described(found)}),
            expect="any",
            token=term.token,
            new={"value": value, "revision": 0, "session": ""},
        )

    def _read(self, key: str) -> None:
        self._actor.done(
            "get",
            key,
            lambda: self._store.get(key),
            lambda found: ("absent", {}) if found is None else ("found", {"new": described(found)}),
        )

    # -- sessions ----------------------------------------------------------------------------

    def bind(self) -> None:
        """Open a session, bind entries to it, and close it or leave it to its ttl."""
        rng, folder = self._actor.rng, folder_of_now()
        key = f"{folder}/r/s0"
        try:
            session = self._store.open_session(self._ttl)
        except LeadershipError:
            time.sleep(0.1)
            return
        renewed = asked = 0
        try:
            for _ in range(rng.randint(2, 12)):
                asked = now()
                self._ttl = min(self._ttl, session.renew())
                renewed = asked
                self._renewed(key, session.id, renewed)
                self._bind_once(key, session)
                time.sleep(rng.uniform(0, _STEP))
                if folder_of_now() != folder:
                    break
        except SessionLost:
            return
        except StoreUnavailable:
            pass
        number = self._recorder.call("close", key, bound_to=session.id)
        with suppress(LeadershipError):
            session.close()
            self._recorder.returned(number, "done")

    def _renewed(self, key: str, session: str, at: int) -> None:
        until = at + int(self._ttl * 1e9)
        self._recorder.note("renew", key, bound_to=session, until=until)

    def _bind_once(self, key: str, session: Any) -> None:
        value = self._actor.value()
        self._actor.done(
            "put",
            key,
            lambda: self._store.put(key, value.encode(), session=session),
            lambda found: ("done", {"new": described(found)}),
            expect="any",
            bound_to=session.id,
            new={"value": value, "revision": 0, "session": ""},
        )

    # -- watches -----------------------------------------------------------------------------

    def watch(self) -> None:
        """Watch the keys of these seconds."""
        folder = folder_of_now()
        watches = []
        try:
            for key, tree in ((f"{folder}/r/k0", False), (f"{folder}/r", True)):
                self._watches += 1
                watches.append(self._watch(key, f"{self._who}.{self._watches}", tree=tree))
            while folder_of_now() == folder:
                time.sleep(0.05)
        except LeadershipError:
            time.sleep(0.1)
        finally:
            for one in watches:
                one.close()

    def _watch(self, key: str, name: str, *, tree: bool) -> Any:
        begun = now()

        def heard(change: Change) -> None:
            if isinstance(change, StoreUnavailable):
                return
            entries = change if isinstance(change, list) else [change] if change else []
            found = {one.key: described(one) for one in entries}
            self._recorder.note("watch", key, name=name, tree=tree, since=begun, entries=found)

        if tree:
            return self._store.watch_tree(key, heard)
        return self._store.watch(key, heard)


def _wait_elected(candidate: Candidate) -> Term | None:
    try:
        return candidate.wait_elected(0.1)
    except NotElected:  # the store is away
        return None
