"""Lines of the decision log."""

from dataclasses import replace

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import Plain
from coordsvc.core.hindsight.decisions import (
    VERSION,
    Decision,
    Entry,
    Gap,
    Header,
    Levels,
    is_cut,
    read,
    read_file,
    write,
)
from coordsvc.core.messages import Finished, NodeLost, Refused, Ticked
from coordsvc.core.units import AgentId, Epoch, Instant, Micros, NodeId, OfferId

HEADER = Header(version=VERSION, epoch=Epoch("run", 2), state=Plain({"anything": [1]}))
LOST = NodeLost(NodeId("n1"))
TICK = Decision(at=Instant(5), event=Ticked())
ENTRIES: list[Entry] = [
    HEADER,
    TICK,
    Decision(at=Instant(6), event=LOST, effects=(Refused(LOST, "ünknown"),)),
    Levels(
        at=Instant(7),
        alloc={AgentId("planner"): {"gpu": 500}},
        utility={AgentId("planner"): float("inf")},
    ),
    Gap(gap=3),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_is_one_line_and_comes_back(entry: Entry) -> None:
    text = write(entry)
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert read(text) == entry


def test_a_line_says_what_it_says_and_no_more() -> None:
    assert write(TICK) == '{"at":5,"event":{"type":"Ticked"}}\n'


def test_a_line_from_before_phases_were_told_is_read_as_one_that_tells_of_none() -> None:
    text = '{"at":5,"event":{"type":"Finished","offer_id":7,"compute_us":70000}}\n'
    old = Decision(at=Instant(5), event=Finished(OfferId(7), Micros(70_000)))
    assert read(text) == old
    assert write(old) == text
    assert '"phase":"revise"' in write(replace(old, event=replace(old.event, phase="revise")))


def test_a_file_is_read_line_by_line() -> None:
    lines = list(read_file("a.jsonl", map(write, ENTRIES)))
    assert [line.entry for line in lines] == ENTRIES
    assert [(line.file, line.number) for line in lines][-1] == ("a.jsonl", 5)


def test_a_last_line_that_a_crash_cut_is_left_out() -> None:
    texts = [write(HEADER), write(TICK), write(TICK)[:9]]
    assert [line.entry for line in read_file("a", texts)] == [HEADER, TICK]
    assert is_cut("".join(texts))
    assert not is_cut("".join(texts[:2]))


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([], "a is empty"),
        ([write(TICK)], "a, line 1: a header stands in the first line"),
        ([write(HEADER), write(HEADER)], "a, line 2: a header stands"),
        ([write(HEADER), "{oops\n", write(TICK)], "a, line 2: is not JSON"),
        ([write(HEADER), "[]\n"], "a, line 2: is not an object"),
        ([write(HEADER), "{}\n"], "a, line 2: has none of the fields state, event"),
        ([write(HEADER), '{"at":1,"event":{"type":"Nap"}}\n'], "a, line 2: .*type is 'Nap'"),
        ([write(HEADER).replace('"version":1', '"version":99')], "a is of version 99"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(texts: list[str], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        list(read_file("a", texts))
