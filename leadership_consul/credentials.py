"""The ACL token and the TLS files, both read again when somebody has replaced the file."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from pathlib import Path
from typing import Self

from leadership_core.errors import ConfigurationError

from .wire import DeadlineTLSSocket

__all__ = ["TLS", "Token"]

log = logging.getLogger(__name__)

_State = tuple[tuple[int, int, int], ...]


class Token:
    """An ACL token that shows itself to nobody but the agent; safe for several threads."""

    def __init__(self, value: str | None, file: Path | None = None) -> None:
        self._value = _checked(value) if value else None
        self._file = file
        self._state = _state(file)

    @classmethod
    def from_file(cls, path: str) -> Self:
        """Take it from a file, which an agent such as Vault's may replace at any time."""
        file = Path(path)
        try:
            return cls(_content(file), file)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"cannot read the token_file {path!r}: {_why(error)}"
            ) from None

    def headers(self) -> dict[str, str]:
        """The headers that show the token of now to an agent."""
        if self._file is not None:
            self._refresh(self._file)
        return {} if self._value is None else {"X-Consul-Token": self._value}

    def masked(self, text: str) -> str:
        """The text without the token: a proxy in trouble shows what it was asked."""
        return text if self._value is None else text.replace(self._value, "***")

    def _refresh(self, file: Path) -> None:
        try:
            state = _state(file)
            if state == self._state:
                return
            self._value, self._state = _checked(_content(file)), state
        except (OSError, ValueError) as error:
            # It may be in the middle of being replaced; the old token may well still work.
            log.warning("Cannot read the token_file %s again: %s", file, _why(error))

    def __repr__(self) -> str:
        return f"<Token {'none' if self._value is None else '***'}>"


class TLS:
    """What a TLS connection to an agent needs; safe for several threads.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be.
    """

    def __init__(self, ca: str | None, cert: str | None, key: str | None, verify: bool) -> None:
        self._ca, self._cert, self._key, self._verify = ca, cert, key, verify
        self._files = [Path(name) for name in (ca, cert, key) if name]
        self._lock = threading.Lock()
        try:
            self._state = _state(*self._files)
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
                state = _state(*self._files)
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
        context.sslsocket_class = DeadlineTLSSocket
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not")


def _state(*files: Path | None) -> _State:
    found = [file.stat() for file in files if file is not None]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)


def _content(file: Path) -> str:
    value = file.read_text("utf-8").strip()
    if not value:
        raise ValueError("it is empty")
    return value


def _checked(value: str) -> str:
    # A header takes no more; the value itself is never repeated.
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError("the Consul token has characters that no token has")
    return value


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__ if isinstance(error, UnicodeDecodeError) else str(error)
