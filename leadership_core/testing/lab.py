"""What a case works with: connections, sessions and keys, all of which are gone afterwards."""

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

from ..budget import budget
from ..clock import now
from ..errors import ConfigurationError, LeadershipError
from ..handle import StoreHandle
from ..internals import internals
from ..registry import open_backend
from ..store import Capability, Session, Store
from ..url import StoreURL
from . import heard
from .fault_proxy import FaultProxy, Outage

__all__ = ["Lab"]

_CALM = 30.0  # the ttl of a session that is not to end by itself within a case
_LONGEST = 60.0


class Lab:
    """A store to experiment with; a context manager that leaves nothing behind in it.

    Every lab has a part of the key space of its own, below the prefix of the URL. At its end
    all connections and sessions are closed, and all that is left below is deleted.

    Args:
        url: of the store, or a function that opens one as its plugin does, for a store that has
            no URL. What is opened twice must hold the same content.
        ttl: seconds; of the sessions that a case lets expire.
        max_value: bytes; the largest value that the store takes, or that is worth a try.
        freeze: makes the store answer nothing, to nobody, until `resume` is called: for a store
            without hosts in its URL. With hosts, the lab puts a `FaultProxy` before them by itself.
        resume: lets it answer again; may be called when it is not frozen.
        plugin: opens the store of a URL; by default the installed plugin for its scheme.
        options: as `open_store` takes them.

    Attributes:
        store: the first connection.
        max_value: bytes.
    """

    store: StoreHandle

    def __init__(
        self,
        url: str | StoreURL | Callable[[], Store],
        *,
        ttl: float = 2.0,
        max_value: int = 65536,
        freeze: Callable[[], object] | None = None,
        resume: Callable[[], object] | None = None,
        plugin: Callable[[StoreURL], Store] = open_backend,
        **options: object,
    ) -> None:
        if (freeze is None) != (resume is None):
            raise ConfigurationError("a lab takes both `freeze` and `resume`, or neither")
        self.max_value = max_value
        self._freeze, self._resume = freeze, resume
        self._plugin = plugin
        self._proxy: FaultProxy | None = None
        self._url: StoreURL | None = None
        self._no_proxy_because: str | None = None  # "" once there is one
        if callable(url):
            self._new, self._shown = url, "lab://"
        else:
            self._url = parsed = StoreURL.parse(url).with_options(**options)
            self._new, self._shown = partial(plugin, parsed), str(parsed)
        self._asked = ttl
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
            # The failure of the case is what is to be told, not that of the store afterwards.
            with suppress(LeadershipError) if error is not None else ExitStack():
                self._clear()

    # -- connections -------------------------------------------------------------------------

    def open(self) -> StoreHandle:
        """Open one more connection, as another program has it; it is closed at the end."""
        return self.handle(self._new())

    def backend(self) -> Store:
        """Open one more store as the plugin returns it; it is closed at the end."""
        backend = self._new()
        self.at_end(backend.close)
        return backend

    def handle(self, backend: Store) -> StoreHandle:
        """Open a store of a plugin, such as a `FaultyStore`, as a user has it."""
        handle = StoreHandle(backend, self._shown)
        self._stack.callback(handle.close)
        return handle

    def session(self, store: StoreHandle | None = None, ttl: float = _CALM) -> Session:
        """Open a session, which is closed at the end.

        Args:
            store: whose; the first connection's if it is left out.
            ttl: seconds; by default so many that it does not expire during a case, or as many
                as the store allows.
        """
        store = store or self.store
        try:
            session = store.open_session(ttl)
        except ConfigurationError:
            if ttl != _CALM:
                raise
            session = store.open_session(self.ttl)
        self.at_end(session.close)
        return session

    def at_end(self, close: Callable[[], Any]) -> None:
        """Call this at the end, before the connections are closed; it may fail."""

        def quietly() -> None:
            with suppress(LeadershipError), budget(heard.PATIENCE):
                close()

        self._stack.callback(quietly)

    # -- outages -----------------------------------------------------------------------------

    @property
    def outages(self) -> frozenset[Outage]:
        """Which outages the lab can make; the first question puts a proxy before the hosts."""
        if not self.no_proxy_because:
            return frozenset(Outage)
        return frozenset() if self._freeze is None else frozenset({Outage.FREEZE})

    @property
    def no_proxy_because(self) -> str:
        """Why no `FaultProxy` can be put before the store; empty where it can."""
        if self._no_proxy_because is None:
            self._no_proxy_because = self._put_proxy_between()
        return self._no_proxy_because

    def exposed_backend(self) -> Store:
        """Open one more store as the plugin returns it, which is hit by the outages.

        With hosts in the URL no other connection is; with the hook `freeze` all are.
        """
        if self.no_proxy_because:
            return self.backend()
        assert self._url is not None
        assert self._proxy is not None
        backend = self._plugin(replace(self._url, hosts=self._proxy.hosts))
        self.at_end(backend.close)
        return backend

    def exposed(self) -> StoreHandle:
        """Open one more connection, which is hit by the outages; see `exposed_backend`."""
        return self.handle(self.exposed_backend())

    def begin_outage(self, outage: Outage) -> None:
        """Begin an outage, in place of the present one."""
        if outage not in self.outages:
            raise ConfigurationError(f"this lab cannot make {outage!r}: {self.no_proxy_because}")
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
        """Put a proxy before the hosts of the URL; returns why not, or nothing."""
        url = self._url
        if url is None:
            return "the store has no URL"
        asked = _AskedURL(**{one.name: getattr(url, one.name) for one in fields(url)})
        self._plugin(asked).close()
        if asked.default_ports:
            url = url.with_default_port(asked.default_ports[0])
        if not url.hosts or any(host.port is None for host in url.hosts):
            return "the URL names no host and port to put a proxy before"
        proxy = FaultProxy(url.hosts).__enter__()
        try:
            with StoreHandle(self._plugin(replace(url, hosts=proxy.hosts)), self._shown) as store:
                store.exists(self._scratch)
        except LeadershipError as error:
            proxy.close()
            return f"the store cannot be used through a proxy: {error}"
        self._stack.callback(proxy.close)
        self._proxy = proxy
        return ""

    # -- what the store is like --------------------------------------------------------------

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        """What the store declares."""
        return self.store.capabilities

    @property
    def ttl(self) -> float:
        """Seconds: the ttl asked for, or the next longer one that the store grants."""
        if not self._ttl:
            self._ttl = self._least_ttl()
        return self._ttl

    @property
    def expiry(self) -> float:
        """Seconds after its last renewal by which a session with `ttl` is surely gone."""
        return self.store.expires_within(self.ttl) + heard.PATIENCE / 2

    def _least_ttl(self) -> float:
        ttl = max(self._asked, 3 * internals(self.store).engine.least_margin)
        while True:
            try:
                session = self.store.open_session(ttl)
            except ConfigurationError:
                if ttl >= _LONGEST:
                    raise
                ttl *= 2
                continue
            session.close()
            if session.ttl > _LONGEST:
                raise ConfigurationError(
                    f"{ttl:g} s were asked for, and {session.ttl:g} s granted: nobody waits so long"
                )
            return max(ttl, session.ttl)

    # -- for a case --------------------------------------------------------------------------

    def key(self, name: str = "") -> str:
        """Return a key that nobody has used, with that name as its last part."""
        return "/".join(filter(None, [self._scratch, str(next(self._numbers)), name]))

    def eventually(self, condition: Callable[[], object], within: float | None = None) -> bool:
        """Wait until the condition is true; False if it is not in time.

        Args:
            condition: asked again and again.
            within: seconds; by default as many as take what happens at once.
        """
        until = now() + (heard.PATIENCE if within is None else within)
        while not condition():
            if now() > until:
                return False
            time.sleep(0.005)
        return True

    def _clear(self) -> None:
        with StoreHandle(self._new(), self._shown) as store:
            store.delete_tree(self._scratch)
            store.delete(self._scratch)


@dataclass(frozen=True, slots=True)
class _AskedURL(StoreURL):
    """A URL that notes which default port a plugin fills in."""

    default_ports: list[int] = field(default_factory=list, repr=False, compare=False)

    def with_default_port(self, port: int) -> StoreURL:
        self.default_ports.append(port)
        return StoreURL.with_default_port(self, port)
