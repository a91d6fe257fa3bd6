"""A Hugging Face tokenizer, as `chat_text` and calibration need it. Imports no library."""

from collections.abc import Sequence
from typing import Any

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.chat_text import ChatText


class HfTokens:
    """Wraps a tokenizer of transformers, or vLLM's, which has the same methods."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # Added tokens are all parsed from text, those too that are not called special (<think>).
        control: dict[str, int] = dict(tokenizer.get_added_vocab())
        special = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        control.update({str(token): int(number) for token, number in special})
        self.control = control

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, control tokens parsed, none added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def render(self, messages: list[dict[str, str]]) -> str:
        """Return the chat template's text, the assistant's beginning included."""
        try:
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except ValueError as error:
            msg = f"the model has no chat template that can be used: {error}"
            raise EngineBroken(msg) from error
        return str(text)

    def chat(self) -> ChatText:
        """Return the encoder of conversations for this tokenizer."""
        return ChatText(self, self.control.keys(), self.control.values())

    def usable(self) -> Sequence[int]:
        """Return ids that stand for ordinary text, for calibration prompts."""
        control = set(self.control.values())
        size = int(getattr(self._tokenizer, "vocab_size", 0)) or max(control, default=0)
        return [token for token in range(size) if token not in control]


class HfText:
    """Makes text of one reply's ids with the tokenizer's own `decode`.

    Ids are decoded together with a few before them, as a tokenizer may join words differently at a
    text's beginning; what ends in an unfinished character waits.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = 0
        self._told = 0

    def feed(self, ids: list[int]) -> str:
        """Return the text that these ids complete."""
        self._ids += ids
        text = self._new()
        if text.endswith("\ufffd"):
            return ""
        self._context, self._told = self._told, len(self._ids)
        return text

    def end(self) -> str:
        """Return what is left: a replacement character, should the last one be unfinished."""
        return self._new() if self._told < len(self._ids) else ""

    def _new(self) -> str:
        before = self._decode(self._ids[self._context : self._told])
        return self._decode(self._ids[self._context :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))
