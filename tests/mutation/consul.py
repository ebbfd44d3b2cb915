"""Mutants of the Consul backend."""

from __future__ import annotations

from typing import Any

from leadership_consul import election, http
from leadership_consul.claim import ConsulClaim
from leadership_consul.client import Client, operation
from leadership_consul.election import LOCK_FLAG, ConsulElection
from leadership_consul.key_state import KeyState
from leadership_consul.kv import KVEntries
from leadership_consul.long_poll import LongPoll
from leadership_consul.watch import Watcher
from leadership_core.backend.protocols import Leader, Leading, Waiting
from leadership_core.errors import LeadershipError

from .mutant import Mutant, always

__all__ = ["MUTANTS"]

_ELECTION = "tests/integration/consul/test_election.py"
_GUARDS = "tests/integration/consul/test_guards.py"


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


def by_own_session(status: Any) -> Any:
    """A lock of the own session is the own claim, whatever its value."""

    def mutant(self: Any, claim: Any) -> Any:
        record = self._client.read(self._key)
        if record is not None and record.session == claim.session.id and claim.token:
            return Leading(claim.token)
        return status(self, claim)

    return mutant


def lock_index(lock: Any) -> Any:
    def mutant(self: Any, claim: Any, vacant: Any) -> bool:
        done = bool(lock(self, claim, vacant))
        if claim.granted:
            claim.token = vacant.lock_index + 1
        return done

    return mutant


def unguarded(txn: Any) -> Any:
    """Leave out the comparison of the index."""

    def mutant(self: Any, *steps: Any) -> Any:
        kept = [one for one in steps if one["Verb"] != "check-index"]
        return txn(self, *kept)

    return mutant


def taken_for_held(status: Any) -> Any:
    """Wait for a change of the key, though the lock delay ends without one."""

    def mutant(self: Any, claim: Any) -> Any:
        found = status(self, claim)
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


def with_default_consistency(read: Any) -> Any:
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


def never_back(look: Any) -> Any:
    """Never go back to a smaller index."""

    def mutant(self: Any) -> Any:
        before = self._index
        found = look(self)
        self._index = max(before, self._index)
        return found

    return mutant


def by_value_alone(_: Any) -> Any:
    def mutant(record: Any) -> Any:
        if record is None or not record.value:
            return None
        return Leader.of(record.value, record.modify_index)

    return mutant


def by_session(fence: Any) -> Any:
    """Check that the session holds the key, in any of its terms."""

    def mutant(self: Any, key: str, token: int) -> Any:
        record = self._client.read(key)
        if record is None or record.session is None:
            return fence(self, key, token)
        return operation("check-session", key, session=record.session)

    return mutant


def adopted(vacancy: Any) -> Any:
    """Adopt the lock that the session already holds."""

    def mutant(self: Any, claim: Any) -> Any:
        record = self._client.read(self._key)
        if record is not None and record.session == claim.session.id:
            claim.token, claim.granted = record.modify_index, True
            return None
        return vacancy(self, claim)

    return mutant


def one_more_use(usual: Any) -> Any:
    """Use the connection again although it has bytes after the answer."""

    def mutant(text: bytes) -> Any:
        answer = usual(text)
        return answer and answer._replace(closes=False)

    return mutant


def first_piece(usual: Any) -> Any:
    """Take what the first read has returned for the whole answer."""

    def mutant(text: bytes) -> Any:
        missing = b" " * 100_000
        answer = usual(text + missing)
        return answer and answer._replace(body=answer.body.rstrip(b" "), closes=False)

    return mutant


MUTANTS = [
    Mutant(
        "unguarded release on Consul",
        "The release names the session only: a late copy ends a later term of that session.",
        "Consul's ?release=, so all of its clients",
        ("tests/integration/consul/test_guards.py::test_late_withdraw_request_does_not_end_a_later_term",),
        ((ConsulElection, "_unlock", release_by_session),),
        "consul",
    ),
    Mutant(
        "overwritten claim still leads",
        "The key is locked by the candidate's session, but has another program's value.",
        "Consul's api.Lock",
        (f"{_ELECTION}::test_overwritten_claim_does_not_lead_and_can_be_withdrawn",),
        ((ConsulElection, "status", by_own_session),),
        "consul",
    ),
    Mutant(
        "token is the key's lock index",
        "The index counts the locks of one key, and restarts when the key is deleted.",
        "Consul's documented sequencer (key, LockIndex, session)",
        (f"{_ELECTION}::test_tokens_grow_after_resignation_and_deletion",),
        ((ConsulElection, "_lock", lock_index),),
        "consul",
    ),
    Mutant(
        "unguarded lock request on Consul",
        "A late copy locks the key when no candidate wants it.",
        "Consul's ?acquire=, so all of its clients",
        ("tests/integration/consul/test_lost_answers.py::test_late_request_of_a_settled_claim_is_refused",),
        ((Client, "txn", unguarded),),
    ),
    Mutant(
        "lock delay is taken for a holder",
        "The key is free and refused; nothing changes at the key when the delay is over.",
        "docker/leadership on Consul (5 s lost now and then)",
        (f"{_ELECTION}::test_enter_during_lock_delay_grants_nothing",),
        ((ConsulElection, "status", taken_for_held),),
    ),
    Mutant(
        "session with Consul's default lock delay",
        "After each crash there is no leader for 15 s more than the ttl.",
        "Consul's api.Lock (hashicorp/consul 1077, 4508), Vault (2949)",
        (f"{_ELECTION}::test_session_depends_on_its_ttl_only",),
        ((Client, "create_session", with_lock_delay),),
    ),
    Mutant(
        "session with Consul's default health check",
        "A moment of suspicion against the agent releases all locks of the machine.",
        "Patroni (522, 543), docker/leadership: Consul's default",
        (f"{_ELECTION}::test_session_depends_on_its_ttl_only",),
        ((Client, "create_session", with_health_checks),),
    ),
    Mutant(
        "stale reads on Consul",
        "A server that has lost its leadership still answers that the claim is valid.",
        "python-consul's kv.get, by Consul's default",
        ("tests/integration/consul/test_transport.py::test_leadership_is_read_consistently",),
        ((Client, "read", with_default_consistency),),
    ),
    Mutant(
        "index that goes back is kept",
        "After a restore the poll waits for an index that is years away.",
        "Consul's documentation warns of it",
        ("tests/integration/consul/test_long_polls.py::test_index_that_goes_backwards_starts_from_zero",),
        ((LongPoll, "_read", never_back),),
    ),
    Mutant(
        "dead leader is reported",
        "Its value remains in the key after the end of its session.",
        "docker/leadership's Follower on Consul",
        (f"{_ELECTION}::test_value_of_ended_session_is_no_leader",),
        ((election, "leader_of", by_value_alone),),
    ),
    Mutant(
        "fence checks the session",
        "The session leads again in a later term, and a write of the old term passes.",
        "Consul's check-session in transactions",
        ("tests/integration/consul/test_entries.py::test_fence_is_valid_exactly_during_its_term",),
        ((KVEntries, "_fence", by_session),),
    ),
    Mutant(
        "existing lock of the session is adopted",
        "It is unknown when, and for which candidate, the session locked the key.",
        "Consul's ?acquire=, which is granted to the holder again",
        (f"{_GUARDS}::test_enter_does_not_adopt_an_existing_lock_of_the_session",),
        ((ConsulElection, "_unlocked_key", adopted),),
    ),
    Mutant(
        "no own-key watch on Consul",
        "A leader reads its own key only when it is free: a deletion is never reported.",
        "recipes that renew without reading, such as python-consul-lock",
        ("tests/integration/consul/test_watch.py::test_leading_claim_is_woken_by_its_loss",),
        ((ConsulClaim, "status_may_differ", always(value=False)),),
        slow=True,
    ),
    Mutant(
        "all waiting candidates lock at once",
        "Sixty requests to lock keep the processors busy, and the one that is in time waits among them.",
        "Consul's api.Lock",
        ("tests/integration/consul/test_lock_spread.py::test_delay_doubles_with_each_lost_request_up_to_its_limit",),
        ((KeyState, "lock_jitter", always(value=0.0)),),
    ),
    Mutant(
        "keys are created without a read",
        "Each candidate that waits for a held lock writes to the log of all servers.",
        "an optimisation that looks safe",
        ("tests/integration/consul/test_missing_keys.py::test_existing_key_is_read_although_others_were_missing",),
        ((Watcher, "expects_missing", always(value=True)),),
    ),
    Mutant(
        "bytes after an answer are kept",
        "They are read as the answer to the next request of the connection.",
        "clients that share a connection after an error",
        ("tests/integration/consul/test_http.py::test_connection_with_bytes_after_the_answer_is_not_used_again",),
        ((http, "_usual", one_more_use),),
    ),
    Mutant(
        "first piece of an answer is taken for all of it",
        "A value that comes in two packets loses its end.",
        "clients that read a socket once",
        ("tests/integration/consul/test_http.py::test_answer_in_two_pieces_is_read_as_whole",),
        ((http, "_usual", first_piece),),
    ),
]  # fmt: skip
