"""What a chat request may say: OpenAI's words, checked once, then turned into a `TurnRequest`.

Three kinds of fields: those we serve are declared; those of OpenAI's that we do not serve pass
only at values that ask for nothing (`UNSERVED`); all others are refused by name. Validation stops
at the first fault of a list, so a hostile body cannot buy a million error reports. Nothing here
recurses: the parser itself refuses JSON nested deeper than 200, and fields are 5 deep at most.
"""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
)
from pydantic_core import ErrorDetails, to_json

from coordsvc.core.dialogue import ReplyMode
from coordsvc.serving.http.errors import Rejection, invalid
from coordsvc.settings.http import MESSAGES_CEILING

UNSERVED: dict[str, frozenset[bytes]] = {
    "audio": frozenset(),
    "frequency_penalty": frozenset({b"0", b"0.0"}),
    "function_call": frozenset({b'"none"', b'"auto"'}),
    "functions": frozenset({b"[]"}),
    "logit_bias": frozenset({b"{}"}),
    "logprobs": frozenset({b"false"}),
    "modalities": frozenset({b'["text"]'}),
    "moderation": frozenset(),
    "n": frozenset({b"1"}),
    "parallel_tool_calls": frozenset({b"true", b"false"}),
    "prediction": frozenset(),
    "presence_penalty": frozenset({b"0", b"0.0"}),
    "prompt_cache_options": frozenset(),
    "prompt_cache_retention": frozenset(),
    "reasoning_effort": frozenset({b'"none"'}),
    "response_format": frozenset({b'{"type":"text"}'}),
    "service_tier": frozenset({b'"auto"', b'"default"'}),
    "store": frozenset({b"false"}),
    "tool_choice": frozenset({b'"none"', b'"auto"'}),
    "tools": frozenset({b"[]"}),
    "top_logprobs": frozenset({b"0"}),
    "verbosity": frozenset({b'"medium"'}),
    "web_search_options": frozenset(),
}
"""OpenAI's parameters that are not served: the values (beside null) that ask for nothing."""

UNSERVED_IN_MESSAGE: dict[str, frozenset[bytes]] = {
    "annotations": frozenset({b"[]"}),
    "audio": frozenset(),
    "function_call": frozenset(),
    "refusal": frozenset(),
    "tool_call_id": frozenset(),
    "tool_calls": frozenset({b"[]"}),
}
"""The same for a message: a client may send back a reply's message just as it received it."""


def _shape(value: object) -> str | None:
    """Return which form a field that has two has come in; brackets mark it as no field's name."""
    if isinstance(value, str):
        return "(text)"
    return "(list)" if isinstance(value, list) else None


_TEXT_OR_LIST = Discriminator(
    _shape,
    custom_error_type="text_or_list",
    custom_error_message="Input should be a string or a list",
)
_NAME_CHARS_MAX = 256
_METADATA_MAX = 16


class _Wanted(BaseModel):
    # Unknown fields are kept for `_refuse_extras`: pydantic's own refusal reports every one.
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class TextPart(_Wanted):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


Content = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[list[TextPart], Field(fail_fast=True, min_length=1), Tag("(list)")],
    _TEXT_OR_LIST,
]
StopText = Annotated[str, Field(min_length=1)]
Stop = Annotated[
    Annotated[StopText, Tag("(text)")]
    | Annotated[list[StopText], Field(fail_fast=True, max_length=4), Tag("(list)")],
    _TEXT_OR_LIST,
]


class ChatMessage(_Wanted):
    """One message of the conversation; the last one must be the user's."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: str | None = None
    """Accepted, and not used."""

    def text(self) -> str:
        """Return the content as one text; parts become lines."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class StreamOptions(_Wanted):
    """How to stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Accepted, and not used."""


class Extension(_Wanted):
    """What this service can do beyond OpenAI's."""

    mode: ReplyMode | None = None
    account: bool | None = None
    """Whether the reply tells where its time went."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None


def _strings(value: dict[str, object]) -> dict[str, object]:
    if all(isinstance(item, str) for item in value.values()):
        return value
    message = "every value should be a string"
    raise ValueError(message)


class ChatBody(_Wanted):
    """The body of `POST /v1/chat/completions`."""

    model: str
    messages: Annotated[
        list[ChatMessage], Field(fail_fast=True, min_length=1, max_length=MESSAGES_CEILING)
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | None = None
    user: Annotated[str, Field(max_length=_NAME_CHARS_MAX)] | None = None
    safety_identifier: Annotated[str, Field(max_length=_NAME_CHARS_MAX)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=_NAME_CHARS_MAX)] | None = None
    metadata: (
        Annotated[dict[str, object], Field(max_length=_METADATA_MAX), AfterValidator(_strings)]
        | None
    ) = None
    coordsvc: Extension | None = None


def parse(body: bytes) -> ChatBody:
    """Return the body as fields, each of the right type and in its range, or refuse it."""
    try:
        ask = ChatBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _refusal(first) from None
    _refuse_extras(ask, "", UNSERVED)
    for index, message in enumerate(ask.messages):
        _refuse_extras(message, f"messages[{index}].", UNSERVED_IN_MESSAGE)
        if not isinstance(message.content, str):
            for place, part in enumerate(message.content):
                _refuse_extras(part, f"messages[{index}].content[{place}].", {})
    if ask.stream_options is not None:
        _refuse_extras(ask.stream_options, "stream_options.", {})
    if ask.coordsvc is not None:
        _refuse_extras(ask.coordsvc, "coordsvc.", {})
    return ask


def _refuse_extras(model: BaseModel, where: str, unserved: dict[str, frozenset[bytes]]) -> None:
    for name, value in (model.model_extra or {}).items():
        param = f"{where}{name[:_NAME_CHARS_MAX]}"
        if name not in unserved:
            raise invalid(
                f"'{param}' is not known here; leave it out", param, code="unknown_parameter"
            )
        if to_json(value, inf_nan_mode="constants") not in unserved[name] | {b"null"}:
            harmless = b", ".join([*sorted(unserved[name]), b"null"]).decode()
            raise invalid(
                f"'{param}' is not supported here; leave it out, or send {harmless}",
                param,
                code="unsupported_parameter",
            )


def _refusal(error: ErrorDetails) -> Rejection:
    """Return the refusal for pydantic's `error`, in which unions have left tags in the path."""
    param = ""
    for step in error["loc"]:
        if isinstance(step, int):
            param += f"[{step}]"
        elif not step.startswith("("):
            param += f".{step}" if param else step
    if error["type"] == "json_invalid":
        message = error["msg"].removeprefix("Invalid JSON: ")
        return invalid(f"the body is not valid JSON in UTF-8: {message}", code="invalid_json")
    if not param:
        return invalid("the body should be a JSON object")
    if error["type"] == "missing":
        return invalid(f"'{param}' is required", param, code="missing_required_parameter")
    return invalid(f"'{param}': {error['msg']}", param, code="invalid_value")
