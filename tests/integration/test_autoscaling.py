"""Serve asks our policy, and engines come and go; what they were doing is never lost."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve._private.config import DeploymentConfig
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from coordsvc.core.autoscaling import Direction, Reason
from coordsvc.core.scaling_report import EngineSums, TurnSums
from coordsvc.core.units import SECOND, Instant
from coordsvc.serving.autoscaling import (
    ScalingPolicy,
    Unscaled,
    engine_config,
    ingress_config,
    observed,
    settings_in,
)
from coordsvc.settings.scaling import ScalingSettings
from coordsvc.telemetry.scaling import ScalingTold
from tests.fakes import SLOT
from tests.unit.telemetry.told import PLAN, RESPOND, turn

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(420),
    # the environment variables that are to replace it are not read by Serve 2.60
    pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning"),
]

SETTINGS = ScalingSettings(
    replicas_min=1,
    replicas_max=4,
    window_s=4.0,
    sustain_out_s=0,
    cool_out_s=0,
    report_s=1.0,
    stale_s=5.0,
)
ENGINE, INGRESS = (DeploymentID(name=name, app_name="app") for name in ("Engine", "Ingress"))


def deployed(config: AutoscalingConfig) -> AutoscalingConfig:
    """Return what the controller gets of it: it travels as protobuf."""
    there = DeploymentConfig.from_proto_bytes(
        DeploymentConfig(autoscaling_config=config).to_proto_bytes()
    )
    assert there.autoscaling_config is not None
    return there.autoscaling_config


def context(
    deployment: DeploymentID,
    config: AutoscalingConfig,
    reports: dict[str, dict[str, float]],
    target: int = 1,
) -> AutoscalingContext:
    """Return what Serve tells a policy of a deployment whose replicas reported this."""
    replicas = {name: ReplicaID(unique_id=name, deployment_id=deployment) for name in reports}
    raw: dict[str, dict[ReplicaID, list[TimeStampedValue]]] = {}
    for name, report in reports.items():
        for key, value in report.items():
            raw.setdefault(key, {})[replicas[name]] = [
                TimeStampedValue(1.0, -1.0),
                TimeStampedValue(2.0, value),
            ]
    return AutoscalingContext(
        deployment_id=deployment,
        deployment_name=deployment.name,
        app_name=deployment.app_name,
        current_num_replicas=len(replicas),
        target_num_replicas=target,
        running_replicas=list(replicas.values()),
        total_num_requests=0.0,
        total_queued_requests=0.0,
        aggregated_metrics=None,
        raw_metrics=raw,
        capacity_adjusted_min_replicas=config.min_replicas,
        capacity_adjusted_max_replicas=config.max_replicas,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=0.0,
        config=config,
    )


@dataclass
class Hand:
    """A clock and an instruments' line in a policy's place of its own."""

    at: float = 100.0
    told: list[ScalingTold] = field(default_factory=list)

    def now(self) -> Instant:
        return Instant(round(self.at * SECOND))

    def scaling(self, told: ScalingTold) -> None:
        self.told.append(told)


def asked(policy: ScalingPolicy, hand: Hand, seconds: int, *, target: int = 1) -> list[Any]:
    """Ask ten times a second, as Serve does, while turns wait 0.8 s each."""
    policy._clock, policy._line = hand, hand  # type: ignore[assignment]
    turns, engine = TurnSums(), EngineSums(hand.now(), SLOT)
    engine.began(hand.now(), SLOT)
    slow = turn(PLAN, RESPOND, wall_ms=1_000, solo_ms=200)
    answers = []
    for tick in range(seconds * 10):
        hand.at += 0.1
        if tick % 10 == 0:
            turns.turn(slow.account)
            reports = turns.report(), engine.report(hand.now())
        contexts = {
            INGRESS: context(INGRESS, deployed(ingress_config(SETTINGS)), {"i1": reports[0]}),
            ENGINE: context(ENGINE, deployed(engine_config(SETTINGS)), {"e1": reports[1]}, target),
        }
        answers.append(policy(contexts))
    return answers


class Said(logging.Handler):
    """What is logged, once: Ray's logger has handlers of its own all the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    log, handler = logging.getLogger("ray.serve"), Said()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler.lines
    log.removeHandler(handler)
    log.setLevel(before)


# What Serve's controller gets, and what it does with it


def test_the_terms_travel_with_the_engines_own_config_and_serves_delays_are_off() -> None:
    config = deployed(engine_config(SETTINGS))
    assert settings_in(context(ENGINE, config, {})) == SETTINGS
    assert (config.min_replicas, config.max_replicas) == (1, 4)
    assert (config.upscale_delay_s, config.downscale_delay_s) == (0, 0)
    assert (config.get_upscaling_factor(), config.get_downscaling_factor()) == (1, 1)
    assert config.initial_replicas is None, "else each deployment would throw the pool back"
    ingress = deployed(ingress_config(SETTINGS))
    assert settings_in(context(INGRESS, ingress, {})) is None
    assert (ingress.min_replicas, ingress.max_replicas) == (1, 1)
    assert ingress.metrics_interval_s == SETTINGS.report_s


def test_the_last_report_of_each_replica_is_observed() -> None:
    seen = observed(
        ENGINE,
        {
            ENGINE: context(ENGINE, engine_config(SETTINGS), {"e1": {"reports": 3}}, target=2),
            INGRESS: context(INGRESS, ingress_config(SETTINGS), {"i1": {"turns": 7}, "i2": {}}),
        },
    )
    assert (seen.running, seen.target, seen.least, seen.most) == (1, 2, 1, 4)
    assert seen.engines == {"e1": {"reports": 3}}
    assert seen.ingresses == {"i1": {"turns": 7}}


def test_the_policy_decides_once_a_second_and_says_a_reason_once(said: list[str]) -> None:
    hand = Hand()
    answers = asked(ScalingPolicy(), hand, 6)
    decided = [answer[0][ENGINE] for answer in answers if answer[0]]
    assert len(decided) == len(hand.told) == 6
    assert decided[-1] == 3, "one is full, and nearly as much again waits"
    assert {answer[0].get(INGRESS) for answer in answers} == {None}
    assert [one.reason for one in hand.told[:4]] == [Reason.FILLING] * 4
    assert hand.told[-1].direction is Direction.OUT
    assert hand.told[-1].c_coord_s == pytest.approx(0.8)
    assert said[0].startswith("engines: hold (filling): ")
    assert said[-1].startswith("engines: out (c_coord): from 1 to 3: C_coord is 0.80 s, 100% of ")
    assert len(said) == len(set(said)), "ten times a second would be a flood"


def test_an_application_without_an_engine_of_ours_is_left_alone() -> None:
    other = DeploymentID(name="Other", app_name="app")
    assert ScalingPolicy()({other: context(other, AutoscalingConfig(), {})}) == ({}, {})
    assert ScalingPolicy()({}) == ({}, {})


def test_without_our_policy_in_the_file_the_engine_is_not_scaled_and_the_log_says_why(
    said: list[str],
) -> None:
    config = deployed(engine_config(SETTINGS))
    policy = _resolve_policy_callable(config.policy)
    assert type(policy).__name__ == Unscaled.__name__
    for _ in range(20):
        assert policy(context(ENGINE, config, {"e1": {}}, target=3)) == (3, {})
    (_, once) = said  # the first is Serve's
    assert "args.scaling is set, but the application has no autoscaling_policy" in once


# A real cluster, simulated


@pytest.fixture(scope="module")
def stories() -> dict[str, Any]:
    """What happened on a cluster of five nodes, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.scaling_stories"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4_000:]
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def test_an_engine_that_no_node_has_room_for_waits_with_its_placement_group(
    stories: dict[str, Any],
) -> None:
    """A pending group is what asks Ray's autoscaler for a node."""
    told = stories["grows"]
    assert told["before"] == {
        "coordsvc_placement_groups created": 1,
        "coordsvc_placement_groups pending": 1,
        "coordsvc_replicas Engine": 1,
        "coordsvc_scaling_bound min": 1,
        "coordsvc_scaling_bound max": 2,
    }
    assert told["after"]["coordsvc_placement_groups created"] == 2
    assert told["after"]["coordsvc_replicas Engine"] == 2
    assert told["turns"] > 0
    assert told["lost"] == []


def test_what_runs_on_an_engine_that_serve_stops_ends_there(stories: dict[str, Any]) -> None:
    told = stories["patient"]
    assert told["draining"] == 1
    assert told["nodes"] == 1
    assert told["lost"] == []
    assert (told["moved"], told["preempted"]) == (0, 0)


def test_what_runs_on_for_longer_than_the_drain_goes_on_elsewhere_word_by_word(
    stories: dict[str, Any],
) -> None:
    told = stories["hasty"]
    assert told["draining"] == 1
    assert told["nodes"] == 1
    assert told["lost"] == []
    assert told["moved"] > 0
    assert told["preempted"] > 0
    assert told["broken_reservations"] == 0
