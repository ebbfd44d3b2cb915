"""`manage.py run_leader`: writes reports while this process leads; run it on several machines."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections, transaction

from leadership_core import Candidate, Fenced, Term, graceful_exit, open_store
from reports.models import Fence, Report

NAME = f"{socket.gethostname()}-{os.getpid()}"

log = logging.getLogger("reports")


class Command(BaseCommand):
    """The command; Django finds it by the name of this file."""

    help = "Writes reports while this process is the leader."

    def handle(self, *args: Any, **options: Any) -> None:
        graceful_exit()  # without it, SIGTERM would leave no leader until the ttl has passed
        configured = settings.LEADERSHIP
        with open_store(configured["url"]) as store:
            candidate = Candidate(store, configured["key"], NAME, ttl=configured["ttl"])
            candidate.lead(self.work)

    def work(self, term: Term) -> None:
        """The work of the leader."""
        while not term.lost:
            try:
                self.write_report(term)
            except Fenced:
                return
            except DatabaseError:
                log.exception("no report was written; trying again")
            close_old_connections()  # or a connection that the database has closed would be kept
            term.wait_lost(60.0)

    def write_report(self, term: Term) -> None:
        with transaction.atomic():
            # Without it, a process that was paused here would write beside its successor.
            Fence.admit(term)
            Report.objects.create(text=f"written by {NAME}", token=term.token)
        log.info("report written in term %d", term.token)
