"""APScheduler whose jobs run in one process only, however many processes are started.

LEADERSHIP_URL=etcd://127.0.0.1:2379 python apscheduler_reports.py
"""

from __future__ import annotations

import functools
import logging
import os
import socket

from apscheduler.schedulers.background import BackgroundScheduler

from leadership_core import Candidate, Store, Term, graceful_exit, open_store

URL = os.environ.get("LEADERSHIP_URL", "sqlite:///leadership.db")
NAME = f"{socket.gethostname()}-{os.getpid()}"

log = logging.getLogger("reports")


def write_report(store: Store, term: Term) -> None:
    """The job. What it raises is logged by APScheduler, and it runs again at its next time."""
    term.check()  # a job that takes long calls it between its steps
    # Without the fence, a process that was paused in the line above would overwrite a newer report.
    store.put("reports/last", f"written by {NAME}".encode(), fence=term)
    log.info("report written in term %d", term.token)


def run_jobs(store: Store, term: Term) -> None:
    """The work of the leader. Without it, each process would run each job."""
    scheduler = BackgroundScheduler()
    scheduler.add_job(write_report, "interval", seconds=60, args=[store, term])
    scheduler.start()
    try:
        term.wait_lost()  # SIGTERM and Ctrl-C end it, too
    finally:
        scheduler.shutdown()  # waits for the running job; no other process leads before that


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    graceful_exit()
    with open_store(URL) as store:
        candidate = Candidate(store, "service/reports", NAME, ttl=15)
        candidate.lead(functools.partial(run_jobs, store))


if __name__ == "__main__":
    main()
