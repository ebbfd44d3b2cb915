"""Mutants of a candidate that leaves the election."""

from __future__ import annotations

from typing import Any

from leadership_core.backend import default_election
from leadership_core.candidate import Candidate
from leadership_core.engine import messages
from leadership_core.engine.campaign_backoff import CampaignBackoff
from leadership_core.engine.candidate_control import CandidateControl
from leadership_core.engine.candidate_state import CandidateState
from leadership_core.engine.messages import Phase
from leadership_core.engine.session_pool import SessionPool
from leadership_core.engine.state_machine import CandidateStateMachine
from leadership_core.errors import StoreUnavailable

from .mutant import Mutant, always_returns, nothing

__all__ = ["MUTANTS"]

_STATE_MACHINE = "tests/unit/test_state_machine.py"
_LEAVING = "tests/unit/test_leaving.py"
_FAULTS = "tests/unit/test_faults.py"
_SHARING = "tests/unit/test_sharing.py"
_MEMORY = "tests/contract/test_memory.py::TestMemory"


def drained_at_once(end_term: Any) -> Any:
    def mutant(self: Any, event: Any) -> bool:
        end_term(self, event)
        return False

    return mutant


def ignores(*kinds: type) -> Any:
    def mutate(step: Any) -> Any:
        return lambda self, now, what: [] if isinstance(what, kinds) else step(self, now, what)

    return mutate


def unconfirmed(resign: Any) -> Any:
    def mutant(self: Any, cooldown: float = 1.0) -> bool:
        term = self.term
        if term is None:
            return False
        term._state.resign()
        self._control._driver.post(messages.Resign(term.token, cooldown))
        return True

    return mutant


def without_cooldown(next_campaign: Any) -> Any:
    """Campaign again at once after a resignation."""

    def mutant(self: Any) -> float:
        resigned = self._cooldown is not None
        seconds: float = next_campaign(self)
        return 0.0 if resigned else seconds

    return mutant


def keeps_waiting(stop: Any) -> Any:
    """A waiting candidate cannot be stopped."""

    def mutant(self: Any, happening: Any) -> None:
        if self.phase is not Phase.WAITING:
            stop(self, happening)

    return mutant


def surely_withdrawn(failed: Any) -> Any:
    """After a withdrawal without a response, go on with the same session."""

    def mutant(self: Any, ticket: int, error: Any) -> None:
        if (
            ticket == self._held.ticket
            and self.phase is Phase.WITHDRAWING
            and isinstance(error, StoreUnavailable)
        ):
            self._held.claim = None
            self._proceed()
        else:
            failed(self, ticket, error)

    return mutant


def adopt_own(enter: Any) -> Any:
    """Take an earlier claim of the session for the new one."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        entry = self._store.get(self._key)
        if entry is None or entry.session != session.id:
            return enter(self, session, value)
        claim = default_election._Claim(self._key, session, value)
        claim.revision = claim.token = entry.revision
        claim.granted = True
        return claim

    return mutant


def forgets_orphaned(failed: Any) -> Any:
    def mutant(self: Any, ticket: int, error: Any) -> None:
        before = len(self._out)
        failed(self, ticket, error)
        self._out[before:] = [
            one for one in self._out[before:] if not isinstance(one, messages.ReapClaim)
        ]

    return mutant


MUTANTS = [
    Mutant(
        "release before the work has ended",
        "The claim is withdrawn first, so the next leader works beside the last one.",
        "client-go's ReleaseOnCancel (kubernetes 139991), controller-runtime 1132",
        ("tests/unit/test_lead.py::test_work_that_will_not_end_keeps_its_claim_to_the_deadline_at_most",),
        ((CandidateState, "end_term", drained_at_once),),
        "default",
    ),
    Mutant(
        "resignation is lost",
        "The candidate reports that it does not lead, but keeps its claim.",
        "docker/leadership (says false, and its session is renewed on)",
        (f"{_LEAVING}::test_resign_lets_the_other_win",),
        ((CandidateStateMachine, "step", ignores(messages.Resign)),),
        "default",
        slow=True,
    ),
    Mutant(
        "resign returns True unconfirmed",
        "It returns True when the request is queued; the claim may remain for a ttl.",
        "docker/leadership (errors of Unlock are dropped)",
        (f"{_LEAVING}::test_release_of_one_term_is_not_taken_for_that_of_the_next",),
        ((Candidate, "resign", unconfirmed),),
    ),
    Mutant(
        "stop does not wait",
        "It reports at once that no claim is left, while the claim remains.",
        "kubernetes_asyncio (cancels the work and does not await it), client-go",
        (f"{_LEAVING}::test_stop_is_false_without_confirmation_of_the_store",),
        ((CandidateControl, "awaiting_stop", always_returns(value=True)),),
        "default",
    ),
    Mutant(
        "no cooldown after resign",
        "The candidate that resigned is the first to campaign again, and wins.",
        "docker/leadership on etcd (5 of 10 times), client-go",
        (f"{_STATE_MACHINE}::test_resign_keeps_the_cooldown",),
        ((CampaignBackoff, "next_campaign", without_cooldown),),
    ),
    Mutant(
        "stopped candidate keeps waiting",
        "A candidate that is stopped while it waits stays in the queue, and is elected without a user.",
        "docker/leadership (pull request 12), stolon's warning about it",
        (f"{_MEMORY}::test_candidate_that_stops_while_waiting_is_never_elected",),
        ((CandidateStateMachine, "_stop", keeps_waiting),),
        slow=True,
    ),
    Mutant(
        "claim of an earlier term is adopted",
        "A claim left behind by an earlier term is taken for the new one, with its old token.",
        "Curator 498 (finds the node of a session that is being closed)",
        (f"{_FAULTS}::test_lost_answer_to_a_withdrawal",),
        ((CandidateStateMachine, "_failed", surely_withdrawn), (default_election.DefaultElection, "enter", adopt_own)),
        "default",
        slow=True,
    ),
    Mutant(
        "orphaned claim after an enter without a response",
        "A request that timed out is forgotten: it arrives late, and its claim blocks the key.",
        "etcd's Campaign (21128), Curator 202",
        (f"{_FAULTS}::test_late_enter_is_found_and_removed",),
        ((CandidateStateMachine, "_failed", forgets_orphaned), (SessionPool, "reap", nothing)),
        "default",
        slow=True,
    ),
]  # fmt: skip
