"""A turn's result in OpenAI's words, with the account of its time as an extension."""

import json
from dataclasses import dataclass

from coordsvc.core.accounting import PhaseReport, TurnAccount, TurnResult
from coordsvc.core.dialogue import Phase, TurnRequest
from coordsvc.core.units import SECOND, Micros

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How the reply to one request is worded, whole (`completion`) or in chunks."""

    turn: TurnRequest
    model: str
    created: int
    """When the request came, in Unix seconds."""
    account: bool
    """Whether the client wants to know where the time went."""
    usage: bool = False
    """Whether the client wants a last chunk that counts tokens."""
    emulated: bool = False
    """Whether the text is known beforehand to be made up."""

    def completion(self, result: TurnResult) -> bytes:
        """Return the whole reply, as a `chat.completion`."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": result.text, "refusal": None},
            "logprobs": None,
            "finish_reason": result.finish,
        }
        reply = self._head("chat.completion", result)
        reply |= {"choices": [choice], "usage": usage(result), "coordsvc": self._extra(result)}
        return as_json(reply)

    def opening(self) -> bytes:
        """Return the first chunk, which says who speaks."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def frame(self) -> tuple[bytes, bytes]:
        """Return what stands before and after the JSON of a piece of text in its chunk.

        Only the text differs between a reply's chunks, so only the text is serialised for each.
        """
        before, after = self._chunk({"content": ""}).split(b'"content":""')
        return before + b'"content":', after

    def closing(self, result: TurnResult) -> bytes:
        """Return the last chunks: why it ended, the extension, tokens if wanted, the end."""
        last = self._chunk({}, result)
        if self.usage:
            counted = self._head("chat.completion.chunk", result)
            last += event(counted | {"choices": [], "usage": usage(result)})
        return last + b"data: [DONE]\n\n"

    def _chunk(self, delta: Json, result: TurnResult | None = None) -> bytes:
        chunk = self._head("chat.completion.chunk", result)
        finish = None if result is None else result.finish
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk["choices"] = [choice]
        if self.usage:
            chunk["usage"] = None
        if result is not None:
            chunk["coordsvc"] = self._extra(result)
        return event(chunk)

    def _head(self, kind: str, result: TurnResult | None) -> Json:
        made_up = self.emulated or (result is not None and result.account.emulated)
        return {
            "id": "chatcmpl-" + self.turn.turn_id.removeprefix("turn-"),
            "object": kind,
            "created": self.created,
            "model": f"{self.model} (emulated)" if made_up else self.model,
            "system_fingerprint": "fp_coordsvc_emulated" if made_up else "fp_coordsvc",
        }

    def _extra(self, result: TurnResult) -> Json:
        extra: Json = {"turn_id": self.turn.turn_id, "mode": self.turn.mode}
        extra |= outcome(result)
        if self.account:
            extra["account"] = account(result)
        return extra


def event(value: Json) -> bytes:
    """Return `value` as one server-sent event."""
    return b"data: " + as_json(value) + b"\n\n"


def as_json(value: Json | str) -> bytes:
    """Return `value` as JSON in ASCII: some clients split events at U+2028 and U+0085, too."""
    return json.dumps(value, separators=(",", ":")).encode()


def usage(result: TurnResult) -> Json:
    """Return the tokens of the reply, and of the prompt it was first drafted from.

    What planning and checking read and wrote is in the account, not here.
    """
    drafts = (phase for phase in result.phases if phase.phase is Phase.RESPOND)
    draft = next(drafts, None)
    prompt = result.prompt_tokens if draft is None else draft.prompt_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": result.reply_tokens,
        "total_tokens": prompt + result.reply_tokens,
    }


def outcome(result: TurnResult) -> Json:
    """Return what became of the turn, beside its text."""
    verdict = result.verdict
    judged = verdict and {
        "accept": verdict.accept,
        "score": verdict.score,
        "reason": verdict.reason,
    }
    return {
        "emulated": result.account.emulated,
        "gave_up": result.gave_up,
        "verdict": judged,
    }


def account(result: TurnResult) -> Json:
    """Return where the turn's time and tokens went; durations in seconds."""
    return {
        **_times(result.account),
        "phases": [_phase(report) for report in result.phases],
        "prompt_tokens": result.prompt_tokens,
        "output_tokens": result.output_tokens,
        "reply_tokens": result.reply_tokens,
    }


def recent_turn(turn_id: str, result: TurnResult) -> bytes:
    """Return a turn as `GET /v1/turns/{id}` shows it."""
    turn: Json = {
        "id": turn_id,
        "object": "coordsvc.turn",
        "text": result.text,
        "finish_reason": result.finish,
        "usage": usage(result),
        "coordsvc": {"turn_id": turn_id, **outcome(result), "account": account(result)},
    }
    return as_json(turn)


def _times(spent: TurnAccount) -> Json:
    return {
        "wall_s": _seconds(spent.wall_us),
        "solo_s": _seconds(spent.solo_us),
        "engine_s": _seconds(spent.engine_us),
        "c_coord_s": _seconds(spent.c_coord_us),
        "parts_s": {part: _seconds(cost) for part, cost in spent.parts.items()},
        "post_reply_s": _seconds(spent.post_reply_us),
        "client_wait_s": _seconds(spent.client_wait_us),
        "off_path_s": _seconds(spent.off_path_us),
    }


def _phase(report: PhaseReport) -> Json:
    return {
        "phase": report.phase,
        "agent": report.agent,
        "node": report.node,
        "attempts": report.attempts,
        "agent_s": _seconds(report.agent_us),
        "offer_wait_s": _seconds(report.offer_wait_us),
        "engine_call_s": _seconds(report.engine_call_us),
        "retry_s": _seconds(report.retry_us),
        "queue_s": _seconds(report.queue_us),
        "compute_s": _seconds(report.compute_us),
        "solo_s": _seconds(report.solo_us),
        "refill_s": _seconds(report.refill_us),
        "prompt_tokens": report.prompt_tokens,
        "cached_tokens": report.cached_tokens,
        "shared_tokens": report.shared_tokens,
        "output_tokens": report.output_tokens,
        "emulated": report.emulated,
        "adapter": report.adapter or None,
    }


def _seconds(amount: Micros) -> float:
    return amount / SECOND
