"""The emulated engine keeps the timing it declares, and never passes for a real one."""

import asyncio
import json
from contextlib import aclosing

import pytest

from coordsvc.core.errors import ContextTooLong, EngineBroken, Overloaded
from coordsvc.core.generation import FinishReason, GenerationRequest, Message, Sampling
from coordsvc.core.units import Instant
from coordsvc.engines.emulated import EmulatedEngine
from coordsvc.engines.settings import EmulatedSettings

QUICK = {"speed": 1_000.0}


async def started(clock=None, **settings) -> EmulatedEngine:
    engine = EmulatedEngine(EmulatedSettings(**(QUICK | settings)), clock)
    await engine.start()
    return engine


def ask(text="hello there", **options) -> GenerationRequest:
    return GenerationRequest(
        **({"messages": (Message("user", text),), "max_new_tokens": 10} | options)
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report


async def test_everything_it_says_is_marked_as_emulated():
    engine = EmulatedEngine(EmulatedSettings(**QUICK))
    assert (await engine.start()).emulated
    text, report = await answer(engine, ask())
    assert text.startswith("[emulated] This reply was made up")
    assert report.emulated


async def test_the_same_request_gets_the_same_text():
    engine = await started()
    assert (await answer(engine, ask()))[0] == (await answer(engine, ask()))[0]


async def test_a_reply_ends_by_itself_or_by_the_requests_limit():
    engine = await started(reply_tokens=5)
    text, report = await answer(engine, ask(max_new_tokens=50))
    assert (len(text.split()), report.output_tokens, report.finish) == (5, 5, FinishReason.STOP)
    text, report = await answer(engine, ask(max_new_tokens=3))
    assert (len(text.split()), report.output_tokens, report.finish) == (3, 3, FinishReason.LENGTH)


async def test_prefix_and_answer_are_the_whole_reply():
    engine = await started(reply_tokens=20)
    whole, _ = await answer(engine, ask(max_new_tokens=20))
    text, _ = await answer(engine, ask(max_new_tokens=20, prefix=" ".join(whole.split()[:7])))
    assert " ".join(whole.split()[:7]) + text == whole


async def test_a_schema_gets_a_verdict_that_accepts():
    text, report = await answer(await started(), ask(json_schema="{}", max_new_tokens=40))
    assert json.loads(text) == {"accept": True, "score": 8, "reason": "emulated"}
    assert report.finish is FinishReason.STOP


async def test_a_stop_string_ends_the_reply_before_itself():
    text, report = await answer(await started(), ask(sampling=Sampling(stop=("was made",))))
    assert text == "[emulated] This reply "
    assert report.finish is FinishReason.STOP


async def test_alone_it_takes_what_its_solo_profile_predicts_or_longer():
    engine = await started(speed=10.0)
    info = await engine.start()
    _, report = await answer(engine, ask("word " * 50, max_new_tokens=6))
    assert report.prompt_tokens == 51
    wanted = info.profile.predict(51, 6)
    assert wanted == pytest.approx((2_000 + 51 * 100 + 6 * 9_100) / 10, abs=1)
    assert report.compute_us >= wanted - 1_000
    assert report.solo_us == min(report.compute_us, wanted)


async def test_the_same_beginning_is_cached_the_second_time():
    engine = await started(block_tokens=16)
    _, first = await answer(engine, ask("word " * 100))
    _, second = await answer(engine, ask("word " * 100 + "and more"))
    assert (first.cached_tokens, second.cached_tokens) == (0, 96)


async def test_what_another_node_has_cached_and_this_one_lacks_is_refill():
    engine = await started(speed=1.0, prefill_us_per_token=50.0, decode_base_us=0.0)
    _, report = await answer(engine, ask("word " * 100, max_new_tokens=1, warm_tokens=96))
    assert report.refill_us == 96 * 50
    assert report.solo_us + report.refill_us <= report.compute_us


async def test_requests_beyond_the_batch_wait_their_turn():
    engine = await started(batch_max=2, speed=100.0)
    reports = [r for _, r in await asyncio.gather(*(answer(engine, ask()) for _ in range(4)))]
    first, then = reports[:2], reports[2:]
    # whatever the machine does meanwhile: who comes later waits until one before has ended
    longest = max(report.queue_us for report in first)
    assert min(report.queue_us for report in then) - longest > first[0].compute_us / 2
    assert engine.running() == 0


async def test_many_bursts_one_after_the_other_all_end():
    engine = await started()
    for _ in range(20):
        await asyncio.gather(*(answer(engine, ask()) for _ in range(3)))
    assert engine.running() == 0


async def test_the_queue_has_an_end():
    engine = await started(batch_max=1, waiting_max=1, speed=1.0)
    async with aclosing(engine.generate(ask())) as first:
        await anext(first)
        second = asyncio.create_task(answer(engine, ask()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await answer(engine, ask())
        second.cancel()
        await asyncio.wait([second])
    assert engine.running() == 0


async def test_closing_early_frees_the_place_at_once():
    engine = await started(batch_max=1)
    stream = engine.generate(ask())
    await anext(stream)
    await stream.aclose()
    assert engine.running() == 0
    assert (await answer(engine, ask()))[1].output_tokens == 10


async def test_a_conversation_beyond_the_context_is_refused():
    engine = await started(context_tokens=16)
    with pytest.raises(ContextTooLong):
        await answer(engine, ask("word " * 10))


async def test_stopping_tells_those_inside():
    engine = await started(speed=1.0)
    inside = asyncio.create_task(answer(engine, ask()))
    await asyncio.sleep(0.001)
    await engine.stop()
    await engine.stop()
    with pytest.raises(EngineBroken, match="stopped"):
        await inside
    with pytest.raises(EngineBroken):
        engine.check()


async def test_a_step_that_fails_is_noticed_by_all():
    class Clock:
        """Works while the request comes in, and fails in the first step."""

        calls = 0

        def now(self) -> Instant:
            self.calls += 1
            if self.calls > 2:
                raise ZeroDivisionError
            return Instant(self.calls)

    engine = await started(Clock())
    with pytest.raises(EngineBroken, match="steps died"):
        await answer(engine, ask())
    with pytest.raises(EngineBroken):
        engine.check()
