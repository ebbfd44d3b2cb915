"""Mistakes of a candidate that leaves, or has left something behind."""

from __future__ import annotations

from typing import Any

from leadership_core import default_election
from leadership_core.candidacy import Candidacy
from leadership_core.candidate import Candidate
from leadership_core.engine.sessions import Sessions
from leadership_core.errors import StoreUnavailable
from leadership_core.machine import Campaign, Phase, actions, happenings as on
from leadership_core.tenure import Tenure

from .mutant import Mutant, always, nothing

__all__ = ["MUTANTS"]

_CAMPAIGN = "tests/core/test_campaign.py"
_LEAVING = "tests/core/test_leaving.py"
_FAULTS = "tests/core/test_faults.py"
_SHARING = "tests/core/test_sharing.py"
_MEMORY = "tests/testing/test_memory.py::TestMemory"


def drained_at_once(end_term: Any) -> Any:
    def mutant(self: Any, event: Any) -> bool:
        end_term(self, event)
        return False

    return mutant


def ignores(*kinds: type) -> Any:
    def mutate(step: Any) -> Any:
        return lambda self, now, what: [] if isinstance(what, kinds) else step(self, now, what)

    return mutate


def promised(resign: Any) -> Any:
    def mutant(self: Any, cooldown: float = 1.0) -> bool:
        term = self.term
        if term is None:
            return False
        term._state.resign()
        self._candidacy._runner.post(on.Resign(term.token, cooldown))
        return True

    return mutant


def eager(go_on: Any) -> Any:
    """Whoever has resigned stands again at once."""

    def mutant(self: Any) -> None:
        if self._cooldown is not None:
            self._cooldown = 0.0
        go_on(self)

    return mutant


def stays_in_line(stop: Any) -> Any:
    """Waiting cannot be called off."""

    def mutant(self: Any, happening: Any) -> None:
        if self.phase is not Phase.WAITING:
            stop(self, happening)

    return mutant


def surely_withdrawn(failed: Any) -> Any:
    """No answer to a withdrawal: the candidate goes on with the same session."""

    def mutant(self: Any, ticket: int, error: Any) -> None:
        if (
            ticket == self._ticket
            and self.phase is Phase.WITHDRAWING
            and isinstance(error, StoreUnavailable)
        ):
            self._claim = None
            self._go_on()
        else:
            failed(self, ticket, error)

    return mutant


def adopt_own(enter: Any) -> Any:
    """What an earlier claim of the session has left behind is taken for this one."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        entry = self._store.get(self._key)
        if entry is None or entry.session != session.id:
            return enter(self, session, value)
        claim = default_election._Claim(self._key, session, value)
        claim.revision = claim.token = entry.revision
        claim.granted = True
        return claim

    return mutant


def forgets_loose(failed: Any) -> Any:
    def mutant(self: Any, ticket: int, error: Any) -> None:
        before = len(self._out)
        failed(self, ticket, error)
        self._out[before:] = [
            one for one in self._out[before:] if not isinstance(one, actions.Discard)
        ]

    return mutant


MUTANTS = [
    Mutant(
        "the release comes before the work has ended",
        "The store is told first, so the next leader works while the last one still does.",
        "client-go's ReleaseOnCancel (kubernetes 139991), controller-runtime 1132",
        ("tests/core/test_lead.py::test_work_that_will_not_end_keeps_its_claim_to_the_deadline_at_most",),
        ((Tenure, "end_term", drained_at_once),),
        "default",
    ),
    Mutant(
        "a resignation is lost",
        "It says that it does not lead, and holds the claim on.",
        "docker/leadership (says false, and its session is renewed on)",
        (f"{_LEAVING}::test_resign_lets_the_other_win",),
        ((Campaign, "step", ignores(on.Resign)),),
        "default",
        slow=True,
    ),
    Mutant(
        "resign promises what nobody has confirmed",
        "It says True when the request is queued; the claim may stand for a ttl.",
        "docker/leadership (errors of Unlock are dropped)",
        (f"{_LEAVING}::test_release_of_one_term_is_not_taken_for_that_of_the_next",),
        ((Candidate, "resign", promised),),
    ),
    Mutant(
        "stop does not wait",
        "It says at once that nothing is left, while the claim stands.",
        "kubernetes_asyncio (cancels the work and does not await it), client-go",
        (f"{_LEAVING}::test_stop_does_not_promise_what_the_store_has_not_said",),
        ((Candidacy, "await_stop", always(value=True)),),
        "default",
    ),
    Mutant(
        "whoever resigns wins again",
        "There is no cooldown: the resigner is the quickest to stand again.",
        "docker/leadership on etcd (5 of 10 times), client-go",
        (f"{_CAMPAIGN}::test_cooldown_is_kept",),
        ((Campaign, "_go_on", eager),),
    ),
    Mutant(
        "a zombie stands in line",
        "One that is stopped while it waits goes on waiting, and is elected for nobody.",
        "docker/leadership (pull request 12), stolon's warning about it",
        (f"{_MEMORY}::test_one_that_stops_while_it_waits_never_leads",),
        ((Campaign, "_stop", stays_in_line),),
        slow=True,
    ),
    Mutant(
        "a late claim is adopted",
        "What an earlier term has left behind is taken for this one, with its old token.",
        "Curator 498 (finds the node of a session that is being closed)",
        (f"{_FAULTS}::test_lost_answer_to_a_withdrawal",),
        ((Campaign, "_failed", surely_withdrawn), (default_election.DefaultElection, "enter", adopt_own)),
        "default",
        slow=True,
    ),
    Mutant(
        "orphan claim after an enter without an answer",
        "Nobody looks after a request that timed out: it lands, and holds the key for nobody.",
        "etcd's Campaign (21128), Curator 202",
        (f"{_FAULTS}::test_enter_that_arrives_late_is_found_and_removed",),
        ((Campaign, "_failed", forgets_loose), (Sessions, "discard", nothing)),
        "default",
        slow=True,
    ),
]  # fmt: skip
