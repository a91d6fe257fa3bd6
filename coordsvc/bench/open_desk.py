"""A desk that asks nobody: what a phase costs where nothing is shared, or nobody coordinates."""

from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Micros, NodeId, OfferId
from coordsvc.core.waits import Wait

NOBODY = Epoch("nobody", 0)
"""Of grants that no allocator gave."""


class OpenDesk:
    """The port `OfferDesk`: grants whatever is asked for, at once, on one node; keeps no book."""

    def __init__(self, agent: AgentId, node: NodeId) -> None:
        self._agent = agent
        self._node = node

    async def take(self, used: Resources, wait: Wait) -> Grant:
        """Return a grant of `used`."""
        del wait
        return Grant(
            epoch=NOBODY,
            offer_id=OfferId(0),
            use=1,
            node=self._node,
            agent=self._agent,
            desk=DeskId(self._agent),
            bundle=used,
        )

    def finished(
        self, grant: Grant, compute_us: Micros = Micros(0), *, late: bool = False, phase: str = ""
    ) -> None:
        """Keep no book."""

    def uncertain(self, grant: Grant) -> None:
        """Keep no book."""

    def refused(self, grant: Grant, refusal: Refusal) -> None:
        """Keep no book."""

    def node_lost(self, node: NodeId) -> None:
        """Keep no book."""
