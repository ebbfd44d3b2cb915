"""The registry: it finds the plugin of a scheme, and reports missing and broken plugins."""

from __future__ import annotations

import importlib.metadata
import sys
import threading
import types
from collections.abc import Callable, Iterator

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    MissingPlugin,
    PluginError,
    StoreURL,
    installed_stores,
    open_store,
    registry,
)
from leadership_core.backend import hookimpl
from leadership_core.stores.memory import MemoryStore

Install = Callable[[str, object], types.ModuleType]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a plugin for a scheme, as pip would: an entry point and a module."""
    extra: list[importlib.metadata.EntryPoint] = []
    modules: list[types.ModuleType] = []
    real = importlib.metadata.entry_points

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        return [*real(group=group), *(one for one in extra if one.group == group)]

    def add(scheme: str, hook: object) -> types.ModuleType:
        module = types.ModuleType(f"toy_{scheme}_{len(modules)}")
        if hook is not None:
            module.leadership_open_store = hook  # type: ignore[attr-defined]
        modules.append(module)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        extra.append(importlib.metadata.EntryPoint(scheme, module.__name__, "leadership.stores"))
        return module

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    yield add
    for module in modules:
        if registry._manager.is_registered(module):
            registry._manager.unregister(module)


def test_stores_of_the_core_are_installed() -> None:
    """They are listed with their distribution."""
    stores = installed_stores()

    assert stores["memory"].startswith("leadership-core ")
    assert stores["sqlite"] == stores["memory"]


def test_plugin_is_found_by_its_scheme(install: Install) -> None:
    """It is called with the parsed URL."""
    asked: list[StoreURL] = []

    @hookimpl
    def leadership_open_store(url: StoreURL) -> MemoryStore:
        asked.append(url)
        return MemoryStore()

    install("toy", leadership_open_store)
    for _ in range(2):
        open_store("toy://h/prefix?x=1").close()

    assert asked == [StoreURL.parse("toy://h/prefix?x=1")] * 2


def test_stores_can_be_opened_in_many_threads_at_once(install: Install) -> None:
    """The plugin is registered once, and no call fails."""
    started = threading.Barrier(8)
    failed: list[Exception] = []

    @hookimpl
    def leadership_open_store(url: StoreURL) -> MemoryStore:
        return MemoryStore()

    install("busy", leadership_open_store)

    def open_one() -> None:
        started.wait()
        try:
            open_store("busy://").close()
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("etcd://h", "needs the distribution leadership-etcd, which is not installed"),
        ("zk://h", "needs the distribution leadership-zookeeper, which is not installed"),
        ("memroy://h", "did you mean memory://"),
        ("mongodb://h", "no installed plugin serves mongodb://"),
    ],
)
def test_unknown_scheme_is_a_missing_plugin(url: str, said: str) -> None:
    """The error says what to install, or suggests a similar scheme."""
    if url.partition(":")[0] in installed_stores():
        url = url.replace("://", "x://")
        said = "no installed plugin"
    with pytest.raises(MissingPlugin, match=said):
        open_store(url)


def _raise(error: Exception) -> None:
    raise error


def test_plugin_that_fails_is_named(install: Install) -> None:
    """The error says each thing once, and contains no secret."""

    @hookimpl
    def failing(url: StoreURL) -> None:
        _raise(OSError("cracked"))

    @hookimpl
    def declining(url: StoreURL) -> None:
        return None

    @hookimpl
    def strange(url: StoreURL, more: int) -> None:
        return None

    failing.__name__ = declining.__name__ = strange.__name__ = "leadership_open_store"
    install("failing", failing)
    install("declining", declining)
    install("strange", strange)
    install("empty", None)
    for scheme, said in [
        ("failing", "failing://.*cracked"),
        ("declining", "declining://.*rejected"),
        ("strange", "cannot load the plugin for strange://"),
        ("empty", "rejected"),
    ]:
        for _ in range(2):
            with pytest.raises(PluginError, match=said) as caught:
                open_store(f"{scheme}://u:geheim@h?token=geheim")
            assert "geheim" not in str(caught.value)
    open_store("memory://").close()


def test_two_plugins_for_one_scheme_are_refused(install: Install) -> None:
    """The error names both, and neither is used."""
    install("twin", None)
    install("twin", None)
    with pytest.raises(PluginError, match="several plugins"):
        open_store("twin://h")


def test_open_store_requires_capabilities(install: Install) -> None:
    """A missing one is an error at the start of the program, and the store is closed."""
    closed: list[bool] = []

    class Poor(MemoryStore):
        capabilities = frozenset()  # type: ignore[misc]

        def close(self) -> None:
            closed.append(True)
            super().close()

    @hookimpl
    def leadership_open_store(url: StoreURL) -> MemoryStore:
        return Poor()

    install("poor", leadership_open_store)
    open_store("memory://", require=["fenced_writes", "sessions"]).close()
    with pytest.raises(ConfigurationError, match="has no fenced_writes"):
        open_store("poor://", require=["fenced_writes"])
    assert closed == [True]
    with pytest.raises(ConfigurationError, match="nonsense"):
        open_store("memory://", require=["nonsense"])


def test_store_that_declares_no_capabilities_has_sessions(install: Install) -> None:
    """The opening, the store and the default election have the same default."""

    class Quiet:
        """A store that does not declare its capabilities."""

        def __init__(self) -> None:
            self._inner = MemoryStore()

        def __getattr__(self, name: str) -> object:
            if name in {"capabilities", "election"}:
                raise AttributeError(name)
            return getattr(self._inner, name)

    @hookimpl
    def leadership_open_store(url: StoreURL) -> object:
        return Quiet()

    install("quiet", leadership_open_store)
    with open_store("quiet://", require=["sessions"]) as store:
        assert store.capabilities == {"sessions"}
        assert Candidate(store, "a", "me", ttl=3).wait_elected(5) is not None
    with pytest.raises(ConfigurationError, match="has no fenced_writes"):
        open_store("quiet://", require=["fenced_writes"])


def test_invalid_capabilities_are_a_plugin_error(install: Install) -> None:
    """It is raised when the store is opened."""

    class Odd(MemoryStore):
        capabilities = 7  # type: ignore[assignment, misc]

    @hookimpl
    def leadership_open_store(url: StoreURL) -> MemoryStore:
        return Odd()

    install("odd", leadership_open_store)
    with pytest.raises(PluginError, match="capabilities are 7, not a set"):
        open_store("odd://")
