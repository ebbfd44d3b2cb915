"""Discovery of the primary: the hosts of the URL, the node that a cluster names, or Sentinel's answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from math import inf

from redis.exceptions import RedisError

from leadership_core.backend import (
    Address,
    Addresses,
    Attempt,
    ConnectFailure,
    Host,
    NotApplied,
    StoreRefused,
    StoreUnavailable,
    clock,
)

from .errors import connect_failed, network_error, refused
from .options import Options
from .sockets import Connection

__all__ = ["Primary", "SentinelPrimary", "primary_of"]

log: logging.Logger = logging.getLogger(__name__)

_CHECK_INTERVAL = 1.0  # seconds for which an answer of Sentinel is used without asking again
_WARN_INTERVAL = 60.0  # seconds between two warnings that no Sentinel answers
_THREAD = "leadership-redis-resolve"


class Primary:
    """The servers of the URL, one of which is the primary; thread-safe.

    In a cluster, one node has the keys of the store; any other node names it.

    Args:
        options: of the store.
    """

    def __init__(self, options: Options) -> None:
        self._seeds = Addresses(options.hosts, thread=_THREAD)
        self._target: Addresses | None = None

    def attempts(
        self,
        until: float,
        *,
        is_connected: Callable[[Address], bool],
        wanted: Callable[[], bool],
    ) -> Iterator[Attempt]:
        """Yield the addresses to try, best first; see `Addresses.attempts`.

        Raises:
            StoreUnavailable: it is not known which server is the primary.
        """
        target = self._target
        if target is not None:
            now = clock.now()
            yield from target.attempts(
                now + (until - now) / 2, is_connected=is_connected, wanted=wanted
            )
            self._target = None  # that node cannot be used: another one may name the next
        yield from self._seeds.attempts(until, is_connected=is_connected, wanted=wanted)

    def moved(self, host: Host) -> None:
        """Note that the cluster has named this node."""
        self._target = Addresses([host], thread=_THREAD)

    def failed(self, address: Address) -> None:
        """Note that an address cannot be used, or is that of a replica."""
        for addresses in (self._seeds, self._target):
            if addresses is not None:
                addresses.failed(address)

    def works(self, address: Address) -> None:
        """Note that the server at an address has executed a request."""
        for addresses in (self._seeds, self._target):
            if addresses is not None:
                addresses.works(address)

    def close(self) -> None:
        """Close what it holds."""

    def after_fork_in_child(self) -> None:
        """Become inert; takes no lock, and touches no socket."""


class SentinelPrimary(Primary):
    """The primary that Sentinel names; thread-safe.

    It is asked again before each request, though not within a second: an old primary that was
    frozen or cut off answers its clients for some seconds after another one was promoted.

    Args:
        options: of the store; their hosts are the Sentinels.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._options = options
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._host: Host | None = None
        self._asked = self._warned = -inf

    def attempts(
        self,
        until: float,
        *,
        is_connected: Callable[[Address], bool],
        wanted: Callable[[], bool],
    ) -> Iterator[Attempt]:
        now = clock.now()
        if now - self._asked >= _CHECK_INTERVAL or self._target is None:
            if not self._lock.acquire(timeout=max(0.0, until - now)):
                raise NotApplied("no time left to ask Sentinel for the primary")
            try:
                if clock.now() - self._asked >= _CHECK_INTERVAL or self._target is None:
                    self._ask(now + (until - now) / 2, wanted)
            finally:
                self._lock.release()
        target = self._target
        if target is not None:
            yield from target.attempts(until, is_connected=is_connected, wanted=wanted)

    def failed(self, address: Address) -> None:
        super().failed(address)
        self._asked = -inf

    def close(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.deadline.abort()
            connection.close()

    def after_fork_in_child(self) -> None:
        if self._connection is not None:
            self._connection.deadline.end_in_child()

    def _ask(self, until: float, wanted: Callable[[], bool]) -> None:
        try:
            host = self._answer(until, wanted)
        except StoreUnavailable as error:
            if self._host is None:
                raise
            # The primary may be in order all the same.
            if clock.now() - self._warned >= _WARN_INTERVAL:
                self._warned = clock.now()
                log.warning("no Sentinel answers, so the last primary is used: %s", error)
            self._asked = clock.now()
            return
        self._asked = clock.now()
        if host != self._host or self._target is None:
            if self._host is not None and host != self._host:
                log.info(
                    "Sentinel names another primary: %s; the previous one was %s", host, self._host
                )
            self._host = host
            self._target = Addresses([host], thread=_THREAD)

    def _answer(self, until: float, wanted: Callable[[], bool]) -> Host:
        options = self._options
        failed: list[ConnectFailure] = []
        said: list[StoreUnavailable] = []

        def is_connected(address: Address) -> bool:
            return self._connection is not None and self._connection.address == address

        for attempt in self._seeds.attempts(until, is_connected=is_connected, wanted=wanted):
            address = attempt.address
            if address is None:
                failed.append(
                    ConnectFailure(str(attempt.host), attempt.error or OSError(), attempt.host)
                )
                continue
            connection = self._connection
            if connection is None or connection.address != address or connection.is_stale():
                if connection is not None:
                    connection.close()
                connection = Connection(address, options.tls, options.sentinel_login)
                self._connection = connection
            connection.deadline.until = attempt.until
            connection.deadline.received = 0
            place = f"the Sentinel at {address}"
            try:
                (answer,) = connection.exchange(
                    [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.service)]
                )
            except (RedisError, OSError, ValueError) as error:
                connection.close()
                self._seeds.failed(address)
                failed.append(
                    ConnectFailure(
                        place,
                        network_error(error),
                        attempt.host,
                        has_certificate=options.tls is not None and options.tls.cert is not None,
                    )
                )
                continue
            if isinstance(answer, Exception):
                connection.close()
                said.append(refused(place, answer))
            elif answer is None:
                said.append(
                    StoreRefused(
                        f"{place} knows no primary named {options.service!r}: check service= in the URL"
                    )
                )
            else:
                self._seeds.works(address)
                name, port = answer
                return Host(name.decode(), int(port))
            self._seeds.failed(address)
        if said:
            raise said[0]
        raise connect_failed(failed, "no Sentinel could be asked")


def primary_of(options: Options) -> Primary:
    """The kind of discovery that the URL asks for."""
    return Primary(options) if options.service is None else SentinelPrimary(options)
