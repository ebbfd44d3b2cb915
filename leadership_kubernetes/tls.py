"""The TLS settings of a cluster: files, or PEM text that a kubeconfig file contains."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator

from leadership_core.backend import ClientTLS, ConfigurationError, use_deadline_sockets

__all__ = ["ClusterTLS"]


class ClusterTLS(ClientTLS):
    """TLS files as `ClientTLS` has them, each of which may be given as text; thread-safe.

    Args:
        ca: file of the authorities to trust; None for those of the system.
        cert: file of the client's certificate, or None.
        key: file of its key.
        verify: whether to check the server's certificate and its name.
        ca_text: in place of `ca`, in PEM format.
        cert_text: in place of `cert` and `key`: both, in PEM format.
        server_name: the name that the certificate must be for; None for that of the host.

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
        ca_text: str | None = None,
        cert_text: str | None = None,
        server_name: str | None = None,
    ) -> None:
        self._ca_text = ca_text
        self._cert_text = cert_text
        self.server_name = server_name
        super().__init__(ca, cert, key, verify=verify, adapt=use_deadline_sockets)

    @property
    def has_certificate(self) -> bool:
        return bool(self.cert or self._cert_text)

    def use_certificate(self, text: str) -> None:
        """Send another certificate from now on; its key is in the same text."""
        with self._lock:
            if text != self._cert_text:
                self._cert_text = text
                self._context = self._new_context()

    def build(self) -> ssl.SSLContext:
        context = super().build()
        if self._ca_text is not None:
            fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no other authority
            fresh.check_hostname, fresh.verify_mode = context.check_hostname, context.verify_mode
            fresh.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert:
                fresh.load_cert_chain(self.cert, self.key)
            context = fresh
            try:
                context.load_verify_locations(cadata=self._ca_text)
            except (ssl.SSLError, ValueError) as error:
                raise ConfigurationError(
                    "certificate-authority-data of the kubeconfig file is no certificate"
                ) from error
        if self._cert_text is not None:
            try:
                with _as_file(self._cert_text) as name:
                    context.load_cert_chain(name)
            except (ssl.SSLError, OSError, ValueError):
                problem = "the client's certificate and key in the kubeconfig file, or of its command, cannot be used"
                # Not as the cause: OpenSSL's error may quote the text.
                raise ConfigurationError(problem) from None
        return context


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A file for OpenSSL, which takes no text; only its owner can read it, and only inside."""
    handle, name = tempfile.mkstemp(prefix="leadership-", suffix=".pem")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        yield name
    finally:
        os.unlink(name)  # noqa: PTH108  # a name, not a path of the user
