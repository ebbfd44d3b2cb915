"""Sandboxes, and the contract as a list of cases for programs without a test framework."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from leadership_core import ConfigurationError, Session, StoreClosed, StoreUnavailable, StoreURL
from leadership_core.stores.memory import MemoryStore, State
from leadership_core.testing import Fault, FaultyStore, Outage, Sandbox, contract_cases


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], check=False, capture_output=True, text=True, timeout=30
    )


class Coarse(MemoryStore):
    """A store that grants no ttl below 3 s."""

    least_margin = 0.7  # type: ignore[misc]

    def open_session(self, ttl: float) -> Session:  # type: ignore[override]
        if ttl < 3:
            raise ConfigurationError("a ttl is at least 3 s")
        return super().open_session(ttl)


def test_sandbox_connections_share_the_store_and_keys_are_new() -> None:
    """All stores that it opens are closed at the end."""
    with Sandbox(f"memory://{uuid.uuid4().hex}") as sandbox:
        store, backend = sandbox.open(), sandbox.backend()
        key = sandbox.key("a")
        entry = sandbox.store.put(key, b"1")
        assert store.get(key) == backend.get(key) == entry
        assert sandbox.key("a") != key
        assert sandbox.key("a").endswith("/a")
        assert sandbox.capabilities == store.capabilities
    with pytest.raises(StoreClosed):
        store.get(key)
    with pytest.raises(StoreClosed):
        backend.get(key)


def test_sandbox_ttl_is_granted_by_the_store() -> None:
    """It is the requested one if the store grants it, and else a longer one."""
    with Sandbox("memory://", ttl=0.5) as sandbox:
        assert sandbox.ttl == 0.5
        assert sandbox.session(ttl=sandbox.ttl).ttl == 0.5
    state = State()
    with Sandbox(lambda: Coarse(state), ttl=1.0) as sandbox:
        assert sandbox.ttl == pytest.approx(4.2)  # three times the margin, and twice that
        assert sandbox.session().ttl == 30


def test_sandbox_options_are_added_to_the_url() -> None:
    """An option that the store does not know is refused."""
    with pytest.raises(ConfigurationError, match="tick"), Sandbox("memory://", tick=2):
        pass


def test_sandbox_reports_the_failure_of_the_case() -> None:
    """An error of clearing up is raised only if the case has passed."""

    def run(*, fails: bool) -> None:
        faulty = FaultyStore(MemoryStore())
        with Sandbox(lambda: faulty):
            faulty.inject(Fault.UNAVAILABLE, "delete_tree")
            assert not fails, "the case has failed"

    with pytest.raises(AssertionError, match="the case has failed"):
        run(fails=True)
    with pytest.raises(StoreUnavailable):
        run(fails=False)


def test_sandbox_outages_depend_on_hosts_and_hooks() -> None:
    """It makes none within a process, a freeze by its hooks, and all of them before hosts."""
    with Sandbox("memory://") as sandbox:
        assert (sandbox.outages, sandbox.no_proxy_because[:19]) == (
            frozenset(),
            "the URL names no ho",
        )
        with pytest.raises(ConfigurationError, match="names no host"):
            sandbox.begin_outage(Outage.FREEZE)
    calls: list[str] = []
    with Sandbox(
        MemoryStore, freeze=lambda: calls.append("freeze"), resume=lambda: calls.append("resume")
    ) as sandbox:
        assert sandbox.outages == {Outage.FREEZE}
        sandbox.begin_outage(Outage.FREEZE)
    assert calls == ["freeze", "resume"], "a lab ends its outage before it clears up"
    with pytest.raises(ConfigurationError, match="both"):
        Sandbox(MemoryStore, freeze=lambda: None)


def test_sandbox_finds_the_default_port() -> None:
    """It is the port that the plugin fills in."""
    opened: list[StoreURL] = []

    def plugin(url: StoreURL) -> MemoryStore:
        opened.append(url.with_default_port(4711))
        return MemoryStore()

    with Sandbox("mine://127.0.0.1", plugin=plugin) as sandbox:
        assert sandbox.outages == frozenset(Outage)
        sandbox.exposed()
        (host,) = opened[-1].hosts
        assert host.port != 4711
    assert opened[0].hosts[0].port == 4711


def test_contract_cases_run_without_a_test_class() -> None:
    """Each case needs a sandbox only."""
    cases = {case.name: case for case in contract_cases()}
    with Sandbox(f"memory://{uuid.uuid4().hex}") as sandbox:
        cases["test_put_returns_the_entry_that_is_read"].run(sandbox)
        with pytest.raises(AssertionError, match="capabilities"):
            cases["test_store_declares_the_tested_capabilities"].run(sandbox)


def test_testing_kit_imports_no_test_framework() -> None:
    """A program that checks a store has none."""
    done = python(
        "-c", "import sys, leadership_core.testing as _; sys.exit('pytest' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_contract_cases_refuse_python_without_assertions() -> None:
    """Every store would pass."""
    done = python("-O", "-c", "from leadership_core.testing import *; contract_cases()")
    assert "without -O" in done.stderr
