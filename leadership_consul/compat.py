"""The check that the module `consul` is that of py-consul.

python-consul and python-consul2, of which py-consul is a fork, install a module of the same name.
If one of them is installed too, the two overwrite each other's files, or one hides the other.
"""

from __future__ import annotations

from importlib import import_module, metadata

from leadership_core.backend import PluginError

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
"""Names that py-consul has and its predecessors do not have."""


def check_library() -> None:
    """Check that py-consul is importable.

    Raises:
        PluginError: the module `consul` is that of another distribution; the message names it, and
            what to uninstall and install.
    """
    for module, name in _PARTS:
        lacking = f"{module}.{name}"
        try:
            found: object = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, SyntaxError):  # of a mixture of two distributions
            break
    else:
        return
    rivals = [f"{name} {version}" for name in _RIVALS if (version := _version(name))]
    own = _version("py-consul")
    if rivals:
        beside = f" beside py-consul {own}" if own else ""
        names = " ".join(name.split()[0] for name in rivals)
        raise PluginError(
            f"consul:// needs the module `consul` of py-consul, but the one that is imported is that of "
            f"{' and '.join(rivals)}, installed{beside}: run `pip uninstall -y {names}"
            f"{' py-consul' if own else ''}`, then `pip install 'py-consul>=1.8,<1.9'`"
        )
    raise PluginError(
        f"consul:// needs py-consul 1.8, and the module `consul` that is imported (of "
        f"{f'py-consul {own}' if own else 'another distribution'}) has no {lacking}: "
        "run `pip install 'py-consul>=1.8,<1.9'`, and rename a module of your own called `consul`"
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
