"""Makes the instances of the study from a seed. Same seed and shape, same instance."""

from dataclasses import dataclass

import numpy as np

from coordsvc.core.errors import BadRequest
from coordsvc.solvers.instance import Instance

_HUB = ((0, 1), (0, 2), (0, 3), (0, 4))
_PEERS = ((1, 2), (3, 4))
_GATHER = ((1, 5), (2, 5), (3, 5), (4, 5))
TOPOLOGIES = {
    "independent": (),
    "central": _HUB + _GATHER,
    "peer": _PEERS,
    "hybrid": _HUB + _PEERS + _GATHER,
}
_DURATIONS = (2, 3, 3, 3, 3, 2)  # steps
_DEMANDS = (1, 1, 1, 1, 2, 1)  # GPUs
_SPREAD = 0.45  # sigma of the lognormal factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What varies between the study's variants."""

    topology: str = "hybrid"
    rounds: int = 5
    capacity: int = 3  # GPUs
    messages: int | None = 2  # in one step
    load: float = 0.85  # mean work released in a step, as a share of capacity


def generate(shape: Shape, seed: int) -> Instance:
    """Return the instance of a seed; `BadRequest` names what the shape has wrong."""
    if shape.topology not in TOPOLOGIES:
        known = ", ".join(TOPOLOGIES)
        raise BadRequest(f"topology is {shape.topology!r}: it must be one of {known}")
    if not shape.load > 0 or shape.rounds < 1:
        raise BadRequest("load must be over 0, and rounds 1 or more")
    chance = np.random.default_rng(seed)
    factors = chance.lognormal(0.0, _SPREAD, (len(_DURATIONS), shape.rounds))
    steps = np.maximum(1, np.rint(np.array(_DURATIONS)[:, None] * factors)).astype(int)
    work = float((np.array(_DEMANDS)[:, None] * steps).sum()) / shape.rounds
    gaps = chance.exponential(work / (shape.capacity * shape.load), shape.rounds - 1)
    releases = np.concatenate(([0.0], np.cumsum(gaps))).astype(int)
    return Instance(
        edges=TOPOLOGIES[shape.topology],
        releases=tuple(releases.tolist()),
        durations=tuple(tuple(row) for row in steps.tolist()),
        demands=_DEMANDS,
        capacity=shape.capacity,
        messages=shape.messages,
    )
