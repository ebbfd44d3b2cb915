"""Whether the module `consul` is that of py-consul, and what to do where it is not.

python-consul and python-consul2, which py-consul goes back to, bring a module of the same name. Where one
of them is installed, too, its files lie over those of py-consul, or under them, or come first.
"""

from __future__ import annotations

from importlib import import_module, metadata

from leadership_core.errors import PluginError

__all__ = ["check_library"]

_RIVALS = ("python-consul", "python-consul2")
_PARTS = (
    ("consul.base", "HTTPClient"),
    ("consul.base", "Response"),
    ("consul.base", "Consul.http_connect"),
    ("consul.callback", "CB.json"),
    ("consul.exceptions", "BadRequest"),
    ("consul.exceptions", "ClientError"),
)
"""What py-consul has and its predecessors do not, or have by another name."""


def check_library() -> None:
    """Raise unless py-consul can be used.

    Raises:
        PluginError: another distribution's module is in its place; the message says which one, and
            what to uninstall and install.
    """
    lacking = next((f"{module}.{name}" for module, name in _PARTS if not _has(module, name)), None)
    if lacking is None:
        return
    rivals = [f"{name} {found}" for name in _RIVALS if (found := _version(name))]
    own = _version("py-consul")
    if rivals:
        beside = f" beside py-consul {own}" if own else ""
        names = " ".join(name.split()[0] for name in rivals)
        raise PluginError(
            f"consul:// needs the module `consul` of py-consul, and what is imported is that of "
            f"{' and '.join(rivals)}, installed{beside}: run `pip uninstall -y {names}"
            f"{' py-consul' if own else ''}`, then `pip install 'py-consul>=1.8,<1.9'`"
        )
    raise PluginError(
        f"consul:// needs py-consul 1.8, and the module `consul` that is imported (of "
        f"{f'py-consul {own}' if own else 'another distribution'}) has no {lacking}: "
        "run `pip install 'py-consul>=1.8,<1.9'`, and rename a module of your own called `consul`"
    )


def _has(module: str, name: str) -> bool:
    try:
        found: object = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, SyntaxError):  # a mixture of both may have any of them
        return False
    return True


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
