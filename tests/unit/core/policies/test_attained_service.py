"""Least attained service first (Autellix, arXiv:2502.13965)."""

import pytest

from coordsvc.core.policies.attained_service import AttainedService
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, Micros
from tests.unit.core.policies.filling import Pool, at, wait

CAPACITY = Resources(gpu_milli=8_000)


def policy(beta: int = 10) -> AttainedService:
    """Queues that end at 1, 2, 4 and 8 s of engine time, and one more."""
    return AttainedService(queues=5, first_us=Micros(SECOND), growth=2, beta=beta)


@pytest.mark.parametrize(
    ("attained", "queue"), [(0, 0), (0.9, 0), (1, 1), (1.9, 1), (2, 2), (7, 3), (8, 4), (9e9, 4)]
)
def test_the_queues_grow_exponentially_and_the_last_has_no_end(attained: float, queue: int) -> None:
    assert policy().urgency(wait("t", attained=attained))[0] == queue


def test_the_turn_with_the_least_service_goes_first_at_whichever_agent() -> None:
    pool = Pool(policy=policy(), capacity=CAPACITY)
    pool.agent("planner")
    pool.agent("responder")
    pool.phase(9, "responder", wait("had much", asked=5, arrived=5, attained=5))
    pool.phase(9, "responder", wait("had some", asked=7, arrived=7, attained=1.5))
    pool.phase(9, "planner", wait("had nothing", asked=9, arrived=9))
    assert pool.fill() == ["had nothing", "had some", "had much"]


def test_in_one_queue_first_come_is_first_served() -> None:
    pool = Pool(policy=policy(), capacity=CAPACITY)
    pool.agent("responder")
    pool.phase(9, "responder", wait("later, had less", asked=8, arrived=8, attained=2.1))
    pool.phase(9, "responder", wait("earlier, had more", asked=7, arrived=7, attained=3.9))
    assert pool.fill() == ["earlier, had more", "later, had less"]


def test_a_turn_that_waited_beta_times_its_service_goes_before_new_ones() -> None:
    pool = Pool(policy=policy(beta=3), capacity=CAPACITY)
    pool.agent("planner")
    pool.agent("responder")
    # served 2 s; with 6 s of waiting, that is at 8 s, it starves
    old = wait("old", arrived=0, asked=4, attained=2)
    pool.phase(4, "responder", old)
    for now in (7, 7.9):
        assert not pool.policy.refresh(at(now), {})
        pool.phase(now, "planner", wait(f"new at {now}", arrived=now, asked=now))
        assert pool.serve() == f"new at {now}"
    assert pool.policy.refresh(at(8), {})
    pool.phase(8, "planner", wait("new at 8", arrived=8, asked=8))
    assert pool.serve() == "old"


def test_keys_are_of_the_last_refresh_even_when_time_has_passed() -> None:
    order, old = policy(beta=3), wait("old", arrived=0, attained=2)
    order.arrived(at(99), AgentId("responder"), old, CAPACITY)
    assert order.urgency(old)[0] == 2
    assert order.refresh(at(99), {})
    assert order.urgency(old)[0] == 0


def test_a_turn_in_the_first_queue_cannot_starve_so_nothing_is_foreseen() -> None:
    pool = Pool(policy=policy(beta=1), capacity=CAPACITY)
    pool.agent("planner")
    pool.phase(0, "planner", wait("young", attained=0.5))
    assert not pool.policy.refresh(at(60), {})


def test_its_next_phase_is_judged_by_the_service_it_has_had_since() -> None:
    order = policy(beta=3)
    order.foresee(at(8))
    assert order.refresh(at(8), {})
    assert order.urgency(wait("old", attained=2))[0] == 0
    assert order.urgency(wait("old", attained=5))[0] == 3
