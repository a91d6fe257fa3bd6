"""The mirror answers what an engine's prefix cache would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.engines.prefix_mirror import PrefixMirror


def test_two_conversations_share_the_full_blocks_of_their_common_beginning():
    mirror = PrefixMirror(block_tokens=4, capacity_blocks=100)
    mirror.insert([1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert mirror.cached([1, 2, 3, 4, 5, 6, 7, 8, 70, 80]) == 8
    assert mirror.cached([1, 2, 3, 4, 5, 6, 70]) == 4
    assert mirror.cached([9, 2, 3, 4, 5, 6, 7, 8]) == 0


def test_the_last_prompt_token_is_always_computed():
    mirror = PrefixMirror(block_tokens=4, capacity_blocks=100)
    mirror.insert(range(8))
    assert mirror.cached(range(8)) == 7
    assert mirror.cached(range(9)) == 8
    assert mirror.cached([]) == 0


def test_a_block_counts_only_after_all_before_it():
    mirror = PrefixMirror(block_tokens=2, capacity_blocks=100)
    mirror.insert([1, 2, 3, 4])
    assert mirror.cached([3, 4, 5]) == 0


def test_the_longest_unused_is_forgotten_tail_first():
    mirror = PrefixMirror(block_tokens=2, capacity_blocks=4)
    mirror.insert([1, 1, 1, 2])
    mirror.insert([2, 1, 2, 2])
    mirror.insert([1, 1, 1, 2])  # used again, so the other goes
    mirror.insert([3, 1])
    assert mirror.cached([1, 1, 1, 2, 0]) == 4
    assert mirror.cached([2, 1, 2, 2, 0]) == 2
    assert len(mirror) == 4


def test_a_mirror_without_room_knows_nothing():
    mirror = PrefixMirror(block_tokens=2, capacity_blocks=0)
    mirror.insert(range(10))
    assert mirror.cached(range(10)) == 0
    with pytest.raises(ValueError, match="blocks of 0 tokens"):
        PrefixMirror(block_tokens=0, capacity_blocks=1)


@given(st.lists(st.lists(st.integers(0, 2), max_size=14), max_size=8), st.integers(1, 4))
def test_with_room_for_all_it_equals_a_plain_comparison_of_prefixes(prompts, block):
    mirror = PrefixMirror(block, capacity_blocks=1_000)
    seen: list[list[int]] = []
    for ids in prompts:
        common = max((same(ids, old) // block * block for old in seen), default=0)
        assert mirror.cached(ids) == max(0, min(common, len(ids) - 1))
        mirror.insert(ids)
        seen.append(ids)


def same(a, b):
    """How many leading tokens two prompts have in common."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


@given(st.lists(st.lists(st.integers(0, 2), max_size=14), max_size=20), st.integers(0, 5))
def test_it_never_holds_more_than_it_may(prompts, capacity):
    mirror = PrefixMirror(2, capacity)
    for ids in prompts:
        mirror.insert(ids)
        assert len(mirror) <= capacity
