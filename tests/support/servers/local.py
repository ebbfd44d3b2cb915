"""Base of all servers that the tests start: start, stop, kill, freeze and restart."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.servers.process import Process

__all__ = ["LocalServer"]

_START_SECONDS = 30.0  # it takes 2 s at most; the rest is for a busy machine


class LocalServer:
    """A server process with a folder for its data.

    Attributes:
        process: it; may be started any number of times.
        folder: for its data, its configuration and its log.
    """

    process: Process
    folder: Path

    def serves(self) -> bool:
        """Whether it accepts requests, writes included."""
        raise NotImplementedError

    def start(self, *, wait: bool = True) -> None:
        """Start it, again or for the first time; returns once it serves."""
        self.process.start()
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds: float = _START_SECONDS) -> None:
        """Wait until it serves; raises `ServerError` with the end of its log."""
        self.process.wait_until(self.serves, seconds)

    def stop(self) -> None:
        """Stop it gracefully; its data are kept."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill it; its data are kept."""
        self.process.kill()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, and no request is answered."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.process.resume()

    def remove(self) -> None:
        """Kill it and delete its data; the log is kept."""
        self.process.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)
