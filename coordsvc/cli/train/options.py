"""Options that `train finetune` and `train together` have alike."""

from typing import Annotated

import typer

from coordsvc.engines.settings import SMOLLM2
from coordsvc.training.recipe import Preset

ARTICLE = "Qwen/Qwen2.5-1.5B-Instruct"
"""The base of the article's recipe."""

Base = Annotated[str, typer.Option(help=f"A hub id, a folder, a .gguf, or {SMOLLM2}.")]
PresetName = Annotated[Preset, typer.Option("--preset", help="Whose numbers to take.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="A number of the recipe, as rank=8; once for each."),
]
