"""`coordsvc bench policies`, run as it is typed."""

import json

import typer
from typer.testing import CliRunner

from coordsvc.cli.bench.policies import policies

app = typer.Typer()
app.command()(policies)


def run(*options: str):
    return CliRunner().invoke(app, options)


def test_it_prints_one_json_object_of_the_sections_that_were_named() -> None:
    done = run("--quick", "--only", "tails,deadlines", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {"tails", "deadlines", "must_show", "ok", "machine"} <= set(told)
    assert "matrix" not in told
    assert all({"what", "reached", "target", "ok"} <= set(shown) for shown in told["must_show"])


def test_a_section_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = run("--only", "weather")
    assert done.exit_code != 0
    assert "weather" in done.output
    assert "deadlines" in done.output
