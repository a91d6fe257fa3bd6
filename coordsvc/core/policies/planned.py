"""Phases in the order of a plan that was made ahead: the message schedule as a policy.

A plan says, for a few turns that follow each other, in which order their phases come: whose it is
and of which turn. `coordsvc schedule` makes one by solver. Turns are counted as their first waiting
phase is heard of, and each plan's length of them is a *block*: earlier blocks first, and within a
block by the plan. So nobody is overtaken by those that come much later, however the plan is.

As in the study of message schedules, only the plan's order is kept to, not its times: what took
longer than planned delays what comes after, and nothing that could run waits for the plan. A phase
that the plan does not name (an agent that joined later) comes after the named ones of its block.
"""

from dataclasses import dataclass, field

from coordsvc.core.policies import Key, Ordering
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, Instant, TurnId, tenant_and_agent
from coordsvc.core.waits import Wait


@dataclass(kw_only=True)
class Planned(Ordering):
    """Serves phases in the order of a plan, block of turns by block of turns."""

    order: tuple[tuple[int, AgentId], ...]
    """First to last: which turn of a block, from 0, and whose phase; an agent, of any tenant."""
    turns_max: int = 65_536
    """Turns remembered. One that is forgotten is older than all others, and goes first."""
    turns: int = field(init=False)
    """In a block."""
    places: dict[AgentId, list[int]] = field(init=False)
    """Of an agent's phase of each turn of a block; one that is not named comes after all."""
    counted: int = 0
    numbers: dict[TurnId, int] = field(default_factory=dict)
    agents: dict[TurnId, AgentId] = field(default_factory=dict)
    """Whose phase of a turn was heard of last; a turn has one at a time."""

    def __post_init__(self) -> None:
        assert self.order, "a plan names at least one phase"
        self.turns = 1 + max(turn for turn, _ in self.order)
        self.places = {agent: [len(self.order)] * self.turns for _, agent in self.order}
        for place, (turn, agent) in enumerate(self.order):
            self.places[agent][turn] = place

    def urgency(self, wait: Wait) -> Key:
        """Return the block, the place in its plan, when it asked, and its turn's name."""
        number = self.numbers.get(wait.turn)
        if number is None:
            return (-1, 0, wait.asked, wait.turn)
        block, turn = divmod(number, self.turns)
        places = self.places.get(self.agents[wait.turn])
        place = len(self.order) if places is None else places[turn]
        return (block, place, wait.asked, wait.turn)

    def arrived(self, now: Instant, agent: AgentId, wait: Wait, capacity: Resources) -> None:
        """Count a new turn; of one that is known, note whose phase it is now."""
        del now, capacity
        if wait.turn not in self.numbers:
            self.numbers[wait.turn] = self.counted
            self.counted += 1
        self.agents[wait.turn] = tenant_and_agent(agent)[1]
        if len(self.numbers) > self.turns_max:
            forgotten = next(iter(self.numbers))
            del self.numbers[forgotten], self.agents[forgotten]
