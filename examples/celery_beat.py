"""Celery beat on several machines: each due task is sent once, by the beat that leads.

export LEADERSHIP_URL=etcd://127.0.0.1:2379 CELERY_BROKER_URL=redis://127.0.0.1
celery -A celery_beat worker
celery -A celery_beat beat -S celery_beat:ElectedScheduler      # on two machines or more
"""

from __future__ import annotations

import logging
import os
import socket
from datetime import datetime
from typing import Any

from celery import Celery
from celery.beat import ScheduleEntry, Scheduler

from leadership_core import Candidate, StoreError, open_store

URL = os.environ.get("LEADERSHIP_URL", "sqlite:///leadership.db")

log = logging.getLogger("celery.beat")

app = Celery("celery_beat", broker=os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1"))
app.conf.beat_schedule = {"report": {"task": "celery_beat.report", "schedule": 60.0}}


@app.task(ignore_result=True)
def report() -> None:
    log.info("a report")


class ElectedScheduler(Scheduler):
    """Sends tasks while it leads, and goes on where the last leader has stopped."""

    max_interval = 1.0  # seconds until a beat that waits notices that it leads
    term: Any = None  # the term in which it has resumed
    closed = False

    def setup_schedule(self) -> None:
        super().setup_schedule()
        self.store = open_store(URL)
        name = f"{socket.gethostname()}-{os.getpid()}"
        self.candidate = Candidate(self.store, "service/beat", name, ttl=15)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send a task that is due; returns the seconds until the next call."""
        if self.closed:
            raise SystemExit  # the one of SIGTERM may have been replaced by an error of the store
        self.candidate.start()  # the first time; later it raises if the store has refused it
        term = self.candidate.term
        if term is None:
            return self.max_interval  # without it, each beat would send each task
        try:
            if self.term is not term:
                self.resume()
                self.term = term
            return float(super().tick(*args, **kwargs))
        except StoreError as error:
            log.warning("no task was sent: %s", error)
            self._heap = None  # it lacks the entry that was not sent
            return self.max_interval

    def resume(self) -> None:
        """Take over the times of the last leader; without them, its tasks would be sent twice."""
        for name, entry in self.schedule.items():
            if sent := self.store.get(f"beat/{name}"):
                entry.last_run_at = datetime.fromisoformat(sent.value.decode())
        self._heap = None

    def reserve(self, entry: ScheduleEntry) -> ScheduleEntry:
        """Note that the task is sent, before it is: only the present leader can write here."""
        now = self.app.now().isoformat().encode()
        self.store.put(f"beat/{entry.name}", now, fence=self.term)
        log.info("sending %s in term %d", entry.name, self.term.token)
        return super().reserve(entry)

    def close(self) -> None:
        self.closed = True
        self.store.close()  # SIGTERM: hands over at once
        super().close()
