"""A study of no time at all, told as a value and as a TOML, and some that go wrong."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coordsvc.core.errors import BadRequest, NodeGone
from coordsvc.experiments import entries
from coordsvc.experiments.entries import Entry
from coordsvc.experiments.statistics import below, mean
from coordsvc.experiments.study import (
    Cell,
    Conclusion,
    Figure,
    Finding,
    Plan,
    Row,
    Say,
    Table,
)

LIMIT_S = 2.0


class Tiny:
    """Turns of a second or less, by chance."""

    @property
    def name(self) -> str:
        return "tiny"

    def check(self, plan: Plan) -> None:
        if plan.parameters["turns"] < 1:
            raise BadRequest(f"{plan.parameters['turns']} turns; at least 1 is right")

    def cells(self, plan: Plan) -> list[Cell]:
        return [
            Cell(key=f"seed {seed}", settings={**plan.parameters, "seed": seed})
            for seed in plan.seeds
        ]

    def run(self, cell: Cell, say: Say) -> list[Row]:
        say(f"measured {cell.key}")
        chance = np.random.default_rng(cell.settings["seed"])
        return [
            {
                "seed": cell.settings["seed"],
                "load": load,
                "took_s": float(chance.uniform(0.2, 0.9, cell.settings["turns"]).mean()),
                "late": None if load == "low" else False,
            }
            for load in ("low", "high")
        ]

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        took = mean([float(row["took_s"] or 0) for row in rows])
        return Conclusion(
            verdict=below(took, LIMIT_S),
            says=f"Turns take {took.shown()} s.",
            findings=(
                Finding(
                    name="took_s",
                    value=took.value,
                    low=took.low,
                    high=took.high,
                    unit="s",
                    wanted=f"below {LIMIT_S} s",
                    met=took.high < LIMIT_S,
                    says="time of a turn",
                ),
                Finding(name="turns", value=float(plan.parameters["turns"])),
            ),
            tables=(
                Table(
                    title="All runs",
                    columns=("load", "seconds"),
                    rows=tuple((str(row["load"]), str(row["took_s"])) for row in rows),
                ),
            ),
            summary={"runs": len(rows)},
        )


class Drawn(Tiny):
    """With a picture, and what a hash may put in another order."""

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        plain = super().conclude(plan, rows)

        def draw(canvas: Any) -> None:
            axes = canvas.subplots()
            for load in ("low", "high"):
                took = [float(row["took_s"] or 0) for row in rows if row["load"] == load]
                axes.plot(range(len(took)), took, marker="o", label=load)
            axes.fill_between([0, 1], [0, 0], [LIMIT_S, LIMIT_S], alpha=0.1, hatch="/")
            axes.legend()

        return Conclusion(
            verdict=plain.verdict,
            says=plain.says,
            findings=plain.findings,
            tables=plain.tables,
            figures=(Figure(name="took", caption="Each run's turns.", draw=draw),),
        )


class Fails(Tiny):
    """Its second cell finds an engine dead."""

    def run(self, cell: Cell, say: Say) -> list[Row]:
        if cell.settings["seed"] == 2:
            raise NodeGone("engine 3 has died")
        return super().run(cell, say)


class FailsTwice(Fails):
    """And then nobody can make sense of half of the rows."""

    def conclude(self, plan: Plan, rows: Sequence[Row]) -> Conclusion:
        raise ZeroDivisionError("no rows of seed 2")


class Dies(Tiny):
    """Its process is killed in the second cell, with no time for a word."""

    def run(self, cell: Cell, say: Say) -> list[Row]:
        if cell.settings["seed"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(cell, say)


class Alike(Tiny):
    """Two cells have one key."""

    def cells(self, plan: Plan) -> list[Cell]:
        return 2 * super().cells(plan)


class Prints(Tiny):
    """Starts something that talks."""

    def run(self, cell: Cell, say: Say) -> list[Row]:
        sys.stdout.write("Started a local Ray instance.\n")
        return super().run(cell, say)


class Empty(Tiny):
    """Measures, and has nothing to show for it."""

    def run(self, cell: Cell, say: Say) -> list[Row]:
        return []


def tiny(study: type[Tiny] = Tiny, **other: Any) -> Entry:
    """Return the entry of a study in this module."""
    told: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny: how long no turn takes",
        "question": "Does a turn that nobody takes end within two seconds?",
        "hypothesis": "It does.",
        "measured": "Numbers are drawn, and their mean is taken.",
        "real": "",
        "emulated": "",
        "simulated": "All of it.",
        "study": f"{__name__}:{study.__name__}",
        "seeds": (1, 2, 3),
        "parameters": {"turns": 4, "loads": ["low", "high"]},
        "columns": {
            "seed": "of all chance in the run",
            "load": "`low` or `high`",
            "took_s": "mean time of a turn, seconds",
        },
        "presets": {"full": {"seeds": [1, 2, 3, 4, 5, 6]}, "test": {"turns": 2}},
    }
    return Entry(**(told | other))


def plan(entry: Entry | None = None, preset: str = "test", **other: Any) -> Plan:
    """Return what a run of it is told."""
    return entries.plan(entry or tiny(), preset, **other)


TOML = f"""
title = "Tiny: how long no turn takes"
question = "Does a turn that nobody takes end within two seconds?"
hypothesis = "It does."
measured = "Numbers are drawn, and their mean is taken."
study = "{__name__}:Tiny"
seeds = [1, 2, 3]

[what]
simulated = "All of it."

[parameters]
turns = 4
loads = ["low", "high"]

[columns]
seed = "of all chance in the run"
load = "`low` or `high`"
took_s = "mean time of a turn, seconds"

[presets.full]
seeds = [1, 2, 3, 4, 5, 6]

[presets.test]
turns = 2
"""
"""What `tiny()` is, as a catalogue's file."""


def catalogue(folder: Path, **studies: type[Tiny]) -> Path:
    """Write a catalogue, of `Tiny` as tiny.toml if no others are named."""
    folder.mkdir()
    for name, study in (studies or {"tiny": Tiny}).items():
        text = TOML.replace(":Tiny", f":{study.__name__}")
        (folder / f"{name}.toml").write_text(text)
    return folder
