"""Requests of ZooKeeper's client: the signal that they wait, and the futures of their answers."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import pytest

from leadership_zookeeper.pending_answer import PendingAnswer
from leadership_zookeeper.request_signal import RequestAnnouncer, RequestSignal, request_signals


@pytest.fixture
def ends() -> Iterator[tuple[RequestSignal, RequestAnnouncer]]:
    """Both ends of a signal."""
    signal, announcer = request_signals()
    yield signal, announcer
    announcer.close()
    signal.close()


def is_readable(signal: RequestSignal) -> bool:
    """Whether a poll would return at once."""
    poll = select.poll()
    poll.register(signal, select.POLLIN)
    return bool(poll.poll(0))


def test_each_announcement_is_taken_once(ends: tuple[RequestSignal, RequestAnnouncer]) -> None:
    """One is taken by kazoo for each request that it sends."""
    signal, announcer = ends
    announcer.send(b"\0")
    announcer.send(b"\0")

    assert [signal.recv(1), signal.recv(1)] == [b"\0", b"\0"]
    with pytest.raises(BlockingIOError):
        signal.recv(1)


def test_socket_is_written_only_while_the_thread_waits(
    ends: tuple[RequestSignal, RequestAnnouncer],
) -> None:
    """Else the thread counts the requests before it waits."""
    signal, announcer = ends
    announcer.send(b"\0")
    assert not is_readable(signal)

    signal.waits = True
    announcer.send(b"\0")
    assert is_readable(signal)

    signal.clear()
    assert not is_readable(signal)
    assert len(signal.announced) == 2


def test_announcement_never_blocks(ends: tuple[RequestSignal, RequestAnnouncer]) -> None:
    """A thread that does not run for a while leaves the socket full."""
    signal, announcer = ends
    signal.waits = True

    for _ in range(5000):
        announcer.send(b"\0")

    assert len(signal.announced) == 5000
    signal.clear()
    assert not is_readable(signal)


def test_announcement_to_closed_connection_raises() -> None:
    """The caller of the request gets it."""
    signal, announcer = request_signals()
    announcer.close()
    signal.close()

    with pytest.raises(OSError, match="closed"):
        announcer.send(b"\0")


def test_answer_wakes_all_who_wait() -> None:
    """The threads get the same value."""
    pending, found = PendingAnswer(TimeoutError), []
    threads = [
        threading.Thread(target=lambda: found.append(pending.get(timeout=10))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()

    pending.set("value")

    for thread in threads:
        thread.join(10)
    assert found == ["value"] * 3
    assert pending.ready()
    assert pending.successful()


def test_answer_that_does_not_come_raises_timeout_exception() -> None:
    """It may come later."""
    pending = PendingAnswer(TimeoutError)
    with pytest.raises(TimeoutError):
        pending.get(timeout=0.001)
    with pytest.raises(TimeoutError):
        pending.get(block=False)
    assert not pending.ready()

    pending.set(None)

    assert pending.get(timeout=0.001) is None


def test_error_is_raised() -> None:
    """By each `get`."""
    pending = PendingAnswer(TimeoutError)
    pending.set_exception(KeyError("gone"))

    assert pending.ready()
    assert not pending.successful()
    assert isinstance(pending.exception, KeyError)
    for _ in range(2):
        with pytest.raises(KeyError, match="gone"):
            pending.get(timeout=1)


def test_callbacks_are_called_once_before_and_after_the_answer() -> None:
    """With the future itself."""
    pending, found = PendingAnswer(TimeoutError), []
    pending.rawlink(lambda one: found.append(("before", one.value)))
    pending.set(7)
    pending.rawlink(lambda one: found.append(("after", one.value)))

    assert found == [("before", 7), ("after", 7)]
