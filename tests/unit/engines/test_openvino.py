"""The OpenVINO engine around a pipeline of our own: who waits, who is told, what is never lost.

`ToyRuntime` computes as the library does (`generate()` goes on until nothing is left, what is
added meanwhile joins the batch, nothing may be inside when it begins), in the engine's own thread.
It says the letters of `REPLY` one by one.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import aclosing

import pytest

from coordsvc.core.errors import BadRequest, ContextTooLong, EngineBroken, Overloaded
from coordsvc.core.generation import FinishReason, GenerationRequest, Message, Sampling
from coordsvc.engines.openvino import OpenVinoEngine
from coordsvc.engines.settings import OpenVinoSettings, ProfileSettings
from coordsvc.engines.stream import Handle, Work

REPLY = "Queues are calm."
END = 0
CONTROL = {"<|end|>": END}
KNOWN = ProfileSettings(start_us=10, prefill_us=1, decode_us=100)


class Inside:
    """One request in the toy pipeline."""

    def __init__(self, work: Work, write: Callable[[list[int]], bool] | None = None) -> None:
        self.work, self.write = work, write
        self.said = 0
        self.unread: list[int] = []
        self.state = "running"

    def step(self) -> None:
        token = ord(REPLY[self.said]) if self.said < len(REPLY) else END
        if self.work.ignore_end:
            token = ord("x")
        self.said += 1
        if self.write is None:
            self.unread.append(token)
        elif not self.write([token]):
            self.state = "cancelled"
        if self.said == self.work.max_new_tokens or (token == END and not self.work.ignore_end):
            self.state = "finished"

    def take(self) -> list[int]:
        taken, self.unread = self.unread, []
        return taken

    def running(self) -> bool:
        return self.state == "running"

    def cancel(self) -> None:
        if self.state == "running":
            self.state = "cancelled"


class ToyRuntime:
    end_ids = frozenset({END})
    context_tokens = 200

    def __init__(self, step_s: float = 0.0002) -> None:
        self.pieces = [b"", *(bytes([value]) for value in range(1, 256))]
        self.control = CONTROL
        self.step_s = step_s
        self.lock = threading.Lock()
        self.inside: list[Inside] = []
        self.runs = 0
        self.steps = 0
        self.batch_most = 0
        self.fail: BaseException | None = None
        self.go = threading.Event()
        self.go.set()
        self.linger = threading.Event()
        """Set, a run that has ended takes its time to return, and looks busy meanwhile."""

    def encode(self, text: str) -> list[int]:
        return [END] if text in CONTROL else list(text.encode())

    def render(self, messages: list[dict[str, str]]) -> str:
        return "".join(f"{m['role']}:{m['content']}\n" for m in messages) + "assistant:"

    def run(self, work: Work, write: Callable[[list[int]], bool]) -> None:
        with self.lock:
            assert not self.inside, "generate() refuses to begin while a request is inside"
            self.inside.append(Inside(work, write))
            self.runs += 1
        while self.step():
            time.sleep(self.step_s)
        if self.linger.is_set():
            time.sleep(0.02)

    def step(self) -> bool:
        self.go.wait()
        if self.fail is not None:
            raise self.fail
        with self.lock:
            for request in self.inside:
                if request.running():
                    request.step()
            self.steps += 1
            self.batch_most = max(self.batch_most, len(self.inside))
            self.inside = [request for request in self.inside if request.running()]
            return bool(self.inside)

    def add(self, work: Work) -> Handle:
        with self.lock:
            self.inside.append(Inside(work))
            return self.inside[-1]

    def idle(self) -> bool:
        with self.lock:
            return not self.inside and not self.linger.is_set()

    def settle(self) -> None:
        with self.lock:
            assert not any(request.running() for request in self.inside)
            self.inside.clear()


async def started(toy: ToyRuntime | None = None, **settings) -> OpenVinoEngine:
    toy = toy or ToyRuntime()
    chosen = {"profile": KNOWN, "poll_ms": 1, "chunk_ms": 5} | settings
    engine = OpenVinoEngine(OpenVinoSettings(**chosen), load=lambda _: toy)
    await engine.start()
    return engine


def ask(text="hello", **options) -> GenerationRequest:
    return GenerationRequest(
        **({"messages": (Message("user", text),), "max_new_tokens": 40} | options)
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - the toy's thread sets no event
        await asyncio.sleep(0.001)


async def test_a_reply_is_whole_and_its_report_closes():
    engine = await started()
    text, report = await answer(engine, ask())
    assert text == REPLY
    assert report.finish is FinishReason.STOP
    assert report.output_tokens == len(REPLY) + 1
    assert report.prompt_tokens == len("user:hello\nassistant:")
    assert report.solo_us + report.refill_us <= report.compute_us
    await engine.stop()


async def test_the_first_text_comes_at_once_and_later_text_in_chunks():
    engine = await started(ToyRuntime(step_s=0.002), chunk_ms=1_000)
    chunks = [chunk.text async for chunk in engine.generate(ask())]
    assert len(chunks) == 2
    assert "".join(chunks) == REPLY
    await engine.stop()


async def test_requests_join_the_batch_of_the_run_under_way():
    toy = ToyRuntime(step_s=0.002)
    engine = await started(toy)
    answers = await asyncio.gather(*(answer(engine, ask(f"number {i}")) for i in range(8)))
    assert [text for text, _ in answers] == [REPLY] * 8
    assert toy.runs == 1
    assert toy.batch_most == 8
    await engine.stop()


async def test_beyond_the_batch_requests_wait_in_order_and_report_it():
    toy = ToyRuntime(step_s=0.002)
    engine = await started(toy, batch_max=2)
    answers = await asyncio.gather(*(answer(engine, ask()) for _ in range(6)))
    queues = [report.queue_us for _, report in answers]
    assert toy.batch_most == 2
    assert max(queues[:2]) < min(queues[2:4]) < min(queues[4:])
    await engine.stop()


async def test_many_bursts_one_after_the_other_all_end():
    engine = await started()
    for burst in range(30):
        answers = await asyncio.gather(*(answer(engine, ask()) for _ in range(burst % 4 + 1)))
        assert {text for text, _ in answers} == {REPLY}
    assert engine.running() == 0
    await engine.stop()


async def test_one_who_comes_as_the_run_is_ending_is_taken_into_the_next():
    toy = ToyRuntime()
    toy.linger.set()
    engine = await started(toy)
    first = await answer(engine, ask())
    # The run is over and has not returned, but looks busy: what is added now, nobody computes.
    toy_was = toy.runs
    second = asyncio.create_task(answer(engine, ask()))
    await asyncio.sleep(0.005)
    toy.linger.clear()
    assert (await second)[0] == first[0] == REPLY
    assert toy.runs == toy_was + 1
    await engine.stop()


async def test_closing_a_reply_early_stops_its_work_and_no_others():
    toy = ToyRuntime(step_s=0.002)
    engine = await started(toy)
    lead, other = engine.generate(ask("one")), engine.generate(ask("two"))
    await anext(lead)
    rest = asyncio.create_task(answer(engine, ask("three")))
    await anext(other)
    await lead.aclose()
    await other.aclose()
    assert engine.running() == 1
    assert (await rest)[0] == REPLY
    await until(toy.idle)
    assert engine.running() == 0
    await engine.stop()


async def test_a_cancelled_consumer_leaves_nothing_behind():
    toy = ToyRuntime(step_s=0.01)
    engine = await started(toy, batch_max=1)
    tasks = [asyncio.create_task(answer(engine, ask())) for _ in range(3)]
    await until(lambda: toy.steps)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert engine.running() == 0
    assert (await answer(engine, ask()))[0] == REPLY
    await engine.stop()


async def test_a_stop_string_ends_the_work_too():
    toy = ToyRuntime(step_s=0.002)
    engine = await started(toy)
    text, report = await answer(engine, ask(sampling=Sampling(stop=("are c",))))
    assert text == "Queues "
    assert report.finish is FinishReason.STOP
    assert report.output_tokens < len(REPLY)
    await until(toy.idle)
    await engine.stop()


async def test_the_limit_of_tokens_is_kept():
    engine = await started()
    text, report = await answer(engine, ask(max_new_tokens=6))
    assert (text, report.finish, report.output_tokens) == ("Queues", FinishReason.LENGTH, 6)
    await engine.stop()


async def test_the_second_with_the_same_beginning_finds_it_cached():
    engine = await started(block_tokens=8)
    text = "a beginning that is shared by all " * 3
    _, first = await answer(engine, ask(text))
    _, second = await answer(engine, ask(text + "?", warm_tokens=999))
    assert first.cached_tokens == 0
    assert second.cached_tokens == len("user:" + text) // 8 * 8
    assert second.refill_us <= second.compute_us
    await engine.stop()


async def test_when_the_library_raises_all_inside_hear_of_it_and_so_do_later_ones():
    toy = ToyRuntime(step_s=0.002)
    engine = await started(toy, batch_max=2)
    tasks = [asyncio.create_task(answer(engine, ask())) for _ in range(4)]
    await until(lambda: toy.steps > 2)
    toy.fail = RuntimeError("already in scheduling phase")
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, EngineBroken)
        assert "thread died: already in scheduling phase" in str(result)
    with pytest.raises(EngineBroken):
        engine.check()
    with pytest.raises(EngineBroken):
        await answer(engine, ask())
    assert engine.running() == 0
    await engine.stop()


async def test_a_library_that_hangs_is_noticed():
    toy = ToyRuntime()
    engine = await started(toy, stall_ms_max=100)
    toy.go.clear()
    with pytest.raises(EngineBroken, match="no token for 100 ms"):
        await answer(engine, ask())
    with pytest.raises(EngineBroken):
        engine.check()
    toy.go.set()
    await engine.stop()


async def test_a_request_the_library_drops_before_its_first_token_may_be_tried_again():
    class Full(ToyRuntime):
        def add(self, work):
            handle = super().add(work)
            handle.state = "ignored"
            return handle

    engine = await started(Full(step_s=0.01))
    lead = asyncio.create_task(answer(engine, ask()))
    await asyncio.sleep(0.005)
    with pytest.raises(Overloaded, match="no room in its cache"):
        await answer(engine, ask())
    assert (await lead)[0] == REPLY
    await engine.stop()


async def test_a_request_the_library_refuses_harms_nobody_else():
    class Choosy(ToyRuntime):
        def add(self, work):
            raise RuntimeError("rng_seed is too large")

    engine = await started(Choosy(step_s=0.005))
    lead = asyncio.create_task(answer(engine, ask()))
    await asyncio.sleep(0.005)
    with pytest.raises(BadRequest, match="rng_seed is too large"):
        await answer(engine, ask())
    assert (await lead)[0] == REPLY
    await engine.stop()


async def test_the_queue_has_an_end():
    engine = await started(ToyRuntime(step_s=0.01), batch_max=1, waiting_max=1)
    async with aclosing(engine.generate(ask())) as first:
        await anext(first)
        second = asyncio.create_task(answer(engine, ask()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="1 requests wait"):
            await answer(engine, ask())
        second.cancel()
        await asyncio.wait([second])
    await engine.stop()


async def test_what_cannot_be_served_is_refused_before_anything_runs():
    toy = ToyRuntime()
    engine = await started(toy)
    with pytest.raises(ContextTooLong, match="context of 200 tokens"):
        await answer(engine, ask("x" * 190))
    with pytest.raises(BadRequest, match="not JSON"):
        await answer(engine, ask(json_schema="{"))
    assert toy.runs == 0
    await engine.stop()


async def test_a_schema_is_left_out_when_the_reply_goes_on_from_a_prefix():
    seen = []

    class Noting(ToyRuntime):
        def run(self, work, write):
            seen.append(work.json_schema)
            super().run(work, write)

    engine = await started(Noting())
    await answer(engine, ask(json_schema="{}"))
    await answer(engine, ask(json_schema="{}", prefix="{"))
    assert seen == ["{}", None]
    await engine.stop()


async def test_the_profile_is_measured_through_the_engine_itself():
    toy = ToyRuntime(step_s=0.001)
    engine = OpenVinoEngine(OpenVinoSettings(calibration_repeats=1, poll_ms=1), load=lambda _: toy)
    info = await engine.start()
    assert toy.runs == 5
    assert info.profile.decode_us >= 500
    await engine.stop()


async def test_stopping_tells_those_inside_and_twice_does_no_harm():
    toy = ToyRuntime(step_s=0.01)
    engine = await started(toy)
    inside = asyncio.create_task(answer(engine, ask()))
    await until(lambda: toy.steps)
    await engine.stop()
    await engine.stop()
    with pytest.raises(EngineBroken, match="stopped"):
        await inside
    with pytest.raises(EngineBroken):
        await answer(engine, ask())
    assert toy.idle()


async def test_it_must_be_started_first():
    engine = OpenVinoEngine(OpenVinoSettings(), load=lambda _: ToyRuntime())
    with pytest.raises(EngineBroken, match="not been started"):
        await answer(engine, ask())
