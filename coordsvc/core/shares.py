"""Dominant shares, as whole numbers that compare exactly and fast.

Ghodsi et al., "Dominant Resource Fairness", NSDI 2011: an agent's dominant share is the largest
fraction that it holds of any one resource; its weight divides it (section 4.3 of the paper).
"""

from typing import NewType

from coordsvc.core.resources import Resources

Share = NewType("Share", int)
"""A fraction of the pool, in units of 2**-64. Equal fractions are equal numbers."""

WHOLE_BITS = 64


def dominant_share(held: Resources, capacity: Resources, weight: int = 1) -> Share:
    """Return the largest fraction of any one resource that `held` takes, divided by `weight`.

    Something held of a resource that the pool lacks, as while a node leaves, counts nothing.
    """
    assert weight > 0, "a weight is a whole number above 0"
    largest = 0
    if held.gpu_milli and capacity.gpu_milli:
        largest = (held.gpu_milli << WHOLE_BITS) // (capacity.gpu_milli * weight)
    if held.cpu_milli and capacity.cpu_milli:
        largest = max(largest, (held.cpu_milli << WHOLE_BITS) // (capacity.cpu_milli * weight))
    if held.bandwidth_mbps and capacity.bandwidth_mbps:
        largest = max(
            largest,
            (held.bandwidth_mbps << WHOLE_BITS) // (capacity.bandwidth_mbps * weight),
        )
    return Share(largest)


def as_fraction(share: Share) -> float:
    """Return a share as a number from 0 to 1, for people."""
    return share / (1 << WHOLE_BITS)
