"""The nodes that train, as a training agent calls them: each call pinned to its grant's node."""

from typing import Any

from ray.serve.handle import DeploymentHandle

from coordsvc.core.errors import GrantRefused, NodeGone
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.serving.wire import quick, translated, unary


class ServeTrainers:
    """Calls training nodes through one long-lived handle."""

    def __init__(self, nodes: DeploymentHandle[Any]) -> None:
        self._train = quick(nodes, "train")

    async def train(self, stretch: Stretch, grant: Grant) -> Stretched:
        """Have the stretch trained on the node that the grant names."""
        async with translated(NodeGone, f"training node {grant.node}"):
            answer: Stretched | Refusal = await unary(
                self._train.remote(stretch, grant, node=grant.node)
            )
        if isinstance(answer, Refusal):
            raise GrantRefused(answer.value)
        return answer
