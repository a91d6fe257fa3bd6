"""The transformers engine around a model of our own: who runs with whom, who is told what."""

import asyncio
import threading
import time
from contextlib import aclosing

import pytest

from coordsvc.core.errors import BadRequest, ContextTooLong, EngineBroken, Overloaded
from coordsvc.core.generation import FinishReason, GenerationRequest, Message, Sampling
from coordsvc.engines.detokenise import Detokeniser
from coordsvc.engines.hf_tokens import HfTokens
from coordsvc.engines.settings import ProfileSettings, TransformersSettings
from coordsvc.engines.transformers import TransformersEngine

REPLY = "Queues are calm."
KNOWN = ProfileSettings(prefill_us=1, decode_us=10)


class ToyTokenizer:
    all_special_tokens = ("<s>",)
    all_special_ids = (0,)
    vocab_size = 256

    def get_added_vocab(self):
        return {}

    def encode(self, text, add_special_tokens):
        return list(text.encode())

    def apply_chat_template(self, messages, tokenize, add_generation_prompt):
        return "".join(f"{m['role']}:{m['content']}\n" for m in messages) + "assistant:"


class ToyRuntime:
    """Says the letters of `REPLY` in every row, in lock-step, as `generate` does."""

    end_ids = frozenset({0})
    context_tokens = 300

    def __init__(self, step_s=0.0005):
        self.tokens = HfTokens(ToyTokenizer())
        self.step_s = step_s
        self.batches = []
        self.adapters = []
        self.fail = None
        self.prompts = []
        self.give_up_after = None

    def text(self):
        return Detokeniser([b"", *(bytes([value]) for value in range(1, 256))])

    def run(self, batch, step):
        assert threading.current_thread() is not threading.main_thread()
        self.batches.append(len(batch))
        self.adapters += [work.adapter for work in batch]
        self.prompts += [bytes(work.ids).decode("utf-8", "replace") for work in batch]
        ended = [False] * len(batch)
        for at in range(1_000):
            if self.fail is not None:
                raise self.fail
            if at == self.give_up_after:
                return
            time.sleep(self.step_s)
            letter = ord(REPLY[at]) if at < len(REPLY) else 0
            ids = [ord("x") if work.ignore_end else letter for work in batch]
            told = step(ids)
            own = [token == 0 for token in ids]
            ended = [a or b or c for a, b, c in zip(ended, told, own, strict=True)]
            if all(ended):
                return


async def started(toy=None, **settings):
    toy = toy or ToyRuntime()
    chosen = {"profile": KNOWN, "gather_ms": 1, "chunk_ms": 2} | settings
    engine = TransformersEngine(TransformersSettings(**chosen), load=lambda _: toy)
    await engine.start()
    return engine, toy


def ask(text="hello", **options) -> GenerationRequest:
    return GenerationRequest(
        **({"messages": (Message("user", text),), "max_new_tokens": 40} | options)
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report


async def test_a_reply_is_whole_and_its_report_closes():
    engine, _ = await started()
    text, report = await answer(engine, ask())
    assert text == REPLY
    assert (report.finish, report.output_tokens) == (FinishReason.STOP, len(REPLY) + 1)
    assert report.cached_tokens == 0
    assert report.solo_us + report.refill_us <= report.compute_us
    await engine.stop()


async def test_greedy_requests_run_together_whatever_their_limits():
    engine, toy = await started(gather_ms=5)
    requests = [ask(max_new_tokens=count) for count in (3, 6, 40)]
    answers = await asyncio.gather(*(answer(engine, request) for request in requests))
    assert [text for text, _ in answers] == ["Que", "Queues", REPLY]
    assert toy.batches == [3]
    await engine.stop()


async def test_those_who_sample_otherwise_or_want_to_be_repeated_run_apart():
    engine, toy = await started(gather_ms=5)
    warm, seeded = Sampling(temperature=1.0), Sampling(temperature=1.0, seed=1)
    requests = [ask(sampling=s) for s in (warm, warm, seeded, seeded, Sampling())]
    await asyncio.gather(*(answer(engine, request) for request in requests))
    assert toy.batches == [2, 1, 1, 1]
    await engine.stop()


async def test_rows_of_one_batch_may_have_different_adapters_or_none():
    engine, toy = await started(gather_ms=5, adapters={"planner": "/a", "checker": "/b"})
    adapters = ["planner", "", "checker", "planner"]
    await asyncio.gather(*(answer(engine, ask(adapter=adapter)) for adapter in adapters))
    assert toy.batches == [4]
    assert toy.adapters == adapters
    with pytest.raises(BadRequest, match="no adapter for 'responder'; there are: checker, planner"):
        await answer(engine, ask(adapter="responder"))
    await engine.stop()


async def test_with_adapters_the_solo_cost_is_that_of_a_request_under_one():
    engine, toy = await started(profile=None, calibration_repeats=1, adapters={"planner": "/a"})
    assert set(toy.adapters) == {"planner"}
    await engine.stop()


async def test_a_batch_has_a_limit_and_the_rest_waits_and_reports_it():
    engine, toy = await started(batch_max=2, gather_ms=5)
    answers = await asyncio.gather(*(answer(engine, ask()) for _ in range(5)))
    assert toy.batches == [2, 2, 1]
    queues = [report.queue_us for _, report in answers]
    assert max(queues[:2]) < min(queues[2:4]) < queues[4]
    await engine.stop()


async def test_many_bursts_one_after_the_other_all_end():
    engine, _ = await started(ToyRuntime(step_s=0), gather_ms=0)
    for burst in range(20):
        await asyncio.gather(*(answer(engine, ask()) for _ in range(burst % 3 + 1)))
    assert engine.running() == 0
    await engine.stop()


async def test_a_schema_is_asked_for_in_words():
    engine, toy = await started()
    await answer(engine, ask(json_schema='{"type": "object"}'))
    assert "hello\n\nAnswer with one JSON value only" in toy.prompts[0]
    assert '{"type": "object"}' in toy.prompts[0]
    with pytest.raises(BadRequest, match="not JSON"):
        await answer(engine, ask(json_schema="{"))
    await engine.stop()


async def test_leaving_early_ends_the_row():
    engine, toy = await started(ToyRuntime(step_s=0.002))
    stream = engine.generate(ask())
    await anext(stream)
    await stream.aclose()
    assert engine.running() == 0
    assert (await answer(engine, ask()))[0] == REPLY
    assert toy.batches == [1, 1]
    await engine.stop()


async def test_a_stop_string_ends_the_row():
    engine, _ = await started(ToyRuntime(step_s=0.002))
    text, report = await answer(engine, ask(sampling=Sampling(stop=("are c",))))
    assert (text, report.finish) == ("Queues ", FinishReason.STOP)
    await engine.stop()


async def test_a_thread_that_dies_is_noticed_by_all():
    engine, toy = await started(batch_max=1)
    toy.fail = RuntimeError("out of memory")
    results = await asyncio.gather(
        *(answer(engine, ask()) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(error, EngineBroken) for error in results)
    with pytest.raises(EngineBroken, match="out of memory"):
        engine.check()
    await engine.stop()


async def test_a_row_the_library_ends_without_a_word_is_an_error():
    engine, toy = await started()
    toy.give_up_after = 3
    with pytest.raises(EngineBroken, match="ended a request early"):
        await answer(engine, ask())
    toy.give_up_after = 0
    with pytest.raises(Overloaded):
        await answer(engine, ask())
    await engine.stop()


async def test_limits_are_kept():
    engine, _ = await started(ToyRuntime(step_s=0.005), batch_max=1, waiting_max=0)
    with pytest.raises(ContextTooLong, match="context of 300 tokens"):
        await answer(engine, ask("x" * 290))
    async with aclosing(engine.generate(ask())) as first:
        await anext(first)
        with pytest.raises(Overloaded):
            await answer(engine, ask())
    await engine.stop()


async def test_the_profile_is_measured_when_none_is_declared():
    toy = ToyRuntime(step_s=0.0005)
    settings = TransformersSettings(calibration_repeats=1, gather_ms=0)
    engine = TransformersEngine(settings, load=lambda _: toy)
    info = await engine.start()
    assert toy.batches == [1] * 5
    assert info.profile.decode_us > 100
    await engine.stop()


async def test_stopping_tells_those_inside_and_twice_does_no_harm():
    engine, toy = await started(ToyRuntime(step_s=0.005))
    inside = asyncio.create_task(answer(engine, ask()))
    while not toy.batches:  # noqa: ASYNC110 - the toy's thread sets no event
        await asyncio.sleep(0.001)
    await engine.stop()
    await engine.stop()
    with pytest.raises(EngineBroken, match="stopped"):
        await inside
