"""What is said of models and replies, where no model is needed."""

from math import e, inf

import pytest

from coordsvc.core.dialogue import CHECKER, PLANNER
from coordsvc.core.errors import BadRequest
from coordsvc.training.evaluate import balanced_accuracy, perplexity, replies, verdict_heads


def test_saying_one_thing_always_is_a_half() -> None:
    right = [True] * 9 + [False]
    assert balanced_accuracy(right, [True] * 10) == 0.5
    assert balanced_accuracy(right, right) == 1.0
    assert balanced_accuracy(right, [not one for one in right]) == 0.0


def test_where_one_answer_never_is_right_nothing_is_said() -> None:
    assert balanced_accuracy([True, True], [True, False]) is None


def test_perplexity_is_the_losss_exponential() -> None:
    assert perplexity(1.0) == e
    assert perplexity(inf) == inf
    assert perplexity(10_000.0) < inf


def test_verdicts_part_at_the_deciding_word() -> None:
    better = verdict_heads('{"accept": true, "score": 8, "reason": "it is true"}')
    assert better == ('{"accept": true', '{"accept": false', True)
    worse = verdict_heads('{"score":3,"accept":false,"reason":"no"}')
    assert worse == ('{"score":3,"accept":true', '{"score":3,"accept":false', False)


@pytest.mark.parametrize("target", ["a plan", "[]", '{"score": 3}', "3"])
def test_what_is_no_verdict_is_refused(target) -> None:
    with pytest.raises(BadRequest, match="is no verdict"):
        verdict_heads(target)


def test_replies_are_counted() -> None:
    told = replies(PLANNER, ["one", " ", "one", "two"], [3, 0, 3, 2])
    assert (told.replies, told.empty, told.tokens_mean) == (4, 1, 2.0)
    assert told.distinct_share == 0.75
    assert told.verdicts_read is None


def test_a_checkers_replies_are_read() -> None:
    verdict = '{"accept": true, "score": 8, "reason": "good"}'
    told = replies(CHECKER, [verdict, "I think so"], [12, 3])
    assert told.verdicts_read == 1


def test_replies_without_their_lengths_are_refused() -> None:
    with pytest.raises(BadRequest, match="2 replies and 1 lengths"):
        replies(PLANNER, ["a", "b"], [1])
