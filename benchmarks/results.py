"""What a run of the benchmarks measured: tables of samples, as one JSON-able value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.samples import Samples


@dataclass
class Table:
    """One measurement: a row per peer, a column per quantity (its name ends with its unit).

    ``reference`` names the row to which the others are set in relation; ``notes`` say what has to
    be known to read it.
    """

    title: str
    reference: str | None = None
    notes: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, Samples]] = field(default_factory=dict)

    def add(self, row: str, column: str, value: float) -> None:
        """Take one more sample."""
        columns = self.rows.setdefault(row, {})
        before = columns.get(column, Samples(()))
        columns[column] = Samples((*before.values, value))

    def median(self, row: str, column: str) -> float:
        """Return the median; raises KeyError when it was not measured."""
        return self.rows[row][column].median

    def ratio(self, row: str, reference: str, column: str) -> float:
        """Return one row's median over another's; raises KeyError when one was not measured."""
        return self.median(row, column) / self.median(reference, column)

    def to_json(self) -> dict[str, object]:
        """Return everything, every sample too."""
        return {
            "title": self.title,
            "reference": self.reference,
            "notes": self.notes,
            "rows": {
                row: {column: list(samples.values) for column, samples in columns.items()}
                for row, columns in self.rows.items()
            },
        }


Results = Mapping[str, Table]
