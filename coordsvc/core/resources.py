"""A bundle of resources, and the exact arithmetic that offers need."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from coordsvc.core.errors import Overdraft

MILLI = 1_000


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of each resource, in thousandths, so that half a GPU is exact.

    Bandwidth is in Mb/s, that is thousandths of the Gb/s that people declare. It is accounted,
    not enforced: nothing stops a phase from using more than it declared.
    """

    gpu_milli: int = 0
    cpu_milli: int = 0
    bandwidth_mbps: int = 0

    def __post_init__(self) -> None:
        if self.gpu_milli < 0 or self.cpu_milli < 0 or self.bandwidth_mbps < 0:
            raise Overdraft(f"negative amount in {self.amounts()}")

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            self.gpu_milli + other.gpu_milli,
            self.cpu_milli + other.cpu_milli,
            self.bandwidth_mbps + other.bandwidth_mbps,
        )

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(
            self.gpu_milli - other.gpu_milli,
            self.cpu_milli - other.cpu_milli,
            self.bandwidth_mbps - other.bandwidth_mbps,
        )

    def __bool__(self) -> bool:
        return bool(self.gpu_milli or self.cpu_milli or self.bandwidth_mbps)

    def __str__(self) -> str:
        shown = ((name, amount) for name, amount in zip(NAMES, self.amounts(), strict=True))
        return " ".join(f"{name}={amount}" for name, amount in shown if amount) or "nothing"

    def amounts(self) -> tuple[int, int, int]:
        """Return (gpu in thousandths, cpu in thousandths, bandwidth in Mb/s)."""
        return (self.gpu_milli, self.cpu_milli, self.bandwidth_mbps)

    def covers(self, other: "Resources") -> bool:
        """Tell whether every amount here is at least the one in `other`."""
        return (
            self.gpu_milli >= other.gpu_milli
            and self.cpu_milli >= other.cpu_milli
            and self.bandwidth_mbps >= other.bandwidth_mbps
        )

    def lack(self, held: "Resources") -> "Resources":
        """Return what `held` is short of these amounts; nothing where it has more."""
        return Resources(
            max(0, self.gpu_milli - held.gpu_milli),
            max(0, self.cpu_milli - held.cpu_milli),
            max(0, self.bandwidth_mbps - held.bandwidth_mbps),
        )

    def at_most(self, other: "Resources") -> "Resources":
        """Return the smaller of each amount."""
        return Resources(
            min(self.gpu_milli, other.gpu_milli),
            min(self.cpu_milli, other.cpu_milli),
            min(self.bandwidth_mbps, other.bandwidth_mbps),
        )

    def at_least(self, other: "Resources") -> "Resources":
        """Return the larger of each amount."""
        return Resources(
            max(self.gpu_milli, other.gpu_milli),
            max(self.cpu_milli, other.cpu_milli),
            max(self.bandwidth_mbps, other.bandwidth_mbps),
        )

    def times(self, count: int) -> "Resources":
        """Return this bundle so many times."""
        return Resources(*(amount * count for amount in self.amounts()))

    def times_held(self, bundle: "Resources") -> int:
        """Return how many whole `bundle`s fit in here; a bundle of nothing is refused."""
        counts = [
            have // want
            for have, want in zip(self.amounts(), bundle.amounts(), strict=True)
            if want
        ]
        if not counts:
            raise Overdraft("a bundle of nothing fits any number of times")
        return min(counts)


NAMES = ("gpu", "cpu", "bandwidth")


def milli(amount: float | str) -> int:
    """Return `amount` in exact thousandths; more than three decimals are refused, not rounded."""
    try:
        exact = Decimal(str(amount))
    except InvalidOperation:
        raise ValueError(f"{amount!r} is not a number") from None
    if not exact.is_finite():
        raise ValueError(f"{amount!r} is not a finite number")
    thousandths = int(exact * MILLI)
    if Decimal(thousandths) / MILLI != exact:  # products are rounded, comparisons are not
        raise ValueError(f"{amount} has more than three decimals; thousandths are the finest part")
    return thousandths
