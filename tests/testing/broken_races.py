"""Stores with one mistake each in their elections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leadership_core import (
    Claim,
    Closable,
    DefaultElection,
    Election,
    Leader,
    Leading,
    Session,
    Standing,
)
from tests.testing.broken_entries import Broken


class _Race(DefaultElection):
    def __init__(self, store: Broken, key: str) -> None:
        super().__init__(store, key)
        self.store, self.key = store, key


class _PhantomsRace(_Race):
    def standing(self, claim: Claim) -> Standing:
        standing = super().standing(claim)
        free = self.store.get(self.key) is None
        return Leading(self.store._state._revision) if free else standing


class Phantoms(Broken):
    """Whoever waits is told that it leads when the key is free: its claim is not looked at."""

    race = _PhantomsRace


class _EverybodyLeadsRace(_Race):
    def standing(self, claim: Claim) -> Standing:
        entry = self.store.get(self.key)
        if entry is not None and entry.value == claim.value:
            return Leading(entry.revision)
        return super().standing(claim)


class EverybodyLeads(Broken):
    """Of one name all are one."""

    race = _EverybodyLeadsRace


class _TokensRepeatRace(_Race):
    def enter(self, session: Session, value: bytes) -> Claim:
        claim = super().enter(session, value)
        if claim.token is not None:
            claim.token = 1
        return claim

    def standing(self, claim: Claim) -> Standing:
        standing = super().standing(claim)
        return Leading(1) if isinstance(standing, Leading) else standing


class TokensRepeat(Broken):
    """They count from 1 again when the key was deleted."""

    race = _TokensRepeatRace


class _NobodyIsWokenRace(_Race):
    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return super().on_turn(claim, lambda: None)


class NobodyIsWoken(Broken):
    """Waiting is for the patient."""

    race = _NobodyIsWokenRace


class _WithdrawsAnybodyRace(_Race):
    def withdraw(self, claim: Claim) -> None:
        self.store.delete(self.key)
        claim.settled = True


class WithdrawsAnybody(Broken):
    """The key is deleted, whoever holds it."""

    race = _WithdrawsAnybodyRace


class _WithdrawsNothingRace(_Race):
    def withdraw(self, claim: Claim) -> None:
        claim.settled = True


class WithdrawsNothing(Broken):
    """It says that it did."""

    race = _WithdrawsNothingRace


class _StaleLeaderRace(_Race):
    last: Leader | None = None

    def leader(self) -> Leader | None:
        self.last = super().leader() or self.last
        return self.last


class StaleLeader(Broken):
    """The last one is reported for ever."""

    race = _StaleLeaderRace


class _LeadersAreNamesRace(_Race):
    def watch_leader(self, on_change: Callable[[Any], None]) -> Closable:
        said: list[Any] = ["nothing yet"]

        def hear(leader: Any) -> None:
            name = leader.value if isinstance(leader, Leader) else said[0]
            if name != said[0] or said[0] == "nothing yet":
                said[0] = name
                on_change(leader)

        return super().watch_leader(hear)


class LeadersAreNames(Broken):
    """The watch tells a change of the value only."""

    race = _LeadersAreNamesRace


class RacesShareOneKey(Broken):
    """`a/b` is the election `a`."""

    def election(self, key: str) -> Election:
        top = "/".join(key.split("/")[:3])
        return self.races.setdefault(top, DefaultElection(self, top))


class _ClosesWithoutWaitingRace(_Race):
    def watch_leader(self, on_change: Callable[[Any], None]) -> Closable:
        return _Unwaiting(super().watch_leader, on_change)

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return _Unwaiting(
            lambda hear: super(_ClosesWithoutWaitingRace, self).on_turn(claim, hear), wake
        )


class _Unwaiting:
    def __init__(self, begin: Callable[[Any], Closable], callback: Callable[..., None]) -> None:
        self._callback: Callable[..., None] | None = callback
        begin(self.hear)

    def hear(self, *report: Any) -> None:
        if self._callback is not None:
            self._callback(*report)

    def close(self) -> None:
        self._callback = None


class ElectionWatchesCloseWithoutWaiting(Broken):
    """A call of a follower or a candidate goes on after close() has returned."""

    race = _ClosesWithoutWaitingRace
