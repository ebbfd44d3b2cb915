"""The watches of a store: one list and one stream of events for all of them.

While one Lease is watched, the stream is of that Lease only, so that a Role may name it. While two or
more are watched, it is of all Leases in the namespace: a stream for each would need a connection and a thread
for each. Another thread detects holders that do not renew.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from leadership_core.backend import (
    LeadershipError,
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
    WatchDelivery,
    call_timeout,
    clock,
    join,
    remaining_timeout,
    start_daemon,
)

from .client import Client
from .connection import Connection
from .errors import Gone
from .lease import Lease
from .subscriptions import State, Subscription

__all__ = ["State", "Watcher"]

log: logging.Logger = logging.getLogger(__name__)

_SECONDS = 30  # that a stream lasts; a dead connection is noticed after that and five seconds more
_READ_TIMEOUT = 5.0  # seconds, for a list
_CONFIRM_TIMEOUT = 2.0  # seconds, to read a Lease whose holder is silent
_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0  # seconds
_STABLE = 5.0  # seconds after which a stream that breaks is no reason to wait
_POLL_PAUSE = 1.0  # seconds, for up to ten Leases
_POLL_SECONDS = 30.0  # after which listing them is tried again
_IDLE = 3600.0  # seconds
_NONE = ""  # the scope in which there is no event for any name


class Watcher:
    """All watches of one store; thread-safe. The first one starts its threads.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._observations = client.observations
        self._changed = threading.Condition(threading.RLock())
        self._subscriptions: list[Subscription] = []
        self._known: dict[str, Lease] | None = None  # None: not listed yet, or no more
        self._failure: StoreUnavailable | None = None
        self._scope: str | None = None  # the only name in the stream; None for all
        self._connection: Connection | None = None
        self._number = 0
        self._restarts = 0
        self._refused: StoreRefused | None = None  # while the Leases are read one by one
        self._after_outage = False
        self._closed = False
        self._threads: list[threading.Thread] = []

    def subscribe(self, name: str, callback: Callable[[State], None]) -> WatchDelivery[State]:
        """Call `callback` with the present state of a Lease, soon, and with every change.

        Makes no request. A holder that is silent is reported, too, once it was read again.

        Raises:
            StoreClosed: the store is closed.
            NotApplied: no thread can be started for it now.
        """
        subscription: Subscription
        delivery = WatchDelivery(callback, lambda: self._drop(subscription))
        subscription = Subscription(name, delivery)
        self._add(subscription)
        return delivery

    def subscribe_all(
        self, callback: Callable[[Collection[Lease] | StoreUnavailable], None]
    ) -> WatchDelivery[Collection[Lease] | StoreUnavailable]:
        """Call `callback` with all Leases of the namespace, soon, and after every change."""
        subscription: Subscription
        delivery: WatchDelivery[Collection[Lease] | StoreUnavailable] = WatchDelivery(
            callback, lambda: self._drop(subscription)
        )
        subscription = Subscription(None, delivery)  # type: ignore[arg-type]  # it delivers errors, too
        self._add(subscription)
        return delivery

    def close(self) -> None:
        """End all threads; blocks for `remaining_timeout` at most; may be called again."""
        with self._changed:
            self._closed = True
            subscriptions = list(self._subscriptions)
            self._restart()
            self._changed.notify_all()
        for subscription in subscriptions:
            subscription.delivery.close()
        for thread in self._threads:
            join(thread, remaining_timeout())

    def after_fork_in_child(self) -> None:
        """Let no watch begin; takes no lock. The threads do not exist in the child."""
        self._closed = True

    def _add(self, subscription: Subscription) -> None:
        with self._changed:
            if self._closed:
                raise StoreClosed("the Kubernetes store is closed")
            for run, name in (self._watch, "watch"), (self._expire, "expiry"):
                if len(self._threads) < 2:
                    self._threads.append(start_daemon(run, f"leadership-kubernetes-{name}"))
            self._subscriptions.append(subscription)
            if not self._covers(subscription.name):
                self._restart()
            self._put(subscription)
            self._changed.notify_all()
        subscription.delivery.run()

    def _drop(self, subscription: Subscription) -> None:
        with self._changed:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
            if not self._subscriptions:
                self._restart()
            self._changed.notify_all()

    def _covers(self, name: str | None) -> bool:
        """Whether the stream has all events for a subscription."""
        return self._scope is None or self._scope == name

    def _restart(self) -> None:
        """End the stream, if there is one; the thread begins another one if it is wanted."""
        self._known = None
        self._restarts += 1
        if self._connection is not None:
            self._connection.deadline.abort()

    # -- reports ---------------------------------------------------------------------------------

    def _put(self, subscription: Subscription, failure: StoreUnavailable | None = None) -> None:
        """Note the present state as the next report; the lock is held, and the caller runs it."""
        self._number += 1
        delivery, known = subscription.delivery, self._known
        failure = failure or (self._failure if known is None else None)
        if subscription.name is None:
            failure = failure or self._refused
        report: object
        if failure is not None:
            report = failure if subscription.name is None else State(failure)
        elif known is None:
            return
        elif subscription.name is None:
            report = list(known.values())
        else:
            lease = known.get(subscription.name)
            is_free = lease is not None and (
                lease.holder is None or subscription.confirmed == lease.version
            )
            report = State(lease, is_free, self._after_outage)
        delivery.put(report, number=self._number)  # type: ignore[arg-type]  # of its own kind

    def _publish(
        self, names: Collection[str] | None, failure: StoreUnavailable | None = None
    ) -> None:
        """Report the present state of these names, or of all."""
        with self._changed:
            told = [
                one
                for one in self._subscriptions
                if names is None or one.name is None or one.name in names
            ]
            for subscription in told:
                self._put(subscription, failure)
            if names is None and failure is None:
                self._after_outage = False
            self._changed.notify_all()
        for subscription in told:
            subscription.delivery.run()

    # -- the thread of the stream ----------------------------------------------------------------

    def _watch(self) -> None:
        retry = _FIRST_RETRY
        while True:
            with self._changed:
                while not self._subscriptions and not self._closed:
                    self._changed.wait(_IDLE)
                if self._closed:
                    return
                names = {one.name for one in self._subscriptions}
                scope = self._scope = next(iter(names)) if len(names) == 1 else None
            begun = clock.now()
            try:
                try:
                    self._stream(scope)
                except StoreRefused as error:
                    self._poll(error)
            except Gone as error:
                log.debug("listing the Leases again: %s", error)
            except StoreClosed:
                if self._closed:
                    return
            except StoreUnavailable as error:
                self._fail(error)
                retry = self._pause(_FIRST_RETRY if clock.now() - begun > _STABLE else retry)
            except Exception as error:  # a mistake of ours must not end all watches
                log.exception("watching the Leases failed")
                self._fail(StoreUnavailable(f"watching the Leases failed: {error!r:.200}"))
                retry = self._pause(_LAST_RETRY)

    def _stream(self, scope: str | None) -> None:
        version = self._list(scope)
        while version is not None:
            version = self._follow(scope, version)

    def _poll(self, refused: StoreRefused) -> None:
        """Read the watched Leases one by one for a while, as far as their Role allows that.

        Raises:
            StoreUnavailable: that fails, too.
        """
        if self._refused is None:
            log.warning("the Leases are read every second instead of being watched: %s", refused)
        until = clock.now() + _POLL_SECONDS
        while clock.now() < until:
            with self._changed:
                names = {one.name for one in self._subscriptions if one.name is not None}
                self._refused, self._scope, number = refused, _NONE, self._restarts
                if self._closed or not names:
                    break
            found = []
            for name in names:
                with call_timeout(_READ_TIMEOUT):
                    found.append(self._client.read(name))
            with self._changed:
                if number != self._restarts:
                    continue  # there is another name
                self._known = {lease.name: lease for lease in found if lease is not None}
                self._failure = None
            self._publish(None)
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or self._known is None,
                    max(_POLL_PAUSE, len(names) * _POLL_PAUSE / 10),
                )
        else:
            return
        self._fail(refused)
        self._pause(_LAST_RETRY)

    def _list(self, scope: str | None) -> str | None:
        """List the Leases, and report them; returns the version, or None if that is not wanted."""
        with call_timeout(_READ_TIMEOUT):
            listed = self._client.list(scope)
        with self._changed:
            if not self._is_wanted(scope):
                return None
            self._known = {lease.name: lease for lease in listed.leases}
            self._failure = None
        # A Role may allow a list and no watch: `_refused` stays until there is a stream.
        self._publish(None)
        return listed.version

    def _follow(self, scope: str | None, version: str) -> str | None:
        """Report events until the stream ends; returns the version to go on from, or None."""
        with self._changed:
            if not self._is_wanted(scope) or self._known is None:
                return None
            connection = self._connection = self._client.new_connection()
        begun = clock.now()
        try:
            with call_timeout(_READ_TIMEOUT):
                events = iter(self._client.watch(connection, version, _SECONDS, scope))
                event = next(events, None)  # waits until there is one
            while event is not None:
                self._refused = None
                version = event.version
                if event.lease is not None:
                    self._apply(event.lease, deleted=event.deleted)
                event = next(events, None)
        except (StoreUnavailable, StoreClosed) as error:
            if connection.deadline.is_aborted:
                return None  # by `_restart`
            if isinstance(error, StoreRefused) or clock.now() - begun < _STABLE:
                raise
            with self._changed:
                self._after_outage = True  # the list shows whether the server is there
            return None
        finally:
            connection.close()
            with self._changed:
                self._connection = None
        return version

    def _apply(self, lease: Lease, *, deleted: bool) -> None:
        with self._changed:
            if self._known is None:
                return
            if deleted:
                self._known.pop(lease.name, None)
            else:
                self._known[lease.name] = lease
        self._publish({lease.name})

    def _is_wanted(self, scope: str | None) -> bool:
        return (
            not self._closed
            and bool(self._subscriptions)
            and (scope is None or all(one.name == scope for one in self._subscriptions))
        )

    def _fail(self, failure: StoreUnavailable) -> None:
        with self._changed:
            if self._closed:
                return
            self._known, self._failure, self._after_outage = None, failure, True
        self._publish(None, failure)

    def _pause(self, seconds: float) -> float:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)
        return min(2 * seconds, _LAST_RETRY)

    # -- the thread of silent holders ------------------------------------------------------------

    def _expire(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                due, at = self._next_silent()
                if due is None or at > clock.now():
                    seconds = _IDLE if due is None else at - clock.now()
                    self._changed.wait(max(0.001, min(seconds, _IDLE)))
                    continue
            try:
                with call_timeout(_CONFIRM_TIMEOUT):
                    found = self._client.read(due.name)
            except StoreClosed:
                return
            except LeadershipError as error:
                log.debug("cannot read the Lease %s: %s", due.name, error)
                self._pause(_LAST_RETRY / 2)
                continue
            self._confirm(due, found)

    def _next_silent(self) -> tuple[Lease | None, float]:
        """The Lease whose holder is the next to be silent for too long, and when that is."""
        known = self._known or {}
        watched = {one.name: one.confirmed for one in self._subscriptions if one.name is not None}
        found = [
            (self._observations.expires_at(known[name]), name)
            for name, confirmed in watched.items()
            if name in known and known[name].holder is not None and known[name].version != confirmed
        ]
        if not found:
            return None, 0.0
        at, name = min(found)
        return known[name], at

    def _confirm(self, silent: Lease, found: Lease | None) -> None:
        with self._changed:
            known = self._known
            if known is None or known.get(silent.name) is not silent:
                return  # there was an event meanwhile
            if found is None or found.version != silent.version:
                # The stream has missed that: its connection is dead.
                log.debug("the watch of the Leases has missed a change; beginning another one")
                self._after_outage = True
                self._restart()
                return
            for one in self._subscriptions:
                if one.name == silent.name:
                    one.confirmed = silent.version
        self._publish({silent.name})
