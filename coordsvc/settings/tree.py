"""The tree of settings. Under each field: its unit, and the reason for its default."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Rules
from coordsvc.core.filters import NodeFilter
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import DeskTerms, Terms
from coordsvc.core.units import AgentId, seconds
from coordsvc.engines.settings import EngineSettings, OpenVinoSettings
from coordsvc.settings.baseline import BaselineFile
from coordsvc.settings.bundle import Bundle
from coordsvc.settings.collapse import CollapseSettings
from coordsvc.settings.http import HttpSettings
from coordsvc.settings.keys import KeySettings, Name
from coordsvc.settings.metrics import MetricsSettings
from coordsvc.settings.node import Node
from coordsvc.settings.policy import PolicySettings
from coordsvc.settings.scaling import ScalingSettings
from coordsvc.settings.tenants import TENANTS_MAX, TenantSettings, role_terms, weights_for_all
from coordsvc.settings.tracing import TracingSettings
from coordsvc.telemetry.decision_log import DecisionLogTerms

OneOf = Annotated[list[str], BeforeValidator(lambda one: [one] if isinstance(one, str) else one)]
"""A value, or a list of values any of which will do."""


class NodeSettings(Node):
    """What one engine replica offers."""

    capacity: Bundle = Bundle(cpu=16.0, bandwidth_gbps=16.0)
    """Divided by a phase's demand it is how many phases run at once: here one per batch slot."""
    attributes: dict[str, str] = Field(default={})
    """Facts that agents may ask for with `requires`, beside `model` and `engine`."""
    reserved: dict[str, Bundle] = Field(default={})
    """What of each node's capacity only the agent of this name is offered."""
    drain_s: float = Field(default=20.0, ge=0.1, le=3_600)
    """Seconds that phases may take to end on a node that Serve stops; what still runs then goes on
    elsewhere. Some phases long, and less than clusters wait for a node to empty."""


class AgentSettings(Node):
    """One agent."""

    demand: Bundle = Bundle(cpu=1.0, bandwidth_gbps=1.0)
    """What one of its phases takes of a node."""
    weight: int = Field(default=1, ge=1, le=1_000)
    """Its fair share, relative to the other agents'."""
    least: Bundle | None = None
    """The smallest bundle that is of use; between it and `demand`, what a node has is taken. None
    takes nothing less than `demand`."""
    guarantee: Bundle = Bundle()
    """What the agent gets before anybody gets more than theirs; others may borrow it."""
    limit: Bundle | None = None
    """What the agent may hold at most; None sets no limit."""
    requires: dict[str, OneOf] = Field(default={})
    """Attributes that a node must have to be offered to this agent: a value, or one of several."""
    tokens_max: int = Field(default=64, ge=1, le=4_096)
    """Tokens that a phase the user does not see may write (the responder's are the request's)."""

    def where(self) -> NodeFilter:
        """Return which nodes the agent can use."""
        return NodeFilter.requiring({name: tuple(wanted) for name, wanted in self.requires.items()})

    def role(self) -> RoleTerms:
        """Return what the agent is entitled to."""
        return RoleTerms(
            weight=self.weight,
            guarantee=self.guarantee.resources(),
            limit=self.limit.resources() if self.limit else None,
        )


class AgentsSettings(Node):
    """Who takes part. Without a checker the turn ends with the responder's reply."""

    planner: AgentSettings = AgentSettings(tokens_max=48)
    responder: AgentSettings = AgentSettings()
    checker: AgentSettings | None = AgentSettings(tokens_max=72)

    def by_id(self) -> dict[AgentId, AgentSettings]:
        """Return the agents that take part."""
        found = {PLANNER: self.planner, RESPONDER: self.responder}
        return found if self.checker is None else {**found, CHECKER: self.checker}


class DialogueSettings(Node):
    """The shape of a turn."""

    revisions_max: int = Field(default=1, ge=0, le=8)
    """Revisions before the best draft is sent; each costs two more phases."""


class OffersSettings(Node):
    """The terms on which bundles are offered and held."""

    policy: PolicySettings = PolicySettings()
    """Who is served first."""
    lasts_s: float = Field(default=10.0, ge=0.5, le=300)
    """Seconds that a desk may hold an offer. Long enough that an idle desk hardly talks."""
    margin_s: float = Field(default=0.5, ge=0.05, le=30)
    """Seconds more before the allocator takes it back: what a message may take."""
    ahead_min: int = Field(default=4, ge=0, le=256)
    """Offers held with hardly any load, so that a lone turn need not wait."""
    ahead_max: int = Field(default=128, ge=0, le=1_024)
    """Offers held ahead of need at most."""
    suppress_after_s: float = Field(default=60.0, ge=1, le=86_400)
    """Seconds without a phase until a desk holds nothing."""
    linger_ms: int = Field(default=400, ge=0, le=1_000)
    """Milliseconds that news may wait for company while plenty is in hand, and nobody waits: what
    is free goes back at once while phases wait anywhere."""
    linger_low_ms: int = Field(default=50, ge=0, le=1_000)
    """The same when less than half of the target is in hand."""
    locality_wait_ms: int = Field(default=5, ge=0, le=1_000)
    """Milliseconds that a phase passes over offers elsewhere for one on the node that has its
    conversation cached; far less than to compute the prefix again."""
    ask_back_s: float = Field(default=2.0, ge=0.1, le=600)
    """Seconds that a borrower may go on, once a guarantee needs what it borrowed."""
    gang_hold_ms: int = Field(default=500, ge=10, le=60_000)
    """Milliseconds for which bundles may be set aside for a gang that is not complete."""
    silent_after_ms: int = Field(default=250, ge=20, le=10_000)
    """Milliseconds until an unanswered desk goes on alone."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ahead_min > self.ahead_max:
            raise ValueError(f"ahead_min ({self.ahead_min}) is above ahead_max ({self.ahead_max})")
        if self.linger_low_ms > self.linger_ms:
            raise ValueError(
                f"linger_low_ms ({self.linger_low_ms}) is above linger_ms ({self.linger_ms})"
            )
        return self

    def desk_terms(self) -> DeskTerms:
        """Return the desk's part."""
        return DeskTerms(
            ahead_min=self.ahead_min,
            ahead_max=self.ahead_max,
            suppress_after_us=seconds(self.suppress_after_s),
            linger_us=seconds(self.linger_ms / 1_000),
            linger_low_us=seconds(self.linger_low_ms / 1_000),
            silent_after_us=seconds(self.silent_after_ms / 1_000),
            locality_wait_us=seconds(self.locality_wait_ms / 1_000),
        )


class DecisionLogSettings(Node):
    """Where the allocator writes every event and effect, for `coordsvc replay` and `explain`."""

    folder: str = Field(min_length=1, max_length=1_024)
    """A directory on the head node, of this application alone; made if it is not there."""
    file_mb_max: float = Field(default=64.0, gt=0, le=65_536)
    """Megabytes of one file: about a hundred thousand events."""
    files_max: int = Field(default=16, ge=2, le=10_000)
    """Older files are removed: a gigabyte in all."""

    def terms(self) -> DecisionLogTerms:
        """Return the same for the log."""
        return DecisionLogTerms(
            folder=Path(self.folder),
            file_bytes_max=round(self.file_mb_max * (1 << 20)),
            files_max=self.files_max,
        )


class AppSettings(Node):
    """Everything under `applications[].args`."""

    served_model: str | None = Field(default=None, min_length=1, max_length=200)
    """The model id that clients name; None takes the engine's own."""
    engine: EngineSettings = OpenVinoSettings()
    node: NodeSettings = NodeSettings()
    agents: AgentsSettings = AgentsSettings()
    dialogue: DialogueSettings = DialogueSettings()
    offers: OffersSettings = OffersSettings()
    http: HttpSettings = HttpSettings()
    keys: KeySettings | None = None
    """Who may send dialogue. None lets everybody in who reaches the port: right on a laptop."""
    tenants: dict[Name, TenantSettings] = Field(default={}, max_length=TENANTS_MAX)
    """Whom the pool is shared between, above their agents. None: the agents share it among
    themselves, whosever turns they work on."""
    metrics: MetricsSettings = MetricsSettings()
    collapse: CollapseSettings = CollapseSettings()
    scaling: ScalingSettings | None = None
    """None leaves the number of replicas to the file's `deployments`."""
    tracing: TracingSettings = TracingSettings()
    baseline: BaselineFile | None = None
    """A file of `coordsvc calibrate`, made on the engine's machine: what S_measured compares with.
    None takes the engine's own prediction, and says that it is not calibrated."""
    decision_log: DecisionLogSettings | None = None
    """None writes no log: at a thousand events a second it takes a few per cent of one core."""

    @model_validator(mode="after")
    def _agents_are_known(self) -> Self:
        agents = [str(agent) for agent in self.agents.by_id()]
        shared = [f"{tenant}/{agent}" for tenant in self.tenants for agent in agents]
        known = {*agents, *self.tenants, *shared}
        named: dict[str, Iterable[str]] = {
            "node.reserved": self.node.reserved,
            "offers.policy.partition": self.offers.policy.partition,
            "offers.policy.plan": [agent for _, agent in self.offers.policy.plan],
            "offers.policy.utility_weights": self.offers.policy.utility_weights,
        }
        for place, names in named.items():
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"{place} names {name!r}, which is no agent{self._or_tenant()}; "
                        f"there are {', '.join(sorted(known))}"
                    )
        return self

    @model_validator(mode="after")
    def _adapters_are_for_agents(self) -> Self:
        agents = {str(agent) for agent in self.agents.by_id()}
        if strangers := set(getattr(self.engine, "adapters", {})) - agents:
            raise ValueError(
                f"engine.adapters names {min(strangers)!r}, which is no agent; "
                f"there are {', '.join(sorted(agents))}"
            )
        return self

    def _or_tenant(self) -> str:
        return " and no tenant" if self.tenants else ""

    @model_validator(mode="after")
    def _tenants_are_told_apart(self) -> Self:
        if self.tenants and self.keys is None:
            raise ValueError(
                "tenants are told apart by their keys, and there are none; set keys.file"
            )
        names = {str(agent) for agent in self.agents.by_id()}
        if both := names & self.tenants.keys():
            raise ValueError(f"tenants.{min(both)} has the name of an agent; choose another")
        least = {
            agent: (one.least or one.demand).resources()
            for agent, one in self.agents.by_id().items()
        }
        for name, tenant in self.tenants.items():
            tenant.check(f"tenants.{name}", least)
        return self

    @model_validator(mode="after")
    def _entitlements_fit(self) -> Self:
        reserved = sum((one.resources() for one in self.node.reserved.values()), start=Resources())
        capacity = self.node.capacity.resources()
        if not capacity.covers(reserved):
            raise ValueError(
                f"node.reserved ({reserved}) is more than node.capacity ({capacity}) "
                "(amounts in thousandths)"
            )
        for agent, one in self.agents.by_id().items():
            role = one.role()
            if role.limit is not None and not role.limit.covers(role.guarantee):
                raise ValueError(
                    f"agents.{agent}.guarantee ({role.guarantee}) is more than its limit "
                    f"({role.limit}) (amounts in thousandths)"
                )
        return self

    @model_validator(mode="after")
    def _demands_fit(self) -> Self:
        capacity = self.node.capacity.resources()
        for agent, settings in self.agents.by_id().items():
            demand = settings.demand.resources()
            if not demand:
                raise ValueError(
                    f"agents.{agent}.demand is nothing; an agent needs some of a resource"
                )
            least = settings.least.resources() if settings.least else demand
            if not least or not demand.covers(least):
                raise ValueError(
                    f"agents.{agent}.least ({least}) must be something, and within "
                    f"agents.{agent}.demand ({demand})"
                )
            if settings.limit is not None and not settings.limit.resources().covers(least):
                raise ValueError(
                    f"agents.{agent}.limit ({settings.limit.resources()}) is less than one of its "
                    f"phases takes ({least})"
                )
            if not capacity.covers(least):
                raise ValueError(
                    f"agents.{agent}.demand ({demand}) is more than one node's "
                    f"node.capacity ({capacity}), so no offer could ever fit it "
                    "(amounts in thousandths)"
                )
        return self

    def _adapted(self) -> frozenset[AgentId]:
        """Return the agents that have an adapter."""
        named = getattr(self.engine, "adapters", {})
        return frozenset(agent for agent in self.agents.by_id() if agent in named)

    def rules(self) -> Rules:
        """Return the shape of a turn."""
        return Rules(
            agents=tuple(self.agents.by_id()),
            revisions_max=self.dialogue.revisions_max,
            adapted=self._adapted(),
        )

    def terms(self) -> Terms:
        """Return the allocator's terms."""
        policy = self.offers.policy.terms()
        weights = weights_for_all(self.tenants, policy.utility_weights)
        return Terms(
            policy=replace(policy, utility_weights=weights),
            offer_lasts_us=seconds(self.offers.lasts_s),
            offer_margin_us=seconds(self.offers.margin_s),
            ask_back_us=seconds(self.offers.ask_back_s),
            gang_hold_us=seconds(self.offers.gang_hold_ms / 1_000),
            drain_us=seconds(self.node.drain_s),
            roles=role_terms(
                self.tenants, {agent: one.role() for agent, one in self.agents.by_id().items()}
            ),
        )
