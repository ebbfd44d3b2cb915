"""Prometheus metrics, scraped over HTTP, across elections, resignations, cuts and losses."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, start_http_server

import leadership_prometheus
from leadership_core import Candidate, Follower, Store, observe, open_store
from leadership_core.backend.observation import hub
from tests.integration.observers.scrape import OPENMETRICS, Scrape, scrape
from tests.support.paths import ROOT
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.waiting import at_most, wait_until
from tests.unit.faulty import Fault, FaultyStore

_PROGRAM = """
import sys, time
import leadership_prometheus, prometheus_client
from leadership_core import Candidate, open_store

url, port = sys.argv[1:]
leadership_prometheus.install()
prometheus_client.start_http_server(int(port), "127.0.0.1")
with open_store(url) as store, Candidate(store, "service/api", "node-1", ttl=1.5):
    time.sleep(120)
"""

Metrics = Callable[[], Scrape]


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    """A registry with the metrics."""
    made = CollectorRegistry()
    handle = leadership_prometheus.install(made)
    yield made
    handle.close()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Iterator[Metrics]:
    """A function that scrapes over HTTP once all records are delivered."""
    server, thread = start_http_server(0, "127.0.0.1", registry)

    def fetch() -> Scrape:
        assert hub.flush(at_most(5))
        return scrape(server.server_port)

    yield fetch
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in a file."""
    with open_store(f"sqlite:///{tmp_path}/elections.db") as opened:
        yield opened


_LABELS = {"key": "service/api", "store": "sqlite"}


def _total(metrics: Scrape, reason: str, store: str = "sqlite") -> float | None:
    labels = {"key": "service/api", "store": store, "reason": reason}
    return metrics.value("leadership_transitions_total", labels)


def test_leader_and_standby_are_shown(store: Store, metrics: Metrics) -> None:
    """A leader shows 1, its token and its lease; a standby of another process would show 0."""
    first = Candidate(store, "service/api", "node-1", ttl=3)
    term = first.wait_elected(5)
    assert term is not None
    leading = metrics()
    first.resign(cooldown=600)
    resigned = metrics()
    first.stop()
    stopped = metrics()

    assert leading.value("leadership_is_leader", _LABELS) == 1
    assert leading.value("leadership_term_token", _LABELS) == term.token
    assert leading.value("leadership_ttl_seconds", _LABELS) == 3
    assert 0 < (leading.value("leadership_lease_remaining_seconds", _LABELS) or 0) < 3
    assert resigned.value("leadership_is_leader", _LABELS) == 0
    assert resigned.value("leadership_term_token", _LABELS) == 0
    assert resigned.value("leadership_lease_remaining_seconds", _LABELS) == 0
    assert stopped.value("leadership_is_leader", _LABELS) is None
    assert (_total(stopped, "elected"), _total(stopped, "resigned")) == (1, 1)
    assert stopped.value("leadership_acquire_seconds_count", _LABELS) == 1


def test_requests_renewals_and_leaders_are_counted(store: Store, metrics: Metrics) -> None:
    """By operation and outcome; keys of the program's requests are in no label."""
    store.put("settings/color", b"red")
    candidate, follower = Candidate(store, "service/api", "node-1", ttl=1.5), None
    assert candidate.wait_elected(5)
    follower = Follower(store, "service/api")
    assert follower.wait_leader(5)
    wait_until(
        lambda: (metrics().value("leadership_renew_total", store="sqlite", result="ok") or 0) >= 3
    )

    found = metrics()
    put = {"store": "sqlite", "op": "put"}
    assert found.value("leadership_store_requests_total", put, result="ok") == 1
    assert found.value("leadership_store_request_seconds_count", put) == 1
    assert (found.value("leadership_renew_seconds_count", store="sqlite") or 0) >= 3
    assert (found.value("leadership_late_wakeup_seconds_count", store="sqlite") or 0) >= 3
    assert 0 < (found.value("leadership_min_margin_seconds", store="sqlite") or 0) < 1.5
    assert found.value("leadership_leader_changes_total", _LABELS) == 1
    assert "settings/color" not in str(found.families)


def test_openmetrics_parser_reads_all(store: Store, registry: CollectorRegistry) -> None:
    """The strict parser accepts the other format, too."""
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        assert Candidate(store, "service/api", "node-1", ttl=3).wait_elected(5)
        assert hub.flush(at_most(5))
        found = scrape(server.server_port, accept=OPENMETRICS)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert found.value("leadership_is_leader", _LABELS) == 1
    assert all(name.startswith("leadership_") for name in found.names)


def test_leader_that_is_cut_off_is_shown_as_suspended_then_lost(metrics: Metrics) -> None:
    """The lease runs down, the suspended seconds run up, and the loss has its reason."""
    faulty = FaultyStore()
    labels = {"key": "service/api", "store": "faulty"}
    with faulty.opened() as opened:
        term = Candidate(opened, "service/api", "node-1", ttl=3).wait_elected(5)
        assert term is not None
        faulty.inject(Fault.UNAVAILABLE)
        wait_until(lambda: _total(metrics(), "suspended", "faulty"))
        first, second = metrics(), metrics()
        assert term.wait_lost(at_most(5))
        over = metrics()
        wait_until(lambda: _total(metrics(), "expired", "faulty"))
        lost = metrics()
        faulty.heal()

    assert first.value("leadership_is_leader", labels) == 1
    name = "leadership_lease_remaining_seconds"
    assert (first.value(name, labels) or 0) > (second.value(name, labels) or 0) > 0
    name = "leadership_suspended_seconds_total"
    seconds = [one.value(name, labels) or 0 for one in (first, second, over, lost)]
    assert seconds == sorted(seconds)
    assert seconds[0] < seconds[1]
    assert over.value("leadership_is_leader", labels) == 0
    assert (lost.value("leadership_renew_total", store="faulty", result="unavailable") or 0) > 0
    margin = lost.value("leadership_min_margin_seconds", store="faulty")
    assert margin is not None
    assert margin < 1


def test_paused_leader_shows_no_stale_leadership(tmp_path: Path) -> None:
    """The first scrape after a pause that outlasted the lease says 0, whatever runs first."""
    port = free_port()
    url = f"sqlite:///{tmp_path}/elections.db"
    process = Process([sys.executable, "-c", _PROGRAM, url, str(port)], tmp_path / "log")
    process.start()

    def leads() -> float | None:
        try:
            return scrape(port).value("leadership_is_leader", _LABELS)
        except OSError:
            return None

    try:
        process.wait_until(lambda: leads() == 1, at_most(20))
        with open_store(url) as mine:
            process.send(signal.SIGSTOP)
            other = Candidate(mine, "service/api", "node-2", ttl=3)
            assert other.wait_elected(at_most(20))  # so the lease of the other one is over
            process.send(signal.SIGCONT)
            assert leads() == 0
    finally:
        process.kill()


def test_locks_share_one_key(store: Store, metrics: Metrics) -> None:
    """A program may take a lock for each of its jobs."""
    for number in range(20):
        with store.lock(f"jobs/{number}", ttl=3):
            pass

    found = metrics()
    elected = {"key": "/locks", "store": "sqlite", "reason": "elected"}
    assert found.value("leadership_transitions_total", elected) == 20
    assert found.all("leadership_is_leader") == {}
    assert "jobs/" not in str(found.families)


def test_keys_of_many_elections_are_bounded(store: Store) -> None:
    """What is over the limit shares one key, which leads if any of its candidates does."""
    observer = leadership_prometheus.Observer(most_keys=3)
    registry = CollectorRegistry()
    registry.register(observer)
    handle = observe(observer)
    for number in range(6):
        assert Candidate(store, f"shard/{number}", "node", ttl=3).wait_elected(5)
    handle.close()

    shown = {sample.labels["key"] for sample in next(iter(observer.collect())).samples}
    assert shown == {"shard/0", "shard/1", "shard/2", "/other"}


def test_observer_that_is_installed_late_shows_the_present_leader(store: Store) -> None:
    """It counts nothing that happened before."""
    assert Candidate(store, "service/api", "node-1", ttl=3).wait_elected(5)
    registry = CollectorRegistry()
    handle = leadership_prometheus.install(registry)
    assert hub.flush(at_most(5))

    assert registry.get_sample_value("leadership_is_leader", _LABELS) == 1
    elected = {**_LABELS, "reason": "elected"}
    assert registry.get_sample_value("leadership_transitions_total", elected) == 0
    handle.close()
    handle.close()
    assert registry.get_sample_value("leadership_is_leader", _LABELS) is None


def test_second_installation_in_a_registry_is_refused(registry: CollectorRegistry) -> None:
    """It would count everything twice; the refused observer does not observe."""
    before = len(hub._observers)
    with pytest.raises(ValueError, match="leadership_is_leader"):
        leadership_prometheus.install(registry)

    assert len(hub._observers) == before


def test_forked_child_has_metrics_of_its_own(tmp_path: Path) -> None:
    """The child shows no leadership of its parent, and its own elections."""
    script = f"""
import os
import leadership_prometheus
from prometheus_client import REGISTRY
from leadership_core import Candidate, open_store
from leadership_core.backend.observation import hub

leadership_prometheus.install()
with open_store("memory://a") as store:
    assert Candidate(store, "parent", "v", ttl=3).wait_elected(5)
    assert hub.flush(10)
    child = os.fork()
    if child == 0:
        with open_store("sqlite:///{tmp_path}/child.db") as own:
            assert Candidate(own, "child", "v", ttl=3).wait_elected(5)
            assert hub.flush(10)
            for key, kind in (("parent", "memory"), ("child", "sqlite")):
                labels = {{"key": key, "store": kind}}
                print(key, REGISTRY.get_sample_value("leadership_is_leader", labels), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=at_most(30), check=True
    )

    assert done.stdout.splitlines() == ["parent None", "child 1.0"]


def test_records_of_the_last_steps_come_before_the_exit(tmp_path: Path) -> None:
    """At the end of a process, what is queued is delivered, and a hanging observer delays it little."""
    script = """
import os, sys, time
from leadership_core import Candidate, observe, open_store
from leadership_core.observers import CandidateTransition, hookimpl

class Print:
    @hookimpl
    def leadership_observe(self, record):
        if isinstance(record, CandidateTransition):
            print(record.event, flush=True)
            if record.event == sys.argv[1]:
                time.sleep(1000)

observe(Print())
candidate = Candidate(open_store("memory://a"), "key", "value", ttl=3)
candidate.wait_elected(5)
"""

    def run(hangs_at: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, hangs_at],
            cwd=ROOT, capture_output=True, text=True, timeout=at_most(20), check=True,
        )  # fmt: skip
        return done.stdout.split()

    assert run("never") == ["campaigning", "elected", "resigned", "stopped"]
    assert run("campaigning") == ["campaigning"]
