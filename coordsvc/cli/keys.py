"""`coordsvc keys`: make keys for the HTTP door, and look at the file of them."""

import secrets
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from coordsvc.core.errors import BadRequest
from coordsvc.settings.keys import Key, KeyFile, read_keys

KEY_BYTES = 32
"""Of chance: as many as the hash has."""
PREFIX = "ck-"
"""So that a key is recognised where it should not be: in a log, in a repository."""

app = typer.Typer(
    help="Make keys for the HTTP door, and look at the file of them.", no_args_is_help=True
)
FILE = Annotated[Path, typer.Argument(help="The file of keys.")]


@app.command()
def new(
    file: FILE,
    name: Annotated[str, typer.Option(help="What the key is called; no secret.")],
    tenant: Annotated[str | None, typer.Option(help="Whose it is.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="At each ingress.")] = None,
    turns_at_once: Annotated[int | None, typer.Option(help="At each ingress.")] = None,
) -> None:
    """Add a key to the file, made if it is not there; print the key, this once."""
    word = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    entry = {
        "name": name,
        "tenant": tenant,
        "sha256": digest(word),
        "requests_per_minute": requests_per_minute,
        "turns_at_once": turns_at_once,
    }
    before = read_keys(file).keys if file.exists() else ()
    kept = [key.model_dump(exclude_none=True) for key in before]
    told = {"keys": [*kept, {what: said for what, said in entry.items() if said is not None}]}
    try:
        KeyFile.model_validate(told)
    except ValueError as error:
        raise BadRequest(f"that makes no file of keys: {_first_line(error)}") from None
    draft = file.with_name(f".{file.name}.draft")
    draft.touch(mode=0o600)
    draft.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    draft.replace(file)
    typer.echo(word)
    Console(stderr=True).print(
        f"the key of {name}; only its hash is in {file}, so it is shown this once", markup=False
    )


@app.command("hash")
def hash_key() -> None:
    """Print the hash of a key that is read from standard input, for a file made elsewhere."""
    word = typer.get_text_stream("stdin").readline().strip()
    if not word:
        raise BadRequest("there is no key on standard input")
    typer.echo(digest(word))


@app.command("list")
def list_keys(file: FILE) -> None:
    """Show the keys of a file, without their hashes."""
    shown = Table("name", "tenant", "requests a minute", "burst", "turns at once")
    for key in read_keys(file).keys:
        shown.add_row(*_row(key))
    Console().print(shown)


def digest(word: str) -> str:
    """Return what the file keeps of a key."""
    return sha256(word.encode()).hexdigest()


def _row(key: Key) -> tuple[str, ...]:
    limits = (key.requests_per_minute, key.burst, key.turns_at_once)
    return (key.name, key.tenant or "", *("" if one is None else str(one) for one in limits))


def _first_line(error: ValueError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[1:3]) or str(error)
