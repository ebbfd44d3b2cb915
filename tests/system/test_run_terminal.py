"""`leadership run` on a terminal, below a shell with job control."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child_log import assert_one_term_at_a_time, lifetimes, survivors
from tests.support.paths import python_path
from tests.support.run_processes import CHILD
from tests.support.waiting import wait_until
from tests.system.conftest import TargetStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # the waits grow with the load

_PROMPT = "READY> "


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = ""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            env = {**os.environ, **python_path(), "PS1": _PROMPT, "TERM": "dumb"}
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], env)
        self.resize(40, 1000)  # no line is wrapped while it is typed
        self.wait_for(_PROMPT)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> None:
        while select.select([self.descriptor], [], [], 0.01)[0]:
            try:
                self.text += os.read(self.descriptor, 65536).decode(errors="replace")
            except OSError:  # the shell has ended
                return

    def type(self, text: str) -> int:
        """Type some text; returns the place in the output from which on it is an answer."""
        self.read()
        place = len(self.text)
        os.write(self.descriptor, text.encode())
        return place

    def wait_for(self, text: str, since: int = 0, seconds: float = 15.0) -> None:
        def found() -> bool:
            self.read()
            return text in self.text[since:]

        try:
            wait_until(found, seconds, f"{text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error} in {self.text[since:]!r}") from None

    def run(self, line: str) -> str:
        """Run a command of the shell to its end, and return the terminal's text of it."""
        place = self.type(f"{line}\r")
        self.wait_for(_PROMPT, place + 1)
        return self.text[place:]

    def close(self) -> None:
        for number in (signal.SIGHUP, signal.SIGCONT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    log = tmp_path / "children.log"
    try:
        yield made
    finally:
        made.close()
    wait_until(lambda: not survivors(log), 10, "the terminal has gone, and all children with it")
    wait_until(lambda: not runs(tmp_path), 10, "leadership run has ended, too")


def runs(folder: Path) -> list[int]:
    """The processes that name a file of the folder in their command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if os.fsencode(folder) in file.read_bytes():
                found.append(int(file.parent.name))
    return found


@pytest.fixture
def start(target: TargetStore, unique_key: str, shell: Shell) -> str:
    """The beginning of a command line."""
    command = f"{sys.executable} -m leadership_core.cli run"
    return f"{command} '{target.url}' '{unique_key}' --ttl {target.ttl} --grace 0.3 --"


def logging(shell: Shell, *words: str) -> str:
    return " ".join(
        [sys.executable, "-I", "-S", str(CHILD), str(shell.folder / "children.log"), *words]
    )


def wait_child(shell: Shell, token: int = 0) -> int:
    def lives() -> bool:
        shell.read()  # or the terminal fills up
        lives = lifetimes(shell.folder / "children.log")
        return bool(lives) and lives[-1].token > token and lives[-1].seconds_since_last < 0.3

    wait_until(lives, 15, "a child")
    return lifetimes(shell.folder / "children.log")[-1].token


def test_child_reads_from_the_terminal(shell: Shell, start: str) -> None:
    """As a command of the shell does, and the shell has the terminal afterwards."""
    place = shell.type(f"{start} sh -c 'echo as\\king; read answer; echo got-$answer; exit 3'\r")
    shell.wait_for("asking", place)
    shell.type("hello\r")
    shell.wait_for("got-hello", place)
    shell.wait_for(_PROMPT, place + 1)

    assert "code 3" in shell.run("echo code $?")


def test_child_in_a_pipeline_gets_the_terminal_when_it_reads(shell: Shell, start: str) -> None:
    """It begins in the background, as the next program may be the one that reads."""
    place = shell.type(f"{start} sh -c 'read answer; echo got-$answer' | cat\r")
    shell.wait_for("the child runs", place)
    shell.type("hello\r")
    shell.wait_for("got-hello", place)
    shell.wait_for(_PROMPT, place + 1)


def test_interrupt_ends_the_child(shell: Shell, start: str) -> None:
    """Ctrl-C reaches the child, and the exit code says so."""
    place = shell.type(f"{start} {logging(shell)}\r")
    wait_child(shell)
    shell.type("\x03")
    shell.wait_for(_PROMPT, place + 1)

    assert "code 130" in shell.run("echo code $?")


def test_interrupt_ends_a_script_that_runs_it(shell: Shell, start: str) -> None:
    """As if the script had run the child itself: Ctrl-C does not go on with its next line."""
    (shell.folder / "script").write_text(f"{start} {logging(shell)}\necho the next line\n")
    place = shell.type("sh script\r")
    wait_child(shell)
    shell.type("\x03")
    shell.wait_for(_PROMPT, place + 1)
    assert "the next line" not in shell.text[place:]


def test_stop_and_foreground_within_the_lease(
    shell: Shell, start: str, target: TargetStore
) -> None:
    """Ctrl-Z stops the job, and the child goes on if the shell continues it in time."""
    start = start.replace(f"--ttl {target.ttl}", "--ttl 20")
    place = shell.type(f"{start} {logging(shell)}\r")
    token = wait_child(shell)
    shell.type("\x1a")
    shell.wait_for("Stopped", place)
    shell.wait_for(_PROMPT, place + 1)
    log = shell.folder / "children.log"
    wait_until(lambda: lifetimes(log)[-1].seconds_since_last > 0.3, 10, "the child is stopped")
    place = shell.type("fg\r")

    assert wait_child(shell) == token
    shell.type("\x03")
    shell.wait_for(_PROMPT, place + 1)
    assert "code 130" in shell.run("echo code $?")


def test_stop_past_the_lease(shell: Shell, start: str, target: TargetStore) -> None:
    """The guard ends the stopped child with the lease; continued, run campaigns again."""
    place = shell.type(f"{start} {logging(shell, 'ignore', 'fork')}\r")
    token = wait_child(shell)
    shell.type("\x1a")
    shell.wait_for("Stopped", place)
    log = shell.folder / "children.log"
    wait_until(lambda: not survivors(log), target.ttl + 10, "the child is killed")
    place = shell.type("fg\r")
    wait_child(shell, token)
    # It ignores SIGINT, so the first Ctrl-C does nothing, as with any command in the foreground.
    shell.type("\x1c")
    shell.wait_for(_PROMPT, place + 1)
    assert "code 131" in shell.run("echo code $?")
    assert_one_term_at_a_time(log, terms=2)


def test_background_job_is_ended_by_the_shell(shell: Shell, start: str) -> None:
    """In the background it has no terminal, and `kill %1` ends it."""
    shell.run(f"{start} {logging(shell)} &")
    wait_child(shell)
    assert "Running" in shell.run("jobs")
    place = shell.type("kill %1; wait %1; echo co\\de $?\r")
    shell.wait_for("code 143", place)


def test_window_size_reaches_the_child(shell: Shell, start: str) -> None:
    """In the foreground, and in the background through `leadership run`."""
    child = "trap 'stty size > size' WINCH; echo be\\gun; while :; do sleep 0.05; done"
    place = shell.type(f'{start} sh -c "{child}"\r')
    shell.wait_for("begun", place)
    shell.resize(33, 77)
    file = shell.folder / "size"
    wait_until(lambda: file.exists() and file.read_text() == "33 77\n", 10, "the child knows")
    shell.type("\x03")
    shell.wait_for(_PROMPT, place + 1)


def test_closed_terminal_ends_all(shell: Shell, start: str) -> None:
    """A hang-up ends the child and `leadership run`; the fixture waits for it."""
    shell.type(f"{start} {logging(shell, 'ignore', 'fork', 'daemon')}\r")
    wait_child(shell)


def test_killed_shell_ends_all(shell: Shell, start: str) -> None:
    """It passes no SIGHUP on; `leadership run`, which is not in the foreground, sees that the terminal has gone."""
    shell.type(f"{start} {logging(shell, 'ignore')}\r")
    wait_child(shell)
    os.kill(shell.pid, signal.SIGKILL)
    wait_until(lambda: not runs(shell.folder), 10, "the child and leadership run have ended")
