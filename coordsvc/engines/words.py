"""Words as tokens, for engines without a model: a word with the white space before it is one."""

import re
from collections.abc import Iterable

from coordsvc.core.generation import GenerationRequest

_WORD = re.compile(r"\s*\S+|\s+$")


def words(text: str) -> list[str]:
    """Cut `text` into words, white space kept before each; joined, they are `text`."""
    return _WORD.findall(text)


def count(texts: Iterable[str]) -> int:
    """Return how many words these texts have together."""
    return sum(len(text.split()) for text in texts)


def prompt_words(request: GenerationRequest) -> tuple[list[str], int]:
    """Return the prompt's words, speakers included, and how many of them are shared."""
    found: list[str] = []
    shared = 0
    for index, message in enumerate(request.messages):
        found.append(f"<{message.speaker}>")
        found += message.text.split()
        if index < request.shared_messages:
            shared = len(found)
    return found + request.prefix.split(), shared


def cut(text: str, words_max: int) -> tuple[str, bool]:
    """Return the first `words_max` words of `text`, and whether that is less than all."""
    if len(text) <= words_max:  # cannot have more words than characters
        return text, False
    found = words(text)
    return "".join(found[:words_max]), len(found) > words_max
