"""The scripted engine says what its script says: no more, no less, in order."""

import asyncio
from contextlib import aclosing

import pytest

from coordsvc.core.errors import BadRequest, ContextTooLong, EngineBroken, Overloaded
from coordsvc.core.generation import FinishReason, GenerationRequest, Message, Sampling
from coordsvc.engines.scripted import ScriptedEngine
from coordsvc.engines.settings import ScriptedSettings, ScriptRule

TALE = "Once upon a time, there was\na queue."


async def started(**settings) -> ScriptedEngine:
    engine = ScriptedEngine(ScriptedSettings(**settings))
    await engine.start()
    return engine


def ask(text="hello", **options) -> GenerationRequest:
    return GenerationRequest(
        **({"messages": (Message("user", text),), "max_new_tokens": 100} | options)
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    assert [chunk.report is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report, len(chunks)


async def test_the_first_rule_that_matches_the_last_message_answers():
    engine = await started(
        rules=(ScriptRule(match="plan", reply="A plan."), ScriptRule(match="pla", reply="Play.")),
        default=ScriptRule(reply="Hm."),
    )
    assert (await answer(engine, ask("please plan it")))[0] == "A plan."
    assert (await answer(engine, ask("play")))[0] == "Play."
    two = (Message("user", "plan"), Message("user", "else"))
    assert (await answer(engine, ask(messages=two)))[0] == "Hm."


async def test_a_reply_comes_in_as_many_chunks_as_the_rule_says():
    engine = await started(default=ScriptRule(reply=TALE, chunks=3))
    text, report, chunks = await answer(engine, ask())
    assert (text, chunks) == (TALE, 3)
    assert report.output_tokens == 8
    assert report.finish is FinishReason.STOP


async def test_there_are_never_more_chunks_than_words_and_always_one():
    engine = await started(default=ScriptRule(reply="two words", chunks=50))
    assert (await answer(engine, ask()))[2] == 2
    engine = await started(default=ScriptRule(reply="", chunks=5))
    assert (await answer(engine, ask()))[0::2] == ("", 1)


async def test_prefix_and_answer_are_the_whole_reply_wherever_it_was_cut():
    engine = await started(default=ScriptRule(reply=TALE))
    for cut in range(len(TALE) + 1):
        text, _, _ = await answer(engine, ask(prefix=TALE[:cut]))
        assert TALE[:cut] + text == TALE


async def test_the_words_of_a_prefix_count_towards_the_most_that_may_be_written():
    engine = await started(default=ScriptRule(reply=TALE))
    begun = " ".join(TALE.split()[:3])
    text, _, _ = await answer(engine, ask(prefix=begun, max_new_tokens=5))
    assert begun + text == " ".join(TALE.split()[:5])


async def test_a_prefix_of_another_reply_is_the_tests_mistake():
    engine = await started(default=ScriptRule(reply=TALE))
    with pytest.raises(BadRequest, match="does not begin the scripted reply"):
        await answer(engine, ask(prefix="Twice"))


async def test_words_are_counted_against_max_new_tokens():
    engine = await started(default=ScriptRule(reply=TALE))
    text, report, _ = await answer(engine, ask(max_new_tokens=3))
    assert text == "Once upon a"
    assert (report.finish, report.output_tokens) == (FinishReason.LENGTH, 3)


async def test_a_stop_string_ends_the_reply_before_itself():
    engine = await started(default=ScriptRule(reply=TALE))
    text, report, _ = await answer(engine, ask(sampling=Sampling(stop=("there", "queue"))))
    assert text == "Once upon a time, "
    assert report.finish is FinishReason.STOP


async def test_verdicts_come_in_order_and_the_last_is_repeated():
    engine = await started(verdicts=('{"accept": false}', '{"accept": true}'))
    said = [(await answer(engine, ask(json_schema="{}")))[0] for _ in range(3)]
    assert said == ['{"accept": false}', '{"accept": true}', '{"accept": true}']


async def test_reported_tokens_can_be_set():
    engine = await started(default=ScriptRule(reply=TALE, tokens=500))
    assert (await answer(engine, ask()))[1].output_tokens == 500


async def test_a_conversation_beyond_the_context_is_refused_before_the_first_chunk():
    engine = await started(context_tokens=10)
    with pytest.raises(ContextTooLong, match="context of 10 tokens"):
        await answer(engine, ask("five words are in this", max_new_tokens=6))
    assert engine.running() == 0


async def test_beyond_the_batch_requests_wait_and_report_it_as_queue():
    engine = await started(batch_max=1, waiting_max=1, default=ScriptRule(reply="a b", chunks=2))
    async with aclosing(engine.generate(ask())) as first:
        await anext(first)
        second = asyncio.create_task(answer(engine, ask()))
        await asyncio.sleep(0.002)
        assert not second.done()
        assert engine.running() == 2
        with pytest.raises(Overloaded):
            await answer(engine, ask())
    _, report, _ = await second
    assert report.queue_us >= 1_000
    assert engine.running() == 0


async def test_closing_early_gives_the_place_back():
    engine = await started(batch_max=1, default=ScriptRule(reply=TALE, chunks=8))
    stream = engine.generate(ask())
    await anext(stream)
    assert engine.running() == 1
    await stream.aclose()
    assert engine.running() == 0
    assert (await answer(engine, ask()))[0] == TALE


async def test_delays_are_waited_for_and_count_as_computing():
    engine = await started(default=ScriptRule(reply="a b", delay_ms=2, chunks=2, chunk_delay_ms=3))
    _, report, _ = await answer(engine, ask())
    assert report.compute_us >= 5_000
    assert report.solo_us == 0


async def test_it_breaks_after_the_chunks_the_script_allows_and_stays_broken():
    engine = await started(break_after_chunks=2, default=ScriptRule(reply=TALE, chunks=8))
    stream = engine.generate(ask())
    assert [(await anext(stream)).text for _ in range(2)] == ["Once", " upon"]
    with pytest.raises(EngineBroken, match="after 2 chunks"):
        await anext(stream)
    with pytest.raises(EngineBroken):
        engine.check()
    assert engine.running() == 0


async def test_when_it_breaks_those_who_wait_hear_of_it():
    engine = await started(batch_max=1, default=ScriptRule(reply=TALE, chunks=8))
    async with aclosing(engine.generate(ask())) as first:
        await anext(first)
        second = asyncio.create_task(answer(engine, ask()))
        await asyncio.sleep(0)
        await engine.stop()
        await engine.stop()
        with pytest.raises(EngineBroken, match="stopped"):
            await second
        with pytest.raises(EngineBroken):
            await anext(first)
    assert engine.running() == 0


async def test_it_must_be_started_first():
    with pytest.raises(EngineBroken, match="not been started"):
        await anext(ScriptedEngine(ScriptedSettings()).generate(ask()))


async def test_shared_words_are_reported():
    engine = await started()
    messages = (Message("system", "be kind"), Message("user", "hi"))
    _, report, _ = await answer(engine, ask(messages=messages, shared_messages=1))
    assert (report.shared_tokens, report.prompt_tokens, report.cached_tokens) == (2, 3, 0)
