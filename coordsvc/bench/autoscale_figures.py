"""The figures of `bench autoscale`, from what clients were told and how many engines there were."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from coordsvc.bench.turns import Told

C_COORD_S = 0.5
"""The threshold above which engines are to be added."""
SETTLED_S = 10.0
"""Before the load falls: over which the settled mean is taken."""
WRONG_MAX = 10


class Moment(NamedTuple):
    """What there was at one instant."""

    t_s: float
    """Since the beginning."""
    replicas: int
    """Engines that ran."""
    c_coord_s: float | None
    """Mean of the turns that ended shortly before; None of none."""


def mean_c_coord_s(turns: Iterable[Told], start_s: float, end_s: float) -> float | None:
    """Return the mean C_coord of the turns that ended between two instants, by their accounts."""
    found = [
        told.extra["account"]["c_coord_s"]
        for told in turns
        if told.ended_s is not None and start_s < told.ended_s <= end_s and "account" in told.extra
    ]
    return fmean(found) if found else None


def reversals(moments: Sequence[Moment], fallen: float) -> int:
    """Return how often the pool went the wrong way: in before the load fell, or out after it."""
    steps = [(now.t_s, now.replicas - before.replicas) for before, now in pairwise(moments)]
    return sum(
        1 for t_s, change in steps if (change < 0 and t_s < fallen) or (change > 0 and t_s > fallen)
    )


def reaction_s(moments: Sequence[Moment], risen: float) -> float | None:
    """Return the time from C_coord's crossing the threshold to an engine more that runs."""
    loaded = [one for one in moments if one.t_s >= risen]
    crossed = next((one.t_s for one in loaded if (one.c_coord_s or 0) > C_COORD_S), None)
    if crossed is None:
        return None
    grown = next((one.t_s for one in loaded if one.replicas > moments[0].replicas), None)
    return None if grown is None else grown - crossed


def _retry_s(told: Told) -> float:
    """Return how long a turn went the wrong way, because an engine had left: lost attempts."""
    account = told.extra.get("account", {})
    return float(account.get("parts_s", {}).get("retry", 0.0))


def figures(
    moments: Sequence[Moment], turns: Sequence[Told], *, risen: float, fallen: float, began: float
) -> dict[str, object]:
    """Return all that is told."""
    loaded = [one for one in moments if risen <= one.t_s <= fallen]
    settled = mean_c_coord_s(turns, began + fallen - SETTLED_S, began + fallen)
    wrong = [told for told in turns if not told.right]
    reaction = reaction_s(moments, risen)
    return {
        "c_coord_peak_s": round(max(one.c_coord_s or 0 for one in loaded), 3),
        "c_coord_settled_s": None if settled is None else round(settled, 3),
        "reaction_s": None if reaction is None else round(reaction, 1),
        "settling_s": round(fallen - risen - SETTLED_S, 1),
        "lost": len(wrong),
        "reversals": reversals(moments, fallen),
        "turns": len(turns),
        "turns_retried": sum(1 for told in turns if told.attempts_lost),
        "retry_s_max": max((_retry_s(told) for told in turns), default=0.0),
        "replicas_max": max(one.replicas for one in moments),
        "replicas_last": moments[-1].replicas,
        "load_risen_s": round(risen, 1),
        "load_fallen_s": round(fallen, 1),
        "took_s": round(moments[-1].t_s, 1),
        "wrong": [f"{one.status} {one.fault} {one.text[:80]!r}" for one in wrong[:WRONG_MAX]],
        "timeline": [
            [
                round(one.t_s, 1),
                one.replicas,
                None if one.c_coord_s is None else round(one.c_coord_s, 3),
            ]
            for one in moments[::2]
        ],
    }
