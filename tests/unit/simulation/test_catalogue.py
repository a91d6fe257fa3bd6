"""The workloads by name."""

from dataclasses import replace
from itertools import islice

import pytest

from coordsvc.core.dialogue import CHECKER, RESPONDER
from coordsvc.core.units import SECOND, Micros
from coordsvc.simulation.catalogue import LARGE, NAMES, STEADY, Asked, draw, usual_nodes
from coordsvc.simulation.workload import WorkloadTerms

ASKED = Asked(
    seed=4,
    load=0.8,
    capacity=16.0,
    lasts_us=Micros(400 * SECOND),
    turns_max=100_000,
    checked=True,
    terms=WorkloadTerms(),
)


def load(turns) -> float:
    return sum(turn.cost_us for turn in turns) / ASKED.lasts_us / ASKED.capacity


@pytest.mark.parametrize("name", [name for name in STEADY if name != "closed_loop"])
def test_each_workload_offers_the_load_that_was_asked_for(name: str) -> None:
    turns = draw(name, ASKED).turns
    assert load(turns) == pytest.approx(0.8, abs=0.12)
    assert [turn.arrives for turn in turns] == sorted(turn.arrives for turn in turns)
    assert len({turn.turn for turn in turns}) == len(turns)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "closed_loop"])
def test_the_same_seed_asks_the_same_and_another_seed_something_else(name: str) -> None:
    assert draw(name, ASKED) == draw(name, ASKED)
    assert draw(name, ASKED).turns != draw(name, replace(ASKED, seed=5)).turns


def test_a_dialogue_has_a_cost_for_each_phase_and_a_deadline_that_can_be_met() -> None:
    turns = draw("poisson", ASKED).turns
    assert {len(turn.costs_us) for turn in turns} == {3, 5}
    assert all(len(turn.costs_us) == 3 + 2 * turn.rejections for turn in turns)
    assert all(min(turn.costs_us) > 0 and turn.deadline_us > turn.cost_us for turn in turns)
    rejected = sum(turn.rejections for turn in turns) / len(turns)
    assert rejected == pytest.approx(ASKED.terms.rejected, abs=0.03)


@pytest.mark.parametrize("name", ["ramp", "growing"])
def test_what_drifts_keeps_the_load_until_it_begins_to_and_comes_to_the_end_that_was_said(
    name: str,
) -> None:
    terms = WorkloadTerms(drift_begins=0.4, drift_to=3.0)
    turns = draw(name, replace(ASKED, terms=terms)).turns
    before = [turn for turn in turns if turn.arrives < 0.4 * ASKED.lasts_us]
    last = [turn for turn in turns if turn.arrives >= 0.95 * ASKED.lasts_us]
    assert load(before) / 0.4 == pytest.approx(0.8, abs=0.08)
    plans = ASKED.terms.plan_us if name == "growing" else 0
    steady = plans / 1_960_000
    foreseen = 0.8 * (steady + (1 - steady) * 2.92)
    assert load(last) / 0.05 == pytest.approx(foreseen, rel=0.2)


def test_without_a_checker_nothing_is_checked() -> None:
    workload = draw("poisson", replace(ASKED, checked=False))
    assert CHECKER not in workload.agents
    assert {len(turn.costs_us) for turn in workload.turns} == {2}
    assert load(workload.turns) == pytest.approx(0.8, abs=0.08)


def test_a_few_turns_of_a_heavy_tail_make_most_of_the_load() -> None:
    costs = sorted(turn.cost_us for turn in draw("heavy_tailed", ASKED).turns)
    assert sum(costs[-len(costs) // 10 :]) > 0.4 * sum(costs)


def test_phase_skewed_is_heavy_on_plans_then_on_drafts() -> None:
    turns = draw("phase_skewed", ASKED).turns
    quarter = ASKED.lasts_us // 4

    def plans(window: int) -> float:
        them = [turn for turn in turns if turn.arrives // quarter == window]
        return sum(turn.costs_us[0] for turn in them) / sum(turn.cost_us for turn in them)

    assert plans(0) > 3 * plans(1)
    assert plans(2) > 3 * plans(3)


def test_phase_skewed_refuses_plans_that_would_be_longer_than_the_turn() -> None:
    terms = WorkloadTerms(plan_us=Micros(5 * SECOND))
    with pytest.raises(ValueError, match="leave no room"):
        draw("phase_skewed", replace(ASKED, terms=terms))


def test_tenants_have_unequal_loads_and_agents_of_their_own() -> None:
    workload = draw("tenants", ASKED)
    assert len(workload.agents) == 8 * 3
    first, last = (
        sum(1 for turn in workload.turns if turn.tenant == name) for name in ("tenant1", "tenant8")
    )
    assert first > 5 * last > 0


def test_drafts_need_much_memory_where_nodes_are_unlike() -> None:
    workload = draw("heterogeneous", ASKED)
    assert workload.requires == {RESPONDER: LARGE}
    assert len({plan.speed_milli for plan in usual_nodes("heterogeneous")}) == 3
    assert len(usual_nodes("poisson")) == 1


def test_users_of_the_closed_loop_each_have_their_own_questions() -> None:
    one, other = draw("closed_loop", ASKED), draw("closed_loop", ASKED)
    assert len(one.chains) == ASKED.terms.users
    firsts = [list(islice(chain, 3)) for chain in one.chains]
    assert firsts == [list(islice(chain, 3)) for chain in other.chains]
    assert len({turns[0].cost_us for turns in firsts}) == len(firsts)


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("two_window", ((0.7, 0.2, 0.1), (0.1, 0.2, 0.7))),
        ("rotating", tuple(tuple(0.75 if r == w else 0.05 for r in range(6)) for w in range(6))),
    ],
)
def test_the_mixes_have_their_fixed_shares_in_each_window(name: str, windows) -> None:
    turns = draw(name, replace(ASKED, lasts_us=Micros(2_400 * SECOND))).turns
    assert all(len(turn.costs_us) == 1 for turn in turns)
    for window, shares in enumerate(windows):
        lasts = 2_400 * SECOND // len(windows)
        them = [turn for turn in turns if turn.arrives // lasts == window]
        for role, share in enumerate(shares):
            mine = sum(1 for turn in them if turn.roles[window] == f"role{role + 1}")
            assert mine / len(them) == pytest.approx(share, abs=0.02)


def test_users_of_a_mix_who_never_think_ask_at_once_and_each_his_own() -> None:
    workload = draw("rotating", replace(ASKED, terms=WorkloadTerms(mix_users=5)))
    firsts = [next(chain) for chain in workload.chains]
    assert (len(firsts), workload.turns) == (5, ())
    assert {turn.arrives for turn in firsts} == {0}
    assert len({turn.costs_us for turn in firsts}) == 5


def test_no_more_turns_arrive_than_are_asked_for() -> None:
    assert len(draw("poisson", replace(ASKED, turns_max=7)).turns) == 7


def test_an_unknown_workload_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no workload 'lunar'; there are poisson, bursty"):
        draw("lunar", ASKED)
