"""Fork safety: objects that are inert in a forked child, and hooks that run there."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakSet

from ..errors import ForkedStore

__all__ = ["at_fork_in_child", "inert_in_child", "leak", "note_owned"]

_PROCESS: Final = "_process_of_owner"

T = TypeVar("T")

_leaked: list[object] = []
_owned: WeakSet[Owned] = WeakSet()


class Owned(Protocol):
    """An object that would do something by itself in a forked child."""

    def after_fork_in_child(self) -> None:
        """Make it inert; must take no lock: a thread of the parent may have held it."""


def inert_in_child(*methods: str, silent: Collection[str] = ()) -> Callable[[type[T]], type[T]]:
    """Decorate a class whose objects belong to the process that created them.

    The check comes before anything else: the child has neither the threads of its parent nor a
    way to release a lock that one of them held, and the server reads a byte that it writes to an
    inherited socket as one of the parent's.

    Args:
        methods: methods and properties that raise `ForkedStore` in a forked child.
        silent: methods that have no effect there, and return None.
    """

    def decorate(cls: type[T]) -> type[T]:
        _note_the_process(cls)
        for name in (*methods, *silent):
            found = vars(cls)[name]
            if isinstance(found, property):
                assert found.fget is not None
                setattr(cls, name, property(_guarded(found.fget, silent=False), doc=found.__doc__))
            else:
                setattr(cls, name, _guarded(found, silent=name in silent))
        return cls

    return decorate


def _note_the_process(cls: type) -> None:
    init = cls.__init__  # type: ignore[misc]  # of the class itself: a subclass calls it

    @wraps(init)
    def noted(self: object, *args: Any, **options: Any) -> None:
        # Past `__setattr__`, which a frozen class has taken away.
        object.__setattr__(self, _PROCESS, os.getpid())
        init(self, *args, **options)

    cls.__init__ = noted  # type: ignore[misc]  # as above


def _guarded(method: Callable[..., Any], *, silent: bool) -> Callable[..., Any]:
    @wraps(method)
    def guarded(self: object, *args: Any, **options: Any) -> Any:
        owner = getattr(self, _PROCESS, None)
        if owner is None or owner == os.getpid():  # None: a subclass has its own way to begin
            return method(self, *args, **options)
        if silent:
            return None
        raise ForkedStore(
            f"{type(self).__name__} belongs to process {owner}, which has forked process "
            f"{os.getpid()}: open a store in the child, and use that"
        )

    return guarded


def note_owned(owned: Owned) -> None:
    """Call its `after_fork_in_child` in every forked child, for as long as the object exists."""
    _owned.add(owned)


def at_fork_in_child(hook: Callable[[], T]) -> Callable[[], T]:
    """Call the hook in every forked child, on platforms that can fork; also a decorator."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=hook)
    return hook


def leak(*objects: object) -> None:
    """Never free these objects, nor those they refer to, not even at the interpreter's end.

    For objects that a forked child has inherited and must not close.
    """
    _leaked.extend(objects)
    try:
        import ctypes

        keep = ctypes.pythonapi.Py_IncRef
    except (ImportError, AttributeError):
        return  # not CPython, or without access to it: what a module refers to stays
    for one in objects:  # CPython frees at its end what only a module refers to
        keep(ctypes.py_object(one))


@at_fork_in_child
def _after_fork_in_child() -> None:
    for owned in list(_owned):
        owned.after_fork_in_child()
