"""Terminal of `leadership run`: which process group has it, and job control by its user's shell.

The child has a process group of its own. So that it can read from the terminal, and that Ctrl-C and
Ctrl-Z reach it, its group becomes the terminal's foreground group in place of that of `leadership run`.
The user's shell knows the latter only: when the child is stopped, `leadership run` takes the terminal
back and stops, too, and when the shell continues it, it continues the child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import TracebackType
from typing import Any, Self

__all__ = ["Terminal"]


class Terminal:
    """The controlling terminal, if there is one; use it in the main thread, while it is entered."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._handler: Any = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
            # Otherwise a process in the background stops when it takes the terminal, or writes.
            self._handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGTTOU, self._handler)
        self.close()

    def close(self) -> None:
        """Do without it from now on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        """The descriptor, which `poll` reports when the terminal was closed."""
        return self._descriptor

    def has_hung_up(self) -> bool:
        """Whether it was closed, or its session's leader, the user's shell, has ended."""
        return self.exists and self._foreground() == -1

    @property
    def exists(self) -> bool:
        """Whether there is a terminal."""
        return self._descriptor >= 0

    @property
    def is_ours(self) -> bool:
        """Whether this process is in the foreground."""
        return self._foreground() == os.getpgrp()

    def belongs_to(self, group: int) -> bool:
        """Whether that process group is in the foreground."""
        return group > 0 and self._foreground() == group

    def is_for_child(self) -> bool:
        """Whether a child should get it from the start.

        Not where the output goes to a pipe: the next program of the pipeline may be the one that reads
        from the terminal (`| less`). A child that wants it then is stopped by SIGTTIN, and gets it.
        """
        return self.is_ours and os.isatty(0) and os.isatty(1)

    def give(self, group: int) -> None:
        """Put that process group into the foreground."""
        with contextlib.suppress(OSError):  # the group, or the terminal, has gone
            os.tcsetpgrp(self._descriptor, group)

    def take_back(self, group: int) -> None:
        """Put this process into the foreground, if that group is there."""
        if self.belongs_to(group):
            self.give(os.getpgrp())

    @staticmethod
    def stop_job() -> None:
        """Stop this process and its group, as Ctrl-Z does; returns when it is continued.

        Returns at once if its process group is orphaned: no shell would continue it.
        """
        before = signal.getsignal(signal.SIGTSTP)
        Terminal.signal_others(signal.SIGTSTP)  # those of a pipeline
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)  # acts before it returns
        signal.signal(signal.SIGTSTP, before)

    @staticmethod
    def signal_others(number: int) -> None:
        """Send a signal to the process group, but for this process."""
        before = signal.signal(number, signal.SIG_IGN)
        os.killpg(0, number)
        signal.signal(number, before)

    def _foreground(self) -> int:
        if self._descriptor < 0:
            return -1
        try:
            return os.tcgetpgrp(self._descriptor)
        except OSError:
            return -1
