"""The conductor of turns: asks the dialogue what is next, has it done, and closes the account."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from coordsvc.agents.traces import Traces
from coordsvc.agents.turn import Turn
from coordsvc.core.accounting import (
    Delta,
    PhaseDone,
    PhaseSpan,
    TurnEvent,
    TurnResult,
    close,
)
from coordsvc.core.costs import PhaseCosts
from coordsvc.core.dialogue import (
    SPOKEN,
    Dialogue,
    PhaseWork,
    Reply,
    Rules,
    Run,
    TurnRequest,
    Verdict,
)
from coordsvc.core.errors import AgentGone, CoordinationError, DeadlinePassed
from coordsvc.core.generation import prefix_key, under_adapter
from coordsvc.core.spans import CLIENT_GONE
from coordsvc.core.units import MILLISECOND, SECOND, Instant, Micros, NodeId, after, since
from coordsvc.ports import Agents, Clock, TurnRecorder, TurnTracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the conductor."""

    agent_losses_max: int = 8
    """Replicas that may die under one phase before the turn is given up."""
    loss_pause_us: Micros = Micros(50 * MILLISECOND)
    """Before the third try; doubled before each later one. The second is made at once."""
    loss_pause_max_us: Micros = Micros(SECOND)
    """Of one pause. Eight losses pause for some 4 s: a restarted replica, a broken connection."""
    turns_remembered_max: int = 1_024
    """Finished turns that can still be asked about."""
    homes_remembered_max: int = 4_096
    """Conversations of which the node is remembered that has them cached."""


class Conductor:
    """Answers turns: runs their phases one after another, and accounts for every second."""

    def __init__(
        self,
        agents: Agents,
        rules: Rules,
        clock: Clock,
        recorder: TurnRecorder,
        limits: Limits = Limits(),
        tracer: TurnTracer | None = None,
    ) -> None:
        self._agents = agents
        self._rules = rules
        self._clock = clock
        self._recorder = recorder
        self._limits = limits
        self._traces = Traces(tracer, clock)
        self._recent: OrderedDict[str, TurnResult] = OrderedDict()
        self._costs = PhaseCosts()
        self._homes: OrderedDict[str, NodeId] = OrderedDict()
        """Where each conversation was last computed, by its prefix's name."""
        self._unsent: set[str] = set()
        """Of those, the ones whose account is still open."""
        self._after_reply: set[asyncio.Task[None]] = set()

    async def converse(self, request: TurnRequest, arrived: Instant) -> AsyncGenerator[TurnEvent]:
        """Yield the reply's pieces (only if `request.stream`), then exactly one `TurnResult`."""
        dialogue = Dialogue(self._rules, request.mode)
        begun = self._clock.now()
        turn = Turn(
            request,
            arrived,
            after(arrived, request.deadline_us),
            since(arrived, begun),
            prefix_key(request.conversation),
        )
        live = request.stream and dialogue.streams
        step = dialogue.start()
        try:
            while isinstance(step, Run):
                async with aclosing(self._phase(turn, step, live=live)) as pieces:
                    async for piece in pieces:
                        yield piece
                step = dialogue.finished(_outcome(turn))
            if request.stream and not live:
                yield Delta(step.text)
        except BaseException as error:
            self._traces.broken(turn, error)
            raise
        result = self._close(turn, step)
        self._unsent.add(request.turn_id)
        self._remember(request.turn_id, result)
        if step.then is not None:
            self._continue(turn, dialogue, step.then, result)
        yield result

    def find(self, turn_id: str) -> TurnResult | None:
        """Return a recent turn, its check after the reply included once that has run."""
        return self._recent.get(turn_id)

    def sent(self, turn_id: str, serialise_us: Micros, client_wait_us: Micros) -> None:
        """Add what the reply's last step cost, and count the turn; once, however often called."""
        if turn_id not in self._unsent:
            return
        self._unsent.discard(turn_id)
        result = self._recent[turn_id]
        account = result.account
        parts = {**account.parts, "ingress": Micros(account.parts["ingress"] + serialise_us)}
        whole = replace(
            account,
            wall_us=Micros(account.wall_us + serialise_us),
            parts=parts,
            client_wait_us=client_wait_us,
        )
        self._remember(turn_id, replace(result, account=whole))
        self._recorder.answered(self._recent[turn_id])
        self._traces.sent(turn_id, self._recent[turn_id])

    def unsent(self, turn_id: str) -> None:
        """Take note that the client left with the turn's result in, and its reply not all sent."""
        self._unsent.discard(turn_id)
        if turn_id in self._recent:
            self._traces.sent(turn_id, self._recent[turn_id], CLIENT_GONE)

    async def _phase(self, turn: Turn, run: Run, *, live: bool) -> AsyncGenerator[Delta]:
        """Run one phase, elsewhere if its replica dies; leave its outcome in `turn.done`."""
        started, lost_us, losses = self._clock.now(), 0, 0
        turn.doing = run, started
        streams = live and run.phase in SPOKEN
        text = ""
        while True:
            attempt = self._clock.now()
            work = self._work(turn, run, text, stream=streams)
            try:
                async with aclosing(self._agents.work(work)) as events:
                    while True:
                        async with asyncio.timeout(self._left_s(turn)):
                            event = await anext(events)
                        if isinstance(event, PhaseDone):
                            break
                        text += event.text
                        yield event
            except TimeoutError:
                raise DeadlinePassed(f"{run.phase} was not done in time") from None
            except AgentGone:
                losses += 1
                if losses > self._limits.agent_losses_max:
                    raise
                await self._pause(turn, run, losses)
                lost_us += since(attempt, self._clock.now())
                continue
            self._book(turn, run, event, started, Micros(lost_us))
            return

    async def _pause(self, turn: Turn, run: Run, losses: int) -> None:
        """Wait before a phase that has lost `losses` replicas is sent again.

        A connection that broke is refused at once for a while, and so is every try meanwhile.
        """
        if losses == 1:
            return
        longer = self._limits.loss_pause_us << (losses - 2)
        pause_s, left_s = min(longer, self._limits.loss_pause_max_us) / SECOND, self._left_s(turn)
        await asyncio.sleep(min(pause_s, left_s))
        if pause_s >= left_s:
            raise DeadlinePassed(f"{run.phase} was not done in time")

    def _work(self, turn: Turn, run: Run, prefix: str, *, stream: bool) -> PhaseWork:
        request = turn.request
        adapter = self._rules.adapter(run.agent)
        key = under_adapter(turn.prefix_key, adapter)
        alike = [span.report for span in turn.spans if span.report.adapter == adapter]
        return PhaseWork(
            turn_id=request.turn_id,
            run=run,
            conversation=request.conversation,
            max_tokens=request.max_tokens,
            sampling=request.sampling,
            stream=stream,
            left_us=Micros(max(0, turn.deadline - self._clock.now())),
            prefix=prefix,
            warm_tokens=max((report.shared_tokens for report in alike), default=0),
            near=alike[-1].node if alike else self._homes.get(key),
            prefix_key=key,
            adapter=adapter,
            turn_us=since(turn.arrived, self._clock.now()),
            attained_us=Micros(sum(span.report.compute_us for span in turn.spans)),
            cost_us=self._costs.of(run.phase),
            rest_us=self._costs.rest(run.phase, self._rules),
            tenant=request.tenant,
            traced=request.trace is not None,
        )

    def _book(
        self, turn: Turn, run: Run, done: PhaseDone, started: Instant, lost_us: Micros
    ) -> None:
        before = (len(turn.spans) - 1,) if turn.spans else ()
        turn.spans.append(
            PhaseSpan(
                report=done.report,
                started=started,
                ended=self._clock.now(),
                retry_us=lost_us,
                predecessors=before,
                finish=done.finish,
            )
        )
        turn.done, turn.doing = done, None
        if run.phase in SPOKEN:
            turn.spoke = done
        self._costs.took(run.phase, done.report.compute_us)
        if done.report.node is not None:
            key = under_adapter(turn.prefix_key, done.report.adapter)
            self._homes[key] = done.report.node
            self._homes.move_to_end(key)
            if len(self._homes) > self._limits.homes_remembered_max:
                self._homes.popitem(last=False)

    def _left_s(self, turn: Turn) -> float:
        return max(0, turn.deadline - self._clock.now()) / SECOND

    def _close(self, turn: Turn, reply: Reply) -> TurnResult:
        assert turn.spoke is not None, "a turn ends after a draft"
        reports = tuple(span.report for span in turn.spans)
        self._traces.replied(turn)
        account = close(
            tuple(turn.spans),
            wall_us=since(turn.arrived, self._clock.now()),
            ingress_us=turn.ingress_us,
            reply=len(turn.spans) - 1,
        )
        return TurnResult(
            text=reply.text,
            finish=turn.spoke.finish,
            prompt_tokens=sum(report.prompt_tokens for report in reports),
            output_tokens=sum(report.output_tokens for report in reports),
            reply_tokens=turn.spoke.report.output_tokens,
            verdict=reply.verdict,
            gave_up=reply.gave_up,
            account=account,
            tenant=turn.request.tenant,
            phases=reports,
        )

    def _continue(self, turn: Turn, dialogue: Dialogue, then: Run, result: TurnResult) -> None:
        """Run what comes after the reply, beside whatever the caller does next."""
        task = asyncio.create_task(self._after(turn, dialogue, then, result))
        self._after_reply.add(task)
        task.add_done_callback(self._after_reply.discard)

    async def _after(self, turn: Turn, dialogue: Dialogue, then: Run, result: TurnResult) -> None:
        replied = len(turn.spans) - 1
        try:
            async with aclosing(self._phase(turn, then, live=False)) as pieces:
                async for _ in pieces:
                    pass
        except CoordinationError as error:
            self._recorder.check_lost(turn.request.turn_id, error)
            self._traces.check(turn, replied + 1, error)
            return
        last = dialogue.finished(_outcome(turn))
        assert isinstance(last, Reply), "a check after the reply ends the turn"
        spent = turn.spans[replied + 1].wall_us
        current = self._recent.get(turn.request.turn_id, result)
        self._remember(
            turn.request.turn_id,
            replace(
                current,
                verdict=last.verdict,
                account=replace(current.account, post_reply_us=spent),
                phases=tuple(span.report for span in turn.spans),
            ),
        )
        if turn.request.turn_id not in self._unsent:
            self._recorder.checked_late(tuple(span.report for span in turn.spans))
        self._traces.check(turn, replied + 1)

    def _remember(self, turn_id: str, result: TurnResult) -> None:
        self._recent[turn_id] = result
        while len(self._recent) > self._limits.turns_remembered_max:
            forgotten, _ = self._recent.popitem(last=False)
            self._unsent.discard(forgotten)
            self._traces.forget(forgotten)


def _outcome(turn: Turn) -> str | Verdict:
    """Return what the phase that has just ended came to."""
    assert turn.done is not None
    return turn.done.text if turn.done.verdict is None else turn.done.verdict
