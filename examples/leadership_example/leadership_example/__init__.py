"""``redis[+tls]://[[user]:password@]host[:port][/prefix]``: a store of `leadership` in a Redis."""

import uuid
from collections.abc import Callable, Sequence

from leadership_core import ANY, Capability, Closable, Entry, Session, StoreURL, errors, hookimpl
from leadership_core.polling import PolledWatches
from leadership_core.store import Change, Expected

from .client import Client

PAUSE = 0.1  # seconds that a watch waits for the bell, which no session rings that expires
Told = Callable[[Change], None]


@hookimpl
def leadership_open_store(url: StoreURL) -> "RedisStore | None":
    return RedisStore(url) if url.scheme == "redis" else None


class RedisSession:
    """A key that ends by the clock of the server; see `leadership_core.Session`."""

    def __init__(self, client: Client, ttl: float) -> None:
        if not 0 < ttl < 1e9:
            raise errors.ConfigurationError(f"a ttl is a number of seconds above 0, not {ttl!r}")
        self.id, self.ttl, self._client = uuid.uuid4().hex, float(ttl), client
        self._key, self._milliseconds = f"leadership:session:{self.id}", int(ttl * 1000) + 1
        client.request("SET", self._key, "", "PX", self._milliseconds)

    def renew(self) -> float:
        if not self._client.request("PEXPIRE", self._key, self._milliseconds):
            raise errors.SessionLost(f"the session {self.id} is gone")
        return self.ttl

    def close(self) -> None:
        self._client.step("close", self.id)


class RedisStore:
    """One Redis; see `leadership_core.Store`. The elections on it are the core's."""

    capabilities = frozenset(Capability)

    def __init__(self, url: StoreURL) -> None:
        self.prefix, self._client = url.prefix, Client(url)
        self._watches = PolledWatches(self._look, pause=PAUSE, wait=self._client.hear)

    def expires_within(self, ttl: float) -> float:
        return ttl + PAUSE

    def get(self, key: str) -> Entry | None:
        return next(iter(self._client.look(key)[0]), None)

    def list(self, prefix: str) -> list[Entry]:
        return self._client.look(f"{prefix}/")[0]

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        holder = None if session is None else session.id
        words = key, _packed(expect), value, holder or "-", *(fence or ())
        return Entry(key, value, int(self._client.step("put", *words)), holder)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return bool(self._client.step("delete", key, _packed(expect)))

    def watch(self, key: str, on_change: Told, *, tree: bool = False) -> Closable:
        return self._watches.add(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> RedisSession:
        return RedisSession(self._client, ttl)

    def close(self) -> None:
        self._watches.close()
        self._client.close()

    def _look(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        found = self._client.look(*(f"{key}/" if tree else key for key, tree in watched))
        return [one if watched[n][1] else (*one, None)[0] for n, one in enumerate(found)]


def _packed(expect: Expected) -> str | bytes:
    if not isinstance(expect, Entry):
        return expect.value
    return b"%d %s %s" % (expect.revision, (expect.session or "-").encode(), expect.value)
