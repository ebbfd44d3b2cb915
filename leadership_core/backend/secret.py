"""Secret: a password or token from a URL or a file, which is sent to the server only.

It is an object and not a str, so that neither a log record, nor a message, nor a traceback with
local variables shows it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import quote, quote_plus

from ..errors import ConfigurationError, URLError
from .tracebacks import HiddenText
from .url import StoreURL

__all__ = ["FileState", "Secret", "file_state", "read_password", "why_unreadable"]

log: logging.Logger = logging.getLogger(__name__)

_SHORT = 4  # characters; a shorter text may be a part of any word
_LONGEST = 64 * 1024  # bytes of a file with a secret

FileState = tuple[tuple[int, int, int], ...]


class Secret:
    """A password or token that is read again when its file has been replaced; thread-safe.

    Args:
        value: the secret itself.
        file: the file that it was read from, and is read from again.
        option: the option of the URL that names the file.
        check: raises `ValueError` for an invalid value, with a message that does not repeat it.

    Raises:
        ConfigurationError: `check` refuses the value.
    """

    def __init__(
        self,
        value: str,
        *,
        file: Path | None = None,
        option: str = "",
        check: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._check = check
        self._option = option
        self._file = file
        self._state = file_state(file)
        self._value = HiddenText(value)
        self._reject(self._value)
        self._version = 0
        self._forms = _forms(value)

    @classmethod
    def from_file(
        cls, path: str, option: str, check: Callable[[str], None] = lambda _: None
    ) -> Self:
        """Read it from a file, which another program may replace at any time.

        Raises:
            ConfigurationError: the file cannot be read, is empty, or holds what `check` refuses.
        """
        file = Path(path)
        problem = None
        try:
            return cls(HiddenText(_content(file)), file=file, option=option, check=check)
        except (OSError, ValueError) as error:
            # Not the original: its traceback shows what was read.
            problem = why_unreadable(error)
        raise ConfigurationError(f"cannot use the {option} {path!r}: {problem}")

    @property
    def file(self) -> Path | None:
        """The file that it is read from, or None."""
        return self._file

    def reveal(self) -> str:
        """The present value; reads the file again if that was replaced."""
        if self._file is not None:
            self._refresh(self._file)
        return self._value

    @property
    def version(self) -> int:
        """A number that grows with each change of the value; reads the file again if that was replaced."""
        if self._file is not None:
            self._refresh(self._file)
        return self._version

    def masked(self, text: str) -> str:
        """Mask the secret in a text, also percent-encoded, in JSON or in base64.

        A server or a proxy may repeat the request in an error.
        """
        return self._forms.sub("***", text) if text else text

    def _refresh(self, file: Path) -> None:
        try:
            state = file_state(file)
            if state == self._state:
                return
            value = HiddenText(_content(file))
            self._reject(value)
        except (OSError, ValueError) as error:
            # The file may just be being replaced; the old value may still be valid.
            log.warning(
                "Cannot read the %s %s again: %s", self._option, file, why_unreadable(error)
            )
            return
        self._state = state
        if value != self._value:
            # Requests that are under way have the old value.
            self._forms = _forms(value, self._value)
            self._value = value
            self._version += 1

    def _reject(self, value: str) -> None:
        try:
            self._check(value)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    def __repr__(self) -> str:
        return "<Secret ***>"

    __str__ = __repr__


def read_password(url: StoreURL, file: str | None) -> Secret | None:
    """Return the password from the URL or from a file; None if there is neither.

    Args:
        url: the URL of the store.
        file: the value of its option ``password_file``, or None.

    Raises:
        ConfigurationError: both are given, or the file cannot be used.
    """
    if file is None:
        return Secret(url.password) if url.password else None
    if url.password is not None:
        raise URLError("the password is given twice: in USER:PASSWORD@ and in password_file=")
    return Secret.from_file(file, "password_file")


def file_state(*files: Path | None) -> FileState:
    """Return a value that changes when one of the files is replaced or written; raises OSError."""
    found = [file.stat() for file in files if file is not None]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)


def why_unreadable(error: Exception) -> str:
    """Say why a file cannot be used, without any of its content."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        return os.strerror(error.errno) if error.errno > 0 else error.strerror
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _content(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST // 1024} KiB")
    value = data.decode("utf-8").strip()
    if not value:
        raise ValueError("it is empty")
    return value


def _forms(*values: str) -> re.Pattern[str]:
    found: set[str] = set()
    for value in filter(None, values):
        data = value.encode("utf-8", "surrogateescape")
        found |= {
            value,
            quote(data, safe=""),
            quote(data),
            quote_plus(data),
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
            repr(value)[1:-1],
            ascii(value)[1:-1],
            ascii(data)[2:-1],
            base64.b64encode(data).decode().rstrip("="),
            base64.urlsafe_b64encode(data).decode().rstrip("="),
        }
        # The same with lower-case letters, as in %2f.
        found |= {re.sub(r"%[0-9A-F]{2}", lambda one: one[0].lower(), form) for form in found}
    patterns = [
        re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
        for form in sorted(found, key=len, reverse=True)
    ]
    return re.compile("|".join(patterns) if any(values) else "(?!)")
