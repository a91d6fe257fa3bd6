"""What benches talk about."""

import gzip
import json

import pytest

from coordsvc.bench.dialogues import OWN, TEXT_MAX, questions
from coordsvc.core.errors import BadRequest


def message(name, parent, text, rank=None):
    return {"message_id": name, "parent_id": parent, "text": text, "rank": rank}


def written(tmp_path, messages):
    path = tmp_path / "trees.jsonl.gz"
    with gzip.open(path, "wt") as lines:
        lines.writelines(json.dumps(one) + "\n" for one in messages)
    return path


def test_users_differ_in_their_first_words_even_when_dialogues_are_said_again():
    talks = questions(None, 3 * len(OWN))
    firsts = [first for first, *_ in talks]
    assert len(set(firsts)) == len(firsts) == 3 * len(OWN)


def test_of_a_tree_the_best_ranked_path_is_talked_along(tmp_path):
    path = written(
        tmp_path,
        [
            message("q", None, "Why?"),
            message("b", "q", "Because, badly.", rank=1),
            message("a", "q", "Because.", rank=0),
            message("q2", "a", "Really?"),
            message("q3", "b", "Never said"),
        ],
    )
    assert questions(path, 1) == [("Why?", "Really?")]


def test_dialogues_too_long_to_measure_anything_else_are_left_out(tmp_path):
    path = written(tmp_path, [message("q", None, "x" * (TEXT_MAX + 1)), message("r", None, "Hi")])
    assert questions(path, 1) == [("Hi",)]


def test_a_file_without_dialogues_is_refused_by_name(tmp_path):
    path = written(tmp_path, [message("q", None, "x" * (TEXT_MAX + 1))])
    with pytest.raises(BadRequest, match=r"trees\.jsonl\.gz"):
        questions(path, 1)
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("{not json\n")
    with pytest.raises(BadRequest, match="not a file of JSON lines"):
        questions(wrong, 1)
