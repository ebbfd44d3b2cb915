"""What the tests of the ZooKeeper store need more than once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from leadership_core.store import Entry

TTL = 4.0


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Poll until the condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


class Seen(list[Any]):
    """A callback that writes down what it is called with."""

    def __call__(self, what: Any = None) -> None:
        self.append(what)

    def wait(self, condition: Callable[[Any], object], seconds: float = 5.0) -> Any:
        """Wait until the last call was with something like that."""
        wait_until(lambda: self and condition(self[-1]), seconds)
        return self[-1]


def has_value(value: bytes) -> Callable[[object], bool]:
    """A condition for `Seen.wait`: an entry with this value."""
    return lambda seen: isinstance(seen, Entry) and seen.value == value


@contextmanager
def kazoo(port: int, timeout: float = 8.0, **options: Any) -> Iterator[KazooClient]:
    """A client as another program has it."""
    client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=timeout, **options)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def our_threads() -> list[str]:
    """The names of the threads of this store."""
    prefix = "leadership-zookeeper"
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def open_sockets() -> int:
    """How many sockets this process has."""
    return sum(map(_is_socket, list(Path("/proc/self/fd").iterdir())))


def _is_socket(entry: Path) -> bool:
    try:
        return str(entry.readlink()).startswith("socket:")
    except OSError:
        return False  # closed in the meantime
