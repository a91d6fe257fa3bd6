"""The OpenVINO engine on the real small model. What it says is worthless; how it behaves is not."""

import asyncio
import json

import pytest
import pytest_asyncio

from coordsvc.core.errors import ContextTooLong, EngineBroken
from coordsvc.core.generation import FinishReason, GenerationRequest, Message, Sampling
from coordsvc.engines.openvino import OpenVinoEngine
from coordsvc.engines.openvino_runtime import load
from coordsvc.engines.settings import OpenVinoSettings

pytest.importorskip("openvino_genai")
pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = OpenVinoSettings(calibration_repeats=1)
VERDICT = {
    "type": "object",
    "properties": {
        "accept": {"type": "boolean"},
        "score": {"type": "integer", "minimum": 0, "maximum": 10},
    },
    "required": ["accept", "score"],
}


@pytest.fixture(scope="module")
def runtime():
    return load(SETTINGS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(runtime):
    engine = OpenVinoEngine(SETTINGS, load=lambda _: runtime)
    await engine.start()
    yield engine
    await engine.stop()


def ask(text, **options) -> GenerationRequest:
    return GenerationRequest(
        **({"messages": (Message("user", text),), "max_new_tokens": 24} | options)
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report


async def test_start_tells_the_models_limits_and_a_measured_profile(runtime):
    engine = OpenVinoEngine(OpenVinoSettings(), load=lambda _: runtime)
    info = await engine.start()
    assert info.context_tokens == 8_192
    assert info.profile.decode_us > 0
    assert info.profile.prefill_us > 0
    await engine.stop()


async def test_a_greedy_reply_is_not_empty_and_is_repeated(engine):
    text, report = await answer(engine, ask("What is the capital of France?"))
    again, second = await answer(engine, ask("What is the capital of France?"))
    assert "Paris" in text
    assert again == text
    assert report.finish is FinishReason.STOP
    assert second.cached_tokens > report.cached_tokens


async def test_streamed_pieces_are_the_whole_reply(engine, runtime):
    chunks = [c async for c in engine.generate(ask("Tell me a story.", max_new_tokens=60))]
    assert len(chunks) > 2
    text = "".join(chunk.text for chunk in chunks)
    assert runtime.encode(text), "text came"
    whole, _ = await answer(engine, ask("Tell me a story.", max_new_tokens=60))
    assert whole == text


async def test_a_seed_repeats_a_sampled_reply(engine):
    def sampled(seed):
        return ask("Tell me a story.", sampling=Sampling(temperature=1.0, top_p=0.9, seed=seed))

    await answer(engine, sampled(1))  # from here on the prompt is cached
    first, _ = await answer(engine, sampled(1))
    second, _ = await answer(engine, sampled(1))
    other, _ = await answer(engine, sampled(2))
    assert first == second != other


async def test_leaving_early_frees_the_engine(engine, runtime):
    streams = [engine.generate(ask(f"Story {i}", max_new_tokens=1_500)) for i in range(3)]
    for stream in streams:
        await anext(stream)
    assert engine.running() == 3
    for stream in streams:
        await stream.aclose()
    assert engine.running() == 0
    async with asyncio.timeout(5):
        while not runtime.idle():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_schema_makes_valid_json(engine):
    request = ask(
        "Judge: 2+2=4. Answer in JSON.", json_schema=json.dumps(VERDICT), max_new_tokens=200
    )
    text, report = await answer(engine, request)
    verdict = json.loads(text)
    assert isinstance(verdict["accept"], bool)
    assert isinstance(verdict["score"], int)
    assert report.finish is FinishReason.STOP


async def test_a_reply_goes_on_from_its_prefix(engine):
    whole, _ = await answer(engine, ask("What is the capital of France?"))
    rest, report = await answer(engine, ask("What is the capital of France?", prefix=whole[:14]))
    # Not to the last word: a prompt computed in other pieces has other last bits.
    assert (whole[:14] + rest).startswith("The capital of France is Paris")
    assert report.prompt_tokens > 30


async def test_a_stop_string_is_never_shown(engine):
    whole, _ = await answer(engine, ask("What is the capital of France?"))
    stop = whole[8:13]
    text, report = await answer(
        engine, ask("What is the capital of France?", sampling=Sampling(stop=(stop,)))
    )
    assert text == whole[:8]
    assert report.finish is FinishReason.STOP


async def test_sixteen_at_once_share_the_batch(engine):
    requests = [ask(f"Tell me about the number {i}.", max_new_tokens=32) for i in range(16)]
    answers = await asyncio.gather(*(answer(engine, request) for request in requests))
    assert all(text for text, _ in answers)
    alone = sum(report.solo_us for _, report in answers)
    took = max(report.queue_us + report.compute_us for _, report in answers)
    assert took < alone, "together they are quicker than one after the other"


async def test_a_conversation_that_is_too_long_is_refused(engine):
    with pytest.raises(ContextTooLong, match="context of 8192 tokens"):
        await answer(engine, ask("word " * 8_192))
    with pytest.raises(ContextTooLong, match="8000 for the rest of the turn"):
        await answer(engine, ask("word " * 300, headroom_tokens=8_000))


async def test_a_thread_that_dies_is_noticed(runtime):
    class Dying:
        """The real runtime, with a library call that fails."""

        def __getattr__(self, name):
            return getattr(runtime, name)

        def run(self, work, write):
            raise RuntimeError("already in scheduling phase")

    settings = SETTINGS.model_copy(update={"profile": None})
    engine = OpenVinoEngine(settings, load=lambda _: Dying())
    with pytest.raises(EngineBroken, match="thread died"):
        await engine.start()
    with pytest.raises(EngineBroken):
        engine.check()
    await engine.stop()
