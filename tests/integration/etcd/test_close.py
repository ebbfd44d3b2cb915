"""Closing a store: in time and with nothing left behind, whatever the server does."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.backend.deadline import DEFAULT_TIMEOUT, call_timeout
from leadership_core.errors import StoreClosed, StoreUnavailable
from tests.conftest import ProxyFactory
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import sockets, store_threads
from tests.support.servers.etcd import Etcd
from tests.support.waiting import Seen, at_most, wait_until


def _tasks() -> int:
    """The threads of this process, including those unknown to Python."""
    return len(list(Path("/proc/self/task").iterdir()))


def test_closed_store_raises_and_leaves_no_thread_or_socket(
    shared_etcd: Etcd, opened: Opener, unique_key: str
) -> None:
    """Every call of a closed store raises `StoreClosed`."""
    before = sockets()
    store, seen = opened(shared_etcd.url), Seen()
    session = store.open_session(10)
    store.election(unique_key).enter(session, b"Frank")
    store.watch(unique_key, seen)
    seen.wait(lambda one: one is None)
    assert store_threads()
    session.close()

    store.close()
    store.close()

    wait_until(lambda: not store_threads(), 2)
    wait_until(lambda: not sockets() - before, 2)
    for call in (
        lambda: store.get(unique_key),
        lambda: store.put(unique_key, b"1"),
        lambda: store.open_session(10),
        session.renew,
        lambda: store.election(unique_key).leader(),
    ):
        with pytest.raises(StoreClosed):
            call()


def test_close_ends_pending_call_of_another_thread(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """A call that waits for its answer ends at once with `StoreClosed`."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    assert store.get(unique_key) is None
    link.cut()
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            store.get(unique_key)
        except StoreClosed as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    began = time.monotonic()
    store.close()
    reader.join(5)

    assert time.monotonic() - began < at_most(1)
    assert len(outcome) == 1


@pytest.mark.parametrize("endpoints", [1, 2])
def test_stop_and_close_return_in_time_behind_dead_network(
    shared_etcd: Etcd, proxy: ProxyFactory, unique_key: str, endpoints: int
) -> None:
    """The term ends, `stop` and `close` return in time, and no thread or socket is left."""
    links = [proxy(shared_etcd.port) for _ in range(endpoints)]
    before, native = sockets(), _tasks()
    with open_store(shared_etcd.url_at(*(link.port for link in links))) as store:
        candidate = Candidate(store, unique_key, "Frank", ttl=3)
        assert candidate.wait_elected(5) is not None
        follower = Follower(store, unique_key)
        assert follower.wait_leader(5) is not None
        for link in links:
            link.cut()
        cut = time.monotonic()
        wait_until(lambda: not candidate.is_leader, 3)
        assert time.monotonic() - cut < at_most(2.6)

        began = time.monotonic()
        assert not candidate.stop(timeout=0.5)
        assert time.monotonic() - began < at_most(0.8)
        began = time.monotonic()
        store.close(timeout=1.0)
        assert time.monotonic() - began < at_most(1.5)

    wait_until(lambda: not store_threads(), 2)
    for link in links:
        link.close()
    wait_until(lambda: not sockets() - before, 3)
    gc.collect()
    wait_until(lambda: _tasks() <= native, 5)


@pytest.mark.parametrize("what", ["get", "put", "open", "renew", "enter", "withdraw", "leader"])
def test_requests_keep_their_timeout_behind_dead_network(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str, what: str
) -> None:
    """The network dies on existing connections or before new ones."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    session = store.open_session(60)
    claim = store.election(unique_key).enter(session, b"Frank")
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(unique_key),
        "put": lambda: store.put(unique_key, b"1"),
        "open": lambda: store.open_session(10),
        "renew": session.renew,
        "enter": lambda: store.election(f"{unique_key}/2").enter(session, b"Frank"),
        "withdraw": lambda: store.election(unique_key).withdraw(claim),
        "leader": lambda: store.election(unique_key).leader(),
    }
    link.cut()

    for seconds in (0.6, 0.05, 0.6):
        began = time.monotonic()
        with call_timeout(seconds), pytest.raises(StoreUnavailable):
            calls[what]()
        assert time.monotonic() - began < seconds + at_most(0.3)


def test_enter_and_read_back_share_one_timeout(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Without a timeout of the caller, both together take no longer than the default."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    session = store.open_session(60)
    link.cut()
    began = time.monotonic()

    with pytest.raises(StoreUnavailable):
        store.election(unique_key).enter(session, b"Frank")

    assert time.monotonic() - began < DEFAULT_TIMEOUT + at_most(0.3)


_SCRIPT = """
import os, sys, threading, time
from leadership_core import Candidate, Follower, open_store
from leadership_core.errors import ForkedStore

url, key, how = sys.argv[1:]
store = open_store(url)
candidate = Candidate(store, key, "parent", ttl=2)
assert candidate.wait_elected(5)
term = candidate.term
follower = Follower(store, key)
assert follower.wait_leader(5)
calls = threading.Event()

def work():
    while not calls.is_set():
        store.get(key)

noise = threading.Thread(target=work)
noise.start()
children = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        assert not candidate.is_leader
        try:
            store.get(key)
        except ForkedStore:
            pass
        else:
            os._exit(3)
        if how == "own":
            with open_store(url) as own:
                assert own.leader(key).value == "parent"
        if how == "drop":
            import gc
            del store, candidate, follower, term
            gc.collect()
        os._exit(0) if how == "hard" else sys.exit(0)
    children.append(pid)
    time.sleep(0.02)
for pid in children:
    end = time.monotonic() + 10
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            assert status == 0, status
            break
        assert time.monotonic() < end, "a child hangs"
        time.sleep(0.01)
calls.set()
noise.join()
time.sleep(2.5)
assert candidate.is_leader and candidate.term is term
assert store.leader(key).token == term.token
assert store.close()
print("done")
"""


@pytest.mark.parametrize("how", ["exit", "hard", "drop", "own"])
def test_forked_children_leave_connections_of_parent_alone(
    shared_etcd: Etcd, unique_key: str, tmp_path: Path, how: str
) -> None:
    """They end by themselves, may open a store of their own, and the parent's term goes on."""
    script = tmp_path / "forker.py"
    script.write_text(_SCRIPT)

    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            script,
            shared_etcd.url,
            unique_key,
            how,
        ],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert done.stderr == ""


def test_exit_writes_nothing_to_terminal(shared_etcd: Etcd, unique_key: str) -> None:
    """Neither gRPC nor python-etcd3 prints anything, even if the program ends abruptly."""
    script = (
        "import sys\n"
        "from leadership_core import Candidate, Follower, open_store\n"
        "store = open_store(sys.argv[1])\n"
        "candidate = Candidate(store, sys.argv[2], 'me', ttl=5)\n"
        "assert candidate.wait_elected(5)\n"
        "Follower(store, sys.argv[2]).wait_leader(5)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, shared_etcd.url, unique_key],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert shared_etcd.keys(f"{unique_key}/") == {}
