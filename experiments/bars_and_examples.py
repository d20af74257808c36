"""A figure of two bars for each kind of picture, with an example."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def bars_and_examples(
    kinds: Sequence[Mapping[str, Any]],
    values: Mapping[str, Sequence[float]],
    single: tuple[float, str],
    xlabel: str,
    inches: float,
) -> Any:
    """The figure.

    Args:
      kinds: for each kind of picture, its `name` and an `example`, (height, width) from 0 to 255.
      values: by label, a percentage for each kind; two labels.
      single: a percentage that a vertical line shows, and its label.
      xlabel: what the percentages are.
      inches: the height of the figure.
    """
    from matplotlib import pyplot

    n = len(kinds)
    figure = pyplot.figure(figsize=(11, inches), layout="constrained")
    grid = figure.add_gridspec(n, 2, width_ratios=(0.4, 1.6), hspace=0)
    bars, rows = figure.add_subplot(grid[:, 1]), np.arange(n)
    looks = (-0.2, "0.35", "white"), (0.2, "0.8", "black")
    for (shift, colour, ink), (label, numbers) in zip(looks, values.items(), strict=True):
        bars.barh(rows + shift, numbers, 0.4, color=colour, edgecolor="black", label=label)
        for row, value in zip(rows, numbers, strict=True):
            text = {"ha": "right", "va": "center", "fontsize": 8}
            bars.text(max(value - 1, 4), row + shift, f"{value:.1f}", color=ink, **text)
    bars.axvline(single[0], color="black", linestyle="--", label=single[1])
    bars.set_yticks(rows, [kind["name"] for kind in kinds])
    bars.set(xlim=(0, 100), ylim=(n - 0.5, -0.5), xlabel=xlabel)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    for i, kind in enumerate(kinds):
        axis = figure.add_subplot(grid[i, 0])
        axis.imshow(np.asarray(kind["example"], np.uint8), cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[], anchor="E")
        axis.set_frame_on(False)
    return figure
