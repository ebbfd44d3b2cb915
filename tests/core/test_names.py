"""Host names, with a name server that takes its time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from leadership_core.names import resolve


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
    assert 0.15 < time.monotonic() - began < 1.0


def test_nobody_waits_for_what_is_not_wanted_any_more(silent: None) -> None:
    """As when a store is closed."""
    enough, began = threading.Event(), time.monotonic()
    threading.Timer(0.1, enough.set).start()
    with pytest.raises(TimeoutError):
        resolve("localhost", 80, 5.0, thread="t", wanted=lambda: not enough.is_set())
    assert time.monotonic() - began < 1.0
