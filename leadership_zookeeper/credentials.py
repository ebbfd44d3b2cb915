"""The TLS files, read again when somebody has replaced one."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from pathlib import Path

from leadership_core.errors import ConfigurationError

from .wire import TLSWire

__all__ = ["TLS"]

log = logging.getLogger(__name__)


class TLS:
    """What a TLS connection to a server needs; safe for several threads.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be.
    """

    def __init__(self, ca: str | None, cert: str | None, key: str | None, verify: bool) -> None:
        self._ca, self._cert, self._key, self._verify = ca, cert, key, verify
        self._files = [Path(name) for name in (ca, cert, key) if name]
        self._lock = threading.Lock()
        try:
            self._state = self._look()
            self._context = self._build()
        except (OSError, ValueError) as error:
            files = ", ".join(map(str, self._files))
            raise ConfigurationError(
                f"cannot use the TLS files ({files}): {_why(error)}"
            ) from error

    def context(self) -> ssl.SSLContext:
        """The context for a new connection; the same object as long as no file has changed."""
        with self._lock:
            try:
                state = self._look()
                if state != self._state:
                    self._context, self._state = self._build(), state
            except (OSError, ValueError) as error:
                log.warning("Cannot load the TLS files again: %s", _why(error))
            return self._context

    def _build(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._ca)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._cert:
            # A callable, because OpenSSL asks on the terminal for the password of a key else.
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        context.sslsocket_class = TLSWire
        return context

    def _look(self) -> list[tuple[int, int, int]]:
        found = [file.stat() for file in self._files]
        return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found]


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not")


def _why(error: Exception) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
