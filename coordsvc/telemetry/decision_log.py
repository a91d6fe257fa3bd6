"""Writes the decision log: every event and effect, as JSON lines, off the allocator's path.

The allocator's loop appends to a queue; a thread writes. The queue is bounded, and the loop never
waits for it: when it is full the log is cut, what is lost is counted, and the next file begins
with a fresh header as soon as there is room. Files are rotated by size, and the oldest removed.

What costs the loop more than an append is a header, at the start, at a rotation and after a gap:
a copy of the allocator's lists, about 20 ms at a thousand nodes and desks; at a tick, what each
agent holds.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from coordsvc.core.allocator import Allocator
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import Plain
from coordsvc.core.hindsight.decisions import VERSION, Decision, Entry, Gap, Header, Levels, write
from coordsvc.core.hindsight.snapshot import Kept, capture, plain
from coordsvc.core.messages import Effect, Event, Ticked
from coordsvc.core.resources import NAMES
from coordsvc.core.units import AgentId, Instant

PATTERN = "decisions-*.jsonl"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLogTerms:
    """Where the log lies, and what bounds it."""

    folder: Path
    """Made if it is not there. One service writes into it."""
    file_bytes_max: int = 64 << 20
    """A file that has reached it is closed: about a hundred thousand events, read in seconds."""
    files_max: int = 16
    """Older ones are removed: a gigabyte in all."""
    queue_max: int = 65_536
    """Entries that may wait to be written: some seconds of a loaded pool, or a slow disk."""
    flush_s: float = 0.5
    """How long an entry may wait: what a crash may lose."""


@dataclass(frozen=True, slots=True)
class _Fresh:
    """Where a new file begins: the state then, and what was lost before."""

    kept: Kept
    lost: int


_Told = tuple[Instant, Event, Sequence[Effect]]
_Queued = _Told | Levels | _Fresh


class DecisionLog:
    """One allocator's decision log. `begin` it, `hand` it every event, `close` it."""

    def __init__(self, terms: DecisionLogTerms) -> None:
        self.lines_written = 0
        self.events_lost = 0
        """Not written, because the queue was full, the disk refused, or they make no sense."""
        self._terms = terms
        self._queue: deque[_Queued] = deque()
        self._fresh_wanted = False
        """Set by the writer; answered by the loop, for only it may look at the allocator."""
        self._dropped = 0
        """Since the log was cut for want of room; the loop's."""
        self._writer = _Writer(terms)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)

    def begin(self, allocator: Allocator) -> None:
        """Open the first file, with the allocator's state; raise `OSError` if that cannot be."""
        self._terms.folder.mkdir(parents=True, exist_ok=True)
        self._queue.append(_Fresh(capture(allocator), 0))
        self._thread.start()

    def hand(
        self, allocator: Allocator, now: Instant, event: Event, effects: Sequence[Effect]
    ) -> None:
        """Take what the allocator was told and said. Never waits."""
        queue = self._queue
        if self._dropped or len(queue) >= self._terms.queue_max:
            self._drop(allocator)
            return
        queue.append((now, event, effects))
        if type(event) is Ticked:
            queue.append(levels(allocator, now))
        if self._fresh_wanted:
            self._fresh_wanted = False
            queue.append(_Fresh(capture(allocator), 0))

    @property
    def lag(self) -> int:
        """Return how many entries wait to be written."""
        return len(self._queue)

    def close(self) -> None:
        """Write what waits, and end; calling it twice does no harm."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _drop(self, allocator: Allocator) -> None:
        """Count an event as lost; once half of the queue is free, begin anew after it."""
        self._dropped += 1
        self.events_lost += 1
        if len(self._queue) <= self._terms.queue_max // 2:
            self._queue.append(_Fresh(capture(allocator), self._dropped))
            self._dropped = 0

    def _run(self) -> None:
        while True:
            last = self._closing.wait(self._terms.flush_s)
            self._write_queued()
            if last:
                self._writer.end()
                return

    def _write_queued(self) -> None:
        for _ in range(len(self._queue)):
            lines, lost = self._writer.write(self._queue.popleft())
            self.lines_written += lines
            self.events_lost += lost
        self._writer.flush()
        if self._writer.wants_fresh:
            self._writer.wants_fresh = False
            self._fresh_wanted = True


class _Writer:
    """The thread's own: one file after another."""

    def __init__(self, terms: DecisionLogTerms) -> None:
        self.wants_fresh = False
        self._terms = terms
        self._file: IO[bytes] | None = None
        self._bytes = 0
        self._asked = False
        """Whether a fresh file was asked for, and has not come."""
        self._lost = 0
        """Since this file was cut; nothing more is written to it."""

    def write(self, queued: _Queued) -> tuple[int, int]:
        """Write what was queued; return the lines written and the events lost."""
        try:
            if isinstance(queued, _Fresh):
                return self._begin(queued), 0
            if self._file is None or self._lost:
                return 0, self._lose(queued)
            if not isinstance(queued, Levels):
                now, event, effects = queued
                queued_entry: Entry = Decision(at=now, event=event, effects=tuple(effects))
            else:
                queued_entry = queued
            self._put(queued_entry)
        except (OSError, BadRequest):
            log.exception("the decision log is cut here")
            self._asked = self._asked and not isinstance(queued, _Fresh)
            return 0, self._lose(queued)
        if self._bytes >= self._terms.file_bytes_max and not self._asked:
            self._asked = self.wants_fresh = True
        return 1, 0

    def flush(self) -> None:
        """Hand what was written to the system."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                log.exception("the decision log is cut here")
                self._lose(None)

    def end(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                log.exception("the decision log lost its end")

    def _lose(self, queued: _Queued | None) -> int:
        """Write no more to this file, and ask for a fresh one."""
        if not self._asked:
            self._asked = self.wants_fresh = True
        lost = 1 if isinstance(queued, tuple) else 0
        self._lost += max(lost, 0 if self._lost else 1)
        return lost

    def _begin(self, fresh: _Fresh) -> int:
        lost = fresh.lost + self._lost
        if self._file is not None and lost:
            self._put(Gap(gap=lost))
        self.end()
        header = Header(
            version=VERSION, epoch=fresh.kept.epoch, state=Plain(plain(fresh.kept)), lost=lost
        )
        self._file, self._bytes, self._asked = self._next(), 0, False
        self._put(header)
        self._lost = 0
        return 2 if lost else 1

    def _put(self, entry: Entry) -> None:
        assert self._file is not None, "a file is open"
        self._bytes += self._file.write(write(entry).encode())

    def _next(self) -> IO[bytes]:
        """Open the next file, and remove the oldest ones."""
        files = sorted(self._terms.folder.glob(PATTERN))
        number = 1 + max((_number(path) for path in files), default=0)
        for path in files[: max(0, len(files) - self._terms.files_max + 1)]:
            path.unlink(missing_ok=True)
        return (self._terms.folder / f"decisions-{number:08}.jsonl").open("xb")


def levels(allocator: Allocator, now: Instant) -> Levels:
    """Return what each agent that is here, or holds something, has now, and what it is worth."""
    roles = allocator.ledger.roles
    agents = dict.fromkeys(state.agent for state in allocator.desks.values())
    held = {agent: roles.get(agent) for agent in agents}
    utilities: Any = getattr(allocator.policy, "utilities", None)
    told = getattr(utilities, "utility", None)
    return Levels(
        at=now,
        alloc={
            agent: dict(zip(NAMES, role.held.amounts(), strict=True))
            for agent, role in held.items()
        },
        utility={AgentId(agent): float(told(agent, role.bundles)) for agent, role in held.items()}
        if told
        else {},
    )


def _number(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
