"""The known mistakes of this field: each turns a function of the product into a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leadership_consul.client import operation
from leadership_consul.election import LOCK_FLAG
from leadership_core import clock, default_election
from leadership_core.errors import LeadershipError, SessionLost, StoreClosed, StoreUnavailable
from leadership_core.machine import Phase, actions
from leadership_core.store import ANY, Entry, Leading
from leadership_etcd import messages
from leadership_etcd.methods import TXN


def from_the_reply(acknowledge: Any) -> Any:
    return lambda self, sent, ttl: acknowledge(self, self._clock(), ttl)


def no_margin(margin_for: Any) -> Any:
    return lambda ttl, wanted=None, least=0.0: 0.0


def nothing_written(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, error: Exception) -> Any:
        raise StoreUnavailable("so it was not written")

    return mutant


def surely_written(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, error: Exception) -> Any:
        claim.settled = True
        return Entry(self._key, claim.value, 10_000, claim.session.id)

    return mutant


def delete_anything(withdraw: Any) -> Any:
    def mutant(self: Any, claim: Any) -> None:
        self._store.delete(self._key, expect=ANY)
        claim.settled = True

    return mutant


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


def lost_is_unknown(call: Any) -> Any:
    """What the store says of the end of a session is not heard."""

    def mutant(limit: float, request: Any) -> Any:
        try:
            return call(limit, request)
        except SessionLost as error:
            if getattr(request, "__name__", "") == "renew":
                return request.__self__.ttl
            raise StoreUnavailable(str(error)) from error

    return mutant


def keep_alive(close: Any) -> Any:
    def mutant(self: Any) -> None:
        while self.session is not None and not self._engine.closed.wait(1.0):
            try:
                self.session.renew()
            except LeadershipError:
                continue

    return mutant


def same_token(raise_epoch: Any) -> Any:
    def mutant(self: Any, claim: Any, entry: Any) -> Any:
        token = raise_epoch(self, claim, entry)
        return None if token is None else (token + 1) // 2

    return mutant


def count_once(raise_epoch: Any) -> Any:
    """It counts without a look at the key in between."""

    def mutant(self: Any, claim: Any, entry: Any) -> Any:
        last = self._store.get(self._epoch_key)
        token = default_election._Epoch.decode(last).token + 1
        value = default_election._Epoch(token, entry.revision, str(entry.session)).encode()
        self._store.put(self._epoch_key, value, expect=ANY)
        return token

    return mutant


def suspended_again(failed: Any) -> Any:
    def mutant(self: Any, error: Any) -> None:
        self._suspended = False
        failed(self, error)

    return mutant


def nothing(_: Any) -> Any:
    return lambda *_, **__: None


def granted(enter: Any) -> Any:
    """Whoever has entered takes it that it leads: no look at who is first."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        claim = enter(self, session, value)
        if claim.token is None:
            claim.token, claim.granted = 100_000, True
        return claim

    return mutant


def drained_at_once(end_term: Any) -> Any:
    def mutant(self: Any, event: Any) -> bool:
        end_term(self, event)
        return False

    return mutant


def always(*, value: object) -> Callable[[Any], Any]:
    return lambda _: lambda *_, **__: value


def ignores(*kinds: type) -> Callable[[Any], Any]:
    def mutate(step: Any) -> Any:
        return lambda self, now, what: [] if isinstance(what, kinds) else step(self, now, what)

    return mutate


def forgets_loose(failed: Any) -> Any:
    def mutant(self: Any, ticket: int, error: Any) -> None:
        before = len(self._out)
        failed(self, ticket, error)
        self._out[before:] = [
            one for one in self._out[before:] if not isinstance(one, actions.Discard)
        ]

    return mutant


def phantom(standing: Any) -> Any:
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


def delete_own(remove: Any) -> Any:
    def mutant(self: Any, claim: Any, revision: int) -> None:
        request = messages.txn(then=[messages.delete(claim.own)])
        self._client.call(TXN, request, repeatable=True)

    return mutant


def sync_alone(renew: Any) -> Any:
    """A session counts as renewed although ZooKeeper's leader may not have heard of it."""

    def mutant(self: Any) -> float:
        link, sent = self.link, clock.now()
        link.ask("renew the session", lambda client: client.sync_async("/"))
        link.until = max(link.until, sent + self._ttl)
        return float(self._ttl)

    return mutant


def ping(renew: Any) -> Any:
    """A follower answers for its ensemble."""

    def mutant(self: Any) -> float:
        link, sent = self.link, clock.now()
        link.ask("renew the session", lambda client: client.exists_async("/"))
        link.until = max(link.until, sent + self._ttl)
        return float(self._ttl)

    return mutant


def closed(unavailable: Any) -> Any:
    """Whoever waits for a connection just then ends for good."""
    return StoreClosed
