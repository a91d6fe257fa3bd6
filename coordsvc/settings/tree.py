"""The tree of settings. Under each field: its unit, and the reason for its default."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from coordsvc.core.allocator import Terms
from coordsvc.core.desk import DeskTerms
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Rules
from coordsvc.core.resources import Resources, milli
from coordsvc.core.units import AgentId, seconds
from coordsvc.engines.settings import EngineSettings, OpenVinoSettings
from coordsvc.settings.http import HttpSettings


class Node(BaseModel):
    """What all nodes of the tree share: frozen, and an unknown field is refused.

    Strict, too: what looks like a number is none (`"8000"`), and neither is a truth (`true`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _exact(amount: float) -> float:
    milli(amount)  # refuses what thousandths cannot say
    return amount


Amount = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(_exact)]


class Bundle(Node):
    """An amount of each resource; at most three decimals, so that arithmetic is exact."""

    gpu: Amount = 0.0
    """GPUs."""
    cpu: Amount = 0.0
    """CPU cores."""
    bandwidth_gbps: Amount = 0.0
    """Gb/s; accounted, not enforced."""

    def resources(self) -> Resources:
        """Return the same in the core's whole numbers."""
        return Resources(
            gpu_milli=milli(self.gpu),
            cpu_milli=milli(self.cpu),
            bandwidth_mbps=milli(self.bandwidth_gbps),
        )


class NodeSettings(Node):
    """What one engine replica offers."""

    capacity: Bundle = Bundle(cpu=16.0, bandwidth_gbps=16.0)
    """Divided by a phase's demand it is how many phases run at once: here one per batch slot."""
    attributes: dict[str, str] = {}
    """Facts that agents may ask for with `requires`, beside `model` and `engine`."""


class AgentSettings(Node):
    """One agent."""

    demand: Bundle = Bundle(cpu=1.0, bandwidth_gbps=1.0)
    """What one of its phases takes of a node."""
    weight: int = Field(default=1, ge=1, le=1_000)
    """Its fair share, relative to the other agents'."""
    requires: dict[str, str] = {}
    """Attributes that a node must have for this agent to accept it."""
    tokens_max: int = Field(default=64, ge=1, le=4_096)
    """Tokens that a phase the user does not see may write (the responder's are the request's)."""


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

    lasts_s: float = Field(default=10.0, ge=0.5, le=300)
    """Seconds that a desk may hold an offer. Long enough that an idle desk hardly talks."""
    margin_s: float = Field(default=0.5, ge=0.05, le=30)
    """Seconds more before the allocator takes it back: what a message may take."""
    ahead_min: int = Field(default=4, ge=0, le=256)
    """Offers held with hardly any load, so that a lone turn need not wait."""
    ahead_max: int = Field(default=48, ge=0, le=1_024)
    """Offers held ahead of need at most."""
    suppress_after_s: float = Field(default=60.0, ge=1, le=86_400)
    """Seconds without a phase until a desk holds nothing."""
    linger_ms: int = Field(default=400, ge=0, le=1_000)
    """Milliseconds that news may wait for company while plenty is in hand."""
    linger_low_ms: int = Field(default=50, ge=0, le=1_000)
    """The same when less than half of the target is in hand."""
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
        )


class MetricsSettings(Node):
    """Where Prometheus finds the instrumentation actor."""

    host: str = "127.0.0.1"
    """Address to listen on. Only this machine, unless a cluster's network policy guards it."""
    port: int = Field(default=9464, ge=0, le=65_535)
    """Fixed, so that a scrape configuration can name it; 0 takes any free one. 9464 is the
    port that OpenTelemetry's Prometheus exporter made customary."""


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
    metrics: MetricsSettings = MetricsSettings()

    @model_validator(mode="after")
    def _demands_fit(self) -> Self:
        capacity = self.node.capacity.resources()
        for agent, settings in self.agents.by_id().items():
            demand = settings.demand.resources()
            if not demand:
                raise ValueError(
                    f"agents.{agent}.demand is nothing; an agent needs some of a resource"
                )
            if not capacity.covers(demand):
                raise ValueError(
                    f"agents.{agent}.demand ({demand}) is more than one node's "
                    f"node.capacity ({capacity}), so no offer could ever fit it "
                    "(amounts in thousandths)"
                )
        return self

    def rules(self) -> Rules:
        """Return the shape of a turn."""
        return Rules(agents=tuple(self.agents.by_id()), revisions_max=self.dialogue.revisions_max)

    def terms(self) -> Terms:
        """Return the allocator's terms."""
        return Terms(
            offer_lasts_us=seconds(self.offers.lasts_s),
            offer_margin_us=seconds(self.offers.margin_s),
            weights={agent: one.weight for agent, one in self.agents.by_id().items()},
        )
