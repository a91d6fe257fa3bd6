"""What `coordsvc top` shows: the figures that came of two readings of the metrics.

Plain names and numbers, so that `--json` says what the terminal shows. None is "no value": nobody
talked, or the service does not have it.
"""

from typing import Any

from coordsvc.core.accounting import PARTS
from coordsvc.core.fleet import NAMES as STATES
from coordsvc.telemetry.exposition import Between, Reading

TURNS, C_COORD = "coordsvc_turn_seconds", "coordsvc_c_coord_seconds"
OFFERS = "coordsvc_offers_total"
TARGET_S = 0.25
"""The p95 of a turn that alerts hold it to: an edge of the histogram."""
RISKS = ("calm", "watch", "warning")
MEASURES = {
    "s_measured": "coordsvc_s_measured",
    "ideal": "coordsvc_s_measured_ideal",
    "s_scale": "coordsvc_s_scale",
    "c_algo_s": "coordsvc_c_algo_seconds",
    "c_coord_fleet_s": "coordsvc_c_coord_fleet_seconds",
    "c_baseline_s": "coordsvc_c_baseline_seconds",
    "accelerators": "coordsvc_accelerators",
}
ALLOCATOR = {
    "epoch": "coordsvc_allocator_epoch",
    "nodes": "coordsvc_nodes",
    "draining": "coordsvc_nodes_draining",
    "broken_reservations": "coordsvc_broken_reservations",
    "refused_events": "coordsvc_allocator_refused_events",
    "gangs_waiting": "coordsvc_gangs_waiting",
    "log_lag": "coordsvc_decision_log_lag",
    "log_lost": "coordsvc_decision_log_lost",
}

Picture = dict[str, Any]


def picture(between: Between, now_s: float) -> Picture:
    """Return all that is shown; `now_s` is Unix time, with which words of the past are compared."""
    later = between.later
    return {
        "seconds": between.lasts_s,
        "turns": _turns(between),
        "mixes": {mix: _times(between, mix=mix) for mix in sorted(_mixes(between))},
        "c_coord_parts_s": _parts(between),
        "offers": _offers(between),
        "agents": _agents(later),
        "capacity": later.names("coordsvc_capacity", "resource"),
        "fleet": _fleet(between),
        "warning": _warning(later),
        "groups": later.names("coordsvc_placement_groups", "state"),
        "replicas": later.names("coordsvc_replicas", "deployment"),
        "scaling": _scaling(later),
        "allocator": _allocator(later, now_s),
    }


def _turns(between: Between) -> Picture:
    return {
        "per_s": between.rates("coordsvc_turns_total", "outcome"),
        **_times(between),
        "late": between.share_above(TARGET_S, TURNS),
        "target_s": TARGET_S,
    }


def _times(between: Between, **only: str) -> Picture:
    return {
        **{f"p{q}_s": between.quantile(q / 100, TURNS, **only) for q in (50, 95, 99)},
        "c_coord_mean_s": between.mean(C_COORD, **only),
        "c_coord_p95_s": between.quantile(0.95, C_COORD, **only),
    }


def _mixes(between: Between) -> list[str]:
    """Return the mixes of agents that answered a turn meanwhile."""
    grown = between.grown(f"{TURNS}_count", "mix")
    return [mix for (mix,), more in grown.items() if more > 0]


def _parts(between: Between) -> dict[str, float] | None:
    """Return the seconds of one turn by part, in the order of the account; None without turns."""
    turns = between.total(f"{C_COORD}_count")
    if turns <= 0:
        return None
    grown = between.grown("coordsvc_c_coord_part_seconds_total", "part")
    known = {part: grown.pop((part,), 0.0) / turns for part in PARTS}
    return known | {part: more / turns for (part,), more in grown.items()}


def _offers(between: Between) -> Picture:
    ended = between.total(OFFERS)
    released = between.total(OFFERS, state="released")
    wasted = sum(between.total(OFFERS, state=state) for state in ("declined", "expired"))
    return {
        "ended_per_s": between.rates(OFFERS, "state"),
        "for_one_that_worked": ended / released if released > 0 else None,
        "wasted": wasted / ended if ended > 0 else None,
        "open": between.later.names("coordsvc_offers_open", "state"),
        "waiting": between.later.value("coordsvc_phases_waiting"),
    }


def _agents(reading: Reading) -> dict[str, Picture]:
    """Return what each agent holds, wants, waits for, and what it is worth to it."""
    alloc = reading.by("coordsvc_alloc", "agent", "resource")
    demand = reading.by("coordsvc_demand", "agent", "resource")
    waiting = reading.names("coordsvc_phases_waiting", "agent")
    utility = reading.names("coordsvc_utility", "agent")
    share = reading.names("coordsvc_dominant_share", "agent")
    named = {agent for agent, _ in [*alloc, *demand]} | set(waiting)
    return {
        agent: {
            "alloc": _of(agent, alloc),
            "demand": _of(agent, demand),
            "waiting": waiting.get(agent),
            "utility": utility.get(agent),
            "dominant_share": share.get(agent),
        }
        for agent in sorted(named)
    }


def _of(agent: str, amounts: dict[tuple[str, ...], float]) -> dict[str, float]:
    return {resource: amount for (name, resource), amount in amounts.items() if name == agent}


def _fleet(between: Between) -> Picture:
    grown = between.grown("coordsvc_share_seconds_total", "state")
    whole = sum(grown.values())
    later = between.later
    told = {name: later.value(metric) for name, metric in MEASURES.items()}
    s_measured, ideal = told["s_measured"], told["ideal"]
    return {
        **told,
        "of_ideal": s_measured / ideal if s_measured is not None and ideal else None,
        "states": {s: grown.get((s,), 0.0) / whole for s in STATES} if whole > 0 else None,
        "remainder": between.total("coordsvc_fleet_remainder_seconds_total") / whole
        if whole > 0
        else None,
        "calibrated": later.value("coordsvc_baseline_calibrated"),
    }


def _warning(reading: Reading) -> Picture | None:
    """Return what the detector says, with its reason in words; None if it says nothing."""
    risk = reading.value("coordsvc_collapse_risk")
    if risk is None:
        return None
    level = min(max(int(risk), 0), len(RISKS) - 1)
    signs = [sign for sign, on in reading.names("coordsvc_collapse_sign", "sign").items() if on]
    crosses = reading.value("coordsvc_collapse_time_to_cross_seconds")
    why = (
        [f"{', '.join(sorted(signs))} {'speaks' if len(signs) == 1 else 'speak'}"] if signs else []
    )
    if crosses is not None:
        why.append(f"C_coord crosses its bound in {crosses:.0f} s")
    return {
        "level": level,
        "says": "; ".join([RISKS[level], *why]),
        "signs": sorted(signs),
        "time_to_cross_s": crosses,
        "best_concurrency": reading.value("coordsvc_usl_best_concurrency"),
    }


def _scaling(reading: Reading) -> Picture | None:
    wanted = reading.value("coordsvc_scaling_wanted")
    if wanted is None:
        return None
    return {"wanted": wanted, **reading.names("coordsvc_scaling_bound", "bound")}


def _allocator(reading: Reading, now_s: float) -> Picture:
    heard = reading.value("coordsvc_allocator_last_word_seconds")
    policies = reading.names("coordsvc_policy", "policy")
    return {
        **{name: reading.value(metric) for name, metric in ALLOCATOR.items()},
        "policy": next((policy for policy, on in policies.items() if on), None),
        "silent_s": max(0.0, now_s - heard) if heard else None,
    }
