"""A stretch of training: what is done under one grant, and what came of it."""

from dataclasses import dataclass

from coordsvc.core.units import AgentId, Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some steps of one agent's training, from where it stands on."""

    agent: AgentId
    begin: int
    """Steps done so far; a node that has it otherwise loads the last checkpoint."""
    steps: int
    """How many more to do at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretched:
    """Where an agent's training stands after a stretch, as its last checkpoint has it."""

    agent: AgentId
    step: int
    """Steps done so far."""
    steps: int
    """Steps in all, unless it stops earlier."""
    done: bool
    """Nothing is left to do: all steps, or no gain on the held-out dialogues for long."""
    loss: float
    """Mean over the target's tokens of the last step."""
    held_out: float | None
    """The same on the held-out dialogues, as last evaluated."""
    compute_us: Micros
    """What this stretch took the node."""
