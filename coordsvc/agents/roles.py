"""What each agent asks the model, and how it reads the answer.

Every agent's prompt begins with the same messages (`shared`), and its own instruction comes after:
so an engine that has read the conversation for one agent has it cached for the next. A short last
message is said again at the very end: small models answer what they read last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from json import dumps, loads
from typing import Any

from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase, PhaseWork, Verdict
from coordsvc.core.generation import GenerationRequest, Message, Sampling
from coordsvc.core.units import AgentId

HOUSE_RULES = "You are one of several assistants who answer the user together. Be brief and exact."

VERDICT_SCHEMA = dumps(
    {
        "type": "object",
        "properties": {
            "accept": {"type": "boolean"},
            "score": {"type": "integer", "minimum": 0, "maximum": 10},
            "reason": {"type": "string", "maxLength": 120},
        },
        "required": ["accept", "score", "reason"],
        "additionalProperties": False,
    }
)
VERDICT_TOKENS = 72
"""Enough for the longest verdict that the schema admits."""
UNREADABLE = Verdict(accept=False, score=0, reason="the checker's answer could not be read")
SCORE_MAX = 10
REPEATED_CHARS_MAX = 1_000
"""A longer last message is not said again: it would cost more context than it helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many tokens the phases that the user does not see may write."""

    plan_tokens: int = 48
    check_tokens: int = VERDICT_TOKENS


@dataclass(frozen=True, slots=True)
class Role:
    """One agent: how it asks, and how it reads the answer."""

    agent: AgentId
    ask: Callable[[PhaseWork, Budget], GenerationRequest]
    read: Callable[[str], Verdict | None]


def shared(conversation: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages with which every agent's prompt of this turn begins."""
    first = conversation[0]
    if first.speaker == "system":
        return (Message("system", f"{HOUSE_RULES}\n\n{first.text}"), *conversation[1:])
    return (Message("system", HOUSE_RULES), *conversation)


def _request(
    work: PhaseWork,
    instruction: str,
    max_tokens: int,
    sampling: Sampling,
    *,
    repeat: bool = True,
    **more: Any,
) -> GenerationRequest:
    common = shared(work.conversation)
    last = work.conversation[-1]
    again = (last,) if repeat and len(last.text) <= REPEATED_CHARS_MAX else ()
    return GenerationRequest(
        prefix_key=work.prefix_key,
        adapter=work.adapter,
        messages=(*common, Message("system", instruction), *again),
        max_new_tokens=max_tokens,
        sampling=sampling,
        prefix=work.prefix,
        shared_messages=len(common),
        warm_tokens=work.warm_tokens,
        **more,
    )


def _inner(work: PhaseWork) -> Sampling:
    """Return the user's sampling less the stop strings, for what the user does not see."""
    chosen = work.sampling
    return Sampling(temperature=chosen.temperature, top_p=chosen.top_p, seed=chosen.seed)


def _plan(work: PhaseWork, budget: Budget) -> GenerationRequest:
    return _request(
        work,
        "Plan the answer: say in one short sentence which facts it must contain.",
        budget.plan_tokens,
        _inner(work),
        # what later phases add to this very prompt: the reply, then its verdict
        headroom_tokens=2 * work.max_tokens + budget.check_tokens,
    )


def _respond(work: PhaseWork, budget: Budget) -> GenerationRequest:
    del budget
    if work.run.phase is Phase.REVISE:
        reason = work.run.verdict.reason if work.run.verdict else ""
        instruction = (
            f"A first answer was: {work.run.draft}\nA checker objected: {reason}\nAnswer better."
        )
    else:
        instruction = f"Notes for the answer: {work.run.plan}"
    return _request(work, instruction, work.max_tokens, work.sampling)


def _check(work: PhaseWork, budget: Budget) -> GenerationRequest:
    return _request(
        work,
        f"This answer is to be checked: {work.run.draft}\n"
        "Is it correct, complete and polite? Judge it as JSON: accept, score from 0 to 10, reason.",
        budget.check_tokens,
        _inner(work),
        repeat=False,
        json_schema=VERDICT_SCHEMA,
    )


def read_verdict(text: str) -> Verdict:
    """Return the verdict in a checker's answer; one that cannot be read rejects, and says so."""
    start, end = text.find("{"), text.rfind("}")
    try:
        said = loads(text[start : end + 1])
    except (ValueError, RecursionError):  # not JSON; a number, or a depth, that Python refuses
        return UNREADABLE
    if not isinstance(said, dict) or not isinstance(said.get("accept"), bool):
        return UNREADABLE
    score = said.get("score")
    if isinstance(score, bool) or not isinstance(score, int):
        return UNREADABLE
    return Verdict(
        accept=said["accept"],
        score=min(SCORE_MAX, max(0, score)),
        reason=_speakable(str(said.get("reason", ""))),
    )


def _speakable(text: str) -> str:
    """Return the text less the halves of characters that JSON can say and no encoding can."""
    return text.encode(errors="replace").decode()


def _no_verdict(text: str) -> None:
    del text


ROLES: dict[AgentId, Role] = {
    PLANNER: Role(PLANNER, _plan, _no_verdict),
    RESPONDER: Role(RESPONDER, _respond, _no_verdict),
    CHECKER: Role(CHECKER, _check, read_verdict),
}
