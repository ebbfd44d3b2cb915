"""Mutants of Kubernetes: the compare-and-set of a Lease, its observation, and its record."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from leadership_core.backend import Heartbeat, NotApplied, clock
from leadership_kubernetes import election, lease, transport
from leadership_kubernetes.claim import KubernetesClaim
from leadership_kubernetes.client import Client
from leadership_kubernetes.election import KubernetesElection
from leadership_kubernetes.errors import Conflicted
from leadership_kubernetes.lease import Lease
from leadership_kubernetes.observations import Observations
from leadership_kubernetes.session import KubernetesSession

from .mutant import Mutant, always

__all__ = ["MUTANTS"]

_GUARDS = "tests/integration/kubernetes/test_guards.py"
_RECORD = "tests/integration/kubernetes/test_record.py"
_DEADLINES = "tests/unit/test_own_session_deadlines.py"
_OBSERVATIONS = "tests/unit/test_kubernetes_observations.py"


def whatever_is_there(update: Any) -> Any:
    def mutant(self: Any, manifest: dict[str, Any]) -> Any:
        found = self.read(manifest["metadata"]["name"])
        if found is not None:
            manifest = copy.deepcopy(manifest)
            manifest["metadata"]["resourceVersion"] = str(found.version)
        return update(self, manifest)

    return mutant


def by_its_times(_: Any) -> Any:
    def mutant(self: Any, found: Lease) -> bool:
        renewed = found.manifest["spec"].get("renewTime")
        if found.holder is None or not renewed:
            return True
        ends = datetime.fromisoformat(renewed) + timedelta(seconds=found.duration)
        return datetime.now(UTC) > ends

    return mutant


def from_the_request(_: Any) -> Any:
    def mutant(self: Any, found: Lease, *, sent: float = -float("inf")) -> None:
        beat = Heartbeat(found.name, found.duration, found.version)
        self._expiry.note(beat, sent=sent, answered=sent)

    return mutant


def conflict_is_success(renew: Any) -> Any:
    def mutant(self: Any, client: Client, ttl: int) -> bool:
        try:
            self.lease = client.update(self.lease.renewed(ttl))
        except Conflicted:
            return True
        return bool(renew(self, client, ttl))

    return mutant


def whoever_holds_it(release: Any) -> Any:
    def mutant(self: Any, client: Client) -> None:
        found = client.read(self.name)
        if found is not None:
            client.update(found.released())
        release(self, client)

    return mutant


def of_the_transitions(grant: Any) -> Any:
    def mutant(self: Any, session: Any, claim: Any, found: Lease, sent: float) -> Any:
        granted = grant(self, session, claim, found, sent)
        claim.token = found.transitions
        return granted

    return mutant


def of_the_answer(renew: Any) -> Any:
    def mutant(self: Any) -> Any:
        ttl = renew(self)
        self._renewed_at = clock.now()
        return ttl

    return mutant


def as_the_clock_says(_: Any) -> Any:
    return lambda last: vars(lease)["datetime"].now(UTC).strftime(lease._TIME)


MUTANTS = [
    Mutant(
        "Lease written over its present version",
        "A candidate that was stopped between its read and its write replaces a newer leader.",
        "operators that repeat an update after a 409 with the version of now",
        (f"{_GUARDS}::test_lease_is_replaced_only_as_it_was_read",),
        ((Client, "update", whatever_is_there),),
    ),
    Mutant(
        "times in a Lease are believed",
        "A clock that is an hour ahead replaces every leader, and one that is behind none for an hour.",
        "the Kubernetes client for Python (its leaderelection compares renewTime with the local clock)",
        (f"{_GUARDS}::test_times_in_the_record_of_another_holder_change_nothing[-1]",
         f"{_GUARDS}::test_times_in_the_record_of_another_holder_change_nothing[1]"),
        ((Observations, "is_free", by_its_times),),
    ),
    Mutant(
        "Lease observed from the request",
        "The duration is counted from a request that may be older than the renewal which it shows.",
        "client-go, which takes the time after the answer, against its ports that take the one before",
        (f"{_OBSERVATIONS}::test_lease_counts_from_the_answer_that_showed_its_version_first",),
        ((Observations, "note", from_the_request),),
    ),
    Mutant(
        "conflict of a renewal is a success",
        "A leader whose Lease was taken over leads on beside the next one.",
        "operators that log a 409 and go on",
        (f"{_RECORD}::test_renewal_of_a_lease_that_was_taken_over_ends_the_session",),
        ((KubernetesClaim, "renew", conflict_is_success),),
    ),
    Mutant(
        "release of a Lease of another holder",
        "A candidate that leaves late empties the Lease of the next leader.",
        "client-go before 1.20 (release without a look at the holder, kubernetes 80954)",
        (f"{_GUARDS}::test_withdrawal_releases_no_other_holder",),
        ((KubernetesClaim, "release", whoever_holds_it),),
    ),
    Mutant(
        "claim on Kubernetes without an answer was refused",
        "The Lease has a holder that does not know of it, and there is no leader until its duration has passed.",
        "leader elections that take any error of an update for a lost election",
        (f"{_GUARDS}::test_claim_whose_answer_was_lost_leads",),
        ((election, "is_not_applied", always(value=True)),),
    ),
    Mutant(
        "write to Kubernetes without an answer is not applied",
        "A write that was made is reported as not made, and its caller repeats it.",
        "HTTP clients that repeat a PUT after a lost connection",
        (f"{_GUARDS}::test_write_without_an_answer_has_an_unknown_outcome",),
        ((transport, "connection_lost", lambda _: lambda failure, given: NotApplied("lost")),),
    ),
    Mutant(
        "token from leaseTransitions",
        "A Lease that was deleted begins again at 1, so a newer term has the smaller token.",
        "programs that take client-go's leaseTransitions for a fencing token",
        (f"{_RECORD}::test_token_grows_after_the_lease_was_deleted_and_created_again",),
        ((KubernetesElection, "_grant", of_the_transitions),),
    ),
    Mutant(
        "renewal under way covers a new claim",
        "A renewal that began before the claim moves the deadline, and has not written its Lease.",
        "this library, in its design",
        (f"{_RECORD}::test_claim_is_renewed_once_if_a_renewal_began_while_it_was_sent",),
        ((KubernetesSession, "may_be_renewed_since", always(value=False)),),
    ),
    Mutant(
        "renewal that changes nothing",
        "With a clock that stands still the object is the same, the server writes none, and others see it silent.",
        "records whose only change is a time",
        (f"{_RECORD}::test_wall_clock_of_the_leader_changes_nothing[0]",),
        ((lease, "_now", as_the_clock_says),),
    ),
    Mutant(
        "deadline of a Lease from the answer",
        "A Lease is renewed again after others may have seen it unchanged for its duration.",
        "ports of client-go that take the time after the update",
        (f"{_DEADLINES}::test_ttl_counts_from_the_sending_of_the_last_renewal[kubernetes]",),
        ((KubernetesSession, "renew", of_the_answer),),
    ),
]  # fmt: skip
