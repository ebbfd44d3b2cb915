"""Sandbox of a test: connections, sessions and keys on a store, all of which it removes."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Set as AbstractSet
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from ..backend.capabilities import expires_by_observation
from ..backend.clock import now
from ..backend.deadline import call_timeout
from ..backend.protocols import Capability, Session, StoreBackend
from ..backend.url import StoreURL
from ..engine.store_base import internals
from ..errors import ConfigurationError, LeadershipError
from ..registry import open_backend
from ..store import Store
from . import recorders
from .fault_proxy import FaultProxy, Outage

__all__ = ["Sandbox"]

_LONG_TTL = 30.0  # seconds; of a session that must not expire within a case
_MAX_TTL = 60.0  # seconds


class Sandbox:
    """A store for a test; a context manager that leaves nothing behind in it.

    Every sandbox has its own part of the key space, below the prefix of the URL. At its end all
    connections and sessions are closed, and all remaining keys below it are deleted.

    Example:
        >>> with Sandbox("mine://host", ttl=2.0) as sandbox:
        ...     key = sandbox.key("config")
        ...     entry = sandbox.store.put(key, b"1")
        ...     assert sandbox.open().get(key) == entry

    Args:
        url: URL of the store, or a function that opens it as its plugin does, for a store without a
            URL. All stores that are opened must have the same content.
        ttl: seconds; of the sessions that a case lets expire.
        max_value: bytes; size of the largest value that the cases write.
        freeze: makes the store answer no call until `resume` is called: for a store without hosts in
            its URL. With hosts, the sandbox puts a `FaultProxy` before them by itself.
        resume: lets it answer again; may be called when it is not frozen.
        plugin: opens the store of a URL; by default the installed plugin for its scheme.
        options: as `open_store` takes them.

    Attributes:
        store: the first connection.
        max_value: bytes.
    """

    store: Store

    def __init__(
        self,
        url: str | StoreURL | Callable[[], StoreBackend],
        *,
        ttl: float = 2.0,
        max_value: int = 65536,
        freeze: Callable[[], object] | None = None,
        resume: Callable[[], object] | None = None,
        plugin: Callable[[StoreURL], StoreBackend] = open_backend,
        **options: object,
    ) -> None:
        if (freeze is None) != (resume is None):
            raise ConfigurationError("a sandbox takes both `freeze` and `resume`, or neither")
        self.max_value = max_value
        self._freeze, self._resume = freeze, resume
        self._plugin = plugin
        self._proxy: FaultProxy | None = None
        self._url: StoreURL | None = None
        self._no_proxy_because: str | None = None  # "" once there is one
        if callable(url):
            self._new, self._shown = url, "sandbox://"
        else:
            self._url = parsed = StoreURL.parse(url).with_options(**options)
            self._new, self._shown = partial(plugin, parsed), str(parsed)
        self._requested_ttl = ttl
        self._ttl = 0.0
        self._scratch = f"leadership-check-{uuid.uuid4().hex[:12]}"
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.store = self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.end_outage()
            self._stack.close()
        finally:
            # The failure of the case is to be reported, not that of the store afterwards.
            with (
                suppress(LeadershipError) if error is not None else ExitStack(),
                Store(self._new(), self._shown) as store,
            ):
                store.delete_tree(self._scratch)
                store.delete(self._scratch)

    # -- connections -------------------------------------------------------------------------

    def open(self) -> Store:
        """Open one more connection, as another program would; it is closed at the end."""
        return self.handle(self._new())

    def backend(self) -> StoreBackend:
        """Open one more store as the plugin returns it; it is closed at the end."""
        backend = self._new()
        self.at_end(backend.close)
        return backend

    def handle(self, backend: StoreBackend) -> Store:
        """Open a plugin's store, such as a `FaultyStore`, as a user does; it is closed at the end."""
        handle = Store(backend, self._shown)
        self._stack.callback(handle.close)
        return handle

    def session(self, store: Store | None = None, ttl: float = _LONG_TTL) -> Session:
        """Open a session, which is closed at the end.

        Args:
            store: the connection; by default the first one.
            ttl: seconds; by default so long that it does not expire during a case, or as long as
                the store allows.
        """
        store = store or self.store
        try:
            session = store.open_session(ttl)
        except ConfigurationError:
            if ttl != _LONG_TTL:
                raise
            session = store.open_session(self.ttl)
        self.at_end(session.close)
        return session

    def at_end(self, close: Callable[[], Any]) -> None:
        """Call `close` at the end, before the connections are closed; it may fail."""

        def quietly() -> None:
            with suppress(LeadershipError), call_timeout(recorders.DEFAULT_WAIT):
                close()

        self._stack.callback(quietly)

    # -- outages -----------------------------------------------------------------------------

    @property
    def outages(self) -> frozenset[Outage]:
        """The outages that the sandbox can make; the first read puts a proxy before the hosts."""
        if not self.no_proxy_because:
            return frozenset(Outage)
        return frozenset() if self._freeze is None else frozenset({Outage.FREEZE})

    @property
    def no_proxy_because(self) -> str:
        """Why no `FaultProxy` can be put before the store; empty if it can."""
        if self._no_proxy_because is None:
            self._no_proxy_because = self._put_proxy_between()
        return self._no_proxy_because

    def exposed_backend(self) -> StoreBackend:
        """Open one more store as the plugin returns it, which the outages affect.

        With hosts in the URL they affect no other connection; with the hook `freeze` they affect all.
        """
        if self.no_proxy_because:
            return self.backend()
        assert self._url is not None
        assert self._proxy is not None
        backend = self._plugin(replace(self._url, hosts=self._proxy.hosts))
        self.at_end(backend.close)
        return backend

    def exposed(self) -> Store:
        """Open one more connection, which the outages affect; see `exposed_backend`."""
        return self.handle(self.exposed_backend())

    def begin_outage(self, outage: Outage) -> None:
        """Begin an outage, which replaces the present one; raises ConfigurationError if it cannot."""
        if outage not in self.outages:
            raise ConfigurationError(
                f"this sandbox cannot make {outage!r}: {self.no_proxy_because}"
            )
        if self._proxy is not None:
            self._proxy.begin(outage)
        else:
            assert self._freeze is not None
            self._freeze()

    def end_outage(self) -> None:
        """End the outage, if there is one."""
        if self._proxy is not None:
            self._proxy.end()
        elif self._resume is not None:
            self._resume()

    def _put_proxy_between(self) -> str:
        """Put a proxy before the hosts of the URL; returns why it cannot, or nothing."""
        url = self._url
        if url is None:
            return "the store has no URL"
        probe = _ProbeURL(**{one.name: getattr(url, one.name) for one in fields(url)})
        self._plugin(probe).close()
        if probe.default_ports:
            url = url.with_default_port(probe.default_ports[0])
        if not url.hosts or any(host.port is None for host in url.hosts):
            return "the URL names no host and port to put a proxy before"
        proxy = FaultProxy(url.hosts).__enter__()
        try:
            with Store(self._plugin(replace(url, hosts=proxy.hosts)), self._shown) as store:
                store.exists(self._scratch)
        except LeadershipError as error:
            proxy.close()
            return f"the store cannot be used through a proxy: {error}"
        self._stack.callback(proxy.close)
        self._proxy = proxy
        return ""

    # -- properties of the store --------------------------------------------------------------

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        """The capabilities that the store declares."""
        return self.store.capabilities

    @property
    def ttl(self) -> float:
        """Seconds: the requested ttl, or the next longer one that the store grants."""
        if not self._ttl:
            self._ttl = self._least_ttl()
        return self._ttl

    @property
    def expiry(self) -> float:
        """Seconds after its last renewal until a session with `ttl` is surely gone."""
        return self.store.expires_within(self.ttl) + recorders.DEFAULT_WAIT / 2

    @property
    def expires_by_observation(self) -> bool:
        """Whether a silent session is over only for those that have observed it."""
        return expires_by_observation(internals(self.store).engine.backend)

    def _least_ttl(self) -> float:
        ttl = max(self._requested_ttl, 3 * internals(self.store).engine.least_margin)
        while True:
            try:
                session = self.store.open_session(ttl)
            except ConfigurationError:
                if ttl >= _MAX_TTL:
                    raise
                ttl *= 2
                continue
            session.close()
            if session.ttl > _MAX_TTL:
                raise ConfigurationError(
                    f"the store grants {session.ttl:g} s for a ttl of {ttl:g} s, above the limit of"
                    f" {_MAX_TTL:g} s"
                )
            return max(ttl, session.ttl)

    # -- for a case --------------------------------------------------------------------------

    def key(self, name: str = "") -> str:
        """Return an unused key, with that name as its last part."""
        return "/".join(filter(None, [self._scratch, str(next(self._numbers)), name]))

    def eventually(self, condition: Callable[[], object], within: float | None = None) -> bool:
        """Poll until the condition is true; returns False if it is not in time.

        Args:
            condition: the condition.
            within: seconds; by default 5.
        """
        until = now() + (recorders.DEFAULT_WAIT if within is None else within)
        while not condition():
            if now() > until:
                return False
            time.sleep(0.005)
        return True


@dataclass(frozen=True, slots=True)
class _ProbeURL(StoreURL):
    """A URL that records the default port that a plugin fills in."""

    default_ports: list[int] = field(default_factory=list, repr=False, compare=False)

    def with_default_port(self, port: int) -> StoreURL:
        self.default_ports.append(port)
        return StoreURL.with_default_port(self, port)
