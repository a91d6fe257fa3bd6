"""The fleet's view: in which of five states each share of an accelerator is, and what follows.

Over T seconds with N turns on G accelerators (docs/concepts.md):

    S_scale       = (computing + held + blocked) / T
    C_algo        = computing / N
    C_coord_fleet = (held + blocked) / (N * S_scale)         so T/N = C_algo/S_scale + C_coord_fleet
    S_measured    = C_baseline / (T/N)
    ideal         = C_baseline * G / C_algo

Without a turn there is no value; never a NaN. An accelerator is a GPU, or a node that has none;
what a bundle takes of a node is a share of it.
"""

from dataclasses import asdict, dataclass, fields

from coordsvc.core.resources import MILLI, Resources

WHOLE = 1_000_000
"""Shares are in millionths of an accelerator."""


@dataclass(slots=True)
class States:
    """Shares times microseconds in each state; their sum is all shares times all the time."""

    computing: int = 0
    """An engine runs a phase on it."""
    held: int = 0
    """Offered or granted, and does not compute, while a phase that would fit it waits."""
    blocked: int = 0
    """Free, and matched to a phase that waits and fits."""
    stranded: int = 0
    """Free while phases wait, none of which fits."""
    idle: int = 0
    """Nobody waits for it."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.computing + self.held + self.blocked + self.stranded + self.idle

    def as_dict(self) -> dict[str, int]:
        """Return the five by name."""
        return asdict(self)

    def add(self, more: "States", lasts: int = 1) -> None:
        """Add what was so for a time."""
        for name in NAMES:
            setattr(self, name, getattr(self, name) + getattr(more, name) * lasts)

    def minus(self, earlier: "States") -> "States":
        """Return what has come since `earlier`."""
        return States(*(getattr(self, name) - getattr(earlier, name) for name in NAMES))


NAMES = tuple(one.name for one in fields(States))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What a time came to. None where no turn ended in it, or nothing was computed."""

    accelerators: float
    """G, on average."""
    s_scale: float
    """Accelerators at work or kept from it, on average."""
    c_algo_us: float | None
    c_coord_us: float | None
    """C_coord_fleet of one turn."""
    c_baseline_us: float | None
    """Of one turn."""
    s_measured: float | None
    s_ideal: float | None

    @property
    def of_ideal(self) -> float | None:
        """Return S_measured as a part of its ideal."""
        return self.s_measured / self.s_ideal if self.s_measured and self.s_ideal else None


def measures(
    states: States, *, lasts_us: int, turns: int, baseline_us: int, whole: int = WHOLE
) -> Measures:
    """Return the measures of `lasts_us` microseconds in which `turns` turns ended.

    `baseline_us`: the baseline times of these turns together; `whole`: what `states` call one
    accelerator.
    """
    assert lasts_us > 0, "a time that lasts"
    busy = states.computing + states.held + states.blocked
    counted = turns > 0 and states.computing > 0
    accelerators = states.total / (lasts_us * whole)
    baseline = baseline_us / turns if turns and baseline_us else None
    algo = states.computing / (turns * whole) if counted else None
    return Measures(
        accelerators=accelerators,
        s_scale=busy / (lasts_us * whole),
        c_algo_us=algo,
        c_coord_us=(states.held + states.blocked) * lasts_us / (turns * busy) if counted else None,
        c_baseline_us=baseline,
        s_measured=baseline * turns / lasts_us if counted and baseline else None,
        s_ideal=baseline * accelerators / algo if algo and baseline else None,
    )


def accelerators(capacity: Resources) -> int:
    """Return how many accelerators a node is, in millionths."""
    return capacity.gpu_milli * (WHOLE // MILLI) or WHOLE


def share(bundle: Resources, capacity: Resources) -> int:
    """Return what a bundle takes of a node, in millionths of an accelerator.

    By the GPU where the node has one, else by the CPU, else by bandwidth: what a node is of.
    """
    if capacity.gpu_milli:
        return bundle.gpu_milli * (WHOLE // MILLI)
    if capacity.cpu_milli:
        return bundle.cpu_milli * WHOLE // capacity.cpu_milli
    return bundle.bandwidth_mbps * WHOLE // capacity.bandwidth_mbps if capacity else 0
