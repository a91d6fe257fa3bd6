"""Weighted dominant resource fairness, by progressive filling (Ghodsi et al., NSDI 2011)."""

from collections.abc import Sequence

from coordsvc.core.policies import Claim
from coordsvc.core.resources import Resources
from coordsvc.core.shares import Share, dominant_share


class FairShare:
    """Serves waiting phases before holding ahead, and the least-served agent first."""

    def choose(self, claims: Sequence[Claim], capacity: Resources) -> Claim:
        """Return the claim to serve next.

        Ties break by offers held, then by the agent's and the desk's name.
        """

        def order(claim: Claim) -> tuple[bool, Share, int, str, str]:
            share = dominant_share(claim.held, capacity, claim.weight)
            return (claim.waiting <= 0, share, claim.issued, claim.agent, claim.desk)

        return min(claims, key=order)
