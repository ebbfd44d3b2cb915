"""Results of a run: what was measured, of which contender, and the document for `--json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .statistics import Ratio, Summary, ratio, summarise

__all__ = ["OURS", "SCHEMA", "ContenderRecord", "Results", "Series"]

SCHEMA = 1
"""The version of the JSON document; it grows when a field changes its meaning or goes."""

OURS = "leadership"
"""The contender that all others are compared with."""


@dataclass(frozen=True, slots=True)
class ContenderRecord:
    """Record of a contender on a store: its version, or why it was not measured.

    Attributes:
        store: the scheme of the store.
        name: of the contender.
        version: of its distribution or program.
        missing: why it was not measured; empty if it was.
    """

    store: str
    name: str
    version: str = ""
    missing: str = ""


@dataclass(slots=True)
class Series:
    """The values of one contender in one case of a figure.

    Series of the same figure, store and case were measured in turn: values of one index are a pair.

    Attributes:
        figure: the name of the figure, as `--only` takes it.
        store: the scheme of the store; empty where none is involved.
        case: what distinguishes it within the figure, such as "100 waiting, one process".
        contender: whose values.
        unit: of the values, such as "ms".
        values: None where nothing came in time.
    """

    figure: str
    store: str
    case: str
    contender: str
    unit: str
    values: list[float | None] = field(default_factory=list)

    @property
    def summary(self) -> Summary | None:
        """See `summarise`."""
        return summarise(self.values)


@dataclass(slots=True)
class Results:
    """Everything that a run has found."""

    environment: dict[str, Any] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    contenders: list[ContenderRecord] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    complete: bool = False

    def add(
        self,
        figure: str,
        store: str,
        case: str,
        contender: str,
        unit: str,
        values: Sequence[float | None],
    ) -> None:
        """Add a series; see `Series`."""
        self.series.append(Series(figure, store, case, contender, unit, list(values)))

    def note(self, text: str) -> None:
        """Add a remark for readers, once."""
        if text not in self.notes:
            self.notes.append(text)

    def of(self, figure: str, store: str | None = None) -> list[Series]:
        """The series of a figure, of one store or of all."""
        return [one for one in self.series if one.figure == figure and store in {None, one.store}]

    def find(self, figure: str, store: str, case: str, contender: str = OURS) -> Series | None:
        """One series, or None."""
        wanted = (figure, store, case, contender)
        for one in self.series:
            if (one.figure, one.store, one.case, one.contender) == wanted:
                return one
        return None

    def ratios(self) -> Iterator[tuple[Series, Series, Ratio]]:
        """Each series of a peer with ours of the same case: ours, the peer's, and the ratio."""
        for theirs in self.series:
            if theirs.contender == OURS:
                continue
            ours = self.find(theirs.figure, theirs.store, theirs.case)
            found = ratio(ours.values, theirs.values) if ours else None
            if ours and found:
                yield ours, theirs, found

    def document(self) -> dict[str, Any]:
        """The JSON document; docs/benchmarking.md describes it."""
        return {
            "schema": SCHEMA,
            "complete": self.complete,
            "environment": self.environment,
            "servers": self.servers,
            "contenders": [asdict(one) for one in self.contenders],
            "series": [
                asdict(one) | {"summary": asdict(one.summary) if one.summary else None}
                for one in self.series
            ],
            "ratios": [
                {
                    "figure": theirs.figure,
                    "store": theirs.store,
                    "case": theirs.case,
                    "contender": theirs.contender,
                    **asdict(found),
                }
                for _, theirs, found in self.ratios()
            ],
            "notes": self.notes,
        }
