"""First come, first served: the phase that asked first, anywhere.

A baseline, and what `Ordering` does by itself: desks and roles stand where their longest waiting
phase stands. A turn queues anew for each of its phases, behind all turns that came meanwhile;
`oldest_first` mends that. Who asks more gets more.
"""

from coordsvc.core.policies import Ordering


class FirstCome(Ordering):
    """Serves the phase that has waited longest."""
