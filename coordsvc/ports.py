"""The outside world, as the inside needs it. Each port has one real and one fake of each kind."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from coordsvc.core.accounting import PhaseEvent, PhaseReport, TurnEvent, TurnResult
from coordsvc.core.dialogue import PhaseWork, TurnRequest
from coordsvc.core.errors import CoordinationError
from coordsvc.core.generation import Chunk, EngineInfo, GenerationRequest
from coordsvc.core.guard import Refusal
from coordsvc.core.offers import Grant
from coordsvc.core.resources import Resources
from coordsvc.core.spans import CheckTold, TurnTold
from coordsvc.core.stretch import Stretch, Stretched
from coordsvc.core.units import Instant, Micros, NodeId
from coordsvc.core.waits import Wait


class Clock(Protocol):
    """Tells the time; never sleeps."""

    def now(self) -> Instant:
        """Return the present instant, on a clock that never steps back."""
        ...


class Engine(Protocol):
    """Turns messages into text on one accelerator. One asyncio loop uses it; it may own threads."""

    async def start(self) -> EngineInfo:
        """Load, warm up and calibrate; raise `EngineBroken` if that fails."""
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the reply as it is made; the last chunk carries the report.

        Closing the generator early (`aclose`, or cancelling its consumer) stops the work at once.
        Raises `ContextTooLong` or `BadRequest` before the first chunk, `EngineBroken` at any time.
        """
        ...

    def running(self) -> int:
        """Return how many requests are inside, waiting ones included."""
        ...

    def check(self) -> None:
        """Raise `EngineBroken` if the engine can no longer work (say, its thread died)."""
        ...

    async def stop(self) -> None:
        """End all work and free what is held; calling it twice does no harm."""
        ...


class Engines(Protocol):
    """The engine replicas, as an agent calls them: each call goes to the node its grant names."""

    def run(
        self, request: GenerationRequest, grant: Grant, *, stream: bool
    ) -> AsyncGenerator[Chunk]:
        """Yield the reply; in one piece unless `stream`. The last chunk carries the report.

        Raises `NodeGone`, `GrantRefused` (nothing ran), and whatever `Engine.generate` raises.
        """
        ...


class OfferDesk(Protocol):
    """Where an agent takes offers from."""

    async def take(self, used: Resources, wait: Wait) -> Grant:
        """Return a grant as soon as there is one; raise `DeadlinePassed` at the wait's deadline."""
        ...

    def finished(
        self, grant: Grant, compute_us: Micros = Micros(0), *, late: bool = False, phase: str = ""
    ) -> None:
        """Pass on the engine's word that nothing runs under the grant any more.

        `compute_us`: engine time of its phase; `late`: its turn's deadline had passed; `phase`:
        which one it was.
        """
        ...

    def uncertain(self, grant: Grant) -> None:
        """Take note that nobody here knows what became of the grant; its engine will tell."""
        ...

    def refused(self, grant: Grant, refusal: Refusal) -> None:
        """Take note that the engine does not honour the grant."""
        ...

    def node_lost(self, node: NodeId) -> None:
        """Take note that the node is dead."""
        ...


class Agents(Protocol):
    """The agents' deployments, as the conductor of a turn calls them."""

    def work(self, work: PhaseWork) -> AsyncGenerator[PhaseEvent]:
        """Yield the phase's pieces (only if `work.stream`), then exactly one `PhaseDone`.

        Raises `AgentGone` when the replica dies; `BadRequest`, `Overloaded`, `DeadlinePassed`.
        """
        ...


class Trainee(Protocol):
    """An agent's training on one node. One thread at a time uses it."""

    def train(self, stretch: Stretch, stop: Callable[[], bool]) -> Stretched:
        """Train on to the end of the stretch, or until `stop` says so, and write a checkpoint.

        Raises `BadRequest` for checkpoints that are not of this training, `EngineBroken` where it
        cannot go on.
        """
        ...


class Trainers(Protocol):
    """The nodes that train, as a training agent calls them."""

    async def train(self, stretch: Stretch, grant: Grant) -> Stretched:
        """Have the stretch trained on the node that the grant names.

        Raises `NodeGone`, `GrantRefused` (what was trained is in a checkpoint, if anything was),
        and whatever `Trainee.train` raises.
        """
        ...


class TurnRecorder(Protocol):
    """Whoever keeps count of turns."""

    def answered(self, result: TurnResult) -> None:
        """Count a turn whose reply has been handed over; must not block."""
        ...

    def checked_late(self, phases: tuple[PhaseReport, ...]) -> None:
        """Count a check that ended after its turn was counted: the last of the turn's phases."""
        ...

    def check_lost(self, turn_id: str, error: CoordinationError) -> None:
        """Count a check after the reply that could not be run."""
        ...


class TurnTracer(Protocol):
    """Whoever keeps the traces of turns; told of those alone that have a trace context."""

    def turn(self, told: TurnTold) -> None:
        """Trace a turn that is over; must not block."""
        ...

    def check(self, told: CheckTold) -> None:
        """Trace a check that ran after its turn; must not block."""
        ...


class Turns(Protocol):
    """Whoever answers turns, as the HTTP door needs it."""

    def converse(self, request: TurnRequest, arrived: Instant) -> AsyncGenerator[TurnEvent]:
        """Yield the reply's pieces (only if `request.stream`), then exactly one `TurnResult`.

        `arrived` is when the request's last byte was in. Closing the generator ends the turn and
        gives back all that it holds. Raises `BadRequest`, `Overloaded`, `DeadlinePassed`.
        """
        ...

    def find(self, turn_id: str) -> TurnResult | None:
        """Return a recent turn, its check after the reply included once that has run."""
        ...

    def sent(self, turn_id: str, serialise_us: Micros, client_wait_us: Micros) -> None:
        """Take note of what the reply's last step cost, after its last byte was handed over."""
        ...

    def unsent(self, turn_id: str) -> None:
        """Take note that the client left with the turn's result in, and its reply not all sent."""
        ...
