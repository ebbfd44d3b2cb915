"""Stores with one mistake each in their elections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leadership_core import Closable, Leader, Session
from leadership_core.backend import Claim, ClaimStatus, DefaultElection, Election, Leading
from tests.contract.broken_entries import Broken


class _Election(DefaultElection):
    def __init__(self, store: Broken, key: str) -> None:
        super().__init__(store, key)
        self.store, self.key = store, key


class _PhantomsElection(_Election):
    def status(self, claim: Claim) -> ClaimStatus:
        status = super().status(claim)
        free = self.store.get(self.key) is None
        return Leading(self.store.state.debug_state().revision) if free else status


class Phantoms(Broken):
    """A waiting claim leads when the key is free, even if it does not exist any more."""

    election_class = _PhantomsElection


class _SameNameLeadsElection(_Election):
    def status(self, claim: Claim) -> ClaimStatus:
        entry = self.store.get(self.key)
        if entry is not None and entry.value == claim.value:
            return Leading(entry.revision)
        return super().status(claim)


class SameNameLeads(Broken):
    """Claims with the leader's value lead, too."""

    election_class = _SameNameLeadsElection


class _TokensRepeatElection(_Election):
    def enter(self, session: Session, value: bytes) -> Claim:
        claim = super().enter(session, value)
        if claim.token is not None:
            claim.token = 1
        return claim

    def status(self, claim: Claim) -> ClaimStatus:
        status = super().status(claim)
        return Leading(1) if isinstance(status, Leading) else status


class TokensRepeat(Broken):
    """Tokens start at 1 again when the key was deleted."""

    election_class = _TokensRepeatElection


class _WakesNoClaimElection(_Election):
    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return super().watch_claim(claim, lambda: None)


class WakesNoClaim(Broken):
    """The watch of a claim never wakes it."""

    election_class = _WakesNoClaimElection


class _WithdrawsAnyClaimElection(_Election):
    def withdraw(self, claim: Claim) -> None:
        self.store.delete(self.key)
        claim.settled = True


class WithdrawsAnyClaim(Broken):
    """A withdrawal deletes the key, even with another claim."""

    election_class = _WithdrawsAnyClaimElection


class _WithdrawsNothingElection(_Election):
    def withdraw(self, claim: Claim) -> None:
        claim.settled = True


class WithdrawsNothing(Broken):
    """A withdrawal has no effect, and reports success."""

    election_class = _WithdrawsNothingElection


class _StaleLeaderElection(_Election):
    last: Leader | None = None

    def leader(self) -> Leader | None:
        self.last = super().leader() or self.last
        return self.last


class StaleLeader(Broken):
    """The last leader is reported without end."""

    election_class = _StaleLeaderElection


class _LeadersAreNamesElection(_Election):
    def watch_leader(self, on_change: Callable[[Any], None]) -> Closable:
        said: list[Any] = ["nothing yet"]

        def hear(leader: Any) -> None:
            name = leader.value if isinstance(leader, Leader) else said[0]
            if name != said[0] or said[0] == "nothing yet":
                said[0] = name
                on_change(leader)

        return super().watch_leader(hear)


class LeadersAreNames(Broken):
    """The watch of the leader reports changes of the value only."""

    election_class = _LeadersAreNamesElection


class ElectionsShareOneKey(Broken):
    """`a/b` is the election `a`."""

    def election(self, key: str) -> Election:
        top = "/".join(key.split("/")[:3])
        return self.races.setdefault(top, DefaultElection(self, top))


class _ClosesWithoutWaitingElection(_Election):
    def watch_leader(self, on_change: Callable[[Any], None]) -> Closable:
        return _Unwaiting(super().watch_leader, on_change)

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return _Unwaiting(
            lambda hear: super(_ClosesWithoutWaitingElection, self).watch_claim(claim, hear), wake
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
    """A callback of an election watch goes on after close() has returned."""

    election_class = _ClosesWithoutWaitingElection
