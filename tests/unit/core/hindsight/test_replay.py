"""What a log says happened happens again."""

from dataclasses import replace

import pytest

from coordsvc.core.allocator import Allocator
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import Plain
from coordsvc.core.hindsight.decisions import (
    VERSION,
    Decision,
    Entry,
    Gap,
    Header,
    Line,
    read_file,
    write,
)
from coordsvc.core.hindsight.replay import decisions, replay
from coordsvc.core.hindsight.snapshot import snapshot
from coordsvc.core.messages import Wanted
from coordsvc.core.units import DeskId, Instant
from tests.walks import Walk

EVENTS = 150


def header(allocator: Allocator, lost: int = 0) -> Header:
    state = Plain(snapshot(allocator))
    return Header(version=VERSION, epoch=allocator.epoch, state=state, lost=lost)


def lived(seed: int) -> tuple[list[Entry], Allocator]:
    walk = Walk(seed)
    allocator = walk.allocator()
    entries: list[Entry] = [header(allocator)]
    for now, event, effects in walk.live(allocator, EVENTS):
        entries.append(Decision(at=now, event=event, effects=tuple(effects)))
    return entries, allocator


def lines(*files: list[Entry]) -> list[Line]:
    return [
        line
        for number, entries in enumerate(files)
        for line in read_file(f"log{number}", map(write, entries))
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_log_replays_to_the_same_effects_and_the_same_state(seed: int) -> None:
    entries, allocator = lived(seed)
    told = replay(lines(entries))
    assert told.difference is None
    assert (told.files, told.events, told.lost) == (1, EVENTS, 0)
    assert told.effects == sum(len(one.effects) for one in decisions(lines(entries)))
    assert told.allocator is not None
    assert snapshot(told.allocator) == snapshot(allocator)


def test_one_effect_that_is_not_the_same_is_found_and_shown() -> None:
    entries, _ = lived(1)
    place = next(
        n for n, one in enumerate(entries) if isinstance(one, Decision) and len(one.effects) > 1
    )
    true = entries[place]
    assert isinstance(true, Decision)
    entries[place] = replace(true, effects=true.effects[:-1])
    found = replay(lines(entries)).difference
    assert found is not None
    assert (found.file, found.line, found.at) == ("log0", place + 1, true.at)
    assert len(found.now) == len(found.then) + 1


def test_an_event_left_out_is_noticed() -> None:
    entries, _ = lived(2)
    place = next(
        n
        for n, one in enumerate(entries)
        if isinstance(one, Decision) and type(one.event).__name__ == "NodeJoined"
    )
    del entries[place]
    assert replay(lines(entries)).difference is not None


def test_a_second_file_goes_on_where_the_first_one_ends() -> None:
    walk = Walk(4)
    allocator = walk.allocator()
    files: list[list[Entry]] = []
    for _ in range(2):
        entries: list[Entry] = [header(allocator)]
        for now, event, effects in walk.live(allocator, EVENTS):
            entries.append(Decision(at=now, event=event, effects=tuple(effects)))
        files.append(entries)
    told = replay(lines(*files))
    assert (told.difference, told.files, told.events) == (None, 2, 2 * EVENTS)
    found = replay(lines(files[0][:-40], files[1])).difference
    assert found is not None
    assert (found.file, found.line, found.what) == ("log1", 1, "the state")
    assert found.then.keys() == found.now.keys() != set()


def test_a_gap_ends_what_can_be_compared_and_the_next_file_begins_anew() -> None:
    first, _ = lived(5)
    other = Walk(6)
    allocator = other.allocator()
    other.live(allocator, 20)
    told = replay(lines([*first, Gap(gap=20)], [header(allocator, lost=20)]))
    assert (told.difference, told.lost, told.files) == (None, 20, 2)


def test_a_replay_ends_where_one_wants() -> None:
    entries, _ = lived(7)
    middle = entries[EVENTS // 2]
    assert isinstance(middle, Decision)
    told = replay(lines(entries), until=middle.at)
    assert told.last is not None
    assert told.last <= middle.at
    assert 0 < told.events < EVENTS


def test_a_state_that_is_none_is_refused_with_its_file() -> None:
    entries, allocator = lived(8)
    assert isinstance(entries[0], Header)
    broken = replace(entries[0], state=Plain({"epoch": 1}))
    with pytest.raises(BadRequest, match="log0, line 1: Kept lacks"):
        replay(lines([broken]))
    event = Wanted(DeskId("p"), 1, 0)
    assert list(decisions(lines([header(allocator), Decision(at=Instant(1), event=event)])))
