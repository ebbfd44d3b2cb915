"""Known mistakes of this field, put into the product one at a time, to see that they are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from leadership_consul.client import operation
from leadership_consul.election import LOCK_FLAG, ConsulElection
from leadership_core import default_election, lease, timing
from leadership_core.candidate import Candidate
from leadership_core.default_election import DefaultElection
from leadership_core.engine import candidate_runner, leased_session
from leadership_core.engine.leased_session import LeasedSession
from leadership_core.engine.sessions import Sessions
from leadership_core.engine.turn_watch import TurnWatch
from leadership_core.errors import LeadershipError, SessionLost, StoreUnavailable
from leadership_core.lease import Lease
from leadership_core.machine import Campaign, Phase, actions, happenings as on
from leadership_core.store import ANY, Entry, Leading
from leadership_core.tenure import Tenure
from leadership_etcd import messages
from leadership_etcd.election import EtcdElection
from leadership_etcd.methods import TXN
from leadership_etcd.turn import Turn

__all__ = ["MUTANTS", "Mutant"]

_Patch = tuple[Any, str, Callable[[Any], Any]]  # where, what, and from the old one the new one


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        name: what is wrong.
        backend: where it shows.
        patches: the mistake.
    """

    name: str
    backend: str
    patches: tuple[_Patch, ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While it is in the product."""
        with ExitStack() as stack:
            for place, name, mutate in self.patches:
                new = mutate(getattr(place, name))
                stack.enter_context(mock.patch.object(place, name, new))
            yield

    def __str__(self) -> str:
        return f"{self.name} ({self.backend})"


def _from_the_reply(acknowledge: Any) -> Any:
    return lambda self, sent, ttl: acknowledge(self, self._clock(), ttl)


def _no_margin(margin_for: Any) -> Any:
    return lambda ttl, wanted=None, least=0.0: 0.0


def _nothing_written(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, error: Exception) -> Any:
        raise StoreUnavailable("so it was not written")

    return mutant


def _surely_written(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, error: Exception) -> Any:
        claim.settled = True
        return Entry(self._key, claim.value, 10_000, claim.session.id)

    return mutant


def _delete_anything(withdraw: Any) -> Any:
    def mutant(self: Any, claim: Any) -> None:
        self._store.delete(self._key, expect=ANY)
        claim.settled = True

    return mutant


def _release_by_session(unlock: Any) -> Any:
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


def _ours_is_ours(standing: Any) -> Any:
    """Whose session it is counts, and not whose write."""

    def mutant(self: Any, claim: Any) -> Any:
        record = self._client.read(self._key)
        if record is not None and record.session == claim.session.id and claim.token:
            return Leading(claim.token)
        return standing(self, claim)

    return mutant


def _lock_index(lock: Any) -> Any:
    def mutant(self: Any, claim: Any, vacant: Any) -> bool:
        done = bool(lock(self, claim, vacant))
        if claim.granted:
            claim.token = vacant.locked + 1
        return done

    return mutant


def _surely_withdrawn(failed: Any) -> Any:
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


def _adopt_own(enter: Any) -> Any:
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


def _lost_is_unknown(call: Any) -> Any:
    """What the store says of the end of a session is not heard."""

    def mutant(limit: float, request: Any) -> Any:
        try:
            return call(limit, request)
        except SessionLost as error:
            if getattr(request, "__name__", "") == "renew":
                return request.__self__.ttl
            raise StoreUnavailable(str(error)) from error

    return mutant


def _keep_alive(close: Any) -> Any:
    def mutant(self: Any) -> None:
        while self.session is not None and not self._engine.closed.wait(1.0):
            try:
                self.session.renew()
            except LeadershipError:
                continue

    return mutant


def _same_token(raise_epoch: Any) -> Any:
    def mutant(self: Any, claim: Any, entry: Any) -> Any:
        token = raise_epoch(self, claim, entry)
        return None if token is None else (token + 1) // 2

    return mutant


def _count_once(raise_epoch: Any) -> Any:
    """It counts without a look at the key in between."""

    def mutant(self: Any, claim: Any, entry: Any) -> Any:
        last = self._store.get(self._epoch_key)
        token = default_election._Epoch.decode(last).token + 1
        value = default_election._Epoch(token, entry.revision, str(entry.session)).encode()
        self._store.put(self._epoch_key, value, expect=ANY)
        return token

    return mutant


def _suspended_again(failed: Any) -> Any:
    def mutant(self: Any, error: Any) -> None:
        self._suspended = False
        failed(self, error)

    return mutant


def _nothing(_: Any) -> Any:
    return lambda *_, **__: None


def _granted(enter: Any) -> Any:
    """Whoever has entered takes it that it leads: no look at who is first."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        claim = enter(self, session, value)
        if claim.token is None:
            claim.token, claim.granted = 100_000, True
        return claim

    return mutant


def _drained_at_once(end_term: Any) -> Any:
    def mutant(self: Any, event: Any) -> bool:
        end_term(self, event)
        return False

    return mutant


def _always(*, value: object) -> Callable[[Any], Any]:
    return lambda _: lambda *_, **__: value


def _ignores(*kinds: type) -> Callable[[Any], Any]:
    def mutate(step: Any) -> Any:
        return lambda self, now, what: [] if isinstance(what, kinds) else step(self, now, what)

    return mutate


def _forgets_loose(failed: Any) -> Any:
    def mutant(self: Any, ticket: int, error: Any) -> None:
        before = len(self._out)
        failed(self, ticket, error)
        self._out[before:] = [
            one for one in self._out[before:] if not isinstance(one, actions.Discard)
        ]

    return mutant


def _phantom(standing: Any) -> Any:
    """Nobody is before it, so it leads: whether its own key is still there is not looked at."""

    def mutant(self: Any, claim: Any) -> Any:
        request = messages.txn(then=[self._queue.page_ahead(claim.token)])
        answer = self._client.call(TXN, request, repeatable=True)
        page = answer.responses[0].response_range
        ahead = self._queue.ahead(page, claim.token, answer.header.revision)
        if ahead is None:
            return Leading(claim.token)
        return standing(self, claim)

    return mutant


def _delete_own(remove: Any) -> Any:
    def mutant(self: Any, claim: Any, revision: int) -> None:
        request = messages.txn(then=[messages.delete(claim.own)])
        self._client.call(TXN, request, repeatable=True)

    return mutant


MUTANTS = [
    Mutant("deadline from the reply's time", "default", ((Lease, "acknowledge", _from_the_reply),)),
    Mutant("no margin", "default", ((lease, "margin_for", _no_margin),)),
    Mutant("no answer to entering counts as failure", "default",
           ((DefaultElection, "_read_back", _nothing_written),)),
    Mutant("no answer to entering counts as success", "default",
           ((DefaultElection, "_read_back", _surely_written),)),
    Mutant("a withdrawal deletes whatever is there", "default",
           ((DefaultElection, "withdraw", _delete_anything),)),
    Mutant("a withdrawal does nothing", "default", ((DefaultElection, "withdraw", _nothing),)),
    Mutant("a release that any term of the session satisfies", "consul",
           ((ConsulElection, "_unlock", _release_by_session),)),
    Mutant("a claim that somebody wrote over", "consul",
           ((ConsulElection, "standing", _ours_is_ours),)),
    Mutant("the token is the key's own count", "consul",
           ((ConsulElection, "_lock", _lock_index),)),
    Mutant("a late claim is adopted", "default",
           ((Campaign, "_failed", _surely_withdrawn), (DefaultElection, "enter", _adopt_own))),
    Mutant("the end of a session is not heard", "default",
           ((leased_session, "call", _lost_is_unknown),
            (candidate_runner, "call", _lost_is_unknown))),
    Mutant("a session is renewed past its deadline", "default",
           ((LeasedSession, "_close", _keep_alive),)),
    Mutant("whoever has entered leads", "default", ((DefaultElection, "enter", _granted),)),
    Mutant("a token is used twice", "epochs", ((DefaultElection, "_raise_epoch", _same_token),)),
    Mutant("a term is counted without a second look", "epochs",
           ((DefaultElection, "_raise_epoch", _count_once),)),
    Mutant("suspended is told again and again", "default",
           ((Campaign, "_renewal_failed", _suspended_again),)),
    Mutant("nobody is told of a change", "default", ((TurnWatch, "wake", _nothing),)),
    Mutant("tries without a wait", "default", ((timing.Backoff, "next", _always(value=0.0)),)),
    Mutant("the release comes before the work has ended", "default",
           ((Tenure, "end_term", _drained_at_once),)),
    Mutant("stop says yes at once", "default", ((Candidate, "await_stop", _always(value=True)),)),
    Mutant("loose claims are forgotten", "default",
           ((Campaign, "_failed", _forgets_loose), (Sessions, "discard", _nothing))),
    Mutant("a resignation is lost", "default", ((Campaign, "step", _ignores(on.Resign)),)),
    Mutant("a phantom leads", "etcd", ((EtcdElection, "standing", _phantom),)),
    Mutant("a withdrawal of any claim of the lease", "etcd",
           ((EtcdElection, "_remove", _delete_own),)),
    Mutant("nobody is told that the one before is gone", "etcd", ((Turn, "follow", _nothing),)),
]  # fmt: skip
