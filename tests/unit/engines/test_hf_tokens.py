"""A Hugging Face tokenizer wrapped: control tokens known, text whole."""

import pytest

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.hf_tokens import HfText, HfTokens


class ToyTokenizer:
    """Bytes as ids; joins like a SentencePiece one: a space at the very beginning is dropped."""

    all_special_tokens = ("<s>",)
    all_special_ids = (0,)
    vocab_size = 256

    def get_added_vocab(self):
        return {"<think>": 1}

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return list(text.encode())

    def decode(self, ids, skip_special_tokens):
        text = bytes(token for token in ids if token > 1).decode("utf-8", "replace")
        return text.removeprefix(" ")

    def apply_chat_template(self, messages, tokenize, add_generation_prompt):
        raise ValueError("no chat_template is set")


def test_added_tokens_are_control_even_if_not_called_special():
    tokens = HfTokens(ToyTokenizer())
    assert tokens.control == {"<s>": 0, "<think>": 1}
    assert set(tokens.usable()).isdisjoint({0, 1})
    assert tokens.chat().parts("<think>") == ["<t", "hink>"]


def test_a_model_without_a_template_is_refused():
    with pytest.raises(EngineBroken, match="no chat_template is set"):
        HfTokens(ToyTokenizer()).render([])


def test_characters_wait_until_they_are_whole_and_spaces_between_words_stay():
    text = HfText(ToyTokenizer())
    said = "One two é漢字🙂 three"
    assert "".join(text.feed([token]) for token in said.encode()) + text.end() == said


def test_an_unfinished_character_at_the_end_is_shown_as_one():
    text = HfText(ToyTokenizer())
    assert text.feed([65, 0xE6]) == ""
    assert text.end() == "A\ufffd"
    assert HfText(ToyTokenizer()).end() == ""
