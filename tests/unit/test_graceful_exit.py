"""`graceful_exit` by itself: its signals, existing handlers, and second signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from leadership_core import Candidate, ConfigurationError, Store, graceful_exit
from leadership_core.engine.store_base import internals
from tests.unit.conftest import Open

_ALL = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT)


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """Install the handlers of a program in the foreground; they are restored at the end."""
    before = {number: signal.getsignal(number) for number in _ALL}
    for number in _ALL:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_raises_system_exit_with_its_number(number: signal.Signals) -> None:
    """The exit code is 128 plus the number of the signal."""
    done = graceful_exit()

    with pytest.raises(SystemExit) as caught:
        _send(number)

    assert caught.value.code == 128 + number
    assert done
    assert done.installed == (signal.SIGTERM, signal.SIGHUP)
    assert done.left_alone == ()


def test_named_signals_replace_the_default_ones() -> None:
    """Signals that are not named keep their handlers."""
    done = graceful_exit(signal.SIGINT, signal.SIGUSR1)

    assert done.installed == (signal.SIGINT, signal.SIGUSR1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(SystemExit) as caught:
        _send(signal.SIGINT)
    assert caught.value.code == 130


def test_ignored_hangup_stays_ignored() -> None:
    """`nohup` ignores SIGHUP, so that the program outlives its terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    done = graceful_exit()

    assert done
    assert done.installed == (signal.SIGTERM,)
    assert done.left_alone == (signal.SIGHUP,)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_handler_of_the_program_is_left_alone() -> None:
    """`graceful_exit` replaces default handlers only."""

    def handler(_number: int, _frame: object) -> None:
        """One of the program's own."""

    signal.signal(signal.SIGTERM, handler)

    done = graceful_exit()

    assert not done
    assert done.left_alone == (signal.SIGTERM,)
    assert done.installed == (signal.SIGHUP,)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_block_restores_the_handlers() -> None:
    """After the block the handlers are those from before it."""
    with graceful_exit() as outer:
        with graceful_exit(signal.SIGTERM, signal.SIGUSR1) as inner:
            assert inner
        with pytest.raises(SystemExit):
            _send(signal.SIGTERM)
    assert outer
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        assert signal.getsignal(number) is signal.SIG_DFL


def test_block_leaves_a_handler_that_was_installed_inside() -> None:
    """It restores only what it has installed itself."""

    def handler(_number: int, _frame: object) -> None:
        """One that was installed later."""

    with graceful_exit():
        signal.signal(signal.SIGTERM, handler)

    assert signal.getsignal(signal.SIGTERM) is handler
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, 0, 10_000, True, "SIGTERM"])
def test_graceful_exit_rejects_signals_that_cannot_be_handled(number: int) -> None:
    """The error is raised before any handler is installed."""
    with pytest.raises(ConfigurationError):
        graceful_exit(signal.SIGTERM, number)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_graceful_exit_is_refused_in_another_thread() -> None:
    """Python installs handlers in the main thread only."""
    caught: list[Exception] = []

    def call() -> None:
        try:
            graceful_exit()
        except ConfigurationError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

    assert "main thread" in str(caught[0])


def test_second_signal_does_not_interrupt_the_exit() -> None:
    """The exit that the first signal began is completed."""
    ended = []

    def end() -> None:
        try:
            _send(signal.SIGTERM)
        finally:
            _send(signal.SIGTERM)
            with suppress(ValueError):
                try:
                    int("none")
                finally:
                    _send(signal.SIGHUP)
            ended.append(1)

    with graceful_exit(), pytest.raises(SystemExit) as caught:
        end()

    assert caught.value.code == 128 + signal.SIGTERM
    assert ended


def test_signal_after_a_swallowed_exit_raises_again() -> None:
    """A program may catch `SystemExit` and go on."""
    with graceful_exit():
        with suppress(BaseException):  # as a program may do by mistake
            _send(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            _send(signal.SIGHUP)
    assert caught.value.code == 128 + signal.SIGHUP


def test_signal_during_close_does_not_interrupt_it(
    store: Store, open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release is confirmed, the store is closed, and then the program ends."""
    other = open_one()
    candidate = Candidate(store, "key", "a", ttl=30)
    assert candidate.wait_elected(5)
    done: list[bool] = []
    close = internals(store).engine.close

    def slowly(timeout: float) -> bool:
        _send(signal.SIGTERM)
        _send(signal.SIGTERM)
        done.append(close(timeout))
        return done[0]

    monkeypatch.setattr(internals(store).engine, "close", slowly)
    with graceful_exit(), pytest.raises(SystemExit) as caught:
        store.close()

    assert caught.value.code == 143
    assert done == [True]
    assert other.leader("key") is None


def test_signal_stops_candidates_of_other_threads(store: Store) -> None:
    """Their iterators end, and their claims are released."""
    heard: list[bool] = []
    leads = threading.Event()

    def stand() -> None:
        for elected in Candidate(store, "key", "a", ttl=30).run_for_election():
            heard.append(elected)
            if elected:
                leads.set()

    thread = threading.Thread(target=stand)
    thread.start()
    assert leads.wait(5)
    with graceful_exit(), pytest.raises(SystemExit):
        _send(signal.SIGTERM)
    thread.join(5)

    assert not thread.is_alive()
    assert heard == [False, True, False]
