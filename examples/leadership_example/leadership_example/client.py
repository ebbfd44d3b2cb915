"""Client of a Redis: requests within their timeout, and errors mapped to those of `leadership`."""

import os
import socket
import ssl
from importlib.resources import files
from typing import Any

import redis

from leadership_core.backend import Entry, StoreURL, errors, remaining_timeout

SCRIPT = files(__package__).joinpath("script.lua").read_text()
SCRIPT_ERRORS = {
    "CONFLICT": errors.Conflict,
    "FENCED": errors.Fenced,
    "SESSION": errors.SessionLost,
}
# Errors that do not pass by themselves: a person has to change something.
REFUSALS = (redis.AuthenticationError, redis.exceptions.NoPermissionError, redis.ReadOnlyError)
LASTING_CAUSES = (socket.gaierror, ssl.SSLCertVerificationError)
TLS_OPTIONS = {
    "ca": "ssl_ca_certs",
    "cert": "ssl_certfile",
    "key": "ssl_keyfile",
    "verify": "ssl_cert_reqs",
}


class TimedConnection(redis.Connection):
    """A connection that bounds each request by `remaining_timeout()`.

    redis-py itself has one timeout for all requests of a connection.
    """

    def connect(self) -> None:  # called by redis-py before each request, connected or not
        self.socket_timeout = self.socket_connect_timeout = remaining_timeout()
        self.update_current_socket_timeout(self.socket_timeout)
        super().connect()  # type: ignore[no-untyped-call]  # redis-py has no types here

    def read_response(self, *args: Any, **options: Any) -> Any:
        return super().read_response(*args, **options | {"timeout": remaining_timeout()})


class TimedTLSConnection(TimedConnection, redis.SSLConnection):
    """The same over TLS."""


class Client:
    """Sends each request once; thread-safe."""

    def __init__(self, url: StoreURL) -> None:
        host, *others = url.with_default_port(6379).hosts
        if others:
            raise errors.URLError("redis-example:// takes one host: a failover would not be safe")
        settings: dict[str, Any] = {
            "host": host.name,
            "port": host.port,
            "username": url.username,
            "password": url.password,
            "protocol": 3,
            "driver_info": None,
        }
        for name, value in url.read_options({}, tls=True).items():
            settings[TLS_OPTIONS[name]] = value
        connection_class = TimedTLSConnection if url.tls else TimedConnection
        pool = redis.ConnectionPool(connection_class, **settings)
        self._redis = redis.Redis(connection_pool=pool)
        self._process = os.getpid()
        self._closed = False
        self._last_change = b"0"

    def read(self, *names: str) -> list[list[Entry]]:
        """Return the entries at each key, or below it if the name ends with a slash."""
        answer = self.run_script("read", *names)
        return [[_decoded(key, text) for key, text in pairs] for pairs in answer]

    def run_script(self, *arguments: str | bytes) -> Any:
        # The whole script each time: the server may have been restarted.
        return self.request("EVAL", SCRIPT, 0, *arguments)

    def wait_for_change(self, seconds: float) -> None:
        """Wait until the script has written since the last call, or for that many seconds."""
        self.request(
            "XREAD", "BLOCK", int(seconds * 1000), "STREAMS", "leadership:bell", self._last_change
        )
        self._last_change = self.run_script("last_change")

    def request(self, *words: str | bytes | int) -> Any:
        """Send a request, and return its answer.

        Raises:
            Conflict, Fenced, SessionLost: the script has refused the request.
            StoreRefused: a person has to change something: the password, a permission, the host.
            StoreUnavailable: the outcome is unknown.
        """
        if os.getpid() != self._process:
            raise errors.ForkedStore(
                "the redis-example:// store belongs to the parent of this process"
            )
        if self._closed:
            raise errors.StoreClosed("the redis-example:// store is closed")
        try:
            return self._redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py has no types here
        except (redis.RedisError, OSError) as error:
            raise _mapped(error) from error
        finally:
            if self._closed:
                self.close()  # the connection that was returned to the pool just now, too

    def close(self) -> None:
        self._closed = True
        self._redis.connection_pool.disconnect(inuse_connections=False)


def _mapped(error: Exception) -> Exception:
    message = f"Redis: {error}"
    if str(error) in SCRIPT_ERRORS:
        return SCRIPT_ERRORS[str(error)](message)
    if isinstance(error, REFUSALS) or isinstance(error.__context__, LASTING_CAUSES):
        return errors.StoreRefused(message)
    return errors.StoreUnavailable(message)


def _decoded(key: bytes, text: bytes) -> Entry:
    revision, session, value = text.split(b" ", 2)
    return Entry(key.decode(), value, int(revision), None if session == b"-" else session.decode())
