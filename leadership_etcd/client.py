"""Calls to whichever endpoint answers: deadlines, failover and tokens, in this one place."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from leadership_core import clock
from leadership_core.budget import remaining_budget
from leadership_core.errors import NotDone, StoreClosed, StoreRefused, StoreUnavailable
from leadership_core.fork import leak, note_owned
from leadership_core.secret import Secret
from leadership_core.text import one_line
from leadership_core.threads import join, start_daemon

from .answers import LONGEST_PAGE, bound_of
from .connection import Connection
from .errors import Senseless, Unreached, Verdict, is_too_long, translated, unreached, verdict
from .lanes import Lane, Lanes
from .methods import AUTHENTICATE, STATUS, Method
from .options import Options
from .proto import grpc

__all__ = ["Client", "Lane"]

_NO_TOKEN = Secret("")
_SIGN_INS = 3  # in one call: a token may be taken away as soon as it is there


class Client:
    """An etcd; safe for several threads. Every call takes at most the budget.

    Attributes:
        revision: the newest one that an answer has told of.
    """

    def __init__(self, options: Options) -> None:
        self.revision = 0
        self._revision_lock = threading.Lock()
        self._options = options
        self._lanes = Lanes(options, self.masked)
        self._token: Secret | None = None  # `_NO_TOKEN` where etcd wants none
        note_owned(self)

    def call(
        self,
        method: Method,
        request: Any,
        *,
        lane: Lane = Lane.REQUESTS,
        repeatable: bool | None = None,
    ) -> Any:
        """Make a call, at several endpoints if the first do not answer.

        Args:
            method: which.
            request: its message.
            lane: what it may wait for.
            repeatable: whether it is harmless if it is done twice, or late; only then is it sent
                again. None is what the method says.

        Raises:
            NotDone: it was not sent.
            StoreUnavailable: no answer, and it may have been done.
            StoreRefused: etcd refuses it, or cannot be used.
            SessionLost: its lease is gone.
            ConfigurationError: its value or its ttl is too large.
            StoreClosed: the client is closed.
        """
        again = method.repeatable if repeatable is None else repeatable
        if lane is Lane.REQUESTS and bound_of(method, request) > LONGEST_PAGE:
            lane = Lane.LISTS
        until = clock.now() + remaining_budget()
        done = 0
        unsure = False  # whether one of the tries may have been done
        while True:
            share = self._share(until, done) if again else until
            try:
                connection = self._reach(lane, share)
            except NotDone as error:
                if unsure:
                    raise StoreUnavailable(str(error)) from error
                raise
            # Counted now, as a name may have been resolved. Even with one address, a connection
            # that broke is worth a new one.
            left = max(1, max(1 + again, self._lanes.count) - done)
            done += 1
            sent = clock.now()
            try:
                answer = self._ask(connection, method, request, share)
            except grpc.RpcError as error:
                what = verdict(error)
                too_long = is_too_long(error)  # it would be that the next time, too
                if too_long or what is Verdict.REFUSED or what is Verdict.STALE:
                    problem = translated(error, connection.endpoint, 0)
                    if unsure and isinstance(problem, NotDone):
                        problem = StoreUnavailable(str(problem))
                    raise problem from error
                if self._lanes.closed:
                    raise StoreClosed("the etcd store is closed") from error
                self._lanes.give_up(connection, more=left > 1 and clock.now() < until)
                unsure |= what is not Verdict.NOT_SENT
                if left == 1 or clock.now() >= until or not (again or what is Verdict.NOT_SENT):
                    problem = translated(error, connection.endpoint, clock.now() - sent)
                    if not unsure:
                        raise NotDone(str(problem)) from error
                    raise problem from error
            except ValueError as error:  # the channel is closed
                raise StoreClosed("the etcd store is closed") from error
            except Senseless as error:
                self._lanes.give_up(connection, more=True)
                raise Senseless(
                    f"{connection.endpoint} gives no answer of etcd's to {method.path}: {error}"
                ) from error
            else:
                self._note(answer)
                return answer
            finally:
                self._lanes.give_back(connection)

    def _share(self, until: float, done: int) -> float:
        """When the next try of a call that may be made again is over."""
        count = self._lanes.count
        left = max(1, max(2, count) - done)
        return until if left > count else clock.now() + (until - clock.now()) / left

    def warm(self, lane: Lane) -> None:
        """Connect, so that the first call of a lane need not wait for that."""
        with contextlib.suppress(StoreUnavailable, StoreClosed):  # the call itself will tell
            self._lanes.give_back(self._reach(lane, clock.now() + remaining_budget()))

    def watch(self, requests: Any) -> tuple[Connection, Any]:
        """Open a stream for watches, at an endpoint that works.

        Returns:
            The connection, to be given to `end_watch`, and the stream.

        Raises:
            StoreUnavailable: no endpoint works.
            NotDone: no thread can be started for it now.
        """
        _check_threads()
        until = clock.now() + remaining_budget()
        connection = self._reach(Lane.WATCHES, until)
        try:
            metadata = _metadata(self._token)
            # A member that loses its cluster then ends the stream, instead of staying silent.
            return connection, connection.watch(requests, (*metadata, ("hasleader", "true")))
        except ValueError as error:  # the channel is closed
            self._lanes.give_back(connection)
            raise StoreClosed("the etcd store is closed") from error
        except RuntimeError as error:
            connection.leak()
            self._lanes.retire(connection)
            self._lanes.give_back(connection)
            raise NotDone(f"no thread can be started for a watch now ({error})") from error
        except BaseException:
            self._lanes.give_back(connection)
            raise

    def feel(self, connection: Connection, seconds: float, felt: Callable[[bool], None]) -> None:
        """Ask for a sign of life and return at once.

        Args:
            connection: which may carry streams; they go on.
            seconds: that the answer may take.
            felt: called in some thread with whether there was one, whatever it said.
        """

        def answered(call: Any) -> None:
            felt(call.code() is not grpc.StatusCode.DEADLINE_EXCEEDED)

        channel = connection.channel
        if channel is None:
            return
        try:
            asking = channel.unary_unary(
                STATUS.path, request_serializer=STATUS.request.SerializeToString
            ).future(STATUS.request(), timeout=seconds)
        except ValueError:
            return  # the channel is closed, and what it carried
        except RuntimeError:  # no thread can be started now
            connection.leak()
            alive = False
            felt(alive)
        else:
            asking.add_done_callback(answered)

    def end_watch(self, connection: Connection, *, broken: bool) -> None:
        """A stream has ended."""
        if broken:
            self._lanes.give_up(connection, more=True)
        self._lanes.give_back(connection)

    def forget_token(self) -> None:
        """Sign in anew with the next call."""
        self._token = None

    def masked(self, text: str) -> str:
        """A text of the server's without our password and token, which it may repeat."""
        for secret in (self._options.password, self._token):
            if secret is not None:
                text = secret.masked(text)
        return text

    def on_move(self, moved: Callable[[], None]) -> None:
        """Call this when all go to another endpoint; it must not block."""
        self._lanes.on_move(moved)

    def is_current(self, connection: Connection) -> bool:
        """Whether it goes to the endpoint that all go to."""
        return self._lanes.is_current(connection)

    def close(self) -> None:
        """Cut off what is under way, and let nothing else begin; may be called again."""
        self._lanes.close()

    def after_fork_in_child(self) -> None:
        """Begin no call; without the lock, which a thread of the parent may hold for ever."""
        self._lanes.closed = True
        leak(self)  # to free a channel is to use gRPC, which does not survive a fork

    # -- one attempt -------------------------------------------------------------------------

    def _ask(self, connection: Connection, method: Method, request: Any, until: float) -> Any:
        for left in range(_SIGN_INS, 0, -1):
            token = self._token
            try:
                return connection.invoke(method, request, _seconds(until), _metadata(token))
            except grpc.RpcError as error:
                # It was turned away before it was looked at, so it may be sent again. Without a
                # token, etcd says that the name is empty.
                details = str(error.details())
                stale = verdict(error) is Verdict.STALE or "user name is empty" in details
                if left == 1 or not stale or self._options.user is None:
                    raise
            if self._token == token:
                self._token = None
            self._sign_in(connection, until)
        raise AssertionError("unreachable")

    def _sign_in(self, connection: Connection, until: float) -> None:
        """Get a token, if there is none."""
        user, password = self._options.user, self._options.password
        if user is None or password is None or self._token is not None:
            return
        try:
            answer = connection.invoke(
                AUTHENTICATE,
                AUTHENTICATE.request(name=user, password=password.reveal()),
                _seconds(until),
            )
            self._token = Secret(str(answer.token))
        except grpc.RpcError as error:
            if "authentication is not enabled" not in str(error.details()):
                raise
            self._token = _NO_TOKEN  # as etcd's own clients do, so that it can be enabled under way

    def _note(self, answer: Any) -> None:
        revision = getattr(answer, "header", None) and answer.header.revision
        with self._revision_lock:
            self.revision = max(self.revision, revision or 0)

    # -- connections -------------------------------------------------------------------------

    def _reach(self, lane: Lane, until: float) -> Connection:
        """A connection that works, to the address that all go to, or else to the next."""
        failed: list[tuple[str, Unreached]] = []
        while (left := self._lanes.count - len(failed)) > 0:
            try:
                connection = self._lanes.take(lane, until)
            except Unreached as error:
                failed.append((error.where or "no host", error))
                continue
            left = max(left, self._lanes.count - len(failed))
            share = clock.now() + (until - clock.now()) / left
            try:
                connection.greet(share)
                self._sign_in(connection, share)
            except (Unreached, Senseless, grpc.RpcError, ValueError) as error:
                if self._lanes.closed:
                    raise StoreClosed("the etcd store is closed") from error
                problem = _as_unreached(error, connection)
                failed.append((connection.endpoint, problem))
                self._lanes.give_up(connection, more=True)
                self._lanes.give_back(connection)
            except BaseException:
                self._lanes.give_back(connection)
                raise
            else:
                return connection
        raise unreached(failed) from (failed[-1][1] if failed else None)


def _check_threads() -> None:
    """Raise `NotDone` if no thread can be started now: gRPC needs two for a stream."""
    for thread in [start_daemon(lambda: None, "leadership-etcd-probe") for _ in range(2)]:
        join(thread, 1.0)


def _metadata(token: Secret | None) -> tuple[tuple[str, str], ...]:
    return () if token is None or token is _NO_TOKEN else (("token", token.reveal()),)


def _as_unreached(error: Exception, connection: Connection) -> Unreached:
    if isinstance(error, Unreached):
        return error
    if isinstance(error, grpc.RpcError):
        problem = translated(error, connection.endpoint, 0)
        return Unreached(str(problem), lasting=isinstance(problem, StoreRefused))
    return Unreached(one_line(error, 300))


def _seconds(until: float) -> float:
    return max(0.001, until - clock.now())
