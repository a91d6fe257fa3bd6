"""A node that trains: one agent at a time under each grant, and an end that is really the end."""

import asyncio
from collections.abc import Callable
from threading import Event

from coordsvc.core.dialogue import PLANNER, RESPONDER
from coordsvc.core.errors import EngineBroken
from coordsvc.core.guard import Refusal
from coordsvc.core.resources import Resources
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.core.units import AgentId, OfferId
from coordsvc.ports import Trainee
from coordsvc.serving.pool import Failure
from coordsvc.serving.training_node import TrainingNode
from tests.fakes import FIRST, N1, FakePool, FakeTrainee, grant, trained
from tests.jumping import LoopClock

TWO = Resources(cpu_milli=2_000)


async def node(load: Callable[[AgentId], Trainee]) -> TrainingNode:
    one = TrainingNode(load, N1, TWO, {"zone": "a"}, FakePool(), LoopClock())
    assert await one.fence(FIRST, OfferId(0)) == ()
    return one


def stretch(begin: int = 0, steps: int = 10, agent: AgentId = PLANNER) -> Stretch:
    return Stretch(agent=agent, begin=begin, steps=steps)


async def at_step(event: Event) -> None:
    """Wait, in real time, for what a thread tells."""
    await asyncio.to_thread(event.wait, 10)


async def test_a_stretch_is_trained_and_its_grant_ends() -> None:
    trainee = FakeTrainee(15)
    one = await node(lambda _: trainee)
    assert await one.train(stretch(), grant(1)) == trained(10, 15)
    assert await one.train(stretch(10), grant(1, use=2)) == trained(15, 15)
    assert trainee.asked.read() == [("train", stretch()), ("train", stretch(10))]
    word = await one.watch(FIRST, 0)
    assert (word.running, word.cached) == (frozenset(), {"training/planner"})
    await one.stop()


async def test_an_agent_is_loaded_once_for_all_its_stretches() -> None:
    loaded: list[AgentId] = []

    def load(agent: AgentId) -> Trainee:
        loaded.append(agent)
        return FakeTrainee(100)

    one = await node(load)
    for n in range(3):
        await one.train(stretch(10 * n), grant(n + 1))
        await one.train(stretch(10 * n, agent=RESPONDER), grant(n + 11))
    assert loaded == [PLANNER, RESPONDER]
    await one.stop()


async def test_what_is_not_granted_is_not_trained() -> None:
    trainee = FakeTrainee(15)
    one = await node(lambda _: trainee)
    await one.train(stretch(), grant(1))
    assert await one.train(stretch(10), grant(1)) is Refusal.REPEATED
    assert trainee.asked.count("train") == 1
    await one.stop()


async def test_preempted_training_ends_after_its_step_and_only_then_its_grant() -> None:
    """What still computes is never offered to others."""
    at_third, go_on = Event(), Event()

    def between(step: int) -> None:
        if step == 3:
            at_third.set()
            go_on.wait(10)

    trainee = FakeTrainee(100, between)
    one = await node(lambda _: trainee)
    training = asyncio.create_task(one.train(stretch(steps=100), grant(1)))
    await at_step(at_third)
    await one.preempt(OfferId(1))
    await asyncio.sleep(0)
    assert (await one.watch(FIRST, 0)).running == {1}
    go_on.set()
    assert await training is Refusal.PREEMPTED
    assert (await one.watch(FIRST, 0)).running == frozenset()
    await one.stop()


async def test_two_grants_of_one_agent_train_it_one_after_the_other() -> None:
    inside: list[int] = []

    class Alone:
        def train(self, stretch: Stretch, stop: Callable[[], bool]) -> Stretched:
            del stop
            assert not inside
            inside.append(stretch.begin)
            inside.remove(stretch.begin)
            return trained(stretch.begin + 10, 100)

    one = await node(lambda _: Alone())
    ends = await asyncio.gather(*(one.train(stretch(10 * n), grant(n + 1)) for n in range(2)))
    assert [end.step for end in ends if isinstance(end, Stretched)] == [10, 20]
    await one.stop()


async def test_what_cannot_be_loaded_is_told_as_a_value_and_tried_anew_the_next_time() -> None:
    trainee = FakeTrainee(10)
    answers: list[Trainee | EngineBroken] = [EngineBroken("out of memory"), trainee]

    def load(agent: AgentId) -> Trainee:
        del agent
        answer = answers.pop(0)
        if isinstance(answer, EngineBroken):
            raise answer
        return answer

    one = await node(load)
    told = await one.train(stretch(), grant(1))
    assert isinstance(told, Failure)
    assert str(told.error) == "out of memory"
    assert (await one.watch(FIRST, 0)).running == frozenset()
    assert await one.train(stretch(), grant(2)) == trained(10, 10)
    await one.stop()
