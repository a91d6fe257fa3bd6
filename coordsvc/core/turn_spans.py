"""A turn as the spans of a trace, made after it from its account: they add up to it.

    invoke_workflow coordsvc      the turn: W, from its request's last byte to its reply's
      invoke_agent planner        a phase, as the ingress saw it; what it waited for as events
        chat <model>              its engine, inside
      invoke_agent responder
        chat <model>
      invoke_agent checker        after the turn's end, if the check came after the reply

Each second of W stands once as an attribute: on the span that spent it, as `coordsvc.solo_s` or
`coordsvc.part.<part>_s`. Summed over the trace these are the turn's account. Phases that the reply
did not wait for say `coordsvc.beside.` instead, and so are in no sum.

Clocks of two machines are never subtracted. Agents and engines tell durations; these are laid into
the ingress's span of the phase, with what a call took beyond its callee's own time split evenly
before and after it. So a begin inside a phase may be off by half a call; no duration is.
"""

import json
from collections.abc import Iterator, Mapping

from coordsvc.core.accounting import (
    PARTS,
    OfferTaken,
    Part,
    PhaseReport,
    PhaseSpan,
    TurnResult,
    critical_path,
    phase_parts,
)
from coordsvc.core.semconv import (
    AGENT_NAME,
    CACHED_TOKENS,
    ERROR_TYPE,
    FINISH_REASONS,
    INPUT_MESSAGES,
    INPUT_TOKENS,
    MAX_TOKENS,
    OPERATION,
    OUTPUT_MESSAGES,
    OUTPUT_TOKENS,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    TEMPERATURE,
    WORKFLOW_NAME,
)
from coordsvc.core.spans import (
    SERVICE,
    CheckTold,
    Named,
    PhaseBroken,
    Span,
    SpanEvent,
    TurnTold,
    Value,
)
from coordsvc.core.trace import TraceContext
from coordsvc.core.units import SECOND, Instant, Micros

ENGINES_OWN: frozenset[Part] = frozenset({"engine_queue", "contention", "refill"})
"""The parts that an engine's span has; the rest of a phase's are the phase's."""


def turn_spans(turn: TurnTold, named: Named) -> Iterator[Span]:
    """Yield the spans of a turn, the whole turn's first."""
    attributes = dict(_turn_attributes(turn, named))
    yield Span(
        name=f"invoke_workflow {SERVICE}",
        kind="server",
        span_id=turn.context.span_id,
        parent_id=turn.context.parent_id,
        started=turn.arrived,
        ended=max(turn.arrived, turn.ended),
        attributes=attributes,
        failed=bool(turn.error),
    )
    path = set(critical_path(turn.spans, len(turn.spans) - 1)) if turn.spans else set[int]()
    for number, span in enumerate(turn.spans):
        yield from _phase(turn.context, number, span, named, counted=number in path)
    if turn.broken is not None:
        yield _broken(turn.context, len(turn.spans), turn.broken, turn.error, named)


def check_spans(check: CheckTold, named: Named) -> Iterator[Span]:
    """Yield the spans of a check after the reply, linked to the phase whose words it checks."""
    links = (_phase_id(check.context, check.number - 1),)
    if check.span is not None:
        span = check.span
        yield from _phase(check.context, check.number, span, named, counted=False, links=links)
    if check.broken is not None:
        yield _broken(check.context, check.number, check.broken, check.error, named, links)


def _turn_attributes(turn: TurnTold, named: Named) -> Iterator[tuple[str, Value]]:
    yield OPERATION, "invoke_workflow"
    yield PROVIDER, SERVICE
    yield WORKFLOW_NAME, SERVICE
    yield REQUEST_MODEL, named.model
    yield "coordsvc.turn.id", turn.turn_id
    if turn.request is not None:
        yield MAX_TOKENS, turn.request.max_tokens
        yield TEMPERATURE, turn.request.sampling.temperature
        yield "coordsvc.turn.mode", turn.request.mode.value
    if turn.result is not None:
        yield from _outcome(turn.result)
    if turn.error:
        yield ERROR_TYPE, turn.error
    if named.text_chars_max:
        yield from _texts(turn, named.text_chars_max)


def _outcome(result: TurnResult) -> Iterator[tuple[str, Value]]:
    account = result.account
    yield FINISH_REASONS, (result.finish,)
    yield "coordsvc.turn.gave_up", result.gave_up
    yield "coordsvc.turn.emulated", account.emulated
    yield "coordsvc.turn.wall_s", _s(account.wall_us)
    yield "coordsvc.turn.solo_s", _s(account.solo_us)
    yield "coordsvc.turn.c_coord_s", _s(account.c_coord_us)
    yield "coordsvc.turn.client_wait_s", _s(account.client_wait_us)
    yield "coordsvc.turn.off_path_s", _s(account.off_path_us)
    own: dict[Part, int] = {part: account.parts.get(part, 0) for part in PARTS}
    for phase in account.phases:
        for part, spent in phase.parts.items():
            own[part] -= spent
    for part, rest in own.items():
        if rest:
            yield f"coordsvc.part.{part}_s", _s(Micros(rest))


def _texts(turn: TurnTold, chars_max: int) -> Iterator[tuple[str, Value]]:
    """Yield what was said, in the conventions' JSON; of each message its beginning."""
    if turn.request is not None:
        yield (
            INPUT_MESSAGES,
            json.dumps(
                [
                    _message(message.speaker, message.text[:chars_max])
                    for message in turn.request.conversation
                ]
            ),
        )
    if turn.result is not None:
        said = _message("assistant", turn.result.text[:chars_max])
        yield OUTPUT_MESSAGES, json.dumps([{**said, "finish_reason": turn.result.finish}])


def _message(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _phase(
    context: TraceContext,
    number: int,
    span: PhaseSpan,
    named: Named,
    *,
    counted: bool,
    links: tuple[int, ...] = (),
) -> Iterator[Span]:
    """Yield a phase and its engine's work; `counted` if the reply waited for it."""
    report, kind = span.report, "part" if counted else "beside"
    spent = {part: cost for part, cost in phase_parts(span) if cost}
    arrived = _arrival(span)
    yield Span(
        name=f"invoke_agent {report.agent}",
        kind="client",
        span_id=_phase_id(context, number),
        parent_id=context.span_id,
        started=span.started,
        ended=span.ended,
        attributes={
            **_agent_attributes(report, span.finish, named),
            **_costs(kind, {part: spent[part] for part in spent if part not in ENGINES_OWN}),
        },
        events=tuple(sorted(_events(span, arrived), key=lambda event: event.at)),
        links=links,
    )
    began = _within(span, arrived + _engine_began(report))
    yield Span(
        name=f"chat {named.engine_model}",
        kind="client",
        span_id=_engine_id(context, number),
        parent_id=_phase_id(context, number),
        started=began,
        ended=_within(span, began + report.engine_us),
        attributes={
            **_engine_attributes(report, span.finish, named),
            **_costs(kind, {part: spent[part] for part in spent if part in ENGINES_OWN}),
            ("coordsvc.solo_s" if counted else "coordsvc.beside.solo_s"): _s(report.solo_us),
        },
        events=(
            SpanEvent(
                name="coordsvc.engine.started",
                at=_within(span, began + report.queue_us),
                attributes={"coordsvc.engine.queued_s": _s(report.queue_us)},
            ),
        ),
    )


def _broken(
    context: TraceContext,
    number: int,
    broken: PhaseBroken,
    error: str,
    named: Named,
    links: tuple[int, ...] = (),
) -> Span:
    """Return a phase that came to no end: what it cost, only its agent could have told."""
    return Span(
        name=f"invoke_agent {broken.run.agent}",
        kind="client",
        span_id=_phase_id(context, number),
        parent_id=context.span_id,
        started=broken.started,
        ended=max(broken.started, broken.ended),
        attributes={
            OPERATION: "invoke_agent",
            PROVIDER: SERVICE,
            AGENT_NAME: broken.run.agent,
            REQUEST_MODEL: named.model,
            "coordsvc.phase": broken.run.phase.value,
            ERROR_TYPE: error,
        },
        links=links,
        failed=True,
    )


def _agent_attributes(report: PhaseReport, finish: str, named: Named) -> dict[str, Value]:
    return {
        OPERATION: "invoke_agent",
        PROVIDER: SERVICE,
        AGENT_NAME: report.agent,
        REQUEST_MODEL: named.model,
        INPUT_TOKENS: report.prompt_tokens,
        OUTPUT_TOKENS: report.output_tokens,
        FINISH_REASONS: (finish,),
        "coordsvc.phase": report.phase.value,
        "coordsvc.attempts": report.attempts,
        "coordsvc.agent_s": _s(report.agent_us),
    }


def _engine_attributes(report: PhaseReport, finish: str, named: Named) -> dict[str, Value]:
    return {
        OPERATION: "chat",
        PROVIDER: named.engine,
        REQUEST_MODEL: named.model,
        RESPONSE_MODEL: named.engine_model,
        INPUT_TOKENS: report.prompt_tokens,
        CACHED_TOKENS: report.cached_tokens,
        OUTPUT_TOKENS: report.output_tokens,
        FINISH_REASONS: (finish,),
        "coordsvc.node": report.node or "",
        "coordsvc.engine.compute_s": _s(report.compute_us),
        "coordsvc.engine.emulated": report.emulated,
    }


def _costs(kind: str, spent: Mapping[Part, Micros]) -> dict[str, Value]:
    return {f"coordsvc.{kind}.{part}_s": _s(cost) for part, cost in spent.items()}


def _events(span: PhaseSpan, arrived: Instant) -> Iterator[SpanEvent]:
    if span.retry_us:
        yield SpanEvent(
            name="coordsvc.agent.lost",
            at=_within(span, span.started + span.retry_us),
            attributes={"coordsvc.lost_s": _s(span.retry_us)},
        )
    for attempt, offer in enumerate(span.report.offers, start=1):
        named: dict[str, Value] = {
            "coordsvc.offer.epoch": offer.epoch,
            "coordsvc.offer.id": offer.offer_id,
            "coordsvc.attempt": attempt,
        }
        yield SpanEvent(
            name="coordsvc.offer.taken",
            at=_within(span, arrived + offer.taken_us),
            attributes=named
            | {
                "coordsvc.offer.use": offer.use,
                "coordsvc.offer.wait_s": _s(offer.wait_us),
                "coordsvc.node": offer.node,
            },
        )
        if offer.lost:
            yield SpanEvent(
                name="coordsvc.attempt.lost",
                at=_within(span, arrived + offer.ended_us),
                attributes=named | {ERROR_TYPE: offer.lost, "coordsvc.lost_s": _s(_held(offer))},
            )


def _held(offer: OfferTaken) -> Micros:
    return Micros(offer.ended_us - offer.taken_us)


def _arrival(span: PhaseSpan) -> Instant:
    """Return when the phase reached its agent, half of what the call took before the rest."""
    call_us = span.wall_us - span.retry_us - span.report.agent_us
    return Instant(span.started + span.retry_us + max(0, call_us) // 2)


def _engine_began(report: PhaseReport) -> int:
    """Return how long after the phase's arrival the engine had its request."""
    asked = report.offer_wait_us + report.retry_us
    if report.offers:
        asked = report.offers[-1].taken_us
    return asked + max(0, report.engine_call_us - report.engine_us) // 2


def _within(span: PhaseSpan, at: int) -> Instant:
    """Return the instant, or the phase's edge if clocks that run unevenly put it outside."""
    return Instant(min(max(at, span.started), span.ended))


def _phase_id(context: TraceContext, number: int) -> int:
    return context.child(2 * number)


def _engine_id(context: TraceContext, number: int) -> int:
    return context.child(2 * number + 1)


def _s(amount: Micros) -> float:
    return amount / SECOND
