"""Who waits for which keys, and the few long polls that serve them all.

An agent allows 200 connections from one address, so a poll for each key would soon be refused.
A key that is alone in its folder is polled by itself. Keys of one folder share a poll of the
folder. When that still makes more than eight polls, those with the most in common are merged,
but never into a poll of all that Consul has; what is left then shares one poll that goes round.
"""

from __future__ import annotations

import itertools
import logging
import os.path
import threading
from math import inf

from leadership_core.budget import remaining_budget
from leadership_core.errors import NotDone, StoreClosed

from .client import Client
from .pace import Pace
from .poll import Poll
from .view import Look, Scope, Subscription

__all__ = ["MAX_POLLS", "Watcher"]

log = logging.getLogger(__name__)

MAX_POLLS = 8

_Changed = tuple[list[Poll], list[Poll]]


class Watcher:
    """All watches of one store; safe for several threads.

    Attributes:
        ended: set when it is closed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._polls: list[Poll] = []  # in the order in which they were started
        self._changed: list[Poll] = []  # to be started or stopped once the lock is free
        self._closed = False
        self.ended = threading.Event()

    def subscribe(
        self,
        scope: Scope,
        look: Look,
        *,
        confirm: bool = False,
        pace: Pace | None = None,
        ttl: float = inf,
    ) -> Subscription:
        """Call `look` with what is there, soon, and whenever that changes.

        Args:
            scope: the key, or the keys.
            look: called from any thread, with what is there or why that is not known, and with
                whether the store was away before.
            confirm: whether to call again from time to time although nothing has changed.
            pace: how often to look; the subscription is a member of it until it is closed.
            ttl: seconds, where it is for one who stands for election: a link that has died is
                noticed within that time and a few seconds more.

        Raises:
            StoreClosed: the store was closed.
            NotDone: no thread can be started for it now.
        """
        subscription = Subscription(scope, look, self._drop, confirm=confirm, pace=pace, ttl=ttl)
        with self._lock:
            if self._closed:
                raise StoreClosed("the Consul store is closed")
            self._place(subscription)
            poll = next(poll for poll in self._polls if subscription in poll.subscriptions)
            view = poll.view
            changed = self._take_changed()
        _carry_out(changed)
        if not poll.started:
            subscription.close()
            raise NotDone("no thread can be started for a watch now: try again")
        if view is not None:
            subscription.show(poll, view)
        return subscription

    def close(self) -> None:
        """End all threads, within the budget; may be called again."""
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
            poll.join(remaining_budget())

    def _drop(self, subscription: Subscription) -> None:
        with self._lock:
            for poll in self._polls:
                if subscription in poll.subscriptions:
                    poll.subscriptions.remove(subscription)
                    self._trim(poll, subscription.scope)
                    break
            changed = self._take_changed()
        _carry_out(changed)

    def _trim(self, poll: Poll, scope: Scope) -> None:
        if not poll.subscriptions:
            if len(poll.scopes) > 1 or not poll.started:
                self._end(poll)  # any other one ends by itself, unless somebody comes back
        elif len(poll.scopes) > 1 and all(one.scope != scope for one in poll.subscriptions):
            poll.scopes = [one for one in poll.scopes if one != scope]

    def _unused(self, poll: Poll) -> None:
        """End a poll, in its thread, unless a subscriber has come back."""
        with self._lock:
            if poll in self._polls and not poll.subscriptions:
                self._end(poll)
            changed = self._take_changed()
        _carry_out(changed)

    def _place(self, subscription: Subscription) -> None:
        scope = subscription.scope
        for poll in self._polls:
            if any(one.covers(scope) for one in poll.scopes):
                if len(poll.scopes) == 1 and poll.held > subscription.wait:
                    # Should its link have died, that would show too late for this one.
                    self._begin(poll.scopes, subscription)
                else:
                    _join(poll, subscription)
                return
        wanted = [scope]
        if scope.folder and any(_shares_folder(poll, scope) for poll in self._polls):
            wanted = [Scope(scope.folder, below=True)]
        self._begin(wanted, subscription)
        while len(self._polls) > MAX_POLLS:
            self._make_room()

    def _begin(self, scopes: list[Scope], *subscriptions: Subscription) -> None:
        """Start a poll, which takes over those that it covers."""
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
        new = Poll(self._client, scopes, self._lock, name, self._unused)
        for subscription in itertools.chain(
            subscriptions, *(poll.subscriptions for poll in covered)
        ):
            _join(new, subscription)
        self._polls.append(new)
        self._changed.append(new)

    def _end(self, poll: Poll) -> None:
        self._polls.remove(poll)
        self._changed.append(poll)

    def _make_room(self) -> None:
        """Turn two polls into one, or end one that nobody subscribes to."""
        if unused := next((poll for poll in self._polls if not poll.subscriptions), None):
            self._end(unused)
            return
        single = sorted(
            (poll.scopes[0] for poll in self._polls if len(poll.scopes) == 1),
            key=lambda scope: scope.path,
        )
        # The two that have the most in common stand beside each other.
        shared = (
            os.path.commonprefix([one.path, other.path])  # noqa: RUF071  # not only folders
            for one, other in itertools.pairwise(single)
        )
        if prefix := max(shared, key=len, default=""):
            self._begin([Scope(prefix, below=True)])
            return
        # Nothing is in common but the root, and that may be all that a company has in Consul.
        rounds = [poll for poll in self._polls if len(poll.scopes) > 1]
        newest = [poll for poll in self._polls if len(poll.scopes) == 1][-1]
        merged = rounds[0] if rounds else self._polls[-2]
        self._begin(merged.scopes + newest.scopes)

    def _take_changed(self) -> _Changed:
        changed, self._changed = self._changed, []
        # Those that could not be started the last time are tried again, too.
        begun = [poll for poll in self._polls if poll in changed or not poll.started]
        ended = [poll for poll in changed if poll not in self._polls]
        return begun, ended


def _join(poll: Poll, subscription: Subscription) -> None:
    subscription.follow(poll)
    poll.subscriptions.add(subscription)


def _shares_folder(poll: Poll, scope: Scope) -> bool:
    return (
        bool(poll.subscriptions)
        and len(poll.scopes) == 1
        and not poll.scopes[0].below
        and poll.scopes[0].folder == scope.folder
    )


def _carry_out(changed: _Changed) -> None:
    begun, ended = changed
    for poll in ended:
        poll.stop()
    for poll in begun:
        try:
            poll.start()
        except NotDone as error:
            log.warning("%s", error)
