"""Event log: log records of candidates and followers, with fields for machines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from ..backend.text import one_line

__all__ = ["EventLog"]

_VALUE_CHARACTERS = 100  # of a value in a message; the field has all of it


class EventLog(NamedTuple):
    """Logs the events of one election.

    Each record has the attributes `leadership_event`, `leadership_key`, `leadership_value`,
    `leadership_token` and `leadership_store`; those that do not apply are None.

    Attributes:
        log: the logger.
        key: the election's key, as users see it.
        store: its URL, with all secrets masked.
    """

    log: logging.Logger
    key: str
    store: str

    def write(
        self,
        level: int,
        event: str,
        facts: str = "",
        *,
        value: str | None = None,
        token: int | None = None,
        exc_info: BaseException | None = None,
    ) -> None:
        """Log one event.

        Args:
            level: as in `logging`.
            event: its name in snake case.
            facts: details, to be appended to the name.
            value: the value of the candidate or of the leader.
            token: the fencing token of the term.
            exc_info: the exception to log with its traceback.
        """
        if not self.log.isEnabledFor(level):
            return
        who = "" if value is None else f" '{one_line(value, _VALUE_CHARACTERS)}'"
        self.log.log(
            level,
            "%s%s %s%s (%s)",
            self.key,
            who,
            event,
            facts,
            self.store,
            exc_info=exc_info,
            extra=self.fields(event, value, token),
        )

    def fields(
        self, event: str, value: str | None = None, token: int | None = None
    ) -> Mapping[str, object]:
        """Return the `extra` attributes of a record."""
        return {
            "leadership_event": event,
            "leadership_key": self.key,
            "leadership_value": value,
            "leadership_token": token,
            "leadership_store": self.store,
        }
