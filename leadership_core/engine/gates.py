"""Gates of a candidate: the conditions under which a program wants to lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..backend.validation import check_callback, is_finite_number, safe_repr
from ..errors import ConfigurationError

__all__ = ["NO_GATES", "Gates"]

_SHORTEST_WATCHDOG = 0.1


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates as the user has set them.

    Attributes:
        ready: says whether the program can lead; None if it always can.
        watchdog: seconds for which the work of a term may give no sign of life; None without a limit.

    Raises:
        ConfigurationError: one of them is invalid.
    """

    ready: Callable[[], object] | None = None
    watchdog: float | None = None

    def __post_init__(self) -> None:
        if self.ready is not None:
            check_callback("ready", self.ready)
        if self.watchdog is None:
            return
        if not is_finite_number(self.watchdog) or self.watchdog < _SHORTEST_WATCHDOG:
            raise ConfigurationError(
                f"the watchdog must be a number of seconds, {_SHORTEST_WATCHDOG:g} or more, not "
                f"{safe_repr(self.watchdog)}; None sets no limit"
            )


NO_GATES = Gates()
"""The gates of a program that can always lead."""
