"""TLS as gRPC takes it, and why a handshake has failed.

gRPC says of a handshake only that it has failed, or that a socket was closed. So when one has,
the same is tried once more with the standard library, which says why.
"""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leadership_core import clock
from leadership_core.addresses import Address, connected
from leadership_core.tls import ClientTLS, advice, is_hang_up, is_tls_failure

from .proto import grpc

__all__ = ["TLS", "speaks_tls", "target"]


class TLS(ClientTLS):
    """What a TLS connection to an endpoint needs; safe for several threads. See `ClientTLS`."""

    def channel(self, address: Address, options: list[tuple[str, Any]], until: float) -> Any:
        """Make a channel, with the files as they are now.

        Args:
            address: of the endpoint.
            options: of the channel.
            until: when to give up on what has to be asked before; on `clock.now`.

        Raises:
            OSError, ConfigurationError: a file cannot be read, or, without `verify`, the server
                not be reached.
        """
        roots, name = _content(self.ca or _system_authorities()), address.name
        if not self.verify:
            # gRPC checks every certificate. So it is told to trust the one that is there.
            roots, name = self._presented(address, until)
        # The address is connected to, so that gRPC has to be told the name.
        options = [*options, ("grpc.ssl_target_name_override", name)]
        credentials = grpc.ssl_channel_credentials(
            roots, _content(self.key or self.cert), _content(self.cert)
        )
        return grpc.secure_channel(target(address), credentials, options)

    def unverified(self) -> ssl.SSLContext:
        """What a connection needs over which nothing is sent that matters, with the files of now.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        context = self.build()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return context

    def trouble(self, address: Address, until: float) -> str | None:
        """Say what is wrong with a handshake, and what to do; None if nothing is.

        Args:
            address: of the server.
            until: when to give up, on `clock.now`.
        """
        error = self.why_hung_up(address, until)
        if error is not None and is_tls_failure(error):
            return advice(error, name=address.name, has_certificate=self.cert is not None)
        if error is not None and is_hang_up(error) and _speaks_plainly(address, until):
            return "it does not speak TLS on this port; name its TLS port, or leave out +tls"
        return None

    def _presented(self, address: Address, until: float) -> tuple[bytes, str]:
        """The certificate that a server presents, and a name that it is good for."""
        context = self.build()
        with (
            connected(address, until) as sock,
            context.wrap_socket(sock, server_hostname=address.name) as wrapped,
        ):
            found = wrapped.getpeercert(binary_form=True)
        assert found is not None
        pem = ssl.DER_cert_to_PEM_cert(found)
        # Only a certificate that was verified is taken apart: by itself, then.
        context.load_verify_locations(cadata=pem)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
        with (
            connected(address, until) as sock,
            context.wrap_socket(sock, server_hostname=address.name) as wrapped,
        ):
            return pem.encode(), _name_in(wrapped.getpeercert() or {}) or address.name


def target(address: Address) -> str:
    """An address as gRPC takes it, so that it resolves no name by itself."""
    number, port = address.number.replace("%", "%25"), address.sockaddr[1]
    if address.family == socket.AF_INET6:
        return f"ipv6:[{number}]:{port}"
    return f"ipv4:{number}:{port}"


def speaks_tls(address: Address, until: float) -> bool:
    """Whether a server that does not answer in plain text wants TLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with connected(address, until) as sock, context.wrap_socket(sock):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _speaks_plainly(address: Address, until: float) -> bool:
    try:
        with connected(address, until) as sock:
            sock.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            return sock.recv(5) == b"HTTP/"
    except OSError:
        return False


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
