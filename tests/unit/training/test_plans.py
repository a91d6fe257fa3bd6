"""The plan that a reply is taken to have had."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.training.plans import CHARS_MAX, FACTS_MAX, WORDS_MAX, plan_of


def test_headings_come_first() -> None:
    reply = "Well:\n# Causes\n- rain\n- snow\n## What to do ##\n- wait\n**In short**\nWait."
    assert plan_of(reply) == "The answer must contain: Causes; What to do; In short."


def test_items_of_a_list_are_told_up_to_their_first_break() -> None:
    reply = (
        "Here are some ways:\n"
        "1. **Blink more**: it is often forgotten.\n"
        "2) Adjust the light - and the screen\n"
        "• [Rest](https://example.org) (every hour)\n"
    )
    assert plan_of(reply) == "The answer must contain: Blink more; Adjust the light; Rest."


def test_lines_with_names_are_items_too() -> None:
    reply = "Some kinds:\n\nSorting algorithms: quick ones.\n\nData structures: trees, and others."
    assert plan_of(reply) == (
        "The answer must contain: Some kinds; Sorting algorithms; Data structures."
    )


def test_of_prose_the_key_words_of_its_first_sentences_are_told() -> None:
    reply = "Sure! The wound might be a tongue ulcer. You could see a dentist. I hope this helps!"
    assert plan_of(reply) == "The answer must contain: wound; tongue ulcer; dentist."


def test_code_is_named_and_not_quoted() -> None:
    reply = "Use a loop over numbers:\n```python\nfor secret in range(3): print(secret)\n```"
    assert plan_of(reply) == "The answer must contain: loop; numbers; an example in code."
    assert plan_of("```\nfor i in x: pass") == "The answer must contain: an example in code."


def test_a_fact_is_told_once() -> None:
    assert plan_of("- Tea\n- tea\n- Milk") == "The answer must contain: Tea; Milk."


def test_a_short_reply_is_told_by_how_it_begins() -> None:
    assert plan_of("You are welcome! Ask away.") == "The answer must contain: You are welcome."
    assert plan_of("I am sorry about that.") == "The answer must contain: I am sorry about that."


@pytest.mark.parametrize("reply", ["No.", "Yes, of course!"])
def test_a_reply_of_stop_words_alone_is_its_own_plan(reply: str) -> None:
    assert plan_of(reply).casefold().rstrip(".").split(": ")[1] in reply.casefold().replace(",", "")


def test_a_reply_without_words_has_no_plan() -> None:
    assert plan_of(" ... ") == ""


@given(
    st.text(max_size=400)
    | st.lists(st.sampled_from(["# a", "- b c", "d: e", "``` "])).map("\n".join)
)
def test_a_plan_is_one_line_and_short_whatever_the_reply(reply: str) -> None:
    plan = plan_of(reply)
    facts = plan.removeprefix("The answer must contain: ").removesuffix(".").split("; ")
    assert plan == plan_of(reply)
    assert len(plan.splitlines()) <= 1
    assert len(facts) <= FACTS_MAX
    assert all(len(fact) <= CHARS_MAX and len(fact.split()) <= WORDS_MAX for fact in facts)


def test_a_long_item_is_cut_where_no_word_is_left_hanging() -> None:
    reply = "- Emphasise what it costs to all of the people\n- Explain the purpose of the talk"
    assert plan_of(reply) == (
        "The answer must contain: Emphasise what it costs; Explain the purpose of the talk."
    )
