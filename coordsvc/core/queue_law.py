"""What turns wait for capacity at a load, by the theory of queues, and the load that is too much.

With c places, a part rho of which is taken, a phase of length s waits about

    W = v s rho**(sqrt(2 (c + 1)) - 1) / (c (1 - rho))

(Sakasegawa, Ann. Inst. Stat. Math. 29, 1977), where v is (c_a**2 + c_s**2) / 2: 1 for arrivals
without memory and exponential lengths (Kingman). A turn's phases add up to C_algo. v and what
C_coord is without any load are learned; v from a guess that counts some windows.
"""

from dataclasses import dataclass
from math import sqrt

FULL = 0.98
"""Above this the theory says nothing of a time as short as a window: no queue grows that fast."""


def waits(load: float, places: float) -> float:
    """Return how many times its own length a phase waits, for v = 1."""
    rho = min(max(load, 0.0), FULL)
    power = sqrt(2 * (places + 1)) - 1
    return float(rho**power / (places * (1 - rho)))


@dataclass(slots=True)
class QueueLaw:
    """What was learned of one pool."""

    forget: float = 0.99
    """What the past counts, one window later: about a hundred windows."""
    guess: float = 0.5
    """v before anything is learned: lengths cut by a limit on tokens hardly vary."""
    guess_weight_us: float = 2_000_000.0
    """So much foreseen waiting counts as much as the guess."""
    v_min: float = 0.1
    v_max: float = 4.0
    _waited_us: float = 0.0
    _foreseen_us: float = 0.0

    def learn(self, load: float, places: float, c_algo_us: float, waited_us: float) -> None:
        """Take note of what a turn waited, on average, at a load."""
        foreseen = c_algo_us * waits(load, places)
        self._waited_us = self.forget * self._waited_us + max(0.0, waited_us)
        self._foreseen_us = self.forget * self._foreseen_us + foreseen

    @property
    def v(self) -> float:
        """The variability of arrivals and lengths."""
        heavy = self.guess_weight_us
        found = (self._waited_us + self.guess * heavy) / (self._foreseen_us + heavy)
        return min(max(found, self.v_min), self.v_max)

    def waits_us(self, load: float, places: float, c_algo_us: float) -> float:
        """Return what a turn will wait at a load."""
        return self.v * c_algo_us * waits(load, places)

    def load_of(self, waits_us: float, places: float, c_algo_us: float) -> float:
        """Return the load at which a turn waits so long: at most `FULL`, by bisection."""
        if waits_us <= 0:
            return 0.0
        low, high = 0.0, FULL
        if self.waits_us(high, places, c_algo_us) <= waits_us:
            return high
        for _ in range(40):  # 2**-40 of a load: below any measurement
            middle = (low + high) / 2
            if self.waits_us(middle, places, c_algo_us) < waits_us:
                low = middle
            else:
                high = middle
        return high
