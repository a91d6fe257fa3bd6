"""The fleet's measures: the formulas, by hand, and the identity that they must obey."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.fleet import WHOLE, States, accelerators, measures, share
from coordsvc.core.resources import Resources

SECOND = 1_000_000
WORK = st.integers(0, 10**15)


def test_a_worked_example() -> None:
    """Two accelerators for ten seconds: 12 s computed, 2 held, 1 blocked, 1 stranded, 4 idle."""
    states = States(12, 2, 1, 1, 4)
    for name, amount in states.as_dict().items():
        setattr(states, name, amount * SECOND * WHOLE)
    found = measures(states, lasts_us=10 * SECOND, turns=6, baseline_us=18 * SECOND)
    assert found.accelerators == 2
    assert found.s_scale == 1.5
    assert found.c_algo_us == 2 * SECOND
    assert found.c_coord_us == pytest.approx(3 / (6 * 1.5) * SECOND)
    assert found.c_baseline_us == 3 * SECOND
    assert found.s_measured == pytest.approx(1.8), "3 s of work a turn, and a turn each 1.67 s"
    assert found.s_ideal == pytest.approx(3.0), "3 s of work for 2 s of accelerator, on two"
    assert found.of_ideal == pytest.approx(0.6)


@given(WORK, WORK, WORK, WORK, WORK, st.integers(1, 10**6), st.integers(1, 10**9))
def test_the_time_of_a_turn_is_what_it_computes_and_what_coordination_adds(
    computing: int, held: int, blocked: int, stranded: int, idle: int, turns: int, lasts: int
) -> None:
    """T/N = C_algo/S_scale + C_coord_fleet."""
    states = States(computing, held, blocked, stranded, idle)
    found = measures(states, lasts_us=lasts, turns=turns, baseline_us=turns)
    if found.c_algo_us is None or found.c_coord_us is None:
        assert computing == 0
        return
    whole = found.c_algo_us / found.s_scale + found.c_coord_us
    assert whole == pytest.approx(lasts / turns, rel=1e-9)


def test_without_turns_or_work_there_is_no_value() -> None:
    idle = States(idle=10 * WHOLE)
    for states, turns in ((idle, 0), (idle, 3), (States(computing=WHOLE), 0)):
        found = measures(states, lasts_us=10, turns=turns, baseline_us=0)
        assert found.c_algo_us is found.c_coord_us is found.s_measured is found.of_ideal is None


def test_an_accelerator_is_a_gpu_or_else_a_node() -> None:
    gpus = Resources(gpu_milli=2_000, cpu_milli=8_000)
    assert accelerators(gpus) == 2 * WHOLE
    assert share(Resources(gpu_milli=500, cpu_milli=8_000), gpus) == WHOLE // 2
    cpus = Resources(cpu_milli=16_000, bandwidth_mbps=1_000)
    assert accelerators(cpus) == WHOLE
    assert share(Resources(cpu_milli=1_000, bandwidth_mbps=1_000), cpus) == WHOLE // 16
    assert share(Resources(cpu_milli=1_000), Resources()) == 0


def test_states_are_added_for_as_long_as_they_last() -> None:
    states = States(computing=1)
    states.add(States(computing=2, idle=3), lasts=10)
    assert states == States(computing=21, idle=30)
    assert states.minus(States(computing=1)) == States(computing=20, idle=30)
    assert states.total == 51
