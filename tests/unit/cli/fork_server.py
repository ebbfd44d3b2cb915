"""Runs `leadership` in forks of one interpreter, which is ten times as quick as starting one each.

A request is a line of JSON on stdin, its answer one on stdout. There is one server for each test
process; it ends with its stdin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

__all__ = ["ForkServer"]

ROOT = Path(__file__).parents[3]


class ForkServer:
    """The client; thread-safe, the commands of several threads run one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> set[int]:
        """The server's process id, if it has been started."""
        return set() if self._process is None else {self._process.pid}

    def run(
        self, words: list[str], environment: Mapping[str, str], cwd: str, timeout: float
    ) -> tuple[int, str, str, float]:
        """Run a command; returns its exit code, stdout, stderr and seconds.

        Raises:
            subprocess.TimeoutExpired: it has not ended in that many seconds, and was killed.
        """
        request = {"words": words, "environment": dict(environment), "cwd": cwd, "limit": timeout}
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.unit.cli.fork_server"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )  # fmt: skip
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        if answer["code"] is None:
            raise subprocess.TimeoutExpired(words, timeout, answer["out"], answer["err"])
        return answer["code"], answer["out"], answer["err"], answer["seconds"]


def _serve() -> None:
    # What most commands need. No grpc, which must not be loaded before a fork.
    plugins = "leadership_consul", "leadership_core.stores.sqlite", "leadership_zookeeper"
    for module in (*plugins, "leadership_core.cli.arguments", "leadership_core.cli.logs"):
        import_module(module)
    from leadership_core.cli.main import main

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    for line in sys.stdin.buffer:
        answer = _run(json.loads(line), main)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _run(request: dict[str, Any], main: Any) -> dict[str, Any]:
    begun = time.monotonic()
    with TemporaryFile() as out, TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _become(request, out.fileno(), err.fileno(), main)
        code = _wait(child, begun + request["limit"])
        seconds = time.monotonic() - begun
        said = [os.pread(file.fileno(), 10_000_000, 0) for file in (out, err)]
    decoded = [text.decode("utf-8", "surrogateescape") for text in said]
    return {"code": code, "out": decoded[0], "err": decoded[1], "seconds": seconds}


def _become(request: dict[str, Any], out: int, err: int, main: Any) -> None:
    """In the child: run the command, and end as the interpreter would."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["cwd"])
        sys.argv = ["leadership", *request["words"]]
        try:
            code = main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the child must not go on as a second server
        sys.excepthook(*sys.exc_info())
    finally:
        import atexit

        atexit._run_exitfuncs()
        os._exit(code)


def _wait(child: int, until: float) -> int | None:
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)


if __name__ == "__main__":
    _serve()
