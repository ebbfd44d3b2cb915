"""Program that makes one request of a store, and prints its peak of memory in MB.

A process of its own, so that the memory of other tests is not counted.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from leadership_core import open_store
from leadership_core.backend.deadline import call_timeout
from leadership_core.errors import LeadershipError, StoreUnavailable

SECONDS = 20.0


def most_memory() -> int:
    """Peak so far, in KiB. The peak of `getrusage` includes the parent's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main(url: str, doing: str) -> None:
    store = open_store(url)
    before = most_memory()
    begun = time.monotonic()
    try:
        with call_timeout(SECONDS):
            match doing:
                case "get":
                    result = f"{len(getattr(store.get('fuzz/key'), 'value', b''))} bytes"
                case "list":
                    entries = store.list("fuzz")
                    result = f"{sum(len(one.value) for one in entries)} bytes in {len(entries)}"
                case "delete tree":
                    result = f"{store.delete_tree('fuzz')} deleted"
                case "put":
                    result = f"{store.put('fuzz/key', b'value').key}"
                case "open":
                    result = f"{store.open_session(15.0).renew()} s"
                case "watch":
                    reported = threading.Event()
                    watch = store.watch_tree("fuzz", lambda _: reported.set())
                    time.sleep(8.0)
                    watch.close()
                    result = "reported" if reported.is_set() else "not reported"
                case _:
                    leader = store.leader("fuzz/key")
                    result = f"{leader}"
    except LeadershipError as error:
        kind = StoreUnavailable if isinstance(error, StoreUnavailable) else type(error)
        result = f"{kind.__name__}: {error}"
    took = time.monotonic() - begun
    used = (most_memory() - before) // 1024
    print(f"{used}\t{took:.2f}\t{result:.500}")
    store.close(1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
