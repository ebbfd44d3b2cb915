"""The example store with one typical mistake of plugins each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import redis

from examples.leadership_example.leadership_example import POLL_INTERVAL, RedisSession, RedisStore
from examples.leadership_example.leadership_example.client import SCRIPT, Client, TimedConnection
from leadership_core import Entry, StoreURL
from leadership_core.backend.entries import Change
from leadership_core.backend.watches import PollingWatcher
from leadership_core.errors import (
    NotApplied,
    SessionLost,
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
)

__all__ = ["Mistaken"]


class Mistaken(RedisStore):
    """Base class without a mistake."""

    client: ClassVar[type[Client]] = Client
    session: ClassVar[type[RedisSession]] = RedisSession
    connection: ClassVar[type[redis.Connection]] = TimedConnection
    script: ClassVar[str] = SCRIPT

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

    script = SCRIPT

    def run_script(self, *arguments: str | bytes) -> Any:
        return self.request("EVAL", self.script, 0, *arguments)


# -- time limits ---------------------------------------------------------------------------------


class _Unlimited(redis.Connection):
    """A connection without time limits."""


class NoTimeLimit(Mistaken):
    """The client library is used with its defaults."""

    connection = _Unlimited


class _UnlimitedConnect(TimedConnection):
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
    """Only reads of answers have a time limit, not the handshake of a new connection."""

    connection = _UnlimitedConnect


class CloseAsksTheServer(Mistaken):
    """Close sends a request, and waits for its answer without limit."""

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


class _AlwaysNotApplied(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise NotApplied(str(error)) from error


class EveryErrorIsNotApplied(Mistaken):
    """A missing answer is taken for no effect."""

    client = _AlwaysNotApplied


class _AlwaysSessionLost(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise SessionLost(str(error)) from error


class EveryErrorIsSessionLost(Mistaken):
    """A missing answer is taken for the end of the session."""

    client = _AlwaysSessionLost


class _AlwaysRefused(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise StoreRefused(str(error)) from error


class EveryErrorIsARefusal(Mistaken):
    """A short outage is taken for a wrong configuration."""

    client = _AlwaysRefused


class _Unmapped(Client):
    def request(self, *words: str | bytes | int) -> Any:
        try:
            return super().request(*words)
        except StoreUnavailable as error:
            raise (error.__cause__ or error) from None


class ErrorsAreThoseOfTheClient(Mistaken):
    """Errors of the client library are not mapped."""

    client = _Unmapped


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
        if "read" in words:
            known[words] = answer
        return answer


class ReadsFromACache(Mistaken):
    """Reads are answered from a cache during an outage."""

    client = _Caching


class _RenewsLater(RedisSession):
    def renew(self) -> float:
        try:
            return super().renew()
        except SessionLost:
            raise
        except StoreUnavailable:
            return self.ttl  # the next one will do it


class RenewsWithoutAnAnswer(Mistaken):
    """A renewal that was sent counts as answered."""

    session = _RenewsLater


# -- expiry --------------------------------------------------------------------------------------


class _ClearsUp(RedisSession):
    def renew(self) -> float:
        self._client.run_script("delete", "no such key", "any")
        return super().renew()


class ReadsEndNoSession(Mistaken):
    """Only writes and renewals delete expired entries."""

    script = SCRIPT.replace(
        "local entry = is_wanted and read(name)",
        "local entry = is_wanted and redis.call('HGET', ENTRIES, name)",
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
    """Reads leave out expired entries, and a late renewal brings them back."""

    script = SCRIPT.replace(
        "local entry = is_wanted and read(name)",
        "local entry = is_wanted and redis.call('HGET', ENTRIES, name)\n"
        "      local id = entry and string.match(entry, '^%d+ (%S+)')\n"
        "      if id and id ~= '-' and redis.call('PTTL', SESSION .. id) < 500 then\n"
        "        entry = false\n"
        "      end",
    )
    session = _LivesOn


# -- watches -------------------------------------------------------------------------------------


class WatchEndsWithItsConnection(Mistaken):
    """The watch thread ends silently with its first error."""

    def _read_watched(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        try:
            return super()._read_watched(watched)
        except StoreUnavailable as error:
            raise StoreClosed(str(error)) from error


class WatchHidesOutages(Mistaken):
    """The watch reports the last state during an outage."""

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        self._watches = PollingWatcher(self._read_watched, pause=POLL_INTERVAL)

    def _read_watched(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        last: dict[tuple[str, bool], Change] = self.__dict__.setdefault("_last", {})
        try:
            states = super()._read_watched(watched)
        except StoreUnavailable:
            nothing: tuple[list[Entry], None] = ([], None)
            return [last.get(one, nothing[0] if one[1] else nothing[1]) for one in watched]
        last.update(zip(watched, states, strict=True))
        return states
