"""The watches of a PostgreSQL store: one thread and one connection with LISTEN for all of them.

A notification says which key has changed, and the thread then reads that key. After each connection it
reads everything that is watched, so nothing is missed. It also reads everything from time to time, because what an
operator changes in the tables by hand is not notified; without LISTEN, it does so more often.

See https://www.postgresql.org/docs/current/sql-notify.html.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from leadership_core.backend import (
    Change,
    StoreClosed,
    StoreUnavailable,
    WatchDelivery,
    call_timeout,
    clock,
    join,
    remaining_timeout,
    start_daemon,
)

from .client import Client, KeyValue
from .connection import Connection, ConnectionLost
from .errors import ServerError, statement_error
from .kv import KVEntries
from .schema import quoted

__all__ = ["Watcher"]

log: logging.Logger = logging.getLogger(__name__)

_READ_SECONDS = 2.0  # for a read, and for a connection
_CHECK_INTERVAL = 3.0  # seconds without a notification after which the connection is checked
_FULL_INTERVAL = 20.0  # seconds between two reads of everything while notifications arrive
_FIRST_RETRY, _LAST_RETRY = 0.1, 1.0
_KEYS_PER_READ = 500
_SOON = 0.01  # seconds by which the end of a session may be looked for too late

_Scope = tuple[str, bool]


class Watcher:
    """All watches of one store; thread-safe.

    Args:
        client: of the store.
        entries: of the store.
    """

    def __init__(self, client: Client, entries: KVEntries) -> None:
        self._client = client
        self._entries = entries
        self._lock = threading.RLock()  # a signal handler may close a watch
        self._watched: dict[_Scope, list[WatchDelivery[Change]]] = {}
        self._dirty: set[_Scope] = set()
        self._new: set[WatchDelivery[Change]] = (
            set()
        )  # they want the state even if it is an old one
        self._thread: threading.Thread | None = None
        self._closed = False
        self._process = os.getpid()
        self._wake_reader, self._wake_writer = -1, -1
        # Only in the thread:
        self._reported: dict[_Scope, object] = {}
        self._due: dict[_Scope, float] = {}  # when a session may have ended, on `clock.now`
        self._connection: Connection | None = None
        self._polls = client.options.pgbouncer
        self._next_look = (
            0.0  # when everything is read, or the connection is checked, on `clock.now`
        )
        self._next_full = 0.0  # when everything is read although notifications arrive, too
        self._told = False

    def subscribe(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool
    ) -> WatchDelivery[Change]:
        """Start a watch. Sends no request: the thread delivers the present state.

        Args:
            key: the key, or the prefix if `tree` is true.
            on_change: called in the thread.
            tree: watch what is below the key.

        Raises:
            StoreClosed: the store is closed.
            NotApplied: no thread can be started now.
        """
        scope = key, tree

        def forget() -> None:
            with self._lock:
                those = self._watched.get(scope, [])
                if delivery in those:
                    those.remove(delivery)
                if not those:
                    self._watched.pop(scope, None)
                self._new.discard(delivery)
            self._wake()

        delivery = WatchDelivery(on_change, forget)
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            if self._thread is None:
                self._start()
            self._watched.setdefault(scope, []).append(delivery)
            self._new.add(delivery)
            self._dirty.add(scope)
        self._wake()
        return delivery

    def touch(self, key: str | None) -> None:
        """Read a key again that this process has changed; all keys with None.

        Only without LISTEN: otherwise the notification comes anyway.
        """
        if self._polls and self._watched:
            with self._lock:
                self._dirty |= self._touched("*:" if key is None else f"k:{key}")
            self._wake()

    def close(self) -> None:
        """End all watches, and wait within the timeout until the thread has ended."""
        with self._lock:
            self._closed = True
            deliveries = [one for those in self._watched.values() for one in those]
            thread, connection = self._thread, self._connection
        self._wake()
        if connection is not None:
            connection.abort()
        for one in deliveries:
            one.close()
        if thread is not None:
            join(thread, remaining_timeout())

    def after_fork_in_child(self) -> None:
        """Let nothing happen in the child; takes no lock."""
        self._closed = True
        self._thread = None
        if self._connection is not None:
            self._connection.after_fork_in_child()

    def _start(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._wake_reader, self._wake_writer = reader, writer
        try:
            self._thread = start_daemon(self._run, "leadership-postgres-watch")
        except BaseException:
            self._close_pipe()
            raise

    def _wake(self) -> None:
        with self._lock:
            if self._wake_writer >= 0:
                with suppress(BlockingIOError):  # it is full, so the thread is about to wake
                    os.write(self._wake_writer, b"\0")

    def _close_pipe(self) -> None:
        with self._lock:
            reader, writer = self._wake_reader, self._wake_writer
            self._wake_reader, self._wake_writer = -1, -1
        for one in (reader, writer):
            if one >= 0:
                os.close(one)

    # -- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        retry = _FIRST_RETRY
        try:
            while not self._closed:
                try:
                    self._follow()
                    return
                except StoreClosed:
                    return
                except StoreUnavailable as error:
                    failure = error
                except Exception as error:
                    log.exception("watching for changes failed")
                    failure = StoreUnavailable(f"watching for changes failed: {error!r}")
                    failure.__cause__ = error
                worked = bool(self._reported) and not all(
                    state is StoreUnavailable for state in self._reported.values()
                )
                self._drop_connection()
                self._report_outage(failure)
                retry = _FIRST_RETRY if worked else min(2 * retry, _LAST_RETRY)
                self._sleep(retry)
        finally:
            self._drop_connection()
            self._close_pipe()

    def _follow(self) -> None:
        """Report changes until the store is closed; raises StoreUnavailable at an outage."""
        if not self._client.options.pgbouncer:
            self._listen()
        elif not self._told:
            self._told = True
            log.info(
                "pgbouncer=true: without LISTEN, changes are found by reading every %g s",
                self._client.options.poll,
            )
        with self._lock:
            self._dirty |= set(self._watched)
        self._next_look = clock.now() + self._interval
        self._next_full = clock.now() + _FULL_INTERVAL
        while not self._closed:
            self._drain()
            with self._lock:
                dirty = {scope for scope in self._dirty if scope in self._watched}
                self._dirty = set()
            now = clock.now()
            dirty |= {scope for scope, due in self._due.items() if due <= now}
            if dirty:
                try:
                    self._read(dirty)
                except BaseException:
                    with self._lock:
                        self._dirty |= dirty
                    raise
            self._wait()

    def _listen(self) -> None:
        """Connect and LISTEN; what is read after that misses no change."""
        until = clock.now() + _READ_SECONDS
        with call_timeout(_READ_SECONDS):
            connection = self._client.transport.connect(until)
        with self._lock:
            self._connection = connection
        try:
            pid = connection.execute("SELECT pg_backend_pid()::text", (), until)[0][0]
            self._polls = pid != str(connection.pid).encode()
            if self._polls and not self._told:
                self._told = True
                log.warning(
                    "a pooler is between this process and PostgreSQL: in transaction mode there are no "
                    "notifications, so changes are also found by reading every %g s; if it is in that mode, add "
                    "pgbouncer=true to the URL",
                    self._client.options.poll,
                )
            connection.execute(f"LISTEN {quoted(self._client.channel)}", (), until)
        except ConnectionLost as error:
            raise StoreUnavailable(f"cannot listen for changes: {error}") from error
        except ServerError as error:
            raise statement_error(error, "listen for changes") from error

    def _drop_connection(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            self._client.transport.discard(connection)

    def _wait(self) -> None:
        """Wait for a notification, a call of `subscribe`, or the time at which something is to be read."""
        until = min([self._next_look, *(due + _SOON for due in self._due.values())])
        connection = self._connection
        if connection is None:
            self._sleep(until - clock.now())
            if clock.now() >= self._next_look:
                self._look_again()
            return
        try:
            # Some may have come together with the answer to a statement.
            payloads = connection.take_notifications()
            if not payloads:
                connection.wait(until, self._wake_reader)
                payloads = connection.take_notifications()
            if clock.now() >= self._next_look:
                if not payloads:
                    self._check(connection)
                    payloads = connection.take_notifications()
                self._look_again()
        except ConnectionLost as error:
            if self._closed:
                raise StoreClosed("the store is closed") from error
            raise StoreUnavailable(
                f"the connection for notifications has ended: {error}"
            ) from error
        with self._lock:
            for payload in payloads:
                self._dirty |= self._touched(payload)

    @property
    def _interval(self) -> float:
        return self._client.options.poll if self._polls else _CHECK_INTERVAL

    def _look_again(self) -> None:
        """Let everything be read if it is time; begins the next interval."""
        now = clock.now()
        self._next_look = now + self._interval
        if self._polls or now >= self._next_full:
            self._next_full = now + _FULL_INTERVAL
            with self._lock:
                self._dirty |= set(self._watched)

    def _check(self, connection: Connection) -> None:
        try:
            connection.execute("SELECT ''", (), clock.now() + _READ_SECONDS)
        except ServerError as error:
            raise statement_error(error, "check the connection for notifications") from error

    def _touched(self, payload: str) -> set[_Scope]:
        kind, _, key = payload.partition(":")
        if kind == "s":
            return set()  # the end of a session: its entries have notifications of their own
        if kind != "k":
            return set(self._watched)
        touched = {(key, False)} & self._watched.keys()
        parts = key.split("/")
        for count in range(len(parts)):
            scope = "/".join(parts[:count]), True
            if scope in self._watched:
                touched.add(scope)
        return touched

    def _read(self, scopes: Iterable[_Scope]) -> None:
        keys = sorted(key for key, tree in scopes if not tree)
        with call_timeout(_READ_SECONDS):
            for start in range(0, len(keys), _KEYS_PER_READ):
                some = keys[start : start + _KEYS_PER_READ]

                def read(some: list[str] = some) -> list[KeyValue]:
                    return self._client.read_many(some)

                answered_by = clock.now()
                found = {one.entry.key: one for one in self._entries.alive(read)}
                for key in some:
                    pair = found.get(key)
                    self._report((key, False), [] if pair is None else [pair], answered_by)
        for prefix, tree in scopes:
            if tree:
                with call_timeout(_READ_SECONDS):
                    asked = clock.now()

                    def read_tree(prefix: str = prefix) -> list[KeyValue]:
                        return self._client.read_below(prefix)

                    self._report((prefix, True), self._entries.alive(read_tree), asked)

    def _report(self, scope: _Scope, found: list[KeyValue], asked: float) -> None:
        entries = [one.entry for one in found]
        remaining = min((one.remaining for one in found), default=math.inf)
        if remaining < math.inf:
            self._due[scope] = asked + remaining
        else:
            self._due.pop(scope, None)
        state: Change = entries if scope[1] else entries[0] if entries else None
        changed = scope not in self._reported or self._reported[scope] != state
        self._reported[scope] = state
        with self._lock:
            those = list(self._watched.get(scope, ()))
            chosen = [one for one in those if changed or one in self._new]
            self._new.difference_update(those)
            if not those:
                self._reported.pop(scope, None)
                self._due.pop(scope, None)
        for one in chosen:
            one.publish(list(entries) if scope[1] else state)

    def _report_outage(self, failure: StoreUnavailable) -> None:
        self._due.clear()
        with self._lock:
            watched = {scope: list(those) for scope, those in self._watched.items()}
        for scope, those in watched.items():
            known = self._reported.get(scope)
            self._reported[scope] = StoreUnavailable
            for one in those:
                if known is not StoreUnavailable or one in self._new:
                    with self._lock:
                        self._new.discard(one)
                    one.publish(failure)
        for scope in self._reported.keys() - watched.keys():
            del self._reported[scope]

    def _sleep(self, seconds: float) -> None:
        import select  # gevent replaces it

        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while len(os.read(self._wake_reader, 4096)) == 4096:
                pass
