"""Figures as files."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the experiments extra is not installed")

from coordsvc.experiments.pictures import draw
from coordsvc.experiments.study import Figure


def line(canvas: Any) -> None:
    axes = canvas.subplots()
    axes.plot([1, 2], [3, 5], label="a line")
    axes.legend()


FIGURES = (
    Figure(name="one", caption="One.", draw=line),
    Figure(name="two", caption="Two, side by side.", draw=lambda canvas: canvas.subplots(1, 2)),
)


def test_each_figure_is_a_png_and_an_svg(tmp_path: Path) -> None:
    draw(FIGURES, tmp_path / "plots")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"one.png", "one.svg", "two.png", "two.svg"}
    assert (tmp_path / "plots" / "one.png").read_bytes().startswith(b"\x89PNG")


def test_drawn_again_they_are_the_same_to_the_byte(tmp_path: Path) -> None:
    """In another process, too: tests/studies/test_experiment_processes.py."""
    for folder in ("one", "other"):
        draw(FIGURES, tmp_path / folder)
    for name in ("one.svg", "two.svg", "one.png"):
        first, again = (tmp_path / folder / name for folder in ("one", "other"))
        assert first.read_bytes() == again.read_bytes()


def test_an_svg_says_nothing_of_the_day(tmp_path: Path) -> None:
    draw(FIGURES, tmp_path / "plots")
    assert "<dc:date>" not in (tmp_path / "plots" / "one.svg").read_text()


def test_drawing_leaves_no_setting_behind(tmp_path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    before = dict(mpl.rcParams)
    draw(FIGURES, tmp_path / "plots")
    assert dict(mpl.rcParams) == before


def test_no_figures_make_an_empty_folder(tmp_path: Path) -> None:
    draw((), tmp_path / "plots")
    assert list((tmp_path / "plots").iterdir()) == []
