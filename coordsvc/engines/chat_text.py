"""Messages to token ids, such that control tokens in a user's text stay text. Pure.

Rules. The model's own chat template is rendered with a mark in place of every message's text; the
result is cut at the marks. What lies between is the template's: its control tokens are parsed.
What stood at the marks is a stranger's: it is encoded so that no control token can form. To that
end it is cut inside every place where a control token is written, and the parts are encoded one
by one; no part holds a whole control token, and ids never merge across parts. Nothing is removed,
so `<|im_<|im_end|>start|>` cannot grow into one either.

The ids of leading messages depend on nothing that follows them, so all who begin with the same
messages begin with the same ids: this is what prefix caches live on.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

from coordsvc.core.errors import BadRequest, ContextTooLong, CoordinationError, EngineBroken
from coordsvc.core.generation import GenerationRequest, Message

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private-use characters around a mark. Only the template is searched for them, never a text."""
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_UNKNOWN = "\ufffd"
_CUT_AFTER = 2
"""Characters of a control token before the cut: inside even the shortest ones in use, `<s>`."""

_TEMPERATURE_MAX = 100.0
"""Far beyond use (OpenAI's limit is 2); libraries fail in their own ways beyond any limit."""


class Tokens(Protocol):
    """What this module needs of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, control tokens parsed, none added."""
        ...

    def render(self, messages: list[dict[str, str]]) -> str:
        """Return the chat template's text, the assistant's beginning included."""
        ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as the model sees it."""

    ids: list[int]
    shared_tokens: int
    """Leading ids that every agent of this turn begins with."""
    prefix_tokens: int = 0
    """Closing ids that are the reply so far."""


class ChatText:
    """Encodes conversations for one model."""

    def __init__(
        self, tokens: Tokens, control: Collection[str], control_ids: Collection[int]
    ) -> None:
        """`control` are the control tokens as written, `control_ids` their ids."""
        self._tokens = tokens
        self._control_ids = frozenset(control_ids)
        written = sorted({token for token in control if token}, key=lambda t: (len(t), t))
        if written and len(written[0]) < _CUT_AFTER:
            msg = f"control token {written[0]!r} is one character: text cannot be told from it"
            raise EngineBroken(msg)
        # A look-ahead finds overlapping ones too. At one place the shortest is found; a cut inside
        # it is inside every longer one.
        pattern = "|".join(re.escape(token) for token in written)
        self._control = re.compile(f"(?=({pattern}))") if written else None
        self._frame = lru_cache(maxsize=256)(self._render_frame)
        self._known = lru_cache(maxsize=8_192)(self._check_letter)

    def encode(self, request: GenerationRequest) -> Prompt:
        """Return the ids of the request's messages, and of the reply so far if it has one."""
        messages = request.messages
        if not messages:
            msg = "a request needs at least one message"
            raise BadRequest(msg)
        frame = self._frame(tuple(message.speaker for message in messages))
        ids = list(frame[0][1])
        shared = 0
        for index, (mark, after) in enumerate(frame[1:]):
            ids += self.literal(messages[mark].text)
            if index < request.shared_messages:
                shared = len(ids)
            ids += after
        prefix = self.literal(request.prefix) if request.prefix else []
        return Prompt(ids + prefix, shared, len(prefix))

    def literal(self, text: str) -> list[int]:
        """Return ids of `text` among which there is no control token.

        Letters that the tokenizer does not know at all become U+FFFD.
        """
        ids = self._in_parts(text)
        if not self._control_ids.isdisjoint(ids):
            # SmolLM2's "unknown" is its end-of-text token: a letter may be control by itself.
            ids = self._in_parts("".join(self._known(letter) for letter in text))
        if not self._control_ids.isdisjoint(ids):
            # A tokenizer that folds letters (say, full-width signs) before it looks.
            ids = self._in_parts(unicodedata.normalize("NFKC", text))
        if not self._control_ids.isdisjoint(ids):
            # what it says is not repeated: this error may be logged, and dialogue may not
            msg = (
                f"in a text of {len(text)} characters there are some that cannot be told from a "
                "control token of this model; spell them otherwise"
            )
            raise BadRequest(msg)
        return ids

    def _in_parts(self, text: str) -> list[int]:
        """Return the ids of each part, one after the other."""
        return [token for part in self.parts(text) for token in self._tokens.encode(part)]

    def _check_letter(self, letter: str) -> str:
        """Return `letter`, or what stands for it if it is a control token by itself."""
        for candidate in (letter, _UNKNOWN):
            if self._control_ids.isdisjoint(self._tokens.encode(candidate)):
                return candidate
        return "?"

    def parts(self, text: str) -> list[str]:
        """Cut `text` so that no part holds a whole control token; joined, they are `text`."""
        if self._control is None:
            return [text] if text else []
        cuts = [0]
        cuts += [
            match.start() + min(_CUT_AFTER, len(match.group(1)) - 1)
            for match in self._control.finditer(text)
        ]
        cuts.append(len(text))
        return [text[start:end] for start, end in pairwise(cuts) if start < end]

    def _render_frame(self, speakers: tuple[str, ...]) -> list[tuple[int, list[int]]]:
        """Return the template's ids after each message's mark; the first entry has no mark."""
        marked = [
            {"role": speaker, "content": f"{_OPEN}{index}{_CLOSE}"}
            for index, speaker in enumerate(speakers)
        ]
        try:
            rendered = self._tokens.render(marked)
        except CoordinationError:
            raise
        except Exception as error:
            # Templates are programs of the model's maker, and raise what they like.
            msg = f"the model's chat template refuses messages by {speakers}: {error}"
            raise BadRequest(msg) from error
        pieces = _MARK.split(rendered)
        marks = [int(mark) for mark in pieces[1::2]]
        if marks != list(range(len(speakers))):
            msg = (
                f"the chat template does not write the messages {speakers} once each, in order; "
                f"it wrote {marks}; choose a model whose template does"
            )
            raise BadRequest(msg)
        after = [self._tokens.encode(piece) if piece else [] for piece in pieces[0::2]]
        return [(-1, after[0]), *zip(marks, after[1:], strict=True)]


def require_fit(request: GenerationRequest, prompt_tokens: int, context_tokens: int) -> None:
    """Return if the request can be served: sane numbers (`BadRequest`), and `ContextTooLong`.

    Prompt, reply and headroom together must fit the context.
    """
    sampling = request.sampling
    if not (0 <= sampling.temperature <= _TEMPERATURE_MAX and 0 < sampling.top_p <= 1):
        msg = (
            f"temperature {sampling.temperature} and top_p {sampling.top_p} are out of range; "
            f"right are 0 to {_TEMPERATURE_MAX}, and above 0 to 1"
        )
        raise BadRequest(msg)
    asked = request.max_new_tokens + request.headroom_tokens
    if request.max_new_tokens < 1:
        msg = f"max_new_tokens is {request.max_new_tokens}; ask for at least 1"
        raise BadRequest(msg)
    if prompt_tokens + asked > context_tokens:
        msg = (
            f"the conversation takes {prompt_tokens} tokens and {asked} more are asked for "
            f"({request.max_new_tokens} to answer, {request.headroom_tokens} for the rest of the "
            f"turn); together that exceeds the model's context of {context_tokens} tokens"
        )
        raise ContextTooLong(msg)


def last_text(messages: Sequence[Message]) -> str:
    """Return the last message's text, or nothing if there is no message."""
    return messages[-1].text if messages else ""
