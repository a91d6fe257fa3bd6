"""A study's figures as files: the same rows make the same SVG."""

from collections.abc import Sequence
from pathlib import Path

from coordsvc.experiments.study import Figure

WIDE, HIGH = 7.5, 4.2
"""Inches."""
DOTS_AN_INCH = 144


def draw(figures: Sequence[Figure], folder: Path) -> None:
    """Write each figure as PNG and as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, asked for before
    import matplotlib.figure  # noqa: PLC0415

    folder.mkdir(exist_ok=True)
    # no date in the file, and names of its parts that do not change
    with mpl.rc_context({"svg.hashsalt": "coordsvc", "font.size": 10, "axes.grid": True}):
        for figure in figures:
            canvas = mpl.figure.Figure(figsize=(WIDE, HIGH), layout="constrained")
            figure.draw(canvas)
            for axes in canvas.axes:
                axes.spines[["top", "right"]].set_visible(False)
                axes.grid(alpha=0.3)
            canvas.savefig(folder / f"{figure.name}.png", dpi=DOTS_AN_INCH)
            canvas.savefig(folder / f"{figure.name}.svg", metadata={"Date": None})
