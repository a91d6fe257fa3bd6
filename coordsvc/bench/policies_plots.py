"""The tables and plots of `coordsvc bench policies`, for the documentation."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from coordsvc.bench.policies_gain import POLICIES
from coordsvc.bench.policies_runs import COLUMNS
from coordsvc.core.errors import BadRequest

WHOLE_FROM = 100
"""Figures from here on are shown without decimals."""
TITLES = {
    "turns_per_s": "turns/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "in_time": "in time",
    "fairness": "Jain",
    "worst_slowdown": "worst slowdown",
    "of_ideal": "of ideal",
}
WIDE, HIGH = 9.0, 4.5
"""Inches."""


def write(folder: Path, told: Mapping[str, Any]) -> None:
    """Write what was measured as Markdown and as SVG into a folder.

    Raises:
        BadRequest: matplotlib is not installed.

    """
    try:
        mpl = import_module("matplotlib")  # an extra, and only needed here
    except ImportError:
        raise BadRequest("--plots needs matplotlib: pip install 'coordsvc[experiments]'") from None
    # the same file for the same figures: no date in it, and names of parts that do not change
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "coordsvc"
    folder.mkdir(parents=True, exist_ok=True)
    if "matrix" in told:
        text = "\n".join(matrix_lines(told["matrix"])) + "\n"
        (folder / "matrix.md").write_text(text, encoding="utf-8")
        _p95_by_workload(folder / "p95.svg", told["matrix"])
    if "gain" in told:
        _gains(folder / "gain.svg", told["gain"])
    if "tails" in told:
        _tails(folder / "tails.svg", told["tails"])
    if "deadlines" in told:
        _deadlines(folder / "deadlines.svg", told["deadlines"])


def matrix_lines(matrix: Mapping[str, Any]) -> Iterator[str]:
    """Yield the matrix as Markdown: a table for each workload."""
    yield "# Every policy on every workload"
    yield ""
    yield "Means over the seeds, and behind ± half of their 95 % interval."
    for workload, policies in matrix.items():
        shown = [name for name in TITLES if any(row[name] for row in policies.values())]
        yield ""
        yield f"## {workload}"
        yield ""
        yield "| policy | " + " | ".join(TITLES[name] for name in shown) + " |"
        yield "|---" * (len(shown) + 1) + "|"
        for policy, row in policies.items():
            yield f"| `{policy}` | " + " | ".join(cell(row[name]) for name in shown) + " |"


def cell(figure: Mapping[str, float] | None) -> str:
    """Return a mean and half of its interval."""
    if figure is None:
        return "-"
    mean = _short(figure["mean"])
    return mean if figure["low"] is None else f"{mean} ±{_short(figure['mean'] - figure['low'])}"


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= WHOLE_FROM else f"{number:.3g}"


def _figure() -> tuple[Any, Any]:
    figure, axes = import_module("matplotlib.pyplot").subplots(
        figsize=(WIDE, HIGH), layout="constrained"
    )
    return figure, axes


def _legend(axes: Any) -> None:
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
    import_module("matplotlib.pyplot").close(figure)


def _p95_by_workload(path: Path, matrix: Mapping[str, Any]) -> None:
    figure, axes = _figure()
    width = 0.8 / len(COLUMNS)
    for n, policy in enumerate(COLUMNS):
        places, heights, errors = [], [], []
        for place, policies in enumerate(matrix.values()):
            p95 = policies[policy]["p95_ms"]
            if p95 is not None:
                places.append(place - 0.4 + (n + 0.5) * width)
                heights.append(p95["mean"] / 1_000)
                errors.append(_half(p95) / 1_000)
        axes.bar(places, heights, width, yerr=errors, label=policy, error_kw={"lw": 0.5})
    axes.set_yscale("log")
    axes.set_xticks(range(len(matrix)), list(matrix), rotation=20)
    axes.set_ylabel("p95 of a turn, s")
    _legend(axes)
    _save(figure, path)


def _gains(path: Path, gain: Mapping[str, Any]) -> None:
    figure, axes = _figure()
    groups: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for workload, mix in gain["mixes"].items():
        groups[f"{workload}\nsaturated"] = (mix["bound"], mix["saturated"])
        for limit, row in mix["at_limits"].items():
            if row is not None:
                groups[f"{workload}\np95 <= {limit}"] = (mix["bound"], row)
    for n, policy in enumerate(POLICIES):
        places, shares, halves = [], [], []
        for place, (bound, row) in enumerate(groups.values()):
            if policy in row:
                places.append(place - 0.3 + 0.6 * n / len(POLICIES))
                shares.append(row[policy]["gain"]["mean"] / bound)
                halves.append(_half(row[policy]["gain"]) / bound)
        axes.errorbar(places, shares, halves, fmt="o", ms=3, label=policy)
    axes.axhline(1, ls="--", color="k", lw=0.8)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(len(groups)), list(groups), fontsize="x-small")
    axes.set_ylabel("gain over the best walls, as a share of the bound")
    _legend(axes)
    _save(figure, path)


def _tails(path: Path, tails: Mapping[str, Any]) -> None:
    figure, axes = _figure()
    pools = tails["pools"]
    _bars(axes, {f"{slots} slots": one for slots, one in pools.items()}, "p95_vs_round_robin")
    for place, pool in enumerate(pools.values()):
        bound = pool["bound_vs_round_robin"]["mean"]
        axes.hlines(bound, place - 0.45, place + 0.45, ls="--", color="k")
    axes.set_ylabel("p95 over round robin's; dashed: the bound")
    _legend(axes)
    _save(figure, path)


def _deadlines(path: Path, deadlines: Mapping[str, Any]) -> None:
    figure, axes = _figure()
    _bars(axes, deadlines["cells"], "in_time")
    axes.set_ylabel("turns in time")
    _legend(axes)
    _save(figure, path)


def _bars(axes: Any, cells: Mapping[str, Any], column: str) -> None:
    """Draw a bar for each policy in each cell, with its interval."""
    policies = list(next(iter(cells.values()))["policies"])
    width = 0.8 / len(policies)
    for n, policy in enumerate(policies):
        figures = [cell["policies"][policy][column] for cell in cells.values()]
        axes.bar(
            [place - 0.4 + (n + 0.5) * width for place in range(len(cells))],
            [one["mean"] for one in figures],
            width,
            label=policy,
            yerr=[_half(one) for one in figures],
            error_kw={"lw": 0.5},
        )
    axes.set_xticks(range(len(cells)), list(cells))


def _half(figure: Mapping[str, float]) -> float:
    """Return half of an interval; 0 where there is none."""
    return 0.0 if figure["low"] is None else figure["mean"] - figure["low"]
