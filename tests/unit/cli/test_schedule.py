"""`coordsvc schedule`: a plan for a deployment's file."""

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

pytest.importorskip("ortools", reason="the experiments extra is not installed")

from coordsvc.cli.schedule import schedule as command
from coordsvc.core.errors import BadRequest
from coordsvc.settings import read_application

FILE = Path("deployments/local.yaml")
app = typer.Typer()
app.command()(command)
LASTS = "planner=0.4,responder=0.9,checker=0.2"


def schedule(*options: str) -> str:
    done = CliRunner().invoke(app, options)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_it_prints_are_settings_that_the_service_takes(tmp_path: Path) -> None:
    told = schedule(str(FILE), "--lasts", LASTS, "--turns", "4")
    config = yaml.safe_load(FILE.read_text())
    config["applications"][0]["args"].update(yaml.safe_load(told))
    place = tmp_path / "planned.yaml"
    place.write_text(yaml.safe_dump(config))
    terms = read_application(place).offers.policy.terms()
    assert terms.name == "planned"
    assert len(terms.plan) == 4 * 3


def test_json_tells_each_agents_delay_beside_that_of_fair_sharing() -> None:
    told = json.loads(schedule(str(FILE), "--lasts", LASTS, "--turns", "3", "--json"))
    assert told["status"] == "OPTIMAL"
    for agent, delay in told["delay_s"]["planned"].items():
        assert delay <= told["delay_s"]["fair_share"][agent]


@pytest.mark.parametrize(
    ("lasts", "said"),
    [
        ("", "how many seconds planner's phase lasts is not said"),
        ("planner=soon", "--lasts has 'planner=soon': planner=0.9 would be right"),
        ("planner", "--lasts has 'planner'"),
    ],
)
def test_durations_that_are_no_numbers_are_refused(lasts: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        schedule(str(FILE), "--lasts", lasts)
