"""Output to stderr that never blocks: a thread writes it, and a reader that stalls loses lines."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import threading
from collections import deque
from typing import Self, TextIO

__all__ = ["BackgroundOutput"]

_MOST_LINES = 1000
_FLUSH_SECONDS = 0.5


class BackgroundOutput(io.TextIOBase):
    """Takes the place of `sys.stderr` while it is entered, for the log's handlers, too.

    A supervisor shares stderr with its child, and the pipe behind it may be full.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stream: TextIO = sys.stderr
        self._texts: deque[str] = deque(maxlen=_MOST_LINES)
        self._changed = threading.Condition()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="leadership-output", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from error
        self._redirect(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._redirect(self._stream)
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        self._thread.join(_FLUSH_SECONDS)

    def write(self, text: str, /) -> int:
        """Queue the text."""
        with self._changed:
            self._texts.append(text)
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Do nothing: all text is written soon."""

    @staticmethod
    def _redirect(stream: TextIO | BackgroundOutput) -> None:
        sys.stderr = stream
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._texts or self._is_ending)
                if not self._texts:
                    return
                text = "".join(self._texts)
                self._texts.clear()
            # Not by the stream, whose lock the interpreter needs when it ends.
            rest = text.encode(errors="backslashreplace")
            with contextlib.suppress(OSError):  # its reader has gone
                while rest:
                    rest = rest[os.write(2, rest) :]
