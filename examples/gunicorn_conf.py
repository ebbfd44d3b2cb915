"""gunicorn: of all workers on all machines, one does the background work.

    LEADERSHIP_URL=etcd://127.0.0.1:2379 gunicorn -c gunicorn_conf.py your_app:app

Each worker is a candidate. The master is none, also with `preload_app`: its forked workers cannot use
a store that it has opened, and its threads would make every fork unsafe.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import threading
from typing import Any

from leadership_core import Candidate, Fenced, Store, StoreUnavailable, Term, open_store

URL = os.environ.get("LEADERSHIP_URL", "sqlite:///leadership.db")

logging.basicConfig(level=logging.INFO)  # shows who leads

workers = 2
graceful_timeout = 30  # seconds until SIGKILL; more than the ttl, so that the release is confirmed

log = logging.getLogger("gunicorn.error")


def work(store: Store, term: Term) -> None:
    """The background work, in a thread of the one worker that leads."""
    while not term.lost:
        try:
            # Without the fence, a worker that was paused in here would overwrite a newer value.
            store.put("refresh/last", f"pid {os.getpid()}".encode(), fence=term)
            log.info("refreshed in term %d", term.token)
        except Fenced:
            return
        except StoreUnavailable as error:
            log.warning("not refreshed: %s", error)
        term.wait_lost(10.0)


def post_worker_init(worker: Any) -> None:
    """Make the worker a candidate: not before it is forked, and not before it handles SIGTERM."""
    worker.store = open_store(URL)
    worker.stopping = threading.Event()
    threading.Thread(target=campaign, args=[worker], name="campaign", daemon=True).start()


def worker_exit(server: Any, worker: Any) -> None:
    """Hand over at once; without it, no worker would lead until the ttl has passed."""
    if hasattr(worker, "store"):
        worker.stopping.set()
        worker.store.close()


def campaign(worker: Any) -> None:
    name = f"{socket.gethostname()}-{os.getpid()}"
    while not worker.stopping.is_set():
        try:
            candidate = Candidate(worker.store, "service/refresh", name, ttl=15)
            candidate.lead(functools.partial(work, worker.store))  # until the store is closed
        except Exception:
            # Without it, a worker whose work has failed once would never be a candidate again.
            log.exception("the work of the leader has failed; campaigning again in 5 s")
            worker.stopping.wait(5.0)
