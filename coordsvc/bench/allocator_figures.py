"""What `coordsvc bench allocator` tells of pools that were measured."""

from collections.abc import Mapping
from typing import Any


def summary(
    pools: Mapping[int, Mapping[str, Any]],
    policies: Mapping[str, Mapping[str, Any]],
    rescanned: int,
) -> dict[str, object]:
    """Return the figures of all pools, by node count, and what follows from them."""
    least, most = min(pools), max(pools)
    plain = pools[rescanned]["rescan"]["us_per_lease"]
    return {
        **{name: _by_nodes(pools, name) for name in ("median_us", "p99_us", "us_per_lease")},
        "p99_us_worst": max(pool["p99_us"] for pool in pools.values()),
        "growth": round(pools[most]["median_us"] / pools[least]["median_us"], 3),
        "rss_mb": pools[most]["rss_mb"],
        "events": _by_nodes(pools, "events"),
        "held": _by_nodes(pools, "held"),
        "waiting": _by_nodes(pools, "waiting"),
        "gc": _by_nodes(pools, "gc"),
        "vs_rescan": round(plain / pools[rescanned]["us_per_lease"], 2),
        "vs_rescan_nodes": rescanned,
        "policies": {
            name: {figure: pool[figure] for figure in ("median_us", "p99_us", "us_per_lease")}
            for name, pool in policies.items()
        },
        "policies_nodes": rescanned,
    }


def against_rounds(pool: Mapping[str, Any]) -> dict[str, object]:
    """Return what linear programmes cost against the events of the same pool.

    A round's cost is divided by the leases that it places, one for each agent at most. One that
    is solved whenever a lease ends, so that nobody waits for a round, places a single one.
    """
    rounds, ours = pool["rounds"], pool["us_per_lease"]
    if "skipped" in rounds:
        return {"vs_lp": None, "vs_lp_skipped": rounds["skipped"]}
    return {
        "vs_lp": round(rounds["us_per_lease"] / ours, 3),
        "vs_lp_each_event": round(rounds["round_us"] / ours, 2),
        "lp": {**rounds, "us_per_lease_ours": ours},
    }


def _by_nodes(pools: Mapping[int, Mapping[str, Any]], figure: str) -> dict[str, Any]:
    return {str(count): pool[figure] for count, pool in pools.items()}
