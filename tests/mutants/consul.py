"""Mistakes on Consul."""

from __future__ import annotations

from typing import Any

from leadership_consul import election
from leadership_consul.claim import ConsulClaim
from leadership_consul.client import Client, operation
from leadership_consul.election import LOCK_FLAG, ConsulElection
from leadership_consul.entries import Entries
from leadership_consul.poll import Poll
from leadership_core.errors import LeadershipError
from leadership_core.store import Leader, Leading, Waiting

from .mutant import Mutant, always

__all__ = ["MUTANTS"]

_ELECTION = "tests/consul/test_election.py"
_GUARDS = "tests/consul/test_guards.py"


def release_by_session(unlock: Any) -> Any:
    def mutant(self: Any, claim: Any, index: int) -> bool:
        step = operation("unlock", self._key, session=claim.session.id, flags=LOCK_FLAG)
        try:
            self._client.txn(step)
        except Exception as error:
            if isinstance(error, LeadershipError):
                raise
            return False
        return True

    return mutant


def ours_is_ours(standing: Any) -> Any:
    """Whose session it is counts, and not whose write."""

    def mutant(self: Any, claim: Any) -> Any:
        record = self._client.read(self._key)
        if record is not None and record.session == claim.session.id and claim.token:
            return Leading(claim.token)
        return standing(self, claim)

    return mutant


def lock_index(lock: Any) -> Any:
    def mutant(self: Any, claim: Any, vacant: Any) -> bool:
        done = bool(lock(self, claim, vacant))
        if claim.granted:
            claim.token = vacant.locked + 1
        return done

    return mutant


def unguarded(txn: Any) -> Any:
    """The first step of a transaction, which compares the index, is left out."""

    def mutant(self: Any, *steps: Any) -> Any:
        kept = [one for one in steps if one["Verb"] != "check-index"]
        return txn(self, *kept)

    return mutant


def held_for_a_while(standing: Any) -> Any:
    """Refused is refused: it waits for a change that does not come."""

    def mutant(self: Any, claim: Any) -> Any:
        found = standing(self, claim)
        return found if isinstance(found, Leading) else Waiting()

    return mutant


def with_health_checks(create: Any) -> Any:
    def mutant(self: Any, ttl: float, lock_delay: float, **options: Any) -> Any:
        raw = self._raw

        def plain(path: str, data: str, **more: Any) -> Any:
            return raw(path, data.replace('"NodeChecks": [], "Checks": []', '"x": 0'), **more)

        self._raw = plain
        try:
            return create(self, ttl, lock_delay, **options)
        finally:
            del self._raw

    return mutant


def with_lock_delay(create: Any) -> Any:
    return lambda self, ttl, lock_delay, **options: create(self, ttl, 15.0, **options)


def as_it_comes(read: Any) -> Any:
    def mutant(self: Any, key: str) -> Any:
        get = self._consul.kv.get
        self._consul.kv.get = lambda *args, **options: get(
            *args, **{**options, "consistency": "default"}
        )
        try:
            return read(self, key)
        finally:
            del self._consul.kv.get

    return mutant


def onwards(look: Any) -> Any:
    """The index that was seen last is asked for, whatever the server says now."""

    def mutant(self: Any) -> Any:
        before = self._index
        found = look(self)
        self._index = max(before, self._index)
        return found

    return mutant


def whoever_it_was(_: Any) -> Any:
    def mutant(record: Any) -> Any:
        if record is None or not record.value:
            return None
        return Leader.of(record.value, record.modified)

    return mutant


def by_session(fence: Any) -> Any:
    """Whether the session of the term still holds the key, in whichever term."""

    def mutant(self: Any, key: str, token: int) -> Any:
        record = self._client.read(key)
        if record is None or record.session is None:
            return fence(self, key, token)
        return operation("check-session", key, session=record.session)

    return mutant


def adopted(vacancy: Any) -> Any:
    """What the session holds already is taken over."""

    def mutant(self: Any, claim: Any) -> Any:
        record = self._client.read(self._key)
        if record is not None and record.session == claim.session.id:
            claim.token, claim.granted = record.modified, True
            return None
        return vacancy(self, claim)

    return mutant


MUTANTS = [
    Mutant(
        "unguarded release on Consul",
        "It names the session only: a copy that arrives late ends a later term of that session.",
        "Consul's ?release=, so all of its clients",
        ("tests/consul/test_late_release.py::test_a_release_that_arrives_late_ends_no_later_term",),
        ((ConsulElection, "_unlock", release_by_session),),
        "consul",
    ),
    Mutant(
        "a claim that somebody wrote over still leads",
        "The key is locked by one's session, but what it says is somebody else's.",
        "Consul's api.Lock",
        (f"{_ELECTION}::test_an_overwritten_term_is_over_and_can_be_withdrawn",),
        ((ConsulElection, "standing", ours_is_ours),),
        "consul",
    ),
    Mutant(
        "the token is the key's lock index",
        "It counts the locks of one key, and begins anew when the key is deleted.",
        "Consul's documented sequencer (key, LockIndex, session)",
        (f"{_ELECTION}::test_tokens_grow_over_resignation_deletion_and_the_same_name",),
        ((ConsulElection, "_lock", lock_index),),
        "consul",
    ),
    Mutant(
        "an unguarded request to lock",
        "A copy that arrives late locks the key when nobody wants it any more.",
        "Consul's ?acquire=, so all of its clients",
        ("tests/consul/test_lost_answers.py::test_a_settled_claim_is_safe_from_its_late_request",),
        ((Client, "txn", unguarded),),
    ),
    Mutant(
        "a lock delay is taken for a holder",
        "The key is free and refused; nothing will change at the key when the delay is over.",
        "docker/leadership on Consul (5 s lost now and then)",
        (f"{_ELECTION}::test_a_lock_delay_is_waited_for",),
        ((ConsulElection, "standing", held_for_a_while),),
    ),
    Mutant(
        "a session has Consul's usual lock delay",
        "After each crash nobody can lead for 15 s more than the ttl.",
        "Consul's api.Lock (hashicorp/consul 1077, 4508), Vault (2949)",
        (f"{_ELECTION}::test_a_session_depends_on_nothing_but_its_ttl",),
        ((Client, "create_session", with_lock_delay),),
    ),
    Mutant(
        "a session depends on gossip",
        "The agent is suspected for a moment, and every lock of the machine is gone.",
        "Patroni (522, 543), docker/leadership: Consul's default",
        (f"{_ELECTION}::test_a_session_depends_on_nothing_but_its_ttl",),
        ((Client, "create_session", with_health_checks),),
    ),
    Mutant(
        "stale reads",
        "A server that has been replaced as the leader answers: the claim stands, it says.",
        "python-consul's kv.get, by Consul's default",
        ("tests/consul/test_transport.py::test_what_belief_depends_on_is_read_consistently",),
        ((Client, "read", as_it_comes),),
    ),
    Mutant(
        "an index that goes backwards is not started anew",
        "After a restore the poll waits for an index that is years away.",
        "Consul's documentation warns of it",
        ("tests/consul/test_polls.py::test_an_index_that_goes_backwards_starts_from_zero",),
        ((Poll, "_look", onwards),),
    ),
    Mutant(
        "a dead leader is reported for ever",
        "Its value stays in the key when its session has ended.",
        "docker/leadership's Follower on Consul",
        (f"{_ELECTION}::test_a_dead_leader_is_nobody",),
        ((election, "leader_of", whoever_it_was),),
    ),
    Mutant(
        "a fence looks at the session",
        "The session leads again, in a later term, and the write of the old one passes.",
        "Consul's check-session in transactions",
        ("tests/consul/test_entries.py::test_a_fence_holds_exactly_as_long_as_its_term",),
        ((Entries, "_fence", by_session),),
    ),
    Mutant(
        "what the session holds already is adopted",
        "Since when it was held, and for whom, nobody knows.",
        "Consul's ?acquire=, which is granted to the holder again",
        (f"{_GUARDS}::test_entering_does_not_adopt_what_the_session_already_holds",),
        ((ConsulElection, "_vacancy", adopted),),
    ),
    Mutant(
        "no own-key watch on Consul",
        "The leader's own key is looked at only where it is free: a deletion is never told.",
        "recipes that renew and do not look, as python-consul-lock",
        ("tests/consul/test_watch.py::test_a_leading_claim_is_woken_by_its_own_loss",),
        ((ConsulClaim, "may_have_turned", always(value=False)),),
        slow=True,
    ),
]  # fmt: skip
