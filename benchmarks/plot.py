"""The results as a picture: four panels of horizontal bars and one curve, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import cold, peers, response, s3, warm
from benchmarks.results import Results, Table

OURS, OTHERS = "#0b6e4f", "#9aa5ab"
BAR = 0.8


def draw(results: Results, path: Path) -> None:
    """Write the picture, of what was measured."""
    panels: list[Callable[[Axes], None]] = []
    for name, column in (("cold", cold.CPU), ("cold", cold.MEMORY), ("warm async", warm.WALL)):
        if name in results:
            panels.append(_panel(results[name], column))
    if "response" in results:
        panels.append(_panel(results["response"], response.column(1.0)))
    if "growth" in results:
        panels.append(lambda axes: _growth(axes, results["growth"]))
    if not panels:
        return
    # The same results give the same bytes; text stays text.
    mpl.rcParams.update({"svg.hashsalt": "afterword", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(8, 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False)
    for draw_on, each in zip(panels, axes[:, 0], strict=True):
        draw_on(each)
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(table: Table, column: str) -> Callable[[Axes], None]:
    def bars(axes: Axes) -> None:
        rows = [name for name, columns in table.rows.items() if column in columns]
        _bars(axes, rows, table, column)
        axes.set_title(f"{table.title}: {column}", loc="left")

    return bars


def _bars(axes: Axes, rows: Sequence[str], table: Table, column: str) -> None:
    samples = [table.rows[row][column] for row in rows]
    medians = [each.median for each in samples]
    below = [each.median - each.quartiles[0] for each in samples]
    above = [each.quartiles[1] - each.median for each in samples]
    colours = [OURS if row.startswith("afterword") else OTHERS for row in rows]
    bars = axes.barh(rows, medians, BAR, xerr=(below, above), color=colours, ecolor="black")
    axes.bar_label(bars, [f"{each:,.0f}" for each in medians], padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.1)


def _growth(axes: Axes, table: Table) -> None:
    numbers = [int(row.replace(",", "")) for row in table.rows]
    axes.plot(numbers, [table.median(row, s3.WALL) for row in table.rows], "o-", color=OURS)
    axes.set(xscale="log", yscale="log", xlabel="records in one invocation, one PutObject")
    axes.set_title(f"{peers.SAME_APP.name}: {s3.WALL} of the invocation", loc="left")
