"""Each file in cases/ is a conversation with the allocator: a command, `----`, its effects.

    node n1 gpu=2000 cpu=8000 model=small   an engine is fenced and joins (amounts in thousandths)
    node n1 gpu=2000 running=1.3,1.4        the same, with grants of an earlier epoch running on it
    node n1 gpu=2000 reserved=acme:500      the same, and half a GPU only the tenant acme may hold
    lose-node n1                            the engine died
    drain n1 within=5 preempt=yes           to be emptied, if need be by ending what runs
    reopen n1                               not to be emptied after all
    desk p1 planner gpu=500                 a replica of the planner asks for bundles of this size
    desk p1 planner gpu=500 least=250       the same, or anything down to half of it
    desk p1 planner gpu=500 where=zone:a    the same, on nodes that say zone=a
    want p1 waiting=2 ahead=1               phases that wait there, offers to hold ahead
    want p1 waiting=1 turns=t1:5            the same, of the turn t1, which came 5 seconds ago
    suppress p1 | revive p1                 it wants nothing until it revives
    held p1 1.1,1.2                         all offers that it holds
    gang g1 p1 planner:500*2 checker:250*1-3    bundles at the same time: so many, or from to
    give-up-gang g1                         nobody waits for it any more
    terms policy=first_come                 offers are made by another policy
    role acme weight=2 guarantee=500 limit=1000     a tenant's or an agent's terms
    lose-desk p1                            the replica died
    accept 1.1 gpu=250 for=5                a phase started, using this much; the rest is declined
    decline 1.1 for=5                       given back; the node is refused for 5 seconds
    finish 1.1                              the engine's word, through the desk
    answer 1.1 never | started              the engine's word, asked whether it started the offer
    report n1 running=1.1 finished=1.2      the engine's own regular word
    wait 2.5                                seconds pass, and the allocator is told so
    later 2.5                               seconds pass, and nobody says so
    takeover                                a new allocator of the next epoch, which knows nothing
    shares                                  dominant shares, reckoned from what was said above

Offer 1.3 is the third of epoch 1. Lines with `#` are the story. An order that the conversation
gives no reason for is decided by name.
"""

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pytest

from coordsvc.core.allocation.issuing import IDS_PER_EPOCH_BITS
from coordsvc.core.allocator import Allocator
from coordsvc.core.filters import NodeFilter
from coordsvc.core.messages import (
    Accepted,
    AskBack,
    Declined,
    DeskJoined,
    DeskLost,
    Drained,
    Effect,
    Event,
    Finished,
    Freed,
    GangGivenUp,
    GangRefused,
    GangWanted,
    Granted,
    Held,
    Member,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Preempt,
    Reconciled,
    Refused,
    Revived,
    SendOffer,
    Suppressed,
    TermsChanged,
    Ticked,
    Void,
    Voided,
    Wanted,
    Withdraw,
)
from coordsvc.core.offers import Grant, Offer
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
    TurnId,
    seconds,
)
from coordsvc.core.waits import PhaseWait

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
BLOCK = re.compile(
    r"(?P<head>(?:#[^\n]*\n|\n)*)(?P<cmd>[^\n#]+)\n----\n(?P<out>.*?)\n(?=\n|\Z)", re.DOTALL
)
LONG_ID = re.compile(r"\b\d{13,}\b")
AMOUNTS = {"gpu": "gpu_milli", "cpu": "cpu_milli", "bandwidth": "bandwidth_mbps"}
WORDS = {
    SendOffer: "offer",
    Granted: "grant",
    Void: "ask the engine to void",
    Withdraw: "withdraw",
    AskBack: "ask back",
    Preempt: "preempt",
}


@dataclass(frozen=True)
class Command:
    """One line of a conversation, read."""

    verb: str
    names: list[str]
    args: dict[str, str]

    @classmethod
    def read(cls, line: str) -> "Command":
        verb, *words = line.split()
        pairs = (word.split("=", 1) for word in words if "=" in word)
        return cls(verb, [word for word in words if "=" not in word], dict(pairs))

    @property
    def bundle(self) -> Resources:
        return Resources(**{AMOUNTS[k]: int(v) for k, v in self.args.items() if k in AMOUNTS})

    @property
    def refusal(self) -> Micros:
        return seconds(float(self.args.get("for", 0)))

    @property
    def role(self) -> RoleTerms:
        limit = self.args.get("limit")
        return RoleTerms(
            weight=int(self.args.get("weight", 1)),
            guarantee=gpu(self.args.get("guarantee", "0")),
            limit=gpu(limit) if limit else None,
        )

    def pairs(self, key: str) -> list[tuple[str, str]]:
        pairs = (word.partition(":") for word in self.args.get(key, "").split(",") if word)
        return [(name, value) for name, _, value in pairs]

    def offers(self, key: str) -> tuple[OfferId, ...]:
        return tuple(map(read_id, filter(None, self.args.get(key, "").split(","))))


def gpu(amount: str) -> Resources:
    return Resources(gpu_milli=int(amount))


def read_member(shown: str) -> Member:
    agent, amount, least, most = re.fullmatch(r"(.+):(\d+)\*(\d+)(?:-(\d+))?", shown).groups()
    return Member(
        agent=AgentId(agent), bundle=gpu(amount), least=int(least), most=int(most or least)
    )


def waiting(turn: str, age: str) -> PhaseWait:
    return PhaseWait(
        turn=TurnId(turn),
        waited_us=Micros(0),
        turn_us=seconds(float(age)),
        left_us=seconds(60),
    )


def read_id(shown: str) -> OfferId:
    epoch, number = shown.split(".")
    return OfferId((int(epoch) << IDS_PER_EPOCH_BITS) + int(number))


def show_id(offer_id: int) -> str:
    return f"{offer_id >> IDS_PER_EPOCH_BITS}.{offer_id % (1 << IDS_PER_EPOCH_BITS)}"


@dataclass
class Stage:
    """The allocator under test, and a book of what it said."""

    now: Instant = Instant(0)
    epoch: Epoch = Epoch("stage", 1)
    allocator: Allocator = field(default_factory=lambda: Allocator(epoch=Epoch("stage", 1)))
    terms: Terms = Terms()
    capacity: dict[NodeId, Resources] = field(default_factory=dict)
    said: dict[OfferId, Offer] = field(default_factory=dict)
    before: dict[OfferId, Offer] = field(default_factory=dict)
    """What the allocator of the epoch before had said."""

    def run(self, line: str) -> str:
        command = Command.read(line)
        match command.verb:
            case "later":
                self._wait(command)
                return "nothing is said"
            case "shares":
                return self._shares()
            case "takeover":
                self.epoch = Epoch(self.epoch.run, self.epoch.n + 1)
                self.allocator = Allocator(epoch=self.epoch, terms=self.terms)
                self.before, self.said, self.capacity = self.said, {}, {}
                return f"epoch {self.epoch.n}"
        event = self._event(command)  # first: it may move the clock
        effects = self.allocator.handle(self.now, event)
        self.allocator.ledger.check()
        for effect in effects:
            self._note(effect)
        return "\n".join(map(render, effects)) or "nothing"

    def _event(self, command: Command) -> Event:
        names, bundle = command.names, command.bundle
        match command.verb:
            case "accept":
                return Accepted(read_id(names[0]), bundle, command.refusal)
            case "decline":
                return Declined(read_id(names[0]), command.refusal)
            case "finish":
                return Finished(read_id(names[0]))
            case "terms":
                policy = PolicyTerms(name=command.args["policy"])
                return self._terms(replace(self.allocator.terms, policy=policy))
            case "role":
                roles = {**self.allocator.terms.roles, RoleId(names[0]): command.role}
                return self._terms(replace(self.allocator.terms, roles=roles))
            case "wait":
                self._wait(command)
                return Ticked()
            case "node" | "lose-node" | "drain" | "reopen" | "report":
                return self._node_event(command)
            case "answer":
                offer, word = names
                return Voided(read_id(offer), {"started": True, "never": False}[word])
            case _:
                return self._desk_event(command)

    def _node_event(self, command: Command) -> Event:
        node = NodeId(command.names[0])
        match command.verb:
            case "node":
                return self._node(command)
            case "lose-node":
                self.capacity.pop(node, None)
                return NodeLost(node)
            case "drain":
                within = seconds(float(command.args["within"]))
                return NodeDraining(node, within, "preempt" in command.args)
            case "reopen":
                return NodeReopened(node)
            case "report":
                running = frozenset(command.offers("running"))
                return Reconciled(node, running, command.offers("finished"))
            case _:
                raise ValueError(command)

    def _desk_event(self, command: Command) -> Event:
        desk = DeskId(command.names[0])
        match command.verb:
            case "desk":
                least = command.args.get("least")
                return DeskJoined(
                    desk,
                    AgentId(command.names[1]),
                    command.bundle,
                    gpu(least) if least else None,
                    NodeFilter.requiring(dict(command.pairs("where"))),
                )
            case "want":
                wanted = (int(command.args.get(key, 0)) for key in ("waiting", "ahead"))
                waits = tuple(waiting(turn, age) for turn, age in command.pairs("turns"))
                return Wanted(desk, *wanted, waits)
            case "lose-desk":
                return DeskLost(desk)
            case "suppress":
                return Suppressed(desk)
            case "revive":
                return Revived(desk)
            case "held":
                return Held(desk, frozenset(map(read_id, command.names[1].split(","))))
            case "gang":
                members = tuple(map(read_member, command.names[2:]))
                return GangWanted(GangId(command.names[0]), DeskId(command.names[1]), members)
            case "give-up-gang":
                return GangGivenUp(GangId(command.names[0]))
            case _:
                raise ValueError(command)

    def _terms(self, terms: Terms) -> TermsChanged:
        self.terms = terms
        return TermsChanged(terms)

    def _wait(self, command: Command) -> None:
        self.now = Instant(self.now + seconds(float(command.names[0])))

    def _node(self, command: Command) -> NodeJoined:
        node = NodeId(command.names[0])
        self.capacity[node] = command.bundle
        words = {*AMOUNTS, "running", "reserved"}
        attributes = {k: v.replace("+", " ") for k, v in command.args.items() if k not in words}
        reserved = {RoleId(role): gpu(amount) for role, amount in command.pairs("reserved")}
        running = tuple(grant_of(self.before[offer]) for offer in command.offers("running"))
        return NodeJoined(node, command.bundle, attributes, running, reserved)

    def _note(self, effect: Effect) -> None:
        match effect:
            case SendOffer(offer) | Granted(offer):
                self.said[offer.offer_id] = offer
            case Freed(offer):
                del self.said[offer.offer_id]
            case _:
                pass

    def _shares(self) -> str:
        """Return each agent's dominant share: the plain fraction, from what was said."""
        total = sum(self.capacity.values(), start=Resources())
        held: dict[str, Resources] = {}
        for offer in self.said.values():
            held[offer.agent] = held.get(offer.agent, Resources()) + offer.bundle
        lines = (f"{agent} {dominant(held[agent], total)}" for agent in sorted(held))
        return "\n".join(lines) or "nobody holds anything"


def dominant(held: Resources, total: Resources) -> str:
    names = zip(AMOUNTS, held.amounts(), total.amounts(), strict=True)
    share, of = max(
        (Fraction(part, whole), f"{part}/{whole} {name}") for name, part, whole in names if whole
    )
    return f"{float(share):.2f} ({of})"


def grant_of(offer: Offer) -> Grant:
    epoch = Epoch("stage", offer.offer_id >> IDS_PER_EPOCH_BITS)
    return Grant(
        epoch=epoch,
        offer_id=offer.offer_id,
        use=1,
        node=offer.node,
        agent=offer.agent,
        desk=offer.desk,
        bundle=offer.bundle,
    )


def render(effect: Effect) -> str:
    match effect:
        case Refused(_, why):
            return "refused: " + LONG_ID.sub(lambda found: show_id(int(found.group())), why)
        case Drained(node):
            return f"drained: {node}"
        case GangRefused(gang, desk, _):
            return f"gang {gang} is refused to {desk}"
        case Freed(offer):
            words = f"free, {offer.state.name.lower()}:"
        case _:
            offer, words = effect.offer, WORDS[type(effect)]
    who = f"{offer.agent} {offer.desk}@{offer.node}"
    return f"{words} {show_id(offer.offer_id)} {who} {offer.bundle}{about(effect)}"


def about(effect: Effect) -> str:
    match effect:
        case SendOffer(offer, ticket):
            said = f" for {ticket.lasts / 1e6:g} s"
            said += f", meant for {offer.meant_for}" if offer.meant_for else ""
            said += f", of gang {offer.gang}" if offer.gang else ""
            said += f", reserved for {offer.reserved_for}" if offer.reserved_for else ""
            return said + (", lent" if offer.revocable else "")
        case AskBack(_, within):
            return f" within {within / 1e6:g} s"
        case _:
            return ""


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_scenario(case: Path, request: pytest.FixtureRequest) -> None:
    stage, text = Stage(), case.read_text()
    said = BLOCK.sub(lambda m: f"{m['head']}{m['cmd']}\n----\n{stage.run(m['cmd'])}\n", text)
    if request.config.getoption("--rewrite", default=False):
        case.write_text(said)
    assert said == case.read_text()


def test_every_line_of_every_conversation_is_read() -> None:
    """A block that the pattern misses would pass without being run."""
    for case in CASES:
        text = case.read_text()
        assert len(BLOCK.findall(text)) == len(re.findall(r"^----$", text, re.MULTILINE)) > 0
        assert not BLOCK.sub("", text).strip(), case.name
