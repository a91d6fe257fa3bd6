"""The writer of the decision log: nothing is lost unseen, and the loop never waits."""

from pathlib import Path

import pytest

from coordsvc.core.allocator import Allocator
from coordsvc.core.hindsight.decisions import Decision, Gap, Header, Levels, Line, read_file
from coordsvc.core.hindsight.snapshot import restore, snapshot
from coordsvc.core.learning import LearnedUtilities
from coordsvc.core.messages import DeskJoined, NodeJoined, Ticked, Wanted
from coordsvc.core.policies.utilities import PowerUtilities
from coordsvc.core.policies.utility import Utility
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, NodeId
from coordsvc.telemetry.decision_log import DecisionLog, DecisionLogTerms, levels
from tests.walks import Walk

GPU = Resources(gpu_milli=1_000)


def files(folder: Path) -> list[list[Line]]:
    paths = sorted(folder.glob("decisions-*.jsonl"))
    return [
        list(read_file(path.name, path.read_text().splitlines(keepends=True))) for path in paths
    ]


def live(log: DecisionLog, allocator: Allocator, walk: Walk, events: int) -> None:
    for _ in range(events):
        now, event = walk.next(allocator)
        log.hand(allocator, now, event, allocator.handle(now, event))


def test_every_event_is_written_and_the_file_replays(tmp_path: Path) -> None:
    walk = Walk(1)
    allocator = walk.allocator()
    log = DecisionLog(DecisionLogTerms(folder=tmp_path / "made" / "here"))
    log.begin(allocator)
    live(log, allocator, walk, 200)
    log.close()
    (lines,) = files(tmp_path / "made" / "here")
    assert isinstance(lines[0].entry, Header)
    twin = restore(lines[0].entry.state)
    told = [line.entry for line in lines if isinstance(line.entry, Decision)]
    assert len(told) == 200
    for one in told:
        assert tuple(twin.handle(one.at, one.event)) == one.effects
    assert snapshot(twin) == snapshot(allocator)
    assert (log.lines_written, log.events_lost) == (len(lines), 0)


def test_files_are_rotated_by_size_and_the_oldest_removed(tmp_path: Path) -> None:
    walk = Walk(2)
    allocator = walk.allocator()
    log = DecisionLog(
        DecisionLogTerms(folder=tmp_path, file_bytes_max=2_000, files_max=3, flush_s=0.001)
    )
    log.begin(allocator)
    for _ in range(400):
        live(log, allocator, walk, 3)
        log._thread.join(timeout=0.002)  # let it write
        if (
            len(list(tmp_path.glob("*"))) == 3
            and not (tmp_path / "decisions-00000001.jsonl").exists()
        ):
            break
    log.close()
    kept = files(tmp_path)
    assert len(kept) == 3
    assert log.events_lost == 0
    ends = [restore(lines[0].entry.state) for lines in kept]
    for twin, lines, after in zip(ends, kept, kept[1:], strict=False):
        for line in lines:
            if isinstance(line.entry, Decision):
                twin.handle(line.entry.at, line.entry.event)
        assert isinstance(after[0].entry, Header)
        assert snapshot(twin) == after[0].entry.state, "the next file goes on where this one ends"


def test_a_full_queue_cuts_the_log_and_a_fresh_file_follows(tmp_path: Path) -> None:
    walk = Walk(3)
    allocator = walk.allocator()
    log = DecisionLog(DecisionLogTerms(folder=tmp_path, queue_max=10, flush_s=3_600))
    log.begin(allocator)
    live(log, allocator, walk, 60)
    assert log.events_lost > 40
    log._write_queued()
    live(log, allocator, walk, 3)
    log.close()
    first, second = files(tmp_path)
    assert isinstance(first[-1].entry, Gap)
    assert isinstance(second[0].entry, Header)
    assert first[-1].entry.gap == second[0].entry.lost == log.events_lost
    twin = restore(second[0].entry.state)
    for line in second:
        if isinstance(line.entry, Decision):
            assert tuple(twin.handle(line.entry.at, line.entry.event)) == line.entry.effects
    assert snapshot(twin) == snapshot(allocator)


def test_an_event_that_cannot_be_written_is_a_gap_and_not_the_end(tmp_path: Path) -> None:
    allocator = Allocator(Epoch("run", 1))
    log = DecisionLog(DecisionLogTerms(folder=tmp_path, flush_s=3_600))
    log.begin(allocator)
    odd = Wanted(DeskId("p1"), 1.5, 0)
    log.hand(allocator, Instant(0), odd, allocator.handle(Instant(0), odd))
    log.hand(allocator, Instant(1), Ticked(), allocator.handle(Instant(1), Ticked()))
    log._write_queued()
    log.hand(allocator, Instant(2), Ticked(), allocator.handle(Instant(2), Ticked()))
    log.hand(allocator, Instant(3), Ticked(), allocator.handle(Instant(3), Ticked()))
    log.close()
    first, second = files(tmp_path)
    assert [type(line.entry) for line in first] == [Header, Gap]
    assert [type(line.entry) for line in second] == [Header, Decision, Levels]
    assert log.events_lost == 3


def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = DecisionLog(DecisionLogTerms(folder=tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="file"):
        log.begin(Allocator(Epoch("run", 1)))
    log.close()


def test_levels_say_what_each_agent_has_and_what_it_is_worth() -> None:
    utilities = LearnedUtilities(prior=PowerUtilities(alpha=1.0))
    allocator = Allocator(Epoch("run", 1), policy=Utility(utilities=utilities))
    allocator.handle(Instant(0), NodeJoined(NodeId("n1"), GPU))
    allocator.handle(Instant(0), DeskJoined(DeskId("p1"), AgentId("planner"), GPU))
    allocator.handle(Instant(0), Wanted(DeskId("p1"), 1, 0))
    told = levels(allocator, Instant(4))
    assert told.alloc == {AgentId("planner"): {"gpu": 1_000, "cpu": 0, "bandwidth": 0}}
    assert told.utility == {AgentId("planner"): 1.0}
    assert levels(Allocator(Epoch("run", 1)), Instant(4)).utility == {}
