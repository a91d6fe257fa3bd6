"""Whole runs, as functions of their settings."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from coordsvc.core.policies.catalogue import NAMES as POLICIES
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import SECOND, AgentId, Micros, RoleId
from coordsvc.simulation.catalogue import NAMES as WORKLOADS
from coordsvc.simulation.settings import SimSettings
from coordsvc.simulation.simulate import simulate, slowdowns, worst_slowdown
from coordsvc.simulation.workload import NodePlan, WorkloadTerms

ELSEWHERE = """
import json
from coordsvc.core.units import Micros
from coordsvc.simulation.settings import FaultTerms, SimSettings
from coordsvc.simulation.simulate import simulate
faults = FaultTerms(node_losses_per_minute=4, allocator_losses_per_minute=4, lost=0.01, late=0.05)
settings = SimSettings(workload="heterogeneous", lasts_us=Micros(15_000_000), faults=faults)
print(json.dumps(simulate(settings).as_dict()))
"""
SHARES = {RoleId("planner"): 2, RoleId("responder"): 4, RoleId("checker"): 2}
PLAN = tuple((turn, AgentId(agent)) for agent in SHARES for turn in range(3))


def of(name: str, **what) -> SimSettings:
    terms = Terms(policy=PolicyTerms(name=name, partition=SHARES, plan=PLAN))
    return SimSettings(lasts_us=Micros(15 * SECOND), terms=terms, **what)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_is_served_to_its_end(workload: str) -> None:
    result = simulate(SimSettings(workload=workload, lasts_us=Micros(10 * SECOND)))
    assert result.turns == result.finished > 20
    assert (result.unfinished, result.broken_reservations, result.attempts_lost) == (0, 0, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves_the_same_turns(policy: str) -> None:
    result = simulate(of(policy))
    assert result.finished == result.turns == len(of(policy).workload_drawn().turns)
    assert result.broken_reservations == 0


def test_an_unknown_policy_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="no policy 'lucky'; there are fair_share"):
        simulate(of("lucky"))


def test_the_same_seed_gives_the_same_result_in_processes_with_other_hashes() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert told[0] == told[1]
    assert json.loads(told[0])["epochs"] > 1


def test_another_seed_gives_another_result() -> None:
    assert simulate(of("fair_share")) != simulate(of("fair_share", seed=2))


def test_walls_between_agents_cost_what_the_mix_says() -> None:
    """Six equal parts, of which one has three quarters of the load: what is shared serves 4.5 times
    as much, but for what the walls' queues bring over from one window to the next."""
    roles = {RoleId(f"role{n}"): 1 for n in range(1, 7)}
    rotating = SimSettings(
        workload="rotating",
        lasts_us=Micros(120 * SECOND),
        nodes=(NodePlan(count=3, slots=2),),
        workload_terms=WorkloadTerms(mix_users=24),
    )
    walled = Terms(policy=PolicyTerms(name="static_partition", partition=roles))
    shared = simulate(rotating)
    static = simulate(replace(rotating, terms=walled))
    assert shared.fleet.utilisation > 0.97
    assert 2.0 < shared.turns_per_s / static.turns_per_s < 4.5


def test_costs_that_desks_do_not_know_change_what_a_policy_of_costs_does() -> None:
    known = simulate(of("virtual_finish", load=1.2, workload="heavy_tailed"))
    guessed = simulate(of("virtual_finish", load=1.2, workload="heavy_tailed", costs_known=False))
    assert known.turns == guessed.finished
    assert known.mean_us < guessed.mean_us


def test_sharing_makes_tenants_slower_than_alone() -> None:
    settings = SimSettings(workload="tenants", load=1.1, lasts_us=Micros(15 * SECOND))
    shared = simulate(settings)
    found = slowdowns(settings, shared)
    assert set(found) == set(shared.tenants_mean_us)
    assert worst_slowdown(settings, shared) == max(found.values()) > 1.2
    assert worst_slowdown(of("fair_share"), simulate(of("fair_share"))) is None
