"""A fake for each port: it does what its script says, and writes down what it was asked.

A test reads a fake's book, `fake.asked.read()`, and says `fake.asked.nothing_else()`. `Clock` is in
`tests/jumping.py`, for time that jumps; `Turns` is beside the tests of the HTTP door that calls it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from coordsvc.core.accounting import Delta, PhaseDone, PhaseEvent, PhaseReport, TurnResult
from coordsvc.core.dialogue import PLANNER, PhaseWork
from coordsvc.core.errors import CoordinationError, DeadlinePassed, EngineBroken, NodeGone
from coordsvc.core.exchange import DeskReply, DeskReport
from coordsvc.core.generation import (
    Chunk,
    EngineInfo,
    FinishReason,
    GenerationReport,
    GenerationRequest,
    SoloProfile,
)
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant, Ticket
from coordsvc.core.resources import Resources
from coordsvc.core.spans import CheckTold, TurnTold
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Epoch,
    GangId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    TurnId,
)
from coordsvc.core.waits import Wait as PhaseWaits
from coordsvc.serving.pool import AllocatorSilent, NodeCard, Watched

FIRST, SECOND_LIFE = Epoch("run", 1), Epoch("run", 2)
N1, N2 = NodeId("n1"), NodeId("n2")
SLOT = Resources(cpu_milli=1_000)
"""What one phase takes."""


def grant(number: int, *, node: NodeId = N1, epoch: Epoch = FIRST, use: int = 1) -> Grant:
    return Grant(
        epoch=epoch,
        offer_id=OfferId(number),
        use=use,
        node=node,
        agent=AgentId("responder"),
        desk=DeskId("r1"),
        bundle=SLOT,
    )


def ticket(number: int, *, node: NodeId = N1, epoch: Epoch = FIRST, lasts_s: float = 10) -> Ticket:
    return Ticket(
        epoch=epoch,
        offer_id=OfferId(number),
        node=node,
        bundle=SLOT,
        lasts=Micros(round(lasts_s * SECOND)),
    )


def told(finish: FinishReason = FinishReason.STOP, **changes: int) -> GenerationReport:
    """Return an engine's report: 30 ms in its queue, 70 ms computing, 50 of them solo."""
    usual = {
        "prompt_tokens": 40,
        "cached_tokens": 25,
        "shared_tokens": 20,
        "output_tokens": 4,
        "queue_us": 30_000,
        "compute_us": 70_000,
        "solo_us": 50_000,
        "refill_us": 5_000,
    }
    return GenerationReport(finish=finish, **(usual | changes))


class Book:
    """What was asked, in order, each as (method, its arguments...)."""

    def __init__(self) -> None:
        self._lines: list[tuple[Any, ...]] = []
        self._read = 0

    def write(self, *line: Any) -> None:
        self._lines.append(line)

    def read(self) -> list[tuple[Any, ...]]:
        """Return what is new since the last reading."""
        new = self._lines[self._read :]
        self._read = len(self._lines)
        return new

    def nothing_else(self) -> bool:
        """Whether all has been read."""
        return self._read == len(self._lines)

    def count(self, method: str) -> int:
        return sum(1 for line in self._lines if line[0] == method)


@dataclass(frozen=True)
class Wait:
    """In a script: time passes."""

    seconds: float


@dataclass(frozen=True)
class Never:
    """In a script: here it hangs."""


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


async def play(script: Iterable[Any], gone: Callable[[], None]) -> AsyncGenerator[Any]:
    """Do what stands in the script, yield the rest of it; call `gone` if the listener leaves."""
    left = deque(script)
    try:
        while left:
            match left[0]:
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                    left.popleft()
                case Never():
                    await hang()
                case Exception() as error:
                    left.clear()
                    raise error
                case said:
                    left.popleft()
                    yield said
    finally:
        if left:
            gone()


def chunks_of(script: Iterable[Any]) -> list[Any]:
    """Return a script in which a text, or a report, stands for the chunk that carries it."""
    chunks: list[Any] = []
    for step in script:
        match step:
            case str():
                chunks.append(Chunk(step))
            case GenerationReport():
                chunks.append(Chunk("", step))
            case _:
                chunks.append(step)
    return chunks


class FakeEngine:
    """The port `Engine`: each request is answered by the next script, the last one again."""

    def __init__(self, *scripts: Iterable[Any]) -> None:
        self.asked = Book()
        self._scripts = deque(scripts or [("All is well.", told())])
        self._inside = 0
        self.broken: str | None = None

    async def start(self) -> EngineInfo:
        self.asked.write("start")
        profile = SoloProfile(start_us=0, prefill_us=0, decode_us=0)
        return EngineInfo(
            kind="fake", model="fake-1", context_tokens=100, batch_max=4, profile=profile
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        self.asked.write("generate", request)
        script = self._scripts.popleft() if len(self._scripts) > 1 else self._scripts[0]
        self._inside += 1
        try:
            pieces = play(chunks_of(script), lambda: self.asked.write("left early"))
            async with aclosing(pieces):
                async for chunk in pieces:
                    yield chunk
        finally:
            self._inside -= 1

    def running(self) -> int:
        return self._inside

    def check(self) -> None:
        if self.broken is not None:
            raise EngineBroken(self.broken)

    async def stop(self) -> None:
        self.asked.write("stop")


class FakeEngines:
    """The port `Engines`: each call is answered by the next script."""

    def __init__(self, *scripts: Iterable[Any]) -> None:
        self.asked = Book()
        self._scripts = deque(scripts)

    async def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        self.asked.write("run", request, grant, stream)
        script = chunks_of(self._scripts.popleft())
        pieces = play(script, lambda: self.asked.write("left early", grant))
        async with aclosing(pieces):
            async for chunk in pieces:
                yield chunk

    def prefixes(self) -> list[str]:
        """Return what each call was to go on from."""
        return [line[1].prefix for line in self.asked.read() if line[0] == "run"]


class FakeTrainers:
    """The port `Trainers`: each stretch is answered by the next of its script, or ends in it."""

    def __init__(self, *script: Any) -> None:
        self.asked = Book()
        self._script = deque(script)

    async def train(self, stretch: Stretch, grant: Grant) -> Stretched:
        self.asked.write("train", stretch, grant)
        match self._script.popleft():
            case Exception() as error:
                raise error
            case Never():
                await hang()
            case Stretched() as stretched:
                return stretched
        raise AssertionError("nothing else stands in a script")


class FakeTrainee:
    """The port `Trainee`: a step is counted, and calls `between` when it is done."""

    def __init__(self, steps: int, between: Callable[[int], None] = lambda _: None) -> None:
        self.asked = Book()
        self._steps = steps
        self._between = between

    def train(self, stretch: Stretch, stop: Callable[[], bool]) -> Stretched:
        self.asked.write("train", stretch)
        step = stretch.begin
        while step < min(self._steps, stretch.begin + stretch.steps) and not stop():
            step += 1
            self._between(step)
        return trained(step, self._steps, agent=stretch.agent)


def trained(
    step: int, steps: int, agent: AgentId = PLANNER, compute_us: Micros = Micros(SECOND)
) -> Stretched:
    """Where a training of `steps` steps stands after `step` of them."""
    return Stretched(
        agent=agent,
        step=step,
        steps=steps,
        done=step >= steps,
        loss=1 / (1 + step),
        held_out=None,
        compute_us=compute_us,
    )


def a_wait(
    now: Instant, left_us: Micros, near: NodeId | None = None, turn: str = "t1"
) -> PhaseWaits:
    """A phase that waits from `now` on, of a turn that has just arrived."""
    return PhaseWaits(
        turn=TurnId(turn), asked=now, arrived=now, deadline=Instant(now + left_us), near=near
    )


class FakeDesk:
    """The port `OfferDesk`: gives the grants of its script, after the waits that stand in it."""

    def __init__(self, *script: Any) -> None:
        self.asked = Book()
        self.waits: list[PhaseWaits] = []
        self.ends: list[tuple[Micros, bool]] = []
        self.phases: list[str] = []
        """That were told with them."""
        """Engine time, and whether it was late, of each phase that ended."""
        self._script = deque(script)

    async def take(self, used: Resources, wait: PhaseWaits) -> Grant:
        self.waits.append(wait)
        self.asked.write("take", used, wait.near, wait.deadline - wait.asked)
        try:
            async with asyncio.timeout((wait.deadline - wait.asked) / SECOND):
                while self._script:
                    step = self._script.popleft()
                    if isinstance(step, Grant):
                        return step
                    await asyncio.sleep(step.seconds)
                await hang()
        except TimeoutError:
            raise DeadlinePassed("no offer came in time") from None
        raise AssertionError("nothing hangs for ever")

    def finished(
        self, grant: Grant, compute_us: Micros = Micros(0), *, late: bool = False, phase: str = ""
    ) -> None:
        self.ends.append((compute_us, late))
        self.phases.append(phase)
        self.asked.write("finished", grant)

    def uncertain(self, grant: Grant) -> None:
        self.asked.write("uncertain", grant)

    def refused(self, grant: Grant, refusal: Refusal) -> None:
        self.asked.write("refused", grant, refusal)

    def node_lost(self, node: NodeId) -> None:
        self.asked.write("node_lost", node)


class FakeAgents:
    """The port `Agents`: each phase is played by the next script."""

    def __init__(self, *scripts: Iterable[Any]) -> None:
        self.asked = Book()
        self._scripts = deque(scripts)

    async def work(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent]:
        self.asked.write("work", work)
        script = [
            Delta(step) if isinstance(step, str) else step for step in self._scripts.popleft()
        ]
        events = play(script, lambda: self.asked.write("left early", work.run.phase))
        async with aclosing(events):
            async for event in events:
                yield event

    def works(self) -> list[PhaseWork]:
        """Return the phases asked for since the book was last read."""
        return [line[1] for line in self.asked.read() if line[0] == "work"]

    def all_played(self) -> bool:
        return not self._scripts


class FakeRecorder:
    """The port `TurnRecorder`."""

    def __init__(self) -> None:
        self.asked = Book()

    def answered(self, result: TurnResult) -> None:
        self.asked.write("answered", result)

    def checked_late(self, phases: tuple[PhaseReport, ...]) -> None:
        self.asked.write("checked_late", phases)

    def check_lost(self, turn_id: str, error: CoordinationError) -> None:
        self.asked.write("check_lost", turn_id, error)


class FakeTracer:
    """The port `TurnTracer`."""

    def __init__(self) -> None:
        self.turns: list[TurnTold] = []
        self.checks: list[CheckTold] = []

    def turn(self, told: TurnTold) -> None:
        self.turns.append(told)

    def check(self, told: CheckTold) -> None:
        self.checks.append(told)


class FakePool:
    """The port `Pool`: a long poll is answered as soon as there is news, any other call at once."""

    def __init__(self, *offered: Ticket, epoch: Epoch = FIRST) -> None:
        self.asked = Book()
        self.epoch = epoch
        self.deaf = False
        """While it is, calls hang."""
        self.down = False
        """While it is, calls fail at once."""
        self._offers = list(offered)
        self._withdrawn: list[OfferId] = []
        self._gangs_refused: list[tuple[GangId, str]] = []
        self.refuses: str | None = None
        """Why it does not serve the desk at all."""
        self._news = asyncio.Event()
        self._hung: list[asyncio.Future[None]] = []

    async def join(self, card: NodeCard) -> None:
        self.asked.write("join", card)
        if self.deaf:
            await hang()

    async def exchange(self, report: DeskReport, wait_s: float) -> DeskReply:
        self.asked.write("exchange", report, wait_s)
        if self.deaf:
            self._hung.append(asyncio.get_running_loop().create_future())
            await self._hung[-1]
        if self.down:
            raise AllocatorSilent("it is down")
        if self.refuses is not None:
            return DeskReply(epoch=self.epoch, refused=self.refuses)
        if wait_s > 0 and not (self._offers or self._withdrawn or self._gangs_refused):
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
        reply = DeskReply(
            epoch=self.epoch,
            offers=tuple(self._offers),
            withdrawn=tuple(self._withdrawn),
            gangs_refused=tuple(self._gangs_refused),
        )
        self._offers.clear()
        self._gangs_refused.clear()
        self._withdrawn.clear()
        return reply

    def offer(self, *tickets: Ticket) -> None:
        self._offers.extend(tickets)
        self._news.set()

    def withdraw(self, number: int) -> None:
        self._withdrawn.append(OfferId(number))
        self._news.set()

    def refuse_gang(self, gang: GangId, why: str) -> None:
        self._gangs_refused.append((gang, why))
        self._news.set()

    def dead_calls_end(self) -> None:
        """Let all calls that hang fail, as Ray does after a while."""
        for call in self._hung:
            if not call.done():
                call.set_exception(AllocatorSilent("the actor died"))
        self._hung.clear()

    def told(self) -> list[DeskReport]:
        """Return the reports since the book was last read."""
        return [line[1] for line in self.asked.read() if line[0] == "exchange"]


@dataclass
class FakeLink:
    """The port `EngineLink`: an engine that runs what it is said to run, until it dies."""

    running: tuple[Grant, ...] | None = ()
    """What it answers to a fence; None is a later epoch's engine."""
    word: Watched = Watched()
    """What it answers to the next watch; the ends in it are told once."""
    started: set[OfferId] = field(default_factory=set)
    """Offers that it says are running when it is asked to void them."""
    asked: Book = field(default_factory=Book)
    _dead: asyncio.Event = field(default_factory=asyncio.Event)
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    async def fence(self, epoch: Epoch, above: OfferId) -> tuple[Grant, ...] | None:
        self.asked.write("fence", epoch, above)
        await self._alive()
        return self.running

    async def void(self, offer_id: OfferId) -> bool:
        self.asked.write("void", offer_id)
        await self._alive()
        return offer_id in self.started

    async def preempt(self, offer_id: OfferId) -> None:
        self.asked.write("preempt", offer_id)
        await self._alive()

    async def watch(self, epoch: Epoch, wait_s: float) -> Watched:
        self.asked.write("watch", epoch, wait_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._dead.wait()
        except TimeoutError:
            said, self.word = (
                self.word,
                Watched(
                    running=self.word.running,
                    broken_reservations=self.word.broken_reservations,
                    superseded=self.word.superseded,
                ),
            )
            return said
        raise NodeGone("the engine died")

    async def left(self) -> None:
        await self._left.wait()

    async def _alive(self) -> None:
        await asyncio.sleep(0)
        if self._dead.is_set():
            raise NodeGone("the engine died")

    def dies(self) -> None:
        self._dead.set()

    def leaves(self) -> None:
        """Be chosen to be stopped."""
        self._left.set()


def phase_done(events: Iterable[PhaseEvent]) -> PhaseDone:
    """Return the end of a phase, which is the last and the only one."""
    *pieces, done = events
    assert isinstance(done, PhaseDone)
    assert all(isinstance(piece, Delta) for piece in pieces)
    return done


def joined(events: Iterable[Any]) -> str:
    """Return the text of all pieces."""
    return "".join(event.text for event in events if isinstance(event, Delta))
