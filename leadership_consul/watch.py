"""The watches of a store, and the few long polls that serve all of them.

An agent limits the connections of one client address to 200, so a poll for each key would soon be
refused. A key without others in its folder has a poll of its own. Keys of one folder share a poll
of the folder. If there are still more than eight polls, those whose paths have the most in common
are merged, but never into a poll of all keys in Consul; what is left then shares one poll that
reads its scopes in turn.
"""

from __future__ import annotations

import itertools
import logging
import os.path
import threading
from math import inf

from leadership_core.backend import (
    NotApplied,
    RateLimiter,
    StoreClosed,
    StoreUnavailable,
    remaining_timeout,
)

from .client import Client
from .long_poll import LongPoll
from .subscriptions import Spare, Subscription, WatchCallback, WatchScope

__all__ = ["MAX_POLLS", "Watcher"]

log: logging.Logger = logging.getLogger(__name__)

MAX_POLLS = 8
_MISSING_IN_A_ROW = 3

_Changed = tuple[list[LongPoll], list[LongPoll]]


class Watcher:
    """All watches of one store; thread-safe.

    Args:
        client: of the store.

    Attributes:
        ended: set when it is closed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._polls: list[LongPoll] = []  # in the order in which they were started
        self._changed: list[LongPoll] = []  # to be started or stopped when the lock is released
        self._closed = False
        self._missing = "", 0  # a folder, and how many keys in it were missing in a row
        self.ended: threading.Event = threading.Event()

    def subscribe(
        self,
        scope: WatchScope,
        callback: WatchCallback,
        *,
        confirm: bool = False,
        limiter: RateLimiter | None = None,
        spare: Spare | None = None,
        hurry: bool = False,
        ttl: float = inf,
    ) -> Subscription:
        """Call `callback` with the current state, soon, and with every change; makes no request.

        Args:
            scope: the key, or the keys.
            callback: called from any thread, with the pairs or the error, and with whether the
                store was unavailable before.
            confirm: whether to call from time to time although nothing has changed.
            limiter: of the reads; the subscription is a member of it until it is closed.
            spare: returns how many requests the limit has to leave for the callback; None for none.
            hurry: whether the next read is made at once, whatever the limiter says.
            ttl: seconds; that of a candidate's session. A dead connection is noticed within that
                time and a few seconds more.

        Raises:
            StoreClosed: the store is closed.
            NotApplied: no thread can be started for it now.
        """
        subscription = Subscription(
            *(scope, callback, self._drop),
            confirm=confirm,
            limiter=limiter,
            spare=spare,
            hurry=hurry,
            ttl=ttl,
        )
        with self._lock:
            if self._closed:
                raise StoreClosed("the Consul store is closed")
            self._place(subscription)
            poll = next(poll for poll in self._polls if subscription in poll.subscriptions)
            snapshot = poll.snapshot
            changed = self._take_changed()
        _start_and_stop(changed)
        if not poll.started:
            subscription.close()
            raise NotApplied("no thread can be started for a watch now: try again")
        if snapshot is not None:
            subscription.publish(poll, snapshot)
        return subscription

    def reports_missing(self, key: str) -> bool:
        """Whether a poll that reads the key anyway has last found that it does not exist."""
        scope = WatchScope(key)
        for poll in list(self._polls):
            snapshot = poll.snapshot
            if snapshot is not None and any(one.covers(scope) for one in poll.scopes):
                return (
                    not isinstance(snapshot.pairs, StoreUnavailable) and key not in snapshot.pairs
                )
        return False

    def note_first_read(self, key: str, *, missing: bool) -> None:
        """Record whether the key of a new candidate existed."""
        folder, found = self._missing
        same = WatchScope(key).folder == folder
        self._missing = WatchScope(key).folder, (found * same + 1) * missing

    def expects_missing(self, key: str) -> bool:
        """Whether the key of a new candidate is likely to be missing: the last ones in its folder were."""
        folder, found = self._missing
        return found >= _MISSING_IN_A_ROW and WatchScope(key).folder == folder

    def close(self) -> None:
        """End all threads; blocks for `remaining_timeout` at most; may be called again."""
        with self._lock:
            self._closed = True
            self.ended.set()
            polls, self._polls = self._polls, []
            subscriptions = [one for poll in polls for one in poll.subscriptions]
        for poll in polls:
            poll.stop()
        for subscription in subscriptions:
            subscription.close()
        for poll in polls:
            poll.join(remaining_timeout())

    def after_fork_in_child(self) -> None:
        """Let no watch begin; takes no lock. The threads do not exist in the child."""
        self._closed = True

    def _drop(self, subscription: Subscription) -> None:
        scope = subscription.scope
        with self._lock:
            poll = next((poll for poll in self._polls if subscription in poll.subscriptions), None)
            if poll is not None:
                poll.subscriptions.remove(subscription)
                if not poll.subscriptions:
                    if len(poll.scopes) > 1 or not poll.started:
                        self._end(poll)  # any other one ends by itself, unless it is used again
                elif len(poll.scopes) > 1 and all(one.scope != scope for one in poll.subscriptions):
                    poll.scopes = [one for one in poll.scopes if one != scope]
            changed = self._take_changed()
        _start_and_stop(changed)

    def _end_unused(self, poll: LongPoll) -> None:
        """End a poll, in its thread, unless it has got a subscription again."""
        with self._lock:
            if poll in self._polls and not poll.subscriptions:
                self._end(poll)
            changed = self._take_changed()
        _start_and_stop(changed)

    def _place(self, subscription: Subscription) -> None:
        """Add the subscription to a poll, which is made if there is none for it."""
        scope = subscription.scope
        for poll in self._polls:
            if any(one.covers(scope) for one in poll.scopes):
                if len(poll.scopes) == 1 and poll.waiting > subscription.wait:
                    # A dead connection would be noticed too late for this subscription.
                    self._begin(poll.scopes, subscription)
                else:
                    _join(poll, subscription)
                return
        wanted = [scope]
        if scope.folder and any(
            poll.subscriptions
            and len(poll.scopes) == 1
            and not poll.scopes[0].below
            and poll.scopes[0].folder == scope.folder
            for poll in self._polls
        ):
            wanted = [WatchScope(scope.folder, below=True)]
        self._begin(wanted, subscription)
        while len(self._polls) > MAX_POLLS:
            self._merge()

    def _begin(self, scopes: list[WatchScope], *subscriptions: Subscription) -> None:
        """Start a poll, which takes over the subscriptions of those that it covers."""
        covered = [
            poll
            for poll in self._polls
            if all(any(scope.covers(one) for scope in scopes) for one in poll.scopes)
        ]
        for poll in covered:
            self._end(poll)
        used = {poll.name for poll in self._polls}
        names = (f"leadership-consul-watch-{number}" for number in itertools.count(1))
        name = next(name for name in names if name not in used)
        new = LongPoll(self._client, scopes, self._lock, name, self._end_unused)
        for subscription in itertools.chain(
            subscriptions, *(poll.subscriptions for poll in covered)
        ):
            _join(new, subscription)
        self._polls.append(new)
        self._changed.append(new)

    def _end(self, poll: LongPoll) -> None:
        self._polls.remove(poll)
        self._changed.append(poll)

    def _merge(self) -> None:
        """Merge two polls into one, or end one without subscriptions."""
        if unused := next((poll for poll in self._polls if not poll.subscriptions), None):
            self._end(unused)
            return
        single = sorted(
            (poll.scopes[0] for poll in self._polls if len(poll.scopes) == 1),
            key=lambda scope: scope.path,
        )
        # In sorted order, the two that have the most in common are neighbours.
        shared = (
            os.path.commonprefix([one.path, other.path])  # noqa: RUF071  # not only folders
            for one, other in itertools.pairwise(single)
        )
        if prefix := max(shared, key=len, default=""):
            self._begin([WatchScope(prefix, below=True)])
            return
        # Only the root is in common, and that may be all that a company has in Consul.
        rounds = [poll for poll in self._polls if len(poll.scopes) > 1]
        newest = [poll for poll in self._polls if len(poll.scopes) == 1][-1]
        merged = rounds[0] if rounds else self._polls[-2]
        self._begin(merged.scopes + newest.scopes)

    def _take_changed(self) -> _Changed:
        """The polls to start and those to stop, when the lock is released."""
        changed, self._changed = self._changed, []
        # Those that could not be started the last time are tried again, too.
        begun = [poll for poll in self._polls if poll in changed or not poll.started]
        ended = [poll for poll in changed if poll not in self._polls]
        return begun, ended


def _join(poll: LongPoll, subscription: Subscription) -> None:
    subscription.follow(poll)
    poll.subscriptions.add(subscription)
    poll.joined.set()
    if subscription.hurry:
        poll.hurry()


def _start_and_stop(changed: _Changed) -> None:
    begun, ended = changed
    for poll in ended:
        poll.stop()
    for poll in begun:
        try:
            poll.start()
        except NotApplied as error:
            log.warning("%s", error)
