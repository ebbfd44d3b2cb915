"""A wall clock of one server that a test sets, by a small library that is loaded into its process."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

__all__ = ["FakeTime"]

_SOURCE = Path(__file__).with_suffix(".c")


class FakeTime:
    """The offset of the wall clock of processes that are started with `env`.

    Their monotonic clock is the machine's. It takes a C compiler; without one the test fails.

    Args:
        folder: for the library, and the file that the processes read the offset from.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.fail("the wall clock of a server cannot be set: there is no C compiler (cc)")
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._library = folder / "offset", folder / "fake_time.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(_SOURCE)]
        subprocess.run(command, check=True, capture_output=True)
        self._file.write_bytes(struct.pack("=q", 0))

    @property
    def env(self) -> dict[str, str]:
        """The variables to start a process with."""
        return {"LD_PRELOAD": str(self._library), "FAKE_TIME": str(self._file)}

    def set(self, seconds: float) -> None:
        """Set the wall clock that many seconds ahead of the machine's, at once."""
        with self._file.open("r+b") as file:  # in place: the processes have mapped it
            file.write(struct.pack("=q", int(seconds * 1e9)))
