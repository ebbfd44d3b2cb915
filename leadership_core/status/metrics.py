"""Metrics in the format of Prometheus, made in a thread of their own: collectors may be slow."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections import deque
from collections.abc import Callable

from ..backend.event_count import EventCount
from ..backend.threads import start_daemon
from ..errors import NotApplied
from .responses import Response, text_response

__all__ = ["Metrics"]

log: logging.Logger = logging.getLogger("leadership.status")

_MOST_WAITING = 8

_HOW_TO = (
    "no metrics: prometheus-client is not installed here; pip install 'leadership[prometheus]'"
)


class Metrics:
    """Makes the answer to `/metrics` from the default registry of prometheus-client."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = EventCount()
        self._running = False
        self._closed = False

    def request(self, accept: str, respond: Callable[[Response], None]) -> Response | None:
        """Return the answer, or None if `respond` will be called with it, in another thread.

        Args:
            accept: the value of the header Accept.
            respond: called with the answer.
        """
        if importlib.util.find_spec("prometheus_client") is None:
            return text_response(404, _HOW_TO)
        if len(self._jobs) >= _MOST_WAITING:
            return text_response(503, "the metrics are being collected for others", Retry_After="5")
        self._jobs.append(lambda: respond(_collect(accept)))
        if not self._running:
            self._running = True
            try:
                start_daemon(self._run, "leadership-status-metrics")
            except NotApplied as error:
                self._running = False
                self._jobs.clear()
                return text_response(503, str(error))
        self._changed.notify_all()
        return None

    def close(self) -> None:
        """End the thread, unless a collector holds it."""
        self._closed = True
        self._changed.notify_all()

    def _run(self) -> None:
        while self._changed.wait_for(lambda: self._jobs or self._closed):
            if self._closed:
                return
            self._jobs.popleft()()


def _collect(accept: str) -> Response:
    try:
        client = importlib.import_module("prometheus_client")
        exposition = importlib.import_module("prometheus_client.exposition")
        encode, content_type = exposition.choose_encoder(accept)
        return Response(200, content_type, encode(client.REGISTRY))
    except Exception:
        log.exception("status.metrics_failed")
        return text_response(500, "the metrics could not be collected: see the program's log")
