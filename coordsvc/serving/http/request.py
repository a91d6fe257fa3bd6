"""A parsed body as a turn: defaults filled in, and the checks that depend on settings."""

from coordsvc.core.dialogue import TurnRequest
from coordsvc.core.errors import UnknownModel
from coordsvc.core.generation import Message, Sampling, Speaker
from coordsvc.core.units import Micros, seconds
from coordsvc.serving.http.door import Door
from coordsvc.serving.http.errors import invalid
from coordsvc.serving.http.schema import ChatBody, Extension
from coordsvc.settings.http import HttpSettings

SPEAKERS: dict[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
TOP_P_MIN = 1e-6
"""OpenAI lets `top_p` be 0, the likeliest token alone; engines want it above 0."""
SEEDS = 2**63
"""Seeds are folded into 0..2^63-1: OpenAI's may be negative, generators' may not."""


def turn_request(ask: ChatBody, turn_id: str, door: Door, tenant: str = "") -> TurnRequest:
    """Return what `ask` asks for, or refuse what these settings do not allow."""
    settings = door.settings
    extension = ask.coordsvc or Extension()
    if ask.model != door.model:
        known = f"this service serves {door.model!r}, listed at /v1/models"
        raise UnknownModel(f"no model {ask.model[:100]!r}: {known}")
    if ask.stream_options is not None and not ask.stream:
        raise invalid("'stream_options' needs 'stream': true", "stream_options")
    return TurnRequest(
        turn_id=turn_id,
        tenant=tenant,
        conversation=_conversation(ask, settings),
        max_tokens=_max_tokens(ask, settings),
        sampling=_sampling(ask, settings),
        mode=extension.mode or settings.mode,
        stream=bool(ask.stream),
        deadline_us=_deadline(extension, settings),
    )


def _conversation(ask: ChatBody, settings: HttpSettings) -> tuple[Message, ...]:
    count = len(ask.messages)
    if count > settings.messages_max:
        raise invalid(
            f"'messages' has {count} messages; at most {settings.messages_max} are read",
            "messages",
        )
    if ask.messages[-1].role != "user":
        raise invalid(
            f"'messages[{count - 1}].role' should be 'user': the last message is to be answered",
            f"messages[{count - 1}].role",
        )
    return tuple(Message(SPEAKERS[message.role], message.text()) for message in ask.messages)


def _max_tokens(ask: ChatBody, settings: HttpSettings) -> int:
    older, newer = ask.max_tokens, ask.max_completion_tokens
    if older is not None and newer is not None and older != newer:
        raise invalid("'max_tokens' and 'max_completion_tokens' differ; send one", "max_tokens")
    param = "max_completion_tokens" if older is None else "max_tokens"
    wanted = newer if older is None else older
    if wanted is None:
        return settings.max_tokens_default
    if wanted > settings.max_tokens_max:
        raise invalid(f"'{param}' should be at most {settings.max_tokens_max}", param)
    return wanted


def _sampling(ask: ChatBody, settings: HttpSettings) -> Sampling:
    stop = (ask.stop,) if isinstance(ask.stop, str) else tuple(ask.stop or ())
    if any(len(text) > settings.stop_chars_max for text in stop):
        raise invalid(f"'stop': at most {settings.stop_chars_max} characters each", "stop")
    warmth = settings.temperature_default if ask.temperature is None else ask.temperature
    return Sampling(
        temperature=warmth,
        top_p=1.0 if ask.top_p is None else max(ask.top_p, TOP_P_MIN),
        seed=None if ask.seed is None else ask.seed % SEEDS,
        stop=stop,
    )


def _deadline(extension: Extension, settings: HttpSettings) -> Micros:
    wanted = settings.deadline_s if extension.deadline_s is None else extension.deadline_s
    if wanted > settings.deadline_s_max:
        raise invalid(
            f"'coordsvc.deadline_s' should be at most {settings.deadline_s_max}",
            "coordsvc.deadline_s",
        )
    return Micros(max(1, seconds(wanted)))
