"""Host names, with a name server that takes its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from leadership_core.names import resolve
from tests.support.machine import at_most


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that does not answer before the test is over."""
    over, ask = threading.Event(), socket.getaddrinfo

    def getaddrinfo(*args: Any, **how: Any) -> Any:
        if not how.get("flags"):
            over.wait(10)
        return ask(*args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    over.set()


def test_an_address_needs_no_name_server(silent: None) -> None:
    """Nor a thread."""
    threads = threading.active_count()
    assert [one[4] for one in resolve("127.0.0.1", 80, 0.0, thread="t")] == [("127.0.0.1", 80)]
    assert threading.active_count() == threads


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 300, "a..b"])
def test_a_name_that_is_none_is_an_error(host: str) -> None:
    """Of the kind that callers expect of a network."""
    with pytest.raises(OSError):  # noqa: PT011 - which one is for the resolver to say
        resolve(host, 80, 5.0, thread="t")


def test_a_silent_name_server_is_waited_for_in_time_only(silent: None) -> None:
    """Then it says so."""
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="localhost"):
        resolve("localhost", 80, 0.2, thread="t")
    assert 0.15 < time.monotonic() - began < at_most(1.0)


def test_nobody_waits_for_what_is_not_wanted_any_more(silent: None) -> None:
    """As when a store is closed."""
    enough, began = threading.Event(), time.monotonic()
    threading.Timer(0.1, enough.set).start()
    with pytest.raises(TimeoutError):
        resolve("localhost", 80, 5.0, thread="t", wanted=lambda: not enough.is_set())
    assert time.monotonic() - began < at_most(1.0)


def test_look_ups_of_a_dead_name_server_are_shared_and_capped(silent: None) -> None:
    """A thread for each call would hang for half a minute, and retries would pile them up."""
    callers = [
        threading.Thread(target=_try_to_resolve, args=(f"host-{number % 8}.example", 3.0))
        for number in range(40)
    ]
    for caller in callers:
        caller.start()
    time.sleep(0.5)
    early = _look_ups()
    time.sleep(2.0)
    late = _look_ups()
    for caller in callers:
        caller.join(10)

    assert early == 8
    assert 8 < late <= 16


def test_name_server_that_is_back_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that hangs does not keep the next one from asking."""
    asked, ask, over = [0], socket.getaddrinfo, threading.Event()

    def getaddrinfo(*args: Any, **how: Any) -> Any:
        if not how.get("flags"):
            asked[0] += 1
            if asked[0] == 1:
                over.wait(20)
        return ask(*args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    began = time.monotonic()
    assert resolve("localhost", 81, 10.0, thread="t")
    assert 1.5 < time.monotonic() - began < 6
    over.set()


def test_name_is_resolved_once_threads_can_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until then it is an error of the kind that callers expect of a network."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="no thread can be started"):
            resolve("localhost", 82, 5.0, thread="t")

    assert resolve("localhost", 82, 5.0, thread="t")


def _try_to_resolve(host: str, seconds: float) -> None:
    with contextlib.suppress(OSError):
        resolve(host, 80, seconds, thread="look-up")


def _look_ups() -> int:
    return sum(thread.name == "look-up" for thread in threading.enumerate())
