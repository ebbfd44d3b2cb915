"""The example's store with one mistake each, as authors of plugins make them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import redis

from examples.leadership_example.leadership_example import PAUSE, RedisSession, RedisStore
from examples.leadership_example.leadership_example.client import STEP, Client, TimedConnection
from leadership_core import Entry, StoreURL
from leadership_core.errors import (
    NotDone,
    SessionLost,
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.polling import PolledWatches
from leadership_core.store import Change

__all__ = ["Mistaken"]


class Mistaken(RedisStore):
    """Base: without a mistake."""

    client: ClassVar[type[Client]] = Client
    session: ClassVar[type[RedisSession]] = RedisSession
    connection: ClassVar[type[redis.Connection]] = TimedConnection
    script: ClassVar[str] = STEP

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        self._client.__class__ = type(
            self.client.__name__, (_Scripted, self.client), {"script": self.script}
        )
        self._client._redis.connection_pool.connection_class = self.connection

    def open_session(self, ttl: float) -> RedisSession:
        return self.session(self._client, ttl)


class _Scripted(Client):
    """Sends the script of its store."""

    script = STEP

    def step(self, *words: str | bytes | int) -> Any:
        return self.request("EVAL", self.script, 0, *words)


# -- time limits ---------------------------------------------------------------------------------


class _Patient(redis.Connection):
    """Waits as long as it takes."""


class NoTimeLimit(Mistaken):
    """The client library is used as it comes."""

    connection = _Patient


class _PatientConnect(TimedConnection):
    _connects = False

    def connect(self) -> None:
        self._connects = True
        try:
            super().connect()
        finally:
            self._connects = False

    def read_response(self, *args: Any, **options: Any) -> Any:
        if self._connects:
            return redis.Connection.read_response(self, *args, **options | {"timeout": None})
        return super().read_response(*args, **options)


class NoTimeLimitToConnect(Mistaken):
    """Only reads of answers have a limit, and not the handshake of a new connection."""

    connection = _PatientConnect


class CloseAsksTheServer(Mistaken):
    """It says goodbye, and waits for the answer until it comes."""

    def close(self) -> None:
        while True:
            try:
                self._client.request("PING")
                break
            except StoreUnavailable:
                time.sleep(0.1)
            except StoreClosed:
                break
        super().close()


# -- what an error means -------------------------------------------------------------------------


class _AlwaysNotDone(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise NotDone(str(error)) from error


class EveryErrorIsNotDone(Mistaken):
    """No answer is taken for no effect."""

    client = _AlwaysNotDone


class _AlwaysSessionLost(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise SessionLost(str(error)) from error


class EveryErrorIsSessionLost(Mistaken):
    """No answer is taken for the end of the session."""

    client = _AlwaysSessionLost


class _AlwaysRefused(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise StoreRefused(str(error)) from error


class EveryErrorIsARefusal(Mistaken):
    """A server that is away for a moment is taken for a mistake in the configuration."""

    client = _AlwaysRefused


class _Untranslated(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise (error.__cause__ or error) from None


class ErrorsAreThoseOfTheClient(Mistaken):
    """The client library's exceptions go through to the core."""

    client = _Untranslated


class _Retrying(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable:
            return super().request(*words)


class WritesTwice(Mistaken):
    """The client library's retries are on: a write meets its own first copy."""

    client = _Retrying


# -- answers without the server ------------------------------------------------------------------


class _Caching(Client):
    def request(self, *words: str | bytes | int) -> Any:
        known: dict[Any, Any] = self.__dict__.setdefault("_known", {})
        try:
            answer = super().request(*words)
        except StoreUnavailable:
            if words in known:
                return known[words]
            raise
        if "look" in words:
            known[words] = answer
        return answer


class ReadsFromACache(Mistaken):
    """What was read last is read while the server is away."""

    client = _Caching


class _RenewsLater(RedisSession):
    def renew(self) -> float:
        try:
            return super().renew()
        except SessionLost:
            raise
        except StoreUnavailable:
            return self.ttl  # it will be done with the next one


class RenewsWithoutAnAnswer(Mistaken):
    """A renewal that was sent counts as one that was made."""

    session = _RenewsLater


# -- expiry --------------------------------------------------------------------------------------


class _ClearsUp(RedisSession):
    def renew(self) -> float:
        self._client.step("delete", "no such key", "any")
        return super().renew()


class ReadsEndNoSession(Mistaken):
    """Expired entries are cleared up by writes and renewals alone."""

    script = STEP.replace(
        "local entry = is_asked_for and read(name)",
        "local entry = is_asked_for and redis.call('HGET', ENTRIES, name)",
    )
    session = _ClearsUp


class _LivesOn(RedisSession):
    def __init__(self, client: Client, ttl: float) -> None:
        super().__init__(client, ttl + 0.5)
        self.ttl = ttl

    def renew(self) -> float:
        super().renew()
        return self.ttl


class ExpiryIsAFilter(Mistaken):
    """Reads leave out what has expired, and a renewal that comes late brings it back."""

    script = STEP.replace(
        "local entry = is_asked_for and read(name)",
        "local entry = is_asked_for and redis.call('HGET', ENTRIES, name)\n"
        "      local id = entry and string.match(entry, '^%d+ (%S+)')\n"
        "      if id and id ~= '-' and redis.call('PTTL', SESSION .. id) < 500 then\n"
        "        entry = false\n"
        "      end",
    )
    session = _LivesOn


# -- watches -------------------------------------------------------------------------------------


class WatchEndsWithItsConnection(Mistaken):
    """The thread that watches ends with the first error, without a word."""

    def _look(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        try:
            return super()._look(watched)
        except StoreUnavailable as error:
            raise StoreClosed(str(error)) from error


class WatchHidesOutages(Mistaken):
    """It goes on with the last state, as if it knew."""

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        self._watches = PolledWatches(self._look, pause=PAUSE)

    def _look(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        last: dict[tuple[str, bool], Change] = self.__dict__.setdefault("_last", {})
        try:
            states = super()._look(watched)
        except StoreUnavailable:
            nothing: tuple[list[Entry], None] = ([], None)
            return [last.get(one, nothing[0] if one[1] else nothing[1]) for one in watched]
        last.update(zip(watched, states, strict=True))
        return states
