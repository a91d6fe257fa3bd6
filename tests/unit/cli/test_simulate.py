"""`coordsvc simulate`, run as it is typed."""

import json

import pytest
import typer
from typer.testing import CliRunner

from coordsvc.cli.simulate import simulate
from coordsvc.core.errors import BadRequest

app = typer.Typer()
app.command()(simulate)


def run(*options: str):
    return CliRunner().invoke(app, options)


def told(*options: str) -> dict:
    done = run("--seconds", "5", "--json", *options)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_same_options_tell_the_same_but_for_the_speed() -> None:
    one, other = told("--seed", "3"), told("--seed", "3")
    assert one.pop("speed")["allocator_events_per_s"] > 0
    assert other.pop("speed")["core_events_per_s"] > 0
    assert one == other
    assert (one["workload"], one["policy"], one["seed"]) == ("poisson", "fair_share", 3)


def test_options_reach_the_run() -> None:
    assert told("--turns", "4")["turns"] == 4
    assert told("--nodes", "3", "--slots", "2")["fleet"]["slots"] == 6
    assert set(told("--workload", "tenants", "--alone")["slowdowns"]) >= {"tenant1"}
    parts = "planner=1,responder=2,checker=1"
    assert told("--policy", "static_partition", "--partition", parts)["unfinished"] == 0
    assert told("--held-ahead")["core_calls"] != told()["core_calls"]
    assert told("--faults", "--seconds", "60")["attempts_lost"] > 0


def test_people_see_a_table() -> None:
    done = run("--seconds", "2")
    assert done.exit_code == 0
    assert "p95_us" in done.stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--workload", "lunar"), "there are poisson, bursty"),
        (("--policy", "lucky"), "there are fair_share, utility"),
        (("--policy", "static_partition", "--partition", "a=x"), "looks like planner=2"),
        (("--policy", "static_partition"), "needs a share"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(options: tuple[str, ...], why: str) -> None:
    done = run(*options)
    assert isinstance(done.exception, BadRequest)
    assert why in str(done.exception)
