"""The commands of `coordsvc train`, joined."""

import typer

from coordsvc.cli.train import evaluate, finetune, prepare, prompts, quantise, together

app = typer.Typer(help="From dialogues to adapters that the service serves.", no_args_is_help=True)
app.command("prepare")(prepare.prepare)
app.command("quantise")(quantise.quantise)
app.command("finetune")(finetune.finetune)
app.command("together")(together.together)
app.command("prompts")(prompts.prompts)
app.command("evaluate")(evaluate.evaluate)
