"""Makes one request of a store, and prints how much memory it took at the most, in MB.

Run as a program, so that nothing that others have done is counted.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from leadership_core import open_store
from leadership_core.budget import budget
from leadership_core.errors import LeadershipError, StoreUnavailable

SECONDS = 20.0


def most_memory() -> int:
    """KiB, at the most so far. What `getrusage` says has the memory of the parent in it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main(url: str, doing: str) -> None:
    store = open_store(url)
    before = most_memory()
    begun = time.monotonic()
    try:
        with budget(SECONDS):
            match doing:
                case "get":
                    said = f"{len(getattr(store.get('fuzz/key'), 'value', b''))} bytes"
                case "list":
                    entries = store.list("fuzz")
                    said = f"{sum(len(one.value) for one in entries)} bytes in {len(entries)}"
                case "delete tree":
                    said = f"{store.delete_tree('fuzz')} deleted"
                case "put":
                    said = f"{store.put('fuzz/key', b'value').key}"
                case "open":
                    said = f"{store.open_session(15.0).renew()} s"
                case "watch":
                    told = threading.Event()
                    watch = store.watch_tree("fuzz", lambda _: told.set())
                    time.sleep(8.0)
                    watch.close()
                    said = "told" if told.is_set() else "not told"
                case _:
                    leader = store.leader("fuzz/key")
                    said = f"{leader}"
    except LeadershipError as error:
        kind = StoreUnavailable if isinstance(error, StoreUnavailable) else type(error)
        said = f"{kind.__name__}: {error}"
    took = time.monotonic() - begun
    used = (most_memory() - before) // 1024
    print(f"{used}\t{took:.2f}\t{said:.500}")
    store.close(1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
