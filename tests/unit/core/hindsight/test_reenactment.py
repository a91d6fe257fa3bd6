"""The same demands under another policy."""

from coordsvc.core.allocator import Allocator
from coordsvc.core.hindsight.decisions import Decision
from coordsvc.core.hindsight.phases_told import told_by
from coordsvc.core.hindsight.reenactment import Served, as_it_was, by_agent, what_if
from coordsvc.core.hindsight.snapshot import snapshot
from coordsvc.core.messages import (
    Accepted,
    DeskJoined,
    Event,
    Finished,
    NodeJoined,
    SendOffer,
    Ticked,
    Wanted,
)
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
    TurnId,
)
from coordsvc.core.waits import PhaseWait
from tests.walks import Walk

GPU = Resources(gpu_milli=1_000)
P1, C1 = DeskId("p1"), DeskId("c1")
PLANNER, CHECKER = AgentId("planner"), AgentId("checker")
FIRST_COME = PolicyTerms(name="first_come")


def at(seconds: float) -> Instant:
    return Instant(round(seconds * SECOND))


def wait(turn: str, waited: float, deadline: float = 60) -> PhaseWait:
    return PhaseWait(
        turn=TurnId(turn),
        waited_us=Micros(at(waited)),
        turn_us=Micros(at(waited)),
        left_us=Micros(at(deadline)),
    )


class Recorded:
    """An allocator whose life is written down."""

    def __init__(self, policy: PolicyTerms) -> None:
        self.allocator = Allocator(Epoch("run", 1), Terms(policy=policy))
        self.state = snapshot(self.allocator)
        self.log: list[Decision] = []

    def tell(self, when: float, event: Event) -> OfferId | None:
        effects = tuple(self.allocator.handle(at(when), event))
        self.log.append(Decision(at=at(when), event=event, effects=effects))
        sent = [effect.offer.offer_id for effect in effects if isinstance(effect, SendOffer)]
        return sent[0] if sent else None


def one_gpu(policy: PolicyTerms) -> Recorded:
    """Return a log in which a planner's phase runs for 2 s, while two planners and a checker wait.

    By first come the checker, who asked last, is served last; by fair shares it is not.
    """
    room = Recorded(policy)
    room.tell(0, NodeJoined(NodeId("n1"), GPU))
    room.tell(0, DeskJoined(P1, PLANNER, GPU))
    room.tell(0, DeskJoined(C1, CHECKER, GPU))
    running = room.tell(0, Wanted(P1, 1, 0, (wait("a", 0),)))
    assert running is not None
    room.tell(0, Accepted(running, GPU))
    room.tell(0.5, Wanted(P1, 2, 0, (wait("b", 0), wait("c", 0))))
    room.tell(1, Wanted(C1, 1, 0, (wait("d", 0),)))
    for end in (2, 4, 6, 8):
        assert running is not None
        sent = room.tell(end, Finished(running))
        if sent is not None:
            room.tell(end, Accepted(sent, GPU))
        running = sent
    room.tell(10, Ticked())
    return room


def waited(served: list[Served]) -> dict[str, float]:
    return {one.turn: one.waited_us / SECOND for one in served}


def test_the_log_is_read_as_phases() -> None:
    room = one_gpu(FIRST_COME)
    story = told_by(room.log, {}, ())
    told = as_it_was(story, at(10))
    assert waited(told) == {"a": 0, "b": 1.5, "c": 3.5, "d": 5}
    assert [phase.lasted for phase in story.phases] == [2 * SECOND] * 4


def test_enacted_under_its_own_policy_the_log_is_as_it_was() -> None:
    room = one_gpu(FIRST_COME)
    told = what_if(room.state, room.log, FIRST_COME)
    assert told.logged == told.same == told.other


def test_under_another_policy_others_are_served_first() -> None:
    room = one_gpu(FIRST_COME)
    partition = {RoleId("planner"): 1, RoleId("checker"): 1}
    told = what_if(room.state, room.log, PolicyTerms(name="round_robin", partition=partition))
    assert waited(told.other) == {"a": 0, "b": 3.5, "c": 5.5, "d": 1}
    assert waited(told.same) == {"a": 0, "b": 1.5, "c": 3.5, "d": 5}


def test_waits_are_summed_up_by_agent() -> None:
    room = one_gpu(FIRST_COME)
    summed = by_agent(what_if(room.state, room.log, FIRST_COME).same)
    assert list(summed) == [CHECKER, PLANNER]
    assert (summed[PLANNER].phases, summed[PLANNER].unserved) == (3, 0)
    assert summed[PLANNER].mean_us == round(5 / 3 * SECOND)
    assert summed[PLANNER].p95_us == 3.5 * SECOND


def test_who_still_waits_at_the_end_counts_as_long_as_he_did() -> None:
    room = one_gpu(FIRST_COME)
    room.tell(10, Wanted(C1, 1, 0, (wait("late", 1),)))
    room.log.pop()  # nobody answers it
    room.log.append(Decision(at=at(10), event=Wanted(C1, 1, 0, (wait("late", 1),))))
    room.log.append(Decision(at=at(12), event=Ticked()))
    told = as_it_was(told_by(room.log, {C1: (CHECKER, GPU)}, ()), at(12))
    assert (told[-1].turn, told[-1].began, told[-1].waited_us) == ("late", None, 3 * SECOND)


def test_any_log_can_be_enacted_under_any_policy() -> None:
    for number, name in enumerate(NAMES):
        walk = Walk(number, "fair_share")
        allocator = walk.allocator()
        walk.live(allocator, 60)
        state = snapshot(allocator)
        log = [
            Decision(at=now, event=event, effects=tuple(effects))
            for now, event, effects in walk.live(allocator, 200)
        ]
        partition = {RoleId("acme"): 1, RoleId("planner"): 1, RoleId("checker"): 1}
        plan = ((0, AgentId("planner")), (0, AgentId("checker")))
        told = what_if(state, log, PolicyTerms(name=name, partition=partition, plan=plan))
        assert len(told.logged) == len(told.same) == len(told.other) > 0
        assert told.same == what_if(state, log, PolicyTerms(name="first_come")).same
