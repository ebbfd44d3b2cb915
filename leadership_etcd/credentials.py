"""The TLS files, read for every new connection, and why a handshake has failed.

gRPC says of a handshake only that it has failed, or that a socket was closed. So when one has,
the same is tried once more with the standard library, which says why.
"""

from __future__ import annotations

import itertools
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leadership_core import clock
from leadership_core.errors import ConfigurationError
from leadership_core.names import resolve
from leadership_core.text import one_line

from .proto import grpc

__all__ = ["TLS", "speaks_tls"]

_Address = tuple[str, int]


class TLS:
    """What a TLS connection to an endpoint needs; safe for several threads.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be.
    """

    def __init__(self, ca: str | None, cert: str | None, key: str | None, verify: bool) -> None:
        self._ca, self._cert, self._key, self._verify = ca, cert, key, verify
        try:
            self._context()
        except (OSError, ValueError) as error:
            files = ", ".join(name for name in (ca, cert, key) if name)
            raise ConfigurationError(
                f"cannot use the TLS files ({files}): {_why(error)}"
            ) from error

    def channel(self, endpoint: str, options: list[tuple[str, Any]], until: float) -> Any:
        """Make a channel, with the files as they are now.

        Args:
            endpoint: ``host:port``.
            options: of the channel.
            until: when to give up on what has to be asked before; on `clock.now`.

        Raises:
            OSError: a file cannot be read, or, without `verify`, the server not be reached.
        """
        roots = _content(self._ca or _system_authorities())
        if not self._verify:
            # gRPC checks every certificate. So it is told to trust the one that is there.
            roots, name = self._presented(endpoint, until)
            options = [*options, ("grpc.ssl_target_name_override", name)]
        credentials = grpc.ssl_channel_credentials(
            roots, _content(self._key or self._cert), _content(self._cert)
        )
        return grpc.secure_channel(endpoint, credentials, options)

    def unverified(self) -> ssl.SSLContext:
        """What a connection needs over which nothing is sent that matters, with the files of now.

        Raises:
            OSError: a file cannot be read.
        """
        context = self._context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return context

    def trouble(self, address: _Address, host: str, until: float) -> str | None:
        """Say what is wrong with a handshake, and what to do; None if nothing is.

        Args:
            address: of the server, resolved.
            host: its name in the URL.
            until: when to give up, on `clock.now`.
        """
        try:
            with _connect(address, until) as sock:
                context = self._context()
                context.set_alpn_protocols(["h2"])
                with context.wrap_socket(sock, server_hostname=host) as wrapped:
                    wrapped.settimeout(_left(until, most=0.5))
                    # TLS 1.3: the server looks at our certificate only after that.
                    wrapped.recv(1)
        except ssl.SSLCertVerificationError as error:
            return (
                f"its certificate is not trusted ({error.verify_message}); "
                "set ca= to the authority that signed it, and use the host name that is in it"
            )
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                return (
                    f"it refuses our TLS certificate ({_short(error)}); set cert= and key= "
                    "to ones that its authority has signed"
                )
            hung_up = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
            if hung_up and not _speaks_plainly(address, until):
                return None  # that is a reset, not a refusal
            return f"TLS failed; does it speak TLS on this port? ({_short(error)})"
        except ConnectionError as error:
            if _speaks_plainly(address, until):
                return f"TLS failed; does it speak TLS on this port? ({_short(error)})"
            return None
        except (OSError, ValueError):
            return None
        return None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._ca)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._cert:
            # A callable, because OpenSSL asks on the terminal for the password of a key else.
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        return context

    def _presented(self, endpoint: str, until: float) -> tuple[bytes, str]:
        """The certificate that a server presents, and a name that it is good for."""
        host, _, port = endpoint.rpartition(":")
        host = host.strip("[]")
        context = self._context()
        with (
            _connect((host, int(port)), until) as sock,
            context.wrap_socket(sock, server_hostname=host) as wrapped,
        ):
            found = wrapped.getpeercert(binary_form=True)
        assert found is not None
        pem = ssl.DER_cert_to_PEM_cert(found)
        # Only a certificate that was verified is taken apart: by itself, then.
        context.load_verify_locations(cadata=pem)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
        with (
            _connect((host, int(port)), until) as sock,
            context.wrap_socket(sock, server_hostname=host) as wrapped,
        ):
            return pem.encode(), _name_in(wrapped.getpeercert() or {}) or host


def speaks_tls(address: _Address, until: float) -> bool:
    """Whether a server that does not answer in plain text wants TLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connect(address, until) as sock, context.wrap_socket(sock):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _speaks_plainly(address: _Address, until: float) -> bool:
    try:
        with _connect(address, until) as sock:
            sock.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            return sock.recv(5) == b"HTTP/"
    except OSError:
        return False


def _connect(address: _Address, until: float) -> socket.socket:
    found = resolve(*address, _left(until), thread="leadership-etcd-resolve")
    problem: OSError = OSError(f"{address[0]} has no address")
    for *_, where in found:
        try:
            sock = socket.create_connection(where[:2], timeout=_left(until))
        except OSError as error:
            problem = error
        else:
            sock.settimeout(_left(until))
            return sock
    raise problem


def _left(until: float, most: float = 2.0) -> float:
    return max(0.01, min(most, until - clock.now()))


def _name_in(certificate: Mapping[str, Any]) -> str | None:
    """A host name or an address for which a certificate is good."""
    kinds = {"DNS", "IP Address"}
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind in kinds]
    subject = itertools.chain.from_iterable(certificate.get("subject", ()))
    names += [value for kind, value in subject if kind == "commonName"]
    return next(iter(names), None)


def _system_authorities() -> str | None:
    # What Python trusts by default; where it has no such file, what gRPC does.
    found = ssl.get_default_verify_paths().cafile
    if found is None and Path("/etc/ssl/certs/ca-certificates.crt").is_file():
        found = "/etc/ssl/certs/ca-certificates.crt"
    return found


def _content(file: str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not")


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return str(error)


def _short(error: Exception) -> str:
    return one_line(error, 200)
