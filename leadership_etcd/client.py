"""etcd client: calls with deadlines, failover between endpoints, and authentication tokens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from leadership_core.backend import (
    NotApplied,
    Secret,
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
    clock,
    join,
    leak,
    note_owned,
    one_line,
    remaining_timeout,
    start_daemon,
)

from .compat import grpc
from .connection import Connection, ResponseStream
from .errors import (
    ConnectFailed,
    FailureKind,
    InvalidResponse,
    connect_error,
    failure_kind,
    is_response_too_large,
    map_error,
)
from .options import Options
from .response_checks import MAX_PAGE_SIZE, max_response_size
from .rpc import AUTHENTICATE, STATUS, Method, Result, WatchResult
from .transport import ChannelPool, TrafficClass

__all__ = ["Client", "TrafficClass"]

ResultT = TypeVar("ResultT")

_NO_TOKEN = Secret("")
# Another endpoint would say the same.
_FINAL = {FailureKind.REJECTED, FailureKind.UNAUTHENTICATED}
_MAX_SIGN_INS = 3  # in one call: a token may be revoked as soon as it is there


class Client:
    """An etcd; thread-safe. Every call blocks for the remaining timeout at most.

    Attributes:
        revision: the largest one that an answer has had.
    """

    def __init__(self, options: Options) -> None:
        self.revision: int = 0
        self._revision_lock = threading.Lock()
        self._options = options
        self._pool = ChannelPool(options, self.masked)
        self._token: Secret | None = None  # `_NO_TOKEN` where etcd requires none
        note_owned(self)

    def call(
        self,
        method: Method[ResultT],
        request: Any,
        *,
        traffic: TrafficClass = TrafficClass.REQUESTS,
        repeatable: bool | None = None,
    ) -> ResultT:
        """Make a call, at several endpoints if the first do not answer.

        Args:
            method: which.
            request: its message.
            traffic: its class, that is, what it may have to wait for.
            repeatable: whether it is harmless if it is executed twice, or late; only then is it
                sent again. None is what the method says.

        Raises:
            NotApplied: it was not sent.
            StoreUnavailable: no answer, and it may have been executed.
            StoreRefused: etcd refuses it, or cannot be used.
            SessionLost: its lease has ended.
            ConfigurationError: its value or its ttl is too large.
            StoreClosed: the client is closed.
        """
        again = method.repeatable if repeatable is None else repeatable
        if traffic is TrafficClass.REQUESTS and max_response_size(method, request) > MAX_PAGE_SIZE:
            traffic = TrafficClass.LISTS
        until = clock.now() + remaining_timeout()
        tried = 0
        unsure = False  # whether one of the tries may have been executed
        while True:
            share = self._share(until, tried) if again else until
            try:
                connection = self._reach(traffic, share)
            except NotApplied as error:
                if unsure:
                    raise StoreUnavailable(str(error)) from error
                raise
            tried += 1
            sent = clock.now()
            try:
                result = self._call_once(connection, method, request, share)
            except grpc.RpcError as error:
                kind = failure_kind(error)
                not_sent = kind is FailureKind.NOT_SENT
                if kind in _FINAL or is_response_too_large(error):
                    problem = map_error(error, connection.endpoint, 0)
                    if unsure and isinstance(problem, NotApplied):
                        problem = StoreUnavailable(str(problem))
                    raise problem from error
                if self._pool.closed:
                    raise StoreClosed("the etcd store is closed") from error
                # Counted now, as a name may have been resolved. Even with one address, a connection
                # that broke is worth a new one.
                left = max(1, max(1 + again, self._pool.count) - (tried - 1))
                self._pool.mark_failed(connection, retry=left > 1 and clock.now() < until)
                unsure |= not not_sent
                if left == 1 or clock.now() >= until or not (again or not_sent):
                    problem = map_error(error, connection.endpoint, clock.now() - sent)
                    if not unsure:
                        raise NotApplied(str(problem)) from error
                    raise problem from error
            except ValueError as error:  # the channel is closed
                raise StoreClosed("the etcd store is closed") from error
            except InvalidResponse as error:
                self._pool.mark_failed(connection, retry=True)
                raise InvalidResponse(
                    f"{connection.endpoint} gives no valid answer of etcd to {method.path}: {error}"
                ) from error
            else:
                if isinstance(result, Result):
                    with self._revision_lock:
                        self.revision = max(self.revision, result.revision)
                return result
            finally:
                self._pool.release(connection)

    def _share(self, until: float, tried: int) -> float:
        """The end of the next try of a call that may be repeated: each gets an equal part.

        With one address, the first try may take all of the time.
        """
        count = self._pool.count
        left = max(1, max(2, count) - tried)
        return until if left > count else clock.now() + (until - clock.now()) / left

    @property
    def has_release_connection(self) -> bool:
        """Whether the next release finds a connection that has worked."""
        return self._pool.is_connected(TrafficClass.RELEASES)

    def preconnect_releases(self) -> None:
        """Connect, so that the first release need not wait for that."""
        with contextlib.suppress(StoreUnavailable, StoreClosed):  # the call itself will raise it
            self._pool.release(
                self._reach(TrafficClass.RELEASES, clock.now() + remaining_timeout())
            )

    def watch(
        self, requests: Iterator[Any], on_message: Callable[[WatchResult], object]
    ) -> tuple[Connection, ResponseStream]:
        """Open a stream for watches, at an endpoint that works.

        Args:
            requests: what is sent; gRPC iterates over it in a thread of its own.
            on_message: as for `Connection.watch`.

        Returns:
            The connection, for `end_watch`, and the stream.

        Raises:
            StoreUnavailable: no endpoint works.
            NotApplied: no thread can be started for it now.
            StoreClosed: the client is closed.
        """
        # gRPC needs two threads for a stream, and does not recover if it cannot start them.
        for thread in [start_daemon(lambda: None, "leadership-etcd-probe") for _ in range(2)]:
            join(thread, 1.0)
        until = clock.now() + remaining_timeout()
        connection = self._reach(TrafficClass.WATCHES, until)
        try:
            metadata = _metadata(self._token)
            # A member that loses its cluster then ends the stream, instead of staying silent.
            metadata = (*metadata, ("hasleader", "true"))
            return connection, connection.watch(requests, metadata, on_message)
        except ValueError as error:  # the channel is closed
            self._pool.release(connection)
            raise StoreClosed("the etcd store is closed") from error
        except RuntimeError as error:
            connection.leak()
            self._pool.retire(connection)
            self._pool.release(connection)
            raise NotApplied(f"no thread can be started for a watch now ({error})") from error
        except BaseException:
            self._pool.release(connection)
            raise

    def probe(
        self, connection: Connection, seconds: float, on_result: Callable[[bool], None]
    ) -> None:
        """Send a small request over a connection, and return at once.

        Args:
            connection: which may carry streams; they go on.
            seconds: until an answer counts as missing.
            on_result: called in some thread with whether there was an answer, whatever it said.
        """

        def answered(call: Any) -> None:
            on_result(call.code() is not grpc.StatusCode.DEADLINE_EXCEEDED)

        channel = connection.channel
        if channel is None:
            return
        try:
            pending = channel.unary_unary(
                STATUS.path, request_serializer=STATUS.request.SerializeToString
            ).future(STATUS.request(), timeout=seconds)
        except ValueError:
            return  # the channel is closed, and its streams with it
        except RuntimeError:  # no thread can be started now
            connection.leak()
            alive = False
            on_result(alive)
        else:
            pending.add_done_callback(answered)

    def end_watch(self, connection: Connection, *, broken: bool) -> None:
        """A stream of that connection has ended."""
        if broken:
            self._pool.mark_failed(connection, retry=True)
        self._pool.release(connection)

    def forget_token(self) -> None:
        """Authenticate again with the next call."""
        self._token = None

    def masked(self, text: str) -> str:
        """A text of the server's without our password and token, which it may repeat."""
        for secret in (self._options.password, self._token):
            if secret is not None:
                text = secret.masked(text)
        return text

    def on_endpoint_change(self, moved: Callable[[], None]) -> None:
        """Call `moved` when all traffic goes to another address; it must not block."""
        self._pool.on_endpoint_change(moved)

    def is_current(self, connection: Connection) -> bool:
        """Whether it goes to the address that all traffic goes to now."""
        return self._pool.is_current(connection)

    def close(self) -> None:
        """Cut off what is under way, and let nothing else begin; may be called again."""
        self._pool.close()

    def after_fork_in_child(self) -> None:
        """Begin no call. No lock is taken here: a thread of the parent may hold it forever."""
        self._pool.closed = True
        leak(self)  # to free a channel is to use gRPC, which does not survive a fork

    # -- one attempt -------------------------------------------------------------------------

    def _call_once(
        self, connection: Connection, method: Method[ResultT], request: Any, until: float
    ) -> ResultT:
        for left in range(_MAX_SIGN_INS, 0, -1):
            token = self._token
            try:
                return connection.invoke(method, request, _seconds(until), _metadata(token))
            except grpc.RpcError as error:
                # It was rejected before it was looked at, so it may be sent again. Without a
                # token, etcd says that the name is empty.
                invalid = failure_kind(error) is FailureKind.UNAUTHENTICATED
                invalid = invalid or "user name is empty" in str(error.details())
                if left == 1 or not invalid or self._options.user is None:
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
            # As etcd's own clients do, so that it can be enabled while programs run.
            self._token = _NO_TOKEN

    # -- connections -------------------------------------------------------------------------

    def _reach(self, traffic: TrafficClass, until: float) -> Connection:
        """A connection that works, to the current address, or else to the next one that does."""
        failed: list[tuple[str, ConnectFailed]] = []
        while not failed or self._pool.count > len(failed):  # there is one address at least
            try:
                connection = self._pool.get(traffic, until)
            except ConnectFailed as error:
                failed.append((error.where or "no host", error))
                continue
            if connection.is_healthy and (self._options.user is None or self._token is not None):
                return connection  # most calls
            left = max(1, self._pool.count - len(failed))
            share = clock.now() + (until - clock.now()) / left
            try:
                connection.check_health(share)
                self._sign_in(connection, share)
            except (ConnectFailed, InvalidResponse, grpc.RpcError, ValueError) as error:
                if self._pool.closed:
                    raise StoreClosed("the etcd store is closed") from error
                if isinstance(error, ConnectFailed):
                    failure = error
                elif isinstance(error, grpc.RpcError):
                    problem = map_error(error, connection.endpoint, 0)
                    lasting = isinstance(problem, StoreRefused)
                    failure = ConnectFailed(str(problem), lasting=lasting)
                else:
                    failure = ConnectFailed(one_line(error, 300))
                failed.append((connection.endpoint, failure))
                self._pool.mark_failed(connection, retry=True)
                self._pool.release(connection)
            except BaseException:
                self._pool.release(connection)
                raise
            else:
                return connection
        raise connect_error(failed) from (failed[-1][1] if failed else None)


def _metadata(token: Secret | None) -> tuple[tuple[str, str], ...]:
    return () if token is None or token is _NO_TOKEN else (("token", token.reveal()),)


def _seconds(until: float) -> float:
    return max(0.001, until - clock.now())
