"""Words as tokens: nothing is lost in cutting."""

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.engines.words import count, cut, prompt_words, words


@given(st.text(" \nab", max_size=30))
def test_words_joined_are_the_text(text):
    assert "".join(words(text)) == text


@given(st.text(" \nab", max_size=30), st.integers(1, 10))
def test_cut_keeps_the_beginning_and_tells_if_there_was_more(text, limit):
    kept, shortened = cut(text, limit)
    assert text.startswith(kept)
    assert shortened == (kept != text)
    assert count([kept]) <= limit


def test_a_prompt_counts_speakers_words_and_what_is_shared():
    request = GenerationRequest(
        messages=(Message("system", "be kind"), Message("user", "hello there friend")),
        max_new_tokens=5,
        prefix="I am",
        shared_messages=1,
    )
    found, shared = prompt_words(request)
    assert found == ["<system>", "be", "kind", "<user>", "hello", "there", "friend", "I", "am"]
    assert shared == 3
