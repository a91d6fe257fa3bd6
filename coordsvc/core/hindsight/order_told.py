"""The order of those who wait, as it stands, and each one's key in words."""

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.queues import DESK, Place, Ranking
from coordsvc.core.allocator import Allocator
from coordsvc.core.roles import ROOT
from coordsvc.core.shares import as_fraction, dominant_share
from coordsvc.core.units import SECOND, DeskId, Instant, RoleId, since

PLACES = tuple[Place, ...]


def line_of(allocator: Allocator) -> list[tuple[PLACES, DeskId]]:
    """Return the desks where a phase waits, in the order in which they would be served.

    As things stand: where the policy looks at what a role has, each bundle that is offered moves
    the role back. A role that is closed, by a limit or by the policy, has no place, and nobody
    below it stands in line.
    """
    line: list[tuple[PLACES, DeskId]] = []
    for kind in allocator.books.dispatch.kinds.values():
        levels = dict(kind.queued())
        line += _below(levels, ROOT)
    return sorted((places, desk) for places, desk in line if not places[-1][0])


def _below(levels: dict[RoleId, Ranking], role: RoleId) -> list[tuple[PLACES, DeskId]]:
    found: list[tuple[PLACES, DeskId]] = []
    if role not in levels:
        return found
    for name, place in levels[role].places.items():
        if name.startswith(DESK):
            found.append(((place,), DeskId(name.removeprefix(DESK))))
            continue
        below = _below(levels, RoleId(name))
        best = min((places for places, _ in below), default=None)
        passed_on = best is not None and best[0][2] == place[2]
        for places, desk in below:
            own = (places[0][0], place[1], places[0][2], name) if passed_on else place
            found.append(((own, *places), desk))
    return found


def key_in_words(allocator: Allocator, state: DeskState, now: Instant) -> str:
    """Return why a desk stands where it does: what its roles have, then its own phase."""
    policy = allocator.terms.policy.name
    return "; ".join(filter(None, (_roles(allocator, state, policy), _phase(state, policy, now))))


def _roles(allocator: Allocator, state: DeskState, policy: str) -> str:
    """Return what the policy looks at of the desk's roles, the tenant first."""
    way = list(allocator.ledger.roles.get(state.agent).way_up())[::-1]
    if policy == "fair_share":
        total = allocator.ledger.total
        shares = ((one, as_fraction(dominant_share(one.held, total, one.weight))) for one in way)
        return ", ".join(
            f"{one.role_id} has {share:.1%} of the pool by weight" for one, share in shares
        )
    if policy == "round_robin":
        return ", ".join(
            f"{one.role_id} was served last by offer {one.served}"
            if one.served
            else f"{one.role_id} was never served"
            for one in way
        )
    if policy == "utility":
        return f"{state.agent} holds {way[-1].bundles} bundles, and gains most by one more"
    if policy == "static_partition":
        return f"{way[0].role_id} has room in its part"
    return ""


def _phase(state: DeskState, policy: str, now: Instant) -> str:
    """Return what the policy looks at of the phase that is next there."""
    wait = state.head()
    if wait is None:
        return "its desk told of no turn"
    asked = f"asked {_seconds(since(wait.asked, now))} ago"
    match policy:
        case "oldest_first":
            return f"its turn arrived {_seconds(since(wait.arrived, now))} ago"
        case "attained_service":
            return f"its turn has had {_seconds(wait.attained_us)} of engine time; {asked}"
        case "slack":
            left = wait.deadline - wait.rest_us - now
            late = f"can begin {_seconds(left)} from now" if left >= 0 else "is too late already"
            return f"its rest {late}; {asked}"
        case "virtual_finish":
            came = _seconds(since(wait.arrived, now))
            return f"its turn came {came} ago, and needs {_seconds(wait.rest_us)} still"
        case "planned":
            return f"its turn's place in the plan; {asked}"
        case _:
            return asked


def _seconds(amount: int) -> str:
    return f"{amount / SECOND:.1f} s"
