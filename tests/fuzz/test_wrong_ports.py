"""Ports of other services: errors of the library, few connections, an end in time."""

from __future__ import annotations

import contextlib
import gc
import logging
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.backend.deadline import call_timeout
from leadership_core.events import Event
from tests.fuzz.oracles import SECRET, check_error, check_event_order
from tests.fuzz.ports import ANYTHING, ETCD, ZOOKEEPER, WrongPort, server_tls
from tests.support.waiting import at_most
from tests.unit.cli.command import environment

pytestmark = pytest.mark.slow

WINDOW = 5.0  # seconds
MOST = 2 * 5 * WINDOW  # connections: of a candidate and of a follower
SPAN = 5.3  # seconds
TTL = 10.0  # seconds

SPEECHES = {"etcd": {**ANYTHING, **ETCD}, "zk": {**ANYTHING, **ZOOKEEPER}, "consul": ANYTHING}
CASES = [(scheme, name) for scheme, speeches in SPEECHES.items() for name in speeches]
TLS_CASES = [
    (scheme, name) for scheme in SPEECHES for name in ("TLS on a plain port", "plain on a TLS port")
]


@dataclass
class Outcome:
    events: list[Event] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    most: int = 0
    led: bool = False
    call_seconds: float = 0.0
    close_seconds: float = 0.0
    ended: bool = False


def _observe(scheme: str, name: str, folder: Path) -> Outcome:
    tls = server_tls(folder) if name == "plain on a TLS port" else None
    speech = SPEECHES[scheme].get(name, ANYTHING["silence"])
    with WrongPort(speech, tls) as port:
        secured = name == "TLS on a plain port"
        user = "" if scheme == "consul" else "user"
        # Without TLS a login would be in plain text.
        who = f"{user}:{SECRET}@" if scheme == "consul" else ""
        url = f"{scheme}{'+tls' if secured else ''}://{who}127.0.0.1:{port.port}"
        return _campaign(url, port)


def _campaign(url: str, port: WrongPort) -> Outcome:
    outcome = Outcome()
    with contextlib.ExitStack() as stack:
        store = open_store(url)
        candidate, follower = (
            Candidate(store, "fuzz/key", "me", ttl=TTL),
            Follower(store, "fuzz/key"),
        )

        def listen(member: Candidate | Follower) -> None:
            try:
                for event in member.events():
                    if member is candidate:
                        outcome.events.append(event)
                    if (error := getattr(event, "error", None)) is not None:
                        outcome.errors.append(error)
            except Exception as error:  # noqa: BLE001 - the tests check it
                outcome.errors.append(error)

        threads = [threading.Thread(target=listen, args=(one,)) for one in (candidate, follower)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        until = began + SPAN
        while time.monotonic() < until:
            outcome.led |= candidate.is_leader
            time.sleep(0.01)
        outcome.most = port.most_within(WINDOW)
        for call in (
            lambda: store.get("fuzz/key"),
            lambda: store.list("fuzz"),
            lambda: store.put("fuzz/key", b"value"),
            lambda: store.leader("fuzz/key"),
            lambda: store.open_session(TTL).renew(),
        ):
            began = time.monotonic()
            try:
                with call_timeout(0.25):
                    call()
            except Exception as error:  # noqa: BLE001 - the tests check it
                outcome.errors.append(error)
            outcome.call_seconds = max(outcome.call_seconds, time.monotonic() - began)
        began = time.monotonic()
        store.close(2.0)
        outcome.close_seconds = time.monotonic() - began
        stack.close()
        for thread in threads:
            thread.join(2.0)
        outcome.ended = not any(thread.is_alive() for thread in threads)
    return outcome


TRACEBACKS: list[str] = []


class _Tracebacks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.levelno > logging.DEBUG:
            TRACEBACKS.append(f"{record.name}: {record.getMessage()}: {record.exc_info[1]!r}")


@contextlib.contextmanager
def _listening(handler: logging.Handler) -> Iterator[None]:
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Outcome]:
    cases = [*CASES, *TLS_CASES]

    folder = tmp_path_factory.mktemp("tls")
    for scheme in SPEECHES:
        open_store(f"{scheme}://127.0.0.1:1").close(
            0.1
        )  # imports what it needs, which takes a while

    def observe(case: tuple[str, str]) -> Outcome:
        return _observe(*case, folder)

    with (
        warnings.catch_warnings(),
        _listening(_Tracebacks()),
        ThreadPoolExecutor(len(cases)) as pool,
    ):
        # When kazoo cannot connect, it leaves its TLS socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        found = dict(zip(cases, pool.map(observe, cases), strict=True))
        gc.collect()
    return found


@pytest.mark.parametrize(("scheme", "name"), [*CASES, *TLS_CASES])
def test_store_survives_wrong_port(
    scheme: str, name: str, outcomes: Mapping[tuple[str, str], Outcome]
) -> None:
    """No candidate leads, only errors of the library are reported, and everything ends at close."""
    outcome = outcomes[scheme, name]

    assert not outcome.led
    assert outcome.errors
    for error in outcome.errors:
        check_error(error)
    check_event_order([event.name for event in outcome.events])
    assert outcome.most <= MOST, outcome
    # Seventy cases share the processors; a call that hangs takes longer all the same.
    assert outcome.call_seconds < at_most(3.0)
    assert outcome.close_seconds < at_most(4.0)
    assert outcome.ended


def test_no_traceback_is_logged(outcomes: Mapping[tuple[str, str], Outcome]) -> None:
    """Foreign answers are not reported as errors of a plugin."""
    assert outcomes
    assert TRACEBACKS == []


@pytest.mark.parametrize(
    "scheme",
    [
        "consul",
        "zk",
        "etcd",
    ],
)
def test_first_stores_may_be_opened_by_many_threads(scheme: str) -> None:
    """All threads import the plugin at the same time."""
    program = (
        "import sys, threading\n"
        "from leadership_core import open_store\n"
        "ready, failed = threading.Barrier(16), []\n"
        "def work():\n"
        "    ready.wait()\n"
        "    try:\n"
        f"        open_store('{scheme}://127.0.0.1:1').close(0.1)\n"
        "    except Exception as error:\n"
        "        failed.append(error)\n"
        "threads = [threading.Thread(target=work) for _ in range(16)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "sys.exit(str(failed[0]) if failed else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
