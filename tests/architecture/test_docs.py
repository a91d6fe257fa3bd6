"""That the documents name what exists: code, commands, targets, files."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

GLOSSARY_ROW = re.compile(r"^\|(?P<word>[^|]+)\|(?:[^|]+\|)?(?P<code>[^|]+)\|\s*$")
CODE_NAME = re.compile(r"`(coordsvc(?:\.\w+)+)`")
PLANNED = "planned"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)(?:#(?P<heading>[^)\s]+))?\)")
GLOSSARY_WORDS = ("C_coord", "S_scale", "u_i", "alloc_i")
"""The article's words: each must be mapped to the code."""


@pytest.fixture(scope="session")
def documents(files: list[Path]) -> list[Path]:
    return [path for path in files if path.suffix == ".md"]


def _blocks(documents: list[Path], kind: str) -> Iterator[tuple[Path, str]]:
    for path in documents:
        for block in BLOCK.finditer(path.read_text()):
            if block["kind"] == kind:
                yield path, block["text"]


def _commands(documents: list[Path], program: str) -> list[list[str]]:
    """Every `$ program ...` line of the console blocks, as words, without the program."""
    lines = (line for _, text in _blocks(documents, "console") for line in text.splitlines())
    typed = [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]
    return [words[1:] for words in typed if words[:1] == [program]]


# --- the glossary


def _glossary(root: Path) -> dict[str, str]:
    """Word to what its last column says, from the table headed `| Word | ... | In code |`."""
    lines = iter((root / "README.md").read_text().splitlines())
    for line in lines:
        if re.match(r"^\|\s*Word\s*\|.*\|\s*In code\s*\|\s*$", line):
            break
    next(lines)
    rows: dict[str, str] = {}
    for line in lines:
        row = GLOSSARY_ROW.match(line)
        if row is None:
            break
        rows[row["word"].strip(" `")] = row["code"].strip()
    return rows


def _resolve(name: str) -> Any:
    """Return the module, or the attribute of a module or class, that a dotted name stands for."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        module_name = ".".join(parts[:split])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not module_name.startswith(error.name):
                raise
            continue
        for attribute in parts[split:]:
            fields = getattr(found, "__dataclass_fields__", {})
            found = fields[attribute] if attribute in fields else getattr(found, attribute)
        return found
    raise AttributeError(name)


def test_the_glossary_maps_every_word_to_code_that_exists(root: Path) -> None:
    rows = _glossary(root)
    assert set(GLOSSARY_WORDS) <= set(rows)
    for word, said in rows.items():
        names = CODE_NAME.findall(said)
        assert names or PLANNED in said, f"{word}: neither a name in code nor planned"
        for name in names:
            _resolve(name)


def test_a_name_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(AttributeError):
        _resolve("coordsvc.core.accounting.TurnAccount.c_cord_us")


# --- commands


def test_coordsvc_commands_in_the_documents_exist(documents: list[Path]) -> None:
    cli = importlib.import_module("coordsvc.cli.commands")
    program = typer.main.get_command(cli.app)
    for words in _commands(documents, "coordsvc"):
        _check_command(program, words)


def _check_command(program: Any, words: list[str]) -> None:
    """Walk down the sub-commands, then see that each option is one of the last of them."""
    line = f"coordsvc {' '.join(words)}"
    command, rest = program, list(words)
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"{line}: there is no {name}"
        command = command.commands[name]
    known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
    given = {word.partition("=")[0] for word in rest if word.startswith("-")}
    assert given <= known | {"--help"}, f"{line}: unknown option"


def test_a_command_that_does_not_exist_is_noticed() -> None:
    app = typer.Typer()
    app.command("up")(lambda: None)
    app.command("down")(lambda: None)
    program = typer.main.get_command(app)
    _check_command(program, ["up"])
    with pytest.raises(AssertionError, match="there is no upp"):
        _check_command(program, ["upp"])
    with pytest.raises(AssertionError, match="unknown option"):
        _check_command(program, ["up", "--sideways"])


def test_make_targets_in_the_documents_exist(root: Path, documents: list[Path]) -> None:
    rules = re.findall(r"^([a-z][\w-]*):(?!=)", (root / "Makefile").read_text(), re.MULTILINE)
    for words in _commands(documents, "make"):
        targets = {word for word in words if "=" not in word and not word.startswith("-")}
        assert targets <= set(rules), f"make {' '.join(words)}"


# --- blocks, links, reference


def test_python_in_the_documents_parses(documents: list[Path]) -> None:
    for path, text in _blocks(documents, "python"):
        ast.parse(text, filename=str(path))


def test_links_between_documents_lead_somewhere(documents: list[Path]) -> None:
    broken = [
        f"{path.name}: {link.group(0)}"
        for path in documents
        for link in LINK.finditer(BLOCK.sub("", path.read_text()))
        if not _leads_somewhere(path.parent / link["target"], link["heading"])
    ]
    assert broken == []


def _leads_somewhere(target: Path, heading: str | None) -> bool:
    if heading is None or not target.is_file():
        return target.exists() and heading is None
    titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
    return heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_reference_is_what_the_code_says(root: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
