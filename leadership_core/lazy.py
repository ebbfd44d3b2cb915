"""Names of a package that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names", "module_of_names"]


def module_of_names(modules: Mapping[str, str]) -> dict[str, str]:
    """Return the module of each name.

    Args:
        modules: of each module, by its relative name, the names in it, with spaces between them.
    """
    return {name: module for module, names in modules.items() for name in names.split()}


def lazy_names(
    namespace: dict[str, Any], module_of: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    Args:
        namespace: its `globals()`.
        module_of: the relative name of the module of each name.
    """
    package = namespace["__name__"]

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(module_of[name], package), name)
        return value

    return get, lambda: sorted({*namespace, *namespace["__all__"]})
