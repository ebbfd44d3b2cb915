"""Program patched by gevent before any other import, with one candidate."""

# ruff: noqa: E402 - what is imported before it is patched keeps its own threads and sockets
from __future__ import annotations

from gevent import monkey, spawn

monkey.patch_all()

import sys
import time

from leadership_core import Candidate, Capability, Follower, open_store


def main(url: str, key: str, ttl: str) -> None:
    """Lead for longer than one ttl while other greenlets run; then resign, and acquire a lock."""
    seconds = float(ttl)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            time.sleep(0.02)
            ticks += 1

    spawn(tick)
    with open_store(url) as store:
        heard: list[object] = []
        watch = store.watch(f"{key}/entry", heard.append)
        follower = Follower(store, key)
        candidate, other = (
            Candidate(store, key, "a", ttl=seconds),
            Candidate(store, key, "b", ttl=seconds),
        )
        term = candidate.wait_elected(15)
        assert term is not None, "not elected"
        leader = follower.wait_leader(10)
        assert leader is not None
        assert leader.value == "a"
        assert other.wait_elected(0.5) is None
        before, until = ticks, time.monotonic() + 1.5 * seconds
        while time.monotonic() < until:
            time.sleep(0.1)
            assert candidate.term is term, "the lease was not renewed"
            term.check()
        assert ticks - before > 10 * seconds, f"the process was blocked: {ticks - before} ticks"
        has_fences = Capability.FENCED_WRITES in store.capabilities
        store.put(f"{key}/entry", b"1", fence=term if has_fences else None)
        assert candidate.stop(), "the claim was not withdrawn"
        assert other.wait_elected(15) is not None, "the resignation was not seen"
        assert other.stop()
        assert heard, "the watch saw nothing"
        watch.close()
        follower.stop()
        with store.lock(f"{key}/lock", ttl=seconds):
            pass
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
