"""Ids become text without breaking a character, and without showing a stop string."""

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.engines.detokenise import Detokeniser, StopStrings

BYTES = [bytes([value]) for value in range(256)]


@given(st.text(), st.integers(1, 5))
def test_bytes_in_any_portions_give_the_same_text(text, size):
    ids = list(text.encode("utf-8", "surrogatepass"))
    detokeniser = Detokeniser(BYTES)
    parts = [detokeniser.feed(ids[at : at + size]) for at in range(0, len(ids), size)]
    whole = "".join(parts) + detokeniser.end()
    assert whole == bytes(ids).decode("utf-8", "replace")


def test_a_character_waits_until_it_is_whole():
    detokeniser = Detokeniser(BYTES)
    first, *middle, last = "🙂".encode()
    assert detokeniser.feed([first, *middle]) == ""
    assert detokeniser.feed([last]) == "🙂"
    assert detokeniser.end() == ""


def test_an_unfinished_character_at_the_end_is_shown_as_one():
    detokeniser = Detokeniser(BYTES)
    assert detokeniser.feed(list("é".encode())[:1]) == ""
    assert detokeniser.end() == "\ufffd"


def test_control_tokens_are_silent():
    assert Detokeniser([b"", b"hi"]).feed([0, 1, 0]) == "hi"


def test_text_is_held_back_while_it_may_begin_a_stop_string():
    stops = StopStrings(["\nUser:"])
    assert stops.feed("Hello\nUs") == "Hello"
    assert stops.feed("e it") == "\nUse it"
    assert stops.feed("\nUser: me") == ""
    assert stops.stopped
    assert stops.feed("more") == ""


def test_what_was_held_back_comes_at_the_end():
    stops = StopStrings(["END"])
    assert stops.feed("the EN") == "the "
    assert stops.end() == "EN"


def test_the_earliest_stop_string_counts():
    stops = StopStrings(["bc", "ab"])
    assert stops.feed("xabc") == "x"


@given(
    st.text("abc", max_size=30),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=3),
    st.integers(1, 4),
)
def test_in_any_portions_what_is_sent_is_the_text_before_the_first_stop_string(text, stops, size):
    filtered = StopStrings(stops)
    sent = ""
    for at in range(0, len(text), size):
        sent += filtered.feed(text[at : at + size])
        if filtered.stopped:
            break
    sent += filtered.end()
    assert not any(stop in sent for stop in stops)
    if filtered.stopped:
        assert text.startswith(sent)
        assert any(text[len(sent) :].startswith(stop) for stop in stops)
    else:
        assert sent == text
