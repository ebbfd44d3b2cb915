"""Labs, and the contract as a list, for those who have no test framework."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from leadership_core import ConfigurationError, Session, StoreClosed, StoreUnavailable, StoreURL
from leadership_core.memory import MemoryStore, State
from leadership_core.testing import Fault, FaultyStore, Lab, Outage, contract_cases


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], check=False, capture_output=True, text=True, timeout=30
    )


class Coarse(MemoryStore):
    """It grants no less than 3 s."""

    least_margin = 0.7  # type: ignore[misc]

    def open_session(self, ttl: float) -> Session:  # type: ignore[override]
        if ttl < 3:
            raise ConfigurationError("a ttl is at least 3 s")
        return super().open_session(ttl)


def test_connections_share_the_store_and_keys_are_its_own() -> None:
    """Every key is new; what is opened sees what was written; all is closed at the end."""
    with Lab(f"memory://{uuid.uuid4().hex}") as lab:
        store, backend = lab.open(), lab.backend()
        key = lab.key("a")
        entry = lab.store.put(key, b"1")
        assert store.get(key) == backend.get(key) == entry
        assert lab.key("a") != key
        assert lab.key("a").endswith("/a")
        assert lab.capabilities == store.capabilities
    with pytest.raises(StoreClosed):
        store.get(key)
    with pytest.raises(StoreClosed):
        backend.get(key)


def test_the_ttl_is_one_that_the_store_grants() -> None:
    """The one asked for, where it can be; a longer one, where it cannot."""
    with Lab("memory://", ttl=0.5) as lab:
        assert lab.ttl == 0.5
        assert lab.session(ttl=lab.ttl).ttl == 0.5
    state = State()
    with Lab(lambda: Coarse(state), ttl=1.0) as lab:
        assert lab.ttl == pytest.approx(4.2)  # three times the margin, and twice that
        assert lab.session().ttl == 30


def test_options_are_those_of_the_url() -> None:
    """And are refused by the store that does not know them."""
    with pytest.raises(ConfigurationError, match="tick"), Lab("memory://", tick=2):
        pass


def test_the_failure_of_a_case_is_not_hidden_by_that_of_the_store() -> None:
    """The store is away when the lab wants to clear up; without a failure that is one."""

    def run(*, fails: bool) -> None:
        faulty = FaultyStore(MemoryStore())
        with Lab(lambda: faulty):
            faulty.inject(Fault.UNAVAILABLE, "delete_tree")
            assert not fails, "the case has failed"

    with pytest.raises(AssertionError, match="the case has failed"):
        run(fails=True)
    with pytest.raises(StoreUnavailable):
        run(fails=False)


def test_a_lab_makes_the_outages_that_it_can() -> None:
    """None within a process, a freeze by its hooks, all of them before hosts."""
    with Lab("memory://") as lab:
        assert (lab.outages, lab.no_proxy_because[:19]) == (frozenset(), "the URL names no ho")
        with pytest.raises(ConfigurationError, match="names no host"):
            lab.begin_outage(Outage.FREEZE)
    calls: list[str] = []
    with Lab(
        MemoryStore, freeze=lambda: calls.append("freeze"), resume=lambda: calls.append("resume")
    ) as lab:
        assert lab.outages == {Outage.FREEZE}
        lab.begin_outage(Outage.FREEZE)
    assert calls == ["freeze", "resume"], "a lab ends its outage before it clears up"
    with pytest.raises(ConfigurationError, match="both"):
        Lab(MemoryStore, freeze=lambda: None)


def test_a_lab_finds_the_port_that_the_url_leaves_out() -> None:
    """It is the one that the plugin fills in."""
    opened: list[StoreURL] = []

    def plugin(url: StoreURL) -> MemoryStore:
        opened.append(url.with_default_port(4711))
        return MemoryStore()

    with Lab("mine://127.0.0.1", plugin=plugin) as lab:
        assert lab.outages == frozenset(Outage)
        lab.exposed()
        (host,) = opened[-1].hosts
        assert host.port != 4711
    assert opened[0].hosts[0].port == 4711


def test_every_case_of_the_list_runs_by_itself() -> None:
    """With a lab, and nothing else."""
    cases = {case.name: case for case in contract_cases()}
    with Lab(f"memory://{uuid.uuid4().hex}") as lab:
        cases["test_what_is_put_is_read"].run(lab)
        with pytest.raises(AssertionError, match="capabilities"):
            cases["test_it_declares_what_it_has"].run(lab)


def test_the_kit_imports_no_test_framework() -> None:
    """A program that is to check a store has none."""
    done = python(
        "-c", "import sys, leadership_core.testing as _; sys.exit('pytest' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_python_without_assertions_is_refused() -> None:
    """Every store would pass."""
    done = python("-O", "-c", "from leadership_core.testing import *; contract_cases()")
    assert "without -O" in done.stderr
