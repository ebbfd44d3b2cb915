"""What a forked child must not do with what it has inherited; for the core and for stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakSet

from .errors import ForkedStore

__all__ = ["at_fork_in_child", "inert_in_child", "leak", "note_owned"]

_PROCESS: Final = "_process_of_owner"

T = TypeVar("T")

_leaked: list[object] = []
_owned: WeakSet[Owned] = WeakSet()


class Owned(Protocol):
    """What has to be kept from doing something by itself in a forked child."""

    def after_fork_in_child(self) -> None:
        """Make it inert; takes no lock, which a thread of the parent may have held."""


def inert_in_child(*methods: str, silent: Collection[str] = ()) -> Callable[[type[T]], type[T]]:
    """Decorate a class whose objects belong to the process that has made them.

    The check is made before anything else: the child has neither the threads of its parent nor a
    way to release a lock that one of them held, and a byte that it writes to an inherited socket
    is read by the server as the parent's.

    Args:
        methods: raise `ForkedStore` in a forked child; a property does, too.
        silent: do nothing there, and return None.
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

    cls.__init__ = noted  # type: ignore[misc]


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
    """Call `after_fork_in_child` of it in every forked child, for as long as it is referred to."""
    _owned.add(owned)


def at_fork_in_child(hook: Callable[[], object]) -> None:
    """Call this in every forked child, where the platform can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=hook)


def leak(*objects: object) -> None:
    """Never free these objects and what they refer to, not at the interpreter's end either.

    For what a forked child has inherited and must not close.
    """
    _leaked.extend(objects)
    try:
        import ctypes

        keep = ctypes.pythonapi.Py_IncRef
    except (ImportError, AttributeError):
        return  # not CPython, or without access to it: what a module refers to stays
    for one in objects:  # CPython frees at its end what only a module refers to
        keep(ctypes.py_object(one))


def _tell_owned() -> None:
    for owned in list(_owned):
        owned.after_fork_in_child()


at_fork_in_child(_tell_owned)
