"""What travels to a training node, and opens an agent's training there."""

from dataclasses import dataclass
from pathlib import Path

from coordsvc.clock import MonotonicClock
from coordsvc.core.units import AgentId
from coordsvc.training import prepared
from coordsvc.training.jobs import AgentTrainee, open_training
from coordsvc.training.libraries import libraries
from coordsvc.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Travelling:
    """Opens trainings on a node; all folders are where every node finds them."""

    data: Path
    base: str
    recipe: Recipe
    folder: Path
    """Each agent's training is in a folder below, named for the agent."""
    device: str
    threads: int
    """Of the CPU, for one node; on a CPU the same number everywhere, or steps differ in bits."""

    def __call__(self, agent: AgentId) -> AgentTrainee:
        """Return the agent's training, its model loaded."""
        libraries().torch.set_num_threads(self.threads)
        training = open_training(
            agent, prepared.load(self.data), self.base, self.recipe, self.place(agent), self.device
        )
        return AgentTrainee(training, MonotonicClock())

    def place(self, agent: AgentId) -> Path:
        """Return the agent's folder."""
        return self.folder / agent
