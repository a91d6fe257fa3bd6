"""What a conductor tells of traced turns, once they are over; of others it tells nothing."""

from coordsvc.agents.turn import Turn
from coordsvc.core.accounting import TurnResult
from coordsvc.core.errors import CoordinationError
from coordsvc.core.spans import CLIENT_GONE, CheckTold, PhaseBroken, TurnTold
from coordsvc.core.units import after
from coordsvc.ports import Clock, TurnTracer


class Traces:
    """Keeps traced turns until their account is closed, and tells the tracer of them."""

    def __init__(self, tracer: TurnTracer | None, clock: Clock) -> None:
        self._tracer = tracer
        self._clock = clock
        self._open: dict[str, Turn] = {}

    def replied(self, turn: Turn) -> None:
        """Keep a turn that has its result; its account still lacks the last step."""
        if turn.request.trace is not None:
            turn.replied = len(turn.spans)
            self._open[turn.request.turn_id] = turn

    def forget(self, turn_id: str) -> None:
        """Keep a turn no longer; nobody will tell of its last step."""
        self._open.pop(turn_id, None)

    def sent(self, turn_id: str, result: TurnResult, error: str = "") -> None:
        """Tell of a turn whose account is closed; with `error`, of one that nobody waited for."""
        turn = self._open.pop(turn_id, None)
        if turn is None or turn.request.trace is None or self._tracer is None:
            return
        self._tracer.turn(
            TurnTold(
                context=turn.request.trace,
                turn_id=turn_id,
                arrived=turn.arrived,
                ended=after(turn.arrived, result.account.wall_us),
                request=turn.request,
                spans=tuple(turn.spans[: turn.replied]),
                result=result,
                error=error,
            )
        )

    def broken(self, turn: Turn, error: BaseException) -> None:
        """Tell of a turn that comes to no result: it failed, or its client left."""
        if turn.request.trace is None or self._tracer is None:
            return
        named = type(error).__name__ if isinstance(error, Exception) else CLIENT_GONE
        self._tracer.turn(
            TurnTold(
                context=turn.request.trace,
                turn_id=turn.request.turn_id,
                arrived=turn.arrived,
                ended=self._clock.now(),
                request=turn.request,
                spans=tuple(turn.spans),
                broken=self._phase(turn),
                error=named,
            )
        )

    def check(self, turn: Turn, number: int, error: CoordinationError | None = None) -> None:
        """Tell of a check after the reply, the turn's phase `number`; with `error`, of its end."""
        if turn.request.trace is None or self._tracer is None:
            return
        lost = error is not None
        self._tracer.check(
            CheckTold(
                context=turn.request.trace,
                number=number,
                span=None if lost else turn.spans[number],
                broken=self._phase(turn) if lost else None,
                error=type(error).__name__ if lost else "",
            )
        )

    def _phase(self, turn: Turn) -> PhaseBroken | None:
        """Return the phase that was under way, if one was."""
        if turn.doing is None:
            return None
        run, started = turn.doing
        return PhaseBroken(run=run, started=started, ended=self._clock.now())
