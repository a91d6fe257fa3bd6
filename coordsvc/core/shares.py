"""Dominant shares, as values that compare exactly.

Ghodsi et al., "Dominant Resource Fairness", NSDI 2011: an agent's dominant share is the largest
fraction that it holds of any one resource; its weight divides it (section 4.3 of the paper).
"""

from dataclasses import dataclass
from functools import total_ordering

from coordsvc.core.resources import Resources


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The fraction `part` / `whole`, in whole numbers; compared by cross-products."""

    part: int
    whole: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Share) and self.part * other.whole == other.part * self.whole

    def __lt__(self, other: "Share") -> bool:
        return self.part * other.whole < other.part * self.whole

    def __hash__(self) -> int:
        raise TypeError("equal shares may have different parts; use them to compare, not as keys")

    def __float__(self) -> float:
        return self.part / self.whole


def dominant_share(held: Resources, capacity: Resources, weight: int = 1) -> Share:
    """Return the largest fraction of any one resource that `held` takes, divided by `weight`."""
    assert weight > 0, "a weight is a whole number above 0"
    shares = [
        Share(part, whole * weight)
        for part, whole in zip(held.amounts(), capacity.amounts(), strict=True)
        if whole
    ]
    return max(shares, default=Share(0, 1))
