"""Resolution of host names by a slow or unreachable name server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from leadership_core.backend import resolver
from leadership_core.backend.resolver import resolve
from tests.support.resolver import Names
from tests.support.waiting import at_most


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that does not answer before the end of the test."""
    over, ask = threading.Event(), socket.getaddrinfo

    def getaddrinfo(*args: Any, **how: Any) -> Any:
        if not how.get("flags"):
            over.wait(10)
        return ask(*args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    over.set()


def test_address_is_resolved_without_a_name_server(silent: None) -> None:
    """No thread is started, either."""
    threads = threading.active_count()
    assert [one[4] for one in resolve("127.0.0.1", 80, 0.0, thread="t")] == [("127.0.0.1", 80)]
    assert threading.active_count() == threads


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 300, "a..b"])
def test_invalid_name_is_an_error(host: str) -> None:
    """It is an `OSError`, as callers expect it of a network."""
    with pytest.raises(OSError):  # noqa: PT011 - which one is for the resolver to say
        resolve(host, 80, 5.0, thread="t")


def test_resolve_ends_in_time_with_a_silent_name_server(silent: None) -> None:
    """The error names the host."""
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="localhost"):
        resolve("localhost", 80, 0.2, thread="t")
    assert 0.15 < time.monotonic() - began < at_most(1.0)


def test_resolve_ends_when_it_is_cancelled(silent: None) -> None:
    """The store is closed meanwhile."""
    enough, began = threading.Event(), time.monotonic()
    threading.Timer(0.1, enough.set).start()
    with pytest.raises(TimeoutError):
        resolve("localhost", 80, 5.0, thread="t", wanted=lambda: not enough.is_set())
    assert time.monotonic() - began < at_most(1.0)


def test_look_ups_of_an_unreachable_name_server_are_shared_and_capped(silent: None) -> None:
    """Each of them hangs for half a minute, so retries would start more and more threads."""
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
    """A look-up that hangs does not delay the next one."""
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
    assert 1.5 < time.monotonic() - began < at_most(6)
    over.set()


def test_answer_of_a_look_up_that_has_ended_is_used_by_earlier_calls_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread may stop between the answer and the removal of the look-up; the name may change then."""
    names = Names(monkeypatch)
    forget, go_on = resolver._forget, threading.Event()

    def stop_before(*arguments: Any) -> None:
        go_on.wait(10)
        forget(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(resolver, "_forget", stop_before)
        for address in ("127.0.0.1", "127.0.0.2"):
            names.set("name.test", [address])
            assert resolve("name.test", 83, 5.0, thread="t")[0][4] == (address, 83)
        go_on.set()
    assert names.asked["name.test"] == 2


def test_name_is_resolved_once_threads_can_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, the error is an `OSError`, as callers expect it."""

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
