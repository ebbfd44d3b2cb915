"""A program with candidates that serves its metrics; how each candidate behaves is an argument.

python -m tests.integration.observers.leader_program PORT (URL KEY TTL lead|flap|refuse)...
"""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack

import prometheus_client

import leadership_prometheus
from leadership_core import Candidate, graceful_exit, open_store


def behave(candidate: Candidate, behaviour: str) -> None:
    """Resign after each second, or once and for long."""
    while True:
        candidate.wait_elected()
        if behaviour == "refuse":
            candidate.resign(cooldown=3600)
            return
        threading.Event().wait(1.0)
        candidate.resign(cooldown=0)


def main() -> None:
    port, *words = sys.argv[1:]
    graceful_exit()
    leadership_prometheus.install()
    prometheus_client.start_http_server(int(port), "127.0.0.1")
    with ExitStack() as stack:
        for url, key, ttl, behaviour in zip(*[iter(words)] * 4, strict=True):
            store = stack.enter_context(open_store(url))
            candidate = stack.enter_context(Candidate(store, key, port, ttl=float(ttl)))
            if behaviour != "lead":
                threading.Thread(target=behave, args=(candidate, behaviour), daemon=True).start()
        threading.Event().wait()


if __name__ == "__main__":
    main()
