"""`/metrics` of the status server, with the real client library of Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from leadership_core.status import StatusServer
from tests.support.waiting import wait_until
from tests.unit.status.client import ask, connect, exchange, parse


class Held(Collector):
    """A collector of the user's that takes as long as the test wants."""

    def __init__(self) -> None:
        self.called = 0
        self.go_on = threading.Event()
        self.error: Exception | None = None

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        self.called += 1
        self.go_on.wait(20)
        if self.error is not None:
            raise self.error
        metric = Metric("held", "Held.", "gauge")
        metric.add_sample("held", {}, 1.0)
        yield metric


@pytest.fixture
def held() -> Iterator[Held]:
    """The collector, registered for the test."""
    collector = Held()
    REGISTRY.register(collector)
    try:
        yield collector
    finally:
        collector.go_on.set()
        REGISTRY.unregister(collector)


def test_metrics_are_those_of_the_default_registry(server: StatusServer, held: Held) -> None:
    """The official parser reads them; a client that asks for OpenMetrics gets that."""
    held.go_on.set()
    plain = ask(server, "/metrics")
    accept = b"Accept: application/openmetrics-text; version=1.0.0"
    request = (
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + accept + b"\r\nConnection: close\r\n\r\n"
    )
    wanted = parse(exchange(server, request))
    head = ask(server, "/metrics", method="HEAD")

    families = {one.name: one for one in text_string_to_metric_families(plain.text + "\n")}
    assert families["held"].samples[0].value == 1.0
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert wanted.headers["content-type"].startswith("application/openmetrics-text")
    assert wanted.text.endswith("# EOF")
    assert (head.status, head.body) == (200, b"")


def test_slow_collector_delays_nothing_else(server: StatusServer, held: Held) -> None:
    """While metrics are collected probes are answered, and a bounded number of scrapes waits."""
    socks = [connect(server) for _ in range(12)]
    try:
        for sock in socks:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        wait_until(lambda: held.called == 1)
        alive = ask(server, "/livez").status
        held.go_on.set()
        statuses = sorted(sock.recv(12)[-3:] for sock in socks)
    finally:
        for sock in socks:
            sock.close()

    assert alive == 200
    assert statuses[0] == b"200"
    assert statuses[-1] == b"503"
    assert 8 <= statuses.count(b"200") <= 9


def test_client_that_does_not_wait_for_the_metrics_is_forgotten(
    server: StatusServer, held: Held
) -> None:
    """Its answer goes nowhere, and the next one is served."""
    with connect(server) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: held.called == 1)
    held.go_on.set()

    assert ask(server, "/metrics").status == 200


def test_failing_collector_is_an_error_of_the_program(
    server: StatusServer, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 500 without details, and the log has them."""
    held.error = ValueError("the password is hunter2")
    held.go_on.set()
    answer = ask(server, "/metrics")

    assert answer.status == 500
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


def test_server_closes_while_metrics_are_collected(server: StatusServer, held: Held) -> None:
    """The thread ends as soon as the collector returns."""
    with connect(server) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: held.called == 1)
        server.close()
        assert sock.recv(1) == b""
    held.go_on.set()
