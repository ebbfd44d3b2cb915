"""Patches of the shipped modules for the time of one run.

Replaced is what they take from the standard library (threads, locks, queues, the clock, random
numbers, UUIDs), and the client class of a backend.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import pkgutil
import random
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

from leadership_core.backend import clock
from tests.support.internals import product_threads
from tests.support.waiting import eventually

from .kernel import Process, World
from .primitives import Threading

__all__ = ["CLIENTS", "patched_modules"]

_SKIPPED = ("leadership_core.cli", "leadership_core.stores.sqlite", "leadership_core.testing")
_REAL_NOW = clock.now

_Patch = tuple[Callable[[Any], None], Any, Any]  # setter, old value, new value


class _Clients:
    """Makers of clients, one for each simulated process.

    All processes share the backend's module, so its client class is replaced once for the whole
    run, and the replacement finds out which process it is called in.
    """

    def __init__(self) -> None:
        self._makers: dict[Process, Callable[..., Any]] = {}

    def register(self, process: Process, make: Callable[..., Any]) -> None:
        """Let the stores of that process get clients from `make`, called as the class would be."""
        self._makers[process] = make

    @contextmanager
    def patched(self, *names: str) -> Iterator[None]:
        """Replace the classes of these names, such as "leadership_etcd.store.Client"."""

        def make(*args: Any, **options: Any) -> Any:
            return self._makers[Threading.world.current.process](*args, **options)

        with ExitStack() as stack:
            for name in names:
                stack.enter_context(mock.patch(name, make))
            yield
        self._makers.clear()


CLIENTS = _Clients()


class _Random:
    """Replacement for the module `random`, seeded by the run."""

    def __init__(self, world: World) -> None:
        self._rng = random.Random(world.rng.random())
        self.uniform = self._rng.uniform
        self.random = self._rng.random
        self.choice = self._rng.choice
        self.shuffle = self._rng.shuffle
        self.randrange = self._rng.randrange
        self.randint = self._rng.randint

    def Random(self, seed: object = None) -> random.Random:  # noqa: N802 - the name in the module
        return random.Random(self._rng.random())


class _Errors(logging.Handler):
    """Collects what the product logs as an error: a failure of the run."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if not self._world.current.killed:  # it may log that
            self.found.append(self.format(record))


class _Time:
    """Replacement for the module `time`, with a `sleep` in virtual time."""

    def __init__(self, world: World) -> None:
        self.sleep = world.sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def patched_modules(world: World, packages: tuple[str, ...]) -> Iterator[list[str]]:
    """Run the packages in that world; yields the list of the errors that they log.

    Args:
        world: of the run.
        packages: such as "leadership_core".

    Raises:
        AssertionError: a real store is open in this process: its threads would enter that world.
    """
    refuse_real_threads()
    Threading.world = world
    seeded = _Random(world)

    def now() -> float:
        world.step()
        process = world.current.process
        return process.offset + process.rate * world.now

    patches = list(_patches(packages, seeded, _Time(world), now))
    serial = itertools.count()
    numbers: dict[int, tuple[int, object]] = {}

    def number(thing: object) -> int:
        # The order of a set must not depend on addresses in memory.
        known = numbers.get(id(thing))
        if known is None:
            known = numbers[id(thing)] = (next(serial), thing)
        return known[0]

    hashed = _hashed(packages)
    handler = _Errors(world)
    loggers = [logging.getLogger(name) for name in ("leadership", *packages)]
    levels = [(one.level, one.propagate) for one in loggers]
    try:
        for put, _, new in patches:
            put(new)
        for cls in hashed:
            cls.__hash__ = number  # type: ignore[method-assign, assignment]  # a stand-in for this test
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.ERROR)
            # pytest keeps all records, and their tracebacks would keep the stores of the run.
            logger.propagate = False
        yield handler.found
    finally:
        for put, old, _ in patches:
            put(old)
        for cls in hashed:
            del cls.__hash__
        for logger, (level, propagate) in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def refuse_real_threads() -> None:
    """Fail if a thread of the product runs; one that is about to end has some time for it."""
    if not eventually(lambda: not product_threads(), 0.3):
        names = sorted(thread.name for thread in product_threads())
        raise AssertionError(
            f"threads of an open store run in this process, of another test perhaps: {names}; "
            "the simulation would replace the locks and the clock under them"
        )


def _patches(
    packages: tuple[str, ...], seeded: _Random, sleeping: _Time, now: Callable[[], float]
) -> Iterator[_Patch]:
    modules, clocks = _found(packages)
    ids = (SimpleNamespace(hex=f"{number:032x}") for number in itertools.count())
    uuids = SimpleNamespace(uuid4=lambda: next(ids))
    for module, name in modules:
        old = getattr(module, name)
        new = {
            "threading": Threading,
            "random": seeded,
            "SimpleQueue": Threading.SimpleQueue,
            "time": sleeping,
            "uuid": uuids,
        }[name]
        yield (lambda value, m=module, n=name: setattr(m, n, value)), old, new  # type: ignore[misc]  # mypy infers no lambda with defaults
    for put in clocks:
        yield put, _REAL_NOW, now
    yield (lambda value: setattr(clock, "now", value)), _REAL_NOW, now


@cache
def _found(
    packages: tuple[str, ...],
) -> tuple[list[tuple[types.ModuleType, str]], list[Callable[[Any], None]]]:
    """The attributes and default arguments to replace."""
    places: list[tuple[types.ModuleType, str]] = []
    clocks: list[Callable[[Any], None]] = []
    for module in _modules(packages):
        places += [
            (module, name)
            for name in ("threading", "random", "SimpleQueue", "time", "uuid")
            if hasattr(module, name)
        ]
        for thing in vars(module).values():
            if isinstance(thing, type) and thing.__module__ == module.__name__:
                for function in vars(thing).values():
                    if isinstance(function, types.FunctionType):
                        clocks += _clocks_of(function)
            elif isinstance(thing, types.FunctionType):
                clocks += _clocks_of(thing)
    return places, clocks


def _clocks_of(function: types.FunctionType) -> Iterator[Callable[[Any], None]]:
    """Setters for default arguments and for closures of dataclasses."""
    for name, value in (function.__kwdefaults__ or {}).items():
        if value is _REAL_NOW:
            yield lambda new, f=function, n=name: f.__kwdefaults__.__setitem__(n, new)  # type: ignore[misc]  # mypy infers no lambda with defaults
    defaults = function.__defaults__ or ()
    if _REAL_NOW in defaults:
        yield lambda new, f=function, old=defaults: setattr(  # type: ignore[misc]  # mypy infers no lambda with defaults
            f, "__defaults__", tuple(new if one is _REAL_NOW else one for one in old)
        )
    for cell in function.__closure__ or ():
        try:
            found = cell.cell_contents is _REAL_NOW
        except ValueError:
            continue
        if found:
            yield lambda new, c=cell: setattr(c, "cell_contents", new)  # type: ignore[misc]  # mypy infers no lambda with defaults


@cache
def _hashed(packages: tuple[str, ...]) -> list[type]:
    """The classes whose objects are hashed by their address in memory."""
    return [
        thing
        for module in _modules(packages)
        for thing in vars(module).values()
        if isinstance(thing, type)
        and thing.__module__ == module.__name__
        and vars(object)["__hash__"] is thing.__hash__
        and "__hash__" not in vars(thing)
        and not issubclass(thing, BaseException)
        and all(base is object for base in thing.__bases__)
    ]


@cache
def _modules(packages: tuple[str, ...]) -> list[types.ModuleType]:
    found = []
    for package in packages:
        root = importlib.import_module(package)
        found.append(root)
        names = [info.name for info in pkgutil.walk_packages(root.__path__, f"{package}.")]
        found += [
            sys.modules.get(name) or importlib.import_module(name)
            for name in names
            if not name.startswith(_SKIPPED) and not name.endswith("__main__")
        ]
    return found
