"""An agent in training: grant by grant, through whatever dies on the way."""

import asyncio

import pytest

from coordsvc.agents.trainee import NODES_LOST_MAX, TrainingAgent, together
from coordsvc.core.dialogue import PLANNER, RESPONDER
from coordsvc.core.errors import EngineBroken, GrantRefused, NodeGone
from coordsvc.core.guard import Refusal
from coordsvc.core.stretch import Stretch
from coordsvc.core.units import SECOND, AgentId
from tests.fakes import N1, N2, SLOT, FakeDesk, FakeTrainers, Never, Wait, grant, trained
from tests.jumping import LoopClock, passed_us, settle

G1, G2, G3 = grant(1), grant(2, node=N2), grant(3)


def training(desk: FakeDesk, trainers: FakeTrainers) -> TrainingAgent:
    return TrainingAgent(PLANNER, SLOT, 10, desk, trainers, LoopClock())


async def steps(one: TrainingAgent, begin: int = 0) -> list[int]:
    return [stretched.step async for stretched in one.train(begin)]


def asked_of(desk: FakeDesk) -> list[tuple[object, ...]]:
    return [line[:3] for line in desk.asked.read()]


def begun(trainers: FakeTrainers) -> list[tuple[int, object]]:
    return [(line[1].begin, line[2]) for line in trainers.asked.read()]


async def test_each_stretch_has_a_grant_of_its_own_until_all_is_done() -> None:
    desk, trainers = FakeDesk(G1, G2), FakeTrainers(trained(10, 15), trained(15, 15))
    assert await steps(training(desk, trainers)) == [10, 15]
    assert trainers.asked.read() == [
        ("train", Stretch(agent=PLANNER, begin=0, steps=10), G1),
        ("train", Stretch(agent=PLANNER, begin=10, steps=10), G2),
    ]
    assert asked_of(desk) == [
        ("take", SLOT, None),
        ("finished", G1),
        ("take", SLOT, N1),
        ("finished", G2),
    ]
    assert desk.ends == [(SECOND, False), (SECOND, False)]
    assert desk.phases == ["train", "train"]


async def test_it_goes_on_where_its_checkpoint_stands() -> None:
    trainers = FakeTrainers(trained(15, 15))
    assert await steps(training(FakeDesk(G1), trainers), begin=10) == [15]
    assert begun(trainers) == [(10, G1)]


async def test_it_waits_for_an_offer_as_long_as_it_takes() -> None:
    desk = FakeDesk(Wait(20 * 3_600), G1)
    assert await steps(training(desk, FakeTrainers(trained(5, 5)))) == [5]
    assert passed_us() == 20 * 3_600 * SECOND


async def test_a_node_that_dies_costs_the_stretch_and_no_more() -> None:
    desk = FakeDesk(G1, G2, G3)
    trainers = FakeTrainers(trained(10, 20), NodeGone("n2 died"), trained(20, 20))
    assert await steps(training(desk, trainers)) == [10, 20]
    assert begun(trainers) == [(0, G1), (10, G2), (10, G3)]
    assert asked_of(desk)[2:] == [
        ("take", SLOT, N1),
        ("uncertain", G2),
        ("node_lost", N2),
        ("take", SLOT, None),
        ("finished", G3),
    ]


async def test_a_refused_grant_is_told_to_the_desk_and_another_taken() -> None:
    desk = FakeDesk(G1, G2)
    trainers = FakeTrainers(GrantRefused("preempted"), trained(10, 10))
    assert await steps(training(desk, trainers)) == [10]
    assert asked_of(desk)[1:3] == [("uncertain", G1), ("refused", G1, Refusal.PREEMPTED)]


async def test_nodes_that_die_one_after_the_other_die_of_the_training() -> None:
    desk = FakeDesk(*[G1] * NODES_LOST_MAX)
    trainers = FakeTrainers(*[NodeGone("killed: out of memory")] * NODES_LOST_MAX)
    with pytest.raises(NodeGone, match="out of memory"):
        await steps(training(desk, trainers))
    assert trainers.asked.count("train") == NODES_LOST_MAX


async def test_what_no_node_can_train_ends_its_grant_and_is_told() -> None:
    desk = FakeDesk(G1)
    with pytest.raises(EngineBroken, match="no gradient"):
        await steps(training(desk, FakeTrainers(EngineBroken("no gradient"))))
    assert asked_of(desk)[1:] == [("finished", G1)]


async def test_training_that_is_given_up_leaves_its_grant_to_the_node_s_word() -> None:
    desk = FakeDesk(G1)
    task = asyncio.create_task(steps(training(desk, FakeTrainers(Never()))))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked_of(desk)[1:] == [("uncertain", G1)]


# Several at once


async def test_agents_train_side_by_side() -> None:
    def one(steps: int, agent: AgentId) -> TrainingAgent:
        ends = [trained(step, steps, agent) for step in range(10, steps + 1, 10)]
        return training(FakeDesk(*[G1] * len(ends)), FakeTrainers(*ends))

    both = together({PLANNER: one(30, PLANNER), RESPONDER: one(10, RESPONDER)}, {})
    told = [(stretched.agent, stretched.step) async for stretched in both]
    assert sorted(told) == [(PLANNER, 10), (PLANNER, 20), (PLANNER, 30), (RESPONDER, 10)]


async def test_one_that_fails_leaves_the_other_to_end_and_is_told_by_name() -> None:
    broken = training(FakeDesk(G1), FakeTrainers(EngineBroken("no gradient")))
    well = training(FakeDesk(G1, G1), FakeTrainers(trained(10, 20), trained(20, 20)))
    told = together({RESPONDER: broken, PLANNER: well}, {PLANNER: 5})
    assert [(await anext(told)).step for _ in range(2)] == [10, 20]
    with pytest.raises(EngineBroken, match="responder: no gradient"):
        await anext(told)


async def test_to_stop_listening_ends_all() -> None:
    desk = FakeDesk(G1)
    hangs = training(desk, FakeTrainers(Never()))
    well = training(FakeDesk(G1, G1), FakeTrainers(trained(10, 20), Never()))
    both = together({RESPONDER: hangs, PLANNER: well}, {})
    assert (await anext(both)).step == 10
    await both.aclose()
    assert asked_of(desk)[1:] == [("uncertain", G1)]
