"""TLS of clients: certificate files, and advice when a handshake has failed."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from ..errors import ConfigurationError, URLError
from . import clock
from .net import Address, connected
from .secret import file_state, why_unreadable
from .text import one_line
from .tracebacks import bare

__all__ = ["ClientTLS", "advice", "is_hang_up", "is_refused_by_server", "is_tls_failure"]

log: logging.Logger = logging.getLogger(__name__)

_LOWEST = "TLS 1.2"
_ALERT = 0.5  # seconds within which a server aborts a handshake that it refuses

# OpenSSL's error codes for a certificate that it does not accept (x509_vfy.h).
_NOT_YET_VALID, _EXPIRED = 9, 10
_CRL_TROUBLE = {3, 11, 12, 33}
_REVOKED, _PURPOSE = 23, 26
_NAME, _NUMBER = 62, 64
_WEAK = {66, 67, 68}

_PLAIN = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}
"""OpenSSL's reasons for an answer in plain text."""

_TOO_OLD = {"UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"}

# A server before TLS 1.2 signs with an algorithm that OpenSSL may refuse first; some releases of
# Python have no name for that reason.
_OLD_SIGNATURE = "legacy sigalg"

# The alerts of a server that aborts a handshake.
_WANTS_CERTIFICATE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_NO_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_ACCESS_DENIED",
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "TLSV1_ALERT_DECRYPT_ERROR",
}


class ClientTLS:
    """The TLS files of a URL, which are read again when one was replaced; thread-safe.

    Args:
        ca: file of the authorities to trust; None for those of the system.
        cert: file of the client's certificate, or None.
        key: file of its key; None if that is in the same file.
        verify: whether to check the server's certificate and its name.
        adapt: called with each new context.

    Raises:
        ConfigurationError: a file cannot be read, or has another content.
    """

    def __init__(
        self,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        *,
        verify: bool = True,
        adapt: Callable[[ssl.SSLContext], None] = lambda _: None,
    ) -> None:
        self.ca: str | None = ca
        self.cert: str | None = cert
        self.key: str | None = key
        self.verify: bool = verify
        self._adapt = adapt
        self._files = [Path(name) for name in (ca, cert, key) if name]
        # Reentrant, because a signal handler may make a request in the middle of another one.
        self._lock = threading.RLock()
        self._state = self._file_states()
        self._context = self._new_context()

    @classmethod
    def of_options(
        cls, found: Mapping[str, Any], adapt: Callable[[ssl.SSLContext], None] = lambda _: None
    ) -> Self:
        """Make one from the options of a URL; raises ConfigurationError."""
        if "key" in found and "cert" not in found:
            raise URLError("option 'key' requires option 'cert'")
        return cls(
            found.get("ca"),
            found.get("cert"),
            found.get("key"),
            verify=found.get("verify", True),
            adapt=adapt,
        )

    def context(self) -> ssl.SSLContext:
        """The context for a new connection; the same object as long as no file has changed."""
        with self._lock:
            try:
                state = self._file_states()
                if state != self._state:
                    self._context, self._state = self._new_context(), state
            except ConfigurationError as error:
                # The files may just be being replaced; the old ones may still be valid.
                log.warning("Cannot read the TLS files again: %s", error)
            return self._context

    def _new_context(self) -> ssl.SSLContext:
        context = self.build()
        self._adapt(context)
        return context

    def build(self) -> ssl.SSLContext:
        """Make a context from the present files, without `adapt`.

        Raises:
            ConfigurationError: a file cannot be used; the message names it and says why.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"cannot use the TLS file ca={self.ca!r}: {_why(error)}"
            ) from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert:
            try:
                # A callable: otherwise OpenSSL asks for the key's password on the terminal.
                context.load_cert_chain(self.cert, self.key, password=_no_password)
            except (OSError, ValueError) as error:
                raise ConfigurationError(self._blame(error)) from error
        return context

    def why_hung_up(self, address: Address, until: float) -> OSError | None:
        """Repeat the handshake, and return why the server aborts it; None if it does not.

        A server that refuses the client's certificate sends an alert and closes the connection. The
        alert is lost if a request was under way then, so this time none is sent.

        Args:
            address: the address of the server.
            until: when to give up, on `clock.now`.
        """
        try:
            with connected(address, until) as sock:
                context = self.build()
                with context.wrap_socket(sock, server_hostname=address.name) as wrapped:
                    # In TLS 1.3 the server checks the client's certificate only after that.
                    wrapped.settimeout(max(0.001, min(_ALERT, until - clock.now())))
                    wrapped.recv(1)
        except TimeoutError:
            return None
        except OSError as error:
            return bare(error)
        except ConfigurationError:
            return None  # a file is being replaced
        return None

    def _file_states(self) -> tuple[tuple[int, int, int], ...]:
        for option in ("ca", "cert", "key"):
            name = getattr(self, option)
            if name is None:
                continue
            try:
                with Path(name).open("rb"):
                    pass
            except OSError as error:
                raise ConfigurationError(
                    f"cannot read the TLS file {option}={name!r}: {why_unreadable(error)}"
                ) from error
        try:
            return file_state(*self._files)
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the TLS files: {why_unreadable(error)}"
            ) from error

    def _blame(self, error: Exception) -> str:
        files = f"cert={self.cert!r}" + (f" and key={self.key!r}" if self.key else "")
        reason = getattr(error, "reason", None)
        if reason == "KEY_VALUES_MISMATCH":
            return f"cannot use the TLS files {files}: the key does not belong to the certificate"
        if self.key is None and self.cert is not None:
            try:
                has_key = b"PRIVATE KEY-----" in Path(self.cert).read_bytes()
            except OSError:
                has_key = True  # the file cannot be read: that is another error
            if not has_key:
                return (
                    f"cannot use the TLS file cert={self.cert!r}: it holds no private key; "
                    "name the file of the key with key="
                )
        return f"cannot use the TLS files {files}: {_why(error)}"


def is_tls_failure(error: BaseException) -> bool:
    """Whether TLS has failed for a reason that lasts until the configuration is changed."""
    # The end of the connection during the handshake is a reset, not a refusal.
    return isinstance(error, ssl.SSLError) and not isinstance(
        error, ssl.SSLEOFError | ssl.SSLZeroReturnError
    )


def is_hang_up(error: BaseException) -> bool:
    """Whether the server has closed the connection without an alert."""
    return isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)


def is_refused_by_server(error: BaseException) -> bool:
    """Whether the server has aborted the handshake, and so has read no request.

    In TLS 1.3 a server checks the client's certificate only after the client has finished the
    handshake, so this comes as the answer to a request.
    """
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def advice(error: BaseException, *, name: str, has_certificate: bool) -> str:
    """Say what is wrong with a handshake that has failed, and what to do about it.

    Args:
        error: the failure, for which `is_tls_failure` is true.
        name: the name that the server's certificate should be valid for.
        has_certificate: whether the client has sent a certificate.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error, name)
    reason = getattr(error, "reason", None) or ""
    shown = _short(error)
    if "PROTOCOL_VERSION" in reason or reason in _TOO_OLD or _OLD_SIGNATURE in str(error):
        return (
            f"its TLS version is too old: it has no {_LOWEST} or later, which we insist on ({shown}); "
            "enable it at the server"
        )
    if "CERTIFICATE_EXPIRED" in reason:
        return f"it refuses our TLS certificate, which has expired ({shown}); renew cert="
    if "CERTIFICATE_REVOKED" in reason:
        return f"it refuses our TLS certificate, which was revoked ({shown}); set cert= and key="
    if reason in _WANTS_CERTIFICATE:
        if not has_certificate:
            return f"it refuses connections without a TLS certificate ({shown}); set cert= and key="
        return (
            f"it refuses our TLS certificate ({shown}); set cert= and key= to ones that its "
            "authority has signed for clients"
        )
    if "UNRECOGNIZED_NAME" in reason:
        return f"it has no certificate for the name {name!r} ({shown}); check the host in the URL"
    if "HANDSHAKE_FAILURE" in reason:
        client = "" if has_certificate else ", or it wants a certificate: set cert= and key="
        return f"it has no TLS cipher in common with us{client} ({shown})"
    if reason in _PLAIN:
        return (
            f"it does not speak TLS on this port ({shown}); name its TLS port in the URL, or leave "
            "out +tls"
        )
    if is_refused_by_server(error):
        return f"it breaks off the TLS handshake ({shown}); see its log"
    return f"TLS failed ({shown}); does it speak TLS on this port?"


def _distrust(error: ssl.SSLCertVerificationError, name: str) -> str:
    code, said = error.verify_code, error.verify_message or _short(error)
    if code in {_NAME, _NUMBER}:
        return (
            f"its certificate is not for the name {name!r} ({said}); use a host name in the URL that "
            "is in the certificate"
        )
    if code == _EXPIRED:
        return (
            f"its certificate has expired ({said}); renew it at the server, or set this clock right"
        )
    if code == _NOT_YET_VALID:
        return f"its certificate is not valid yet ({said}); set the clocks right, here or there"
    if code == _REVOKED:
        return f"its certificate was revoked ({said}); give the server another one"
    if code == _PURPOSE:
        return f"its certificate is not for servers ({said}); give the server one that is"
    if code in _WEAK:
        return (
            f"its certificate is too weak ({said}); give the server one with a longer key or hash"
        )
    if code in _CRL_TROUBLE:
        return f"its certificate cannot be checked ({said}); see to the revocation list"
    return f"its certificate is not trusted; set ca= to the authority that signed it ({said})"


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason in {"NO_START_LINE", "NO_CERTIFICATE_OR_CRL_FOUND"} or "PEM lib" in str(
            error
        ):
            return "it is not in PEM format, or holds something else than it should"
        return _short(error)
    return why_unreadable(error)


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not")


def _short(error: object) -> str:
    return one_line(error, 200)
