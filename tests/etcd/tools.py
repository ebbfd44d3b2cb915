"""What the tests of the etcd store need more than once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leadership_core.store import Entry, Leader


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


def is_led_by(name: str) -> Callable[[object], bool]:
    """A condition for `Seen.wait`: that leader."""
    return lambda seen: isinstance(seen, Leader) and seen.value == name


def our_threads() -> list[str]:
    """The threads that the store, or gRPC for it, has started."""
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("leadership-etcd"))


def sockets() -> set[str]:
    """The sockets that this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
