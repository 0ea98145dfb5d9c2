"""Samples of one quantity, and how they are summed up."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """What was measured, in the order of measuring."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The bounds of the middle half."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third

    @property
    def least(self) -> float:
        """The smallest: what the machine can do when nothing else runs."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest."""
        return max(self.values)

    def text(self) -> str:
        """Return the median and the quartiles, to three digits."""
        first, third = self.quartiles
        if first == third:
            return short(self.median)
        return f"{short(self.median)} ({short(first)} to {short(third)})"


def short(value: float) -> str:
    """Return a number with three digits that count, and no more than three after the point."""
    if value == 0:
        return "0"
    digits = max(0, min(3, 3 - len(str(int(abs(value))))))
    return f"{value:.{digits}f}" if abs(value) >= 1 else f"{value:.3g}"
