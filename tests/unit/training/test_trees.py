"""Which messages make a tree, and why others are left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.training.trees import Forest, Wanted, grow
from tests.unit.training.dialogues import forest, said, tree

WANTED = Wanted(lang="en", text_max=100)


def grown(*rows: dict) -> Forest:
    return grow(rows, WANTED)


def texts(trees: Forest, parent: str | None) -> list[str]:
    return [one.message.text for one in trees.children.get(parent, ())]


def test_a_tree_is_joined_by_parents_and_the_best_reply_stands_first() -> None:
    found = grown(*reversed(tree()))
    assert [one.id for one in found.children[None]] == ["t"]
    assert [one.id for one in found.children["t"]] == ["t.a", "t.b"]
    assert found.drops == {}
    history = found.history(found.said["t.a.c.d"], 3)
    assert [one.speaker for one in history] == ["assistant", "user", "assistant"]
    assert history[-1].text == "Then drink tea over ice cubes."


def test_a_reply_without_a_rank_stands_after_those_with_one() -> None:
    found = grown(
        said("t", None, "Well?"),
        said("t.a", "t", "Nobody ranked me."),
        said("t.b", "t", "I am the third.", rank=2),
    )
    assert texts(found, "t") == ["I am the third.", "Nobody ranked me."]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": None}, "missing_field"),
        ({"message_tree_id": 7}, "missing_field"),
        ({"parent_id": 7}, "missing_field"),
        ({"role": "system"}, "other_role"),
        ({"deleted": True}, "deleted"),
        ({"text": " \n"}, "empty"),
        ({"review_result": False}, "spam"),
        ({"lang": "de"}, "other_language"),
        ({"text": "x" * 101}, "too_long"),
        ({"text": "half of a face: \ud83d"}, "half_characters"),
        ({"parent_id": "nobody"}, "orphan"),
        ({"message_tree_id": "u"}, "other_tree"),
        ({"role": "prompter"}, "out_of_turn"),
    ],
)
def test_a_bad_message_is_counted_with_its_reason_and_so_is_what_hangs_below_it(
    changes: dict, reason: str
) -> None:
    good = tree()
    found = grown(good[0], good[1] | changes, *good[2:])
    assert found.drops == {reason: 1, "below_dropped": 2}
    assert set(found.said) == {"t", "t.b"}


@pytest.mark.parametrize("name", ["message_id", "parent_id", "message_tree_id", "role", "text"])
def test_each_field_is_needed(name: str) -> None:
    short = tree()[2]
    del short[name]
    assert grown(tree()[0], short).drops == {"missing_field": 1}


def test_fields_that_older_exports_lack_are_not_needed() -> None:
    bare = [
        {name: one[name] for name in ("message_id", "parent_id", "message_tree_id", "role", "text")}
        for one in tree()
    ]
    assert len(grown(*bare).said) == 5


def test_a_tree_begins_with_a_prompter_and_under_its_own_name() -> None:
    assert grown(said("t", None, "I begin.", role="assistant")).drops == {"out_of_turn": 1}
    assert grown(said("t", None, "I begin.", message_tree_id="u")).drops == {"other_tree": 1}


def test_a_cycle_is_left_out_with_what_hangs_below_it() -> None:
    found = grown(
        said("t", None, "Well?"),
        said("t.a", "t.a.b", "After you."),
        said("t.a.b", "t.a", "No, after you."),
        said("t.a.b.c", "t.a.b", "Hello?"),
        said("t.self", "t.self", "I answer myself."),
    )
    assert set(found.said) == {"t"}
    assert found.drops == {"cycle": 4}


def test_of_two_messages_with_one_id_the_same_is_kept_whichever_comes_first() -> None:
    one, other = said("t", None, "First?"), said("t", None, "Second?")
    assert grown(one, other) == grown(other, one)
    assert grown(one, other).drops == {"doubled_id": 1}
    assert texts(grown(one, other), None) == ["First?"]


def test_labels_are_read_as_the_export_has_them_and_as_the_hub_has_them() -> None:
    exported = {"quality": {"value": 0.75, "count": 3}, "toxicity": {"value": None, "count": 0}}
    columns = {"name": ["quality", "toxicity"], "value": [0.75, float("nan")], "count": [3, 3]}
    for labels in (exported, columns):
        found = grown(said("t", None, "Well?", labels=labels))
        assert found.said["t"].labels == {"quality": 0.75}


@given(st.permutations([*forest(2), said("x.y", "x", "Lost."), said("t00", None, "Again?")]))
def test_the_order_of_messages_does_not_matter(rows: list[dict]) -> None:
    assert grown(*rows) == grown(*sorted(rows, key=repr))


@given(st.lists(st.tuples(st.integers(0, 7), st.none() | st.integers(0, 7)), max_size=12))
def test_every_message_is_kept_or_counted(links: list[tuple[int, int | None]]) -> None:
    rows = [
        said(f"{n}", None if parent is None else f"{parent}", f"I am {n}.", message_tree_id="0")
        | {"role": "prompter" if n % 2 == 0 else "assistant"}
        for n, parent in links
    ]
    found = grown(*rows)
    assert len(found.said) + sum(found.drops.values()) == len(rows)
    for one in found.said.values():
        assert found.history(one, 99)[0].speaker == "user"
