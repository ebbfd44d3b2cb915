"""Puts the shipped modules into a simulated world, for the time of one run.

Nothing of the product is replaced but what it has from the standard library: threads, locks,
queues, the clock, and chance.
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
from contextlib import contextmanager
from functools import cache
from typing import Any

from leadership_core import clock

from .kernel import World
from .primitives import Threading

__all__ = ["on_stage"]

_SKIPPED = ("leadership_core.cli", "leadership_core.sqlite", "leadership_core.testing")
_REAL_NOW = clock.now

_Patch = tuple[Callable[[Any], None], Any, Any]  # how to set it, what is there, what to put there


class _Chance:
    """Stands in for the module `random`; all comes from the seed of the run."""

    def __init__(self, world: World) -> None:
        self._rng = random.Random(world.rng.random())
        self.uniform = self._rng.uniform
        self.random = self._rng.random
        self.choice = self._rng.choice
        self.shuffle = self._rng.shuffle
        self.randrange = self._rng.randrange
        self.randint = self._rng.randint

    def Random(self, seed: object = None) -> random.Random:  # noqa: N802 - the name that it has there
        return random.Random(self._rng.random())


class _Errors(logging.Handler):
    """What the product logs as an error of its own is a failure of the run."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if not self._world.current.killed:  # it complains of that
            self.found.append(self.format(record))


class _Time:
    """Stands in for the module `time`, whose `sleep` would stop the world."""

    def __init__(self, world: World) -> None:
        self.sleep = world.sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def on_stage(world: World, packages: tuple[str, ...]) -> Iterator[list[str]]:
    """Let the packages live in that world; gives the errors that they log.

    Args:
        world: of the run.
        packages: such as "leadership_core".
    """
    Threading.world = world
    chance = _Chance(world)

    def now() -> float:
        world.step()
        process = world.current.process
        return process.offset + process.rate * world.now

    patches = list(_patches(packages, chance, _Time(world), now))
    serial = itertools.count()
    numbers: dict[int, tuple[int, object]] = {}

    def number(thing: object) -> int:
        # The order of a set must not depend on where in memory things are.
        known = numbers.get(id(thing))
        if known is None:
            known = numbers[id(thing)] = (next(serial), thing)
        return known[0]

    hashed = _hashed(packages)
    handler = _Errors(world)
    loggers = [logging.getLogger(name) for name in ("leadership", *packages)]
    levels = [one.level for one in loggers]
    try:
        for put, _, new in patches:
            put(new)
        for cls in hashed:
            cls.__hash__ = number  # type: ignore[method-assign, assignment]
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.ERROR)
        yield handler.found
    finally:
        for put, old, _ in patches:
            put(old)
        for cls in hashed:
            del cls.__hash__
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


def _patches(
    packages: tuple[str, ...], chance: _Chance, sleeping: _Time, now: Callable[[], float]
) -> Iterator[_Patch]:
    modules, clocks = _found(packages)
    for module, name in modules:
        old = getattr(module, name)
        new = {
            "threading": Threading,
            "random": chance,
            "SimpleQueue": Threading.SimpleQueue,
            "time": sleeping,
        }[name]
        yield (lambda value, m=module, n=name: setattr(m, n, value)), old, new  # type: ignore[misc]
    for put in clocks:
        yield put, _REAL_NOW, now
    yield (lambda value: setattr(clock, "now", value)), _REAL_NOW, now


@cache
def _found(
    packages: tuple[str, ...],
) -> tuple[list[tuple[types.ModuleType, str]], list[Callable[[Any], None]]]:
    """Where the modules keep what is to be replaced."""
    places: list[tuple[types.ModuleType, str]] = []
    clocks: list[Callable[[Any], None]] = []
    for module in _modules(packages):
        places += [
            (module, name)
            for name in ("threading", "random", "SimpleQueue", "time")
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
    """Defaults, and what dataclasses keep in a closure."""
    for name, value in (function.__kwdefaults__ or {}).items():
        if value is _REAL_NOW:
            yield lambda new, f=function, n=name: f.__kwdefaults__.__setitem__(n, new)  # type: ignore[misc]
    defaults = function.__defaults__ or ()
    if _REAL_NOW in defaults:
        yield lambda new, f=function, old=defaults: setattr(  # type: ignore[misc]
            f, "__defaults__", tuple(new if one is _REAL_NOW else one for one in old)
        )
    for cell in function.__closure__ or ():
        try:
            found = cell.cell_contents is _REAL_NOW
        except ValueError:
            continue
        if found:
            yield lambda new, c=cell: setattr(c, "cell_contents", new)  # type: ignore[misc]


@cache
def _hashed(packages: tuple[str, ...]) -> list[type]:
    """The classes whose objects are hashed by where they are in memory."""
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
