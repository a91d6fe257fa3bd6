"""The terms on which offers are made: durations, and a bound on everything."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from coordsvc.core.errors import ProtocolError
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.roles import RoleTerms
from coordsvc.core.units import MILLISECOND, SECOND, Micros, RoleId


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms on which offers are made."""

    policy: PolicyTerms = PolicyTerms()
    """Who is served first."""
    roles: Mapping[RoleId, RoleTerms] = field(default_factory=dict)
    """Weights, guarantees and limits; a role not named weighs 1 and has neither."""
    offer_lasts_us: Micros = Micros(10 * SECOND)
    """How long a desk may hold an offer. Mandatory: Mesos's default, for ever, lets one hoard."""
    offer_margin_us: Micros = Micros(500 * MILLISECOND)
    """How much longer the allocator waits before it voids one: what a message may take."""
    refuse_for_max_us: Micros = Micros(60 * SECOND)
    """Bounds a filter, so that no node is refused for ever by mistake."""
    ask_back_us: Micros = Micros(2 * SECOND)
    """How long a borrower may go on, once a guarantee needs what it borrowed. A phase or two."""
    gang_hold_us: Micros = Micros(500 * MILLISECOND)
    """How long bundles may be set aside for a gang that is not complete, and serve nobody."""
    gang_rest_max_us: Micros = Micros(8 * SECOND)
    """A gang that could not be completed waits before it gathers again: twice as long each time,
    up to this."""
    drain_us: Micros = Micros(20 * SECOND)
    """How long phases may go on at an engine that is being stopped, before they go on elsewhere."""
    unseen_max: int = 2
    """Reports of an engine in a row that may lack an accepted offer before it is voided."""
    nodes_max: int = 100_000
    """Engines in the pool."""
    desks_max: int = 100_000
    """Agents' replicas that are offered something."""
    offers_per_desk_max: int = 256
    """What one desk may hold unstarted; above it, asking for more changes nothing."""
    waits_per_desk_max: int = 64
    """Phases that one desk may tell of; of the others only their number is known."""
    filters_per_desk_max: int = 64
    """Nodes that one desk may refuse at a time; the oldest refusal is forgotten."""
    declines_per_second_max: int = 512
    """A desk that declines faster is left alone for a second."""
    gangs_max: int = 256
    """Gangs that wait."""
    gangs_per_desk_max: int = 32
    """Of them, those that one desk waits for, so that none takes the places of all."""
    gang_bundles_max: int = 64
    """Bundles of one gang."""
    roles_max: int = 200_000
    """Agents and tenants; those that are gone are forgotten first."""
    role_depth_max: int = 8
    """Tenants above one another, and the agent."""
    name_chars_max: int = 512
    """Of whatever comes from outside and is kept: ids, attributes, turns, prefixes."""
    attributes_max: int = 64
    """Of one node."""
    attribute_chars_max: int = 16_384
    """Of the value of one; it may list some hundred adapters."""
    conditions_max: int = 16
    """Of one filter, and values that one of them allows."""
    filter_names_max: int = 1_024
    """Attributes that filters ask for, all together: each sorts all nodes again."""
    ends_per_node_max: int = 4_096
    """Ends that desks told of one node, and that its engine has not confirmed yet."""
    cached_per_node_max: int = 256
    """Prefixes that a node may be known to have cached."""
    weight_max: int = 1_000
    """Of a role."""

    def check(self) -> None:
        """Raise `ProtocolError` if nobody could be served on these terms."""
        for role_id, terms in sorted(self.roles.items()):
            if not 1 <= terms.weight <= self.weight_max:
                raise ProtocolError(
                    f"{role_id} weighs {terms.weight}; 1 to {self.weight_max} may be"
                )
        for one in fields(self):
            lowest = 0 if one.name == "offer_margin_us" else 1
            least = getattr(self, one.name)
            if isinstance(least, int) and least < lowest:
                raise ProtocolError(f"{one.name} is {least}; at least {lowest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskTerms:
    """How a desk holds offers and talks to the allocator."""

    ahead_min: int = 4
    """Offers held even when hardly anything arrives, so that a lone turn need not wait."""
    ahead_max: int = 128
    """Bounds what is held ahead; beyond it, hoarding costs others more than it saves."""
    suppress_after_us: Micros = Micros(60 * SECOND)
    """Without a phase for so long, hold nothing; the next phase waits one round trip."""
    linger_us: Micros = Micros(400 * MILLISECOND)
    """How long news may wait for company while plenty is in hand: fewer, larger exchanges."""
    linger_low_us: Micros = Micros(50 * MILLISECOND)
    """The same when less than half of the target is in hand."""
    silent_after_us: Micros = Micros(250 * MILLISECOND)
    """An exchange unanswered for so long: the allocator is silent. Ray needs a second to say so."""
    rate_window_us: Micros = Micros(2 * SECOND)
    """Over what time the rate of phases is averaged."""
    locality_wait_us: Micros = Micros(5 * MILLISECOND)
    """How long a phase passes over offers elsewhere for one on the node that has its conversation
    cached (Mesos's delay scheduling). Far less than to compute the prefix again."""
    waits_told_max: int = 64
    """Waiting phases that one report tells of; of the others only their number."""
    unsaid_max: int = 4_096
    """News kept for an allocator that does not answer; the oldest beyond it the engines tell."""
